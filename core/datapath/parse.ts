// SPDX-License-Identifier: Apache-2.0
/**
 * Bytes of a frame to a packet; twin of bpf/parse.h. A header that lies about lengths is passed untouched: judging it
 * is the stack's business. A fragment that lacks the transport header is known by its datagram's identification; an
 * ICMP error by the flow it quotes.
 */
import {
  MARK_EXTENSIONS,
  MARK_FRAGMENT,
  MARK_FRAGMENT_FIRST,
  MARK_FRAGMENT_LATER,
  MARK_GROUP,
  MARK_IPV6,
  MARK_MALFORMED,
  MARK_MARTIAN,
  MARK_NOT_IP,
  MARK_OPTIONS,
  MARK_OTHER_PROTOCOL,
  MARK_QUOTE,
  MARK_QUOTE_FIRST,
  MARK_QUOTE_ODD,
  MARK_UDP,
  MARK_WALKED,
  REASON_EXTENSIONS,
  REASON_FRAGMENT,
  REASON_GROUP,
  REASON_MALFORMED,
  REASON_MARTIAN,
  REASON_NOT_IP,
  REASON_NOT_SERVICE,
  REASON_OTHER_PROTOCOL,
} from '../layout.gen.ts';
import { mark, type Log } from './log.ts';
import {
  ETHERNET_GROUP,
  ETHERNET_LENGTH,
  EXTENSION_LENGTH,
  FRAGMENT_MORE,
  FRAGMENT_OFFSET,
  HEADERS_MAX,
  ICMP_HEADER,
  IPV4_LENGTH,
  IPV6_LENGTH,
  KEY_DESTINATION,
  KEY_PORTS,
  KEY_PROTOCOL,
  KEY_SOURCE,
  NEXT_AUTHENTICATION,
  NEXT_DESTINATION,
  NEXT_FRAGMENT,
  NEXT_HOP_BY_HOP,
  NEXT_MOBILITY,
  NEXT_ROUTING,
  OFFSET_MAX,
  PACKET_ERROR,
  PACKET_FIRST,
  PACKET_LATER,
  PACKET_WHOLE,
  PROTOCOL_ICMP,
  PROTOCOL_ICMPV6,
  PROTOCOL_TCP,
  PROTOCOL_UDP,
  type Packet,
  TCP_LENGTH,
  TYPE_IPV4,
  TYPE_IPV6,
  UDP_LENGTH,
  isMapped,
  mapAddress,
} from './packet.ts';
import { halfAt, swap16, swap32, wordAt } from './words.ts';

export function malformed(log: Log): number {
  mark(log, MARK_MALFORMED);
  return REASON_MALFORMED;
}

export function otherProtocol(log: Log): number {
  mark(log, MARK_OTHER_PROTOCOL);
  return REASON_OTHER_PROTOCOL;
}

/** An error that quotes what no flow of ours can have sent. */
export function oddQuote(log: Log): number {
  mark(log, MARK_QUOTE_ODD);
  return REASON_OTHER_PROTOCOL;
}

/** The model's frames have no other part than the linear one. */
export function beyond(log: Log): number {
  return malformed(log);
}

/** A fragment without the transport header. */
export function parseLater(log: Log, packet: Packet): number {
  mark(log, MARK_FRAGMENT_LATER);
  packet.kind = PACKET_LATER;
  return REASON_NOT_SERVICE;
}

export function parseTcp(log: Log, packet: Packet, frame: Uint8Array, end: number): number {
  const at = packet.transport;
  const room = packet.length - (packet.transport - packet.network);
  if (room < TCP_LENGTH) return packet.kind === PACKET_FIRST ? parseLater(log, packet) : malformed(log);
  if (at + TCP_LENGTH > end) return beyond(log);
  if (frame[at + 12]! >>> 4 < 5) return malformed(log);
  if ((frame[at + 12]! >>> 4) * 4 > room)
    return packet.kind === PACKET_FIRST ? parseLater(log, packet) : malformed(log);
  packet.key[KEY_PORTS] = wordAt(frame, at);
  packet.sequence = swap32(wordAt(frame, at + 4));
  packet.acknowledgement = swap32(wordAt(frame, at + 8));
  packet.flags = frame[at + 13]!;
  return REASON_NOT_SERVICE;
}

export function parseUdp(log: Log, packet: Packet, frame: Uint8Array, end: number): number {
  const at = packet.transport;
  const room = packet.length - (packet.transport - packet.network);
  if (room < UDP_LENGTH) return packet.kind === PACKET_FIRST ? parseLater(log, packet) : malformed(log);
  if (at + UDP_LENGTH > end) return beyond(log);
  const length = swap16(halfAt(frame, at + 4));
  if (length < UDP_LENGTH || (packet.kind === PACKET_WHOLE && length > room)) return malformed(log);
  mark(log, MARK_UDP);
  packet.key[KEY_PORTS] = wordAt(frame, at);
  return REASON_NOT_SERVICE;
}

/** The quoted packet's ports, its addresses already turned around in the key. */
export function parseQuotedPorts(log: Log, packet: Packet, frame: Uint8Array, end: number, protocol: number): number {
  const at = packet.quoteTransport;
  if (
    at > OFFSET_MAX ||
    packet.length < at - packet.network + UDP_LENGTH ||
    (protocol !== PROTOCOL_TCP && protocol !== PROTOCOL_UDP)
  )
    return oddQuote(log);
  if (at + UDP_LENGTH > end) return beyond(log);
  mark(log, MARK_QUOTE);
  packet.kind = PACKET_ERROR;
  packet.key[KEY_PROTOCOL] = protocol;
  packet.key[KEY_PORTS] = halfAt(frame, at + 2) | (halfAt(frame, at) << 16);
  return REASON_NOT_SERVICE;
}

/** Destination unreachable, time exceeded, parameter problem (RFC 792); all else is nobody's. */
export function parseIcmp(log: Log, packet: Packet, frame: Uint8Array, end: number): number {
  const at = packet.transport;
  const quote = at + ICMP_HEADER;
  const room = packet.length - (packet.transport - packet.network);
  if (room < ICMP_HEADER + IPV4_LENGTH) return otherProtocol(log);
  if (quote + IPV4_LENGTH > end) return beyond(log);
  if (frame[at] !== 3 && frame[at] !== 11 && frame[at] !== 12) return otherProtocol(log);
  const headerLength = (frame[quote]! & 15) * 4;
  if (
    frame[quote]! >>> 4 !== 4 ||
    headerLength < IPV4_LENGTH ||
    (swap16(halfAt(frame, quote + 6)) & FRAGMENT_OFFSET) !== 0
  )
    return oddQuote(log);
  packet.quote = quote;
  packet.quoteTransport = quote + headerLength;
  mapAddress(packet.key, KEY_SOURCE, wordAt(frame, quote + 16));
  mapAddress(packet.key, KEY_DESTINATION, wordAt(frame, quote + 12));
  return parseQuotedPorts(log, packet, frame, end, frame[quote + 9]!);
}

export function isExtension(nextHeader: number): boolean {
  return (
    nextHeader === NEXT_HOP_BY_HOP ||
    nextHeader === NEXT_ROUTING ||
    nextHeader === NEXT_FRAGMENT ||
    nextHeader === NEXT_AUTHENTICATION ||
    nextHeader === NEXT_DESTINATION ||
    nextHeader === NEXT_MOBILITY
  );
}

/** Whether later fragments of this protocol are: in IPv6 further headers may hide the transport. */
export function isTranslated(protocol: number): boolean {
  return (
    protocol === PROTOCOL_TCP || protocol === PROTOCOL_UDP || (protocol !== NEXT_HOP_BY_HOP && isExtension(protocol))
  );
}

/** Bytes of an extension header of this type (RFC 8200, RFC 4302 2.2). */
export function extensionLength(type: number, length: number): number {
  if (type === NEXT_FRAGMENT) return 8;
  return type === NEXT_AUTHENTICATION ? (length + 2) * 4 : (length + 1) * 8;
}

export function oddExtension(log: Log): number {
  mark(log, MARK_EXTENSIONS);
  return REASON_EXTENSIONS;
}

/**
 * Walks the extension headers (RFC 8200 4): hop-by-hop may only be the first, a routing header with segments left hides
 * the destination, what follows a later fragment's header is payload. In a quote only that of a first
 * fragment is read.
 */
export function walkExtensions(log: Log, packet: Packet, frame: Uint8Array, end: number, first: number): number {
  let nextHeader = first;
  const quoted = packet.quote !== 0;
  let at = (quoted ? packet.quote : ETHERNET_LENGTH) + IPV6_LENGTH;
  for (let n = 0; n < HEADERS_MAX && isExtension(nextHeader); n++) {
    if ((nextHeader === NEXT_HOP_BY_HOP && n > 0) || at > OFFSET_MAX) return oddExtension(log);
    if (at + EXTENSION_LENGTH > end) return beyond(log);
    if (at - packet.network + EXTENSION_LENGTH > packet.length) return malformed(log);
    if (nextHeader === NEXT_ROUTING && frame[at + 3] !== 0) return oddExtension(log);
    if (nextHeader === NEXT_FRAGMENT) {
      const fragment = swap16(halfAt(frame, at + 2));
      if (packet.kind !== PACKET_WHOLE || (quoted && fragment >>> 3 !== 0)) return oddExtension(log);
      packet.identification = wordAt(frame, at + 4);
      if (quoted) mark(log, MARK_QUOTE_FIRST);
      else if (fragment >>> 3 !== 0) packet.kind = PACKET_LATER;
      else if ((fragment & 1) !== 0) packet.kind = PACKET_FIRST;
    }
    const type = nextHeader;
    nextHeader = frame[at]!;
    at += extensionLength(type, frame[at + 1]!);
    if (packet.kind === PACKET_LATER) break;
  }
  if (at > OFFSET_MAX || (packet.kind !== PACKET_LATER && isExtension(nextHeader))) return oddExtension(log);
  if (at - packet.network > packet.length) return malformed(log);
  mark(log, MARK_WALKED);
  if (quoted) packet.quoteTransport = at;
  else packet.transport = at;
  packet.key[KEY_PROTOCOL] = nextHeader;
  return REASON_NOT_SERVICE;
}

/**
 * Unreachable, too big, time exceeded, parameter problem (RFC 4443).
 */
export function parseIcmp6(log: Log, packet: Packet, frame: Uint8Array, end: number): number {
  const at = packet.transport;
  const quote = at + ICMP_HEADER;
  const room = packet.length - (packet.transport - packet.network);
  if (room < ICMP_HEADER + IPV6_LENGTH) return otherProtocol(log);
  if (quote + IPV6_LENGTH > end) return beyond(log);
  if (frame[at]! < 1 || frame[at]! > 4) return otherProtocol(log);
  if (frame[quote]! >>> 4 !== 6) return oddQuote(log);
  packet.quote = quote;
  packet.quoteTransport = quote + IPV6_LENGTH;
  for (let word = 0; word < 4; word++) {
    packet.key[KEY_SOURCE + word] = wordAt(frame, quote + 24 + word * 4);
    packet.key[KEY_DESTINATION + word] = wordAt(frame, quote + 8 + word * 4);
  }
  const nextHeader = frame[quote + 6]!;
  packet.key[KEY_PROTOCOL] = nextHeader;
  if (isExtension(nextHeader)) {
    const reason = walkExtensions(log, packet, frame, end, nextHeader);
    if (reason !== REASON_NOT_SERVICE) return reason;
  }
  return parseQuotedPorts(log, packet, frame, end, packet.key[KEY_PROTOCOL]);
}

/** What follows the IP headers; the kind says whether the packet is a fragment. */
export function parseTransport(log: Log, packet: Packet, frame: Uint8Array, end: number, protocol: number): number {
  const icmp = packet.family === 6 ? PROTOCOL_ICMPV6 : PROTOCOL_ICMP;
  if (packet.kind === PACKET_LATER && isTranslated(protocol)) return parseLater(log, packet);
  if (packet.kind === PACKET_LATER || (packet.kind === PACKET_FIRST && protocol === icmp)) {
    mark(log, MARK_FRAGMENT);
    return REASON_FRAGMENT;
  }
  if (packet.kind === PACKET_FIRST) mark(log, MARK_FRAGMENT_FIRST);
  packet.key[KEY_PROTOCOL] = protocol;
  if (protocol === PROTOCOL_TCP) return parseTcp(log, packet, frame, end);
  if (protocol === PROTOCOL_UDP) return parseUdp(log, packet, frame, end);
  if (protocol === PROTOCOL_ICMP && packet.family === 4) return parseIcmp(log, packet, frame, end);
  if (protocol === PROTOCOL_ICMPV6 && packet.family === 6) return parseIcmp6(log, packet, frame, end);
  return otherProtocol(log);
}

export function parseIpv4(log: Log, packet: Packet, frame: Uint8Array, end: number): number {
  const at = ETHERNET_LENGTH;
  if (at + IPV4_LENGTH > end) return beyond(log);
  const headerLength = (frame[at]! & 15) * 4;
  const fragment = swap16(halfAt(frame, at + 6));
  packet.length = swap16(halfAt(frame, at + 2));
  if (
    frame[at]! >>> 4 !== 4 ||
    headerLength < IPV4_LENGTH ||
    packet.length < headerLength ||
    packet.length > end - ETHERNET_LENGTH
  )
    return malformed(log);
  if (headerLength > IPV4_LENGTH) mark(log, MARK_OPTIONS);
  packet.family = 4;
  packet.network = ETHERNET_LENGTH;
  packet.transport = ETHERNET_LENGTH + headerLength;
  packet.timeToLive = frame[at + 8]!;
  packet.identification = halfAt(frame, at + 4);
  mapAddress(packet.key, KEY_SOURCE, wordAt(frame, at + 12));
  mapAddress(packet.key, KEY_DESTINATION, wordAt(frame, at + 16));
  if ((fragment & FRAGMENT_OFFSET) !== 0) packet.kind = PACKET_LATER;
  else if ((fragment & FRAGMENT_MORE) !== 0) packet.kind = PACKET_FIRST;
  packet.key[KEY_PROTOCOL] = frame[at + 9]!;
  return parseTransport(log, packet, frame, end, frame[at + 9]!);
}

export function parseIpv6(log: Log, packet: Packet, frame: Uint8Array, end: number): number {
  const at = ETHERNET_LENGTH;
  const nextHeader = frame[at + 6]!;
  if (at + IPV6_LENGTH > end) return beyond(log);
  packet.length = IPV6_LENGTH + swap16(halfAt(frame, at + 4));
  if (frame[at]! >>> 4 !== 6 || packet.length > end - ETHERNET_LENGTH) return malformed(log);
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
  packet.timeToLive = frame[at + 7]!;
  packet.key[KEY_PROTOCOL] = nextHeader;
  if (isExtension(nextHeader)) {
    const reason = walkExtensions(log, packet, frame, end, nextHeader);
    if (reason !== REASON_NOT_SERVICE) return reason;
  }
  return parseTransport(log, packet, frame, end, packet.key[KEY_PROTOCOL]);
}

/** REASON_NOT_SERVICE: parsed; anything else: why the packet passes untouched. */
export function parseFrame(log: Log, packet: Packet, frame: Uint8Array, end: number): number {
  const type = ETHERNET_LENGTH > end ? 0 : swap16(halfAt(frame, 12));
  if (end >= ETHERNET_LENGTH && (frame[0]! & ETHERNET_GROUP) !== 0) {
    mark(log, MARK_GROUP);
    return REASON_GROUP;
  }
  packet.kind = PACKET_WHOLE;
  packet.quote = 0;
  packet.flags = 0;
  packet.key[KEY_PORTS] = 0;
  if (type === TYPE_IPV4) return parseIpv4(log, packet, frame, end);
  if (type === TYPE_IPV6) return parseIpv6(log, packet, frame, end);
  mark(log, MARK_NOT_IP);
  return REASON_NOT_IP;
}
