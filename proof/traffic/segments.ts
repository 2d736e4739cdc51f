// SPDX-License-Identifier: Apache-2.0
/** The packets that a connection is made of, dressed in options and padding, and those that miss it by a little. */
import type { PacketHook } from '../../core/twin.ts';
import {
  headerLength,
  isIPv6,
  packetOf,
  segment,
  SYN,
  UDP,
  type Checksum,
  type Extension,
  type Segment,
} from './frame.ts';
import { flippedBit, neighbour, type HostAddress } from './address.ts';
import { NODE_ADDRESS, NODE_ADDRESS_SIX } from '../settings.ts';
import type { Stream } from '../../core/random.ts';

export type Socket = { readonly address: HostAddress; readonly port: number };

/** What the generator believes of a connection; backend and how it sees the client are known once one was forwarded. */
export type Connection = {
  readonly client: Socket;
  readonly service: Socket;
  readonly protocol: number;
  backend: Socket | undefined;
  seenAs: Socket | undefined;
  clientSequence: number;
  readonly serverSequence: number;
  last: Planned | undefined;
};

/** A packet that will be sent; what it carries may depend on what is learnt until then. */
export type Planned = {
  readonly hook: PacketHook;
  /** What it is, or is a part of, or tells of. */
  readonly segment: Segment;
  /** Where it is not simply that segment's. */
  readonly frame?: () => Uint8Array;
  readonly connection?: Connection;
};

export const NOTHING: Uint8Array = new Uint8Array();

/** The initial sequence number's surroundings: one too few, far too many, just inside the window. */
export function nearAck(stream: Stream, connection: Connection): number {
  const away = stream.pick([0, 1, -1, 2, 65535, 65536, 65537, stream.below(70000), stream.word()]);
  return (connection.serverSequence + away) >>> 0;
}

/** A header that is walked (hop-by-hop where it may stand, options, routing done, authentication, mobility). */
function walked(stream: Stream, isFirst: boolean): Extension {
  const number = stream.pick(isFirst ? [0, 0, 60, 43, 51, 135, 44] : [60, 60, 43, 51, 135]);
  if (number === 51) return { number, length: 12 + 4 * stream.below(6) };
  if (number === 43) return { number, length: 8 * (1 + stream.below(3)), word: stream.below(5) << 8 };
  if (number === 44) return { number, length: 8, identification: stream.word() };
  return { number, length: 8 * (1 + stream.below(4)) };
}

/** What an honest host may put before the transport header: eight of them are walked. */
export function someExtensions(stream: Stream): readonly Extension[] {
  // The transport header just before, at and behind the last place where it is looked for.
  if (stream.chance(0.1)) return [{ number: 60, length: 8 * stream.pick([48, 49, 50]) }];
  const count = stream.pick([1, 1, 1, 2, 3, 7, 8, 9]);
  return Array.from({ length: count }, (_, index) => walked(stream, index === 0));
}

/** Those that are not to be walked: segments left, hop-by-hop behind others, ESP, fragments of fragments, too much. */
function oddExtensions(stream: Stream): readonly (number | Extension)[] {
  const long = { number: 60, length: 8 * stream.pick([20, 48, 49, 50, 60]) };
  return stream.pick<readonly (number | Extension)[]>([
    [{ number: 43, length: 8, word: 1 + stream.below(255) }],
    [60, 0],
    [{ number: 51, length: 12 }, 0],
    [50],
    [44, 44],
    [{ number: 44, length: 8, word: stream.pick([1, 8, 9, 1480]), identification: stream.word() }],
    [long],
    [60, { number: 44, length: 8, word: stream.pick([1, 8, 9]), identification: stream.below(4) }],
  ]);
}

/** What to change so that a segment misses its connection by a little. */
export function nearMiss(stream: Stream, it: Segment): Partial<Segment> {
  const by = stream.pick([1, 65535]);
  const isSix = isIPv6(it);
  const changes: readonly Partial<Segment>[] = [
    { sourcePort: (it.sourcePort + by) & 0xffff },
    { destinationPort: (it.destinationPort + by) & 0xffff },
    { source: flippedBit(it.source, stream.below(isSix ? 128 : 32)) },
    { destination: flippedBit(it.destination, stream.below(isSix ? 128 : 32)) },
    { destination: neighbour(it.destination, 1) },
    { sourcePort: it.destinationPort, destinationPort: it.sourcePort },
    { protocol: stream.pick([1, 6, 17, 58, 132]) },
    isSix ? { extensions: oddExtensions(stream) } : { fragment: stream.pick([0x2000, 0x2001, 1, 185]) },
  ];
  return stream.pick(changes);
}

function someChecksum(stream: Stream, protocol: number): Checksum {
  if (protocol === UDP && stream.chance(0.15)) return 'none';
  return stream.chance(0.12) ? 'partial' : 'full';
}

/** Options, payload, padding and a pending checksum now and then. */
export function dress(stream: Stream, protocol: number): Partial<Segment> {
  const options = (): Uint8Array => new Uint8Array(4 * (1 + stream.below(10))).fill(1);
  return {
    id: stream.below(65536),
    protocol,
    checksum: someChecksum(stream, protocol),
    ipOptions: stream.chance(0.08) ? options() : NOTHING,
    extensions: stream.chance(0.08) ? someExtensions(stream) : [],
    tcpOptions: stream.chance(0.2) ? options() : NOTHING,
    payload: stream.chance(0.3) ? new Uint8Array(stream.below(60)).fill(stream.below(256)) : NOTHING,
    padding: stream.chance(0.1) ? new Uint8Array(stream.below(20)) : NOTHING,
    timeToLive: stream.pick([64, 64, 1, 255, 2]),
  };
}

/** Two bytes with which a datagram's checksum comes out as zero, which must not be written (RFC 768). */
export function vanishing(it: Segment): Uint8Array {
  const packet = packetOf({ ...it, protocol: UDP, checksum: 'full', payload: new Uint8Array(2) });
  const check = headerLength(it) + 6;
  return packet.slice(check, check + 2);
}

/** What the client sends. */
export function fromClient(
  stream: Stream,
  connection: Connection,
  flags: number,
  more: Partial<Segment> = {},
): Planned {
  const numbers = {
    sequence: (connection.clientSequence + 1) >>> 0,
    acknowledgement: (connection.serverSequence + 1) >>> 0,
  };
  const dressed = { ...dress(stream, connection.protocol), ...numbers, ...more };
  return { hook: 'from-pod', segment: segment(connection.client, connection.service, flags, dressed), connection };
}

/** Where a packet from a connection's backend passes: that of a pod to itself comes from the pod. */
export function backendHook({ seenAs }: Connection): PacketHook {
  return seenAs?.address === NODE_ADDRESS || seenAs?.address === NODE_ADDRESS_SIX ? 'from-pod' : 'to-pod';
}

/** Where the backend isn't known yet it is looked up when the packet is sent. */
export function fromBackend(
  stream: Stream,
  connection: Connection,
  flags: number,
  more: Partial<Segment> = {},
): Planned {
  const numbers = {
    sequence: (connection.serverSequence + ((flags & SYN) === 0 ? 1 : 0)) >>> 0,
    acknowledgement: (connection.clientSequence + 1) >>> 0,
  };
  const dressed = { ...dress(stream, connection.protocol), ...numbers, ...more };
  const { client, service } = connection;
  return {
    get hook() {
      return backendHook(connection);
    },
    get segment() {
      return segment(connection.backend ?? service, connection.seenAs ?? client, flags, dressed);
    },
    connection,
  };
}
