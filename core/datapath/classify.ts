// SPDX-License-Identifier: Apache-2.0
/**
 * "Certainly not ours" in one or two array reads; twin of bpf/classify.h. A Bloom filter with two bits in one 64-bit
 * word for every frontend, owned address and backend; false hits cost a lookup, nothing else.
 */
import type { Maps } from './maps.ts';
import { SERVICE_RANGES } from '../layout.gen.ts';
import { isMapped, KEY_DESTINATION, KEY_PORTS, KEY_PROTOCOL, KEY_SOURCE, type Packet } from './packet.ts';
import { swap16, swap32 } from './words.ts';

/**
 * Hash of an address (four words, most significant first) and `ports`: port | protocol << 16, 0 for the whole address.
 * Word index: hash & mask; its bits: hash >>> 20 & 63 and hash >>> 26.
 */
export function classifierHash(a: number, b: number, c: number, d: number, ports: number): number {
  let hash = Math.imul(ports, 0x9e3779b1);
  hash = Math.imul(hash ^ d, 0x85ebca77);
  hash = Math.imul(hash ^ (hash >>> 15) ^ c, 0xc2b2ae3d);
  hash = Math.imul(hash ^ (hash >>> 13) ^ b, 0x27d4eb2f);
  hash = Math.imul(hash ^ (hash >>> 16) ^ a, 0x165667b1);
  return (hash ^ (hash >>> 15)) >>> 0;
}

function bitOf(classifier: Uint32Array, at: number, bit: number): number {
  return (classifier[at + (bit >>> 5)]! >>> (bit & 31)) & 1;
}

/** `at`: the first of the address's four memory words in a key. */
export function maybeKnown(maps: Maps, key: Uint32Array, at: number, ports: number): boolean {
  const hash = classifierHash(
    swap32(key[at]!),
    swap32(key[at + 1]!),
    swap32(key[at + 2]!),
    swap32(key[at + 3]!),
    ports,
  );
  const word = (hash & maps.classifierMask) * 2;
  return bitOf(maps.classifier, word, (hash >>> 20) & 63) === 1 && bitOf(maps.classifier, word, hash >>> 26) === 1;
}

/** Whether the address at a word of a key, with `ports` as there, may be a frontend, or the address a Service's. */
export function maybeFrontend(maps: Maps, key: Uint32Array, at: number, ports: number): boolean {
  return maybeKnown(maps, key, at, ports) || maybeKnown(maps, key, at, 0);
}

/** Whether the address at a word of a key is in a range of Service addresses, given to a Service or not. */
export function inServiceRange(maps: Maps, key: Uint32Array, at: number): boolean {
  const { serviceRanges } = maps;
  const first = isMapped(key, at) ? 0 : SERVICE_RANGES;
  for (let range = first * 8; range < (first + SERVICE_RANGES) * 8; range += 8) {
    let left = 0;
    if (serviceRanges[range + 4] === 0) return false;
    for (let word = 0; word < 4; word++)
      left |= (key[at + word]! & serviceRanges[range + 4 + word]!) ^ serviceRanges[range + word]!;
    if (left === 0) return true;
  }
  return false;
}

/** Whether a packet to this address and port may be for a Service. */
export function maybeService(maps: Maps, packet: Packet): boolean {
  const key = packet.key;
  const ports = swap16(key[KEY_PORTS]! >>> 16) | ((key[KEY_PROTOCOL]! & 0xff) << 16);
  return maybeFrontend(maps, key, KEY_DESTINATION, ports) || inServiceRange(maps, key, KEY_DESTINATION);
}

/** Whether a packet from this address and port may be a backend's answer. */
export function maybeBackend(maps: Maps, packet: Packet): boolean {
  const key = packet.key;
  return maybeKnown(maps, key, KEY_SOURCE, swap16(key[KEY_PORTS]! & 0xffff) | ((key[KEY_PROTOCOL]! & 0xff) << 16));
}
