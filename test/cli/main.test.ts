// SPDX-License-Identifier: Apache-2.0
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { commands } from '../../cli/commands.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));

function tandem(...words: readonly string[]): { code: number | null; output: string; errors: string } {
  const result = spawnSync(process.execPath, ['cli/main.ts', ...words], { cwd: root, encoding: 'utf8' });
  return { code: result.status, output: result.stdout, errors: result.stderr };
}

describe('the command line', () => {
  const wrong = [
    [['tset'], "unknown command 'tset' (Did you mean test?)"],
    [['replai', 'a.pcap'], "unknown command 'replai' (Did you mean replay?)"],
    [['frobnicate'], "unknown command 'frobnicate'; ./tandem --help lists them"],
    [['test', '--fulll'], "unknown option '--fulll' (Did you mean --full?)"],
    [['test', 'units'], 'Allowed choices are unit, command, api, proxy, kernel, lab, proof'],
    [['replay'], "missing required argument 'files'"],
    [['replay', 'a.pcap', '--seed', 'x'], 'Not a whole number'],
    [['compile', 'a.yaml', '-o', 'xml'], 'Allowed choices are json, table'],
  ] as const;
  test.each(wrong)('%j is refused in one line with exit code 2', (words, message) => {
    const { code, output, errors } = tandem(...words);
    expect({ code, output, lines: errors.split('\n').length }).toEqual({ code: 2, output: '', lines: 2 });
    expect(errors).toContain(message);
  });

  test('help and version end with exit code 0', () => {
    const help = tandem('--help');
    expect(help.code).toBe(0);
    for (const { name } of commands) expect(help.output).toMatch(new RegExp(`^  ${name} `, 'm'));
    const version = tandem('--version');
    expect(version.code).toBe(0);
    expect(version.output).toMatch(/^tandem \d+\.\d+\.\d+\n$/);
  });

  test('the help of a command has an example that begins with the command', () => {
    const { code, output } = tandem('replay', '--help');
    expect(code).toBe(0);
    expect(output).toContain('Example:\n  ./tandem replay fixtures/');
    for (const { name, examples } of commands) {
      expect(examples.length).toBeGreaterThan(0);
      for (const example of examples) expect(example.startsWith(`./tandem ${name}`)).toBe(true);
    }
  });

  test('a reader that goes away early is no crash', () => {
    const command = `"${process.execPath}" cli/main.ts --help | true; echo "$?"`;
    const { stdout, stderr } = spawnSync('sh', ['-c', command], { cwd: root, encoding: 'utf8' });
    expect({ stdout, stderr }).toEqual({ stdout: '0\n', stderr: '' });
  });
});
