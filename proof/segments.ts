// SPDX-License-Identifier: Apache-2.0
/** The segments that a connection is made of, dressed in options and padding, and those that miss it by a little. */
import type { PacketHook } from '../core/twin.ts';
import { isIPv6, segment, SYN, type Segment } from './frame.ts';
import { flippedBit, neighbour, type HostAddress } from './address.ts';
import type { Stream } from '../core/random.ts';

export type Socket = { readonly address: HostAddress; readonly port: number };

/** What the generator believes of a connection; the backend is known once a packet was forwarded. */
export type Connection = {
  readonly client: Socket;
  readonly service: Socket;
  backend: Socket | undefined;
  clientSequence: number;
  readonly serverSequence: number;
  last: Planned | undefined;
};

/** A packet that will be sent; what it carries may depend on what is learnt until then. */
export type Planned = { readonly hook: PacketHook; readonly segment: Segment; readonly connection?: Connection };

export const NOTHING: Uint8Array = new Uint8Array();

/** The initial sequence number's surroundings: one too few, far too many, just inside the window. */
export function nearAck(stream: Stream, connection: Connection): number {
  const away = stream.pick([0, 1, -1, 2, 65535, 65536, 65537, stream.below(70000), stream.word()]);
  return (connection.serverSequence + away) >>> 0;
}

/** Hop-by-hop, routing, fragment, authentication, destination options, mobility; and ESP, which is none to be walked. */
function someExtensions(stream: Stream): readonly number[] {
  const one = (): number => stream.pick([0, 43, 44, 51, 60, 135, 50]);
  return stream.chance(0.8) ? [one()] : [one(), one()];
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
    { protocol: stream.pick([1, 17, 58, 132]) },
    isSix ? { extensions: someExtensions(stream) } : { fragment: stream.pick([0x2000, 0x2001, 1, 185]) },
  ];
  return stream.pick(changes);
}

/** Options, payload, padding and a pending checksum now and then. */
function dress(stream: Stream): Partial<Segment> {
  const options = (): Uint8Array => new Uint8Array(4 * (1 + stream.below(10))).fill(1);
  return {
    id: stream.below(65536),
    checksum: stream.chance(0.12) ? 'partial' : 'full',
    ipOptions: stream.chance(0.08) ? options() : NOTHING,
    tcpOptions: stream.chance(0.2) ? options() : NOTHING,
    payload: stream.chance(0.3) ? new Uint8Array(stream.below(60)).fill(stream.below(256)) : NOTHING,
    padding: stream.chance(0.1) ? new Uint8Array(stream.below(20)) : NOTHING,
    timeToLive: stream.pick([64, 64, 1, 255]),
  };
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
  const it = segment(connection.client, connection.service, flags, { ...dress(stream), ...numbers, ...more });
  return { hook: 'from-pod', segment: it, connection };
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
  const dressed = { ...dress(stream), ...numbers, ...more };
  const { client, service } = connection;
  return {
    hook: 'to-pod',
    get segment() {
      return segment(connection.backend ?? service, client, flags, dressed);
    },
    connection,
  };
}
