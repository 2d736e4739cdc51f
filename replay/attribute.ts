// SPDX-License-Identifier: Apache-2.0
/** Which frames show the same packet: its first sighting at a hook is an input, later ones are what was observed. */
import { addressEquals, TCP, UDP, type Address } from '../core/address.ts';
import type { PacketHook } from '../core/twin.ts';
import type { NodeFacts } from '../formats/node.ts';
import { ICMP, ICMP_V6, type Headers } from './headers.ts';
import { hookAt, isForNobody, isWithin, type Place } from './places.ts';

/** Later sightings of a packet are looked for this long. */
export const SIGHTING_WINDOW_NS = 2_000_000_000;

/** One frame that shows a packet. */
export type Sighting = {
  readonly file: string;
  /** Wireshark's number, from 1. */
  readonly frame: number;
  readonly timeNs: number;
  readonly place: Place;
  readonly headers: Headers;
};

/** A packet on its way through the node. */
export type Sighted = {
  readonly first: Sighting;
  /** The hook that met it first; undefined: none so far. */
  hook: PacketHook | undefined;
  /** The first later sighting that shows another source or destination than the first. */
  translated: Sighting | undefined;
  /** The first later sighting on another device, translated or not. */
  elsewhere: Sighting | undefined;
  /** Of a datagram: the error that its sender got for it. */
  refusal: Sighting | undefined;
  /** Frames that show it, and how many of them a twin has been asked about. */
  frames: number;
  runs: number;
  /** Fewest hops left, by device and direction. */
  readonly hopsAt: Map<string, number>;
};

/** The packet that a frame shows, and the hook, if it is the first to meet the packet and does so here. */
export type Attributed = { readonly packet: Sighted; readonly hook: PacketHook | undefined };

export type Attribution = {
  /** Frames in order of time; `expire` is called before each. */
  readonly take: (sighting: Sighting) => Attributed;
  /** Packets whose window is over at this time, oldest first; each is given once. */
  readonly expire: (timeNs: number) => readonly Sighted[];
};

const NONE: readonly Sighted[] = [];

export function createAttribution(): Attribution {
  const recent = new Map<string, Sighted[]>();
  const queue: Sighted[] = [];
  /** Those before it have been given. */
  let head = 0;

  function take(sighting: Sighting): Attributed {
    const identity = identityOf(sighting.headers);
    const known = recent.get(identity) ?? [];
    const same = packetOf(known, sighting);
    if (same !== undefined) return { packet: same, hook: noteSighting(same, sighting) };
    const packet: Sighted = {
      first: sighting,
      hook: hookAt(sighting.place),
      frames: 1,
      runs: 0,
      translated: undefined,
      elsewhere: undefined,
      refusal: undefined,
      hopsAt: new Map([[placeText(sighting.place), sighting.headers.hops]]),
    };
    known.push(packet);
    recent.set(identity, known);
    queue.push(packet);
    return { packet, hook: packet.hook };
  }

  function expire(timeNs: number): readonly Sighted[] {
    const from = head;
    while (isOver(queue[head], timeNs)) head += 1;
    if (head === from) return NONE;
    const over = queue.slice(from, head);
    // Taking away from the front costs what is left: now and then, not with every frame.
    if (head > queue.length / 2) {
      queue.splice(0, head);
      head = 0;
    }
    for (const packet of over) {
      const identity = identityOf(packet.first.headers);
      const alike = recent.get(identity);
      // They are as old as they are far in front.
      if (alike?.[0] === packet) alike.shift();
      if (alike?.length === 0) recent.delete(identity);
    }
    return over;
  }

  return { take, expire };
}

function isOver(packet: Sighted | undefined, timeNs: number): boolean {
  return packet !== undefined && packet.first.timeNs + SIGHTING_WINDOW_NS < timeNs;
}

/** What no translation changes: source ports may be rewritten, addresses on one side only. */
function identityOf(headers: Headers): string {
  const { protocol, identification, sequence, acknowledgement, flags, payloadLength, digest, fragmentOffset } = headers;
  const isIcmp = protocol === ICMP || protocol === ICMP_V6;
  const { error } = headers;
  // ICMPv6 has no identification: the packet that it is about tells one error of a Service from another.
  const kind = error === undefined ? '' : `/${error.type}/${error.code}/${error.sequence}`;
  const tail = isIcmp ? kind : `/${sequence}/${acknowledgement}/${flags}/${digest}/${fragmentOffset}`;
  return `${headers.family}/${protocol}/${identification}/${payloadLength}${tail}`;
}

function placeText({ device, direction }: Place): string {
  return `${device} ${direction}`;
}

/**
 * Nothing but its ends tells one datagram from another that says the same, and what comes from a pod begins there. Of
 * other protocols the numbers tell: only the last can be meant.
 */
function packetOf(alike: readonly Sighted[], sighting: Sighting): Sighted | undefined {
  const { headers, place } = sighting;
  const isDatagram = headers.protocol === UDP;
  if (isDatagram && place.role === 'pod' && place.direction === 'incoming') return undefined;
  const last = alike.at(-1);
  const same = isDatagram
    ? alike.findLast((packet) => isSighting(packet, sighting) && hasSameEnd(packet.first.headers, headers))
    : undefined;
  return same ?? (last !== undefined && isSighting(last, sighting) ? last : undefined);
}

/** Whether address and port of one side are equal. */
function hasSameEnd(left: Headers, right: Headers): boolean {
  const isSource = left.sourcePort === right.sourcePort && addressEquals(left.source, right.source);
  return (
    isSource || (left.destinationPort === right.destinationPort && addressEquals(left.destination, right.destination))
  );
}

/**
 * A packet that is sent again looks the same and is met at the same place with as many hops left; one that is sent in
 * circles comes by with fewer.
 */
function isSighting(packet: Sighted, sighting: Sighting): boolean {
  const { source, destination } = sighting.headers;
  const { headers } = packet.first;
  const isAlike = addressEquals(headers.source, source) || addressEquals(headers.destination, destination);
  if (!isAlike && !isSentBack(packet.first, sighting)) return false;
  const hops = packet.hopsAt.get(placeText(sighting.place));
  return hops === undefined || sighting.headers.hops < hops;
}

/** A pod that is its own backend gets what it sent, with other addresses on both sides; an answer has the same two. */
function isSentBack(first: Sighting, { headers, place }: Sighting): boolean {
  const { destination, protocol, source } = first.headers;
  if (protocol !== TCP && protocol !== UDP) return false;
  const isBack = first.place.direction === 'incoming' && place.direction === 'outgoing';
  const isOwn = addressEquals(source, headers.destination) && !addressEquals(destination, headers.source);
  return isBack && isOwn && place.device === first.place.device;
}

/** Returns the hook, if it is the first to meet the packet. */
function noteSighting(packet: Sighted, sighting: Sighting): PacketHook | undefined {
  packet.frames += 1;
  packet.hopsAt.set(placeText(sighting.place), sighting.headers.hops);
  if (sighting.place.device !== packet.first.place.device) packet.elsewhere ??= sighting;
  if (!hasSameEnds(packet.first.headers, sighting.headers)) packet.translated ??= sighting;
  if (packet.hook !== undefined) return undefined;
  packet.hook = hookAt(sighting.place);
  return packet.hook;
}

function hasSameEnds(left: Headers, right: Headers): boolean {
  return (
    left.sourcePort === right.sourcePort &&
    left.destinationPort === right.destinationPort &&
    addressEquals(left.source, right.source) &&
    addressEquals(left.destination, right.destination)
  );
}

/** Why no hook met a packet. `unattributed` is what can't be explained. */
export type NoInput =
  | 'not-ip'
  | 'loopback'
  | 'ignored-device'
  | 'multicast'
  | 'node-itself'
  | 'not-delivered'
  | 'transit'
  | 'unattributed';

/** The reason for a packet that was seen on devices without hooks only. */
export function whyNoInput({ first }: Sighted, facts: NodeFacts): NoInput {
  const { headers, place } = first;
  const { source, destination } = headers;
  if (place.role === 'unknown') return 'unattributed';
  if (place.role === 'loopback') return 'loopback';
  if (place.role === 'ignored') return 'ignored-device';
  const isNode = (address: Address): boolean => facts.addresses.some((own) => addressEquals(own, address));
  if (isForNobody(destination) || isForNobody(source)) return 'multicast';
  if (isNode(source) || isNode(destination)) return 'node-itself';
  if (isWithin(facts.podRanges, destination)) return 'not-delivered';
  const isPod = (address: Address): boolean => isWithin(facts.clusterRanges, address);
  return isPod(source) || isPod(destination) ? 'transit' : 'unattributed';
}
