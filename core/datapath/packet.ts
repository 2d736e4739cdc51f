// SPDX-License-Identifier: Apache-2.0
/** The shapes of headers, and what parsing finds; twin of bpf/packet.h. */

export const ETHERNET_LENGTH = 14;
export const IPV4_LENGTH = 20;
export const IPV6_LENGTH = 40;
export const TCP_LENGTH = 20;
export const UDP_LENGTH = 8;
export const ICMP_HEADER = 8;
export const HEADERS_MAX = 8; // IPv6 extension headers that are walked
export const OFFSET_MAX = 448; // where a transport header or a quoted one may begin
export const ETHERNET_GROUP = 1; // in the first byte: to more than one
export const FRAGMENT_OFFSET = 0x1fff;
export const FRAGMENT_MORE = 0x2000;
export const EXTENSION_LENGTH = 8; // at least

export const PROTOCOL_ICMP = 1;
export const PROTOCOL_TCP = 6;
export const PROTOCOL_UDP = 17;
export const PROTOCOL_ICMPV6 = 58;
export const TYPE_IPV4 = 0x0800;
export const TYPE_IPV6 = 0x86dd;

export const TCP_FIN = 1;
export const TCP_SYN = 2;
export const TCP_RST = 4;
export const TCP_ACK = 16;

export const NEXT_HOP_BY_HOP = 0;
export const NEXT_ROUTING = 43;
export const NEXT_FRAGMENT = 44;
export const NEXT_AUTHENTICATION = 51;
export const NEXT_DESTINATION = 60;
export const NEXT_MOBILITY = 135;

export const PACKET_WHOLE = 0;
export const PACKET_FIRST = 1; // a first fragment, transport header included
export const PACKET_LATER = 2; // a fragment without one: addresses only
export const PACKET_ERROR = 3; // an ICMP error; the key is that of the packet it answers, turned around

/** Words of a flow key: addresses, ports as one word, protocol | direction << 8. */
export const KEY_SOURCE = 0;
export const KEY_DESTINATION = 4;
export const KEY_PORTS = 8;
export const KEY_PROTOCOL = 9;
export const KEY_WORDS = 10;

/** What parsing finds; reused for every packet. Offsets are into the frame, `length` is the IP packet's, in bytes. */
export type Packet = {
  /** Memory words of `struct flow_key`, as on the wire but for PACKET_ERROR. */
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
  /** PACKET_* */
  kind: number;
  /** Memory word of a fragment's datagram. */
  identification: number;
  /** Where an ICMP error quotes the headers of a packet. */
  quote: number;
  quoteTransport: number;
  timeToLive: number;
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
    kind: PACKET_WHOLE,
    identification: 0,
    quote: 0,
    quoteTransport: 0,
    timeToLive: 0,
  };
}

/** Whether the address at a word of a key is an IPv4 one. */
export function isMapped(key: Uint32Array, at: number): boolean {
  return key[at] === 0 && key[at + 1] === 0 && key[at + 2] === 0xffff0000;
}

/** Writes an IPv4 address, a memory word, as the address at a word of a key. */
export function mapAddress(key: Uint32Array, at: number, ipv4: number): void {
  key[at] = 0;
  key[at + 1] = 0;
  key[at + 2] = 0xffff0000;
  key[at + 3] = ipv4;
}
