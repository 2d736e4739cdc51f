// SPDX-License-Identifier: Apache-2.0
import { expect, test } from 'vitest';
import { simulate } from '../../sim/run.ts';
import { parseSeed, type Seed } from '../../sim/seed.ts';
import { faultKinds } from '../../sim/swarm.ts';

function seedOf(text: string): Seed {
  const seed = parseSeed(text);
  if (!seed.ok) throw new Error(seed.error.message);
  return seed.value;
}

const seeds = [
  ...Array.from({ length: 12 }, (_, index) => String(index + 1)),
  '0123456789abcdef0123456789abcdef01234567',
];

/** Kinds of faults that struck, over all seeds. */
const struck = new Set<string>();

test.each(seeds)('every promise holds with seed %s', (text) => {
  const onLine = (line: string): void => {
    const [, , symbol, kind] = line.trim().split(/ +/);
    if (symbol === '!' && kind !== undefined) struck.add(kind);
  };
  const swarm = { meanBetweenFaultsUs: 3e6 };
  const report = simulate({ seed: seedOf(text), nodes: 3, services: 8, seconds: 120, swarm, onLine });
  expect(report.violation).toBeUndefined();
  expect(report.tally.completed).toBeGreaterThan(0);
});

test('those seeds had every kind of fault but the rarest', () => {
  const rest = faultKinds.filter((kind) => kind !== 'node-loss' && !struck.has(kind));
  expect(rest).toEqual([]);
});

test('the same seed writes the same transcript, another seed another one', () => {
  const transcript = (text: string): string => {
    const lines: string[] = [];
    simulate({ seed: seedOf(text), nodes: 3, services: 6, seconds: 30, onLine: (line) => lines.push(line) });
    return lines.join('\n');
  };
  expect(transcript('5')).toBe(transcript('5'));
  expect(transcript('5')).not.toBe(transcript('6'));
  expect(
    new Set(
      transcript('5')
        .split('\n')
        .map((line) => line.length),
    ).size,
  ).toBe(1);
});

test('maps that are too small are no secret: the agent says so, and what it holds is whole', () => {
  const report = simulate({ seed: seedOf('3'), nodes: 2, services: 12, seconds: 20, sizes: { services: 8 } });
  expect(report.violation).toBeUndefined();
});
