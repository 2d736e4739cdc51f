// SPDX-License-Identifier: Apache-2.0
/** Room in arrays of the maps: single numbers and blocks, given back only after a barrier, oldest first. */
import { assert } from '../result.ts';

/**
 * Numbers from 1 up to a limit; 0 is never given out. Released numbers cool down until `settle` (call it where a
 * barrier was carried out), then wait in a queue. One owner; changed in place.
 */
export type IdPool = {
  readonly limit: number;
  /** A released number is used again only when more than so many wait, or no fresh one is left. */
  readonly quarantine: number;
  next: number;
  waiting: number[];
  /** Index in `waiting` of the oldest. */
  head: number;
  cooling: number[];
};

/** `limit`: rows of the array, of which the first stays unused. */
export function idPool(limit: number, quarantine: number): IdPool {
  return { limit, quarantine, next: 1, waiting: [], head: 0, cooling: [] };
}

/** undefined: none is left. */
export function takeId(pool: IdPool): number | undefined {
  const waiting = pool.waiting.length - pool.head;
  if (waiting <= pool.quarantine && pool.next < pool.limit) {
    pool.next += 1;
    return pool.next - 1;
  }
  const id = pool.waiting[pool.head];
  if (id === undefined) return undefined;
  pool.head += 1;
  if (pool.head > 1024 && pool.head * 2 > pool.waiting.length) {
    pool.waiting = pool.waiting.slice(pool.head);
    pool.head = 0;
  }
  return id;
}

/** Gives back a number that programs may have seen. */
export function releaseId(pool: IdPool, id: number): void {
  assert(id > 0 && id < pool.next, `released id ${id} was given out`);
  pool.cooling.push(id);
}

/** Gives back a number that no program can have seen. */
export function returnId(pool: IdPool, id: number): void {
  pool.waiting.push(id);
}

/** After a barrier: what was released before may be used again. */
export function settleIds(pool: IdPool): void {
  for (const id of pool.cooling) pool.waiting.push(id);
  pool.cooling = [];
}

/** How many more can be taken without a barrier. */
export function idsLeft(pool: IdPool): number {
  return pool.limit - pool.next + pool.waiting.length - pool.head;
}

type Hole = { start: number; length: number };

/** Blocks of an array of `limit` elements, first fit, neighbours joined. One owner; changed in place. */
export type Space = { readonly limit: number; readonly holes: Hole[]; cooling: Hole[] };

export function emptySpace(limit: number): Space {
  return { limit, holes: limit > 0 ? [{ start: 0, length: limit }] : [], cooling: [] };
}

/** First element of a block of so many elements; undefined: no hole is large enough. */
export function takeBlock(space: Space, length: number): number | undefined {
  assert(length > 0, 'a block has at least one element');
  for (const [index, hole] of space.holes.entries()) {
    if (hole.length < length) continue;
    const start = hole.start;
    hole.start += length;
    hole.length -= length;
    if (hole.length === 0) space.holes.splice(index, 1);
    return start;
  }
  return undefined;
}

/** Takes exactly this block out of the holes; false: part of it is taken already. */
export function claimBlock(space: Space, start: number, length: number): boolean {
  const index = holeAfter(space, start) - 1;
  const hole = space.holes[index];
  if (hole === undefined || hole.start + hole.length < start + length) return false;
  const tail = { start: start + length, length: hole.start + hole.length - start - length };
  hole.length = start - hole.start;
  const pieces = [hole, tail].filter((piece) => piece.length > 0);
  space.holes.splice(index, 1, ...pieces);
  return true;
}

/** Index of the first hole that starts after an element. */
function holeAfter(space: Space, element: number): number {
  let low = 0;
  let high = space.holes.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    const hole = space.holes[middle];
    if (hole !== undefined && hole.start <= element) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Gives back a block that programs may have read. */
export function releaseBlock(space: Space, start: number, length: number): void {
  space.cooling.push({ start, length });
}

/** Gives back a block that no program can have read. */
export function returnBlock(space: Space, start: number, length: number): void {
  const index = holeAfter(space, start);
  const before = space.holes[index - 1];
  const after = space.holes[index];
  assert(before === undefined || before.start + before.length <= start, 'a block is given back once');
  assert(after === undefined || start + length <= after.start, 'a block is given back once');
  const joinsBefore = before !== undefined && before.start + before.length === start;
  const joinsAfter = after !== undefined && start + length === after.start;
  if (joinsBefore) {
    before.length += length + (joinsAfter ? after.length : 0);
    if (joinsAfter) space.holes.splice(index, 1);
  } else if (joinsAfter) {
    after.start = start;
    after.length += length;
  } else space.holes.splice(index, 0, { start, length });
}

/** After a barrier: what was released before may be used again. */
export function settleBlocks(space: Space): void {
  for (const { start, length } of space.cooling) returnBlock(space, start, length);
  space.cooling = [];
}

/** Elements that are free now, in however many holes. */
export function freeElements(space: Space): number {
  return space.holes.reduce((sum, hole) => sum + hole.length, 0);
}
