// SPDX-License-Identifier: Apache-2.0
/** Seeds: a number or a git commit to any count of independent streams. */
import { createStream, type Stream } from '../core/random.ts';
import { fail, ok, type Result } from '../core/result.ts';

/** `text` is what the command line takes to repeat the run. */
export type Seed = { readonly text: string; readonly words: readonly number[] };

/** A whole number, or the 40 hexadecimal digits of a commit. */
export function parseSeed(text: string): Result<Seed> {
  if (/^[0-9a-f]{40}$/i.test(text)) {
    const words = Array.from({ length: 5 }, (_, index) => Number.parseInt(text.slice(index * 8, index * 8 + 8), 16));
    return ok({ text: text.toLowerCase(), words });
  }
  const number = Number(text);
  if (!/^\d{1,16}$/.test(text) || !Number.isSafeInteger(number))
    return fail('usage', `seed "${text}"`, 'neither a whole number nor a commit', 'write 7, or 40 hexadecimal digits');
  return ok({ text: String(number), words: [number] });
}

/** One of the independent streams of a seed. */
export function streamOf({ words }: Seed, ...path: readonly number[]): Stream {
  const [first = 0, ...rest] = words;
  return createStream(first, ...rest, ...path);
}

/** A span drawn from the exponential distribution, at most ten times its mean. */
export function exponential(stream: Stream, mean: number): number {
  return Math.min(10, -Math.log((stream.word() + 1) / 2 ** 32)) * mean;
}
