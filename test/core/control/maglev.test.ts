// SPDX-License-Identifier: Apache-2.0
/** Maglev tables: bit for bit those of Cilium for equal names, weights and seed; balanced, and calm when a backend goes. */
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { addressFromIPv4, endpointText, port, TCP } from '../../../core/address.ts';
import {
  MAGLEV_SEED,
  MAGLEV_SIZES,
  maglevName,
  maglevSize,
  maglevTable,
  murmur128,
  tableOf,
  type MaglevBackend,
} from '../../../core/control/maglev.ts';
import type { Backend } from '../../../core/service.ts';

/** Of the upstream test of reproducibility. */
const WEIGHTS = [2, 13, 111, 10];

function weighted(lasts: readonly number[]): MaglevBackend[] {
  return lasts.map((last, index) => ({ name: maglevName(`0.0.0.${last}`, last, 'TCP'), weight: WEIGHTS[index] ?? 1 }));
}

function equal(count: number): MaglevBackend[] {
  return Array.from({ length: count }, (_, index) => ({
    name: maglevName(`10.0.${index >> 8}.${index & 255}`, 8080, 'TCP'),
    weight: 1,
  }));
}

/** `who` and how many slots in a row. */
function runsOf(table: Uint32Array): string[] {
  const runs: { readonly who: number; count: number }[] = [];
  for (const who of table) {
    const last = runs.at(-1);
    if (last?.who === who) last.count += 1;
    else runs.push({ who, count: 1 });
  }
  return runs.map(({ who, count }) => `${who}(${count})`);
}

function slotsOf(table: Uint32Array, backends: number): number[] {
  const slots = Array.from({ length: backends }, () => 0);
  for (const who of table) slots[who] = (slots[who] ?? 0) + 1;
  return slots;
}

describe('murmur', () => {
  const hash = (text: string): string[] =>
    murmur128(new TextEncoder().encode(text), MAGLEV_SEED).map((each) => each.toString(16));

  test.each([
    ['[0.0.0.1:1/TCP,State:active]', 'e5a61e346c85d436', '53ee412cc7f20636'],
    ['[0.0.0.5:5/TCP,State:active]', '56d0ca3e664038a4', '793a8eb76fc21245'],
  ])('of %s is that of upstream', (text, first, second) => {
    expect(hash(text)).toEqual([first, second]);
  });

  test('of every length from one block to the next differs from the one before', () => {
    const hashes = Array.from({ length: 34 }, (_, length) => hash('x'.repeat(length)).join(' '));
    expect(new Set(hashes).size).toBe(34);
    expect(hash('a'.repeat(20))).toEqual(hash('a'.repeat(20)));
    expect(hash(`${'a'.repeat(15)}b`)).not.toEqual(hash('a'.repeat(16)));
  });
});

describe('a table', () => {
  test('with weights is that of upstream, slot for slot', () => {
    const table = maglevTable(weighted([1, 3, 4, 5]), 251);
    const runs = runsOf(table);
    expect(runs.slice(0, 8)).toEqual(['2(5)', '3(1)', '2(3)', '1(1)', '2(2)', '0(1)', '2(1)', '3(1)']);
    expect(runs.slice(-5)).toEqual(['2(4)', '3(1)', '2(2)', '1(1)', '2(7)']);
    expect(slotsOf(table, 4)).toEqual([4, 24, 204, 19]);
    expect(slotsOf(maglevTable(weighted([1, 2, 3, 4]), 1021), 4)).toEqual([16, 98, 832, 75]);
  });

  test('does not depend on the order in which backends are told', () => {
    fc.assert(
      fc.property(fc.shuffledSubarray(equal(12), { minLength: 1 }), (backends) => {
        const names = (order: readonly MaglevBackend[]): (string | undefined)[] =>
          [...maglevTable(order, 251)].map((who) => order[who]?.name);
        expect(names(backends)).toEqual(names(backends.toSorted((left, right) => (left.name < right.name ? -1 : 1))));
      }),
      { numRuns: 30 },
    );
  });

  test.each([1, 2, 3, 10, 100])(
    'gives each of %j equal backends the same number of slots, one more or less',
    (count) => {
      const size = maglevSize(count);
      const slots = slotsOf(maglevTable(equal(count), size), count);
      expect(Math.max(...slots) - Math.min(...slots)).toBeLessThanOrEqual(1);
      expect(slots.reduce((sum, each) => sum + each, 0)).toBe(size);
    },
  );

  test.each([
    ['the last of 3 equal backends leaves', equal(3), 2, 0.01],
    ['the first of 4 weighted ones leaves', weighted([1, 2, 3, 4]), 0, 0.0069],
  ])('moves few slots of the others where %s', (_, backends, gone, share) => {
    const before = maglevTable(backends, 1021);
    const left = backends.filter((__, index) => index !== gone);
    const after = maglevTable(left, 1021);
    const moved = [...before].filter((who, slot) => who !== gone && left[after[slot] ?? 0] !== backends[who]).length;
    expect(moved / 1021).toBeLessThanOrEqual(share);
    expect(moved).toBeGreaterThan(0);
  });
});

test('a table has a hundred slots for each backend, as long as there is one so large', () => {
  expect([0, 1, 2, 3, 5, 6, 1310, 1311, 5000].map(maglevSize)).toEqual([
    ...[251, 251, 251, 509, 509, 1021, 131071, 131071, 131071],
  ]);
  const isPrime = (value: number): boolean => {
    for (let by = 2; by * by <= value; by += 1) if (value % by === 0) return false;
    return true;
  };
  expect(MAGLEV_SIZES.filter((size) => !isPrime(size))).toEqual([]);
});

test('backends go by the names that Cilium has for them, with brackets around IPv6', () => {
  expect(maglevName('10.0.0.1', 80, 'TCP')).toBe('[10.0.0.1:80/TCP,State:active]');
  expect(maglevName('fd00::1', 53, 'UDP')).toBe('[[fd00::1]:53/UDP,State:active]');
});

test('the table of a list is that of its names, and made once', () => {
  const backends = [1, 2, 3].map((last): Backend => {
    const address = addressFromIPv4(0x0a00_0000 + last);
    const text = endpointText(address, port(80));
    return { address, port: port(80), state: 'active', node: '', zone: '', identity: [0, last], text };
  });
  const named = [1, 2, 3].map((last) => ({ name: maglevName(`10.0.0.${last}`, 80, 'TCP'), weight: 1 }));
  expect(tableOf(backends, TCP)).toEqual([...maglevTable(named, 509)]);
  expect(tableOf(backends, TCP)).toBe(tableOf(backends, TCP));
});
