// SPDX-License-Identifier: Apache-2.0
/**
 * The choice of a backend, a keyed hash over the view's slots; twin of bpf/select.h. The input holds no node-local id
 * and no destination, so every node and every Service address choose alike.
 */
import {
  BACKEND_ACTIVE,
  BACKEND_IN_EXTERNAL,
  BACKEND_IN_INTERNAL,
  BACKEND_LIVE_AT,
  BACKEND_SERVICE_PORT_AT,
  BACKEND_SIZE,
  BACKEND_STATE,
  BACKEND_TERMINATING,
  MARK_BACKEND_DEAD,
  MARK_SELECTED,
  MARK_SLOT_MISSING,
  SERVICE_NAME_HASH_AT,
  SERVICE_SERVICE_PORT_AT,
  SERVICE_VIEWS_AT,
  VIEW_FIRST_SLOT_AT,
  VIEW_INTERNAL,
  VIEW_SIZE,
  VIEW_TABLE_SIZE_AT,
} from '../layout.gen.ts';
import { mark, type Log } from './log.ts';
import type { Maps } from './maps.ts';
import { isMapped } from './packet.ts';
import { multiplyHigh } from './words.ts';

export const SELECT_WORDS = 8;
export const SELECT_PACKET = 0;
export const SELECT_SOCKET = 1;
/** Affinity: the client alone, for packets and sockets alike. */
export const SELECT_CLIENT = 2;
export const BACKEND_WORDS: number = BACKEND_SIZE / 4;
export const LIVE: number = BACKEND_LIVE_AT / 4;

function rotate(word: number, bits: number): number {
  return (word << bits) | (word >>> (32 - bits));
}

/** HalfSipHash-2-4 (Aumasson, Bernstein) of 32 bytes, 32 bits out. */
export function sipRound(v: Int32Array): void {
  let v0 = v[0]!;
  let v1 = v[1]!;
  let v2 = v[2]!;
  let v3 = v[3]!;
  v0 = (v0 + v1) | 0;
  v1 = rotate(v1, 5) ^ v0;
  v0 = rotate(v0, 16);
  v2 = (v2 + v3) | 0;
  v3 = rotate(v3, 8) ^ v2;
  v0 = (v0 + v3) | 0;
  v3 = rotate(v3, 7) ^ v0;
  v2 = (v2 + v1) | 0;
  v1 = rotate(v1, 13) ^ v2;
  v2 = rotate(v2, 16);
  v[0] = v0;
  v[1] = v1;
  v[2] = v2;
  v[3] = v3;
}

const sipState = new Int32Array(4); // scratch: written before it is read in every call

/** `input`: eight memory words. */
export function selectHash(maps: Maps, input: Uint32Array): number {
  const v = sipState;
  v[0] = maps.selectionKey[0]!;
  v[1] = maps.selectionKey[1]!;
  v[2] = 0x6c796765 ^ maps.selectionKey[0]!;
  v[3] = 0x74656462 ^ maps.selectionKey[1]!;
  for (let i = 0; i < SELECT_WORDS; i++) {
    v[3] ^= input[i]!;
    sipRound(v);
    sipRound(v);
    v[0] ^= input[i]!;
  }
  v[3] ^= (SELECT_WORDS * 4) << 24;
  sipRound(v);
  sipRound(v);
  v[0] ^= (SELECT_WORDS * 4) << 24;
  v[2] ^= 0xff;
  for (let i = 0; i < 4; i++) sipRound(v);
  return (v[1] ^ v[3]) >>> 0;
}

/**
 * The input of a Service port that keeps its clients: what a packet and a socket of one client have in common.
 * `client`: memory words, the address begins at `at`.
 */
export function selectInputClient(
  maps: Maps,
  input: Uint32Array,
  service: number,
  client: Uint32Array,
  at: number,
  protocol: number,
): void {
  for (let i = 0; i < 4; i++) input[i] = client[at + i]!;
  input[4] = protocol << 16;
  input[5] = maps.services[service + SERVICE_NAME_HASH_AT / 4]!;
  input[6] = maps.services[service + SERVICE_NAME_HASH_AT / 4 + 1]!;
  input[7] = SELECT_CLIENT;
}

/** Where a view of a Service row begins, in words. */
export function viewOf(service: number, view: number): number {
  return service + (SERVICE_VIEWS_AT + view * VIEW_SIZE) / 4;
}

/** Multiply-shift: an even share of 2^32 for each slot of the table, where a backend may stand often. */
export function selectSlot(maps: Maps, hash: number, view: number): number {
  const rows = maps.services;
  return (rows[view + VIEW_FIRST_SLOT_AT / 4]! + multiplyHigh(hash, rows[view + VIEW_TABLE_SIZE_AT / 4]!)) >>> 0;
}

/** Whether a backend serves at all: a conversation goes on with one that new ones no longer get. */
export function backendLives(live: number): boolean {
  const state = live & BACKEND_STATE;
  return state === BACKEND_ACTIVE || state === BACKEND_TERMINATING;
}

/** Whether a backend may get a new connection of this view. */
export function backendServes(live: number, view: number): boolean {
  const bit = view === VIEW_INTERNAL ? BACKEND_IN_INTERNAL : BACKEND_IN_EXTERNAL;
  return backendLives(live) && (live & bit) !== 0;
}

/** The id of the chosen backend, of the frontend's family, -1: none, where the maps disagree. The view must not be empty. */
export function selectBackend(log: Log, maps: Maps, service: number, view: number, input: Uint32Array): number {
  const slot = selectSlot(maps, selectHash(maps, input), viewOf(service, view));
  const id = maps.slots[slot];
  if (id === undefined) {
    mark(log, MARK_SLOT_MISSING);
    return -1;
  }
  const backend = id * BACKEND_WORDS;
  if (
    backend >= maps.backends.length ||
    maps.backends[backend + BACKEND_SERVICE_PORT_AT / 4] !== maps.services[service + SERVICE_SERVICE_PORT_AT / 4] ||
    isMapped(maps.backends, backend) !== isMapped(maps.services, service) ||
    !backendServes(maps.backends[backend + LIVE]!, view)
  ) {
    mark(log, MARK_BACKEND_DEAD);
    return -1;
  }
  mark(log, MARK_SELECTED);
  return id;
}
