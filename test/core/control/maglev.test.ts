// SPDX-License-Identifier: Apache-2.0
/** Maglev tables: the published vector bit for bit, balance, independence of order, and what a removal moves. */
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { addressFromIPv4, addressText, endpointText, port, TCP, UDP } from '../../../core/address.ts';
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
import { isFull } from '../../full.ts';

/** As in the published vectors: address and port are one number. */
function numbered(number: number, weight = 1): MaglevBackend {
  return { name: maglevName(addressText(addressFromIPv4(number)), number, 'TCP'), weight };
}

/** Pods of a cluster on one port. */
function pods(count: number): MaglevBackend[] {
  return Array.from({ length: count }, (_, index) => ({
    name: maglevName(addressText(addressFromIPv4(0x0a00_0000 + index * 7 + 1)), 8080, 'TCP'),
    weight: 1,
  }));
}

/** `index(length),...` */
function runsOf(table: Uint32Array): string {
  const runs: string[] = [];
  for (let from = 0; from < table.length;) {
    let to = from;
    while (to < table.length && table[to] === table[from]) to += 1;
    runs.push(`${table[from]}(${to - from})`);
    from = to;
  }
  return runs.join(',');
}

function countsOf(table: Uint32Array, backends: number): number[] {
  const counts = Array.from({ length: backends }, () => 0);
  for (const index of table) counts[index] = (counts[index] ?? 0) + 1;
  return counts;
}

/** Slots that belonged to a survivor and belong to another one without the backend at `gone`. */
function movedSlots(backends: readonly MaglevBackend[], gone: number, size: number): number {
  const before = maglevTable(backends, size);
  const left = backends.filter((_, index) => index !== gone);
  const after = maglevTable(left, size);
  return before.reduce((moved, index, slot) => {
    const isMoved = index !== gone && backends[index]?.name !== left[after[slot] ?? 0]?.name;
    return isMoved ? moved + 1 : moved;
  }, 0);
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const hex = (text: string): string[] =>
  murmur128(bytes(text), MAGLEV_SEED).map((half) => half.toString(16).padStart(16, '0'));

describe('the published vectors', () => {
  test('MurmurHash3 of the names, seeded with the first word of the default seed', () => {
    expect(hex('[0.0.0.1:1/TCP,State:active]')).toEqual(['e5a61e346c85d436', '53ee412cc7f20636']);
    expect(hex('[0.0.0.5:5/TCP,State:active]')).toEqual(['56d0ca3e664038a4', '793a8eb76fc21245']);
  });

  test('MurmurHash3 of every length of tail, seed 0 and the empty text', () => {
    expect(murmur128(bytes(''), 0)).toEqual([0n, 0n]);
    const halves = Array.from({ length: 33 }, (_, length) => murmur128(bytes('x'.repeat(length)), 0).join());
    expect(new Set(halves).size).toBe(33);
    const sentence = murmur128(bytes('The quick brown fox jumps over the lazy dog'), 0);
    expect(sentence.map((half) => half.toString(16))).toEqual(['e34bbc7bbc071b6c', '7a433ca9c49a9347']);
  });

  test('251 slots of four backends with weights 2, 13, 111 and 10: every run', () => {
    const table = maglevTable([numbered(1, 2), numbered(3, 13), numbered(4, 111), numbered(5, 10)], 251);
    expect(countsOf(table, 4)).toEqual([4, 24, 204, 19]);
    expect(runsOf(table)).toBe(
      '2(5),3(1),2(3),1(1),2(2),0(1),2(1),3(1),2(1),3(1),2(1),1(1),2(7),1(1),2(14),3(1),2(1),1(2),2(12),3(1),2(3),' +
        '1(1),2(4),3(1),2(8),3(1),2(2),1(1),2(16),1(2),2(3),3(1),2(11),1(2),2(4),3(1),2(3),1(1),2(4),3(1),2(1),0(1),' +
        '1(1),2(8),1(1),2(7),1(1),2(4),3(1),2(1),3(1),2(9),1(2),2(5),1(1),2(7),3(1),2(1),3(1),1(1),2(8),1(1),2(4),' +
        '0(1),2(1),1(1),2(5),3(1),2(3),1(1),2(4),3(1),2(3),1(1),2(12),0(1),3(1),2(3),3(1),2(4),3(1),2(2),1(1),2(7)',
    );
  });

  test('1021 slots by weight are 16, 98, 832 and 75; the first one gone moves 7 slots of the others', () => {
    const backends = [numbered(1, 2), numbered(2, 13), numbered(3, 111), numbered(4, 10)];
    expect(countsOf(maglevTable(backends, 1021), 4)).toEqual([16, 98, 832, 75]);
    expect(movedSlots(backends, 0, 1021)).toBe(7);
  });

  test('1021 slots of three equal backends: the last one gone moves one slot of the others', () => {
    expect(movedSlots([numbered(1), numbered(2), numbered(3)], 2, 1021)).toBe(1);
  });
});

test.each([
  [3, 0.1],
  [10, 0.8],
  [50, 1.2],
  [100, 1.5],
  [160, 2],
])('of 16381 slots, %i backends less one: at most %d %% of the slots move among the others', (count, limit) => {
  const moved = [0, count >> 1, count - 1].map((gone) => movedSlots(pods(count), gone, 16_381));
  expect((100 * Math.max(...moved)) / 16_381).toBeLessThan(limit);
});

describe('names and sizes', () => {
  test('an IPv6 address has brackets of its own', () => {
    expect(maglevName('10.0.0.1', 80, 'TCP')).toBe('[10.0.0.1:80/TCP,State:active]');
    expect(maglevName('fd00::1', 53, 'UDP')).toBe('[[fd00::1]:53/UDP,State:active]');
  });

  test('sizes are primes, and each backend has a hundred slots up to 1310', () => {
    for (const size of MAGLEV_SIZES) {
      for (let factor = 2; factor * factor <= size; factor += 1) expect(size % factor, String(size)).not.toBe(0);
    }
    const thresholds = [2, 5, 10, 20, 40, 81, 163, 327, 655, 1310];
    expect(thresholds.map(maglevSize)).toEqual(MAGLEV_SIZES);
    expect(thresholds.slice(0, -1).map((count) => maglevSize(count + 1))).toEqual(MAGLEV_SIZES.slice(1));
    expect([0, 1, 1311, 100_000].map(maglevSize)).toEqual([251, 251, 131_071, 131_071]);
  });

  test('no backend, or no slot, is a broken promise', () => {
    expect(() => maglevTable([], 251)).toThrow('assertion failed');
    expect(() => maglevTable(pods(1), 1)).toThrow('assertion failed');
  });
});

/** Different names in no order. */
const backendsArbitrary = (most: number): fc.Arbitrary<MaglevBackend[]> =>
  fc
    .uniqueArray(fc.nat(0xffff_ffff), { minLength: 1, maxLength: most, size: 'max' })
    .map((words) =>
      words.map((word) => ({ name: maglevName(addressText(addressFromIPv4(word)), 80, 'TCP'), weight: 1 })),
    );

const smallSizes = MAGLEV_SIZES.filter((size) => isFull || size <= 8191);

/** The description word for word, with every permutation written out. */
function described(backends: readonly MaglevBackend[], size: number): number[] {
  const order = backends.map((backend, index) => ({ ...backend, index })).sort((a, b) => (a.name < b.name ? -1 : 1));
  const permutations = order.map(({ name }) => {
    const [first, second] = murmur128(bytes(name), MAGLEV_SEED);
    const [offset, skip] = [Number(first % BigInt(size)), Number(second % BigInt(size - 1)) + 1];
    return Array.from({ length: size }, (_, turn) => (offset + turn * skip) % size);
  });
  const sum = order.reduce((total, { weight }) => total + weight, 0);
  const counters = order.map(({ weight }) => weight / order.length);
  const next = order.map(() => 0);
  const table: number[] = Array.from({ length: size }, () => -1);
  for (let turn = 0, at = 0; turn < size; turn += 1) {
    at = turn % order.length;
    if (Math.floor(sum / order.length) > 1) {
      while ((turn + 1) * (order[at]?.weight ?? 0) < Math.trunc(counters[at] ?? 0)) at = (at + 1) % order.length;
      counters[at] = (counters[at] ?? 0) + sum;
    }
    let slot = permutations[at]?.[next[at] ?? 0] ?? 0;
    while (table[slot] !== -1) {
      next[at] = (next[at] ?? 0) + 1;
      slot = permutations[at]?.[next[at] ?? 0] ?? 0;
    }
    table[slot] = order[at]?.index ?? 0;
  }
  return table;
}

test('with any weights the table is the one of the description', () => {
  const weighted = fc
    .tuple(backendsArbitrary(20), fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 20, maxLength: 20 }))
    .map(([backends, weights]) => backends.map(({ name }, index) => ({ name, weight: weights[index] ?? 1 })));
  fc.assert(
    fc.property(weighted, fc.constantFrom(251, 509), (backends, size) => {
      expect([...maglevTable(backends, size)]).toEqual(described(backends, size));
    }),
    { numRuns: isFull ? 2000 : 60 },
  );
});

describe('properties', () => {
  test('shares of equal backends differ by one slot at most, for 1 to 1,000 backends and every size', () => {
    for (const size of MAGLEV_SIZES) {
      for (const count of isFull ? [1, 2, 3, 7, 10, 50, 99, 100, 160, 333, 500, 999, 1000] : [1, 3, 160, 1000]) {
        const counts = countsOf(maglevTable(pods(count), size), count);
        expect(Math.max(...counts) - Math.min(...counts), `${count} in ${size}`).toBeLessThanOrEqual(1);
        expect(counts.reduce((sum, each) => sum + each, 0)).toBe(size);
      }
    }
  });

  test('shares of any equal backends differ by one slot at most', () => {
    fc.assert(
      fc.property(backendsArbitrary(1000), fc.constantFrom(...smallSizes), (backends, size) => {
        const counts = countsOf(maglevTable(backends, size), backends.length);
        expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(1);
      }),
      { numRuns: isFull ? 500 : 25 },
    );
  });

  test('the table is the same for any order of the list: slots belong to names', () => {
    const shuffled = backendsArbitrary(60).chain((backends) =>
      fc.tuple(
        fc.constant(backends),
        fc.shuffledSubarray(backends, { minLength: backends.length, maxLength: backends.length }),
      ),
    );
    fc.assert(
      fc.property(shuffled, fc.constantFrom(...smallSizes), ([backends, other], size) => {
        const names = (listed: readonly MaglevBackend[]): (string | undefined)[] =>
          [...maglevTable(listed, size)].map((index) => listed[index]?.name);
        expect(names(other)).toEqual(names(backends));
      }),
      { numRuns: isFull ? 300 : 30 },
    );
  });

  test('equal weights of any size are no weights', () => {
    fc.assert(
      fc.property(backendsArbitrary(40), fc.integer({ min: 1, max: 256 }), (backends, weight) => {
        const weighted = backends.map(({ name }) => ({ name, weight }));
        expect(runsOf(maglevTable(weighted, 1021))).toBe(runsOf(maglevTable(backends, 1021)));
      }),
      { numRuns: isFull ? 500 : 50 },
    );
  });

  test('the walk of a backend reaches every slot: alone it has them all, of two each has half', () => {
    for (const size of MAGLEV_SIZES) {
      expect(countsOf(maglevTable(pods(1), size), 1)).toEqual([size]);
      expect(countsOf(maglevTable(pods(2), size), 2)).toEqual([(size + 1) / 2, (size - 1) / 2]);
    }
  });
});

describe('tables of views', () => {
  const listed: readonly Backend[] = [1, 2, 3].map((last) => {
    const address = addressFromIPv4(0x0a00_0000 + last);
    const text = endpointText(address, port(8080));
    return { address, port: port(8080), state: 'active', node: '', zone: '', identity: [last, 0], text };
  });

  test('a list has the table of its size, and one list is walked once', () => {
    const table = tableOf(listed, TCP);
    expect(table).toHaveLength(maglevSize(3));
    expect(tableOf(listed, TCP)).toBe(table);
    expect(tableOf([...listed], TCP)).toEqual(table);
  });

  test('pod, state, node and zone change no slot; the protocol does', () => {
    const other = listed.map((each) => ({ ...each, pod: 'x', state: 'terminating' as const, node: 'n', zone: 'z' }));
    expect(tableOf(other, TCP)).toEqual(tableOf(listed, TCP));
    expect(tableOf([...listed], UDP)).not.toEqual(tableOf(listed, TCP));
  });
});

const percent = (part: number, whole: number): string => `${((100 * part) / whole).toFixed(2)} %`;

/** One row per count of backends: what moves among the others when one goes, over removals spread over the list. */
function disruptionRow(count: number): string {
  const size = maglevSize(count);
  const backends = pods(count);
  const removals = Math.min(count, 10);
  const moved = Array.from({ length: removals }, (_, each) =>
    movedSlots(backends, Math.floor((each * count) / removals), size),
  );
  const mean = moved.reduce((sum, each) => sum + each, 0) / removals;
  return `| ${count} | ${size} | ${removals} | ${percent(mean, size)} | ${percent(Math.max(...moved), size)} |`;
}

/** What part of the clients of survivors moves where the size of the table changes with the count. */
function thresholdRow(count: number): string {
  const [backends, left] = [pods(count + 1), pods(count)];
  const [larger, smaller] = [maglevTable(backends, maglevSize(count + 1)), maglevTable(left, maglevSize(count))];
  const clients = 100_000;
  let [kept, moved] = [0, 0];
  for (let client = 0; client < clients; client += 1) {
    const before = larger[Math.floor((client * larger.length) / clients)] ?? 0;
    if (before === count) continue;
    kept += 1;
    if (smaller[Math.floor((client * smaller.length) / clients)] !== before) moved += 1;
  }
  return `| ${count + 1} to ${count} | ${larger.length} to ${smaller.length} | ${percent(moved, kept)} |`;
}

const PAGE = `# Maglev tables

Services ask for one with the annotation \`tandem/algorithm: maglev\`, nodes with the key \`algorithm\`. Tables are bit
for bit those of Cilium's \`pkg/maglev\` for equal names, weights and seed: every node computes the same.

Shares differ by one slot at most. What a table doesn't promise is that survivors keep all their slots when a backend
goes: the freed slots are walked for anew, and a walk that ends elsewhere pushes others. This page is written by
\`test/core/control/maglev.test.ts\`, which computes it.

## One backend goes, the size stays

Slots that belonged to one of the others and then belong to another one, in parts of all slots; the mean and the worst
of several removals.

| backends | slots | removals | mean | worst |
| --- | --- | --- | --- | --- |
`;

const THRESHOLDS = `
## One backend goes, the size changes

The size follows the count, a hundred slots for each backend: the table depends on the list of backends alone, never on
what it was before, so all nodes agree. The price is paid where the count passes a threshold: slots of two sizes have
little in common. Connections that exist are kept by connection tracking; this is about new ones.

| backends | slots | clients of survivors that move |
| --- | --- | --- |
`;

test('what a removal moves is what the page says', { timeout: 60_000 }, async () => {
  const counts = [3, 10, 50, 100, 160, 500, 1000].map(disruptionRow);
  const thresholds = [2, 5, 10, 20, 40, 81].map(thresholdRow);
  const text = `${PAGE}${counts.join('\n')}\n${THRESHOLDS}${thresholds.join('\n')}\n`;
  await expect(text).toMatchFileSnapshot('../../../docs/reference/maglev.md');
});
