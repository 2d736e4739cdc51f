// SPDX-License-Identifier: Apache-2.0
/** What the control plane knows the maps to hold, with the free room in them: the explicit state of every allocation. */
import {
  BACKEND_GENERATION_SHIFT,
  maps,
  SOURCE_RANGE_SETS_MAX,
  type BackendRecord,
  type FrontendKeyRecord,
  type ServiceRecord,
  type SourceRangeKeyRecord,
} from '../layout.gen.ts';
import type { Address } from '../address.ts';
import type { MapStore } from '../store.ts';
import type { BackendEntry, HeldBackends } from './backends.ts';
import { emptyClassifier, type Classifier } from './classifier.ts';
import { frontendText, type Hash } from './names.ts';
import type { RangeSet } from './ranges.ts';
import { emptySpace, idPool, type IdPool, type Space } from './space.ts';

/**
 * So many released backend ids wait before the oldest is used again: flows and affinity records may still name them,
 * and a row kept tells when its address passes to another pod.
 */
const BACKEND_QUARANTINE = 4096;
/** Generations have 24 bits; 0 is that of a row never used. */
const GENERATION_MAX = 0xff_ffff;

/** Slots of one or more equal views of one Service port, packed two by two. */
export type Block = {
  /** Index in `slots`, which holds pairs. */
  readonly pair: number;
  /** Of backends: each once, or as often as it stands in a table. */
  readonly ids: readonly number[];
  references: number;
};

/** One key of `frontends`. */
export type FrontendEntry = {
  readonly key: FrontendKeyRecord;
  readonly row: number;
  /** undefined: what the maps hold can't be trusted and must be written again. */
  readonly record: ServiceRecord | undefined;
  /** undefined: the row of a whole address, or one that can't be trusted. */
  readonly port: PortEntry | undefined;
  readonly blocks: readonly Block[];
  readonly ranges: RangeSet | undefined;
};

/** An address of this node. */
export type NodeAddressEntry = { readonly address: Address; readonly flags: number };

/** A Service port that has something in the maps. */
export type PortEntry = {
  readonly id: number;
  readonly hash: Hash;
  /** Full name; empty after a restart until somebody wants a port with this hash. */
  name: string;
  held: HeldBackends;
  /** Keys in `frontends` of the image; a key that passed to another port is removed at the end of the batch. */
  readonly frontends: Set<string>;
  readonly blocks: Set<Block>;
};

/** A backend id out of use; its row still says whose address it was. */
export type Retired = { readonly record: BackendRecord; readonly text: string };

/** One owner: the planner changes it in place, as if its operations had been carried out. If one fails: adopt. */
export type MapImage = {
  /** By name hash in hex. */
  readonly ports: Map<string, PortEntry>;
  /** By `address:port/protocol`; whole addresses have port 0, protocol 0. */
  readonly frontends: Map<string, FrontendEntry>;
  readonly frontendsMax: number;
  /** Keys that something being planned will add. */
  frontendsReserved: number;
  readonly portIds: IdPool;
  readonly rows: IdPool;
  readonly backendIds: IdPool;
  readonly pairs: Space;
  readonly retired: Map<number, Retired>;
  /** Ids in `retired` whose address may yet pass to another pod, by `address:port/protocol`. */
  readonly retiredAt: Map<string, Set<number>>;
  readonly classifier: Classifier;
  /** By text. */
  readonly rangeSets: Map<string, RangeSet>;
  readonly rangeIds: IdPool;
  readonly rangesMax: number;
  /** Entries of sets, those included that will be deleted behind the next barrier. */
  rangesHeld: number;
  rangesCooling: number;
  /** Ranges of sets that no row names: left behind by a crash. */
  orphanRanges: SourceRangeKeyRecord[];
  /** Flags by address. */
  readonly nodeAddresses: Map<string, NodeAddressEntry>;
  readonly nodeAddressesMax: number;
  /** Live backends that no Service port claims: left behind by a crash. */
  orphans: BackendEntry[];
  /** Whether a process before us may have freed what programs still read. */
  needsBarrier: boolean;
};

/** The image of maps that hold nothing. */
export function emptyImage(store: MapStore): MapImage {
  return {
    ports: new Map(),
    frontends: new Map(),
    frontendsMax: store.capacity(maps.frontends),
    frontendsReserved: 0,
    portIds: idPool(store.capacity(maps.services), 0),
    rows: idPool(store.capacity(maps.services), 0),
    backendIds: idPool(store.capacity(maps.backends), BACKEND_QUARANTINE),
    pairs: emptySpace(store.capacity(maps.slots)),
    retired: new Map(),
    retiredAt: new Map(),
    classifier: emptyClassifier(store.capacity(maps.classifier)),
    rangeSets: new Map(),
    rangeIds: idPool(SOURCE_RANGE_SETS_MAX, 0),
    rangesMax: store.capacity(maps.sourceRanges),
    rangesHeld: 0,
    rangesCooling: 0,
    orphanRanges: [],
    nodeAddresses: new Map(),
    nodeAddressesMax: store.capacity(maps.nodeAddresses),
    orphans: [],
    needsBarrier: false,
  };
}

/** The generation in a `live` word. */
export function generationOf(live: number): number {
  return live >>> BACKEND_GENERATION_SHIFT;
}

/** A `live` word of a generation; `bits`: state and views. */
export function liveWord(generation: number, bits: number): number {
  return ((generation << BACKEND_GENERATION_SHIFT) | bits) >>> 0;
}

/** After the last generation comes the first, never 0. */
export function nextGeneration(generation: number): number {
  return generation >= GENERATION_MAX ? 1 : generation + 1;
}

/** Where a backend record's address is looked for when it passes to another pod. */
export function recordText({ address, port, protocol }: Pick<BackendRecord, 'address' | 'port' | 'protocol'>): string {
  return frontendText(address, port, protocol);
}

/** Remembers whose address a backend id had, until the id is used again. */
export function retire(image: MapImage, id: number, record: BackendRecord): void {
  const text = recordText(record);
  image.retired.set(id, { record, text });
  const others = image.retiredAt.get(text);
  if (others === undefined) image.retiredAt.set(text, new Set([id]));
  else others.add(id);
}

/** Forgets a retired id, which is used again; returns its generation. */
export function unretire(image: MapImage, id: number): number {
  const retired = image.retired.get(id);
  if (retired === undefined) return 0;
  image.retired.delete(id);
  const others = image.retiredAt.get(retired.text);
  others?.delete(id);
  if (others?.size === 0) image.retiredAt.delete(retired.text);
  return generationOf(retired.record.live);
}
