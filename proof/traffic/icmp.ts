// SPDX-License-Identifier: Apache-2.0
/** ICMP and ICMPv6 messages that quote a packet, as hosts and routers send them, with checksums summed from scratch. */
import { addressOf, type HostAddress } from './address.ts';
import { framed, ipv6Header, isIPv6, pseudoHeader, sumOf, type Checksum, type IcmpKind } from './frame.ts';

/** A message about a packet. */
export type IcmpMessage = {
  readonly source: HostAddress;
  readonly destination: HostAddress;
  readonly kind: IcmpKind;
  /** The four bytes behind the checksum: a next hop's MTU, a pointer, or the length of the quote (RFC 4884). */
  readonly word: number;
  /** From the first byte of the IP header that is quoted on; what follows the quote belongs to it. */
  readonly quote: Uint8Array;
  readonly timeToLive: number;
  /** Of the message's own IPv4 header: a multiple of four bytes. */
  readonly ipOptions: Uint8Array;
  readonly checksum: Checksum;
};

/** The words that the quote is made up to and the length that says so: RFC 4884 3, 5. */
export const QUOTE_PADDED = 128;

/** The quote with zeros up to 128 bytes and an extension structure of `length` bytes behind (RFC 4884 7). */
export function paddedQuote(quote: Uint8Array, length: number): Uint8Array {
  const padded = new Uint8Array(QUOTE_PADDED + length);
  padded.set(quote.subarray(0, QUOTE_PADDED));
  padded.set([0x20, 0, 0, 0].slice(0, length), QUOTE_PADDED);
  return padded;
}

function bodyOf({ kind, word, quote }: IcmpMessage): Uint8Array {
  const body = new Uint8Array(8 + quote.length);
  body.set(kind);
  new DataView(body.buffer).setUint32(4, word);
  body.set(quote, 8);
  return body;
}

function ipv6MessageOf(it: IcmpMessage): Uint8Array {
  const body = bodyOf(it);
  const pseudo = sumOf(pseudoHeader(it, 58, body.length));
  new DataView(body.buffer).setUint16(2, it.checksum === 'partial' ? pseudo : 0xffff - sumOf(body, pseudo));
  const packet = new Uint8Array(40 + body.length);
  packet.set(ipv6Header(it, 58, body.length));
  packet.set([it.timeToLive], 7);
  packet.set(body, 40);
  return packet;
}

function ipv4MessageOf(it: IcmpMessage): Uint8Array {
  const body = bodyOf(it);
  new DataView(body.buffer).setUint16(2, 0xffff - sumOf(body));
  const header = 20 + it.ipOptions.length;
  const packet = new Uint8Array(header + body.length);
  const view = new DataView(packet.buffer);
  view.setUint8(0, 0x40 + header / 4);
  view.setUint8(1, 0xc0);
  view.setUint16(2, packet.length);
  view.setUint8(8, it.timeToLive);
  view.setUint8(9, 1);
  view.setUint32(12, addressOf(it.source).d);
  view.setUint32(16, addressOf(it.destination).d);
  packet.set(it.ipOptions, 20);
  view.setUint16(10, 0xffff - sumOf(packet.subarray(0, header)));
  packet.set(body, header);
  return packet;
}

/** The message in its frame. */
export function messageFrame(it: IcmpMessage): Uint8Array {
  return framed(isIPv6(it) ? ipv6MessageOf(it) : ipv4MessageOf(it));
}
