// SPDX-License-Identifier: Apache-2.0
/**
 * Whose a socket is and what its address will be; twin of bpf/netns.h. Asked of the socket's own network namespace,
 * never of the current task's: sockets outlive the processes that opened them and travel between them.
 */
import {
  MARK_SOCKET_BOUND,
  MARK_SOCKET_NETNS,
  MARK_SOCKET_NETNS_MISMATCH,
  MARK_SOCKET_UNKNOWN,
  NETNS_ROW_FLAGS_AT,
  NETNS_ROW_IPV4_AT,
  NETNS_ROW_IPV6_AT,
  NETNS_ROW_SIZE,
  NETNS_SOCKETS_OFF,
  NETNS_SOCKETS_ON,
  SCOPE_EVERYTHING,
  SCOPE_OFF,
} from '../layout.gen.ts';
import { mark, type Log } from './log.ts';
import type { Maps } from './maps.ts';
import { isMapped } from './packet.ts';
import { tableFind } from './table.ts';

const NETNS_WORDS = NETNS_ROW_SIZE / 4;

/** Where the row of a network namespace begins, -1: none; looks twice where a row was recycled meanwhile. */
export function lookupNetns(log: Log, maps: Maps, cookie: Uint32Array): number {
  for (let attempt = 0; attempt < 2; attempt++) {
    const place = tableFind(maps.netns, cookie);
    if (place < 0) return -1;
    const row = maps.netns.values[place]! * NETNS_WORDS;
    if (row < maps.netnsRows.length && maps.netnsRows[row] === cookie[0] && maps.netnsRows[row + 1] === cookie[1])
      return row;
    mark(log, MARK_SOCKET_NETNS_MISMATCH);
  }
  return -1;
}

/** Whether sockets of a network namespace are ours to translate. */
export function netnsInScope(maps: Maps, row: number, cookie: Uint32Array): boolean {
  const own = maps.netnsCookie;
  if (maps.socketScope === SCOPE_OFF) return false;
  if ((own[0] !== 0 || own[1] !== 0) && cookie[0] === own[0] && cookie[1] === own[1]) return true;
  if (row < 0) return !maps.netnsKnown && maps.socketScope === SCOPE_EVERYTHING;
  const flags = maps.netnsRows[row + NETNS_ROW_FLAGS_AT / 4]!;
  if ((flags & NETNS_SOCKETS_OFF) !== 0) return false;
  return (flags & NETNS_SOCKETS_ON) !== 0 || maps.socketScope === SCOPE_EVERYTHING;
}

export function isSet(words: Uint32Array, at: number): boolean {
  return (words[at]! | words[at + 1]! | words[at + 2]! | words[at + 3]!) !== 0;
}

/**
 * The address that a socket's packets to this destination will have: the one it is bound to, else its namespace's of
 * the destination's family. `client`: four memory words to fill.
 */
export function socketClient(
  log: Log,
  maps: Maps,
  source: Uint32Array,
  destination: Uint32Array,
  row: number,
  client: Uint32Array,
): boolean {
  if (isSet(source, 0)) {
    mark(log, MARK_SOCKET_BOUND);
    client.set(source.subarray(0, 4));
    return true;
  }
  if (row >= 0) {
    const at = row + (isMapped(destination, 0) ? NETNS_ROW_IPV4_AT : NETNS_ROW_IPV6_AT) / 4;
    client.set(maps.netnsRows.subarray(at, at + 4));
    if (isSet(client, 0)) {
      mark(log, MARK_SOCKET_NETNS);
      return true;
    }
  }
  mark(log, MARK_SOCKET_UNKNOWN);
  return false;
}
