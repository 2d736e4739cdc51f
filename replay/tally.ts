// SPDX-License-Identifier: Apache-2.0
/** What a replay counts and finds, as it goes along. */
import type { PacketHook } from '../core/twin.ts';
import type { Failure } from '../core/result.ts';
import type { Instant } from '../formats/instant.ts';
import type { NoInput } from './attribute.ts';
import type { Connection, NotJudged } from './connections.ts';
import type { ChecksumState } from './frame.ts';
import type { Places } from './places.ts';

/** A packet at a hook; `flow` and `service` are null where it belongs to none. */
export type PacketPlace = {
  readonly file: string;
  /** Wireshark's number, from 1. */
  readonly frame: number;
  readonly timeNs: number;
  readonly hook: PacketHook;
  readonly flow: string | null;
  readonly service: string | null;
};

/** Two answers that should be one: the model's, and the kernel's or the recording's. */
export type Finding = PacketPlace & { readonly field: string; readonly model: string; readonly other: string };

export type Tally = {
  readonly origin: Instant;
  lastNs: number;
  readonly places: Places;
  /** Frames read. Each is an input, another sighting of one, or neither: the three counts below add up to this. */
  packets: number;
  /** Frames that went into the twins; a packet from one pod of the node to another may do so at both. */
  readonly inputs: Map<PacketHook, number>;
  /** Other frames of packets that are inputs. */
  sightings: number;
  /** Frames of packets that no hook met, by reason. */
  readonly noInput: Map<NoInput, number>;
  /** Packets of connections that this build can't judge, by reason. */
  readonly unsupportedPackets: Map<NotJudged, number>;
  readonly checksums: Map<ChecksumState, number>;
  superPackets: number;
  shortened: number;
  /** `withoutFlow`: the model had refused the connection that the recorded proxy let through. */
  readonly replies: { reproduced: number; differing: number; withoutFlow: number };
  firstReply: Finding | undefined;
  comparedWithKernel: number;
  differences: number;
  firstDifference: Finding | undefined;
  /** The flow tables at the end. */
  tableDifference: string | undefined;
  readonly connections: readonly Connection[];
  /** Connections for which the model itself chose what the oracle does not permit. */
  readonly modelNotPermitted: Connection[];
  failures: readonly Failure[];
  /** What the twins' maps could not take, with counts. */
  mapFailures: ReadonlyMap<string, number>;
  /** Frames whose time was before that of the frame before them. */
  backwards: number;
  /** Frames that tell no time. */
  untimed: number;
};

export function newTally(origin: Instant, places: Places, connections: readonly Connection[]): Tally {
  return {
    origin,
    lastNs: 0,
    places,
    packets: 0,
    inputs: new Map(),
    sightings: 0,
    noInput: new Map(),
    unsupportedPackets: new Map(),
    checksums: new Map(),
    superPackets: 0,
    shortened: 0,
    replies: { reproduced: 0, differing: 0, withoutFlow: 0 },
    firstReply: undefined,
    comparedWithKernel: 0,
    differences: 0,
    firstDifference: undefined,
    tableDifference: undefined,
    connections,
    modelNotPermitted: [],
    failures: [],
    mapFailures: new Map(),
    backwards: 0,
    untimed: 0,
  };
}

export function addTo<K>(counts: Map<K, number>, key: K, count = 1): void {
  counts.set(key, (counts.get(key) ?? 0) + count);
}

export function totalOf(counts: ReadonlyMap<unknown, number>): number {
  let total = 0;
  for (const count of counts.values()) total += count;
  return total;
}
