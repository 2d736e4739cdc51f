// SPDX-License-Identifier: Apache-2.0
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { createClock } from '../../sim/clock.ts';

test('what is planned happens in order of time, and at one time in the order of planning', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(20), { maxLength: 60 }), (delays) => {
      const clock = createClock();
      const done: (readonly [atUs: number, index: number])[] = [];
      for (const [index, delay] of delays.entries()) clock.after(delay, () => done.push([clock.nowUs(), index]));
      clock.runUntil(100, () => false);
      const expected = delays
        .map((delay, index) => [delay, index] as const)
        .toSorted((left, right) => left[0] - right[0] || left[1] - right[1]);
      expect(done).toEqual(expected);
      expect([clock.nowUs(), clock.deeds()]).toEqual([100, delays.length]);
    }),
  );
});

test('the clock stops at the deed that ends the run', () => {
  const clock = createClock();
  let isDone = false;
  clock.after(5, () => {
    isDone = true;
  });
  clock.after(6, () => {
    throw new Error('too late');
  });
  clock.runUntil(100, () => isDone);
  expect(clock.nowUs()).toBe(5);
});
