// SPDX-License-Identifier: Apache-2.0
/**
 * Maglev tables (Eisenbud et al., NSDI 2016): which backend stands in which slot, the same on every node, with few slots
 * changing hands when a backend comes or goes. Bit for bit the tables of Cilium's `pkg/maglev` for equal names, weights
 * and seed.
 */
import { addressText, hostText, protocolText, type Protocol } from '../address.ts';
import { assert } from '../result.ts';
import type { Backend } from '../service.ts';
import { compareTexts } from './names.ts';

/** Sizes of tables: primes. */
export const MAGLEV_SIZES: readonly number[] = [251, 509, 1021, 2039, 4093, 8191, 16381, 32749, 65521, 131071];

/** With so many slots for each backend, shares differ by less than one in a hundred. */
const SLOTS_PER_BACKEND = 100;

/** First word of Cilium's default seed. */
export const MAGLEV_SEED = 0x24b7ef82;

/** `name`: as long as it is the same, slots stay. `weight`: 1 unless some backends are to get more. */
export type MaglevBackend = { readonly name: string; readonly weight: number };

/** The least size that has enough slots for so many backends; the largest where none has. */
export function maglevSize(backends: number): number {
  const size = MAGLEV_SIZES.find((each) => each >= backends * SLOTS_PER_BACKEND);
  return size ?? MAGLEV_SIZES[MAGLEV_SIZES.length - 1] ?? 0;
}

/** The name by which Cilium knows a backend of this cluster, `address` as people write it. */
export function maglevName(address: string, port: number, protocol: string): string {
  return `[${hostText(address)}:${port}/${protocol},State:active]`;
}

/** For each slot the index of its backend; `backends` in any order, at least one, no two of one name. */
export function maglevTable(backends: readonly MaglevBackend[], size: number, seed: number = MAGLEV_SEED): Uint32Array {
  assert(backends.length > 0 && size > 1, 'a table has slots and somebody to fill them');
  const names = backends.map(({ name }) => name);
  const order = [...names.keys()].sort((left, right) => compareTexts(names[left] ?? '', names[right] ?? ''));
  const walks = order.map((index) => walkOf(names[index] ?? '', size, seed));
  const sum = backends.reduce((total, { weight }) => total + weight, 0);
  const isWeighted = Math.floor(sum / backends.length) > 1;
  const weights = order.map((index) => backends[index]?.weight ?? 0);
  const credits = weights.map((weight) => weight / backends.length);
  const table = new Uint32Array(size);
  const taken = new Uint8Array(size);
  for (let turn = 0; turn < size; turn += 1) {
    let who = turn % order.length;
    if (isWeighted) {
      while ((turn + 1) * (weights[who] ?? 0) < Math.trunc(credits[who] ?? 0)) who = (who + 1) % order.length;
      credits[who] = (credits[who] ?? 0) + sum;
    }
    const walk = walks[who];
    assert(walk !== undefined, 'every backend has a walk');
    let slot = walk.next;
    while (taken[slot] === 1) slot = (slot + walk.step) % size;
    walk.next = (slot + walk.step) % size;
    taken[slot] = 1;
    table[slot] = order[who] ?? 0;
  }
  return table;
}

/** Views share their lists, and rows their views: each list is walked once. */
const tables = new WeakMap<readonly Backend[], readonly number[]>();

/** For each slot the index of its backend, all of equal weight; the same for the same list. */
export function tableOf(backends: readonly Backend[], protocol: Protocol): readonly number[] {
  const known = tables.get(backends);
  if (known !== undefined) return known;
  const named = backends.map(({ address, port }) => ({
    name: maglevName(addressText(address), port, protocolText(protocol)),
    weight: 1,
  }));
  const table = [...maglevTable(named, maglevSize(backends.length))];
  tables.set(backends, table);
  return table;
}

/** The order in which a backend would take all slots: from `next` on, every `step`-th. */
type Walk = { next: number; readonly step: number };

function walkOf(name: string, size: number, seed: number): Walk {
  const [first, second] = murmur128(bytesOf(name), seed);
  return { next: Number(first % BigInt(size)), step: Number(second % BigInt(size - 1)) + 1 };
}

/** Names are ASCII. */
function bytesOf(name: string): Uint8Array {
  return Uint8Array.from(name, (each) => each.charCodeAt(0));
}

const C1 = 0x87c37b91114253d5n;
const C2 = 0x4cf5ad432745937fn;

function wrap(value: bigint): bigint {
  return BigInt.asUintN(64, value);
}

function rotate(value: bigint, bits: bigint): bigint {
  return wrap((value << bits) | (value >> (64n - bits)));
}

function finish(value: bigint): bigint {
  let mixed = value ^ (value >> 33n);
  mixed = wrap(mixed * 0xff51afd7ed558ccdn);
  mixed ^= mixed >> 33n;
  mixed = wrap(mixed * 0xc4ceb9fe1a85ec53n);
  return mixed ^ (mixed >> 33n);
}

/** Up to eight bytes, the first the lowest. */
function lane(bytes: Uint8Array, from: number, to: number): bigint {
  let value = 0n;
  for (let at = Math.min(to, bytes.length) - 1; at >= from; at -= 1) value = (value << 8n) | BigInt(bytes[at] ?? 0);
  return value;
}

/** MurmurHash3 x64 128 (Austin Appleby, public domain), both halves seeded alike. */
export function murmur128(bytes: Uint8Array, seed: number): readonly [bigint, bigint] {
  let [high, low] = [BigInt(seed), BigInt(seed)];
  const blocks = bytes.length >> 4;
  for (let block = 0; block < blocks; block += 1) {
    const at = block * 16;
    high ^= wrap(rotate(wrap(lane(bytes, at, at + 8) * C1), 31n) * C2);
    high = wrap(rotate(high, 27n) + low);
    high = wrap(high * 5n + 0x52dce729n);
    low ^= wrap(rotate(wrap(lane(bytes, at + 8, at + 16) * C2), 33n) * C1);
    low = wrap(rotate(low, 31n) + high);
    low = wrap(low * 5n + 0x38495ab5n);
  }
  const tail = blocks * 16;
  low ^= wrap(rotate(wrap(lane(bytes, tail + 8, tail + 16) * C2), 33n) * C1);
  high ^= wrap(rotate(wrap(lane(bytes, tail, tail + 8) * C1), 31n) * C2);
  const length = BigInt(bytes.length);
  high ^= length;
  low ^= length;
  high = wrap(high + low);
  low = wrap(low + high);
  [high, low] = [finish(high), finish(low)];
  high = wrap(high + low);
  low = wrap(low + high);
  return [high, low];
}
