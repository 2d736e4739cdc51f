// SPDX-License-Identifier: Apache-2.0
/** The simulation on loaded programs: the same transcript, the same bytes of every packet, the same flow tables. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { installKernel } from '../../cli/install.ts';
import type { Install } from '../../sim/install.ts';
import { simulate, type SimReport } from '../../sim/run.ts';
import { parseSeed } from '../../sim/seed.ts';
import { VERDICT_FORWARD } from '../../core/layout.gen.ts';

const root = join(import.meta.dirname, '../..');
const kernel = installKernel(readFileSync(join(root, 'bpf/tandem.bpf.o')), 'bpf/tandem.bpf.o');

function runOf(text: string, install?: Install): { readonly transcript: string; readonly report: SimReport } {
  const seed = parseSeed(text);
  if (!seed.ok) throw new Error(seed.error.message);
  const lines: string[] = [];
  const sizes = { nodes: 2, services: 5, seconds: 60, onLine: (line: string) => void lines.push(line) };
  const report = simulate({ seed: seed.value, ...sizes, ...(install === undefined ? {} : { install }) });
  return { transcript: lines.join('\n'), report };
}

test.each(['1', '3', '4', '5', '7'])('seed %s is on the kernel what it is in the model', (seed) => {
  const model = runOf(seed);
  const loaded = runOf(seed, kernel);
  expect(loaded.report.violation).toBeUndefined();
  expect(loaded.transcript).toBe(model.transcript);
  expect(loaded.report).toEqual(model.report);
  expect(model.report.tally.packets).toBeGreaterThan(50);
});

test('a program that differs in one byte of one packet gives another digest', () => {
  let isDone = false;
  const wrong: Install = (config, sizes) => {
    const installation = kernel(config, sizes);
    const { twin } = installation;
    const packet: typeof twin.packet = (hook, frame, outside, outcome) => {
      const result = twin.packet(hook, frame, outside, outcome);
      if (outcome.verdict === VERDICT_FORWARD && !isDone) outcome.bytes[0] = 3;
      isDone ||= outcome.verdict === VERDICT_FORWARD;
      return result;
    };
    const { store } = twin;
    const flowMemory = (): Uint8Array => twin.flowMemory();
    return {
      ...installation,
      twin: { name: 'kernel', store, packet, flowMemory, clearFlows: () => twin.clearFlows() },
    };
  };
  const model = runOf('4');
  const loaded = runOf('4', wrong);
  expect(isDone).toBe(true);
  expect(loaded.transcript).toBe(model.transcript);
  expect(loaded.report.digest).not.toBe(model.report.digest);
});

test('--kernel prints what the run without it prints, and ends with 0', () => {
  const words = ['cli/main.ts', 'sim', '7', '--nodes', '2', '--services', '5', '--seconds', '30'];
  const model = spawnSync(process.execPath, words, { cwd: root, encoding: 'utf8' });
  const loaded = spawnSync(process.execPath, [...words, '--kernel'], { cwd: root, encoding: 'utf8' });
  expect(loaded.status).toBe(0);
  expect(loaded.stdout.replaceAll(' --kernel', '')).toBe(model.stdout);
});
