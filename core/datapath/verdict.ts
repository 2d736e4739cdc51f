// SPDX-License-Identifier: Apache-2.0
/** Carries a verdict out on the packet's bytes; twin of bpf/verdict.h. The only file that writes packets. */
import {
  CHECKSUM_MODE_PARTIAL,
  MARK_REFUSE_ICMP,
  MARK_REFUSE_IMPOSSIBLE,
  MARK_REFUSE_TRIM,
  REASON_CANNOT_ANSWER,
  VERDICT_FORWARD,
} from '../layout.gen.ts';
import type { Outcome, Outside } from '../twin.ts';
import {
  checksumAddressDelta,
  checksumFold,
  checksumPortDelta,
  checksumReplace,
  checksumTransport,
} from './checksum.ts';
import { mark, type Log } from './log.ts';
import type { Maps } from './maps.ts';
import {
  ETHERNET_LENGTH,
  IPV4_LENGTH,
  IPV6_LENGTH,
  KEY_DESTINATION,
  KEY_PORTS,
  KEY_SOURCE,
  TCP_LENGTH,
  type Packet,
} from './parse.ts';
import { halfAt, putHalf, putWord, swap16, wordAt } from './words.ts';

const ICMP_LENGTH = 28; // IP header and ICMP header before the quote
const ICMP6_LENGTH = 48;
const PROTOCOL_ICMPV6 = 58;

export function count(maps: Maps, reason: number, servicePort: number, length: number): void {
  maps.counters[reason * 2]! += 1;
  maps.counters[reason * 2 + 1]! += length;
  if (servicePort * 2 >= maps.serviceCounters.length) return;
  maps.serviceCounters[servicePort * 2]! += 1;
  maps.serviceCounters[servicePort * 2 + 1]! += length;
}

/** Writes one address of the IP header; gives what changes in a sum over addresses. */
export function writeIpv4Address(bytes: Uint8Array, address: Uint32Array, at: number, destination: boolean): number {
  const place = ETHERNET_LENGTH + (destination ? 16 : 12);
  const delta = checksumAddressDelta(wordAt(bytes, place), address[at + 3]!);
  putHalf(bytes, ETHERNET_LENGTH + 10, checksumReplace(halfAt(bytes, ETHERNET_LENGTH + 10), delta));
  putWord(bytes, place, address[at + 3]!);
  return delta;
}

export function writeIpv6Address(bytes: Uint8Array, address: Uint32Array, at: number, destination: boolean): number {
  const place = ETHERNET_LENGTH + (destination ? 24 : 8);
  let delta = 0;
  for (let word = 0; word < 4; word++) {
    delta += checksumAddressDelta(wordAt(bytes, place + word * 4), address[at + word]!);
    putWord(bytes, place + word * 4, address[at + word]!);
  }
  return delta;
}

/** Writes the destination (forward) or the source (reply) of the translation and mends the checksums. */
export function applyTranslation(
  log: Log,
  bytes: Uint8Array,
  packet: Packet,
  translation: Uint32Array,
  verdict: number,
  mode: number,
): void {
  const tcp = packet.transport;
  const forward = verdict === VERDICT_FORWARD;
  const at = forward ? KEY_DESTINATION : KEY_SOURCE;
  const portAt = tcp + (forward ? 2 : 0);
  const newPort = forward ? translation[KEY_PORTS]! >>> 16 : translation[KEY_PORTS]! & 0xffff;
  const write = packet.family === 6 ? writeIpv6Address : writeIpv4Address;
  const delta = write(bytes, translation, at, forward);
  const portDelta = checksumPortDelta(halfAt(bytes, portAt), newPort);
  putHalf(bytes, tcp + 16, checksumTransport(log, halfAt(bytes, tcp + 16), delta, portDelta, mode));
  putHalf(bytes, portAt, newPort);
}

/** The sum of an even number of bytes. */
export function sumBytes(bytes: Uint8Array, from: number, length: number): number {
  let sum = 0;
  for (let at = 0; at < length; at += 2) sum += halfAt(bytes, from + at);
  return sum;
}

/** The sum of the quote, as it will be once a pending (partial) checksum has been completed by whoever sends it. */
export function quoteSum(bytes: Uint8Array, quote: number, headerLength: number, mode: number): number {
  const tcp = quote + headerLength;
  const sum = sumBytes(bytes, quote, headerLength);
  const transport = sumBytes(bytes, tcp, TCP_LENGTH);
  if (mode === CHECKSUM_MODE_PARTIAL)
    return sum + transport - halfAt(bytes, tcp + 16) + (~checksumFold(transport) & 0xffff);
  return sum + transport;
}

export function writeIcmp(bytes: Uint8Array, packet: Packet, quoteLength: number): void {
  const ip = ETHERNET_LENGTH;
  const total = ICMP_LENGTH + quoteLength;
  bytes.fill(0, ip, ip + ICMP_LENGTH);
  bytes[ip] = 0x45;
  bytes[ip + 1] = 0xc0; // internetwork control (RFC 1812 4.3.2.5)
  bytes[ip + 2] = total >>> 8;
  bytes[ip + 3] = total;
  bytes[ip + 6] = 0x40;
  bytes[ip + 8] = 64;
  bytes[ip + 9] = 1;
  putWord(bytes, ip + 12, packet.key[KEY_DESTINATION + 3]!);
  putWord(bytes, ip + 16, packet.key[KEY_SOURCE + 3]!);
  bytes[ip + IPV4_LENGTH] = 3;
  bytes[ip + IPV4_LENGTH + 1] = 3;
  putHalf(bytes, ip + 10, ~checksumFold(sumBytes(bytes, ip, IPV4_LENGTH)) & 0xffff);
}

export function writeIcmp6(bytes: Uint8Array, packet: Packet, quoteLength: number): void {
  const ip = ETHERNET_LENGTH;
  const payload = ICMP6_LENGTH - IPV6_LENGTH + quoteLength;
  bytes.fill(0, ip, ip + ICMP6_LENGTH);
  bytes[ip] = 0x6c; // internetwork control
  bytes[ip + 4] = payload >>> 8;
  bytes[ip + 5] = payload;
  bytes[ip + 6] = PROTOCOL_ICMPV6;
  bytes[ip + 7] = 64;
  for (let word = 0; word < 4; word++) {
    putWord(bytes, ip + 8 + word * 4, packet.key[KEY_DESTINATION + word]!);
    putWord(bytes, ip + 24 + word * 4, packet.key[KEY_SOURCE + word]!);
  }
  bytes[ip + IPV6_LENGTH] = 1;
  bytes[ip + IPV6_LENGTH + 1] = 4;
}

export function turnEthernet(bytes: Uint8Array): void {
  for (let at = 0; at < 6; at++) {
    const kept = bytes[at]!;
    bytes[at] = bytes[at + 6]!;
    bytes[at + 6] = kept;
  }
}

/** The ICMP message (RFC 792) in front of the quote. */
export function answerIpv4(bytes: Uint8Array, packet: Packet, quoteLength: number, mode: number): number {
  const quote = ETHERNET_LENGTH + ICMP_LENGTH;
  bytes.copyWithin(quote, ETHERNET_LENGTH, ETHERNET_LENGTH + quoteLength);
  turnEthernet(bytes);
  writeIcmp(bytes, packet, quoteLength);
  const sum = quoteSum(bytes, quote, quoteLength - TCP_LENGTH, mode);
  putHalf(bytes, ETHERNET_LENGTH + IPV4_LENGTH + 2, ~checksumFold(0x0303 + sum) & 0xffff);
  return quote + quoteLength;
}

/** The same by RFC 4443, whose checksum covers a pseudo-header. */
export function answerIpv6(bytes: Uint8Array, packet: Packet, quoteLength: number, mode: number): number {
  const quote = ETHERNET_LENGTH + ICMP6_LENGTH;
  bytes.copyWithin(quote, ETHERNET_LENGTH, ETHERNET_LENGTH + quoteLength);
  turnEthernet(bytes);
  writeIcmp6(bytes, packet, quoteLength);
  const addresses = sumBytes(bytes, ETHERNET_LENGTH + 8, 32);
  const sum = quoteSum(bytes, quote, IPV6_LENGTH, mode);
  const pseudo = addresses + halfAt(bytes, ETHERNET_LENGTH + 4) + swap16(PROTOCOL_ICMPV6);
  putHalf(bytes, ETHERNET_LENGTH + IPV6_LENGTH + 2, ~checksumFold(0x0401 + pseudo + sum) & 0xffff);
  return quote + quoteLength;
}

/**
 * Turns the packet into an ICMP port unreachable (RFC 792) from the address it was for, quoting its IP and TCP
 * headers, to be sent back by the device it came from. The reason, or REASON_CANNOT_ANSWER.
 */
export function answerUnreachable(
  log: Log,
  packet: Packet,
  outside: Outside,
  outcome: Outcome,
  reason: number,
): number {
  const headerLength = packet.transport - packet.network;
  const quoteLength = headerLength + TCP_LENGTH;
  const { bytes } = outcome;
  if (outside.gsoSize !== 0) {
    mark(log, MARK_REFUSE_IMPOSSIBLE);
    return REASON_CANNOT_ANSWER;
  }
  if (packet.length + ETHERNET_LENGTH !== outcome.length || packet.length !== quoteLength) {
    mark(log, MARK_REFUSE_TRIM);
    if (outside.tailResult === 0) outcome.length = ETHERNET_LENGTH + quoteLength;
  }
  if (outside.tailResult !== 0 || outside.roomResult !== 0) {
    mark(log, MARK_REFUSE_IMPOSSIBLE);
    return REASON_CANNOT_ANSWER;
  }
  const answer = packet.family === 6 ? answerIpv6 : answerIpv4;
  outcome.length = answer(bytes, packet, quoteLength, outside.checksumMode);
  mark(log, MARK_REFUSE_ICMP);
  return reason;
}
