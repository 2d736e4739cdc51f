// SPDX-License-Identifier: Apache-2.0
/** A captured packet as the Ethernet frame that a hook would meet, with the answers from outside that go with it. */
import { address, addressFromIPv4, isIPv4, TCP, type Address } from '../core/address.ts';
import { CHECKSUM_MODE_NONE, CHECKSUM_MODE_PARTIAL } from '../core/layout.gen.ts';
import { assert } from '../core/result.ts';
import { hasExtensions, type Family, type Headers } from './headers.ts';

/** The largest frame that a test run of the kernel accepts; longer ones are run with their payload cut. */
export const FRAME_BYTES_MAX = 3712;

export const ETHERNET_BYTES = 14;
const IPV4_BYTES = 20;
const IPV6_BYTES = 40;
const CHECKSUM_IN_TCP = 16;

/** In place of addresses that a cooked capture does not keep; locally administered, so that they are nobody's. */
const NO_ETHERNET = [0x02, 0, 0, 0, 0, 1, 0x02, 0, 0, 0, 0, 2];

/**
 * What the captured TCP checksum is: `right`, `partial` (the sum of the pseudo-header, to be completed by whoever
 * sends the packet), `wrong`, or `unknown` where bytes are missing or nothing carries one.
 */
export type ChecksumState = 'right' | 'partial' | 'wrong' | 'unknown';

export type PosedFrame = {
  readonly bytes: Uint8Array;
  readonly checksum: ChecksumState;
  /** CHECKSUM_MODE_* */
  readonly checksumMode: number;
  /** Bytes of payload of each segment; 0: not a super-packet. */
  readonly gsoSize: number;
  /** Bytes that were not captured, or did not fit, are missing at its end, and its IP header does not claim them. */
  readonly isShortened: boolean;
};

export type CapturedPacket = {
  /** From the IP header on, as far as it was captured. */
  readonly network: Uint8Array;
  readonly headers: Headers | undefined;
  /** Destination and source address and nothing else, where the capture has them. */
  readonly ethernet: Uint8Array | undefined;
  readonly ethertype: number;
  /** Whether the capture kept less than there was. */
  readonly isCut: boolean;
  /** Of the device, in bytes. */
  readonly mtu: number;
};

export function poseFrame(packet: CapturedPacket): PosedFrame {
  const { headers, network } = packet;
  const there = Math.min(network.length, FRAME_BYTES_MAX - ETHERNET_BYTES);
  const isShortened = headers !== undefined && headers.length > there && (packet.isCut || there < network.length);
  // TCP options that were not captured are run as zeros: without them the header would claim more than there is.
  const length = isShortened ? Math.max(there, Math.min(headers.length, tcpHeaderEnd(network, headers))) : there;
  const bytes = new Uint8Array(ETHERNET_BYTES + length);
  bytes.set(packet.ethernet ?? NO_ETHERNET);
  bytes[12] = packet.ethertype >>> 8;
  bytes[13] = packet.ethertype & 0xff;
  bytes.set(network.subarray(0, there), ETHERNET_BYTES);
  if (isShortened) claimLength(bytes, headers.family, length);
  const checksum = headers === undefined ? 'unknown' : checksumState(network, headers);
  return {
    bytes,
    checksum,
    checksumMode: checksum === 'partial' ? CHECKSUM_MODE_PARTIAL : CHECKSUM_MODE_NONE,
    gsoSize: headers === undefined ? 0 : gsoSizeOf(headers, packet.mtu),
    isShortened,
  };
}

/** 0 where the header itself was not captured. */
function tcpHeaderEnd(network: Uint8Array, headers: Headers): number {
  const at = headers.transportOffset + 12;
  return isReadableTcp(headers) && at < network.length ? headers.transportOffset + ((network[at] ?? 0) >>> 4) * 4 : 0;
}

function gsoSizeOf(headers: Headers, mtu: number): number {
  if (headers.protocol !== TCP || headers.length <= mtu) return 0;
  return Math.max(1, mtu - (headers.length - headers.payloadLength));
}

/** Behind extension headers nothing is read: a routing header changes whose address the checksum covers. */
export function isReadableTcp(headers: Headers): boolean {
  return headers.protocol === TCP && !headers.isFragment && !hasExtensions(headers);
}

function checksumState(network: Uint8Array, headers: Headers): ChecksumState {
  const at = headers.transportOffset + CHECKSUM_IN_TCP;
  if (!isReadableTcp(headers) || at + 2 > network.length) return 'unknown';
  const found = half(network, at);
  const pseudo = pseudoSum(network, headers);
  if (found === fold(pseudo)) return 'partial';
  if (network.length < headers.length) return 'unknown';
  return fold(pseudo + sum(network, headers.transportOffset, headers.length)) === 0xffff ? 'right' : 'wrong';
}

/** The IP header claims what is there, and its checksum, where it has one, stays as right or wrong as it was. */
function claimLength(frame: Uint8Array, family: Family, length: number): void {
  const at = ETHERNET_BYTES;
  if (family === 'IPv6') {
    putHalf(frame, at + 4, length - IPV6_BYTES);
    return;
  }
  const delta = (~half(frame, at + 2) & 0xffff) + length;
  putHalf(frame, at + 10, ~fold((~half(frame, at + 10) & 0xffff) + delta) & 0xffff);
  putHalf(frame, at + 2, length);
}

/** Where the source stands in an IP header; the destination follows. */
function sourceRange(family: Family): { readonly from: number; readonly to: number } {
  return family === 'IPv4' ? { from: 12, to: 16 } : { from: 8, to: 24 };
}

/** The frame as it was before its source became a Service: that source put back, all checksums mended. */
export function withSource(frame: PosedFrame, headers: Headers, source: Address, sourcePort: number): Uint8Array {
  const { family } = headers;
  assert(isReadableTcp(headers), 'only TCP packets get another source');
  assert(isIPv4(source) === (family === 'IPv4'), 'the other source is of the same family');
  const bytes = frame.bytes.slice();
  const ip = ETHERNET_BYTES;
  const tcp = ip + headers.transportOffset;
  const check = tcp + CHECKSUM_IN_TCP;
  const { from, to } = sourceRange(family);
  const before = sum(bytes, ip + from, ip + to);
  const portDelta = 0xffff - half(bytes, tcp) + sourcePort;
  const words = family === 'IPv4' ? [source.d] : [source.a, source.b, source.c, source.d];
  for (const [index, word] of words.entries()) putWord(bytes, ip + from + index * 4, word);
  putHalf(bytes, tcp, sourcePort);
  const addressDelta = ((to - from) / 2) * 0xffff - before + sum(bytes, ip + from, ip + to);
  if (family === 'IPv4') mend(bytes, ip + 10, addressDelta);
  // Whoever completes a partial checksum adds the port: the address alone counts.
  if (frame.checksum === 'partial') putHalf(bytes, check, fold(half(bytes, check) + addressDelta));
  else mend(bytes, check, addressDelta + portDelta);
  return bytes;
}

/** RFC 1624, equation 3. */
function mend(bytes: Uint8Array, at: number, delta: number): void {
  putHalf(bytes, at, ~fold((~half(bytes, at) & 0xffff) + delta) & 0xffff);
}

/** Destination address and port of a frame that a twin has translated. */
export function destinationOf(frame: Uint8Array): { readonly address: Address; readonly port: number } {
  const ip = ETHERNET_BYTES;
  const first = frame[ip] ?? 0;
  const isIPv6 = first >>> 4 === 6;
  const tcp = ip + (isIPv6 ? IPV6_BYTES : (first & 15) * 4);
  assert(frame.length >= tcp + 4 && tcp >= ip + IPV4_BYTES, 'a twin translates only what it has read');
  const found = isIPv6
    ? address(word(frame, ip + 24), word(frame, ip + 28), word(frame, ip + 32), word(frame, ip + 36))
    : addressFromIPv4(word(frame, ip + 16));
  return { address: found, port: half(frame, tcp + 2) };
}

/** Both addresses, the protocol and the length of what follows the IP header (RFC 9293 3.1, RFC 8200 8.1). */
function pseudoSum(network: Uint8Array, { family, length, transportOffset }: Headers): number {
  const { from, to } = sourceRange(family);
  return sum(network, from, to + (to - from)) + TCP + length - transportOffset;
}

/** Ones' complement sum of big-endian halves, not folded; an odd last byte is the high one of its half (RFC 1071). */
function sum(bytes: Uint8Array, from: number, to: number): number {
  let total = 0;
  for (let at = from; at < to; at += 2) total += ((bytes[at] ?? 0) << 8) | (at + 1 < to ? (bytes[at + 1] ?? 0) : 0);
  return total;
}

function fold(total: number): number {
  let folded = total;
  while (folded > 0xffff) folded = (folded & 0xffff) + Math.floor(folded / 0x10000);
  return folded;
}

function half(bytes: Uint8Array, at: number): number {
  return ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
}

function word(bytes: Uint8Array, at: number): number {
  return ((half(bytes, at) << 16) | half(bytes, at + 2)) >>> 0;
}

function putWord(bytes: Uint8Array, at: number, value: number): void {
  putHalf(bytes, at, value >>> 16);
  putHalf(bytes, at + 2, value & 0xffff);
}

function putHalf(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 8;
  bytes[at + 1] = value & 0xff;
}
