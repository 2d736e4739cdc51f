// SPDX-License-Identifier: Apache-2.0
/**
 * What a packet becomes; twin of bpf/nat.h. Rule of sides: on the way in only the destination is rewritten, sources are
 * rewritten on the way out to the client (a packet with the node's own source is a martian).
 *
 *   client -> Service    from-pod: destination := backend
 *   client <- backend    to-pod:   source := Service
 */
import { DIRECTION_FORWARD, DIRECTION_REPLY } from '../layout.gen.ts';
import type { Maps } from './maps.ts';
import { KEY_DESTINATION, KEY_PORTS, KEY_PROTOCOL, KEY_SOURCE } from './parse.ts';

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

/** The key under which the backend's answers will be found. */
export function natReplyKey(reply: Uint32Array, translation: Uint32Array): void {
  for (let i = 0; i < 4; i++) reply[KEY_SOURCE + i] = translation[KEY_DESTINATION + i]!;
  for (let i = 0; i < 4; i++) reply[KEY_DESTINATION + i] = translation[KEY_SOURCE + i]!;
  reply[KEY_PORTS] = (translation[KEY_PORTS]! >>> 16) | (translation[KEY_PORTS]! << 16);
  reply[KEY_PROTOCOL] = (translation[KEY_PROTOCOL]! & 0xff) | (DIRECTION_REPLY << 8);
}

/** The backend's answer as the client shall see it: the client's own packet turned around. */
export function natReply(translation: Uint32Array, key: Uint32Array): void {
  natReplyKey(translation, key);
}

/** The client's packet that an answer with this translation belongs to; the other way of natReply. */
export function natForwardKey(forward: Uint32Array, translation: Uint32Array): void {
  natReplyKey(forward, translation);
  forward[KEY_PROTOCOL] = (forward[KEY_PROTOCOL]! & 0xff) | (DIRECTION_FORWARD << 8);
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
