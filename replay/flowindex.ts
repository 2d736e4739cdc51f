// SPDX-License-Identifier: Apache-2.0
/** Connections by their five-tuple, without making a text of it for each packet. */
import { addressEquals, type Address } from '../core/address.ts';
import type { Connection } from './connections.ts';
import type { Tuple } from './headers.ts';

export type FlowIndex = {
  readonly get: (tuple: Tuple) => Connection | undefined;
  /** The connection of which this is the other direction. */
  readonly getTurned: (tuple: Tuple) => Connection | undefined;
  /** In place of the one that had its tuple. */
  readonly set: (connection: Connection) => void;
};

type Entry = { connection: Connection; readonly hash: number; next: Entry | undefined };

/** A power of two; doubled when there are more connections. */
const BUCKETS = 64;

export function createFlowIndex(): FlowIndex {
  let buckets = emptyBuckets(BUCKETS);
  let count = 0;

  function find(protocol: number, source: Address, sourcePort: number, to: Address, port: number): Entry | undefined {
    const hash = hashOf(protocol, source, sourcePort, to, port);
    for (let entry = buckets[hash & (buckets.length - 1)]; entry !== undefined; entry = entry.next) {
      if (entry.hash === hash && isOf(entry.connection.tuple, protocol, source, sourcePort, to, port)) return entry;
    }
    return undefined;
  }

  function put(entry: Entry): void {
    const at = entry.hash & (buckets.length - 1);
    entry.next = buckets[at];
    buckets[at] = entry;
  }

  function grow(): void {
    const old = buckets;
    buckets = emptyBuckets(old.length * 2);
    for (const first of old) {
      for (let entry = first; entry !== undefined;) {
        const { next } = entry;
        put(entry);
        entry = next;
      }
    }
  }

  return {
    get: ({ destination, destinationPort, protocol, source, sourcePort }) =>
      find(protocol, source, sourcePort, destination, destinationPort)?.connection,
    getTurned: ({ destination, destinationPort, protocol, source, sourcePort }) =>
      find(protocol, destination, destinationPort, source, sourcePort)?.connection,
    set: (connection) => {
      const { destination, destinationPort, protocol, source, sourcePort } = connection.tuple;
      const known = find(protocol, source, sourcePort, destination, destinationPort);
      if (known !== undefined) {
        known.connection = connection;
        return;
      }
      count += 1;
      if (count > buckets.length) grow();
      put({ connection, hash: hashOf(protocol, source, sourcePort, destination, destinationPort), next: undefined });
    },
  };
}

function emptyBuckets(length: number): (Entry | undefined)[] {
  return Array.from({ length }, () => undefined);
}

function isOf(
  tuple: Tuple,
  protocol: number,
  source: Address,
  sourcePort: number,
  destination: Address,
  destinationPort: number,
): boolean {
  return (
    tuple.sourcePort === sourcePort &&
    tuple.destinationPort === destinationPort &&
    tuple.protocol === protocol &&
    addressEquals(tuple.source, source) &&
    addressEquals(tuple.destination, destination)
  );
}

/** 30 bits. */
function hashOf(
  protocol: number,
  source: Address,
  sourcePort: number,
  destination: Address,
  destinationPort: number,
): number {
  let hash = Math.imul(source.d ^ Math.imul(source.c ^ source.b, 0x9e3779b1), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 15) ^ destination.d ^ Math.imul(destination.c, 0x9e3779b1), 0xc2b2ae35);
  hash = Math.imul(hash ^ (sourcePort << 16) ^ destinationPort ^ protocol, 0x27d4eb2f);
  return (hash ^ (hash >>> 15)) & 0x3fff_ffff;
}
