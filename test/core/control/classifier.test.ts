// SPDX-License-Identifier: Apache-2.0
/** The filter in front of the maps lets through what is in them, and whether it does is judged of each row. */
import { expect, test } from 'vitest';
import { addressFromIPv4 } from '../../../core/address.ts';
import {
  addKnown,
  classifierCovers,
  classifierOperations,
  emptyClassifier,
  isKnown,
  readClassifier,
} from '../../../core/control/classifier.ts';
import { maps } from '../../../core/layout.gen.ts';
import { failureText } from '../../../core/result.ts';
import { start } from '../../agent/worlds.ts';
import { MemoryStore } from './memory.ts';
import { added, EMPTY_LISTS, endpoint, NODE, service, slice, tell } from './objects.ts';

/** Two Services with two backends each. */
function programmed(): MemoryStore {
  const store = new MemoryStore();
  const loop = start(store, NODE);
  const objects = ['a', 'b'].flatMap((name, index) => [
    added(service(name, `10.96.0.${index + 1}`)),
    added(slice(name, [endpoint(`10.0.${index}.1`), endpoint(`10.0.${index}.2`)])),
  ]);
  tell(loop, [...EMPTY_LISTS, ...objects]);
  expect(loop.step().isSettled).toBe(true);
  return store;
}

test('a filter without a single bit of any frontend or backend does not cover the maps', () => {
  const known = readClassifier(programmed());
  if (!known.ok) throw new Error(failureText(known.error));
  const bits = [...known.value.halves].flatMap((half, at) =>
    Array.from({ length: 32 }, (_, bit) => ({ at, bit })).filter(({ bit }) => ((half >>> bit) & 1) === 1),
  );
  expect(bits.length).toBeGreaterThan(8);
  for (const { at, bit } of bits) {
    const store = programmed();
    expect(classifierCovers(store)).toEqual({ ok: true, value: true });
    const without = emptyClassifier(known.value.halves.length / 2);
    without.halves.set(known.value.halves);
    without.halves[at] = (without.halves[at] ?? 0) & ~(1 << bit);
    without.dirty.add(at);
    for (const operation of classifierOperations(without)) store.damage(operation);
    expect(classifierCovers(store), `bit ${bit} of half ${at}`).toEqual({ ok: true, value: false });
  }
});

test('what is read back is what was written, word for word, and only what changed is written', () => {
  const store = new MemoryStore();
  const classifier = emptyClassifier(store.capacity(maps.classifier));
  const places = Array.from({ length: 40 }, (_, index) => [addressFromIPv4(0x0a00_0000 + index * 7), index] as const);
  for (const [address, number] of places) addKnown(classifier, address, number, 6);
  expect(store.batch(classifierOperations(classifier)).result.ok).toBe(true);
  expect(classifierOperations(classifier)).toEqual([]);
  for (const [address, number] of places) addKnown(classifier, address, number, 6);
  expect(classifierOperations(classifier)).toEqual([]);
  const read = readClassifier(store);
  expect(read.ok && read.value.halves).toEqual(classifier.halves);
  expect(places.every(([address, number]) => isKnown(classifier, address, number, 6))).toBe(true);
  expect(places.filter(([address, number]) => isKnown(classifier, address, number, 17)).length).toBeLessThan(5);
});
