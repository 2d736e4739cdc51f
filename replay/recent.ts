// SPDX-License-Identifier: Apache-2.0
/** Packets of the last seconds, found again by what no translation changes: source ports and addresses may be rewritten. */
import type { Sighted } from './attribute.ts';
import { ICMP, ICMP_V6, type Headers } from './headers.ts';

export type Recent = {
  /** The last packet that is alike. */
  readonly last: (headers: Headers) => Sighted | undefined;
  /** The one before the packet that was given last, alike as well. */
  readonly before: (headers: Headers) => Sighted | undefined;
  /** `untilNs`: its time here is over after this, and not before that of those that were added earlier. */
  readonly add: (packet: Sighted, untilNs: number) => void;
  /** Removes and returns the oldest packet, if its time is over. */
  readonly expire: (timeNs: number) => Sighted | undefined;
};

/** A power of two; doubled when there are more packets. */
const ROOM = 64;

/** No packet has this number. */
const NONE = -1;

/**
 * A ring of packets in the order of their numbers, with chains through those whose hashes begin in one place, youngest
 * first. What has been removed has a lower number than all that is there, and so ends the chain that leads to it. Plain
 * numbers, because whoever follows a chain of hundreds of thousands of objects waits for memory at each.
 */
type Ring = {
  readonly mask: number;
  readonly packets: (Sighted | undefined)[];
  readonly untilNs: Float64Array;
  readonly hashes: Int32Array;
  /** Number of the packet before it in its chain. */
  readonly older: Float64Array;
  /** Number of the youngest packet of each chain. */
  readonly youngest: Float64Array;
};

function newRing(room: number): Ring {
  return {
    mask: room - 1,
    packets: Array.from({ length: room }, () => undefined),
    untilNs: new Float64Array(room),
    hashes: new Int32Array(room),
    older: new Float64Array(room),
    youngest: new Float64Array(room).fill(NONE),
  };
}

function put(ring: Ring, number: number, hash: number, packet: Sighted, untilNs: number): void {
  const { hashes, mask, older, packets, youngest } = ring;
  const at = number & mask;
  packets[at] = packet;
  ring.untilNs[at] = untilNs;
  hashes[at] = hash;
  older[at] = youngest[hash & mask] ?? NONE;
  youngest[hash & mask] = number;
}

export function createRecent(): Recent {
  let ring = newRing(ROOM);
  /** Numbers of the oldest packet, of the next one, and of the one that was given last. */
  let oldest = 0;
  let next = 0;
  let given = NONE;

  function alikeFrom(from: number, headers: Headers): Sighted | undefined {
    const { hashes, mask, older, packets } = ring;
    const hash = hashOf(headers);
    for (let number = from; number >= oldest; number = older[number & mask] ?? NONE) {
      const packet = hashes[number & mask] === hash ? packets[number & mask] : undefined;
      if (packet === undefined || !isAlike(packet.first.headers, headers)) continue;
      given = number;
      return packet;
    }
    return undefined;
  }

  function grow(): void {
    const old = ring;
    ring = newRing(old.packets.length * 2);
    for (let number = oldest; number < next; number += 1) {
      const at = number & old.mask;
      const packet = old.packets[at];
      if (packet !== undefined) put(ring, number, old.hashes[at] ?? 0, packet, old.untilNs[at] ?? 0);
    }
  }

  return {
    last: (headers) => alikeFrom(ring.youngest[hashOf(headers) & ring.mask] ?? NONE, headers),
    before: (headers) => alikeFrom(ring.older[given & ring.mask] ?? NONE, headers),
    add: (packet, untilNs) => {
      if (next - oldest > ring.mask) grow();
      put(ring, next, hashOf(packet.first.headers), packet, untilNs);
      next += 1;
    },
    expire: (timeNs) => {
      const at = oldest & ring.mask;
      if (oldest === next || (ring.untilNs[at] ?? 0) >= timeNs) return undefined;
      const packet = ring.packets[at];
      ring.packets[at] = undefined;
      oldest += 1;
      return packet;
    },
  };
}

function isIcmp({ protocol }: Headers): boolean {
  return protocol === ICMP || protocol === ICMP_V6;
}

/** ICMPv6 has no identification: the packet that it is about tells one error of a Service from another. */
function isAlike(left: Headers, right: Headers): boolean {
  const isSame =
    left.identification === right.identification &&
    left.payloadLength === right.payloadLength &&
    left.protocol === right.protocol &&
    left.family === right.family;
  if (!isSame) return false;
  if (!isIcmp(left)) {
    return (
      left.sequence === right.sequence &&
      left.acknowledgement === right.acknowledgement &&
      left.flags === right.flags &&
      left.digest === right.digest &&
      left.fragmentOffset === right.fragmentOffset
    );
  }
  const [one, other] = [left.error, right.error];
  return one?.type === other?.type && one?.code === other?.code && one?.sequence === other?.sequence;
}

/** 30 bits over part of what `isAlike` compares. */
function hashOf(headers: Headers): number {
  const { acknowledgement, digest, error, flags, fragmentOffset, identification, payloadLength, sequence } = headers;
  const tail = isIcmp(headers) ? (error?.sequence ?? 0) : sequence ^ digest;
  let hash = Math.imul(identification ^ (payloadLength << 16), 0x9e3779b1);
  hash = Math.imul(hash ^ tail, 0x85ebca6b);
  hash ^= hash >>> 15;
  if (!isIcmp(headers)) hash = Math.imul(hash ^ acknowledgement ^ (flags << 24) ^ fragmentOffset, 0xc2b2ae35);
  return (hash ^ (hash >>> 13)) & 0x3fff_ffff;
}
