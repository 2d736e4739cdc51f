// SPDX-License-Identifier: Apache-2.0
/** Room in arrays: nothing is given out twice, nothing comes back before it has settled, nothing is lost. */
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  claimBlock,
  emptySpace,
  freeElements,
  idPool,
  releaseBlock,
  releaseId,
  returnBlock,
  settleBlocks,
  settleIds,
  takeBlock,
  takeId,
} from '../../../core/control/space.ts';

test('ids are dense from 1, and released ones come back oldest first after they have settled', () => {
  const pool = idPool(4, 0);
  expect([takeId(pool), takeId(pool), takeId(pool), takeId(pool)]).toEqual([1, 2, 3, undefined]);
  releaseId(pool, 2);
  releaseId(pool, 1);
  expect(takeId(pool)).toBeUndefined();
  settleIds(pool);
  expect([takeId(pool), takeId(pool), takeId(pool)]).toEqual([2, 1, undefined]);
});

test('without a quarantine released ids go before fresh ones', () => {
  const pool = idPool(10, 0);
  releaseId(pool, takeId(pool) ?? 0);
  settleIds(pool);
  expect([takeId(pool), takeId(pool)]).toEqual([1, 2]);
});

test('fresh ids go before released ones while fewer wait than the quarantine asks for', () => {
  const pool = idPool(5, 2);
  for (const id of [takeId(pool), takeId(pool)]) releaseId(pool, id ?? 0);
  settleIds(pool);
  expect([takeId(pool), takeId(pool), takeId(pool), takeId(pool)]).toEqual([3, 4, 1, 2]);
});

test('a long life of a pool neither loses nor doubles an id', () => {
  const pool = idPool(100, 0);
  const taken: number[] = [];
  for (let round = 0; round < 20_000; round += 1) {
    const id = round % 3 === 0 ? undefined : takeId(pool);
    if (id !== undefined) taken.push(id);
    else if (taken.length > 0) {
      releaseId(pool, taken.shift() ?? 0);
      settleIds(pool);
    }
    if (round % 1000 === 0) expect(new Set(taken).size).toBe(taken.length);
  }
  expect(taken.length).toBe(99);
});

test('blocks never overlap, and all of the room comes back', () => {
  const step = fc.record({
    kind: fc.constantFrom('take', 'release', 'return', 'settle'),
    size: fc.integer({ min: 1, max: 9 }),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
      const space = emptySpace(40);
      const held: { start: number; length: number }[] = [];
      const cooling: { start: number; length: number }[] = [];
      for (const { kind, size } of steps) {
        if (kind === 'take') {
          const start = takeBlock(space, size);
          if (start !== undefined) held.push({ start, length: size });
        } else if (kind === 'settle') {
          settleBlocks(space);
          cooling.length = 0;
        } else {
          const [block] = held.splice(size % Math.max(1, held.length), 1);
          if (block === undefined) continue;
          (kind === 'release' ? releaseBlock : returnBlock)(space, block.start, block.length);
          if (kind === 'release') cooling.push(block);
        }
        const used = [...held, ...cooling].flatMap(({ start, length }) =>
          Array.from({ length }, (_, index) => start + index),
        );
        expect(new Set(used).size).toBe(used.length);
        expect(Math.max(-1, ...used)).toBeLessThan(40);
        expect(freeElements(space)).toBe(40 - used.length);
        expect(space.holes.filter(({ length }) => length === 0)).toEqual([]);
      }
      settleBlocks(space);
      for (const { start, length } of held) returnBlock(space, start, length);
      expect(space.holes).toEqual([{ start: 0, length: 40 }]);
    }),
  );
});

test('a block can be claimed where it lies, once', () => {
  const space = emptySpace(10);
  expect(claimBlock(space, 3, 4)).toBe(true);
  expect(claimBlock(space, 6, 2)).toBe(false);
  expect(claimBlock(space, 2, 2)).toBe(false);
  expect(claimBlock(space, 9, 2)).toBe(false);
  expect(claimBlock(space, 0, 3)).toBe(true);
  expect(space.holes).toEqual([{ start: 7, length: 3 }]);
});
