// SPDX-License-Identifier: Apache-2.0
/**
 * 32-bit arithmetic on "memory words": a word is four bytes of a key or packet read as a little-endian number, as the
 * kernel's programs load it. Memory words are compared, hashed and stored, never shown; `swap32` and `swap16` make the
 * number that people mean.
 */

/** The number that four bytes in network order mean, from their memory word. */
export function swap32(word: number): number {
  return ((word << 24) | ((word & 0xff00) << 8) | ((word >>> 8) & 0xff00) | (word >>> 24)) >>> 0;
}

/** The number that two bytes in network order mean, from their 16-bit memory word. */
export function swap16(word: number): number {
  return ((word & 0xff) << 8) | ((word >>> 8) & 0xff);
}

/** The high 32 bits of the 64-bit product of two unsigned words. */
export function multiplyHigh(left: number, right: number): number {
  const leftLow = left & 0xffff;
  const leftHigh = left >>> 16;
  const rightLow = right & 0xffff;
  const rightHigh = right >>> 16;
  const low = Math.imul(leftLow, rightLow) >>> 0;
  const first = Math.imul(leftHigh, rightLow) >>> 0;
  const second = Math.imul(leftLow, rightHigh) >>> 0;
  const middle = (low >>> 16) + (first & 0xffff) + (second & 0xffff);
  return (Math.imul(leftHigh, rightHigh) + (first >>> 16) + (second >>> 16) + (middle >>> 16)) >>> 0;
}

/** The memory word at a byte offset. */
export function wordAt(bytes: Uint8Array, at: number): number {
  return (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0;
}

/** The 16-bit memory word at a byte offset. */
export function halfAt(bytes: Uint8Array, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8);
}

export function putWord(bytes: Uint8Array, at: number, word: number): void {
  bytes[at] = word;
  bytes[at + 1] = word >>> 8;
  bytes[at + 2] = word >>> 16;
  bytes[at + 3] = word >>> 24;
}

export function putHalf(bytes: Uint8Array, at: number, word: number): void {
  bytes[at] = word;
  bytes[at + 1] = word >>> 8;
}
