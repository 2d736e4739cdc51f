// SPDX-License-Identifier: Apache-2.0
/** Packets of the last seconds, found again by what no translation changes: source ports and addresses may be rewritten. */
import type { Sighted } from './attribute.ts';
import { ICMP, ICMP_V6, type Headers } from './headers.ts';

export type Recent = {
  /** The last packet that is alike. */
  readonly last: (headers: Headers) => Sighted | undefined;
  /** The one before it that is alike. */
  readonly before: (packet: Sighted) => Sighted | undefined;
  readonly add: (packet: Sighted) => void;
  /** The oldest of all. */
  readonly remove: (packet: Sighted) => void;
};

/** Where a packet stands among those of its bucket. */
export type Chained = { hash: number; older: Sighted | undefined; younger: Sighted | undefined };

/** A power of two; doubled when there are more packets. */
const BUCKETS = 64;

/** A table of chains, youngest first: in a Map of texts, hundreds of thousands of packets cost more than all the rest. */
export function createRecent(): Recent {
  let buckets = emptyBuckets(BUCKETS);
  let count = 0;

  function put(packet: Sighted): void {
    const at = packet.hash & (buckets.length - 1);
    const older = buckets[at];
    packet.older = older;
    packet.younger = undefined;
    if (older !== undefined) older.younger = packet;
    buckets[at] = packet;
  }

  function grow(): void {
    const old = buckets;
    buckets = emptyBuckets(old.length * 2);
    for (const youngest of old) {
      // Oldest first, so that each chain keeps its order.
      const chain: Sighted[] = [];
      for (let packet = youngest; packet !== undefined; packet = packet.older) chain.push(packet);
      for (const packet of chain.reverse()) put(packet);
    }
  }

  return {
    last: (headers) => {
      const hash = hashOf(headers);
      return alikeFrom(buckets[hash & (buckets.length - 1)], hash, headers);
    },
    before: ({ first, hash, older }) => alikeFrom(older, hash, first.headers),
    add: (packet) => {
      packet.hash = hashOf(packet.first.headers);
      count += 1;
      if (count > buckets.length) grow();
      put(packet);
    },
    remove: (packet) => {
      count -= 1;
      if (packet.younger !== undefined) packet.younger.older = packet.older;
      else buckets[packet.hash & (buckets.length - 1)] = packet.older;
      if (packet.older !== undefined) packet.older.younger = packet.younger;
      // Whoever still holds the packet must not hold all that came after it.
      packet.older = undefined;
      packet.younger = undefined;
    },
  };
}

function emptyBuckets(length: number): (Sighted | undefined)[] {
  return Array.from({ length }, () => undefined);
}

function alikeFrom(youngest: Sighted | undefined, hash: number, headers: Headers): Sighted | undefined {
  for (let packet = youngest; packet !== undefined; packet = packet.older) {
    if (packet.hash === hash && isAlike(packet.first.headers, headers)) return packet;
  }
  return undefined;
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
