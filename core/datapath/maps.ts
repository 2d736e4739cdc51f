// SPDX-License-Identifier: Apache-2.0
/** The maps of one datapath in memory, laid out as the kernel lays them out, and a MapStore over them. */
import type { Address } from '../address.ts';
import { fail, ok, type Result } from '../result.ts';
import {
  AFFINITY_KEY_SIZE,
  AFFINITY_MAX,
  CLASSIFIER_WORDS,
  BACKENDS_MAX,
  FLOW_BUCKETS,
  FLOW_BUCKET_SIZE,
  FLOW_STATES,
  FRONTENDS_MAX,
  NETNS_MAX,
  NETNS_ROW_SIZE,
  NODE_ADDRESSES_MAX,
  NODE_ADDRESS_KEY_SIZE,
  PEERS_MAX,
  PEER_SIZE,
  REASON_MAX,
  SERVICES_MAX,
  SLOT_PAIRS_MAX,
  SOURCE_RANGES_MAX,
  SOURCE_RANGE_KEY_SIZE,
  type ConfigRecord,
} from '../layout.gen.ts';
import { rowsOf, type MapSpec, type MapStore, type Operation } from '../store.ts';
import { swap32 } from './words.ts';
import { createTable, tableDelete, tableFind, tableSet, type WordTable } from './table.ts';

/** Sizes in entries; powers of two for `flowBuckets` and `classifierWords`. */
export type MapSizes = {
  readonly classifierWords: number;
  readonly frontends: number;
  readonly services: number;
  readonly slotPairs: number;
  readonly backends: number;
  readonly sourceRanges: number;
  readonly nodeAddresses: number;
  readonly flowBuckets: number;
  readonly peers: number;
  readonly affinity: number;
  readonly netns: number;
};

export const defaultSizes: MapSizes = {
  classifierWords: CLASSIFIER_WORDS,
  frontends: FRONTENDS_MAX,
  services: SERVICES_MAX,
  slotPairs: SLOT_PAIRS_MAX,
  backends: BACKENDS_MAX,
  sourceRanges: SOURCE_RANGES_MAX,
  nodeAddresses: NODE_ADDRESSES_MAX,
  flowBuckets: FLOW_BUCKETS,
  peers: PEERS_MAX,
  affinity: AFFINITY_MAX,
  netns: NETNS_MAX,
};

/** Memory words throughout: see words.ts. Arrays have the kernel's stride. */
export type Maps = {
  readonly classifier: Uint32Array;
  readonly frontends: WordTable;
  readonly services: Uint32Array;
  readonly slots: Uint32Array;
  readonly backends: Uint32Array;
  readonly sourceRanges: WordTable;
  readonly nodeAddresses: WordTable;
  readonly flows: Uint32Array;
  /** The same memory as `flows`, for the fingerprints. */
  readonly fingerprints: Uint16Array;
  readonly peers: WordTable;
  readonly affinity: WordTable;
  readonly netns: WordTable;
  readonly netnsRows: Uint32Array;
  /** Packets and bytes by reason, and by Service port. */
  readonly counters: Float64Array;
  readonly serviceCounters: Float64Array;
  readonly classifierMask: number;
  readonly bucketMask: number;
  readonly lifetimes: Uint32Array;
  readonly flowSecret: Uint32Array;
  readonly selectionKey: Uint32Array;
  readonly shareClient: number;
  readonly shareService: number;
  readonly portFirst: number;
  readonly portCount: number;
  /** Memory words: the address from which a pod hears itself, of IPv4 and IPv6. */
  readonly hairpinSource: Uint32Array;
  /** Memory words of base and mask, IPv4 and then IPv6. */
  readonly serviceRanges: Uint32Array;
  readonly socketScope: number;
  readonly netnsKnown: boolean;
  /** Of the node's own network namespace, two memory words. */
  readonly netnsCookie: Uint32Array;
};

/**
 * Large blocks begin 16 bytes after a page (glibc's malloc): from here on an entry lies in two cache lines instead of
 * three, which is a tenth of the packet rate with many flows. Elsewhere it is merely an offset.
 */
const LINE = 128;
const LINE_OFFSET = 112;

function addressWords({ a, b, c, d }: Address): number[] {
  return [swap32(a), swap32(b), swap32(c), swap32(d)];
}

function viewOf(array: Uint32Array): DataView {
  return new DataView(array.buffer, array.byteOffset, array.byteLength);
}

/** Empty maps for a configuration; its masks must fit the sizes. */
export function createMaps(config: ConfigRecord, sizes: MapSizes = defaultSizes): Maps {
  const flows = new ArrayBuffer(sizes.flowBuckets * FLOW_BUCKET_SIZE + LINE);
  const flowWords = new Uint32Array(flows, LINE_OFFSET, (sizes.flowBuckets * FLOW_BUCKET_SIZE) / 4);
  return {
    classifier: new Uint32Array(sizes.classifierWords * 2),
    frontends: createTable(5, 1, sizes.frontends),
    services: new Uint32Array(sizes.services * 20),
    slots: new Uint32Array(sizes.slotPairs * 2),
    backends: new Uint32Array(sizes.backends * 10),
    sourceRanges: createTable(SOURCE_RANGE_KEY_SIZE / 4, 1, sizes.sourceRanges),
    nodeAddresses: createTable(NODE_ADDRESS_KEY_SIZE / 4, 1, sizes.nodeAddresses),
    flows: flowWords,
    fingerprints: new Uint16Array(flows, LINE_OFFSET, flowWords.length * 2),
    peers: createTable(2, PEER_SIZE / 4, sizes.peers),
    affinity: createTable(AFFINITY_KEY_SIZE / 4, 2, sizes.affinity),
    netns: createTable(2, 1, sizes.netns),
    netnsRows: new Uint32Array((sizes.netns * NETNS_ROW_SIZE) / 4),
    counters: new Float64Array(REASON_MAX * 2),
    serviceCounters: new Float64Array(sizes.services * 2),
    classifierMask: sizes.classifierWords - 1,
    bucketMask: sizes.flowBuckets - 1,
    lifetimes: Uint32Array.from({ length: FLOW_STATES }, (_, state) => config.flowLifetimes[state] ?? 0),
    flowSecret: Uint32Array.from(config.flowSecret),
    selectionKey: Uint32Array.from(config.selectionKey),
    shareClient: config.shareClient,
    shareService: config.shareService,
    portFirst: config.portFirst,
    portCount: config.portCount,
    hairpinSource: Uint32Array.from(config.hairpinSource.flatMap(addressWords)),
    serviceRanges: Uint32Array.from(
      config.serviceRanges.flatMap(({ base, mask }) => [...addressWords(base), ...addressWords(mask)]),
    ),
    socketScope: config.socketScope,
    netnsKnown: config.netnsKnown !== 0,
    netnsCookie: Uint32Array.from(config.netnsCookie),
  };
}

function wordsOf<T>(codec: MapSpec<T, unknown>['key'], value: T): Uint32Array {
  const words = new Uint32Array(Math.ceil(codec.size / 4));
  codec.encode(new DataView(words.buffer), 0, value);
  return words;
}

function arrayOf(maps: Maps, name: string): Uint32Array | undefined {
  switch (name) {
    case 'classifier':
      return maps.classifier;
    case 'services':
      return maps.services;
    case 'slots':
      return maps.slots;
    case 'backends':
      return maps.backends;
    case 'flows':
      return maps.flows;
    case 'netns_rows':
      return maps.netnsRows;
    default:
      return undefined;
  }
}

function tableOf(maps: Maps, name: string): WordTable | undefined {
  switch (name) {
    case 'frontends':
      return maps.frontends;
    case 'source_ranges':
      return maps.sourceRanges;
    case 'node_addresses':
      return maps.nodeAddresses;
    case 'peers':
      return maps.peers;
    case 'affinity':
      return maps.affinity;
    case 'netns':
      return maps.netns;
    default:
      return undefined;
  }
}

function unknownMap(name: string): Result<never> {
  return fail('usage', `map ${name}`, 'the model does not hold this map');
}

function full(map: MapSpec<unknown, unknown>, capacity: number, key: unknown): Result<never> {
  const text = map.key.text(key);
  return fail('limit', `map-full: ${map.name} (${capacity})`, `while adding ${text}`, `raise the size of ${map.name}`);
}

/** A store over the model's own memory: what it writes, the next packet meets. */
export function storeOf(maps: Maps): MapStore {
  const rows = (map: MapSpec<never, never>, array: Uint32Array): number =>
    Math.floor((array.length * 4) / map.value.size);
  const capacity = <K, V>(map: MapSpec<K, V>): number => {
    const array = arrayOf(maps, map.name);
    if (array !== undefined) return rows(map as never, array);
    if (map.name === 'service_counters') return maps.serviceCounters.length / 2;
    return tableOf(maps, map.name)?.capacity ?? 0;
  };
  const get = <K, V>(map: MapSpec<K, V>, key: K): Result<V | undefined> => {
    const table = tableOf(maps, map.name);
    if (table !== undefined) {
      const place = tableFind(table, wordsOf(map.key, key));
      if (place < 0) return ok(undefined);
      return ok(map.value.decode(new DataView(table.values.buffer), place * table.valueWords * 4));
    }
    const array = arrayOf(maps, map.name);
    if (array === undefined) return unknownMap(map.name);
    const at = Number(key) * map.value.size;
    return at + map.value.size > array.byteLength ? ok(undefined) : ok(map.value.decode(viewOf(array), at));
  };
  const entries = <K, V>(map: MapSpec<K, V>): Result<readonly (readonly [K, V])[]> => {
    const table = tableOf(maps, map.name);
    if (table !== undefined) return ok(tableEntries(map, table));
    const array = arrayOf(maps, map.name);
    return array === undefined ? unknownMap(map.name) : ok(arrayEntries(map, array));
  };
  const apply = (operation: Operation): Result<void> => applyOperation(maps, operation, capacity);
  const batch = (operations: readonly Operation[]): { done: number; result: Result<void> } => {
    for (const [done, operation] of operations.entries()) {
      const result = apply(operation);
      if (!result.ok) return { done, result };
    }
    return { done: operations.length, result: ok(undefined) };
  };
  return { capacity, get, entries, apply, batch };
}

function tableEntries<K, V>(map: MapSpec<K, V>, table: WordTable): (readonly [K, V])[] {
  const keys = new DataView(table.keys.buffer);
  const values = new DataView(table.values.buffer);
  const found: (readonly [K, V])[] = [];
  for (let place = 0; place <= table.mask; place++) {
    if (table.used[place] !== 1) continue;
    const key = map.key.decode(keys, place * table.keyWords * 4);
    found.push([key, map.value.decode(values, place * table.valueWords * 4)]);
  }
  return found;
}

function arrayEntries<K, V>(map: MapSpec<K, V>, array: Uint32Array): (readonly [K, V])[] {
  const view = viewOf(array);
  const words = map.value.size / 4;
  const found: (readonly [K, V])[] = [];
  for (let row = 0; row * words < array.length; row++) {
    let filled = false;
    for (let i = 0; i < words && !filled; i++) filled = array[row * words + i] !== 0;
    if (filled) found.push([row as unknown as K, map.value.decode(view, row * map.value.size)]);
  }
  return found;
}

function applyOperation(
  maps: Maps,
  operation: Operation,
  capacity: (map: MapSpec<unknown, unknown>) => number,
): Result<void> {
  if (operation.op === 'barrier') return ok(undefined);
  const { map, key } = operation;
  const table = tableOf(maps, map.name);
  if (table !== undefined) {
    if (operation.op === 'delete') tableDelete(table, wordsOf(map.key, key));
    else if (operation.op !== 'set') return fail('usage', `map ${map.name}`, 'words are stored in arrays only');
    else if (!tableSet(table, wordsOf(map.key, key), wordsOf(map.value, operation.value)))
      return full(map, table.capacity, key);
    return ok(undefined);
  }
  const array = arrayOf(maps, map.name);
  if (array === undefined) return unknownMap(map.name);
  const last = operation.op === 'rows' ? Number(key) + rowsOf(operation) - 1 : Number(key);
  if (last >= capacity(map)) return full(map, capacity(map), last);
  const at = Number(key) * map.value.size;
  if (operation.op === 'set') map.value.encode(viewOf(array), at, operation.value);
  else if (operation.op === 'rows') array.set(operation.words, at / 4);
  else if (operation.op === 'word') array[(at + operation.offset) / 4] = operation.word;
  else array.fill(0, at / 4, (at + map.value.size) / 4);
  return ok(undefined);
}
