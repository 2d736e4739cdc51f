// SPDX-License-Identifier: Apache-2.0
/** Link layers of captures: from the first byte of a frame to its network header. https://www.tcpdump.org/linktypes.html */

/** BSD loopback: the protocol in four bytes, in the byte order of the capturing machine. */
export const LINK_NULL: number = 0;
export const LINK_ETHERNET: number = 1;
/** What DLT_RAW was on some systems whose files did not translate it. */
const LINK_RAW_IP_OLD = 12;
const LINK_RAW_IP_OPENBSD = 14;
export const LINK_RAW_IP: number = 101;
/** As LINK_NULL, in network byte order. */
export const LINK_LOOP: number = 108;
export const LINK_LINUX_COOKED: number = 113;
/** Raw IP of one version. */
export const LINK_IPV4: number = 228;
export const LINK_IPV6: number = 229;
export const LINK_LINUX_COOKED_V2: number = 276;

export const ETHERTYPE_IPV4: number = 0x0800;
export const ETHERTYPE_IPV6: number = 0x86dd;
const ETHERTYPE_VLAN = 0x8100;
const ETHERTYPE_VLAN_SERVICE = 0x88a8;

const PF_INET = 2;
/** Linux; NetBSD, OpenBSD; FreeBSD; Darwin. */
const PF_INET6: ReadonlySet<number> = new Set([10, 24, 28, 30]);

/** Tags in front of the network header that are stepped over; more than two are nobody's network. */
const VLAN_TAGS_MAX = 2;

/** Who a frame was for, as the kernel of the capturing machine saw it (PACKET_HOST and so on in linux/if_packet.h). */
export type PacketType = 'host' | 'broadcast' | 'multicast' | 'other-host' | 'outgoing';

const PACKET_TYPES: readonly PacketType[] = ['host', 'broadcast', 'multicast', 'other-host', 'outgoing'];

/** What stands before the network header; filled by `parseLink` and used again for each frame. */
export type LinkHeader = {
  /** Ethertype of what follows; below 0x600 it is the length or LLC marker of IEEE 802.3. */
  protocol: number;
  /** From the first byte of the frame, in bytes. */
  networkOffset: number;
  /** Index of the device, where the link type tells it (cooked v2). */
  interfaceIndex: number | undefined;
  /** Where the link type tells it (cooked). */
  packetType: PacketType | undefined;
  /** Seen from the capturing machine, where the link type tells it (cooked). */
  direction: 'incoming' | 'outgoing' | undefined;
  vlanTags: number;
};

/** Why a frame has no network header; such a frame is counted, it does not end the reading of a capture. */
export type LinkProblem = 'short-link-header' | 'unknown-link-type' | 'not-a-network-packet';

/** An empty header for `parseLink` to fill. */
export function newLinkHeader(): LinkHeader {
  return {
    protocol: 0,
    networkOffset: 0,
    interfaceIndex: undefined,
    packetType: undefined,
    direction: undefined,
    vlanTags: 0,
  };
}

/** Parsers by link type. */
type LinkParser = (bytes: Uint8Array, start: number, length: number, into: LinkHeader) => LinkProblem | undefined;

/** For people: what `parseLink` knows. */
export const KNOWN_LINK_TYPES: string =
  'Ethernet (1), raw IP (101, 228, 229), loopback (0, 108), Linux cooked v1 (113) and v2 (276)';

export function isKnownLinkType(linkType: number): boolean {
  return parserOf(linkType) !== undefined;
}

function parserOf(linkType: number): LinkParser | undefined {
  switch (linkType) {
    case LINK_LINUX_COOKED_V2:
      return parseCookedV2;
    case LINK_ETHERNET:
      return parseEthernet;
    case LINK_LINUX_COOKED:
      return parseCooked;
    case LINK_RAW_IP:
    case LINK_RAW_IP_OLD:
    case LINK_RAW_IP_OPENBSD:
    case LINK_IPV4:
    case LINK_IPV6:
      return parseRawIp;
    case LINK_NULL:
    case LINK_LOOP:
      return parseLoopback;
    default:
      return undefined;
  }
}

/** Fills `into` from the `length` bytes of `bytes` at `start`; returns undefined when all went well. */
export function parseLink(
  linkType: number,
  bytes: Uint8Array,
  start: number,
  length: number,
  into: LinkHeader,
): LinkProblem | undefined {
  into.interfaceIndex = undefined;
  into.packetType = undefined;
  into.direction = undefined;
  into.vlanTags = 0;
  const parser = parserOf(linkType);
  return parser === undefined ? 'unknown-link-type' : parser(bytes, start, length, into);
}

function parseEthernet(bytes: Uint8Array, start: number, length: number, into: LinkHeader): LinkProblem | undefined {
  return finish(bytes, start, length, into, 12);
}

/** LINKTYPE_LINUX_SLL2: protocol 2, reserved 2, interface 4, hardware type 2, packet type 1, address 1 + 8. */
function parseCookedV2(bytes: Uint8Array, start: number, length: number, into: LinkHeader): LinkProblem | undefined {
  if (length < 20) return 'short-link-header';
  into.interfaceIndex = word16(bytes, start + 4) * 0x10000 + word16(bytes, start + 6);
  setPacketType(into, bytes[start + 10] ?? 0);
  if (!carriesEthertype(word16(bytes, start + 8))) return 'not-a-network-packet';
  into.protocol = word16(bytes, start);
  into.networkOffset = 20;
  return skipVlanTags(bytes, start, length, into);
}

/** LINKTYPE_LINUX_SLL: packet type 2, hardware type 2, address 2 + 8, protocol 2. */
function parseCooked(bytes: Uint8Array, start: number, length: number, into: LinkHeader): LinkProblem | undefined {
  if (length < 16) return 'short-link-header';
  setPacketType(into, word16(bytes, start));
  if (!carriesEthertype(word16(bytes, start + 2))) return 'not-a-network-packet';
  return finish(bytes, start, length, into, 14);
}

/** Nothing in front of the IP header; its version tells the protocol. */
function parseRawIp(bytes: Uint8Array, start: number, length: number, into: LinkHeader): LinkProblem | undefined {
  if (length < 1) return 'short-link-header';
  const version = (bytes[start] ?? 0) >>> 4;
  if (version !== 4 && version !== 6) return 'not-a-network-packet';
  into.protocol = version === 4 ? ETHERTYPE_IPV4 : ETHERTYPE_IPV6;
  into.networkOffset = 0;
  return undefined;
}

/** PF_INET is 2 everywhere, PF_INET6 is what each system made of it. No number is above 255: the order of bytes shows. */
function parseLoopback(bytes: Uint8Array, start: number, length: number, into: LinkHeader): LinkProblem | undefined {
  if (length < 4) return 'short-link-header';
  const first = word16(bytes, start);
  const last = word16(bytes, start + 2);
  const family = first === 0 ? last : last === 0 ? swapped(first) : 0;
  if (family !== PF_INET && !PF_INET6.has(family)) return 'not-a-network-packet';
  into.protocol = family === PF_INET ? ETHERTYPE_IPV4 : ETHERTYPE_IPV6;
  into.networkOffset = 4;
  return undefined;
}

function swapped(word: number): number {
  return ((word & 0xff) << 8) | (word >>> 8);
}

/** The common end of Ethernet and cooked v1: an ethertype, then the network header or VLAN tags. */
function finish(
  bytes: Uint8Array,
  start: number,
  length: number,
  into: LinkHeader,
  ethertypeAt: number,
): LinkProblem | undefined {
  if (length < ethertypeAt + 2) return 'short-link-header';
  into.protocol = word16(bytes, start + ethertypeAt);
  into.networkOffset = ethertypeAt + 2;
  return skipVlanTags(bytes, start, length, into);
}

/** IEEE 802.1Q: two bytes of tag, then the ethertype that stood there without it. */
function skipVlanTags(bytes: Uint8Array, start: number, length: number, into: LinkHeader): LinkProblem | undefined {
  while (into.protocol === ETHERTYPE_VLAN || into.protocol === ETHERTYPE_VLAN_SERVICE) {
    if (into.vlanTags === VLAN_TAGS_MAX) return 'not-a-network-packet';
    if (length < into.networkOffset + 4) return 'short-link-header';
    into.protocol = word16(bytes, start + into.networkOffset + 2);
    into.networkOffset += 4;
    into.vlanTags += 1;
  }
  return undefined;
}

function setPacketType(into: LinkHeader, value: number): void {
  into.packetType = PACKET_TYPES[value];
  if (into.packetType !== undefined) into.direction = into.packetType === 'outgoing' ? 'outgoing' : 'incoming';
}

/** ARPHRD_NETLINK and ARPHRD_IEEE80211_RADIOTAP put other things where the ethertype stands. */
function carriesEthertype(hardwareType: number): boolean {
  return hardwareType !== 824 && hardwareType !== 803;
}

function word16(bytes: Uint8Array, at: number): number {
  return ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
}
