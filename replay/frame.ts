// SPDX-License-Identifier: Apache-2.0
/** A captured packet as the Ethernet frame that a hook would meet, with the answers from outside that go with it. */
import { TCP, type Address } from '../core/address.ts';
import { CHECKSUM_MODE_NONE, CHECKSUM_MODE_PARTIAL } from '../core/layout.gen.ts';
import { assert } from '../core/result.ts';
import type { Headers } from './headers.ts';

/** The largest frame that a test run of the kernel accepts; longer ones are run with their payload cut. */
export const FRAME_BYTES_MAX = 3712;

export const ETHERNET_BYTES = 14;
const IPV4_BYTES = 20;
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
  if (isShortened && headers.family === 'IPv4') claimLength(bytes, length);
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

function isReadableTcp(headers: Headers): boolean {
  return headers.family === 'IPv4' && headers.protocol === TCP && !headers.isFragment;
}

function checksumState(network: Uint8Array, headers: Headers): ChecksumState {
  const at = headers.transportOffset + CHECKSUM_IN_TCP;
  if (!isReadableTcp(headers) || at + 2 > network.length) return 'unknown';
  const found = half(network, at);
  const pseudo = pseudoSum(network, headers.length - headers.transportOffset);
  if (found === fold(pseudo)) return 'partial';
  if (network.length < headers.length) return 'unknown';
  return fold(pseudo + sum(network, headers.transportOffset, headers.length)) === 0xffff ? 'right' : 'wrong';
}

/** The IP header claims what is there, and its checksum stays as right or wrong as it was. */
function claimLength(frame: Uint8Array, length: number): void {
  const at = ETHERNET_BYTES;
  const delta = (~half(frame, at + 2) & 0xffff) + length;
  putHalf(frame, at + 10, ~fold((~half(frame, at + 10) & 0xffff) + delta) & 0xffff);
  putHalf(frame, at + 2, length);
}

/** The frame as it was before its source became a Service: that source put back, both checksums mended. */
export function withSource(frame: PosedFrame, headers: Headers, source: Address, sourcePort: number): Uint8Array {
  assert(isReadableTcp(headers), 'only IPv4 TCP packets get another source');
  const bytes = frame.bytes.slice();
  const ip = ETHERNET_BYTES;
  const tcp = ip + headers.transportOffset;
  const check = tcp + CHECKSUM_IN_TCP;
  const before = sum(bytes, ip + 12, ip + 16);
  const portDelta = 0xffff - half(bytes, tcp) + sourcePort;
  putHalf(bytes, ip + 12, source.d >>> 16);
  putHalf(bytes, ip + 14, source.d & 0xffff);
  putHalf(bytes, tcp, sourcePort);
  const addressDelta = 2 * 0xffff - before + sum(bytes, ip + 12, ip + 16);
  mend(bytes, ip + 10, addressDelta);
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
export function destinationOf(frame: Uint8Array): { readonly word: number; readonly port: number } {
  const ip = ETHERNET_BYTES;
  const tcp = ip + ((frame[ip] ?? 0) & 15) * 4;
  assert(frame.length >= tcp + 4 && tcp >= ip + IPV4_BYTES, 'a twin translates only what it has read');
  return { word: ((half(frame, ip + 16) << 16) | half(frame, ip + 18)) >>> 0, port: half(frame, tcp + 2) };
}

function pseudoSum(network: Uint8Array, transportLength: number): number {
  return sum(network, 12, 20) + TCP + transportLength;
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

function putHalf(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 8;
  bytes[at + 1] = value & 0xff;
}
