// SPDX-License-Identifier: Apache-2.0
/** Sets of addresses as intervals: the same set is the same list, and its edges are where it changes. */
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  addressNumber,
  edgesOf,
  holds,
  intervalOf,
  normalIntervals,
  numberText,
} from '../../proof/kubeproxy/intervals.ts';

const interval = fc
  .tuple(fc.integer({ min: 0, max: 60 }), fc.integer({ min: 0, max: 8 }))
  .map(([first, more]) => ({ first: BigInt(first), last: BigInt(first + more) }));

test('joined intervals hold what the intervals held, and touch nowhere', () => {
  fc.assert(
    fc.property(fc.array(interval, { maxLength: 6 }), (intervals) => {
      const joined = normalIntervals(intervals);
      for (let value = 0n; value < 80n; value += 1n) expect(holds(joined, value)).toBe(holds(intervals, value));
      for (const [index, { first }] of joined.entries()) {
        if (index > 0) expect(first).toBeGreaterThan((joined[index - 1]?.last ?? 0n) + 1n);
      }
    }),
  );
});

test('between two neighbouring edges nothing changes', () => {
  fc.assert(
    fc.property(fc.array(interval, { maxLength: 5 }), (intervals) => {
      const edges = edgesOf(intervals, false);
      for (let value = 1n; value < 80n; value += 1n) {
        const changes = holds(intervals, value) !== holds(intervals, value - 1n);
        if (changes) expect([edges.includes(value), edges.includes(value - 1n)]).toEqual([true, true]);
      }
    }),
  );
});

test('text of a number is the address again, in both families', () => {
  fc.assert(
    fc.property(
      fc.bigInt({ min: 0n, max: (1n << 32n) - 1n }),
      fc.bigInt({ min: 0n, max: (1n << 128n) - 1n }),
      (four, six) => {
        expect(addressNumber(numberText(four, false))).toBe(four);
        expect(addressNumber(numberText(six, true))).toBe(six);
      },
    ),
  );
});

test('a range of addresses ends where its prefix ends', () => {
  expect(intervalOf('10.1.2.3/8')).toEqual({ first: 0x0a000000n, last: 0x0affffffn });
  expect(intervalOf('2001:db8::/127')).toEqual({ first: 0x20010db8n << 96n, last: (0x20010db8n << 96n) + 1n });
  expect(intervalOf('::/0')).toEqual({ first: 0n, last: (1n << 128n) - 1n });
});
