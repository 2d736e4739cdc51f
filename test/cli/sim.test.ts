// SPDX-License-Identifier: Apache-2.0
/** `tandem sim` as a person runs it: its transcript, its exit codes, and what it refuses. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { expect, test } from 'vitest';

const root = join(import.meta.dirname, '../..');
const small = ['--nodes', '2', '--services', '6', '--seconds', '30'];

function sim(...words: readonly string[]): { code: number | null; output: string; errors: string } {
  const result = spawnSync(process.execPath, ['cli/main.ts', 'sim', ...words], { cwd: root, encoding: 'utf8' });
  return { code: result.status, output: result.stdout, errors: result.stderr };
}

test('0: every promise held, and a commit as the seed prints the same bytes twice', () => {
  const commit = '0123456789abcdef0123456789abcdef01234567';
  const first = sim(commit, ...small);
  expect(first.code).toBe(0);
  expect(first.output).toMatch(/\nevery promise held: \.\/tandem sim 0123/);
  expect(sim(commit, ...small).output).toBe(first.output);
});

test('10: a promise is broken at a moment; the last line repeats the run', () => {
  const plant = 'a flow that moves';
  const { code, output } = sim('7', ...small, '--quiet', '--plant', plant);
  expect(output).toMatch(/^BROKEN flow-keeps-backend at \d+\.\d{6} s on node-\d: a flow moved from /m);
  expect(output).toContain(`repeat: ./tandem sim 7 ${small.join(' ')} --plant '${plant}'\n`);
  expect(code).toBe(10);
});

test('11: what should come to pass once faults are over does not', () => {
  const plant = 'a watch that waits for ever';
  const { code, output } = sim('7', ...small, '--quiet', '--faults', 'watch-silent', '--plant', plant);
  expect(output).toMatch(/^BROKEN convergence at /m);
  expect(code).toBe(11);
});

test('12: a planted fault that is not found says that the harness is broken, whatever the run would say', () => {
  const { code, output, errors } = sim('7', ...small, '--quiet', '--canary', 'nothing');
  expect({ code, output }).toEqual({ code: 12, output: '' });
  expect(errors).toContain('the harness is broken: the planted fault "nothing" was not found');
});

test.each([
  [['seven'], 'neither a whole number nor a commit'],
  [['7', '--nodes', '0'], 'a number is out of range'],
  [['7', '--plant', 'a flower'], 'no such fault (one of: a loop that drops DELETED;'],
  [['7', '--faults', 'resync,rain'], '--faults rain: no such fault (of watch-stall,'],
  [['7', '--mode', 'loud'], 'Allowed choices are swarm, lite, performance'],
] as const)('%j is refused in one line with exit code 2', (words, message) => {
  const { code, output, errors } = sim(...words);
  expect({ code, output, lines: errors.split('\n').length }).toEqual({ code: 2, output: '', lines: 2 });
  expect(errors).toContain(message.split(' (')[0]);
});

test.each(['lite', 'performance'])('mode %s runs, and prints a document', (mode) => {
  const { code, output } = sim('7', ...small, '--mode', mode, '-o', 'json');
  expect(JSON.parse(output)).toMatchObject({ kind: 'SimReport', seed: '7' });
  expect(output).toMatch(/"digest": "[0-9a-f]{8}"/);
  expect(code).toBe(0);
});
