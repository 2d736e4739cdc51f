// SPDX-License-Identifier: Apache-2.0
/** The list of faults fits the code; with --full every one of them is compiled and must be found. */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { huntMutant } from '../../cli/hunt.ts';
import { mutantLine } from '../../cli/verify.ts';
import { failureText } from '../../core/result.ts';
import { doubts } from '../../proof/mutants/canary.ts';
import { mutants } from '../../proof/mutants/mutants.ts';
import { plantMutant } from '../../proof/mutants/plant.ts';
import { isFull } from '../full.ts';

const TIMEOUT_MS = 120_000;

function sourceOf(file: string): string {
  return readFileSync(new URL(`../../bpf/${file}`, import.meta.url), 'utf8');
}

function unclosed(text: string): number {
  return text.split('{').length - text.split('}').length;
}

describe('the faults', () => {
  test('are at least two hundred, those of IPv6 among them, each with a name of its own', () => {
    expect(mutants.length).toBeGreaterThanOrEqual(200);
    expect(mutants.filter(({ name }) => /6|mapped|extension/.test(name)).length).toBeGreaterThanOrEqual(10);
    expect(new Set(mutants.map(({ name }) => name)).size).toBe(mutants.length);
  });

  test.each(mutants.map((mutant) => [mutant.name, mutant] as const))('%s fits the code as it is now', (_, mutant) => {
    const source = sourceOf(mutant.file);
    const planted = plantMutant(mutant, source);
    expect(planted.ok ? 'planted' : failureText(planted.error)).toBe('planted');
    expect(planted.ok && planted.value).not.toBe(source);
    // What is compiled only by the long run must not fail there for a brace.
    expect(planted.ok && unclosed(planted.value)).toBe(unclosed(source));
  });

  test('one that no longer fits is named, not skipped', () => {
    const [first] = mutants;
    const planted = first === undefined ? undefined : plantMutant({ ...first, find: 'no such text' }, 'int x;');
    expect(planted?.ok === false && planted.error.object).toBe(`mutant ${first?.name}`);
  });
});

if (isFull) {
  describe('every fault', () => {
    test.each(mutants.map((mutant) => [mutant.name, mutant] as const))(
      '%s is found',
      { timeout: TIMEOUT_MS },
      (_, mutant) => {
        const hunted = huntMutant(mutant, 1);
        if (!hunted.ok) throw new Error(failureText(hunted.error));
        const { finding, packets } = hunted.value;
        expect(doubts(mutant, finding)).toEqual([]);
        process.stdout.write(`${mutantLine(mutant, packets, finding?.field ?? '')}\n`);
      },
    );
  });
}
