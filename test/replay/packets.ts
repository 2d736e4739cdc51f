// SPDX-License-Identifier: Apache-2.0
/** Packets made by hand, by RFC 791, 8200, 9293 and 768, without the code that reads them. */
import { addressFromIPv4, isIPv4, parseAddress, type Address } from '../../core/address.ts';

export function addressOf(text: string): Address {
  const parsed = parseAddress(text);
  if (!parsed.ok) throw new Error(text);
  return parsed.value;
}

export type Segment = {
  /** `address:port`, `[address]:port` for IPv6. */
  readonly from: string;
  readonly to: string;
  /** As tcpdump writes them: S, S., ., P., F., R. */
  readonly flags: string;
  readonly sequence?: number;
  readonly acknowledgement?: number;
  readonly identification?: number;
  readonly hops?: number;
  readonly payload?: Uint8Array;
  readonly checksum?: 'right' | 'partial' | 'wrong';
};

const FLAGS: Readonly<Record<string, number>> = { F: 1, S: 2, R: 4, P: 8, '.': 16 };

/** The Internet checksum as RFC 1071 writes it down, over big-endian halves: not folded, not complemented. */
function sumOf(bytes: Uint8Array): number {
  let sum = 0;
  for (const [index, byte] of bytes.entries()) sum += index % 2 === 0 ? byte * 256 : byte;
  return sum;
}

function foldOf(sum: number): number {
  let folded = sum;
  while (folded > 0xffff) folded = (folded % 0x10000) + Math.floor(folded / 0x10000);
  return folded;
}

function split(endpoint: string): { readonly address: Address; readonly port: number } {
  const at = endpoint.lastIndexOf(':');
  return { address: addressOf(endpoint.slice(0, at).replace(/^\[|\]$/g, '')), port: Number(endpoint.slice(at + 1)) };
}

/** The bytes of an address as they are on the wire: four, or sixteen. */
function bytesOf(address: Address): Uint8Array {
  const words = isIPv4(address) ? [address.d] : [address.a, address.b, address.c, address.d];
  const bytes = new Uint8Array(words.length * 4);
  for (const [index, word] of words.entries()) new DataView(bytes.buffer).setUint32(index * 4, word);
  return bytes;
}

type Network = { readonly protocol: number; readonly from: Address; readonly to: Address; readonly hops: number };

function ip(network: Network, transport: Uint8Array, id: number): Uint8Array {
  return isIPv4(network.to) ? ipv4(network, transport, id) : ipv6(network, transport);
}

function ipv6({ from, hops, protocol, to }: Network, transport: Uint8Array): Uint8Array {
  const packet = new Uint8Array(40 + transport.length);
  const view = new DataView(packet.buffer);
  view.setUint8(0, 0x60);
  view.setUint16(4, transport.length);
  view.setUint8(6, protocol);
  view.setUint8(7, hops);
  packet.set(bytesOf(from), 8);
  packet.set(bytesOf(to), 24);
  packet.set(transport, 40);
  return packet;
}

function ipv4({ from, hops, protocol, to }: Network, transport: Uint8Array, id: number): Uint8Array {
  const packet = new Uint8Array(20 + transport.length);
  const view = new DataView(packet.buffer);
  view.setUint8(0, 0x45);
  view.setUint16(2, packet.length);
  view.setUint16(4, id);
  view.setUint16(6, 0x4000);
  view.setUint8(8, hops);
  view.setUint8(9, protocol);
  packet.set(bytesOf(from), 12);
  packet.set(bytesOf(to), 16);
  view.setUint16(10, ~foldOf(sumOf(packet.subarray(0, 20))) & 0xffff);
  packet.set(transport, 20);
  return packet;
}

/** What the checksum covers besides the packet of the transport protocol. */
function pseudoHeader(from: Address, to: Address, protocol: number, length: number): Uint8Array {
  return Uint8Array.from([...bytesOf(from), ...bytesOf(to), 0, 0, length >> 8, length & 0xff, 0, 0, 0, protocol]);
}

/** A TCP packet, of the family of its addresses. */
export function tcp(segment: Segment): Uint8Array {
  const { acknowledgement = 0, checksum = 'right', flags, hops = 64, identification = 1, sequence = 0 } = segment;
  const payload = segment.payload ?? new Uint8Array(0);
  const from = split(segment.from);
  const to = split(segment.to);
  const bytes = new Uint8Array(20 + payload.length);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, from.port);
  view.setUint16(2, to.port);
  view.setUint32(4, sequence);
  view.setUint32(8, acknowledgement);
  view.setUint8(12, 0x50);
  view.setUint8(
    13,
    flags.split('').reduce((sum, flag) => sum + (FLAGS[flag] ?? 0), 0),
  );
  bytes.set(payload, 20);
  const pseudo = pseudoHeader(from.address, to.address, 6, bytes.length);
  const right = ~foldOf(sumOf(pseudo) + sumOf(bytes)) & 0xffff;
  view.setUint16(16, checksum === 'partial' ? foldOf(sumOf(pseudo)) : checksum === 'right' ? right : right ^ 0x5555);
  return ip({ protocol: 6, from: from.address, to: to.address, hops }, bytes, identification);
}

/** An IPv6 packet with an extension header of destination options, which is padding (RFC 8200 4.2). */
export function withOptions(packet: Uint8Array): Uint8Array {
  return withExtension(packet, 60, [1, 4, 0, 0, 0, 0]);
}

/** An IPv6 packet on its way to another stop than the last: a routing header with one segment left. */
export function withRouting(packet: Uint8Array): Uint8Array {
  return withExtension(packet, 43, [0, 1, 0, 0, 0, 0]);
}

function withExtension(packet: Uint8Array, kind: number, content: readonly number[]): Uint8Array {
  const header = [packet[6] ?? 0, 0, ...content];
  const extended = Uint8Array.from([...packet.subarray(0, 40), ...header, ...packet.subarray(40)]);
  extended[6] = kind;
  new DataView(extended.buffer).setUint16(4, extended.length - 40);
  return extended;
}

/** What a test says about a datagram; `none`: its sender made no checksum (RFC 768). */
export type Datagram = Pick<Segment, 'from' | 'hops' | 'identification' | 'payload' | 'to'> & {
  readonly checksum?: 'none' | 'partial' | 'right' | 'wrong';
};

/** A UDP packet, of the family of its addresses. */
export function udp(datagram: Datagram): Uint8Array {
  const { checksum = 'right', hops = 64, identification = 1, payload = Uint8Array.of(104, 105) } = datagram;
  const from = split(datagram.from);
  const to = split(datagram.to);
  const bytes = new Uint8Array(8 + payload.length);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, from.port);
  view.setUint16(2, to.port);
  view.setUint16(4, bytes.length);
  bytes.set(payload, 8);
  const pseudo = pseudoHeader(from.address, to.address, 17, bytes.length);
  const right = ~foldOf(sumOf(pseudo) + sumOf(bytes)) & 0xffff || 0xffff;
  const found = { none: 0, partial: foldOf(sumOf(pseudo)), right, wrong: right ^ 0x5555 };
  view.setUint16(6, found[checksum]);
  return ip({ protocol: 17, from: from.address, to: to.address, hops }, bytes, identification);
}

/** The fragments of a packet, of so many bytes each after the IP header; a multiple of eight. */
export function fragmentsOf(packet: Uint8Array, size: number): readonly Uint8Array[] {
  const isIPv6 = (packet[0] ?? 0) >>> 4 === 6;
  const body = packet.subarray(isIPv6 ? 40 : 20);
  return Array.from({ length: Math.ceil(body.length / size) }, (_, index) => {
    const part = body.subarray(index * size, index * size + size);
    const hasMore = (index + 1) * size < body.length;
    return isIPv6
      ? fragmentIPv6(packet, part, index * size, hasMore)
      : fragmentIPv4(packet, part, index * size, hasMore);
  });
}

function fragmentIPv4(packet: Uint8Array, part: Uint8Array, offset: number, hasMore: boolean): Uint8Array {
  const bytes = Uint8Array.from([...packet.subarray(0, 20), ...part]);
  const view = new DataView(bytes.buffer);
  view.setUint16(2, bytes.length);
  view.setUint16(6, (hasMore ? 0x2000 : 0) | (offset / 8));
  view.setUint16(10, 0);
  view.setUint16(10, ~foldOf(sumOf(bytes.subarray(0, 20))) & 0xffff);
  return bytes;
}

/** Their identification is made of the last bytes of the datagram. */
function fragmentIPv6(packet: Uint8Array, part: Uint8Array, offset: number, hasMore: boolean): Uint8Array {
  const header = [packet[6] ?? 0, 0, offset >>> 8, (offset & 0xf8) | (hasMore ? 1 : 0), ...packet.subarray(-4)];
  const bytes = Uint8Array.from([...packet.subarray(0, 40), ...header, ...part]);
  bytes[6] = 44;
  new DataView(bytes.buffer).setUint16(4, bytes.length - 40);
  return bytes;
}

/** An ICMP error about a packet; its own checksum is left out, since nobody reads it. */
export function icmpError(from: string, about: Uint8Array, type: number, code: number): Uint8Array {
  const isIPv6 = (about[0] ?? 0) >>> 4 === 6;
  const quote = about.subarray(0, isIPv6 ? 60 : 40);
  const bytes = new Uint8Array(8 + quote.length);
  bytes.set([type, code]);
  bytes.set(quote, 8);
  const sender = addressOf(from);
  if (!isIPv6) {
    const client = addressFromIPv4(new DataView(about.buffer, about.byteOffset).getUint32(12));
    return ip({ protocol: 1, from: sender, to: client, hops: 64 }, bytes, 77);
  }
  const packet = ip({ protocol: 58, from: sender, to: sender, hops: 64 }, bytes, 77);
  packet.copyWithin(24, 48 + 8, 48 + 24); // to the source of the quoted packet
  return packet;
}
