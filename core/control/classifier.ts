// SPDX-License-Identifier: Apache-2.0
/** The control plane's side of the classifier: which bits must be set for what the other maps hold. */
import type { Address } from '../address.ts';
import { classifierHash } from '../datapath/classify.ts';
import { CLASSIFIER_WORD_BITS_AT, maps } from '../layout.gen.ts';
import { ok, type Result } from '../result.ts';
import { wordOperation, type MapStore, type Operation } from '../store.ts';

/**
 * The filter as it is in the map, two 32-bit halves per word. Bits are only added while an agent runs: one too many
 * costs a lookup, one too few a Service.
 */
export type Classifier = { readonly halves: Uint32Array; readonly dirty: Set<number> };

/** `words`: entries of the map, a power of two. */
export function emptyClassifier(words: number): Classifier {
  return { halves: new Uint32Array(words * 2), dirty: new Set() };
}

/** Reads the filter back from the map. */
export function readClassifier(store: MapStore): Result<Classifier> {
  const entries = store.entries(maps.classifier);
  if (!entries.ok) return entries;
  const classifier = emptyClassifier(store.capacity(maps.classifier));
  for (const [word, { bits }] of entries.value) classifier.halves.set(bits, word * 2);
  return ok(classifier);
}

function hashOf(address: Address, port: number, protocol: number): number {
  return classifierHash(address.a, address.b, address.c, address.d, port | (protocol << 16));
}

/** Marks an address, port and protocol as known; the whole address: port 0, protocol 0. */
export function addKnown(classifier: Classifier, address: Address, port: number, protocol: number): void {
  const hash = hashOf(address, port, protocol);
  const word = hash & (classifier.halves.length / 2 - 1);
  addBit(classifier, word, (hash >>> 20) & 63);
  addBit(classifier, word, (hash >>> 26) & 63);
}

function addBit(classifier: Classifier, word: number, bit: number): void {
  const half = word * 2 + (bit >> 5);
  const before = classifier.halves[half] ?? 0;
  const after = (before | (1 << (bit & 31))) >>> 0;
  if (after === before) return;
  classifier.halves[half] = after;
  classifier.dirty.add(half);
}

/** Whether the filter lets this address, port and protocol through. */
export function isKnown(classifier: Classifier, address: Address, port: number, protocol: number): boolean {
  const hash = hashOf(address, port, protocol);
  const word = hash & (classifier.halves.length / 2 - 1);
  const isSet = (bit: number): boolean => (((classifier.halves[word * 2 + (bit >> 5)] ?? 0) >>> (bit & 31)) & 1) === 1;
  return isSet((hash >>> 20) & 63) && isSet((hash >>> 26) & 63);
}

/** The stores that bring the map up to date, one per changed half; to be carried out before anything is published. */
export function classifierOperations(classifier: Classifier): Operation[] {
  const operations: Operation[] = [];
  for (const half of classifier.dirty) {
    const offset = CLASSIFIER_WORD_BITS_AT + (half & 1) * 4;
    operations.push(wordOperation(maps.classifier, half >> 1, offset, classifier.halves[half] ?? 0));
  }
  classifier.dirty.clear();
  return operations;
}

/** Whether the filter lets every frontend and every live backend through. */
export function classifierCovers(store: MapStore): Result<boolean> {
  const classifier = readClassifier(store);
  if (!classifier.ok) return classifier;
  const frontends = store.entries(maps.frontends);
  if (!frontends.ok) return frontends;
  const backends = store.entries(maps.backends);
  if (!backends.ok) return backends;
  const known = (address: Address, port: number, protocol: number): boolean =>
    isKnown(classifier.value, address, port, protocol);
  return ok(
    frontends.value.every(([key]) => known(key.address, key.port, key.protocol)) &&
      backends.value.every(([, { address, port, protocol }]) => known(address, port, protocol)),
  );
}
