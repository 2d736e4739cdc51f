// SPDX-License-Identifier: Apache-2.0
/** One number for everything that the packets of a run met: runs that differ anywhere differ in it. */
import type { Outcome } from '../core/twin.ts';

const OFFSET = 0x811c9dc5;
const PRIME = 0x01000193;

/** FNV-1a (32 bits) over verdicts, reasons and bytes, and over tables as memory words. */
export class Digest {
  #hash: number = OFFSET;

  add(word: number): void {
    this.#hash = Math.imul(this.#hash ^ word, PRIME);
  }

  outcome({ verdict, reason, bytes, length }: Outcome): void {
    this.add(verdict);
    this.add(reason);
    for (let at = 0; at < length; at += 1) this.add(bytes[at] ?? 0);
  }

  memory(bytes: Uint8Array): void {
    const words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength >> 2);
    for (const word of words) this.add(word);
  }

  get text(): string {
    return (this.#hash >>> 0).toString(16).padStart(8, '0');
  }
}
