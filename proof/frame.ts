// SPDX-License-Identifier: Apache-2.0
/**
 * Ethernet frames with IPv4 or IPv6 and TCP, built whole with checksums summed from scratch: on purpose no line is
 * shared with the datapath's own arithmetic.
 */
import { addressOf, type HostAddress } from './address.ts';

export const FIN = 1;
export const SYN = 2;
export const RST = 4;
export const PSH = 8;
export const ACK = 16;

const ETHERNET = 14;
const CLIENT_MAC = [0x02, 0, 0, 0, 0, 1];
const NODE_MAC = [0x02, 0, 0, 0, 0, 2];

/** Everything about a segment; with an IPv6 address on either side it is an IPv6 packet. */
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
  /** IPv6 extension headers of eight bytes each, by number, in order. */
  readonly extensions: readonly number[];
  /** The low half of the flow label for IPv6. */
  readonly id: number;
  readonly timeToLive: number;
  /** IPv4 flags and offset as on the wire: 0x4000 don't fragment, 0x2000 more fragments. */
  readonly fragment: number;
  /** Bytes after the packet: Ethernet pads short frames. */
  readonly padding: Uint8Array;
  /** `partial`: the sum of the pseudo-header only, as the stack leaves it to a device (CHECKSUM_PARTIAL). */
  readonly checksum: 'full' | 'partial';
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
function pseudoHeader(
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

/** The IP packet of a segment, without Ethernet. */
export function packetOf(it: Segment): Uint8Array {
  return isIPv6(it) ? ipv6PacketOf(it) : ipv4PacketOf(it);
}

function ipv6Header(it: Pick<Segment, 'source' | 'destination'>, nextHeader: number, payload: number): Uint8Array {
  const bytes = new Uint8Array(40);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, 0x60);
  view.setUint16(4, payload);
  view.setUint8(6, nextHeader);
  putAddress(view, 8, it.source);
  putAddress(view, 24, it.destination);
  return bytes;
}

function ipv6PacketOf(it: Segment): Uint8Array {
  const transport = transportOf(it);
  const chain = [...it.extensions, it.protocol];
  const header = 40 + it.extensions.length * 8;
  const bytes = new Uint8Array(header + transport.length);
  bytes.set(ipv6Header(it, chain[0] ?? it.protocol, bytes.length - 40));
  const view = new DataView(bytes.buffer);
  view.setUint16(2, it.id);
  view.setUint8(7, it.timeToLive);
  for (const [index, number] of it.extensions.entries()) {
    const at = 40 + index * 8;
    view.setUint8(at, chain[index + 1] ?? it.protocol);
    // Six bytes of padding where options stand; the rest means nothing in the other headers.
    if (number === 0 || number === 60) bytes.set([1, 4], at + 2);
  }
  bytes.set(transport, header);
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

/** The frame of a segment on its way from a pod. */
export function frameOf(it: Segment): Uint8Array {
  const packet = packetOf(it);
  const bytes = new Uint8Array(ETHERNET + packet.length + it.padding.length);
  bytes.set([...NODE_MAC, ...CLIENT_MAC, ...(isIPv6(it) ? [0x86, 0xdd] : [0x08, 0x00])]);
  bytes.set(packet, ETHERNET);
  bytes.set(it.padding, ETHERNET + packet.length);
  return bytes;
}

/**
 * The answer "port unreachable" (RFC 792, RFC 4443 3.1) that refuses a segment: from the address it was for, with the
 * quote of its IP and TCP headers, in a frame turned around. A pending (partial) checksum is quoted as the sum it will
 * become.
 */
export function refusalOf(it: Segment): Uint8Array {
  const packet = isIPv6(it) ? ipv6Refusal(it) : ipv4Refusal(it);
  const bytes = new Uint8Array(ETHERNET + packet.length);
  bytes.set([...CLIENT_MAC, ...NODE_MAC, ...(isIPv6(it) ? [0x86, 0xdd] : [0x08, 0x00])]);
  bytes.set(packet, ETHERNET);
  return bytes;
}

function ipv6Refusal(it: Segment): Uint8Array {
  const quote = packetOf(it).subarray(0, 60);
  const message = new Uint8Array(8 + quote.length);
  const view = new DataView(message.buffer);
  view.setUint8(0, 1); // destination unreachable
  view.setUint8(1, 4); // port
  message.set(quote, 8);
  const way = { source: it.destination, destination: it.source };
  const pseudo = sumOf(pseudoHeader(way, 58, message.length));
  view.setUint16(2, 0xffff - sumOf(summedQuote(message, 40, it.checksum), pseudo));
  const packet = new Uint8Array(40 + message.length);
  packet.set(ipv6Header(way, 58, message.length));
  packet.set([0x6c, 0x00], 0); // internetwork control, 0xc0, between version and flow label
  packet.set([64], 7);
  packet.set(message, 40);
  return packet;
}

function ipv4Refusal(it: Segment): Uint8Array {
  const header = 20 + it.ipOptions.length;
  const quote = packetOf(it).subarray(0, header + 20);
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
  view.setUint8(20, 3);
  view.setUint8(21, 3);
  packet.set(quote, 28);
  view.setUint16(22, 0xffff - sumOf(summedQuote(packet.subarray(20), header, it.checksum)));
  return packet;
}

/** The ICMP message as it is once a device has completed the checksum inside the quote, which sums what it quotes. */
function summedQuote(icmp: Uint8Array, header: number, checksum: 'full' | 'partial'): Uint8Array {
  const message = icmp.slice();
  if (checksum === 'full') return message;
  const inner = message.subarray(8 + header);
  new DataView(message.buffer).setUint16(8 + header + 16, 0xffff - sumOf(inner));
  return message;
}
