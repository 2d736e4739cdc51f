// SPDX-License-Identifier: Apache-2.0
/**
 * Carries a translation out on the packet's bytes; twin of bpf/verdict.h. With answer.ts the only file that writes
 * packets. Only what differs is written.
 */
import { DIRECTION_FORWARD, MARK_QUOTE_CHECKSUM } from '../layout.gen.ts';
import {
  checksumAddressDelta,
  checksumDatagram,
  checksumPortDelta,
  checksumReplace,
  checksumTransport,
} from './checksum.ts';
import { mark, type Log } from './log.ts';
import type { Maps } from './maps.ts';
import { natTurn, sameAddress } from './nat.ts';
import type { Decision } from './decision.ts';
import {
  ETHERNET_LENGTH,
  KEY_DESTINATION,
  KEY_PORTS,
  KEY_PROTOCOL,
  KEY_SOURCE,
  mapAddress,
  PACKET_LATER,
  PROTOCOL_UDP,
  UDP_LENGTH,
  type Packet,
} from './packet.ts';
import { halfAt, putHalf, putWord, wordAt } from './words.ts';

const ICMP_CHECK = 2; // where an ICMP header's checksum is
const TCP_CHECK = 16;
const UDP_CHECK = 6;
const TCP_CHECK_END = 18; // bytes of TCP that hold its checksum

export function count(maps: Maps, reason: number, servicePort: number, length: number): void {
  maps.counters[reason * 2]! += 1;
  maps.counters[reason * 2 + 1]! += length;
  if (servicePort * 2 >= maps.serviceCounters.length) return;
  maps.serviceCounters[servicePort * 2]! += 1;
  maps.serviceCounters[servicePort * 2 + 1]! += length;
}

/** Writes an address of the IP header at `ip`; gives what changes in a sum over addresses. */
export function writeIpv4Address(bytes: Uint8Array, ip: number, place: number, address: number): number {
  const delta = checksumAddressDelta(wordAt(bytes, place), address);
  putHalf(bytes, ip + 10, checksumReplace(halfAt(bytes, ip + 10), delta));
  putWord(bytes, place, address);
  return delta;
}

export function writeIpv6Address(bytes: Uint8Array, place: number, key: Uint32Array, at: number): number {
  let delta = 0;
  for (let word = 0; word < 4; word++) {
    delta += checksumAddressDelta(wordAt(bytes, place + word * 4), key[at + word]!);
    putWord(bytes, place + word * 4, key[at + word]!);
  }
  return delta;
}

export function writeIpv4(bytes: Uint8Array, ip: number, key: Uint32Array, translation: Uint32Array): number {
  const source = translation[KEY_SOURCE + 3]!;
  const destination = translation[KEY_DESTINATION + 3]!;
  let delta = 0;
  if (key[KEY_SOURCE + 3] !== source) delta += writeIpv4Address(bytes, ip, ip + 12, source);
  if (key[KEY_DESTINATION + 3] !== destination) delta += writeIpv4Address(bytes, ip, ip + 16, destination);
  return delta;
}

export function writeIpv6(bytes: Uint8Array, ip: number, key: Uint32Array, translation: Uint32Array): number {
  let delta = 0;
  if (!sameAddress(key, KEY_SOURCE, translation, KEY_SOURCE))
    delta += writeIpv6Address(bytes, ip + 8, translation, KEY_SOURCE);
  if (!sameAddress(key, KEY_DESTINATION, translation, KEY_DESTINATION))
    delta += writeIpv6Address(bytes, ip + 24, translation, KEY_DESTINATION);
  return delta;
}

/** Writes the addresses of a header that differ between a key and its translation; gives what changes in a sum over addresses. */
export function writeAddresses(
  bytes: Uint8Array,
  ip: number,
  family: number,
  key: Uint32Array,
  translation: Uint32Array,
): number {
  return family === 6 ? writeIpv6(bytes, ip, key, translation) : writeIpv4(bytes, ip, key, translation);
}

/** Writes the ports, which TCP and UDP have in one place. */
export function writePorts(bytes: Uint8Array, at: number, translation: Uint32Array): number {
  const source = translation[KEY_PORTS]! & 0xffff;
  const destination = translation[KEY_PORTS]! >>> 16;
  let delta = 0;
  if (halfAt(bytes, at) !== source) {
    delta += checksumPortDelta(halfAt(bytes, at), source);
    putHalf(bytes, at, source);
  }
  if (halfAt(bytes, at + 2) !== destination) {
    delta += checksumPortDelta(halfAt(bytes, at + 2), destination);
    putHalf(bytes, at + 2, destination);
  }
  return delta;
}

/** Writes the translation and mends the checksums. */
export function applyTranslation(
  log: Log,
  bytes: Uint8Array,
  packet: Packet,
  translation: Uint32Array,
  mode: number,
): void {
  const { transport } = packet;
  const delta = writeAddresses(bytes, ETHERNET_LENGTH, packet.family, packet.key, translation);
  if (packet.kind === PACKET_LATER) return;
  const ports = writePorts(bytes, transport, translation);
  if ((packet.key[KEY_PROTOCOL]! & 0xff) === PROTOCOL_UDP) {
    const check = checksumDatagram(log, halfAt(bytes, transport + UDP_CHECK), delta, ports, mode);
    putHalf(bytes, transport + UDP_CHECK, check);
  } else {
    const check = checksumTransport(log, halfAt(bytes, transport + TCP_CHECK), delta, ports, mode);
    putHalf(bytes, transport + TCP_CHECK, check);
  }
}

/** Mends the quoted transport checksum where enough of the packet is quoted; gives what changes in a sum over the quote. */
export function writeQuotedCheck(log: Log, bytes: Uint8Array, packet: Packet, delta: number): number {
  const datagram = (packet.key[KEY_PROTOCOL]! & 0xff) === PROTOCOL_UDP;
  const quoted = packet.length - (packet.quoteTransport - packet.network);
  const place = packet.quoteTransport + (datagram ? UDP_CHECK : TCP_CHECK);
  if (quoted < (datagram ? UDP_LENGTH : TCP_CHECK_END) || (datagram && halfAt(bytes, place) === 0)) return 0;
  mark(log, MARK_QUOTE_CHECKSUM);
  const old = halfAt(bytes, place);
  const check = checksumReplace(old, delta);
  putHalf(bytes, place, check !== 0 || !datagram ? check : 0xffff);
  return checksumPortDelta(old, halfAt(bytes, place));
}

/** The quoted packet becomes the one that its sender knows; gives what changes in a sum over it. */
export function writeQuote(log: Log, bytes: Uint8Array, packet: Packet, decision: Decision): number {
  const check = packet.quote + 10;
  const old = halfAt(bytes, check);
  natTurn(decision.quoted, packet.key, DIRECTION_FORWARD);
  natTurn(decision.other, decision.record.translation, DIRECTION_FORWARD);
  let delta = writeAddresses(bytes, packet.quote, packet.family, decision.quoted, decision.other);
  delta += writePorts(bytes, packet.quoteTransport, decision.other);
  delta += writeQuotedCheck(log, bytes, packet, delta);
  if (packet.family === 6) return delta;
  return delta + checksumPortDelta(old, halfAt(bytes, check));
}

/** The outer addresses, where they are those of the flow: a router on the way keeps its own (RFC 5508 4.2). */
export function writeOuter(bytes: Uint8Array, packet: Packet, decision: Decision): number {
  const { translation } = decision.record;
  const { quoted: now, other: wanted } = decision;
  const ip = ETHERNET_LENGTH;
  if (packet.family === 6) {
    for (let word = 0; word < 8; word++) now[KEY_SOURCE + word] = wordAt(bytes, ip + 8 + word * 4);
  } else {
    mapAddress(now, KEY_SOURCE, wordAt(bytes, ip + 12));
    mapAddress(now, KEY_DESTINATION, wordAt(bytes, ip + 16));
  }
  wanted.set(now);
  for (const at of [KEY_SOURCE, KEY_DESTINATION])
    if (sameAddress(now, at, packet.key, at))
      for (let word = 0; word < 4; word++) wanted[at + word] = translation[at + word]!;
  return writeAddresses(bytes, ip, packet.family, now, wanted);
}

/** An ICMP error. Its checksum makes up for all that changes. */
export function applyRelated(log: Log, bytes: Uint8Array, packet: Packet, decision: Decision, mode: number): void {
  const place = packet.transport + ICMP_CHECK;
  const inner = writeQuote(log, bytes, packet, decision);
  const outer = writeOuter(bytes, packet, decision);
  putHalf(bytes, place, checksumTransport(log, halfAt(bytes, place), packet.family === 6 ? outer : 0, inner, mode));
}

export function turnEthernet(bytes: Uint8Array): void {
  for (let at = 0; at < 6; at++) {
    const kept = bytes[at]!;
    bytes[at] = bytes[at + 6]!;
    bytes[at + 6] = kept;
  }
}

/** Back to where it came from, past the stack: one hop less. */
export function applyHop(bytes: Uint8Array, packet: Packet): void {
  const ip = ETHERNET_LENGTH;
  const left = packet.timeToLive - 1;
  turnEthernet(bytes);
  if (packet.family === 6) {
    bytes[ip + 7] = left;
    return;
  }
  bytes[ip + 8] = left;
  putHalf(bytes, ip + 10, checksumReplace(halfAt(bytes, ip + 10), checksumPortDelta(packet.timeToLive, left)));
}
