// SPDX-License-Identifier: Apache-2.0
/** A fault is compiled in every run, another one for each commit; a harness that misses it is broken. */
import { describe, expect, test } from 'vitest';
import { huntMutant } from '../../cli/hunt.ts';
import { failureText } from '../../core/result.ts';
import { doubts, drawCanary } from '../../proof/mutants/canary.ts';
import { mutants } from '../../proof/mutants/mutants.ts';
import type { Finding } from '../../proof/steps.ts';
import { commitHash } from './rigs.ts';

const TIMEOUT_MS = 120_000;

describe('the canary', () => {
  const canary = drawCanary(commitHash(), mutants);

  test(`${canary.name} (${canary.meaning}) is found, and the report is about it`, { timeout: TIMEOUT_MS }, () => {
    const hunted = huntMutant(canary, 1);
    if (!hunted.ok) throw new Error(failureText(hunted.error));
    const { finding } = hunted.value;
    expect(doubts(canary, finding), `harness broken: ${JSON.stringify(finding)}`).toEqual([]);
  });

  test('is another one for another commit', () => {
    const hashes = Array.from({ length: 300 }, (_, index) => (index * 7_919).toString(16).padStart(40, 'e'));
    const hashed = hashes.map((hash) => drawCanary(hash.split('').toReversed().join(''), mutants).name);
    expect(new Set(hashed).size).toBeGreaterThan(mutants.length / 2);
    expect(drawCanary('00ff00ff00ff', mutants)).toBe(drawCanary('00ff00ff00ff', mutants));
  });
});

describe('a report on a fault is believed only', () => {
  const mutant = mutants.find(({ name }) => name === 'ip-checksum-stale');
  const good: Finding = {
    field: 'bytes[24..25] ip.checksum',
    model: '0x1111',
    kernel: '0x2222',
    service: 'shop/service-1:http',
    packet: 'from-pod 10.2.0.2:40224 > 10.96.0.1:1 TCP SYN',
    step: 3,
  };
  const cases: readonly (readonly [string, Finding | undefined, number])[] = [
    ['when it names the field', good, 0],
    ['when there is one', undefined, 1],
    ['when the field is one that the fault changes', { ...good, field: 'verdict' }, 1],
    ['when the values differ', { ...good, kernel: good.model }, 1],
    ['when it names the Service', { ...good, service: '' }, 1],
    ['when it shows the packet', { ...good, packet: 'something' }, 1],
  ];
  test.each(cases)('%s', (_, finding, count) => {
    expect(mutant === undefined ? [] : doubts(mutant, finding)).toHaveLength(count);
    expect(mutant).toBeDefined();
  });
});
