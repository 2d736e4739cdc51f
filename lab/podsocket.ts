// SPDX-License-Identifier: Apache-2.0
/** Sockets of the harness inside a pod's network namespace: their packets are the pod's, no program sees their calls. */
import { closeSync } from 'node:fs';
import { Socket } from 'node:net';
import { address, addressFromIPv4, endpointText, isIPv4, parseAddress, type Address } from '../core/address.ts';
import { assert, fail, ok, type Result } from '../core/result.ts';
import {
  AF_INET,
  AF_INET6,
  bindSocket,
  connectSocket,
  errnoName,
  openSocket,
  receiveError,
  receiveFrom,
  sendDatagram,
  setSocketOption,
  SOCK_DGRAM,
  SOCK_NONBLOCK,
  SOCK_STREAM,
  socketOption,
} from '../kernel/libc.ts';
import { insideNamespace } from '../kernel/netns.ts';

const SOL_SOCKET = 1;
const SOL_IP = 0;
const SOL_IPV6 = 41;
const SO_REUSEADDR = 2;
const SO_SNDTIMEO = 21;
const IP_RECVERR = 11;
const IPV6_RECVERR = 25;
const IP_MTU = 14;
const IPV6_MTU = 24;
const IPV6_V6ONLY = 26;
const IPV6_HOPOPTS = 54;
const IPV6_DSTOPTS = 59;
const connectTimeoutSeconds = 3n;
const pollMs = 1;

/** `10.96.0.1` or `fd00::1`, and a port. */
export type Place = { readonly address: string; readonly port: number };

export type Datagram = { readonly from: string; readonly data: Buffer };

/** An error that an ICMP message told of: who sent that, and which datagram of ours met it. */
export type ToldError = {
  readonly errno: string;
  /** ICMP type and code, `3/3`. */
  readonly kind: string;
  readonly offender: string;
  readonly to: string;
  readonly data: Buffer;
};

function sockaddr({ address: text, port }: Place): Buffer {
  const parsed = parseAddress(text);
  assert(parsed.ok, `${text} is an address`);
  const { a, b, c, d } = parsed.value;
  const isFour = isIPv4(parsed.value);
  const bytes = Buffer.alloc(isFour ? 16 : 28);
  bytes.writeUInt16LE(isFour ? AF_INET : AF_INET6, 0);
  bytes.writeUInt16BE(port, 2);
  for (const [index, word] of (isFour ? [d] : [a, b, c, d]).entries()) {
    bytes.writeUInt32BE(word >>> 0, (isFour ? 4 : 8) + index * 4);
  }
  return bytes;
}

function hostOf(bytes: Buffer): Address {
  if (bytes.readUInt16LE(0) === AF_INET) return addressFromIPv4(bytes.readUInt32BE(4));
  const word = (index: number): number => bytes.readInt32BE(8 + index * 4);
  return address(word(0), word(1), word(2), word(3));
}

function sockaddrText(bytes: Buffer): string {
  return endpointText(hostOf(bytes), bytes.readUInt16BE(2));
}

function integer(value: number): Uint8Array {
  return new Uint8Array(Int32Array.of(value).buffer);
}

function open(path: string, isSix: boolean, type: number, port: number): Result<number> {
  const visit = insideNamespace(path, () => openSocket(isSix ? AF_INET6 : AF_INET, type, 0));
  const socket = visit.ok ? visit.value : visit;
  if (!socket.ok) return socket;
  const reuse = setSocketOption(socket.value, SOL_SOCKET, SO_REUSEADDR, integer(1));
  if (reuse.ok && isSix) setSocketOption(socket.value, SOL_IPV6, IPV6_V6ONLY, integer(1));
  const errno = port === 0 ? 0 : bindSocket(socket.value, sockaddr({ address: isSix ? '::' : '0.0.0.0', port }));
  if (errno === 0) return socket;
  closeSync(socket.value);
  return fail('environment', `port ${port}`, errnoName(errno));
}

export type DatagramOptions = { readonly isSix: boolean; readonly port?: number };

/** A UDP socket in the namespace at `path`, with its error queue switched on. */
export function openDatagramSocket(path: string, { isSix, port = 0 }: DatagramOptions): Result<DatagramSocket> {
  const socket = open(path, isSix, SOCK_DGRAM | SOCK_NONBLOCK, port);
  if (!socket.ok) return socket;
  const told = isSix
    ? setSocketOption(socket.value, SOL_IPV6, IPV6_RECVERR, integer(1))
    : setSocketOption(socket.value, SOL_IP, IP_RECVERR, integer(1));
  return told.ok ? ok(new DatagramSocket(socket.value, isSix)) : told;
}

/** Waits until `take` gives something; undefined where it takes longer than `timeoutMs`. */
async function waitFor<T>(take: () => T | undefined, timeoutMs: number): Promise<T | undefined> {
  const endsAtMs = performance.now() + timeoutMs;
  for (;;) {
    const taken = take();
    if (taken !== undefined || performance.now() > endsAtMs) return taken;
    await new Promise((resolve) => setTimeout(resolve, pollMs));
  }
}

export class DatagramSocket implements Disposable {
  private fd: number;
  private readonly isSix: boolean;

  constructor(fd: number, isSix: boolean) {
    this.fd = fd;
    this.isSix = isSix;
  }

  /** 0 or an error's name. */
  connect(to: Place): string {
    return named(connectSocket(this.fd, sockaddr(to)));
  }

  /** To a place, or to whom the socket is connected to; '' or an error's name, also that of an earlier datagram. */
  send(data: Uint8Array, to?: Place): string {
    return named(sendDatagram(this.fd, data, to === undefined ? undefined : sockaddr(to)));
  }

  /** Answers a datagram. */
  answer(to: Datagram, data: Uint8Array): string {
    const found = /^\[?([^\]]*?)\]?:(\d+)$/.exec(to.from);
    return this.send(data, { address: found?.[1] ?? '', port: Number(found?.[2]) });
  }

  receive(timeoutMs: number): Promise<Datagram | undefined> {
    return waitFor(() => {
      const [data, from] = [Buffer.alloc(65_536), Buffer.alloc(28)];
      const length = receiveFrom(this.fd, data, from);
      return length < 0 ? undefined : { from: sockaddrText(from), data: data.subarray(0, length) };
    }, timeoutMs);
  }

  /** The next error that was told of; undefined where none comes. */
  told(timeoutMs: number): Promise<ToldError | undefined> {
    return waitFor(() => {
      const queued = receiveError(this.fd);
      if (queued === undefined) return undefined;
      // struct cmsghdr { length, level, type }, struct sock_extended_err { errno, origin, type, code, pad, info, data },
      // then the offender's address.
      const said = Buffer.from(queued.control).subarray(16);
      return {
        errno: errnoName(said.readUInt32LE(0)),
        kind: `${said.readUInt8(5)}/${said.readUInt8(6)}`,
        offender: sockaddrText(said.subarray(16)).replace(/:0$/, ''),
        to: sockaddrText(Buffer.from(queued.to)),
        data: Buffer.from(queued.data),
      };
    }, timeoutMs);
  }

  /** The path's MTU as the socket knows it; it must be connected. */
  mtu(): Result<number> {
    const value = Buffer.alloc(4);
    const read = this.isSix
      ? socketOption(this.fd, SOL_IPV6, IPV6_MTU, value)
      : socketOption(this.fd, SOL_IP, IP_MTU, value);
    return read.ok ? ok(value.readInt32LE(0)) : read;
  }

  /** Every datagram from now on carries hop-by-hop and destination options. IPv6 only. */
  sendOptions(): Result<number> {
    // Next header, length, then four bytes of padding.
    const options = Uint8Array.of(0, 0, 1, 4, 0, 0, 0, 0);
    const first = setSocketOption(this.fd, SOL_IPV6, IPV6_HOPOPTS, options);
    return first.ok ? setSocketOption(this.fd, SOL_IPV6, IPV6_DSTOPTS, options) : first;
  }

  [Symbol.dispose](): void {
    if (this.fd >= 0) closeSync(this.fd);
    this.fd = -1;
  }
}

function named(errno: number): string {
  return errno === 0 ? '' : errnoName(errno);
}

/** A TCP connection from the namespace at `path`, as Node's own socket; from a port of its own where one is given. */
export function connectStream(path: string, to: Place, port = 0): Result<Socket> {
  const opened = open(path, to.address.includes(':'), SOCK_STREAM, port);
  if (!opened.ok) return opened;
  // connect() waits no longer than a socket may wait with what it sends.
  const timeout = new Uint8Array(BigInt64Array.of(connectTimeoutSeconds, 0n).buffer);
  const limited = setSocketOption(opened.value, SOL_SOCKET, SO_SNDTIMEO, timeout);
  const errno = limited.ok ? connectSocket(opened.value, sockaddr(to)) : 0;
  if (errno === 0) return ok(new Socket({ fd: opened.value }));
  closeSync(opened.value);
  return fail('environment', endpointText(hostOf(sockaddr(to)), to.port), errnoName(errno));
}
