// SPDX-License-Identifier: Apache-2.0
/**
 * Ethernet frames with IPv4 or IPv6 and TCP or UDP, built whole with checksums summed from scratch: on purpose no line is
 * shared with the datapath's own arithmetic.
 */
import { addressOf, type HostAddress } from './address.ts';

export const FIN = 1;
export const SYN = 2;
export const RST = 4;
export const PSH = 8;
export const ACK = 16;

export const TCP = 6;
export const UDP = 17;

export const ETHERNET = 14;
const CLIENT_MAC = [0x02, 0, 0, 0, 0, 1];
const NODE_MAC = [0x02, 0, 0, 0, 0, 2];

/** An IPv6 extension header (RFC 8200 4, RFC 4302): what a number alone stands for has eight bytes. */
export type Extension = {
  readonly number: number;
  /** Of all of it: a multiple of eight, of four for an authentication header (51). */
  readonly length: number;
  /** Its third and fourth byte: of routing the type and the segments left, of a fragment offset and more. */
  readonly word?: number;
  /** The four bytes behind. */
  readonly identification?: number;
};

/** How a checksum is left: of UDP it may be absent. */
export type Checksum = 'full' | 'partial' | 'none';

/** Everything about a TCP segment, or a datagram where `protocol` says so; with an IPv6 address on either side it is an IPv6 packet. */
export type Segment = {
  readonly source: HostAddress;
  readonly destination: HostAddress;
  readonly sourcePort: number;
  readonly destinationPort: number;
  /** FIN, SYN ... */
  readonly flags: number;
  readonly sequence: number;
  readonly acknowledgement: number;
  readonly payload: Uint8Array;
  /** Options of IPv4 (IPv6 has none) and of TCP: a multiple of four bytes each, 40 at most. */
  readonly ipOptions: Uint8Array;
  readonly tcpOptions: Uint8Array;
  readonly protocol: number;
  /** IPv6 extension headers in order. */
  readonly extensions: readonly (number | Extension)[];
  /** The low half of the flow label for IPv6. */
  readonly id: number;
  readonly timeToLive: number;
  /** IPv4 flags and offset as on the wire: 0x4000 don't fragment, 0x2000 more fragments. */
  readonly fragment: number;
  /** Bytes after the packet: Ethernet pads short frames. */
  readonly padding: Uint8Array;
  /** `partial`: the sum of the pseudo-header only, as the stack leaves it to a device (CHECKSUM_PARTIAL). */
  readonly checksum: Checksum;
};

const NOTHING = new Uint8Array();

/** An empty segment from one socket to another. */
export function segment(
  from: { readonly address: HostAddress; readonly port: number },
  to: { readonly address: HostAddress; readonly port: number },
  flags: number,
  more: Partial<Segment> = {},
): Segment {
  return {
    source: from.address,
    destination: to.address,
    sourcePort: from.port,
    destinationPort: to.port,
    flags,
    sequence: 1,
    acknowledgement: 0,
    payload: NOTHING,
    ipOptions: NOTHING,
    tcpOptions: NOTHING,
    protocol: 6,
    extensions: [],
    id: 0,
    timeToLive: 64,
    fragment: 0x4000,
    padding: NOTHING,
    checksum: 'full',
    ...more,
  };
}

/** The Internet checksum's sum (RFC 1071) of some bytes, in network order, folded, not complemented. */
export function sumOf(bytes: Uint8Array, start = 0): number {
  let sum = start;
  for (let at = 0; at < bytes.length; at++) {
    sum += at % 2 === 0 ? (bytes[at] ?? 0) * 256 : (bytes[at] ?? 0);
    while (sum > 0xffff) sum -= 0xffff;
  }
  return sum;
}

export function isIPv6(it: Pick<Segment, 'source' | 'destination'>): boolean {
  return typeof it.source === 'string' || typeof it.destination === 'string';
}

function putAddress(view: DataView, at: number, host: HostAddress): void {
  const { a, b, c, d } = addressOf(host);
  for (const [index, word] of [a, b, c, d].entries()) view.setUint32(at + index * 4, word);
}

/** RFC 9293 3.1 for IPv4, RFC 8200 8.1 for IPv6. */
export function pseudoHeader(
  { source, destination }: Pick<Segment, 'source' | 'destination'>,
  protocol: number,
  length: number,
): Uint8Array {
  if (typeof source === 'number' && typeof destination === 'number') {
    const bytes = new Uint8Array(12);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, source);
    view.setUint32(4, destination);
    view.setUint8(9, protocol);
    view.setUint16(10, length);
    return bytes;
  }
  const bytes = new Uint8Array(40);
  const view = new DataView(bytes.buffer);
  putAddress(view, 0, source);
  putAddress(view, 16, destination);
  view.setUint32(32, length);
  view.setUint8(39, protocol);
  return bytes;
}

function transportOf(it: Segment): Uint8Array {
  return it.protocol === UDP ? datagramOf(it) : tcpOf(it);
}

function tcpOf(it: Segment): Uint8Array {
  const header = 20 + it.tcpOptions.length;
  const bytes = new Uint8Array(header + it.payload.length);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, it.sourcePort);
  view.setUint16(2, it.destinationPort);
  view.setUint32(4, it.sequence);
  view.setUint32(8, it.acknowledgement);
  view.setUint8(12, (header / 4) * 16);
  view.setUint8(13, it.flags);
  view.setUint16(14, 0xfaf0);
  bytes.set(it.tcpOptions, 20);
  bytes.set(it.payload, header);
  const pseudo = sumOf(pseudoHeader(it, it.protocol, bytes.length));
  view.setUint16(16, it.checksum === 'partial' ? pseudo : 0xffff - sumOf(bytes, pseudo));
  return bytes;
}

/** RFC 768: a checksum that comes out as zero is sent as its other form. */
function datagramOf(it: Segment): Uint8Array {
  const bytes = new Uint8Array(8 + it.payload.length);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, it.sourcePort);
  view.setUint16(2, it.destinationPort);
  view.setUint16(4, bytes.length);
  bytes.set(it.payload, 8);
  const pseudo = sumOf(pseudoHeader(it, UDP, bytes.length));
  if (it.checksum === 'partial') view.setUint16(6, pseudo);
  else if (it.checksum === 'full') view.setUint16(6, 0xffff - sumOf(bytes, pseudo) || 0xffff);
  return bytes;
}

/** The IP packet of a segment, without Ethernet. */
export function packetOf(it: Segment): Uint8Array {
  return isIPv6(it) ? ipv6PacketOf(it) : ipv4PacketOf(it);
}

export function ipv6Header(
  it: Pick<Segment, 'source' | 'destination'>,
  nextHeader: number,
  payload: number,
): Uint8Array {
  const bytes = new Uint8Array(40);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, 0x60);
  view.setUint16(4, payload);
  view.setUint8(6, nextHeader);
  putAddress(view, 8, it.source);
  putAddress(view, 24, it.destination);
  return bytes;
}

/** An extension header whose successor is `next`; padding where options stand, zeros elsewhere. */
function extensionOf({ number, length, word, identification }: Extension, next: number): Uint8Array {
  const bytes = new Uint8Array(length);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, next);
  view.setUint8(1, number === 44 ? 0 : number === 51 ? length / 4 - 2 : length / 8 - 1);
  if (number === 0 || number === 60) bytes.set([1, length - 4], 2);
  if (word !== undefined) view.setUint16(2, word);
  if (identification !== undefined) view.setUint32(4, identification);
  return bytes;
}

function extensionsOf({ extensions, protocol }: Pick<Segment, 'extensions' | 'protocol'>): Uint8Array {
  const chain = extensions.map((it) => (typeof it === 'number' ? { number: it, length: 8 } : it));
  return Uint8Array.from(chain.flatMap((it, at) => [...extensionOf(it, chain[at + 1]?.number ?? protocol)]));
}

/** Bytes before the transport header, Ethernet left out. */
export function headerLength(it: Segment): number {
  return isIPv6(it) ? 40 + extensionsOf(it).length : 20 + it.ipOptions.length;
}

function ipv6PacketOf(it: Segment): Uint8Array {
  const transport = transportOf(it);
  const extensions = extensionsOf(it);
  const bytes = new Uint8Array(40 + extensions.length + transport.length);
  const [first = it.protocol] = it.extensions;
  bytes.set(ipv6Header(it, typeof first === 'number' ? first : first.number, bytes.length - 40));
  const view = new DataView(bytes.buffer);
  view.setUint16(2, it.id);
  view.setUint8(7, it.timeToLive);
  bytes.set(extensions, 40);
  bytes.set(transport, 40 + extensions.length);
  return bytes;
}

function ipv4PacketOf(it: Segment): Uint8Array {
  const transport = transportOf(it);
  const header = 20 + it.ipOptions.length;
  const bytes = new Uint8Array(header + transport.length);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, 0x40 + header / 4);
  view.setUint16(2, bytes.length);
  view.setUint16(4, it.id);
  view.setUint16(6, it.fragment);
  view.setUint8(8, it.timeToLive);
  view.setUint8(9, it.protocol);
  view.setUint32(12, addressOf(it.source).d);
  view.setUint32(16, addressOf(it.destination).d);
  bytes.set(it.ipOptions, 20);
  view.setUint16(10, 0xffff - sumOf(bytes.subarray(0, header)));
  bytes.set(transport, header);
  return bytes;
}

/** The frame of an IP packet on its way from a pod. */
export function framed(packet: Uint8Array, padding: Uint8Array = NOTHING): Uint8Array {
  const bytes = new Uint8Array(ETHERNET + packet.length + padding.length);
  bytes.set([...NODE_MAC, ...CLIENT_MAC, ...((packet[0] ?? 0) >>> 4 === 6 ? [0x86, 0xdd] : [0x08, 0x00])]);
  bytes.set(packet, ETHERNET);
  bytes.set(padding, ETHERNET + packet.length);
  return bytes;
}

/** The frame of a segment on its way from a pod. */
export function frameOf(it: Segment): Uint8Array {
  return framed(packetOf(it), it.padding);
}

/** Type and code of an ICMP message. */
export type IcmpKind = readonly [type: number, code: number];
const UNREACHABLE: IcmpKind = [3, 3];
const UNREACHABLE_SIX: IcmpKind = [1, 4];

/**
 * The answer (RFC 792, RFC 4443 3), "port unreachable" unless said otherwise, that refuses a segment: from the address
 * it was for, with the quote of its IP header and 20 bytes of TCP or 8 of UDP, in a frame turned around. A pending
 * (partial) checksum is quoted as the sum it will become.
 */
export function refusalOf(it: Segment, kind: IcmpKind = isIPv6(it) ? UNREACHABLE_SIX : UNREACHABLE): Uint8Array {
  const bytes = framed(isIPv6(it) ? ipv6Refusal(it, kind) : ipv4Refusal(it, kind));
  bytes.set([...CLIENT_MAC, ...NODE_MAC]);
  return bytes;
}

function quoteOf(it: Segment): Uint8Array {
  return packetOf(it).subarray(0, headerLength(it) + (it.protocol === UDP ? 8 : 20));
}

function ipv6Refusal(it: Segment, kind: IcmpKind): Uint8Array {
  const quote = quoteOf(it);
  const message = new Uint8Array(8 + quote.length);
  const view = new DataView(message.buffer);
  message.set(kind);
  message.set(quote, 8);
  const way = { source: it.destination, destination: it.source };
  const pseudo = sumOf(pseudoHeader(way, 58, message.length));
  view.setUint16(2, 0xffff - sumOf(summedQuote(message, it), pseudo));
  const packet = new Uint8Array(40 + message.length);
  packet.set(ipv6Header(way, 58, message.length));
  packet.set([0x6c, 0x00], 0); // internetwork control, 0xc0, between version and flow label
  packet.set([64], 7);
  packet.set(message, 40);
  return packet;
}

function ipv4Refusal(it: Segment, kind: IcmpKind): Uint8Array {
  const quote = quoteOf(it);
  const packet = new Uint8Array(28 + quote.length);
  const view = new DataView(packet.buffer);
  view.setUint8(0, 0x45);
  view.setUint8(1, 0xc0);
  view.setUint16(2, packet.length);
  view.setUint16(6, 0x4000);
  view.setUint8(8, 64);
  view.setUint8(9, 1);
  view.setUint32(12, addressOf(it.destination).d);
  view.setUint32(16, addressOf(it.source).d);
  view.setUint16(10, 0xffff - sumOf(packet.subarray(0, 20)));
  packet.set(kind, 20);
  packet.set(quote, 28);
  view.setUint16(22, 0xffff - sumOf(summedQuote(packet.subarray(20), it)));
  return packet;
}

/** The ICMP message as it is once a device has completed the checksum inside the quote, which sums what it quotes. */
function summedQuote(icmp: Uint8Array, it: Segment): Uint8Array {
  const message = icmp.slice();
  if (it.checksum !== 'partial') return message;
  const transport = 8 + headerLength(it);
  const check = transport + (it.protocol === UDP ? 6 : 16);
  new DataView(message.buffer).setUint16(check, 0xffff - sumOf(message.subarray(transport)));
  return message;
}
