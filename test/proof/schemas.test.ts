// SPDX-License-Identifier: Apache-2.0
/** What `tandem verify` and `tandem bench` print and write as JSON is what docs/schema says. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';

import { buildMutant } from '../../cli/mutant.ts';
import { mutants } from '../../proof/mutants/mutants.ts';
import { complaints, damaged } from '../schema/validate.ts';

const root = join(import.meta.dirname, '../..');
const TIMEOUT_MS = 120_000;

let folder = '';
let object = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'tandem-schemas-'));
  object = join(folder, 'mutant.o');
  const mutant = mutants.find(({ name }) => name === 'reply-ports-swapped');
  const built = mutant === undefined ? undefined : buildMutant(mutant);
  if (built?.ok !== true) throw new Error('the fault can be compiled');
  writeFileSync(object, built.value);
});
afterAll(() => rmSync(folder, { recursive: true }));

function printed(...words: readonly string[]): unknown {
  const done = spawnSync(process.execPath, ['cli/main.ts', ...words, '-o', 'json'], {
    cwd: root,
    encoding: 'utf8',
    timeout: TIMEOUT_MS,
  });
  return JSON.parse(done.stdout);
}

/** Damage is found; fields that may be absent are named. */
function expectStrict(name: string, document: unknown, optional: readonly string[] = []): void {
  expect(complaints(name, document)).toEqual([]);
  for (const [what, wrong] of damaged(document)) {
    if (optional.some((field) => what === `without ${field}`)) continue;
    expect(complaints(name, wrong).length, `${name} ${what}`).toBeGreaterThan(0);
  }
}

test('a VerifySummary of packets and sockets, and of sequences', () => {
  expectStrict('verify', printed('verify', '--seed', '5', '--budget', '3000'), ['packets', 'sockets']);
  expectStrict('verify', printed('verify', 'sequences', '--seed', '5', '--budget', '500'));
});

test.each([[[]], [['sequences']]])('a VerifyFinding with its VerifyCase: verify %j', (words) => {
  const found = printed('verify', ...words, '--seed', '5', '--budget', '20000', '--object', object);
  expectStrict('verify', found, ['case']);
  const { case: written } = found as { readonly case: unknown };
  expectStrict('verify-case', written);
  const file = join(folder, 'case.json');
  writeFileSync(file, JSON.stringify(written));
  expectStrict('verify', printed('verify', '--case', file, '--object', object));
  expectStrict('verify', printed('verify', '--case', file));
});

test('BenchSockets', { timeout: TIMEOUT_MS }, () => {
  expectStrict('bench-sockets', printed('bench', 'sockets', '--rounds', '1'));
});
