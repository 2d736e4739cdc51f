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
  KEY_DESTINATION,
  KEY_PORTS,
  KEY_SOURCE,
  TCP_LENGTH,
  type Packet,
} from './parse.ts';
import { halfAt, putHalf, putWord, wordAt } from './words.ts';

const ICMP_LENGTH = 28; // IP header and ICMP header before the quote

export function count(maps: Maps, reason: number, servicePort: number, length: number): void {
  maps.counters[reason * 2]! += 1;
  maps.counters[reason * 2 + 1]! += length;
  if (servicePort * 2 >= maps.serviceCounters.length) return;
  maps.serviceCounters[servicePort * 2]! += 1;
  maps.serviceCounters[servicePort * 2 + 1]! += length;
}

/** Writes the destination (forward) or the source (reply) of the translation and mends both checksums. */
export function applyTranslation(
  log: Log,
  bytes: Uint8Array,
  packet: Packet,
  translation: Uint32Array,
  verdict: number,
  mode: number,
): void {
  const ip = ETHERNET_LENGTH;
  const tcp = packet.transport;
  const forward = verdict === VERDICT_FORWARD;
  const addressAt = ip + (forward ? 16 : 12);
  const portAt = tcp + (forward ? 2 : 0);
  const newAddress = translation[(forward ? KEY_DESTINATION : KEY_SOURCE) + 3]!;
  const newPort = forward ? translation[KEY_PORTS]! >>> 16 : translation[KEY_PORTS]! & 0xffff;
  const delta = checksumAddressDelta(wordAt(bytes, addressAt), newAddress);
  putHalf(bytes, ip + 10, checksumReplace(halfAt(bytes, ip + 10), delta));
  const portDelta = checksumPortDelta(halfAt(bytes, portAt), newPort);
  putHalf(bytes, tcp + 16, checksumTransport(log, halfAt(bytes, tcp + 16), delta, portDelta, mode));
  putWord(bytes, addressAt, newAddress);
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

export function turnEthernet(bytes: Uint8Array): void {
  for (let at = 0; at < 6; at++) {
    const kept = bytes[at]!;
    bytes[at] = bytes[at + 6]!;
    bytes[at + 6] = kept;
  }
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
  const quote = ETHERNET_LENGTH + ICMP_LENGTH;
  bytes.copyWithin(quote, ETHERNET_LENGTH, ETHERNET_LENGTH + quoteLength);
  outcome.length = quote + quoteLength;
  turnEthernet(bytes);
  writeIcmp(bytes, packet, quoteLength);
  const sum = 0x0303 + quoteSum(bytes, quote, headerLength, outside.checksumMode);
  putHalf(bytes, ETHERNET_LENGTH + IPV4_LENGTH + 2, ~checksumFold(sum) & 0xffff);
  mark(log, MARK_REFUSE_ICMP);
  return reason;
}
