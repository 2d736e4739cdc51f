// SPDX-License-Identifier: Apache-2.0
/**
 * What a packet becomes; twin of bpf/nat.h. Rule of sides: on the way in only the destination's address is rewritten,
 * sources are rewritten on the way out to the client (a packet with the node's own source is a martian). Hairpin is
 * both at once, and skips routing.
 *
 *   client -> Service    from-pod: destination := backend, source port where the tuple is taken
 *   client <- backend    to-pod:   source := Service
 *   client = backend     from-pod: both, and back to where it came from
 */
import type { Maps } from './maps.ts';
import { multiplyHigh, swap16 } from './words.ts';
import { KEY_DESTINATION, KEY_PORTS, KEY_PROTOCOL, KEY_SOURCE } from './packet.ts';

/** Whether two addresses, four memory words each, are one. */
export function sameAddress(left: Uint32Array, leftAt: number, right: Uint32Array, rightAt: number): boolean {
  return (
    left[leftAt] === right[rightAt] &&
    left[leftAt + 1] === right[rightAt + 1] &&
    left[leftAt + 2] === right[rightAt + 2] &&
    left[leftAt + 3] === right[rightAt + 3]
  );
}

/** The client's packet as the backend shall see it. `backend`: where its row begins, in words. */
export function natForward(translation: Uint32Array, key: Uint32Array, maps: Maps, backend: number): void {
  const rows = maps.backends;
  for (let i = 0; i < 4; i++) translation[KEY_SOURCE + i] = key[KEY_SOURCE + i]!;
  for (let i = 0; i < 4; i++) translation[KEY_DESTINATION + i] = rows[backend + i]!;
  translation[KEY_PORTS] = (key[KEY_PORTS]! & 0xffff) | (rows[backend + 4]! << 16);
  translation[KEY_PROTOCOL] = key[KEY_PROTOCOL]!;
}

/** Turned around: the key of a packet in the other direction. */
export function natTurn(turned: Uint32Array, key: Uint32Array, direction: number): void {
  for (let i = 0; i < 4; i++) {
    turned[KEY_SOURCE + i] = key[KEY_DESTINATION + i]!;
    turned[KEY_DESTINATION + i] = key[KEY_SOURCE + i]!;
  }
  turned[KEY_PORTS] = (key[KEY_PORTS]! >>> 16) | (key[KEY_PORTS]! << 16);
  turned[KEY_PROTOCOL] = (key[KEY_PROTOCOL]! & 0xff) | (direction << 8);
}

/** Whether this translation of an answer belongs to this packet of a client. */
export function natAnswers(translation: Uint32Array, key: Uint32Array): boolean {
  return (
    sameAddress(translation, KEY_SOURCE, key, KEY_DESTINATION) &&
    sameAddress(translation, KEY_DESTINATION, key, KEY_SOURCE) &&
    (translation[KEY_PORTS]! & 0xffff) === key[KEY_PORTS]! >>> 16 &&
    translation[KEY_PORTS]! >>> 16 === (key[KEY_PORTS]! & 0xffff)
  );
}

/** Another source port for a flow whose answers could not be told from another's: a 16-bit memory word. */
export function natPort(maps: Maps, spread: number, attempt: number): number {
  let hash = spread ^ Math.imul(attempt, 0x9e3779b1);
  hash ^= hash >>> 15;
  hash = Math.imul(hash, 0x2c1b3c6d);
  hash ^= hash >>> 13;
  return swap16(maps.portFirst + multiplyHigh(hash >>> 0, maps.portCount));
}
