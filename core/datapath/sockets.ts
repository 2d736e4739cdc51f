// SPDX-License-Identifier: Apache-2.0
/**
 * What a UDP socket remembers of the Services it speaks to; twin of bpf/sockets.h. Row 0 is the one it is connected by,
 * the others those it sends to; where two have one backend, the last sender's shows. A state is the memory words of
 * `struct socket_state`, an address the five of `struct frontend_key`.
 */
import {
  BACKEND_GENERATION_SHIFT,
  MARK_SOCKET_DISCONNECTED,
  MARK_SOCKET_HIDDEN,
  MARK_SOCKET_ROW_FREE,
  MARK_SOCKET_ROW_OLDEST,
  MARK_SOCKET_ROW_SAME,
  SOCKET_ROWS,
  SOCKET_ROW_ADDRESS_AT,
  SOCKET_ROW_BACKEND_AT,
  SOCKET_ROW_GENERATION_AT,
  SOCKET_ROW_PORT_AT,
  SOCKET_ROW_SERVICE_PORT_AT,
  SOCKET_ROW_SIZE,
  SOCKET_ROW_TURN_AT,
  SOCKET_STATE_ATTEMPTS_AT,
  SOCKET_STATE_SIZE,
  SOCKET_STATE_TURN_AT,
  WRITE_FORGET,
  WRITE_SOCKET,
} from '../layout.gen.ts';
import { logWrite, mark, type Log } from './log.ts';
import type { Maps } from './maps.ts';
import { sameAddress } from './nat.ts';
import { BACKEND_WORDS, backendLives, LIVE } from './select.ts';

export const SOCKET_PEER = 0;
export const TURN: number = SOCKET_STATE_TURN_AT / 4;
export const ATTEMPTS: number = SOCKET_STATE_ATTEMPTS_AT / 4;
export const ROW_ADDRESS: number = SOCKET_ROW_ADDRESS_AT / 4;
/** The port in the low half, `is_shown` in the high one. */
export const ROW_PORT: number = SOCKET_ROW_PORT_AT / 4;
export const ROW_BACKEND: number = SOCKET_ROW_BACKEND_AT / 4;
export const ROW_GENERATION: number = SOCKET_ROW_GENERATION_AT / 4;
const ROW_TURN = SOCKET_ROW_TURN_AT / 4;
const SHOWN = 0x10000;

export function createSocketState(): Uint32Array {
  return new Uint32Array(SOCKET_STATE_SIZE / 4);
}

/** Where a row of a state begins, in words. */
export function rowOf(at: number): number {
  return (at * SOCKET_ROW_SIZE) / 4;
}

function sameAsked(state: Uint32Array, row: number, asked: Uint32Array): boolean {
  for (let i = 0; i < 5; i++) if (state[row + i] !== asked[i]) return false;
  return true;
}

/** Whether a row's backend is the same pod's still, and serves. */
export function socketServes(maps: Maps, state: Uint32Array, row: number): boolean {
  const live = maps.backends[state[row + ROW_BACKEND]! * BACKEND_WORDS + LIVE];
  return live !== undefined && live >>> BACKEND_GENERATION_SHIFT === state[row + ROW_GENERATION] && backendLives(live);
}

/**
 * Whether the backend that a socket is connected to is gone: another pod's, or nobody's. One that is terminating or left
 * the view stays, as a connection to it would.
 */
export function socketAbandoned(maps: Maps, state: Uint32Array, row: number): boolean {
  const id = state[row + ROW_BACKEND]!;
  const live = maps.backends[id * BACKEND_WORDS + LIVE];
  if (id === 0 || live === undefined) return false;
  return live >>> BACKEND_GENERATION_SHIFT !== state[row + ROW_GENERATION] || !backendLives(live);
}

/** Whether a row, if it is in use, has this backend. */
export function socketHasBackend(state: Uint32Array, row: number, to: Uint32Array): boolean {
  return (
    state[row + ROW_BACKEND] !== 0 &&
    (state[row + ROW_PORT]! & 0xffff) === (to[4]! & 0xffff) &&
    sameAddress(state, row + ROW_ADDRESS, to, 0)
  );
}

/** The row of a Service address, one sent to before the one connected by; SOCKET_ROWS: none. */
export function socketFind(state: Uint32Array, asked: Uint32Array): number {
  let found = SOCKET_ROWS;
  for (let at = 0; at < SOCKET_ROWS; at++) {
    const row = rowOf(at);
    if (state[row + ROW_BACKEND] !== 0 && sameAsked(state, row, asked)) found = at;
  }
  return found;
}

/** The row whose backend this is, of several the one last sent to; SOCKET_ROWS: none that shows. */
export function socketAnswer(state: Uint32Array, from: Uint32Array): number {
  let found = SOCKET_ROWS;
  let youngest = 0xffffffff;
  for (let at = 0; at < SOCKET_ROWS; at++) {
    const row = rowOf(at);
    const age = (state[TURN]! - state[row + ROW_TURN]!) >>> 0;
    if ((state[row + ROW_PORT]! & SHOWN) === 0 || age > youngest || !socketHasBackend(state, row, from)) continue;
    found = at;
    youngest = age;
  }
  return found;
}

/** Where a send's row goes: its Service's own, else a free one, else the one longest not sent to. */
export function socketPlace(log: Log, state: Uint32Array, asked: Uint32Array): number {
  let oldest = SOCKET_PEER + 1;
  let age = 0;
  let empty = 0;
  let same = 0;
  for (let at = SOCKET_PEER + 1; at < SOCKET_ROWS; at++) {
    const row = rowOf(at);
    if (state[row + ROW_BACKEND] === 0) {
      if (empty === 0) empty = at;
      continue;
    }
    if (sameAsked(state, row, asked)) same = at;
    const rowAge = (state[TURN]! - state[row + ROW_TURN]!) >>> 0;
    if (rowAge > age) {
      age = rowAge;
      oldest = at;
    }
  }
  if (same !== 0) {
    mark(log, MARK_SOCKET_ROW_SAME);
    return same;
  }
  if (empty !== 0) {
    mark(log, MARK_SOCKET_ROW_FREE);
    return empty;
  }
  mark(log, MARK_SOCKET_ROW_OLDEST);
  return oldest;
}

/** A send by a row: its answers show the Service again, before those of other rows. */
export function socketTouch(state: Uint32Array, at: number): void {
  if (at >= SOCKET_ROWS) return;
  const row = rowOf(at);
  state[row + ROW_PORT]! |= SHOWN;
  if (state[row + ROW_TURN] === state[TURN]) return;
  state[TURN]!++;
  state[row + ROW_TURN] = state[TURN]!;
}

/** Writes a row anew; what it held is over. */
export function socketPut(
  log: Log,
  state: Uint32Array,
  at: number,
  asked: Uint32Array,
  got: Uint32Array,
  id: number,
  generation: number,
  servicePort: number,
): void {
  if (at >= SOCKET_ROWS) return;
  const row = rowOf(at);
  state[TURN]!++;
  state.set(asked.subarray(0, 5), row);
  state.set(got.subarray(0, 4), row + ROW_ADDRESS);
  state[row + ROW_PORT] = (got[4]! & 0xffff) | SHOWN;
  state[row + ROW_BACKEND] = id;
  state[row + ROW_GENERATION] = generation;
  state[row + SOCKET_ROW_SERVICE_PORT_AT / 4] = servicePort;
  state[row + ROW_TURN] = state[TURN]!;
  logWrite(log, WRITE_SOCKET, at, generation, id);
}

/** The socket speaks to an address without a Service: answers from there are the address's own. */
export function socketHide(log: Log, state: Uint32Array, to: Uint32Array): void {
  for (let at = 0; at < SOCKET_ROWS; at++) {
    const row = rowOf(at);
    if ((state[row + ROW_PORT]! & SHOWN) === 0 || !socketHasBackend(state, row, to)) continue;
    mark(log, MARK_SOCKET_HIDDEN);
    state[row + ROW_PORT]! &= ~SHOWN;
    logWrite(log, WRITE_FORGET, at, 0, state[row + ROW_BACKEND]!);
  }
}

/** It is connected elsewhere, and not by a Service. */
export function socketDisconnect(log: Log, state: Uint32Array): void {
  const row = rowOf(SOCKET_PEER);
  if (state[row + ROW_BACKEND] === 0) return;
  mark(log, MARK_SOCKET_DISCONNECTED);
  logWrite(log, WRITE_FORGET, SOCKET_PEER, 1, state[row + ROW_BACKEND]!);
  state[row + ROW_BACKEND] = 0;
}
