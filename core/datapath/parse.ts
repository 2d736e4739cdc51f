// SPDX-License-Identifier: Apache-2.0
/**
 * Bytes of a frame to a packet; twin of bpf/parse.h. A header that lies about lengths is passed untouched: judging it
 * is the stack's business.
 */
import {
  MARK_EXTENSIONS,
  MARK_FRAGMENT,
  MARK_IPV6,
  MARK_MALFORMED,
  MARK_MARTIAN,
  MARK_NOT_IP,
  MARK_NOT_TCP,
  MARK_OPTIONS,
  REASON_EXTENSIONS,
  REASON_FRAGMENT,
  REASON_MALFORMED,
  REASON_MARTIAN,
  REASON_NOT_IP,
  REASON_NOT_SERVICE,
  REASON_NOT_TCP,
} from '../layout.gen.ts';
import { mark, type Log } from './log.ts';
import { halfAt, swap16, swap32, wordAt } from './words.ts';

export const ETHERNET_LENGTH = 14;
export const IPV4_LENGTH = 20;
export const IPV6_LENGTH = 40;
export const TCP_LENGTH = 20;
const FRAGMENT_BITS = 0x3fff; // more fragments, offset
const PROTOCOL_TCP = 6;
const TYPE_IPV4 = 0x0800;
const TYPE_IPV6 = 0x86dd;

export const TCP_FIN = 1;
export const TCP_SYN = 2;
export const TCP_RST = 4;
export const TCP_ACK = 16;

/** Words of a flow key: addresses, ports as one word, protocol | direction << 8. */
export const KEY_SOURCE = 0;
export const KEY_DESTINATION = 4;
export const KEY_PORTS = 8;
export const KEY_PROTOCOL = 9;
export const KEY_WORDS = 10;

/** What parsing finds; reused for every packet. Offsets are into the frame, `length` is the IP packet's, in bytes. */
export type Packet = {
  /** Memory words of `struct flow_key`, as on the wire. */
  readonly key: Uint32Array;
  acknowledgement: number;
  sequence: number;
  length: number;
  network: number;
  transport: number;
  /** TCP_* */
  flags: number;
  /** 4 or 6. */
  family: number;
};

export function createPacket(): Packet {
  return {
    key: new Uint32Array(KEY_WORDS),
    acknowledgement: 0,
    sequence: 0,
    length: 0,
    network: 0,
    transport: 0,
    flags: 0,
    family: 0,
  };
}

export function parseTcp(log: Log, packet: Packet, frame: Uint8Array, end: number): number {
  const at = packet.transport;
  if (at + TCP_LENGTH > end || frame[at + 12]! >>> 4 < 5) {
    mark(log, MARK_MALFORMED);
    return REASON_MALFORMED;
  }
  if (packet.transport - packet.network + (frame[at + 12]! >>> 4) * 4 > packet.length) {
    mark(log, MARK_MALFORMED);
    return REASON_MALFORMED;
  }
  packet.key[KEY_PORTS] = wordAt(frame, at);
  packet.sequence = swap32(wordAt(frame, at + 4));
  packet.acknowledgement = swap32(wordAt(frame, at + 8));
  packet.flags = frame[at + 13]!;
  return REASON_NOT_SERVICE;
}

export function parseIpv4(log: Log, packet: Packet, frame: Uint8Array, end: number): number {
  const at = ETHERNET_LENGTH;
  if (at + IPV4_LENGTH > end) {
    mark(log, MARK_MALFORMED);
    return REASON_MALFORMED;
  }
  const headerLength = (frame[at]! & 15) * 4;
  packet.length = swap16(halfAt(frame, at + 2));
  if (
    frame[at]! >>> 4 !== 4 ||
    headerLength < IPV4_LENGTH ||
    packet.length < headerLength + TCP_LENGTH ||
    packet.length > end - ETHERNET_LENGTH
  ) {
    mark(log, MARK_MALFORMED);
    return REASON_MALFORMED;
  }
  if (frame[at + 9] !== PROTOCOL_TCP) {
    mark(log, MARK_NOT_TCP);
    return REASON_NOT_TCP;
  }
  if ((swap16(halfAt(frame, at + 6)) & FRAGMENT_BITS) !== 0) {
    mark(log, MARK_FRAGMENT);
    return REASON_FRAGMENT;
  }
  if (headerLength > IPV4_LENGTH) mark(log, MARK_OPTIONS);
  packet.family = 4;
  packet.network = ETHERNET_LENGTH;
  packet.transport = ETHERNET_LENGTH + headerLength;
  packet.key[KEY_SOURCE] = 0;
  packet.key[KEY_SOURCE + 1] = 0;
  packet.key[KEY_DESTINATION] = 0;
  packet.key[KEY_DESTINATION + 1] = 0;
  packet.key[KEY_SOURCE + 2] = 0xffff0000;
  packet.key[KEY_SOURCE + 3] = wordAt(frame, at + 12);
  packet.key[KEY_DESTINATION + 2] = 0xffff0000;
  packet.key[KEY_DESTINATION + 3] = wordAt(frame, at + 16);
  packet.key[KEY_PROTOCOL] = PROTOCOL_TCP;
  return parseTcp(log, packet, frame, end);
}

/** Whether the address at a word of a key is an IPv4 one. */
export function isMapped(key: Uint32Array, at: number): boolean {
  return key[at] === 0 && key[at + 1] === 0 && key[at + 2] === 0xffff0000;
}

/** What may stand before a transport header: hop-by-hop, routing, fragment, AH, destination, mobility. */
export function isExtension(nextHeader: number): boolean {
  return (
    nextHeader === 0 ||
    nextHeader === 43 ||
    nextHeader === 44 ||
    nextHeader === 51 ||
    nextHeader === 60 ||
    nextHeader === 135
  );
}

export function parseIpv6(log: Log, packet: Packet, frame: Uint8Array, end: number): number {
  const at = ETHERNET_LENGTH;
  if (at + IPV6_LENGTH > end) {
    mark(log, MARK_MALFORMED);
    return REASON_MALFORMED;
  }
  packet.length = IPV6_LENGTH + swap16(halfAt(frame, at + 4));
  if (frame[at]! >>> 4 !== 6 || packet.length > end - ETHERNET_LENGTH) {
    mark(log, MARK_MALFORMED);
    return REASON_MALFORMED;
  }
  if (isExtension(frame[at + 6]!)) {
    mark(log, MARK_EXTENSIONS);
    return REASON_EXTENSIONS;
  }
  if (frame[at + 6] !== PROTOCOL_TCP) {
    mark(log, MARK_NOT_TCP);
    return REASON_NOT_TCP;
  }
  if (packet.length < IPV6_LENGTH + TCP_LENGTH) {
    mark(log, MARK_MALFORMED);
    return REASON_MALFORMED;
  }
  for (let word = 0; word < 8; word++) packet.key[KEY_SOURCE + word] = wordAt(frame, at + 8 + word * 4);
  // On a wire these would pass for IPv4 addresses (RFC 4291 2.5.5.2).
  if (isMapped(packet.key, KEY_SOURCE) || isMapped(packet.key, KEY_DESTINATION)) {
    mark(log, MARK_MARTIAN);
    return REASON_MARTIAN;
  }
  mark(log, MARK_IPV6);
  packet.family = 6;
  packet.network = ETHERNET_LENGTH;
  packet.transport = ETHERNET_LENGTH + IPV6_LENGTH;
  packet.key[KEY_PROTOCOL] = PROTOCOL_TCP;
  return parseTcp(log, packet, frame, end);
}

/** REASON_NOT_SERVICE: parsed; anything else: why the packet passes untouched. */
export function parseFrame(log: Log, packet: Packet, frame: Uint8Array, end: number): number {
  const type = ETHERNET_LENGTH > end ? 0 : swap16(halfAt(frame, 12));
  if (type === TYPE_IPV4) return parseIpv4(log, packet, frame, end);
  if (type === TYPE_IPV6) return parseIpv6(log, packet, frame, end);
  mark(log, MARK_NOT_IP);
  return REASON_NOT_IP;
}
