// SPDX-License-Identifier: Apache-2.0
/** A captured packet as the Ethernet frame that a hook would meet, with the answers from outside that go with it. */
import { addressEquals, isIPv4, TCP, UDP, type Address } from '../core/address.ts';
import { CHECKSUM_MODE_NONE, CHECKSUM_MODE_PARTIAL } from '../core/layout.gen.ts';
import { assert } from '../core/result.ts';
import { isFollowed, readHeaders, type Family, type Headers } from './headers.ts';
import { newRoom, type Room } from './room.ts';

/** The largest frame that a test run of the kernel accepts; longer ones are run with their payload cut. */
export const FRAME_BYTES_MAX = 3712;

export const ETHERNET_BYTES = 14;
/** Of both addresses, with which it begins. */
const ADDRESSES_BYTES = 12;
const IPV6_BYTES = 40;
/** Where they stand in the IP header, the former before the protocol. */
const TIME_TO_LIVE = 8;
const HOP_LIMIT = 7;
const CHECKSUM_IN_TCP = 16;
const CHECKSUM_IN_UDP = 6;

/** In place of addresses that a cooked capture does not keep; locally administered, so that they are nobody's. */
const NO_ETHERNET = Uint8Array.from([0x02, 0, 0, 0, 0, 1, 0x02, 0, 0, 0, 0, 2]);

/**
 * What the captured checksum of TCP or UDP is: `right`, `partial` (the sum of the pseudo-header, to be completed by whoever
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
  /** The packet is its bytes from `start`, where the IP header begins, to `end`, as far as it was captured. */
  readonly buffer: Uint8Array;
  readonly start: number;
  readonly end: number;
  readonly headers: Headers | undefined;
  /** Where destination and source address stand in the buffer, if the capture has them. */
  readonly ethernetAt: number | undefined;
  readonly ethertype: number;
  /** Whether the capture kept less than there was. */
  readonly isCut: boolean;
  /** Of the device, in bytes. */
  readonly mtu: number;
};

/** `room`: where the frame is made. */
export function poseFrame(packet: CapturedPacket, room: Room = newRoom): PosedFrame {
  const { buffer, end, ethernetAt, headers, start } = packet;
  const there = Math.min(end - start, FRAME_BYTES_MAX - ETHERNET_BYTES);
  const isShortened = headers !== undefined && headers.length > there && (packet.isCut || there < end - start);
  // TCP options that were not captured are run as zeros: without them the header would claim more than there is.
  const length = isShortened ? Math.max(there, Math.min(headers.length, tcpHeaderEnd(packet, headers))) : there;
  const bytes = room(ETHERNET_BYTES + length);
  if (ethernetAt === undefined) copyBytes(NO_ETHERNET, 0, ADDRESSES_BYTES, bytes, 0);
  else copyBytes(buffer, ethernetAt, ethernetAt + ADDRESSES_BYTES, bytes, 0);
  bytes[12] = packet.ethertype >>> 8;
  bytes[13] = packet.ethertype & 0xff;
  copyBytes(buffer, start, start + there, bytes, ETHERNET_BYTES);
  if (length > there) bytes.fill(0, ETHERNET_BYTES + there);
  if (isShortened) claimLength(bytes, headers.family, length);
  const checksum = headers === undefined ? 'unknown' : checksumState(packet, headers);
  return {
    bytes,
    checksum,
    checksumMode: checksum === 'partial' ? CHECKSUM_MODE_PARTIAL : CHECKSUM_MODE_NONE,
    gsoSize: headers === undefined ? 0 : gsoSizeOf(headers, packet.mtu),
    isShortened,
  };
}

/** Up to here a loop takes less time than making a view of the bytes and copying that. */
const LOOP_BYTES_MAX = 192;

function copyBytes(from: Uint8Array, start: number, end: number, into: Uint8Array, at: number): void {
  if (end - start > LOOP_BYTES_MAX) into.set(from.subarray(start, end), at);
  else for (let index = 0; index < end - start; index += 1) into[at + index] = from[start + index] ?? 0;
}

/** 0 where the header itself was not captured. */
function tcpHeaderEnd({ buffer, end, start }: CapturedPacket, headers: Headers): number {
  const at = start + headers.transportOffset + 12;
  return headers.protocol === TCP && showsPorts(headers) && at < end
    ? headers.transportOffset + ((buffer[at] ?? 0) >>> 4) * 4
    : 0;
}

function gsoSizeOf(headers: Headers, mtu: number): number {
  const isSegmented = headers.protocol === TCP || (headers.protocol === UDP && headers.part === 'whole');
  if (!isSegmented || headers.length <= mtu) return 0;
  return Math.max(1, mtu - (headers.length - headers.payloadLength));
}

/** Behind a routing header that is not done nothing is translated: the checksum covers the address of the last stop. */
export function isTranslatable(headers: Headers): boolean {
  const { isRouted, protocol } = headers;
  return (protocol === TCP || protocol === UDP) && !isRouted && isFollowed(headers);
}

function showsPorts(headers: Headers): boolean {
  return isTranslatable(headers) && headers.part !== 'later';
}

function checksumAt({ protocol, transportOffset }: Headers): number {
  return transportOffset + (protocol === TCP ? CHECKSUM_IN_TCP : CHECKSUM_IN_UDP);
}

function checksumState({ buffer, end, start }: CapturedPacket, headers: Headers): ChecksumState {
  const at = start + checksumAt(headers);
  if (!showsPorts(headers) || headers.part !== 'whole' || at + 2 > end) return 'unknown';
  const found = half(buffer, at);
  // RFC 768: the sender of this datagram made none.
  if (headers.protocol === UDP && found === 0) return 'unknown';
  const pseudo = pseudoSum(buffer, start, headers);
  if (found === fold(pseudo)) return 'partial';
  if (end - start < headers.length) return 'unknown';
  const whole = pseudo + sum(buffer, start + headers.transportOffset, start + headers.length);
  return fold(whole) === 0xffff ? 'right' : 'wrong';
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

/**
 * Both ends of an answer as a twin would get it. `clientPort` differs from the client's own where that was taken,
 * `client` where it is its own backend.
 */
export type AnswerEnds = {
  readonly address: Address;
  readonly port: number;
  readonly client: Address;
  readonly clientPort: number;
};

/** The answer of a pod to itself, as it left the pod: from these ends, by the way it came back. */
export function withPodAsSource(
  frame: PosedFrame,
  headers: Headers,
  ends: AnswerEnds,
  room: Room = newRoom,
): Uint8Array {
  const bytes = withSource(frame, headers, ends, room);
  const [destination, source] = [bytes.slice(0, 6), bytes.slice(6, 12)];
  bytes.set(source, 0);
  bytes.set(destination, 6);
  const ip = ETHERNET_BYTES;
  if (headers.family === 'IPv6') bytes[ip + HOP_LIMIT] = headers.hops + 1;
  else mend(bytes, ip + 10, replaceHalf(bytes, ip + TIME_TO_LIVE, half(bytes, ip + TIME_TO_LIVE) + 0x100));
  return bytes;
}

/** The frame as it was before its source became a Service: these ends put back, all checksums mended. */
export function withSource(frame: PosedFrame, headers: Headers, ends: AnswerEnds, room: Room = newRoom): Uint8Array {
  assert(isTranslatable(headers), 'only packets of TCP and UDP get another source');
  assert(isIPv4(ends.address) === (headers.family === 'IPv4'), 'the other source is of the same family');
  const bytes = room(frame.bytes.length);
  bytes.set(frame.bytes);
  const ip = ETHERNET_BYTES;
  const { from, to } = sourceRange(headers.family);
  let addressDelta = putAddress(bytes, ip + from, ends.address);
  if (!addressEquals(headers.destination, ends.client)) addressDelta += putAddress(bytes, ip + to, ends.client);
  if (headers.family === 'IPv4') mend(bytes, ip + 10, addressDelta);
  const transport = ip + headers.transportOffset;
  if (!showsPorts(headers) || transport + 4 > bytes.length) return bytes;
  const portDelta = replaceHalf(bytes, transport, ends.port) + replaceHalf(bytes, transport + 2, ends.clientPort);
  const check = ip + checksumAt(headers);
  if (check + 2 > bytes.length) return bytes;
  // Whoever completes a partial checksum adds the ports: the address alone counts.
  if (frame.checksum === 'partial') putHalf(bytes, check, fold(half(bytes, check) + addressDelta));
  else if (headers.protocol === TCP) mend(bytes, check, addressDelta + portDelta);
  else mendUdp(bytes, check, addressDelta + portDelta);
  return bytes;
}

/** Writes an address and returns by how much the ones' complement sum of the bytes has grown. */
export function putAddress(bytes: Uint8Array, at: number, address: Address): number {
  const length = isIPv4(address) ? 4 : 16;
  const before = sum(bytes, at, at + length);
  if (length === 16) {
    putWord(bytes, at, address.a);
    putWord(bytes, at + 4, address.b);
    putWord(bytes, at + 8, address.c);
  }
  putWord(bytes, at + length - 4, address.d);
  return (length / 2) * 0xffff - before + sum(bytes, at, at + length);
}

/** The same for a port. */
export function replaceHalf(bytes: Uint8Array, at: number, value: number): number {
  const before = half(bytes, at);
  putHalf(bytes, at, value);
  return 0xffff - before + value;
}

/** RFC 1624, equation 3. */
export function mend(bytes: Uint8Array, at: number, delta: number): void {
  putHalf(bytes, at, ~fold((~half(bytes, at) & 0xffff) + delta) & 0xffff);
}

/** RFC 768: zero means that there is none, and a sum that comes to zero is written as all ones. */
export function mendUdp(bytes: Uint8Array, at: number, delta: number): void {
  if (half(bytes, at) === 0) return;
  mend(bytes, at, delta);
  if (half(bytes, at) === 0) putHalf(bytes, at, 0xffff);
}

/** Both ends of a frame that a twin has translated; undefined where the frame does not show its ports. */
export function endsOf(frame: Uint8Array): Headers | undefined {
  const headers = readHeaders(frame, ETHERNET_BYTES);
  return headers !== undefined && showsPorts(headers) ? headers : undefined;
}

/** Both addresses, the protocol and the length of what follows the IP header (RFC 9293 3.1, RFC 8200 8.1). */
function pseudoSum(bytes: Uint8Array, ip: number, { family, length, protocol, transportOffset }: Headers): number {
  const { from, to } = sourceRange(family);
  return sum(bytes, ip + from, ip + to + (to - from)) + protocol + length - transportOffset;
}

/** Ones' complement sum of big-endian halves, not folded; an odd last byte is the high one of its half (RFC 1071). */
function sum(bytes: Uint8Array, from: number, to: number): number {
  let total = 0;
  let at = from;
  for (; at + 1 < to; at += 2) total += half(bytes, at);
  return at < to ? total + ((bytes[at] ?? 0) << 8) : total;
}

function fold(total: number): number {
  let folded = total;
  while (folded > 0xffff) folded = (folded & 0xffff) + Math.floor(folded / 0x10000);
  return folded;
}

function half(bytes: Uint8Array, at: number): number {
  return ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
}

function putWord(bytes: Uint8Array, at: number, value: number): void {
  putHalf(bytes, at, value >>> 16);
  putHalf(bytes, at + 2, value & 0xffff);
}

function putHalf(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 8;
  bytes[at + 1] = value & 0xff;
}
