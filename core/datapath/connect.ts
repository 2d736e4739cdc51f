// SPDX-License-Identifier: Apache-2.0
/**
 * A socket that connects or sends to a Service speaks to a backend instead; twin of bpf/connect.h. No packet is touched
 * afterwards. What a socket can't decide is left to the packet road.
 */
import { UDP } from '../address.ts';
import {
  BACKEND_GENERATION_SHIFT,
  FRONTEND_WHOLE_ADDRESS,
  MARK_EMPTY_REFUSE,
  MARK_PEER_FAILED,
  MARK_PEER_FORGOTTEN,
  MARK_SOCKET_CERTAINLY_NOT,
  MARK_SOCKET_GONE,
  MARK_SOCKET_KEPT,
  MARK_SOCKET_LEFT,
  MARK_SOCKET_NO_STORAGE,
  MARK_SOCKET_OWN_PEER,
  MARK_SOCKET_ROW_PEER,
  MARK_SOCKET_SCOPE,
  MARK_SOCKET_TRANSLATED,
  MARK_SOCKET_UNSUPPORTED,
  PEER_ATTEMPTS_AT,
  PEER_BACKEND_AT,
  PEER_BACKEND_PORT_AT,
  PEER_SIZE,
  REASON_CLIENT_UNKNOWN,
  REASON_KNOWN_FLOW,
  REASON_MAPS_DISAGREE,
  REASON_NO_ENDPOINTS,
  REASON_NO_LOCAL_ENDPOINTS,
  REASON_NO_STORAGE,
  REASON_NOT_SERVICE,
  REASON_OUT_OF_SCOPE,
  REASON_RESELECTED,
  REASON_ROW_OVERWRITTEN,
  REASON_TRANSLATED,
  REASON_UNKNOWN_PORT,
  SERVICE_AFFINITY_SECONDS_AT,
  SERVICE_DROP_WHEN_INTERNAL_EMPTY,
  SERVICE_FLAGS_AT,
  SERVICE_KIND_AT,
  SERVICE_NAME_HASH_AT,
  SERVICE_SERVICE_PORT_AT,
  SOCKET_ROWS,
  VERDICT_FORWARD,
  VERDICT_PASS,
  VERDICT_REFUSE,
  VIEW_COUNT_AT,
  VIEW_INTERNAL,
  WRITE_FORGET,
  WRITE_PEER,
} from '../layout.gen.ts';
import type { Outside } from '../twin.ts';
import { affinityFind, affinityKeep } from './affinity.ts';
import { maybeFrontend } from './classify.ts';
import { logWrite, mark, type Log } from './log.ts';
import { lookupFrontend } from './lookup.ts';
import type { Maps } from './maps.ts';
import { lookupNetns, netnsInScope, socketClient } from './netns.ts';
import {
  BACKEND_WORDS,
  LIVE,
  SELECT_SOCKET,
  SELECT_WORDS,
  selectBackend,
  selectInputClient,
  viewOf,
} from './select.ts';
import {
  ATTEMPTS,
  ROW_ADDRESS,
  ROW_BACKEND,
  ROW_GENERATION,
  ROW_PORT,
  rowOf,
  SOCKET_PEER,
  socketDisconnect,
  socketFind,
  socketHasBackend,
  socketHide,
  socketPlace,
  socketPut,
  socketServes,
  socketTouch,
} from './sockets.ts';
import { tableDelete, tableFind, tableSet } from './table.ts';
import { swap16 } from './words.ts';

export const PEER_WORDS: number = PEER_SIZE / 4;

/** Memory words of `struct frontend_key` and `struct address`. */
export type Connection = {
  /** In: where to, or whence; out: the same translated. */
  readonly address: Uint32Array;
  /** Where to, as it was given. */
  readonly asked: Uint32Array;
  /** In: the socket's own address; zero: not bound. */
  readonly source: Uint32Array;
  reason: number;
  servicePort: number;
  backend: number;
  generation: number;
  /** In: a send to whom the socket is connected to. */
  isPeer: boolean;
};

export function createConnection(): Connection {
  return {
    address: new Uint32Array(5),
    asked: new Uint32Array(5),
    source: new Uint32Array(4),
    reason: 0,
    servicePort: 0,
    backend: 0,
    generation: 0,
    isPeer: false,
  };
}

export function wordsOf(cookie: bigint): Uint32Array {
  return Uint32Array.of(Number(cookie & 0xffffffffn), Number(cookie >> 32n));
}

export function protocolOf(address: Uint32Array): number {
  return (address[4]! >>> 16) & 0xff;
}

/** Remembers what the application asked for, so that getpeername() can say it; not vital. */
export function rememberPeer(log: Log, maps: Maps, connection: Connection, outside: Outside, attempts: number): void {
  const peer = new Uint32Array(PEER_WORDS);
  peer.set(connection.asked);
  peer.set(connection.address.subarray(0, 4), PEER_BACKEND_AT / 4);
  peer[PEER_BACKEND_PORT_AT / 4] = connection.address[4]! & 0xffff;
  peer[PEER_ATTEMPTS_AT / 4] = attempts;
  if (outside.peerResult !== 0 || !tableSet(maps.peers, wordsOf(outside.socketCookie), peer)) {
    mark(log, MARK_PEER_FAILED);
    return;
  }
  logWrite(log, WRITE_PEER, 0, 0, attempts);
}

/**
 * A socket that connects elsewhere has no Service for a peer any more, even where the address is that of the same
 * backend.
 */
export function forgetPeer(log: Log, maps: Maps, outside: Outside): void {
  mark(log, MARK_PEER_FORGOTTEN);
  tableDelete(maps.peers, wordsOf(outside.socketCookie));
  logWrite(log, WRITE_FORGET, 0, 0, 0);
}

/** The id of the backend for a new choice of this Service port, -1: none, with its reason. */
export function chooseBackend(
  log: Log,
  maps: Maps,
  service: number,
  connection: Connection,
  outside: Outside,
  row: number,
  attempts: number,
): number {
  const { asked } = connection;
  const nameHash = service + SERVICE_NAME_HASH_AT / 4;
  const hasAffinity = maps.services[service + SERVICE_AFFINITY_SECONDS_AT / 4] !== 0;
  const input = new Uint32Array(SELECT_WORDS);
  input.set([...wordsOf(outside.socketCookie), attempts, 0, asked[4]! & 0xff0000]);
  input.set([maps.services[nameHash]!, maps.services[nameHash + 1]!, SELECT_SOCKET], 5);
  const client = new Uint32Array(4);
  let id = 0;
  connection.reason = REASON_MAPS_DISAGREE;
  if (hasAffinity) {
    if (!socketClient(log, maps, connection.source, asked, row, client)) {
      connection.reason = REASON_CLIENT_UNKNOWN;
      return -1;
    }
    id = affinityFind(log, maps, service, VIEW_INTERNAL, client, 0, outside.now);
    selectInputClient(maps, input, service, client, 0, protocolOf(asked));
  }
  if (id === 0) id = selectBackend(log, maps, service, VIEW_INTERNAL, input);
  if (id < 0) return -1;
  const live = maps.backends[id * BACKEND_WORDS + LIVE]!;
  connection.backend = id;
  connection.generation = live >>> BACKEND_GENERATION_SHIFT;
  if (hasAffinity) affinityKeep(log, maps, service, client, 0, id, live, outside);
  return id;
}

/** A Service port without a backend for us. */
export function refuseEmpty(log: Log, maps: Maps, service: number, connection: Connection): number {
  if ((maps.services[service + SERVICE_FLAGS_AT / 4]! & SERVICE_DROP_WHEN_INTERNAL_EMPTY) !== 0) {
    connection.reason = REASON_NO_LOCAL_ENDPOINTS;
    mark(log, MARK_SOCKET_LEFT); // to be dropped in silence by the packet road, as a remote client's would be
    return VERDICT_PASS;
  }
  connection.reason = REASON_NO_ENDPOINTS;
  mark(log, MARK_EMPTY_REFUSE);
  return VERDICT_REFUSE;
}

/** The backend that a send of this socket had for this Service address, while it serves. */
export function keepBackend(log: Log, maps: Maps, connection: Connection, state: Uint32Array): boolean {
  const { address } = connection;
  const at = socketFind(state, connection.asked);
  if (at >= SOCKET_ROWS) return false;
  const row = rowOf(at);
  if (!socketServes(maps, state, row)) {
    mark(log, MARK_SOCKET_GONE);
    connection.reason = REASON_RESELECTED;
    return false;
  }
  mark(log, MARK_SOCKET_KEPT);
  address.set(state.subarray(row + ROW_ADDRESS, row + ROW_ADDRESS + 4));
  address[4] = (address[4]! & 0xffff0000) | (state[row + ROW_PORT]! & 0xffff);
  connection.backend = state[row + ROW_BACKEND]!;
  connection.generation = state[row + ROW_GENERATION]!;
  connection.reason = REASON_KNOWN_FLOW;
  return true;
}

/** What connect() and sendto() have in common. `kept`: the rows whose choice a send keeps, or none. */
export function decideDestination(
  log: Log,
  maps: Maps,
  connection: Connection,
  outside: Outside,
  kept: Uint32Array | undefined,
  attempts: number,
): number {
  const { address } = connection;
  connection.reason = REASON_NOT_SERVICE;
  if ((address[4]! & 0xffff) === 0) {
    mark(log, MARK_SOCKET_UNSUPPORTED);
    return VERDICT_PASS;
  }
  if (!maybeFrontend(maps, address, 0, swap16(address[4]! & 0xffff) | (address[4]! & 0xff0000))) {
    mark(log, MARK_SOCKET_CERTAINLY_NOT);
    return VERDICT_PASS;
  }
  const service = lookupFrontend(log, maps, address.slice());
  if (service < 0) return VERDICT_PASS;
  const cookie = wordsOf(outside.netnsCookie);
  const row = lookupNetns(log, maps, cookie);
  connection.servicePort = maps.services[service + SERVICE_SERVICE_PORT_AT / 4]!;
  if (!netnsInScope(maps, row, cookie)) {
    mark(log, MARK_SOCKET_SCOPE);
    connection.reason = REASON_OUT_OF_SCOPE;
    return VERDICT_PASS;
  }
  if (maps.services[service + SERVICE_KIND_AT / 4] === FRONTEND_WHOLE_ADDRESS) {
    connection.reason = REASON_UNKNOWN_PORT;
    return VERDICT_REFUSE;
  }
  if (kept !== undefined && keepBackend(log, maps, connection, kept)) return VERDICT_FORWARD;
  if (maps.services[viewOf(service, VIEW_INTERNAL) + VIEW_COUNT_AT / 4] === 0)
    return refuseEmpty(log, maps, service, connection);
  const reason = connection.reason === REASON_NOT_SERVICE ? REASON_TRANSLATED : REASON_RESELECTED;
  const id = chooseBackend(log, maps, service, connection, outside, row, attempts);
  if (id < 0) return connection.reason === REASON_CLIENT_UNKNOWN ? VERDICT_PASS : VERDICT_REFUSE;
  const backend = id * BACKEND_WORDS;
  address.set(maps.backends.subarray(backend, backend + 4));
  address[4] = (address[4]! & 0xffff0000) | (maps.backends[backend + 4]! & 0xffff);
  connection.reason = reason;
  mark(log, MARK_SOCKET_TRANSLATED);
  return VERDICT_FORWARD;
}

/**
 * forward: `connection.address` is the backend's; refuse: ECONNREFUSED; pass: left as it is. A refused connect() leaves
 * the socket as it was, and so does this.
 */
export function decideConnect(
  log: Log,
  maps: Maps,
  connection: Connection,
  outside: Outside,
  state: Uint32Array | undefined,
): number {
  connection.asked.set(connection.address);
  const isDatagram = protocolOf(connection.asked) === UDP;
  const earlier = isDatagram ? -1 : tableFind(maps.peers, wordsOf(outside.socketCookie));
  let attempts = 0;
  if (earlier >= 0) attempts = (maps.peers.values[earlier * PEER_WORDS + PEER_ATTEMPTS_AT / 4]! + 1) >>> 0;
  if (state !== undefined) attempts = (state[ATTEMPTS]! + 1) >>> 0;
  const verdict = decideDestination(log, maps, connection, outside, undefined, attempts);
  if (verdict === VERDICT_FORWARD && !isDatagram) rememberPeer(log, maps, connection, outside, attempts);
  if (verdict === VERDICT_PASS && earlier >= 0) forgetPeer(log, maps, outside);
  if (verdict === VERDICT_PASS && state !== undefined) {
    socketDisconnect(log, state);
    socketHide(log, state, connection.asked);
  }
  return verdict;
}

/** The same for one datagram with an address of its own. */
export function decideSend(
  log: Log,
  maps: Maps,
  connection: Connection,
  outside: Outside,
  state: Uint32Array | undefined,
): number {
  connection.asked.set(connection.address);
  connection.reason = REASON_NOT_SERVICE;
  if (connection.isPeer) {
    // send() of an AF_INET6 socket whose peer is v4-mapped: it was translated, or left, when it connected.
    mark(log, MARK_SOCKET_OWN_PEER);
    if (state !== undefined && socketHasBackend(state, rowOf(SOCKET_PEER), connection.asked))
      socketTouch(state, SOCKET_PEER);
    return VERDICT_PASS;
  }
  const verdict = decideDestination(log, maps, connection, outside, state, 0);
  if (verdict === VERDICT_PASS && state !== undefined) socketHide(log, state, connection.asked);
  return verdict;
}

/** Without storage the socket would show and be answered by addresses that its owner never heard of. */
export function refuseUnstored(log: Log, connection: Connection): number {
  mark(log, MARK_SOCKET_NO_STORAGE);
  connection.reason = REASON_NO_STORAGE;
  return VERDICT_REFUSE;
}

/** Remembers a translated connect(). */
export function keepConnect(log: Log, connection: Connection, state: Uint32Array | undefined): number {
  if (state === undefined) return refuseUnstored(log, connection);
  const { asked, address, backend, generation, servicePort } = connection;
  state[ATTEMPTS]!++;
  mark(log, MARK_SOCKET_ROW_PEER);
  socketPut(log, state, SOCKET_PEER, asked, address, backend, generation, servicePort);
  return VERDICT_FORWARD;
}

/** Remembers a translated send. */
export function keepSend(log: Log, connection: Connection, state: Uint32Array | undefined): number {
  if (state === undefined) return refuseUnstored(log, connection);
  const { asked, address, backend, generation, servicePort } = connection;
  if (connection.reason === REASON_KNOWN_FLOW) {
    socketTouch(state, socketFind(state, asked));
    return VERDICT_FORWARD;
  }
  const at = socketPlace(log, state, asked);
  if (state[rowOf(at) + ROW_BACKEND] !== 0 && connection.reason === REASON_TRANSLATED)
    connection.reason = REASON_ROW_OVERWRITTEN;
  socketPut(log, state, at, asked, address, backend, generation, servicePort);
  return VERDICT_FORWARD;
}
