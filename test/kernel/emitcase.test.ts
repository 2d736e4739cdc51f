// SPDX-License-Identifier: Apache-2.0
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { buildMutant } from '../../cli/mutant.ts';
import { assert, failureText } from '../../core/result.ts';
import { mutants } from '../../proof/mutants/mutants.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const recording = 'fixtures/rolling-update';
const events = ['endpointslices', 'nodes', 'services'].map((kind) => `${recording}/${kind}.events.ndjson`);

let folder = '';
let path = '';

type Answer = { readonly code: number | null; readonly output: string; readonly notes: string };

function tandem(...words: readonly string[]): Answer {
  const { status, stdout, stderr } = spawnSync(process.execPath, ['cli/main.ts', ...words], {
    cwd: root,
    encoding: 'utf8',
    timeout: 120_000,
  });
  return { code: status, output: stdout, notes: stderr };
}

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'tandem-case-'));
  path = join(folder, 'case.json');
  const flow = ['--flow', '10.244.1.4:33450>10.96.219.219:80/TCP'];
  const node = ['--node', `${recording}/node1.json`];
  const { code, notes } = tandem('replay', `${recording}/node1.pcap`, ...events, ...node, ...flow, '--emit-case', path);
  expect(notes).toBe(`tandem: ${path}: 10 packets and 1 rounds of events; run it: ./tandem verify --case ${path}\n`);
  expect(code).toBe(3);
});

afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

test('a case that a replay has written runs on both twins, which agree', () => {
  const { code, output } = tandem('verify', '--case', path);
  expect(output).toBe(`${path}: 10 packets, no difference\n`);
  expect(code).toBe(0);
});

test('it finds a fault that is planted in the object, and names the Service', () => {
  const mutant = mutants.find(({ name }) => name === 'reply-ports-swapped');
  assert(mutant !== undefined, 'the fault is known');
  const built = buildMutant(mutant);
  assert(built.ok, built.ok ? '' : failureText(built.error));
  const object = join(folder, 'mutant.o');
  writeFileSync(object, built.value);
  const { code, output } = tandem('verify', '--case', path, '--object', object);
  expect(output).toContain('shop/web:http');
  expect(code).toBe(1);
});
