// SPDX-License-Identifier: Apache-2.0
/** MapStore over the maps of a loaded object: what the control plane writes is what the programs read. */
import { BACKEND_LIVE_AT } from '../core/layout.gen.ts';
import { assert, fail, ok, type Result } from '../core/result.ts';
import { rowsOf, type MapSpec, type MapStore, type Operation } from '../core/store.ts';
import { barrier } from './barrier.ts';
import { BATCH_MAX, mapFull, openMap, type KernelMap, type MappedArray } from './map.ts';
import type { LoadedObject } from './object.ts';

/** Offset of the word that makes a row reachable by itself; rows of other arrays are reached through another map. */
const PUBLISHING_WORDS = new Map([['backends', BACKEND_LIVE_AT]]);

type AnyMap = KernelMap<unknown, unknown>;
type AnySpec = MapSpec<unknown, unknown>;
type SetOperation = Extract<Operation, { op: 'set' }>;

/** Where the row of a mapped array begins, in bytes. */
type Row = { readonly mapped: MappedArray; readonly offset: number };

/** MapStore over libbpf and shared memory. Maps are opened on first use and live as long as the object. */
export class KernelStore implements MapStore {
  private readonly object: LoadedObject;
  private readonly opened = new Map<string, AnyMap>();
  private readonly views = new Map<ArrayBuffer, { readonly words: Int32Array; readonly view: DataView }>();
  private readonly scratch: DataView = new DataView(new ArrayBuffer(4096));

  constructor(object: LoadedObject) {
    this.object = object;
  }

  /** A map by its spec; the object has all maps of its layout, or it would not have been loaded. */
  map<K, V>(spec: MapSpec<K, V>): Result<KernelMap<K, V>> {
    const known = this.opened.get(spec.name);
    // One spec a name: the generated file is the only place where specs are made.
    if (known !== undefined) return ok(known as unknown as KernelMap<K, V>);
    const loaded = this.object.map(spec.name);
    if (loaded === undefined) return fail('environment', `map ${spec.name}`, `not created by ${this.object.name}`);
    const map = openMap(spec, loaded);
    if (map.ok) this.opened.set(spec.name, map.value as unknown as AnyMap);
    return map;
  }

  capacity<K, V>(spec: MapSpec<K, V>): number {
    return this.object.map(spec.name)?.maxEntries ?? 0;
  }

  get<K, V>(spec: MapSpec<K, V>, key: K): Result<V | undefined> {
    const map = this.map(spec);
    if (!map.ok) return map;
    const { mapped } = map.value;
    if (mapped === undefined) return map.value.get(key);
    const row = this.rowOf(spec as unknown as AnySpec, key);
    if (row >= map.value.capacity) return ok(undefined);
    return ok(spec.value.decode(this.viewsOf(mapped).view, row * mapped.strideBytes));
  }

  entries<K, V>(spec: MapSpec<K, V>): Result<readonly (readonly [K, V])[]> {
    const map = this.map(spec);
    return map.ok ? map.value.entries() : map;
  }

  apply(operation: Operation): Result<void> {
    switch (operation.op) {
      case 'barrier':
        return barrier();
      case 'set':
        return this.set(operation);
      case 'word':
        return this.storeWord(operation);
      case 'rows':
        return this.storeRows(operation);
      case 'delete': {
        const map = this.map(operation.map);
        return map.ok ? map.value.delete(operation.key) : map;
      }
    }
  }

  batch(operations: readonly Operation[]): { readonly done: number; readonly result: Result<void> } {
    let done = 0;
    while (done < operations.length) {
      const run = sameHash(operations, done);
      const step = run.length > 1 ? this.setBatch(run) : this.single(operations[done]);
      done += step.done;
      if (!step.result.ok) return { done, result: step.result };
    }
    return { done, result: ok(undefined) };
  }

  private single(operation: Operation | undefined): { readonly done: number; readonly result: Result<void> } {
    const result = operation === undefined ? ok(undefined) : this.apply(operation);
    return { done: result.ok ? 1 : 0, result };
  }

  private setBatch(run: readonly SetOperation[]): { readonly done: number; readonly result: Result<void> } {
    const spec = run[0]?.map;
    assert(spec !== undefined, 'a batch has a first step');
    const map = this.map(spec);
    return map.ok ? map.value.setBatch(run.map(({ key, value }) => [key, value])) : { done: 0, result: map };
  }

  private set({ map: spec, key, value }: SetOperation): Result<void> {
    const map = this.map(spec);
    if (!map.ok) return map;
    if (map.value.mapped === undefined) return map.value.set(key, value);
    const row = this.row(spec, map.value, key);
    if (!row.ok) return row;
    this.writeRow(spec, row.value, value);
    return ok(undefined);
  }

  /**
   * Copies a row word by word. It is unreachable while this happens; where a word of its own makes it reachable, that
   * word comes last and atomically, which also orders it behind the others.
   */
  private writeRow(spec: AnySpec, { mapped, offset }: Row, value: unknown): void {
    const { words } = this.viewsOf(mapped);
    assert(spec.value.size <= this.scratch.byteLength && spec.value.size % 4 === 0, 'a row is whole words');
    spec.value.encode(this.scratch, 0, value);
    const publishingAt = PUBLISHING_WORDS.get(spec.name);
    for (let at = 0; at < spec.value.size; at += 4) {
      if (at !== publishingAt) words[(offset + at) / 4] = this.scratch.getInt32(at, true);
    }
    const last = publishingAt ?? spec.value.size - 4;
    Atomics.store(words, (offset + last) / 4, this.scratch.getInt32(last, true));
  }

  private storeRows(operation: Extract<Operation, { op: 'rows' }>): Result<void> {
    const { map: spec, key, words } = operation;
    const map = this.map(spec);
    if (!map.ok) return map;
    const first = this.rowOf(spec, key);
    const last = this.row(spec, map.value, first + rowsOf(operation) - 1);
    if (!last.ok) return last;
    const { mapped } = last.value;
    assert(mapped.strideBytes === spec.value.size, `${spec.name}: rows without gaps`);
    this.viewsOf(mapped).words.set(words, (first * mapped.strideBytes) / 4);
    return ok(undefined);
  }

  private storeWord({ map: spec, key, offset, word }: Extract<Operation, { op: 'word' }>): Result<void> {
    const map = this.map(spec);
    if (!map.ok) return map;
    assert(offset % 4 === 0 && offset >= 0 && offset < spec.value.size, `an aligned word of a row: ${offset}`);
    const row = this.row(spec, map.value, key);
    if (!row.ok) return row;
    Atomics.store(this.viewsOf(row.value.mapped).words, (row.value.offset + offset) / 4, word | 0);
    return ok(undefined);
  }

  /** The place of a row; beyond the end of the array the map is full. */
  private row(spec: AnySpec, map: AnyMap, key: unknown): Result<Row> {
    assert(map.mapped !== undefined, `rows and words are for mapped arrays, not for ${spec.name}`);
    const row = this.rowOf(spec, key);
    if (row >= map.capacity) return mapFull(spec.name, map.capacity, `row ${row}`);
    return ok({ mapped: map.mapped, offset: row * map.mapped.strideBytes });
  }

  private rowOf(spec: AnySpec, key: unknown): number {
    spec.key.encode(this.scratch, 0, key);
    return this.scratch.getUint32(0, true);
  }

  private viewsOf({ memory }: MappedArray): { readonly words: Int32Array; readonly view: DataView } {
    const known = this.views.get(memory);
    if (known !== undefined) return known;
    const views = { words: new Int32Array(memory), view: new DataView(memory) };
    this.views.set(memory, views);
    return views;
  }
}

/** The longest run of sets of one hash that begins at `start`; empty where a batch would not be faster. */
function sameHash(operations: readonly Operation[], start: number): readonly SetOperation[] {
  const run: SetOperation[] = [];
  for (let index = start; index < operations.length && run.length < BATCH_MAX; index++) {
    const operation = operations[index];
    if (operation?.op !== 'set' || operation.map.mmapable) break;
    if (run[0] !== undefined && run[0].map !== operation.map) break;
    run.push(operation);
  }
  return run;
}
