// SPDX-License-Identifier: Apache-2.0
/**
 * A socket that connects to a Service connects to a backend instead; twin of bpf/connect.h. No packet is touched
 * afterwards. What connect() can't decide is left to the packet road.
 */
import {
  FRONTEND_WHOLE_ADDRESS,
  MARK_EMPTY_REFUSE,
  MARK_PEER_FAILED,
  MARK_PEER_KNOWN,
  MARK_PEER_OTHER,
  MARK_SOCKET_LEFT,
  MARK_SOCKET_TRANSLATED,
  PEER_ATTEMPTS_AT,
  PEER_BACKEND_AT,
  PEER_BACKEND_PORT_AT,
  PEER_SIZE,
  REASON_MAPS_DISAGREE,
  REASON_NO_ENDPOINTS,
  REASON_NO_LOCAL_ENDPOINTS,
  REASON_NOT_SERVICE,
  REASON_PEER,
  REASON_TRANSLATED,
  REASON_UNKNOWN_PORT,
  SERVICE_DROP_WHEN_INTERNAL_EMPTY,
  SERVICE_FLAGS_AT,
  SERVICE_KIND_AT,
  SERVICE_NAME_HASH_AT,
  SERVICE_SERVICE_PORT_AT,
  VERDICT_FORWARD,
  VERDICT_PASS,
  VERDICT_REFUSE,
  VIEW_COUNT_AT,
  VIEW_INTERNAL,
  WRITE_PEER,
} from '../layout.gen.ts';
import type { Outside } from '../twin.ts';
import { logWrite, mark, type Log } from './log.ts';
import { lookupFrontend } from './lookup.ts';
import type { Maps } from './maps.ts';
import { sameAddress } from './nat.ts';
import { BACKEND_WORDS, SELECT_SOCKET, SELECT_WORDS, selectBackend, viewOf } from './select.ts';
import { tableFind, tableSet } from './table.ts';

const PEER_WORDS = PEER_SIZE / 4;

/** `address`: memory words of `struct frontend_key`; in: where to, out: where to now. */
export type Connection = {
  readonly address: Uint32Array;
  reason: number;
  servicePort: number;
  backend: number;
};

export function createConnection(): Connection {
  return { address: new Uint32Array(5), reason: 0, servicePort: 0, backend: 0 };
}

function cookieWords(outside: Outside): Uint32Array {
  return Uint32Array.of(Number(outside.socketCookie & 0xffffffffn), Number(outside.socketCookie >> 32n));
}

/** Remembers what the application asked for, so that getpeername() can say it; not vital. */
export function rememberPeer(
  log: Log,
  maps: Maps,
  asked: Uint32Array,
  outside: Outside,
  backend: number,
  attempts: number,
): void {
  const peer = new Uint32Array(PEER_WORDS);
  peer.set(asked);
  peer.set(maps.backends.subarray(backend, backend + 4), PEER_BACKEND_AT / 4);
  peer[PEER_BACKEND_PORT_AT / 4] = maps.backends[backend + 4]! & 0xffff;
  peer[PEER_ATTEMPTS_AT / 4] = attempts;
  if (outside.peerResult !== 0 || !tableSet(maps.peers, cookieWords(outside), peer)) {
    mark(log, MARK_PEER_FAILED);
    return;
  }
  logWrite(log, WRITE_PEER, 0, 0, attempts);
}

/** forward: `connection.address` is the backend's; refuse: ECONNREFUSED; pass: left as it is. */
export function decideConnect(log: Log, maps: Maps, connection: Connection, outside: Outside): number {
  const asked = connection.address.slice();
  const service = lookupFrontend(log, maps, connection.address.slice());
  connection.reason = REASON_NOT_SERVICE;
  if (service < 0) return VERDICT_PASS;
  connection.servicePort = maps.services[service + SERVICE_SERVICE_PORT_AT / 4]!;
  if (maps.services[service + SERVICE_KIND_AT / 4] === FRONTEND_WHOLE_ADDRESS) {
    connection.reason = REASON_UNKNOWN_PORT;
    return VERDICT_REFUSE;
  }
  if (maps.services[viewOf(service, VIEW_INTERNAL) + VIEW_COUNT_AT / 4] === 0) {
    const drop = (maps.services[service + SERVICE_FLAGS_AT / 4]! & SERVICE_DROP_WHEN_INTERNAL_EMPTY) !== 0;
    connection.reason = drop ? REASON_NO_LOCAL_ENDPOINTS : REASON_NO_ENDPOINTS;
    if (drop) mark(log, MARK_SOCKET_LEFT); // to be dropped in silence by the packet road, as a remote client's would be
    else mark(log, MARK_EMPTY_REFUSE);
    return drop ? VERDICT_PASS : VERDICT_REFUSE;
  }
  const cookie = cookieWords(outside);
  const earlier = tableFind(maps.peers, cookie);
  const attempts = earlier < 0 ? 0 : maps.peers.values[earlier * PEER_WORDS + PEER_ATTEMPTS_AT / 4]! + 1;
  const nameHash = service + SERVICE_NAME_HASH_AT / 4;
  const input = new Uint32Array(SELECT_WORDS);
  input.set([cookie[0]!, cookie[1]!, attempts, 0, asked[4]! & 0xff0000]);
  input.set([maps.services[nameHash]!, maps.services[nameHash + 1]!, SELECT_SOCKET], 5);
  const id = selectBackend(log, maps, service, VIEW_INTERNAL, input);
  if (id < 0) {
    connection.reason = REASON_MAPS_DISAGREE;
    return VERDICT_REFUSE;
  }
  const backend = id * BACKEND_WORDS;
  connection.backend = id;
  rememberPeer(log, maps, asked, outside, backend, attempts);
  connection.address.set(maps.backends.subarray(backend, backend + 4));
  connection.address[4] = (asked[4]! & 0xffff0000) | (maps.backends[backend + 4]! & 0xffff);
  connection.reason = REASON_TRANSLATED;
  mark(log, MARK_SOCKET_TRANSLATED);
  return VERDICT_FORWARD;
}

/** forward: `connection.address`, the socket's real peer, is replaced by the Service address it asked for. */
export function decidePeer(log: Log, maps: Maps, connection: Connection, outside: Outside): number {
  const place = tableFind(maps.peers, cookieWords(outside));
  connection.reason = REASON_NOT_SERVICE;
  if (place < 0) return VERDICT_PASS;
  const peer = place * PEER_WORDS;
  const { values } = maps.peers;
  if (
    (values[peer + PEER_BACKEND_PORT_AT / 4]! & 0xffff) !== (connection.address[4]! & 0xffff) ||
    !sameAddress(values, peer + PEER_BACKEND_AT / 4, connection.address, 0)
  ) {
    mark(log, MARK_PEER_OTHER);
    return VERDICT_PASS;
  }
  mark(log, MARK_PEER_KNOWN);
  connection.address.set(values.subarray(peer, peer + 5));
  connection.reason = REASON_PEER;
  return VERDICT_FORWARD;
}
