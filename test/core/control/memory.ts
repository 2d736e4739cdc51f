// SPDX-License-Identifier: Apache-2.0
/** A MapStore in memory that can fail at any step and watches over the order of writes. */
import {
  BACKEND_ACTIVE,
  BACKEND_IN_EXTERNAL,
  BACKEND_IN_INTERNAL,
  BACKEND_LIVE_AT,
  BACKEND_STATE,
  BACKEND_TERMINATING,
  frontendKindNames,
  maps,
  SERVICE_DROP_WHEN_EXTERNAL_EMPTY,
  SERVICE_DROP_WHEN_INTERNAL_EMPTY,
  type BackendRecord,
  type FrontendKeyRecord,
  type NodeAddressKeyRecord,
  type ServiceRecord,
  type SourceRangeKeyRecord,
  type ViewRecord,
} from '../../../core/layout.gen.ts';
import { assert, fail, ok, type Result } from '../../../core/result.ts';
import { rowsAsSets, type MapSpec, type MapStore, type Operation } from '../../../core/store.ts';
import { addressText, endpointText, prefixContains, prefixText, type Address } from '../../../core/address.ts';
import { frontendText, hashHex } from '../../../core/control/names.ts';
import { compareRanges, rangeOfKey } from '../../../core/control/ranges.ts';
import { classifierHash } from '../../../core/datapath/classify.ts';

export type Sizes = {
  readonly frontends?: number;
  readonly services?: number;
  readonly slots?: number;
  readonly backends?: number;
  readonly source_ranges?: number;
  readonly node_addresses?: number;
};

type WordOperation = Extract<Operation, { op: 'word' }>;

/** What a frontend answers, in both views: `refuse`, `drop`, or backends; undefined: nobody owns it. */
export type Answer = {
  readonly kind: string | undefined;
  /** Hash of the name of the Service port. */
  readonly owner: string;
  readonly affinitySeconds: number;
  /** As the row has them: who is answered, and whose address backends see. */
  readonly flags: number;
  readonly whenEmpty: 'refuse' | 'drop';
  readonly whenExternalEmpty: 'refuse' | 'drop';
  /** Slot by slot: a Maglev table names each many times. */
  readonly backends: readonly string[];
  readonly external: readonly string[];
  /** Where clients must come from; null: everywhere. */
  readonly ranges: readonly string[] | null;
};

/** `failAt`: steps until one fails, once. `onStep` runs after every step that was carried out. */
export class MemoryStore implements MapStore {
  readonly tables: Map<string, Map<string, readonly [unknown, unknown]>> = new Map();
  readonly sizes: Sizes;
  failAt: number = Number.POSITIVE_INFINITY;
  steps: number = 0;
  onStep: (operation: Operation) => void = () => undefined;
  /** Freed since the last barrier: must not be written. */
  readonly #freedRows = new Set<number>();
  readonly #freedPairs = new Set<number>();
  readonly #freedBackends = new Set<number>();
  #isDamaged = false;

  constructor(sizes: Sizes = {}) {
    this.sizes = sizes;
  }

  capacity<K, V>(map: MapSpec<K, V>): number {
    const sizes: Readonly<Record<string, number | undefined>> = this.sizes;
    return sizes[map.name] ?? map.maxEntries;
  }

  get<K, V>(map: MapSpec<K, V>, key: K): Result<V | undefined> {
    return ok(this.#table(map).get(this.#text(map, key))?.[1] as V | undefined);
  }

  entries<K, V>(map: MapSpec<K, V>): Result<readonly (readonly [K, V])[]> {
    return ok([...this.#table(map).values()] as unknown as readonly (readonly [K, V])[]);
  }

  apply(operation: Operation): Result<void> {
    this.failAt -= 1;
    if (this.failAt < 0) {
      this.failAt = Number.POSITIVE_INFINITY;
      return fail('environment', 'store', 'posed failure');
    }
    this.#carryOut(operation);
    this.#checkUnderWay();
    this.steps += 1;
    this.onStep(operation);
    return ok(undefined);
  }

  /** A change by somebody who keeps to no order. */
  damage(operation: Operation): void {
    this.#isDamaged = true;
    if (operation.op === 'set') this.#set(operation.map, operation.key, operation.value);
    else if (operation.op === 'delete') this.#table(operation.map).delete(this.#text(operation.map, operation.key));
    else if (operation.op === 'word') this.#storeWord(operation);
  }

  batch(operations: readonly Operation[]): { readonly done: number; readonly result: Result<void> } {
    for (const [done, operation] of operations.entries()) {
      const result = this.apply(operation);
      if (!result.ok) return { done, result };
    }
    return { done: operations.length, result: ok(undefined) };
  }

  /** What the datapath would find for this key now; throws where the maps don't fit together. */
  lookup(key: FrontendKeyRecord): Answer | undefined {
    const row = this.#value(maps.frontends, key);
    if (row === undefined) return undefined;
    const service = this.#value(maps.services, row);
    const name = keyText(key);
    assert(service !== undefined && keyText(service.key) === name, `${name}: the row is its own`);
    const { internal, external } = this.#resolve(service);
    const { flags, sourceRanges } = service;
    return {
      kind: frontendKindNames[service.kind],
      owner: hashHex(service.nameHash),
      affinitySeconds: service.affinitySeconds,
      flags,
      whenEmpty: (flags & SERVICE_DROP_WHEN_INTERNAL_EMPTY) === 0 ? 'refuse' : 'drop',
      whenExternalEmpty: (flags & SERVICE_DROP_WHEN_EXTERNAL_EMPTY) === 0 ? 'refuse' : 'drop',
      backends: internal,
      external,
      ranges: sourceRanges === 0 ? null : this.#ranges(sourceRanges).map((key) => prefixText(rangeOfKey(key))),
    };
  }

  /** Whether a client of this address may speak to a frontend, by what the maps hold now. */
  permits(key: FrontendKeyRecord, client: Address): boolean {
    const row = this.#value(maps.frontends, key);
    const set = row === undefined ? 0 : (this.#value(maps.services, row)?.sourceRanges ?? 0);
    return set === 0 || this.#ranges(set).some((range) => prefixContains(rangeOfKey(range), client));
  }

  #ranges(set: number): SourceRangeKeyRecord[] {
    const keys = [...this.#table(maps.sourceRanges).values()].map(([key]) => key as SourceRangeKeyRecord);
    return keys
      .filter((key) => key.set === set)
      .sort((left, right) => compareRanges(rangeOfKey(left), rangeOfKey(right)));
  }

  /** Entries of sets that no row names: there should be none between two steps of the loop. */
  strayRanges(): string[] {
    const named = this.#namedSets();
    return [...this.#table(maps.sourceRanges)].flatMap(([text, [key]]) =>
      named.has((key as SourceRangeKeyRecord).set) ? [] : [text],
    );
  }

  /** Sets that a packet may be led to: by a frontend, or by a row that was freed since the last barrier. */
  #namedSets(): Set<number> {
    const rows = [...this.#table(maps.frontends).values()].map(([, row]) => row as number);
    return new Set([...rows, ...this.#freedRows].map((row) => this.#value(maps.services, row)?.sourceRanges ?? 0));
  }

  /** Flags by address. */
  nodeAddresses(): Map<string, number> {
    const entries = [...this.#table(maps.nodeAddresses).values()];
    return new Map(
      entries.map(([key, flags]) => [addressText((key as NodeAddressKeyRecord).address), flags as number]),
    );
  }

  keys(): FrontendKeyRecord[] {
    return [...this.#table(maps.frontends).values()].map(([key]) => key as FrontendKeyRecord);
  }

  /** Live backends by id. */
  liveBackends(): Map<number, BackendRecord> {
    const live = new Map<number, BackendRecord>();
    for (const [id, record] of this.#table(maps.backends).values()) {
      if (isLive(record as BackendRecord)) live.set(id as number, record as BackendRecord);
    }
    return live;
  }

  /**
   * Live backends that no frontend reaches: there should be none between two steps of the loop. One that only serves on
   * is in no view, but its Service port has a frontend.
   */
  strayBackends(): number[] {
    const reachable = this.#reachableBackends();
    const rows = [...this.#table(maps.frontends).values()].map(([, row]) => this.#value(maps.services, row as number));
    const ports = new Set(rows.map((row) => row?.servicePort));
    const servesOn = ({ live, servicePort }: BackendRecord): boolean =>
      (live & (BACKEND_IN_INTERNAL | BACKEND_IN_EXTERNAL)) === 0 && ports.has(servicePort);
    return [...this.liveBackends()].filter(([id, it]) => !reachable.has(id) && !servesOn(it)).map(([id]) => id);
  }

  #resolve(service: ServiceRecord): { readonly internal: readonly string[]; readonly external: readonly string[] } {
    const [internal, external] = service.views;
    return {
      internal: this.#backends(service, internal, BACKEND_IN_INTERNAL),
      external: this.#backends(service, external, BACKEND_IN_EXTERNAL),
    };
  }

  #backends(service: ServiceRecord, { firstSlot, count, tableSize }: ViewRecord, bit: number): string[] {
    const found: string[] = [];
    const ids = new Set<number>();
    for (let slot = firstSlot; slot < firstSlot + tableSize; slot += 1) {
      const id = this.#value(maps.slots, slot >> 1)?.backends[(slot & 1) as 0 | 1] ?? 0;
      const backend = this.#value(maps.backends, id);
      const name = `${keyText(service.key)} slot ${slot} backend ${id}`;
      assert(id !== 0 && backend !== undefined, `${name}: there is one`);
      assert(backend.servicePort === service.servicePort, `${name}: it is the port's own`);
      assert(isLive(backend) && (backend.live & bit) !== 0, `${name}: it serves the view`);
      found.push(endpointText(backend.address, backend.port));
      ids.add(id);
    }
    assert(ids.size === count, `${keyText(service.key)}: ${ids.size} backends in its slots, it says ${count}`);
    return found;
  }

  #table(map: { readonly name: string }): Map<string, readonly [unknown, unknown]> {
    const known = this.tables.get(map.name);
    if (known !== undefined) return known;
    const table = new Map<string, readonly [unknown, unknown]>();
    this.tables.set(map.name, table);
    return table;
  }

  #text<K, V>(map: MapSpec<K, V>, key: K): string {
    return map.key.text(key);
  }

  #value<K, V>(map: MapSpec<K, V>, key: K): V | undefined {
    return this.#table(map).get(this.#text(map, key))?.[1] as V | undefined;
  }

  #carryOut(operation: Operation): void {
    switch (operation.op) {
      case 'barrier':
        for (const freed of [this.#freedRows, this.#freedPairs, this.#freedBackends]) freed.clear();
        return;
      case 'set':
        this.#checkSet(operation.map.name, operation.key, operation.value);
        return this.#set(operation.map, operation.key, operation.value);
      case 'delete':
        if (operation.map.name === 'source_ranges') this.#checkRange(operation.key as SourceRangeKeyRecord);
        this.#noteFreed(operation.map.name, operation.key);
        this.#table(operation.map).delete(this.#text(operation.map, operation.key));
        return;
      case 'rows':
        for (const row of rowsAsSets(operation)) this.#carryOut(row);
        return;
      case 'word':
        return this.#word(operation);
    }
  }

  #set(map: MapSpec<unknown, unknown>, key: unknown, value: unknown): void {
    // Through the codec: what can't be stored must not be remembered.
    const view = new DataView(new ArrayBuffer(map.value.size));
    map.value.encode(view, 0, value);
    const isFresh = !this.#table(map).has(this.#text(map, key));
    if (map.kind === 'array') assert((key as number) < this.capacity(map), `${map.name}: row ${String(key)} exists`);
    else assert(!isFresh || this.#table(map).size < this.capacity(map), `${map.name}: there is room`);
    this.#table(map).set(this.#text(map, key), [key, map.value.decode(view, 0)]);
  }

  #storeWord({ map, key, offset, word }: WordOperation): number {
    const view = new DataView(new ArrayBuffer(map.value.size));
    const before = this.#table(map).get(this.#text(map, key))?.[1];
    if (before !== undefined) map.value.encode(view, 0, before);
    const old = view.getUint32(offset, true);
    view.setUint32(offset, word, true);
    this.#table(map).set(this.#text(map, key), [key, map.value.decode(view, 0)]);
    return old;
  }

  #word(operation: WordOperation): void {
    const { map, key, offset, word } = operation;
    const before = this.#table(map).get(this.#text(map, key))?.[1];
    if (map.name === 'backends') {
      assert(offset === BACKEND_LIVE_AT, 'only live changes in place');
      assert(before !== undefined, 'the backend was written before');
      if ((word & BACKEND_STATE) === 0 || (word & BACKEND_STATE) === 3) {
        if (isLive(before as BackendRecord)) {
          assert(
            !this.#reachableBackends().has(key as number),
            `backend ${String(key)} ends only when nothing names it`,
          );
          this.#freedBackends.add(key as number);
        }
      } else assert(isLive(before as BackendRecord), 'a word brings no dead backend back');
    } else assert(map.name === 'classifier', `${map.name} has no words that change`);
    const old = this.#storeWord(operation);
    if (map.name === 'classifier') assert((old & word) >>> 0 === old, 'classifier bits are only added');
  }

  #checkSet(name: string, key: unknown, value: unknown): void {
    if (name === 'services') {
      assert(!this.#freedRows.has(key as number), `row ${String(key)} waits for a barrier`);
      const named = [...this.#table(maps.frontends).values()].some(([, row]) => row === key);
      assert(!named, `row ${String(key)} is written only while nothing names it`);
    } else if (name === 'slots') {
      assert(!this.#freedPairs.has(key as number), `pair ${String(key)} waits for a barrier`);
      assert(!this.#reachablePairs().has(key as number), `pair ${String(key)} is written only while nothing names it`);
    } else if (name === 'backends') {
      assert(!this.#freedBackends.has(key as number), `backend ${String(key)} waits for a barrier`);
      const before = this.#value(maps.backends, key as number);
      assert(before === undefined || !isLive(before), `backend ${String(key)} is written only while it is not live`);
      const generation = (record: BackendRecord | undefined): number => (record?.live ?? 0) >>> 8;
      assert(
        generation(value as BackendRecord) !== generation(before),
        `backend ${String(key)} gets another generation`,
      );
    } else if (name === 'source_ranges') this.#checkRange(key as SourceRangeKeyRecord);
    else if (name === 'frontends') {
      this.#checkClassifier(key as FrontendKeyRecord);
      this.#noteFreed(name, key);
    }
  }

  /** Half a set refuses clients that it lets in, or lets in those that it refuses. */
  #checkRange({ set }: SourceRangeKeyRecord): void {
    if (this.#isDamaged) return;
    assert(!this.#namedSets().has(set), `set ${set} of ranges changes only while nothing names it`);
  }

  /** What is published must pass the filter from its first packet on. */
  #checkClassifier({ address: { a, b, c, d }, port, protocol }: FrontendKeyRecord): void {
    const hash = classifierHash(a, b, c, d, port | (protocol << 16));
    const word = this.#value(maps.classifier, hash & (this.capacity(maps.classifier) - 1));
    for (const bit of [(hash >>> 20) & 63, (hash >>> 26) & 63]) {
      const half = word?.bits[bit >> 5] ?? 0;
      assert(((half >>> (bit & 31)) & 1) === 1, `${endpointText({ a, b, c, d } as Address, port)} passes the filter`);
    }
  }

  /** A packet that read a row before it was freed still finds what the row names, until a barrier. */
  #checkUnderWay(): void {
    if (this.#isDamaged) return;
    for (const row of this.#freedRows) {
      const service = this.#value(maps.services, row);
      if (service !== undefined) this.#resolve(service);
    }
  }

  /** What a change of this key frees can't be written before the next barrier. */
  #noteFreed(name: string, key: unknown): void {
    if (name !== 'frontends') return;
    const row = this.#value(maps.frontends, key as FrontendKeyRecord);
    if (row === undefined) return;
    this.#freedRows.add(row);
    for (const pair of this.#pairsOfRow(row)) this.#freedPairs.add(pair);
  }

  #pairsOfRow(row: number): number[] {
    const pairs: number[] = [];
    for (const { firstSlot, tableSize } of this.#value(maps.services, row)?.views ?? []) {
      const isBlock = (firstSlot & 1) === 0;
      assert(isBlock || this.#isDamaged, 'blocks start at even slots');
      // What somebody else wrote names no block, whoever has the slots that it reaches.
      const end = isBlock ? firstSlot + tableSize : firstSlot;
      for (let slot = firstSlot; slot < end; slot += 2) pairs.push(slot >> 1);
    }
    return pairs;
  }

  #reachablePairs(): Set<number> {
    const pairs = new Set<number>();
    for (const [, row] of this.#table(maps.frontends).values())
      for (const pair of this.#pairsOfRow(row as number)) pairs.add(pair);
    return pairs;
  }

  #reachableBackends(): Set<number> {
    const ids = new Set<number>();
    for (const pair of this.#reachablePairs()) {
      for (const id of this.#value(maps.slots, pair)?.backends ?? []) ids.add(id);
    }
    return ids;
  }
}

function isLive({ live }: BackendRecord): boolean {
  return (live & BACKEND_STATE) === BACKEND_ACTIVE || (live & BACKEND_STATE) === BACKEND_TERMINATING;
}

export function keyText(key: FrontendKeyRecord): string {
  return frontendText(key.address, key.port, key.protocol);
}
