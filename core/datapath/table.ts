// SPDX-License-Identifier: Apache-2.0
/** A hash table of fixed-size entries keyed by words: open addressing over typed arrays, no garbage on lookup. */

/** `capacity` entries; twice as many places, so that probes stay short. */
export type WordTable = {
  readonly keyWords: number;
  readonly valueWords: number;
  readonly capacity: number;
  readonly mask: number;
  readonly keys: Uint32Array;
  readonly values: Uint32Array;
  /** 1 where the place holds an entry. */
  readonly used: Uint8Array;
  size: number;
};

export function createTable(keyWords: number, valueWords: number, capacity: number): WordTable {
  let places = 16;
  while (places < capacity * 2) places *= 2;
  return {
    keyWords,
    valueWords,
    capacity,
    mask: places - 1,
    keys: new Uint32Array(places * keyWords),
    values: new Uint32Array(places * valueWords),
    used: new Uint8Array(places),
    size: 0,
  };
}

function home(table: WordTable, words: Uint32Array, at: number): number {
  let hash = 0x9e3779b9;
  for (let i = 0; i < table.keyWords; i++) {
    hash = Math.imul(hash ^ words[at + i]!, 0x85ebca6b);
    hash ^= hash >>> 15;
  }
  return (Math.imul(hash, 0xc2b2ae35) >>> 8) & table.mask;
}

function holds(table: WordTable, place: number, key: Uint32Array): boolean {
  const at = place * table.keyWords;
  for (let i = 0; i < table.keyWords; i++) if (table.keys[at + i] !== key[i]) return false;
  return true;
}

/** The place of a key, -1: absent. Its value begins at `place * valueWords` of `values`. */
export function tableFind(table: WordTable, key: Uint32Array): number {
  let place = home(table, key, 0);
  while (table.used[place] === 1) {
    if (holds(table, place, key)) return place;
    place = (place + 1) & table.mask;
  }
  return -1;
}

/** Writes an entry; false: the table is full and the key is new. */
export function tableSet(table: WordTable, key: Uint32Array, value: Uint32Array): boolean {
  let place = tableFind(table, key);
  if (place < 0) {
    if (table.size >= table.capacity) return false;
    place = home(table, key, 0);
    while (table.used[place] === 1) place = (place + 1) & table.mask;
    table.used[place] = 1;
    table.keys.set(key, place * table.keyWords);
    table.size++;
  }
  table.values.set(value, place * table.valueWords);
  return true;
}

/** Takes an entry out and closes the gap, so that no probe needs tombstones. */
export function tableDelete(table: WordTable, key: Uint32Array): boolean {
  let gap = tableFind(table, key);
  if (gap < 0) return false;
  table.size--;
  let place = gap;
  for (;;) {
    place = (place + 1) & table.mask;
    if (table.used[place] !== 1) break;
    const wanted = home(table, table.keys, place * table.keyWords);
    if (((place - wanted) & table.mask) < ((place - gap) & table.mask)) continue;
    table.keys.copyWithin(gap * table.keyWords, place * table.keyWords, (place + 1) * table.keyWords);
    table.values.copyWithin(gap * table.valueWords, place * table.valueWords, (place + 1) * table.valueWords);
    gap = place;
  }
  table.used[gap] = 0;
  return true;
}
