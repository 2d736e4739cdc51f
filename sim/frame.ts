// SPDX-License-Identifier: Apache-2.0
/** Frames of both families with TCP or UDP as simulated stacks write and check them, with checksums summed whole. */
import { address, addressFromIPv4, addressText, type Address } from '../core/address.ts';

/** What a stack says or hears; addresses as words, 0x0a000001 for 10.0.0.1 and for the IPv6 address that ends in it. */
export type Segment = {
  readonly isIPv6: boolean;
  readonly isUDP: boolean;
  readonly source: number;
  readonly destination: number;
  readonly sourcePort: number;
  readonly destinationPort: number;
  /** 0 in a datagram. */
  readonly flags: number;
  /** Of a datagram: the number that its payload begins with. */
  readonly sequence: number;
  readonly acknowledgement: number;
  /** Bytes of payload, even; at least four in a datagram. */
  readonly payloadLength: number;
};

/** Where the parts of a frame lie, in bytes. `headerSum` is 0 where the header has none. */
export type Places = {
  readonly isUDP: boolean;
  readonly source: number;
  readonly destination: number;
  readonly hops: number;
  readonly headerSum: number;
  readonly transport: number;
  readonly transportSum: number;
  readonly flags: number;
};

export const FIN = 1;
export const SYN = 2;
export const RST = 4;
export const PSH = 8;
export const ACK = 16;

const IP = 14;
const MACS = [0x02, 0, 0, 0, 0, 2, 0x02, 0, 0, 0, 0, 1];
const TCP_BYTES = 20;
const UDP_BYTES = 8;
const TCP = 6;
const UDP = 17;
/** fd73:696d::/96 with an IPv4 address in it: every pod, client and Service has one number in both families. */
const PREFIX = [0xfd73696d, 0, 0] as const;

/** The address of a word in a family. */
export function addressOf(word: number, isIPv6: boolean): Address {
  return isIPv6 ? address(...PREFIX, word) : addressFromIPv4(word);
}

export function wordText(word: number, isIPv6: boolean): string {
  return addressText(addressOf(word, isIPv6));
}

function placesIn(isIPv6: boolean, isUDP: boolean): Places {
  if (isIPv6) return isUDP ? places.udp6 : places.tcp6;
  return isUDP ? places.udp4 : places.tcp4;
}

function placesFor(isIPv6: boolean, isUDP: boolean): Places {
  const transport = isIPv6 ? 54 : 34;
  return {
    isUDP,
    source: isIPv6 ? 34 : 26,
    destination: isIPv6 ? 50 : 30,
    hops: isIPv6 ? 21 : 22,
    headerSum: isIPv6 ? 0 : 24,
    transport,
    transportSum: transport + (isUDP ? 6 : 16),
    flags: transport + 13,
  };
}

const places = {
  tcp4: placesFor(false, false),
  udp4: placesFor(false, true),
  tcp6: placesFor(true, false),
  udp6: placesFor(true, true),
} as const;

/** Where the parts of a frame lie that is one of ours. Addresses: their last words. */
export function placesOf(frame: Uint8Array): Places {
  const isIPv6 = frame[IP - 2] === 0x86;
  const isUDP = frame[isIPv6 ? IP + 6 : IP + 9] === UDP;
  return placesIn(isIPv6, isUDP);
}

/** One's-complement sum (RFC 1071) of 16-bit words from `start` up to `end`, folded. */
function sumOf(view: DataView, start: number, end: number, initial: number): number {
  let sum = initial;
  for (let at = start; at + 1 < end; at += 2) sum += view.getUint16(at);
  if ((end - start) % 2 === 1) sum += view.getUint8(end - 1) << 8;
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 0x10000);
  return sum;
}

/** Addresses, protocol and length. */
function pseudoSum(view: DataView, isIPv6: boolean, protocol: number, length: number): number {
  return sumOf(view, isIPv6 ? IP + 8 : IP + 12, isIPv6 ? IP + 40 : IP + 20, protocol + length);
}

/** The frame of a segment, in fresh memory. */
export function frameOf(it: Segment): Uint8Array {
  const { isIPv6, isUDP } = it;
  const { transport, transportSum } = placesIn(isIPv6, isUDP);
  const length = (isUDP ? UDP_BYTES : TCP_BYTES) + it.payloadLength;
  const frame = new Uint8Array(transport + length);
  const view = new DataView(frame.buffer);
  frame.set(MACS);
  if (isIPv6) writeIPv6(view, it, length);
  else writeIPv4(view, it, length);
  view.setUint16(transport, it.sourcePort);
  view.setUint16(transport + 2, it.destinationPort);
  frame.fill(0x61, frame.length - it.payloadLength);
  if (isUDP) {
    view.setUint16(transport + 4, length);
    view.setUint32(transport + UDP_BYTES, it.sequence);
  } else writeTCP(view, transport, it);
  const sum = 0xffff - sumOf(view, transport, frame.length, pseudoSum(view, isIPv6, isUDP ? UDP : TCP, length));
  // RFC 768: a computed zero is sent as all ones, since zero says that there is none.
  view.setUint16(transportSum, isUDP && sum === 0 ? 0xffff : sum);
  return frame;
}

function writeIPv4(view: DataView, { source, destination, isUDP }: Segment, length: number): void {
  view.setUint16(IP - 2, 0x0800);
  view.setUint16(IP, 0x4500);
  view.setUint16(IP + 2, 20 + length);
  view.setUint16(IP + 6, 0x4000);
  view.setUint16(IP + 8, 0x4000 | (isUDP ? UDP : TCP));
  view.setUint32(IP + 12, source);
  view.setUint32(IP + 16, destination);
  view.setUint16(IP + 10, 0xffff - sumOf(view, IP, IP + 20, 0));
}

function writeIPv6(view: DataView, { source, destination, isUDP }: Segment, length: number): void {
  view.setUint16(IP - 2, 0x86dd);
  view.setUint32(IP, 0x60000000);
  view.setUint16(IP + 4, length);
  view.setUint16(IP + 6, ((isUDP ? UDP : TCP) << 8) | 0x40);
  for (const [index, word] of PREFIX.entries()) {
    view.setUint32(IP + 8 + index * 4, word);
    view.setUint32(IP + 24 + index * 4, word);
  }
  view.setUint32(IP + 20, source);
  view.setUint32(IP + 36, destination);
}

function writeTCP(view: DataView, at: number, { sequence, acknowledgement, flags }: Segment): void {
  view.setUint32(at + 4, sequence);
  view.setUint32(at + 8, acknowledgement);
  view.setUint16(at + 12, 0x5000 | flags);
  view.setUint16(at + 14, 0xfaf0);
}

/** What a stack hears of a frame; undefined where it would not take it: nobody's address, or a checksum that is wrong. */
export function segmentOf(frame: Uint8Array, frameLength: number): Segment | undefined {
  if (frameLength < 42) return undefined;
  const view = new DataView(frame.buffer, frame.byteOffset, frameLength);
  const isIPv6 = view.getUint16(IP - 2) === 0x86dd;
  const length = isIPv6 ? ipv6Payload(view) : ipv4Payload(view);
  const protocol = view.getUint8(isIPv6 ? IP + 6 : IP + 9);
  const isUDP = protocol === UDP;
  const { transport, source, destination } = placesIn(isIPv6, isUDP);
  const headerBytes = isUDP ? UDP_BYTES + 4 : TCP_BYTES;
  if (length < headerBytes || transport + length > frameLength || (!isUDP && protocol !== TCP)) return undefined;
  const sum = sumOf(view, transport, transport + length, pseudoSum(view, isIPv6, protocol, length));
  if (sum !== 0xffff || (isUDP && view.getUint16(transport + 6) === 0)) return undefined;
  return {
    isIPv6,
    isUDP,
    source: view.getUint32(source),
    destination: view.getUint32(destination),
    sourcePort: view.getUint16(transport),
    destinationPort: view.getUint16(transport + 2),
    sequence: view.getUint32(transport + (isUDP ? UDP_BYTES : 4)),
    acknowledgement: isUDP ? 0 : view.getUint32(transport + 8),
    flags: isUDP ? 0 : view.getUint8(transport + 13),
    payloadLength: length - (isUDP ? UDP_BYTES : TCP_BYTES),
  };
}

/** Bytes behind the header; 0: it is not as a stack would take it. */
function ipv4Payload(view: DataView): number {
  if (view.getUint8(IP) !== 0x45 || sumOf(view, IP, IP + 20, 0) !== 0xffff) return 0;
  return view.getUint16(IP + 2) - 20;
}

function ipv6Payload(view: DataView): number {
  if (view.byteLength < 62 || view.getUint8(IP) !== 0x60) return 0;
  for (const [index, word] of PREFIX.entries())
    if (view.getUint32(IP + 8 + index * 4) !== word || view.getUint32(IP + 24 + index * 4) !== word) return 0;
  return view.getUint16(IP + 4);
}
