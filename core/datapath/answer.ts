// SPDX-License-Identifier: Apache-2.0
/**
 * What is sent back instead of a packet: ICMP errors and resets; twin of bpf/answer.h. Trimmed first, grown in front
 * afterwards.
 */
import {
  CHECKSUM_MODE_PARTIAL,
  MARK_REFUSE_ICMP,
  MARK_REFUSE_IMPOSSIBLE,
  MARK_REFUSE_RESET,
  MARK_REFUSE_TRIM,
  REASON_CANNOT_ANSWER,
} from '../layout.gen.ts';
import type { Outcome, Outside } from '../twin.ts';
import { checksumFold } from './checksum.ts';
import { mark, type Log } from './log.ts';
import {
  ETHERNET_LENGTH,
  IPV4_LENGTH,
  IPV6_LENGTH,
  KEY_DESTINATION,
  KEY_PORTS,
  KEY_PROTOCOL,
  KEY_SOURCE,
  PACKET_ERROR,
  PACKET_LATER,
  PACKET_WHOLE,
  PROTOCOL_ICMPV6,
  PROTOCOL_TCP,
  PROTOCOL_UDP,
  TCP_ACK,
  TCP_LENGTH,
  TCP_RST,
  UDP_LENGTH,
  type Packet,
} from './packet.ts';
import { turnEthernet } from './verdict.ts';
import { halfAt, putHalf, putWord, swap16, wordAt } from './words.ts';

const ICMP_LENGTH = 28; // IP header and ICMP header before the quote
const ICMP6_LENGTH = 48;
const ANSWER_TTL = 64;

/** The sum of whole words. */
export function sumBytes(bytes: Uint8Array, from: number, length: number): number {
  let sum = 0;
  for (let at = 0; at < length; at += 2) sum += halfAt(bytes, from + at);
  return checksumFold(sum);
}

/** Bytes of the transport header that are quoted. */
export function quotedLength(packet: Packet): number {
  return (packet.key[KEY_PROTOCOL]! & 0xff) === PROTOCOL_UDP ? UDP_LENGTH : TCP_LENGTH;
}

/** The sum of the quote, as it will be once a pending (partial) checksum has been completed by whoever sends it. */
export function quoteSum(bytes: Uint8Array, quote: number, packet: Packet, mode: number): number {
  const header = quote + packet.transport - packet.network;
  const check = header + ((packet.key[KEY_PROTOCOL]! & 0xff) === PROTOCOL_UDP ? 6 : 16);
  let transport = sumBytes(bytes, header, quotedLength(packet));
  if (mode === CHECKSUM_MODE_PARTIAL)
    transport += (~checksumFold(transport) & 0xffff) + (~halfAt(bytes, check) & 0xffff);
  return transport + sumBytes(bytes, quote, packet.transport - packet.network);
}

export function writeIcmp(bytes: Uint8Array, packet: Packet, type: number, quoteLength: number): void {
  const ip = ETHERNET_LENGTH;
  const total = ICMP_LENGTH + quoteLength;
  bytes.fill(0, ip, ip + ICMP_LENGTH);
  bytes[ip] = 0x45;
  bytes[ip + 1] = 0xc0; // internetwork control (RFC 1812 4.3.2.5)
  bytes[ip + 2] = total >>> 8;
  bytes[ip + 3] = total;
  bytes[ip + 6] = 0x40;
  bytes[ip + 8] = ANSWER_TTL;
  bytes[ip + 9] = 1;
  putWord(bytes, ip + 12, packet.key[KEY_DESTINATION + 3]!);
  putWord(bytes, ip + 16, packet.key[KEY_SOURCE + 3]!);
  putHalf(bytes, ip + IPV4_LENGTH, type);
  putHalf(bytes, ip + 10, ~checksumFold(sumBytes(bytes, ip, IPV4_LENGTH)) & 0xffff);
}

export function writeIcmp6(bytes: Uint8Array, packet: Packet, type: number, quoteLength: number): void {
  const ip = ETHERNET_LENGTH;
  const payload = ICMP6_LENGTH - IPV6_LENGTH + quoteLength;
  bytes.fill(0, ip, ip + ICMP6_LENGTH);
  bytes[ip] = 0x6c; // internetwork control
  bytes[ip + 4] = payload >>> 8;
  bytes[ip + 5] = payload;
  bytes[ip + 6] = PROTOCOL_ICMPV6;
  bytes[ip + 7] = ANSWER_TTL;
  for (let word = 0; word < 4; word++) {
    putWord(bytes, ip + 8 + word * 4, packet.key[KEY_DESTINATION + word]!);
    putWord(bytes, ip + 24 + word * 4, packet.key[KEY_SOURCE + word]!);
  }
  putHalf(bytes, ip + IPV6_LENGTH, type);
}

/** The ICMP message (RFC 792) in front of the quote. */
export function answerIpv4(bytes: Uint8Array, packet: Packet, type: number, quoteLength: number, mode: number): number {
  const quote = ETHERNET_LENGTH + ICMP_LENGTH;
  bytes.copyWithin(quote, ETHERNET_LENGTH, ETHERNET_LENGTH + quoteLength);
  turnEthernet(bytes);
  writeIcmp(bytes, packet, type, quoteLength);
  const sum = quoteSum(bytes, quote, packet, mode);
  putHalf(bytes, ETHERNET_LENGTH + IPV4_LENGTH + 2, ~checksumFold(type + sum) & 0xffff);
  return quote + quoteLength;
}

/** The same by RFC 4443, whose checksum covers a pseudo-header. */
export function answerIpv6(bytes: Uint8Array, packet: Packet, type: number, quoteLength: number, mode: number): number {
  const quote = ETHERNET_LENGTH + ICMP6_LENGTH;
  bytes.copyWithin(quote, ETHERNET_LENGTH, ETHERNET_LENGTH + quoteLength);
  turnEthernet(bytes);
  writeIcmp6(bytes, packet, type, quoteLength);
  const addresses = sumBytes(bytes, ETHERNET_LENGTH + 8, 32);
  const sum = quoteSum(bytes, quote, packet, mode);
  const pseudo = addresses + halfAt(bytes, ETHERNET_LENGTH + 4) + swap16(PROTOCOL_ICMPV6);
  putHalf(bytes, ETHERNET_LENGTH + IPV6_LENGTH + 2, ~checksumFold(type + pseudo + sum) & 0xffff);
  return quote + quoteLength;
}

export function cannotAnswer(log: Log): number {
  mark(log, MARK_REFUSE_IMPOSSIBLE);
  return REASON_CANNOT_ANSWER;
}

/** Cuts the packet to its headers; false: the kernel would not. */
export function trim(log: Log, packet: Packet, outside: Outside, outcome: Outcome, length: number): boolean {
  if (packet.length + ETHERNET_LENGTH === outcome.length && packet.length === length) return true;
  mark(log, MARK_REFUSE_TRIM);
  if (outside.tailResult !== 0) return false;
  outcome.length = ETHERNET_LENGTH + length;
  return true;
}

/**
 * Turns the packet into an ICMP error from the address it was for, quoting its IP and transport headers, to be sent
 * back by the device it came from. `type`: type and code as they lie in memory. The reason, or REASON_CANNOT_ANSWER.
 */
export function answerIcmp(
  log: Log,
  packet: Packet,
  outside: Outside,
  outcome: Outcome,
  type: number,
  reason: number,
): number {
  const quoteLength = packet.transport - packet.network + quotedLength(packet);
  if (outside.gsoSize !== 0 || packet.kind === PACKET_LATER || packet.kind === PACKET_ERROR) return cannotAnswer(log);
  if (!trim(log, packet, outside, outcome, quoteLength)) return cannotAnswer(log);
  if (outside.roomResult !== 0) return cannotAnswer(log);
  const answer = packet.family === 6 ? answerIpv6 : answerIpv4;
  outcome.length = answer(outcome.bytes, packet, type, quoteLength, outside.checksumMode);
  mark(log, MARK_REFUSE_ICMP);
  return reason;
}

/** The segment with its headers turned around, an empty reset (RFC 9293 3.5.2, group 3). */
export function writeReset(bytes: Uint8Array, packet: Packet): void {
  const ip = ETHERNET_LENGTH;
  const tcp = packet.transport;
  const sequence = wordAt(bytes, tcp + 8);
  if (packet.family === 6) {
    putHalf(bytes, ip + 4, swap16(TCP_LENGTH));
    bytes[ip + 7] = ANSWER_TTL;
    for (let word = 0; word < 4; word++) {
      putWord(bytes, ip + 8 + word * 4, packet.key[KEY_DESTINATION + word]!);
      putWord(bytes, ip + 24 + word * 4, packet.key[KEY_SOURCE + word]!);
    }
  } else {
    putHalf(bytes, ip + 2, swap16(IPV4_LENGTH + TCP_LENGTH));
    bytes[ip + 8] = ANSWER_TTL;
    putWord(bytes, ip + 12, packet.key[KEY_DESTINATION + 3]!);
    putWord(bytes, ip + 16, packet.key[KEY_SOURCE + 3]!);
    putHalf(bytes, ip + 10, 0);
  }
  bytes.fill(0, tcp, tcp + TCP_LENGTH);
  putHalf(bytes, tcp, packet.key[KEY_PORTS]! >>> 16);
  putHalf(bytes, tcp + 2, packet.key[KEY_PORTS]! & 0xffff);
  putWord(bytes, tcp + 4, sequence);
  bytes[tcp + 12] = 5 << 4;
  bytes[tcp + 13] = TCP_RST;
}

/** Answers a segment that acknowledges something with a reset from the address it was for. */
export function answerReset(log: Log, packet: Packet, outside: Outside, outcome: Outcome, reason: number): number {
  const { bytes } = outcome;
  const ip = ETHERNET_LENGTH;
  const tcp = packet.transport;
  const headerLength = packet.family === 6 ? IPV6_LENGTH : IPV4_LENGTH;
  if (
    outside.gsoSize !== 0 ||
    packet.kind !== PACKET_WHOLE ||
    packet.transport - packet.network !== headerLength ||
    (packet.flags & (TCP_RST | TCP_ACK)) !== TCP_ACK
  )
    return cannotAnswer(log);
  if (!trim(log, packet, outside, outcome, headerLength + TCP_LENGTH)) return cannotAnswer(log);
  turnEthernet(bytes);
  writeReset(bytes, packet);
  if (packet.family === 4) putHalf(bytes, ip + 10, ~checksumFold(sumBytes(bytes, ip, IPV4_LENGTH)) & 0xffff);
  const addresses = packet.family === 6 ? sumBytes(bytes, ip + 8, 32) : sumBytes(bytes, ip + 12, 8);
  const pseudo = addresses + swap16(PROTOCOL_TCP) + swap16(TCP_LENGTH);
  const whole = ~checksumFold(pseudo + sumBytes(bytes, tcp, TCP_LENGTH)) & 0xffff;
  putHalf(bytes, tcp + 16, outside.checksumMode === CHECKSUM_MODE_PARTIAL ? checksumFold(pseudo) : whole);
  mark(log, MARK_REFUSE_RESET);
  return reason;
}
