// SPDX-License-Identifier: Apache-2.0
/** A seeded stream of numbers: what is random in proofs and simulations comes from here, so that a seed repeats it. */

/** Draws; the same seed and path give the same draws for ever. */
export interface Stream {
  /** 0 to 2^32 - 1. */
  word(): number;
  /** 0 to `count` - 1; `count` from 1 to 2^32. */
  below(count: number): number;
  /** True with this probability, 0 to 1. */
  chance(probability: number): boolean;
  /** One of a list that is not empty. */
  pick<T>(list: readonly T[]): T;
}

/** SplitMix32: spreads a seed's bits over the state of the generator. */
function splitter(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x9e3779b9) | 0;
    let mixed = Math.imul(state ^ (state >>> 16), 0x21f0aaad);
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97);
    return (mixed ^ (mixed >>> 15)) >>> 0;
  };
}

function rotate(word: number, bits: number): number {
  return (word << bits) | (word >>> (32 - bits));
}

/** xoshiro128** (Blackman, Vigna). `seed`: a safe integer; `path` tells streams of one seed apart. */
export function createStream(seed: number, ...path: readonly number[]): Stream {
  let mixed = 0;
  for (const part of [seed >>> 0, Math.floor(seed / 2 ** 32), ...path]) mixed = splitter(mixed ^ part)();
  const next = splitter(mixed);
  let [a, b, c, d] = [next(), next(), next(), next() | 1];
  const word = (): number => {
    const result = Math.imul(rotate(Math.imul(b, 5), 7), 9) >>> 0;
    const shifted = b << 9;
    c ^= a;
    d ^= b;
    b ^= c;
    a ^= d;
    c ^= shifted;
    d = rotate(d, 11);
    return result;
  };
  const below = (count: number): number => Math.floor((word() / 2 ** 32) * count);
  return {
    word,
    below,
    chance: (probability) => word() < probability * 2 ** 32,
    pick: (list) => {
      const picked = list[below(list.length)];
      if (picked === undefined) throw new Error('assertion failed: a list to pick from is not empty');
      return picked;
    },
  };
}
