// SPDX-License-Identifier: Apache-2.0
/** The script that records incidents still does, and a replay still names the culprit. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';

import type { ReplaySummary } from '../../replay/summary.ts';

const root = join(import.meta.dirname, '../..');
const TIMEOUT_MS = 60_000;

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'tandem-incidents-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

function run(...words: readonly string[]): { readonly code: number | null; readonly out: string } {
  const done = spawnSync(process.execPath, words, { cwd: root, encoding: 'utf8', timeout: TIMEOUT_MS });
  return { code: done.status, out: done.stdout };
}

test('an incident is recorded anew, and replay names its culprit', { timeout: TIMEOUT_MS }, () => {
  const name = 'wrong-node-name';
  expect(run('cli/incidents/record.ts', folder, name)).toEqual({ code: 0, out: `${name} recorded\n` });
  const [packets, events, facts] = ['node1.pcap', 'cluster.events.ndjson', 'node1.json'].map((file) =>
    join(folder, name, file),
  );
  const { code, out } = run(
    'cli/main.ts',
    'replay',
    packets ?? '',
    events ?? '',
    '--node',
    facts ?? '',
    '-o',
    'ndjson',
  );
  const summary = JSON.parse(out.trim().split('\n').at(-1) ?? '') as ReplaySummary;
  expect(code).toBe(3);
  expect(summary.blame).toBe(readFileSync(join(folder, name, 'culprit.txt'), 'utf8').trim());
  expect(summary.connections).toMatchObject({ total: 16, answered: 16, never: 16 });
});
