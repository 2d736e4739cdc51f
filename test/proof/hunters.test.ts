// SPDX-License-Identifier: Apache-2.0
/** Mechanical mutants on the kernel: what is none, what never runs, what is found, and a few drawn by the commit. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Hunter } from '../../cli/hunters.ts';
import { runMechanical, twinnedHeaders } from '../../cli/mechanical.ts';
import { SOURCES } from '../../cli/mutant.ts';
import { isTrusted, tableText, totalsOf, type Fate } from '../../proof/mutants/fates.ts';
import { argued } from '../../proof/mutants/survivors.ts';
import { commitHash } from './rigs.ts';
import { isFull } from '../full.ts';

const TIMEOUT_MS = 120_000;
const FULL_TIMEOUT_MS = 1_500_000;
const ROUNDS = [{ road: 'packets', seed: 1, count: 500 }] as const;

describe('a mutant', () => {
  const header = twinnedHeaders().find(({ name }) => name === 'checksum.h') ?? { name: '', text: '' };
  let hunter: Hunter;
  beforeAll(() => {
    hunter = new Hunter(SOURCES);
  });
  afterAll(() => hunter.end());

  const fateWith = (more: string, isControl = false): Promise<Fate> =>
    hunter.ask({ header: header.name, text: `${header.text}\n${more}\n`, rounds: ROUNDS, isControl });

  test('that changes no code is none', async () => {
    expect(await fateWith('/* the same */')).toEqual({ kind: 'same' });
  });

  test('that clang refuses is none', async () => {
    expect(await fateWith('no C at all')).toEqual({ kind: 'uncompiled' });
  });

  test('that the verifier refuses is found by it', async () => {
    // Every bound of a packet is its beginning.
    expect(await fateWith('#define data_end data')).toMatchObject({ kind: 'verifier' });
  });

  test(
    'that takes its process down is found, and the next one gets another process',
    { timeout: TIMEOUT_MS },
    async () => {
      const asked = fateWith('', true);
      process.kill(hunter.pid ?? 0, 'SIGSEGV');
      expect(await asked).toEqual({ kind: 'crash', why: 'ended by SIGSEGV' });
      expect(await fateWith('', true)).toMatchObject({ kind: 'hunted', packets: 500, finding: undefined });
    },
  );
});

describe('mechanical mutants', () => {
  // A survivor that can't be found is drawn now and then; two of four would mean that the comparison is blind.
  const [count, survivorsMax] = isFull ? [200, 10] : [4, 1];
  const seed = isFull ? 1 : Number.parseInt(commitHash().slice(0, 8), 16);

  test(`of seed ${seed}: of ${count} all but a few are found`, { timeout: FULL_TIMEOUT_MS }, async () => {
    const report = await runMechanical({ count, seed });
    const table = tableText(report, argued, seed);
    const failed = report.judged.filter(({ fate }) => fate.kind === 'failed');
    expect(failed, table).toEqual([]);
    expect(report.control, table).toMatchObject({ kind: 'hunted', finding: undefined });
    const open = totalsOf(report.judged).survivors.filter(({ key }) => !(key in argued));
    expect(open.length, table).toBeLessThanOrEqual(survivorsMax);
    expect(report.judged, table).toHaveLength(count);
    if (isFull) expect(isTrusted(report, argued), table).toBe(true);
    if (isFull) process.stdout.write(`${table}\n`);
  });
});
