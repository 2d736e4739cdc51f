// SPDX-License-Identifier: Apache-2.0
/** The lines that the lab's processes and their harness exchange: one JSON object a line. */

/** What a server sends to everyone who connects: who it is, and whom it sees. */
export type Identity = {
  readonly pod: string;
  readonly address: string;
  readonly port: number;
  /** `10.244.1.4:41234` */
  readonly peer: string;
};

/** First line of a server or a client, once it can be used. */
export type Ready = { readonly ready: true };

/**
 * `connect`: connect, read the identity, hold for `holdMs` and then ask for an echo (0: neither), close.
 * `open`: the same without the end; `echo` and `close` name the connection by the id of its `open`.
 */
export type ConnectRequest = {
  readonly op: 'connect' | 'open';
  readonly address: string;
  readonly port: number;
  /** For each step: connecting with the identity, the echo, closing. */
  readonly timeoutMs: number;
  readonly holdMs?: number;
  readonly sourcePort?: number;
};
export type EchoRequest = {
  readonly op: 'echo';
  readonly connection: number;
  readonly text: string;
  readonly timeoutMs: number;
};
export type CloseRequest = { readonly op: 'close'; readonly connection: number; readonly timeoutMs: number };
/**
 * One datagram and its answer. Without `socket` from a new one, which stays and is named by the id of this request:
 * connected to the address where `isConnected`, else it sends to it. `isLast`: the socket is closed with the answer.
 */
export type DatagramRequest = {
  readonly op: 'datagram';
  readonly address: string;
  readonly port: number;
  readonly timeoutMs: number;
  readonly isConnected?: boolean;
  readonly isLast?: boolean;
  /** Of a new socket; default: the kernel's choice. */
  readonly sourcePort?: number;
  readonly socket?: number;
};
export type ClientRequest = ConnectRequest | EchoRequest | CloseRequest | DatagramRequest;

/**
 * `closed`: ended by the other side before an answer, or by us when asked to. `garbled`: somebody answered who is not a
 * server of a lab. `lost`: the client process itself is gone. `error`: see `errno`.
 */
export type Outcome =
  | 'answered'
  | 'echoed'
  | 'closed'
  | 'refused'
  | 'reset'
  | 'timeout'
  | 'unreachable'
  | 'forbidden'
  | 'garbled'
  | 'lost'
  | 'error';

export type ConnectionReport = {
  readonly id: number;
  readonly result: Outcome;
  /** Name of the error as the system calls it, `ECONNREFUSED`. */
  readonly errno: string | null;
  /** The pod that answered, its address and port as it knows them, and the client as it saw it. */
  readonly by: string | null;
  readonly answeredAs: string | null;
  readonly peerSeen: string | null;
  /** What getpeername told the application, or for a datagram who answered: `10.96.0.1:80`. */
  readonly peerName: string | null;
  readonly localPort: number | null;
  /** CLOCK_REALTIME in ns, decimal: before connect, when connected, when this report was made. */
  readonly startedNs: string;
  readonly connectedNs: string | null;
  readonly endedNs: string;
};

export type ClientRequestLine = ClientRequest & { readonly id: number };
