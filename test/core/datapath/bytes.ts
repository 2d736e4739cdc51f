// SPDX-License-Identifier: Apache-2.0
/**
 * Frames written whole from the RFCs, whatever they carry: UDP and TCP, fragments, IPv6 extension headers, ICMP errors.
 * Every sum is made from scratch.
 */
import { addressOf, type HostAddress } from '../../../proof/traffic/address.ts';
import { sumOf } from '../../../proof/traffic/frame.ts';

/** An IPv6 extension header by number and size; `fill` are the bytes behind next header and length. */
export type Extension = { readonly kind: number; readonly size: number; readonly fill: readonly number[] };

/** Everything about one datagram or segment; with an IPv6 address on either side it is an IPv6 packet. */
export type Wire = {
  readonly source: HostAddress;
  readonly destination: HostAddress;
  readonly sourcePort: number;
  readonly destinationPort: number;
  /** 6 or 17 get a header of their own; behind any other number stands the payload alone. */
  readonly protocol: number;
  readonly payload: Uint8Array;
  readonly flags: number;
  readonly sequence: number;
  readonly acknowledgement: number;
  /** `partial`: the sum of the pseudo-header only; `none`: zero; a number: what is added to the right one. */
  readonly checksum: 'full' | 'partial' | 'none' | number;
  readonly timeToLive: number;
  readonly id: number;
  readonly dontFragment: boolean;
  readonly ipOptions: Uint8Array;
  /** Before the fragment header, if there is one. */
  readonly extensions: readonly Extension[];
  /** Behind the fragment header. */
  readonly inner: readonly Extension[];
  /** Bytes behind the packet, which are nobody's. */
  readonly padding: Uint8Array;
  /** The frame has been turned around. */
  readonly isTurned: boolean;
};

type Socket = { readonly address: HostAddress; readonly port: number };

const NOTHING = new Uint8Array();
const UDP = 17;
const FRAGMENT = 44;

function wire(from: Socket, to: Socket, protocol: number, more: Partial<Wire>): Wire {
  return {
    source: from.address,
    destination: to.address,
    sourcePort: from.port,
    destinationPort: to.port,
    protocol,
    payload: NOTHING,
    flags: 2,
    sequence: 1,
    acknowledgement: 0,
    checksum: 'full',
    timeToLive: 64,
    id: 0x7a31,
    dontFragment: false,
    ipOptions: NOTHING,
    extensions: [],
    inner: [],
    padding: NOTHING,
    isTurned: false,
    ...more,
  };
}

/** A UDP datagram of eleven bytes, unless told otherwise. */
export function datagram(from: Socket, to: Socket, more: Partial<Wire> = {}): Wire {
  return wire(from, to, UDP, { payload: Uint8Array.from([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]), ...more });
}

/** A TCP segment with the flags given, SYN unless told otherwise. */
export function tcp(from: Socket, to: Socket, more: Partial<Wire> = {}): Wire {
  return wire(from, to, 6, more);
}

/** The same with another source. */
export function withSource(it: Wire, { address, port }: Socket): Wire {
  return { ...it, source: address, sourcePort: port };
}

/** The same with another destination. */
export function withDestination(it: Wire, { address, port }: Socket): Wire {
  return { ...it, destination: address, destinationPort: port };
}

export function isSix({ source, destination }: Pick<Wire, 'source' | 'destination'>): boolean {
  return typeof source === 'string' || typeof destination === 'string';
}

function addressBytes(it: Pick<Wire, 'source' | 'destination'>): Uint8Array {
  const words = [it.source, it.destination].flatMap((host) => {
    const { a, b, c, d } = addressOf(host);
    return isSix(it) ? [a, b, c, d] : [d];
  });
  const bytes = new Uint8Array(words.length * 4);
  const view = new DataView(bytes.buffer);
  for (const [index, word] of words.entries()) view.setUint32(index * 4, word);
  return bytes;
}

/** The sum of a pseudo-header: addresses, protocol and length (RFC 9293 3.1, RFC 8200 8.1). */
export function pseudoSum(it: Pick<Wire, 'source' | 'destination'>, protocol: number, length: number): number {
  return sumOf(Uint8Array.of(0, protocol, length >>> 8, length & 255), sumOf(addressBytes(it)));
}

/** Header and payload of the transport, before anything is cut. */
export function transportOf(it: Wire): Uint8Array {
  const header = it.protocol === 6 ? 20 : it.protocol === UDP ? 8 : 0;
  const bytes = new Uint8Array(header + it.payload.length);
  bytes.set(it.payload, header);
  if (header === 0) return bytes;
  const view = new DataView(bytes.buffer);
  view.setUint16(0, it.sourcePort);
  view.setUint16(2, it.destinationPort);
  if (it.protocol === UDP) view.setUint16(4, bytes.length);
  else {
    view.setUint32(4, it.sequence);
    view.setUint32(8, it.acknowledgement);
    view.setUint16(12, 0x5000 + it.flags);
    view.setUint16(14, 0xfaf0);
  }
  view.setUint16(it.protocol === UDP ? 6 : 16, checksumOf(it, bytes));
  return bytes;
}

function checksumOf(it: Wire, bytes: Uint8Array): number {
  if (it.checksum === 'none') return 0;
  const pseudo = pseudoSum(it, it.protocol, bytes.length);
  if (it.checksum === 'partial') return pseudo;
  const right = 0xffff - sumOf(bytes, pseudo);
  const error = typeof it.checksum === 'number' ? it.checksum : 0;
  const sum = (right + error) % 0xffff;
  // RFC 768: a sum of zero is sent as ones, for zero means that there is none. In TCP both are zero, and ones never occur.
  return it.protocol === UDP && sum === 0 ? 0xffff : sum;
}

/** Extension headers in a chain that ends in `last`; AH counts its length otherwise, and a fragment header has none. */
function chainOf(list: readonly Extension[], last: number): Uint8Array {
  const bytes = new Uint8Array(list.reduce((sum, { size }) => sum + size, 0));
  let at = 0;
  for (const [index, { kind, size, fill }] of list.entries()) {
    bytes[at] = list[index + 1]?.kind ?? last;
    if (kind !== FRAGMENT) bytes[at + 1] = kind === 51 ? size / 4 - 2 : size / 8 - 1;
    bytes.set(fill, at + 2);
    at += size;
  }
  return bytes;
}

/** Hop-by-hop or destination options that are nothing but padding (RFC 8200 4.2). */
export function paddingOptions(kind: 0 | 60, size = 8): Extension {
  const fill = Array.from({ length: size - 2 }, () => 0);
  // PadN holds 257 bytes at most, so longer ones are made of several.
  for (let at = 0; at < fill.length; at += 250) fill.splice(at, 2, 1, Math.min(250, fill.length - at) - 2);
  return { kind, size, fill };
}

/** Bytes from `at` on, `length` of them, of what may be cut. */
export type Cut = { readonly at: number; readonly length: number; readonly isLast: boolean };

/** Pieces of the sizes given, all but the last of them multiples of eight, and what remains. */
export function cutsOf(total: number, sizes: readonly number[]): readonly Cut[] {
  const cuts: Cut[] = [];
  let at = 0;
  for (const length of sizes.filter((size) => size > 0)) {
    if (at + length >= total) break;
    cuts.push({ at, length, isLast: false });
    at += length;
  }
  return [...cuts, { at, length: total - at, isLast: true }];
}

/** What may be cut of a packet. */
function fragmentable(it: Wire): Uint8Array {
  const transport = transportOf(it);
  const inner = isSix(it) ? chainOf(it.inner, it.protocol) : NOTHING;
  return Uint8Array.from([...inner, ...transport]);
}

/** Bytes of a packet that fragments share out. */
export function fragmentableLength(it: Wire): number {
  return fragmentable(it).length;
}

/** The IP packet, or one fragment of it. */
export function packetOf(it: Wire, cut?: Cut): Uint8Array {
  const whole = fragmentable(it);
  const piece = cut === undefined ? whole : whole.subarray(cut.at, cut.at + cut.length);
  return isSix(it) ? ipv6Packet(it, piece, cut) : ipv4Packet(it, piece, cut);
}

function ipv4Packet(it: Wire, piece: Uint8Array, cut: Cut | undefined): Uint8Array {
  const header = 20 + it.ipOptions.length;
  const bytes = new Uint8Array(header + piece.length);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, 0x40 + header / 4);
  view.setUint16(2, bytes.length);
  view.setUint16(4, it.id);
  const more = cut === undefined || cut.isLast ? 0 : 0x2000;
  view.setUint16(6, (it.dontFragment ? 0x4000 : 0) + more + (cut?.at ?? 0) / 8);
  view.setUint8(8, it.timeToLive);
  view.setUint8(9, it.protocol);
  bytes.set(addressBytes(it), 12);
  bytes.set(it.ipOptions, 20);
  view.setUint16(10, 0xffff - sumOf(bytes.subarray(0, header)));
  bytes.set(piece, header);
  return bytes;
}

function ipv6Packet(it: Wire, piece: Uint8Array, cut: Cut | undefined): Uint8Array {
  const behind = it.inner[0]?.kind ?? it.protocol;
  const list = cut === undefined ? it.extensions : [...it.extensions, fragmentHeader(it.id, cut)];
  const chain = chainOf(list, behind);
  const bytes = new Uint8Array(40 + chain.length + piece.length);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, 0x60);
  view.setUint16(4, bytes.length - 40);
  view.setUint8(6, list[0]?.kind ?? behind);
  view.setUint8(7, it.timeToLive);
  bytes.set(addressBytes(it), 8);
  bytes.set(chain, 40);
  bytes.set(piece, 40 + chain.length);
  return bytes;
}

/** RFC 8200 4.5; the identification has 32 bits. */
function fragmentHeader(id: number, { at, isLast }: Cut): Extension {
  const identification = [0xfe, 0xdc, id >>> 8, id & 255];
  return { kind: FRAGMENT, size: 8, fill: [at >>> 8, (at & 0xf8) + (isLast ? 0 : 1), ...identification] };
}

/** A packet that is one fragment and nothing else: offset 0, and none follows. */
export function atomic(it: Wire): Cut {
  return { at: 0, length: fragmentableLength(it), isLast: true };
}

const CLIENT_MAC = [0x02, 0, 0, 0, 0, 1];
const NODE_MAC = [0x02, 0, 0, 0, 0, 2];

/** A packet in a frame on its way from a pod, or turned around. */
export function ethernet(packet: Uint8Array, isTurned = false, padding: Uint8Array = NOTHING): Uint8Array {
  const macs = isTurned ? [...CLIENT_MAC, ...NODE_MAC] : [...NODE_MAC, ...CLIENT_MAC];
  const type = (packet[0] ?? 0) >>> 4 === 6 ? [0x86, 0xdd] : [0x08, 0x00];
  return Uint8Array.from([...macs, ...type, ...packet, ...padding]);
}

/** The frame of a packet or of one of its fragments. */
export function frameOf(it: Wire, cut?: Cut): Uint8Array {
  return ethernet(packetOf(it, cut), it.isTurned, it.padding);
}

/** An ICMP message that quotes a packet (RFC 792, RFC 4443 3). */
export type IcmpError = {
  readonly from: HostAddress;
  readonly to: HostAddress;
  readonly type: number;
  readonly code: number;
  /** The four bytes before the quote: an MTU, a pointer, or nothing. */
  readonly word: number;
  readonly quote: Uint8Array;
  readonly timeToLive: number;
  /** What is added to the right checksum. */
  readonly error: number;
  readonly padding: Uint8Array;
};

/** The frame of an ICMP error; IPv6 if one of its ends is. */
export function icmpFrame(it: IcmpError): Uint8Array {
  const ends = { source: it.from, destination: it.to };
  const message = new Uint8Array(8 + it.quote.length);
  const view = new DataView(message.buffer);
  view.setUint8(0, it.type);
  view.setUint8(1, it.code);
  view.setUint32(4, it.word);
  message.set(it.quote, 8);
  const sum = sumOf(message, isSix(ends) ? pseudoSum(ends, 58, message.length) : 0);
  view.setUint16(2, (0xffff - sum + it.error) % 0xffff);
  const way = { ...wire({ address: it.from, port: 0 }, { address: it.to, port: 0 }, isSix(ends) ? 58 : 1, {}) };
  return frameOf({ ...way, payload: message, timeToLive: it.timeToLive, padding: it.padding, id: 0 });
}

/**
 * How a packet, or its first fragment, is refused: the message, turned around, from the address asked, with all headers
 * and 8 or 20 bytes.
 */
export function refusalOf(it: Wire, kind: 'port' | 'time' = 'port', first?: Cut): Uint8Array {
  const packet = packetOf(it, first);
  const quote = packet.subarray(
    0,
    packet.length - (first?.length ?? transportOf(it).length) + (it.protocol === 6 ? 20 : 8),
  );
  const [type, code] = isSix(it) ? (kind === 'port' ? [1, 4] : [3, 0]) : kind === 'port' ? [3, 3] : [11, 0];
  const message = new Uint8Array(8 + quote.length);
  message.set([type ?? 0, code ?? 0]);
  message.set(quote, 8);
  const ends = { source: it.destination, destination: it.source };
  const sum = sumOf(message, isSix(it) ? pseudoSum(ends, 58, message.length) : 0);
  new DataView(message.buffer).setUint16(2, 0xffff - sum);
  const from = { address: it.destination, port: 0 };
  const to = { address: it.source, port: 0 };
  const answer = wire(from, to, isSix(it) ? 58 : 1, { payload: message, id: 0, dontFragment: true });
  const bytes = packetOf(answer);
  // Internetwork control (RFC 1812 4.3.2.5), and for IPv6 the same traffic class.
  if (isSix(it)) bytes[0] = 0x6c;
  else {
    bytes.set([0xc0], 1);
    bytes.set([0, 0], 10);
    new DataView(bytes.buffer).setUint16(10, 0xffff - sumOf(bytes.subarray(0, 20)));
  }
  return ethernet(bytes, !it.isTurned);
}
