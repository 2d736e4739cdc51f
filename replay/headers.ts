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

/** An ICMP error: what kind, which packet it is about, and the TCP sequence number of that one, else 0. */
export type IcmpError = {
  readonly type: number;
  readonly code: number;
  readonly about: Tuple | undefined;
  readonly sequence: number;
};

export type Headers = Tuple & {
  readonly family: Family;
  /** Of the IP packet as its header says, in bytes; what was captured may be less. */
  readonly length: number;
  /** From the IP header to the transport header, in bytes. */
  readonly transportOffset: number;
  /** TTL or hop limit. */
  readonly hops: number;
  /** 0 in IPv6, which has none. */
  readonly identification: number;
  readonly isFragment: boolean;
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
  readonly isFragment: boolean;
};

/** The headers of the IP packet in `bytes`, as far as it was captured; undefined where its IP header can't be read. */
export function readHeaders(bytes: Uint8Array): Headers | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const network = readNetwork(view);
  if (network === undefined) return undefined;
  const at = network.transportOffset;
  const ports = network.isFragment ? NO_PORTS : portsAt(view, at, network.protocol);
  const isTcp = network.protocol === TCP && !network.isFragment && at + 14 <= view.byteLength;
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
    error: isIcmp && !network.isFragment ? readError(bytes, at, network.protocol) : undefined,
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
    isFragment: (view.getUint16(6) & 0x3fff) !== 0,
  };
}

function readIPv6(view: DataView): Network | undefined {
  if (view.byteLength < IPV6_BYTES) return undefined;
  const wordsAt = (at: number): Address =>
    address(view.getUint32(at), view.getUint32(at + 4), view.getUint32(at + 8), view.getUint32(at + 12));
  const { protocol, transportOffset, isFragment } = skipExtensions(view);
  return {
    family: 'IPv6',
    source: wordsAt(8),
    destination: wordsAt(24),
    protocol,
    length: IPV6_BYTES + view.getUint16(4),
    transportOffset,
    hops: view.getUint8(7),
    identification: 0,
    isFragment,
  };
}

/** Options and routing headers have their length in 8 bytes, a fragment header has 8. RFC 8200 section 4 */
function skipExtensions(view: DataView): { protocol: number; transportOffset: number; isFragment: boolean } {
  let protocol = view.getUint8(6);
  let at = IPV6_BYTES;
  let isFragment = false;
  for (let seen = 0; seen < EXTENSION_HEADERS_MAX && at + 8 <= view.byteLength; seen += 1) {
    if (protocol !== 0 && protocol !== 43 && protocol !== 44 && protocol !== 60) break;
    const length = protocol === 44 ? 8 : (view.getUint8(at + 1) + 1) * 8;
    if (protocol === 44) isFragment = true;
    protocol = view.getUint8(at);
    at += length;
  }
  return { protocol, transportOffset: at, isFragment };
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
  if (network === undefined || isMapped(network)) return { type, code, about: undefined, sequence: 0 };
  const { destination, source, transportOffset } = network;
  const ports = portsAt(view, transportOffset, network.protocol);
  const hasSequence = network.protocol === TCP && transportOffset + 8 <= view.byteLength;
  const sequence = hasSequence ? view.getUint32(transportOffset + 4) : 0;
  return { type, code, about: { source, destination, protocol: network.protocol as Protocol, ...ports }, sequence };
}

/** Whether an IPv6 packet has more than its fixed header before the transport header. */
export function hasExtensions({ family, transportOffset }: Headers): boolean {
  return family === 'IPv6' && transportOffset > IPV6_BYTES;
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
