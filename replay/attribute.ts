// SPDX-License-Identifier: Apache-2.0
/** Which frames show the same packet: its first sighting at a hook is an input, later ones are what was observed. */
import { addressEquals, TCP, UDP, type Address } from '../core/address.ts';
import type { PacketHook } from '../core/twin.ts';
import type { NodeFacts } from '../formats/node.ts';
import type { Headers } from './headers.ts';
import { hookAt, isForNobody, isWithin, type Place } from './places.ts';
import type { Connection } from './connections.ts';
import { createRecent, type Recent } from './recent.ts';

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
  last: Sighting;
  /** It asks for this one, and is waited for. */
  asksFor: Connection | undefined;
  /** Of a datagram: the error that its sender got for it. */
  refusal: Sighting | undefined;
  /** Frames of the node that show it, and how many of them a twin has been asked about. */
  frames: number;
  runs: number;
  /** Fewest hops left where it was seen first, and elsewhere. */
  hops: number;
  passings: Passing | undefined;
};

/** Somewhere else, by device and direction. */
type Passing = { readonly place: Place; hops: number; readonly next: Passing | undefined };

/** The packet that a frame shows, and the hook, if it is the first to meet the packet and does so here. */
export type Attributed = { packet: Sighted; hook: PacketHook | undefined };

export type Attribution = {
  /** Frames in order of time; `expire` is called before each. The answer is used again. */
  readonly take: (sighting: Sighting) => Readonly<Attributed>;
  /** The next packet whose window is over at this time, oldest first; each is given once. */
  readonly expire: (timeNs: number) => Sighted | undefined;
};

export function createAttribution(): Attribution {
  const recent = createRecent();
  let attributed: Attributed | undefined;

  function answer(packet: Sighted, hook: PacketHook | undefined): Attributed {
    attributed ??= { packet, hook };
    attributed.packet = packet;
    attributed.hook = hook;
    return attributed;
  }

  function take(sighting: Sighting): Attributed {
    const same = packetOf(recent, sighting);
    if (same !== undefined) return answer(same, noteSighting(same, sighting));
    const packet: Sighted = {
      first: sighting,
      hook: hookAt(sighting.place),
      frames: sighting.place.isElsewhere ? 0 : 1,
      runs: 0,
      translated: undefined,
      elsewhere: undefined,
      last: sighting,
      asksFor: undefined,
      refusal: undefined,
      hops: sighting.headers.hops,
      passings: undefined,
    };
    recent.add(packet, sighting.timeNs + SIGHTING_WINDOW_NS);
    return answer(packet, packet.hook);
  }

  return { take, expire: recent.expire };
}

function isSamePlace(left: Place, right: Place): boolean {
  return left === right || (left.device === right.device && left.direction === right.direction);
}

/**
 * Nothing but its ends tells one datagram from another that says the same, and what comes from a pod begins there. Of
 * other protocols the numbers tell: only the last can be meant.
 */
function packetOf(recent: Recent, sighting: Sighting): Sighted | undefined {
  const { headers, place } = sighting;
  const last = recent.last(headers);
  if (last === undefined) return undefined;
  if (headers.protocol !== UDP) return isSighting(last, sighting) ? last : undefined;
  if (place.role === 'pod' && place.direction === 'incoming') return undefined;
  for (let packet: Sighted | undefined = last; packet !== undefined; packet = recent.before(headers)) {
    if (isSighting(packet, sighting) && hasSameEnd(packet.first.headers, headers)) return packet;
  }
  return isSighting(last, sighting) ? last : undefined;
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
  const { hops } = sighting.headers;
  if (isSamePlace(packet.first.place, sighting.place)) return hops < packet.hops;
  const passing = passingAt(packet, sighting.place);
  return passing === undefined || hops < passing.hops;
}

function passingAt({ passings }: Sighted, place: Place): Passing | undefined {
  for (let passing = passings; passing !== undefined; passing = passing.next) {
    if (isSamePlace(passing.place, place)) return passing;
  }
  return undefined;
}

/** A pod that is its own backend gets what it sent, with other addresses on both sides; an answer has the same two. */
function isSentBack(first: Sighting, { headers, place }: Sighting): boolean {
  const { destination, protocol, source } = first.headers;
  if (protocol !== TCP && protocol !== UDP) return false;
  const isBack = first.place.direction === 'incoming' && place.direction === 'outgoing';
  const isOwn = addressEquals(source, headers.destination) && !addressEquals(destination, headers.source);
  return isBack && isOwn && place.device === first.place.device;
}

function notePassing(packet: Sighted, { headers: { hops }, place }: Sighting): void {
  if (isSamePlace(packet.first.place, place)) {
    packet.hops = hops;
    return;
  }
  const passing = passingAt(packet, place);
  if (passing === undefined) packet.passings = { place, hops, next: packet.passings };
  else passing.hops = hops;
}

/** Forgets where it was seen again: of most packets nobody asks, and there are many of them in the window. */
export function forgetSightings(packet: Sighted): void {
  packet.translated = undefined;
  packet.elsewhere = undefined;
  packet.last = packet.first;
}

/** Returns the hook, if it is the first to meet the packet. */
function noteSighting(packet: Sighted, sighting: Sighting): PacketHook | undefined {
  if (!sighting.place.isElsewhere) packet.frames += 1;
  packet.last = sighting;
  notePassing(packet, sighting);
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
