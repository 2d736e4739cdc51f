// SPDX-License-Identifier: Apache-2.0
/** What tells one captured packet from another: what its IP and transport headers say. */
import {
  address,
  addressFromIPv4,
  isIPv4,
  SCTP,
  TCP,
  UDP,
  endpointText,
  protocolText,
  type Address,
  type Protocol,
} from '../core/address.ts';

export const ICMP = 1;
export const ICMP_V6 = 58;

export const FLAG_FIN = 1;
export const FLAG_SYN = 2;
export const FLAG_RST = 4;
export const FLAG_ACK = 16;

/** More of them than any host sends; a chain that goes on is not followed. */
const EXTENSION_HEADERS_MAX = 8;

export type Family = 'IPv4' | 'IPv6';

/** Addresses and ports of a packet; ports are 0 where the protocol has none or a fragment does not show them. */
export type Tuple = {
  readonly protocol: Protocol;
  readonly source: Address;
  readonly sourcePort: number;
  readonly destination: Address;
  readonly destinationPort: number;
};

/** An ICMP error: what kind, which packet it is about, and that one's TCP sequence number and identification, else 0. */
export type IcmpError = {
  readonly type: number;
  readonly code: number;
  readonly about: Tuple | undefined;
  readonly sequence: number;
  readonly identification: number;
};

/** What a packet is of its datagram: all of it, the part with the transport header, or one without. */
export type Part = 'whole' | 'first' | 'later';

export type Headers = Tuple & {
  readonly family: Family;
  /** Of the IP packet as its header says, in bytes; what was captured may be less. */
  readonly length: number;
  /** From the IP header to the transport header, in bytes. */
  readonly transportOffset: number;
  /** TTL or hop limit. */
  readonly hops: number;
  /** 0 in IPv6 without a fragment header. */
  readonly identification: number;
  readonly part: Part;
  /** Bytes of its datagram before it. */
  readonly fragmentOffset: number;
  /** Behind a routing header that is not done: whose address the checksum covers is not the destination's. */
  readonly isRouted: boolean;
  /** Of TCP; 0 elsewhere. Numbers of 32 bits are signed words here, which need no memory of their own. */
  readonly flags: number;
  readonly sequence: number;
  readonly acknowledgement: number;
  /** Bytes after the transport header. */
  readonly payloadLength: number;
  /** The packet's own fingerprint for protocols without sequence numbers; 0 for TCP and ICMP. */
  readonly digest: number;
  readonly error: IcmpError | undefined;
};

/** What an IP header says, and where what follows it begins: offsets are of the whole of the bytes. Used again. */
type Network = {
  family: Family;
  source: Address;
  destination: Address;
  protocol: number;
  length: number;
  transportAt: number;
  hops: number;
  identification: number;
  part: Part;
  fragmentOffset: number;
  isRouted: boolean;
};

function newNetwork(): Network {
  const nobody = addressFromIPv4(0);
  return {
    family: 'IPv4',
    source: nobody,
    destination: nobody,
    protocol: 0,
    length: 0,
    transportAt: 0,
    hops: 0,
    identification: 0,
    part: 'whole',
    fragmentOffset: 0,
    isRouted: false,
  };
}

/** Of the packet that is read, and of the one that an error quotes. */
const network = newNetwork();
const quoted = newNetwork();

/**
 * The headers of the IP packet from `start` to `end` of the bytes, as far as it was captured; undefined where its IP
 * header can't be read.
 */
export function readHeaders(bytes: Uint8Array, start = 0, end: number = bytes.length): Headers | undefined {
  if (!readNetwork(bytes, start, end, network)) return undefined;
  const { part, protocol, transportAt: at } = network;
  const shows = part !== 'later' && at + 4 <= end && hasPorts(protocol);
  const isTcp = protocol === TCP && part !== 'later' && at + 14 <= end;
  const headerLength = isTcp ? ((bytes[at + 12] ?? 0) >>> 4) * 4 : TRANSPORT_BYTES;
  const isIcmp = protocol === ICMP || protocol === ICMP_V6;
  return {
    family: network.family,
    source: network.source,
    destination: network.destination,
    protocol: protocol as Protocol,
    length: network.length,
    transportOffset: at - start,
    hops: network.hops,
    identification: network.identification,
    part,
    fragmentOffset: network.fragmentOffset,
    isRouted: network.isRouted,
    sourcePort: shows ? half(bytes, at) : 0,
    destinationPort: shows ? half(bytes, at + 2) : 0,
    flags: isTcp ? (bytes[at + 13] ?? 0) : 0,
    sequence: isTcp ? word(bytes, at + 4) | 0 : 0,
    acknowledgement: isTcp ? word(bytes, at + 8) | 0 : 0,
    payloadLength: Math.max(0, network.length - (at - start) - headerLength),
    digest: isTcp || isIcmp ? 0 : digestOf(bytes, at + TRANSPORT_BYTES, end),
    error: isIcmp && part === 'whole' ? readError(bytes, at, end, protocol) : undefined,
  };
}

const IPV6_BYTES = 40;
const TRANSPORT_BYTES = 8;

function hasPorts(protocol: number): boolean {
  return protocol === TCP || protocol === UDP || protocol === SCTP;
}

/** Big-endian, as all of what follows. */
function half(bytes: Uint8Array, at: number): number {
  return ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
}

function word(bytes: Uint8Array, at: number): number {
  return ((half(bytes, at) << 16) | half(bytes, at + 2)) >>> 0;
}

/** False: its header can't be read. */
function readNetwork(bytes: Uint8Array, start: number, end: number, into: Network): boolean {
  if (start >= end) return false;
  const version = (bytes[start] ?? 0) >>> 4;
  if (version === 4) return readIPv4(bytes, start, end, into);
  return version === 6 && readIPv6(bytes, start, end, into);
}

function readIPv4(bytes: Uint8Array, start: number, end: number, into: Network): boolean {
  if (end - start < 20) return false;
  const headerLength = ((bytes[start] ?? 0) & 15) * 4;
  const length = half(bytes, start + 2);
  if (headerLength < 20 || length < headerLength) return false;
  const fragment = half(bytes, start + 6);
  into.family = 'IPv4';
  into.source = addressOf(0, 0, 0xffff, word(bytes, start + 12));
  into.destination = addressOf(0, 0, 0xffff, word(bytes, start + 16));
  into.protocol = bytes[start + 9] ?? 0;
  into.length = length;
  into.transportAt = start + headerLength;
  into.hops = bytes[start + 8] ?? 0;
  into.identification = half(bytes, start + 4);
  into.fragmentOffset = (fragment & 0x1fff) * 8;
  into.part = partOf(into.fragmentOffset, (fragment & 0x2000) !== 0);
  into.isRouted = false;
  return true;
}

function partOf(fragmentOffset: number, hasMore: boolean): Part {
  return fragmentOffset > 0 ? 'later' : hasMore ? 'first' : 'whole';
}

function readIPv6(bytes: Uint8Array, start: number, end: number, into: Network): boolean {
  if (end - start < IPV6_BYTES) return false;
  into.family = 'IPv6';
  into.source = addressAt(bytes, start + 8);
  into.destination = addressAt(bytes, start + 24);
  into.length = IPV6_BYTES + half(bytes, start + 4);
  into.hops = bytes[start + 7] ?? 0;
  skipExtensions(bytes, start, end, into);
  return true;
}

function addressAt(bytes: Uint8Array, at: number): Address {
  return addressOf(word(bytes, at), word(bytes, at + 4), word(bytes, at + 8), word(bytes, at + 12));
}

/** A power of two. */
const ADDRESSES_KEPT = 8192;
const kept: Address[] = Array.from({ length: ADDRESSES_KEPT }, () => addressFromIPv4(0));

/** The same few addresses come again and again: making each anew is most of what would be thrown away of a packet. */
function addressOf(a: number, b: number, c: number, d: number): Address {
  const mixed = d ^ (d >>> 13) ^ c ^ Math.imul(b, 31) ^ a;
  const at = mixed & (ADDRESSES_KEPT - 1);
  const known = kept[at];
  if (known !== undefined && known.d === d && known.c === c && known.b === b && known.a === a) return known;
  const made = address(a, b, c, d);
  kept[at] = made;
  return made;
}

const HOP_BY_HOP = 0;
const ROUTING = 43;
const FRAGMENT = 44;
const AUTHENTICATION = 51;
const DESTINATION_OPTIONS = 60;
const MOBILITY = 135;
const EXTENSIONS: ReadonlySet<number> = new Set([
  HOP_BY_HOP,
  ROUTING,
  FRAGMENT,
  AUTHENTICATION,
  DESTINATION_OPTIONS,
  MOBILITY,
]);

/** The chain up to the transport header, or to where a later fragment's part of the datagram begins. RFC 8200 section 4 */
function skipExtensions(bytes: Uint8Array, start: number, end: number, into: Network): void {
  let protocol = bytes[start + 6] ?? 0;
  let at = start + IPV6_BYTES;
  into.isRouted = false;
  into.part = 'whole';
  into.fragmentOffset = 0;
  into.identification = 0;
  for (let seen = 0; seen < EXTENSION_HEADERS_MAX && at + 8 <= end; seen += 1) {
    if (!EXTENSIONS.has(protocol) || into.part === 'later') break;
    if (protocol === ROUTING) into.isRouted ||= (bytes[at + 3] ?? 0) > 0;
    if (protocol === FRAGMENT) {
      const told = half(bytes, at + 2);
      into.fragmentOffset = told & 0xfff8;
      into.part = partOf(into.fragmentOffset, (told & 1) !== 0);
      into.identification = word(bytes, at + 4);
    }
    const length = extensionBytes(protocol, bytes[at + 1] ?? 0);
    protocol = bytes[at] ?? 0;
    at += length;
  }
  into.protocol = protocol;
  into.transportAt = at;
}

/** A fragment header has 8 bytes, the authentication header counts in fours (RFC 4302 2.2), the others in eights. */
function extensionBytes(protocol: number, lengthField: number): number {
  if (protocol === FRAGMENT) return 8;
  return protocol === AUTHENTICATION ? (lengthField + 2) * 4 : (lengthField + 1) * 8;
}

/** Whether all of a chain of extension headers was followed. */
export function isFollowed({ family, protocol }: Headers): boolean {
  return family === 'IPv4' || !EXTENSIONS.has(protocol);
}

/** Errors quote the packet they are about: types 3, 11, 12 of ICMP, below 128 of ICMPv6. */
function readError(bytes: Uint8Array, at: number, end: number, protocol: number): IcmpError | undefined {
  if (at + TRANSPORT_BYTES > end) return undefined;
  const type = bytes[at] ?? 0;
  const code = bytes[at + 1] ?? 0;
  const isError = protocol === ICMP ? type === 3 || type === 11 || type === 12 : type < 128;
  if (!isError) return undefined;
  const isReadable = readNetwork(bytes, at + TRANSPORT_BYTES, end, quoted);
  // What a later fragment has in place of ports is payload.
  if (!isReadable || isMapped(quoted) || quoted.part === 'later') {
    return { type, code, about: undefined, sequence: 0, identification: 0 };
  }
  const { destination, identification, protocol: aboutProtocol, source, transportAt } = quoted;
  const shows = transportAt + 4 <= end && hasPorts(aboutProtocol);
  const about: Tuple = {
    protocol: aboutProtocol as Protocol,
    source,
    sourcePort: shows ? half(bytes, transportAt) : 0,
    destination,
    destinationPort: shows ? half(bytes, transportAt + 2) : 0,
  };
  const hasSequence = aboutProtocol === TCP && transportAt + 8 <= end;
  return { type, code, about, sequence: hasSequence ? word(bytes, transportAt + 4) | 0 : 0, identification };
}

/** Whether an IPv6 packet bears an address that stands for an IPv4 one, and so for another flow than it is of. */
export function isMapped({ destination, family, source }: Pick<Headers, 'destination' | 'family' | 'source'>): boolean {
  return family === 'IPv6' && (isIPv4(source) || isIPv4(destination));
}

/** FNV-1a over the first bytes of the payload. */
function digestOf(bytes: Uint8Array, at: number, end: number): number {
  let hash = 0x811c9dc5;
  const last = Math.min(end, at + 64);
  for (let place = at; place < last; place += 1) hash = Math.imul(hash ^ (bytes[place] ?? 0), 0x01000193);
  return hash;
}

/** Whether a TCP packet asks for a new connection. */
export function isOpening(headers: Headers): boolean {
  return headers.protocol === TCP && (headers.flags & (FLAG_SYN | FLAG_ACK | FLAG_RST | FLAG_FIN)) === FLAG_SYN;
}

/** Whether a packet gets a decision of its own: a new TCP connection does, and every datagram. */
export function isAsking(headers: Headers): boolean {
  return headers.protocol === UDP ? headers.part !== 'later' : isOpening(headers);
}

/** `10.0.0.9:4242>10.96.0.1:80/TCP`, the name of a flow in every output. */
export function flowText({ source, sourcePort, destination, destinationPort, protocol }: Tuple): string {
  return `${endpointText(source, sourcePort)}>${endpointText(destination, destinationPort)}/${protocolText(protocol)}`;
}

/** The same flow seen from the other side. */
export function turned(tuple: Tuple): Tuple {
  return {
    protocol: tuple.protocol,
    source: tuple.destination,
    sourcePort: tuple.destinationPort,
    destination: tuple.source,
    destinationPort: tuple.sourcePort,
  };
}
