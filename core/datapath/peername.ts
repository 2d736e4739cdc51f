// SPDX-License-Identifier: Apache-2.0
/**
 * An application is shown the Service that it asked for, by getpeername() and as the sender of answers; twin of
 * bpf/peername.h.
 */
import { UDP } from '../address.ts';
import {
  MARK_PEER_KNOWN,
  MARK_PEER_OTHER,
  MARK_SOCKET_ANSWER,
  MARK_SOCKET_STRANGER,
  PEER_BACKEND_AT,
  PEER_BACKEND_PORT_AT,
  REASON_NOT_SERVICE,
  REASON_PEER,
  SOCKET_ROWS,
  VERDICT_FORWARD,
  VERDICT_PASS,
} from '../layout.gen.ts';
import type { Outside } from '../twin.ts';
import { PEER_WORDS, protocolOf, wordsOf, type Connection } from './connect.ts';
import { mark, type Log } from './log.ts';
import type { Maps } from './maps.ts';
import { sameAddress } from './nat.ts';
import { ROW_ADDRESS, ROW_BACKEND, ROW_PORT, rowOf, SOCKET_PEER, socketAnswer } from './sockets.ts';
import { tableFind } from './table.ts';

/**
 * forward: `connection.address`, whence a datagram came, is replaced by the Service address that its answer is to.
 */
export function decideAnswer(log: Log, connection: Connection, state: Uint32Array | undefined): number {
  if (state === undefined) return VERDICT_PASS;
  const at = socketAnswer(state, connection.address);
  connection.reason = REASON_NOT_SERVICE;
  if (at >= SOCKET_ROWS) {
    mark(log, MARK_SOCKET_STRANGER);
    return VERDICT_PASS;
  }
  mark(log, MARK_SOCKET_ANSWER);
  connection.address.set(state.subarray(rowOf(at), rowOf(at) + 5));
  connection.reason = REASON_PEER;
  return VERDICT_FORWARD;
}

/** forward: `connection.address`, the socket's real peer, is replaced by the Service address it asked for. */
export function decidePeer(
  log: Log,
  maps: Maps,
  connection: Connection,
  outside: Outside,
  state: Uint32Array | undefined,
): number {
  let words = maps.peers.values;
  let asked: number;
  let address: number;
  let port: number;
  connection.reason = REASON_NOT_SERVICE;
  if (protocolOf(connection.address) === UDP) {
    asked = rowOf(SOCKET_PEER);
    if (state === undefined || state[asked + ROW_BACKEND] === 0) return VERDICT_PASS;
    words = state;
    address = asked + ROW_ADDRESS;
    port = state[asked + ROW_PORT]!;
  } else {
    const place = tableFind(maps.peers, wordsOf(outside.socketCookie));
    if (place < 0) return VERDICT_PASS;
    asked = place * PEER_WORDS;
    address = asked + PEER_BACKEND_AT / 4;
    port = words[asked + PEER_BACKEND_PORT_AT / 4]!;
  }
  if ((port & 0xffff) !== (connection.address[4]! & 0xffff) || !sameAddress(words, address, connection.address, 0)) {
    mark(log, MARK_PEER_OTHER);
    return VERDICT_PASS;
  }
  mark(log, MARK_PEER_KNOWN);
  connection.address.set(words.subarray(asked, asked + 5));
  connection.reason = REASON_PEER;
  return VERDICT_FORWARD;
}
