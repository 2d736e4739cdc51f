// SPDX-License-Identifier: Apache-2.0
/** One call of a socket through the model: what the programs of bpf/hook_sock.h make of the steps of connect.ts. */
import { address, port, TCP, UDP, type Address, type Port, type Protocol } from '../address.ts';
import {
  MARK_SOCKET_UNSUPPORTED,
  REASON_NO_STORAGE,
  REASON_NOT_SERVICE,
  REASON_SOCKET_ENDED,
  REASON_UNSUPPORTED,
  SOCKET_ROW_SERVICE_PORT_AT,
  VERDICT_FORWARD,
  VERDICT_PASS,
  VERDICT_REFUSE,
} from '../layout.gen.ts';
import type { Outside } from '../twin.ts';
import { createConnection, decideConnect, decideSend, keepConnect, keepSend, type Connection } from './connect.ts';
import { mark, type Log } from './log.ts';
import { decideAnswer, decidePeer } from './peername.ts';
import type { Maps } from './maps.ts';
import { createSocketState, rowOf, SOCKET_PEER, socketAbandoned } from './sockets.ts';
import { count } from './verdict.ts';
import { swap16, swap32 } from './words.ts';

/** IPPROTO_MPTCP: a stream like any other. */
export const MPTCP = 262;
export const ENOBUFS = 105;
export const ECONNREFUSED = 111;

/** What rides on one socket; undefined until a UDP socket has spoken to a Service. */
export type SocketMemory = { state: Uint32Array | undefined };

export type SocketCall = {
  readonly call: 'connect' | 'send' | 'receive' | 'peer-name';
  /** As the socket has it: TCP, UDP, MPTCP or another. */
  readonly protocol: number;
  /** Where to; of `receive` whence, of `peer-name` the real peer. */
  readonly address: Address;
  readonly port: Port;
  /** The socket's own address: bound, or that of this datagram. */
  readonly source?: Address;
  /** Of `send`: to whom the socket is connected to. */
  readonly isPeer?: boolean;
};

/** What became of one call; `address` and `port` are where it goes, or what the application is shown. */
export type SocketOutcome = {
  readonly verdict: number;
  readonly reason: number;
  readonly servicePort: number;
  readonly backend: number;
  readonly address: Address;
  readonly port: Port;
  /** What a refused caller is told, else 0. */
  readonly errno: number;
};

/** Runs one call; `log` then holds its trace and its writes. */
export function runSocket(
  maps: Maps,
  log: Log,
  { call, protocol, address: to, port: number, source, isPeer = false }: SocketCall,
  memory: SocketMemory,
  outside: Outside,
): SocketOutcome {
  const connection = createConnection();
  const served = servedProtocol(protocol);
  log.traceLength = 0;
  log.writesLength = 0;
  connection.address.set([...wordsOf(to), swap16(number) | (served << 16)]);
  connection.isPeer = isPeer;
  if (source !== undefined) connection.source.set(wordsOf(source));
  const verdict = runCall(maps, log, call, connection, served, memory, outside);
  const isCounted = call === 'connect' || call === 'send';
  if (isCounted && connection.reason !== REASON_NOT_SERVICE && connection.reason !== REASON_UNSUPPORTED)
    count(maps, connection.reason, connection.servicePort, 0);
  const refusal = connection.reason === REASON_NO_STORAGE ? ENOBUFS : ECONNREFUSED;
  const [a, b, c, d, ports] = connection.address;
  return {
    verdict,
    reason: connection.reason,
    servicePort: connection.servicePort,
    backend: connection.backend,
    address: address(swap32(a!), swap32(b!), swap32(c!), swap32(d!)),
    port: port(swap16(ports! & 0xffff)),
    errno: verdict === VERDICT_REFUSE ? refusal : 0,
  };
}

/**
 * What the sweep of bpf/hook_iter.h makes of a UDP socket: the Service port of one that it ends, undefined for one that
 * it leaves.
 */
export function sweepSocket(maps: Maps, { state }: SocketMemory, isConnected: boolean): number | undefined {
  const row = rowOf(SOCKET_PEER);
  if (!isConnected || state === undefined || !socketAbandoned(maps, state, row)) return undefined;
  const servicePort = state[row + SOCKET_ROW_SERVICE_PORT_AT / 4]!;
  count(maps, REASON_SOCKET_ENDED, servicePort, 0);
  return servicePort;
}

/** How a Service names the protocol of a socket, 0: none that it serves. */
function servedProtocol(protocol: number): Protocol {
  if (protocol === TCP || protocol === MPTCP) return TCP;
  return protocol === UDP ? UDP : (0 as Protocol);
}

function wordsOf({ a, b, c, d }: Address): number[] {
  return [swap32(a), swap32(b), swap32(c), swap32(d)];
}

function runCall(
  maps: Maps,
  log: Log,
  call: SocketCall['call'],
  connection: Connection,
  protocol: Protocol,
  memory: SocketMemory,
  outside: Outside,
): number {
  const state = protocol === UDP ? memory.state : undefined;
  if (call === 'receive') return decideAnswer(log, connection, state);
  if (call === 'peer-name') return decidePeer(log, maps, connection, outside, state);
  if (protocol === 0 || (call === 'send' && protocol !== UDP)) {
    mark(log, MARK_SOCKET_UNSUPPORTED);
    connection.reason = REASON_UNSUPPORTED;
    return VERDICT_PASS;
  }
  const isConnect = call === 'connect';
  const verdict = (isConnect ? decideConnect : decideSend)(log, maps, connection, outside, state);
  if (protocol !== UDP || verdict !== VERDICT_FORWARD) return verdict;
  if (memory.state === undefined && outside.storageResult === 0) memory.state = createSocketState();
  return (isConnect ? keepConnect : keepSend)(log, connection, memory.state);
}
