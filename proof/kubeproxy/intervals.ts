// SPDX-License-Identifier: Apache-2.0
/** Sets of addresses as intervals of numbers: ranges are compared by what they hold, however they are written. */
import { isIPv4, parseAddress, parsePrefix } from '../../core/address.ts';

/** Both ends belong to it. */
export type Interval = { readonly first: bigint; readonly last: bigint };

const IPV4_BITS = 32;
const IPV6_BITS = 128;

function numberOf({ a, b, c, d }: { a: number; b: number; c: number; d: number }): bigint {
  return (BigInt(a) << 96n) | (BigInt(b) << 64n) | (BigInt(c) << 32n) | BigInt(d);
}

/** IPv4 addresses are the numbers of their 32 bits. Text that is no address is a bug of the caller. */
export function addressNumber(text: string): bigint {
  const parsed = parseAddress(text);
  if (!parsed.ok) throw new Error(`not an address: ${text}`);
  return isIPv4(parsed.value) && !text.includes(':') ? BigInt(parsed.value.d) : numberOf(parsed.value);
}

/** An address, or a range as `10.0.0.0/8`. */
export function intervalOf(text: string): Interval {
  const parsed = parsePrefix(text);
  if (!parsed.ok) throw new Error(`not a range: ${text}`);
  const isFour = !text.includes(':');
  const first = isFour ? BigInt(parsed.value.address.d) : numberOf(parsed.value.address);
  const free = IPV6_BITS - parsed.value.length;
  return { first, last: first + (1n << BigInt(free)) - 1n };
}

export function holds(intervals: readonly Interval[], value: bigint): boolean {
  return intervals.some(({ first, last }) => first <= value && value <= last);
}

/** Sorted, and joined where they touch: equal sets are equal lists. */
export function normalIntervals(intervals: readonly Interval[]): readonly Interval[] {
  const joined: Interval[] = [];
  for (const next of [...intervals].sort((left, right) => (left.first < right.first ? -1 : 1))) {
    const previous = joined.at(-1);
    if (previous === undefined || next.first > previous.last + 1n) joined.push(next);
    else if (next.last > previous.last) joined[joined.length - 1] = { first: previous.first, last: next.last };
  }
  return joined;
}

/** The numbers at which the answer may change, and their neighbours, within the family. */
export function edgesOf(intervals: readonly Interval[], isSix: boolean): readonly bigint[] {
  const limit = 1n << BigInt(isSix ? IPV6_BITS : IPV4_BITS);
  const edges = intervals.flatMap(({ first, last }) => [first - 1n, first, last, last + 1n]);
  return [...new Set(edges)]
    .filter((edge) => edge >= 0n && edge < limit)
    .sort((left, right) => (left < right ? -1 : 1));
}

/** Long form without abbreviations, for reports and for asking about one address. */
export function numberText(value: bigint, isSix: boolean): string {
  const [parts, bits] = isSix ? [8, 16n] : [4, 8n];
  const pieces = Array.from({ length: parts }, (_, index) => {
    const part = (value >> (bits * BigInt(parts - 1 - index))) & ((1n << bits) - 1n);
    return part.toString(isSix ? 16 : 10);
  });
  return pieces.join(isSix ? ':' : '.');
}

export function intervalsText(intervals: readonly Interval[], isSix: boolean): string {
  const texts = intervals.map(({ first, last }) =>
    first === last ? numberText(first, isSix) : `${numberText(first, isSix)}-${numberText(last, isSix)}`,
  );
  return texts.join(', ') || 'nobody';
}
