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
  /** Of TCP; 0 elsewhere. */
  readonly flags: number;
  readonly sequence: number;
  readonly acknowledgement: number;
  /** Bytes after the transport header. */
  readonly payloadLength: number;
  /** The packet's own fingerprint for protocols without sequence numbers; 0 for TCP and ICMP. */
  readonly digest: number;
  readonly error: IcmpError | undefined;
};

type Network = {
  readonly family: Family;
  readonly source: Address;
  readonly destination: Address;
  readonly protocol: number;
  readonly length: number;
  readonly transportOffset: number;
  readonly hops: number;
  readonly identification: number;
  readonly part: Part;
  readonly fragmentOffset: number;
  readonly isRouted: boolean;
};

/** The headers of the IP packet in `bytes`, as far as it was captured; undefined where its IP header can't be read. */
export function readHeaders(bytes: Uint8Array): Headers | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const network = readNetwork(view);
  if (network === undefined) return undefined;
  const at = network.transportOffset;
  const ports = network.part === 'later' ? NO_PORTS : portsAt(view, at, network.protocol);
  const isTcp = network.protocol === TCP && network.part !== 'later' && at + 14 <= view.byteLength;
  const headerLength = isTcp ? (view.getUint8(at + 12) >>> 4) * 4 : TRANSPORT_BYTES;
  const isIcmp = network.protocol === ICMP || network.protocol === ICMP_V6;
  return {
    ...network,
    ...ports,
    protocol: network.protocol as Protocol,
    flags: isTcp ? view.getUint8(at + 13) : 0,
    sequence: isTcp ? view.getUint32(at + 4) : 0,
    acknowledgement: isTcp ? view.getUint32(at + 8) : 0,
    payloadLength: Math.max(0, network.length - at - headerLength),
    digest: isTcp || isIcmp ? 0 : digestOf(bytes, at + TRANSPORT_BYTES),
    error: isIcmp && network.part === 'whole' ? readError(bytes, at, network.protocol) : undefined,
  };
}

const IPV6_BYTES = 40;
const NO_PORTS = { sourcePort: 0, destinationPort: 0 };
const TRANSPORT_BYTES = 8;

function portsAt(view: DataView, at: number, protocol: number): { sourcePort: number; destinationPort: number } {
  const hasPorts = protocol === TCP || protocol === UDP || protocol === SCTP;
  if (!hasPorts || at + 4 > view.byteLength) return NO_PORTS;
  return { sourcePort: view.getUint16(at), destinationPort: view.getUint16(at + 2) };
}

function readNetwork(view: DataView): Network | undefined {
  if (view.byteLength < 1) return undefined;
  const version = view.getUint8(0) >>> 4;
  if (version === 4) return readIPv4(view);
  return version === 6 ? readIPv6(view) : undefined;
}

function readIPv4(view: DataView): Network | undefined {
  if (view.byteLength < 20) return undefined;
  const transportOffset = (view.getUint8(0) & 15) * 4;
  const length = view.getUint16(2);
  if (transportOffset < 20 || length < transportOffset) return undefined;
  return {
    family: 'IPv4',
    source: addressFromIPv4(view.getUint32(12)),
    destination: addressFromIPv4(view.getUint32(16)),
    protocol: view.getUint8(9),
    length,
    transportOffset,
    hops: view.getUint8(8),
    identification: view.getUint16(4),
    ...partOf((view.getUint16(6) & 0x1fff) * 8, (view.getUint16(6) & 0x2000) !== 0),
    isRouted: false,
  };
}

function partOf(fragmentOffset: number, hasMore: boolean): { readonly part: Part; readonly fragmentOffset: number } {
  return { fragmentOffset, part: fragmentOffset > 0 ? 'later' : hasMore ? 'first' : 'whole' };
}

function readIPv6(view: DataView): Network | undefined {
  if (view.byteLength < IPV6_BYTES) return undefined;
  const wordsAt = (at: number): Address =>
    address(view.getUint32(at), view.getUint32(at + 4), view.getUint32(at + 8), view.getUint32(at + 12));
  return {
    family: 'IPv6',
    source: wordsAt(8),
    destination: wordsAt(24),
    length: IPV6_BYTES + view.getUint16(4),
    hops: view.getUint8(7),
    ...skipExtensions(view),
  };
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

type Chain = Pick<Network, 'fragmentOffset' | 'identification' | 'isRouted' | 'part' | 'protocol' | 'transportOffset'>;

/** The chain up to the transport header, or to where a later fragment's part of the datagram begins. RFC 8200 section 4 */
function skipExtensions(view: DataView): Chain {
  let protocol = view.getUint8(6);
  let at = IPV6_BYTES;
  let isRouted = false;
  let fragment = { identification: 0, ...partOf(0, false) };
  for (let seen = 0; seen < EXTENSION_HEADERS_MAX && at + 8 <= view.byteLength; seen += 1) {
    if (!EXTENSIONS.has(protocol) || fragment.part === 'later') break;
    if (protocol === ROUTING) isRouted ||= view.getUint8(at + 3) > 0;
    if (protocol === FRAGMENT) {
      const word = view.getUint16(at + 2);
      fragment = { identification: view.getUint32(at + 4), ...partOf(word & 0xfff8, (word & 1) !== 0) };
    }
    const length = extensionBytes(protocol, view.getUint8(at + 1));
    protocol = view.getUint8(at);
    at += length;
  }
  return { protocol, transportOffset: at, isRouted, ...fragment };
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
function readError(bytes: Uint8Array, at: number, protocol: number): IcmpError | undefined {
  if (at + TRANSPORT_BYTES > bytes.length) return undefined;
  const type = bytes[at] ?? 0;
  const code = bytes[at + 1] ?? 0;
  const isError = protocol === ICMP ? type === 3 || type === 11 || type === 12 : type < 128;
  if (!isError) return undefined;
  const quote = bytes.subarray(at + TRANSPORT_BYTES);
  const view = new DataView(quote.buffer, quote.byteOffset, quote.byteLength);
  const network = readNetwork(view);
  // What a later fragment has in place of ports is payload.
  if (network === undefined || isMapped(network) || network.part === 'later') {
    return { type, code, about: undefined, sequence: 0, identification: 0 };
  }
  const { destination, source, transportOffset } = network;
  const ports = portsAt(view, transportOffset, network.protocol);
  const hasSequence = network.protocol === TCP && transportOffset + 8 <= view.byteLength;
  const sequence = hasSequence ? view.getUint32(transportOffset + 4) : 0;
  const about = { source, destination, protocol: network.protocol as Protocol, ...ports };
  return { type, code, about, sequence, identification: network.identification };
}

/** Whether an IPv6 packet bears an address that stands for an IPv4 one, and so for another flow than it is of. */
export function isMapped({ destination, family, source }: Pick<Headers, 'destination' | 'family' | 'source'>): boolean {
  return family === 'IPv6' && (isIPv4(source) || isIPv4(destination));
}

/** FNV-1a over the first bytes of the payload. */
function digestOf(bytes: Uint8Array, at: number): number {
  let hash = 0x811c9dc5;
  const end = Math.min(bytes.length, at + 64);
  for (let place = at; place < end; place += 1) hash = Math.imul(hash ^ (bytes[place] ?? 0), 0x01000193);
  return hash >>> 0;
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
