// SPDX-License-Identifier: Apache-2.0
/** One loaded map behind its codecs: single entries and batches by system call, mmapable arrays as memory. */
import { hostText } from '../core/address.ts';
import type { MapSpec } from '../core/store.ts';
import { assert, fail, ok, type Result } from '../core/result.ts';
import { libbpf, type Libbpf } from './libbpf.ts';
import { errnoName, mapMemory } from './libc.ts';
import type { LoadedMap } from './object.ts';

/** Entries per batch; beyond it nothing gets faster, and a failure is found late. */
export const BATCH_MAX = 256;

const DUMP_MAX = 4096;
const PAGE_BYTES = 4096;
const ENOENT = 2;
const E2BIG = 7;
const ENOSPC = 28;

/** Raw memory of one mmapable array; the elements of an array lie `strideBytes` apart. */
export type MappedArray = { readonly memory: ArrayBuffer; readonly strideBytes: number };

/** Opens a map of a loaded object. Per-CPU maps need to know how many CPUs there may be. */
export function openMap<K, V>(spec: MapSpec<K, V>, loaded: LoadedMap): Result<KernelMap<K, V>> {
  const library = libbpf();
  if (!library.ok) return library;
  const cpus = spec.kind === 'percpu-array' ? library.value.possibleCpus() : 1;
  if (cpus < 1) return fail('environment', `map ${spec.name}`, `possible CPUs: ${errnoName(-cpus)}`);
  if (!spec.mmapable) return ok(new KernelMap(library.value, spec, loaded, cpus, undefined));
  const strideBytes = roundUp(spec.value.size, 8);
  const memory = mapMemory(loaded.fd, roundUp(strideBytes * loaded.maxEntries, PAGE_BYTES));
  if (!memory.ok)
    return fail('environment', `map ${spec.name}`, `can't be mapped: ${memory.error.message}`, 'run as root');
  return ok(new KernelMap(library.value, spec, loaded, cpus, { memory: memory.value, strideBytes }));
}

function roundUp(value: number, step: number): number {
  return Math.ceil(value / step) * step;
}

/** How many of a batch went in, and the errno that ended it (0: all of them). */
type BatchDone = { readonly done: number; readonly errno: number };

export class KernelMap<K, V> {
  readonly spec: MapSpec<K, V>;
  readonly capacity: number;
  readonly mapped: MappedArray | undefined;
  private readonly bpf: Libbpf;
  private readonly fd: number;
  private readonly cpus: number;
  /** Bytes of one value as the system call sees it: one copy for each CPU in per-CPU maps. */
  private readonly valueBytes: number;
  private readonly keys: Buffer;
  private readonly values: Buffer;
  private readonly keyView: DataView;
  private readonly valueView: DataView;
  private readonly count: Buffer = Buffer.alloc(64);
  private readonly batchOptions: Buffer = Buffer.alloc(64);

  constructor(
    bpf: Libbpf,
    spec: MapSpec<K, V>,
    { fd, maxEntries }: LoadedMap,
    cpus: number,
    mapped: MappedArray | undefined,
  ) {
    this.bpf = bpf;
    this.spec = spec;
    this.capacity = maxEntries;
    this.mapped = mapped;
    this.fd = fd;
    this.cpus = cpus;
    this.valueBytes = spec.kind === 'percpu-array' ? roundUp(spec.value.size, 8) * cpus : spec.value.size;
    // At least 64 bytes each: smaller buffers may be moved by the collector, and C holds their address.
    this.keys = Buffer.alloc(Math.max(spec.key.size * BATCH_MAX, 64));
    this.values = Buffer.alloc(Math.max(this.valueBytes * (mapped === undefined ? BATCH_MAX : 1), 64));
    this.keyView = viewOf(this.keys);
    this.valueView = viewOf(this.values);
    this.batchOptions.writeBigUInt64LE(24n);
  }

  /** Text of a key for messages. */
  keyText(key: K): string {
    const text = this.spec.key.text(key);
    const parts = /^address=(\S+) port=(\d+) protocol=(\S+)$/.exec(text);
    return parts === null ? text : `${hostText(parts[1] ?? '')}:${parts[2]}/${parts[3]}`;
  }

  get(key: K): Result<V | undefined> {
    this.spec.key.encode(this.keyView, 0, key);
    const returned = this.bpf.mapLookup(this.fd, this.keys, this.values);
    if (returned === -ENOENT) return ok(undefined);
    return returned === 0 ? ok(this.decodeValue(this.valueView, 0)) : this.failed('get', key, -returned);
  }

  set(key: K, value: V): Result<void> {
    this.spec.key.encode(this.keyView, 0, key);
    this.encodeValue(0, value);
    const returned = this.bpf.mapUpdate(this.fd, this.keys, this.values, 0);
    return returned === 0 ? ok(undefined) : this.failed('add', key, -returned);
  }

  delete(key: K): Result<void> {
    this.spec.key.encode(this.keyView, 0, key);
    const returned = this.bpf.mapDelete(this.fd, this.keys);
    return returned === 0 || returned === -ENOENT ? ok(undefined) : this.failed('delete', key, -returned);
  }

  /** Sets up to BATCH_MAX entries in their order. Which one failed follows from `done`. */
  setBatch(entries: readonly (readonly [K, V])[]): { readonly done: number; readonly result: Result<void> } {
    assert(entries.length <= BATCH_MAX, 'a batch within its limit');
    for (const [index, [key, value]] of entries.entries()) {
      this.spec.key.encode(this.keyView, index * this.spec.key.size, key);
      this.encodeValue(index, value);
    }
    const { done, errno } = this.updateBatch(entries.length);
    const failing = entries[done];
    if (errno === 0 || failing === undefined) return { done: entries.length, result: ok(undefined) };
    return { done, result: this.failed('add', failing[0], errno) };
  }

  private updateBatch(length: number): BatchDone {
    this.count.writeUInt32LE(length);
    const returned = this.bpf.mapUpdateBatch(this.fd, this.keys, this.values, this.count, this.batchOptions);
    return returned === 0 ? { done: length, errno: 0 } : { done: this.count.readUInt32LE(), errno: -returned };
  }

  /** Every entry of a hash, every row of an array that is not all zero. */
  entries(): Result<readonly (readonly [K, V])[]> {
    return this.mapped === undefined ? this.dump() : ok(this.rows(this.mapped));
  }

  private rows({ memory, strideBytes }: MappedArray): readonly (readonly [K, V])[] {
    const { key, value } = this.spec;
    const words = new Int32Array(memory);
    const view = new DataView(memory);
    const rows: (readonly [K, V])[] = [];
    for (let row = 0; row < this.capacity; row++) {
      const start = (row * strideBytes) / 4;
      if (isZero(words, start, start + strideBytes / 4)) continue;
      this.keyView.setUint32(0, row, true);
      rows.push([key.decode(this.keyView, 0), value.decode(view, row * strideBytes)]);
    }
    return rows;
  }

  /** Reads everything by batches; an entry that moves while it is read may be missed or seen twice. */
  private dump(): Result<readonly (readonly [K, V])[]> {
    const { key } = this.spec;
    const room = Math.min(DUMP_MAX, this.capacity);
    const keys = Buffer.alloc(Math.max(key.size * room, 64));
    const values = Buffer.alloc(Math.max(this.valueBytes * room, 64));
    const position = Buffer.alloc(64);
    const found: (readonly [K, V])[] = [];
    for (let from: Buffer | null = null, returned = 0; returned === 0; from = position) {
      this.count.writeUInt32LE(room);
      returned = this.bpf.mapLookupBatch(this.fd, from, position, keys, values, this.count, this.batchOptions);
      // ENOSPC: one hash chain is longer than the room; at 4,096 entries that is no longer a hash.
      if (returned !== 0 && returned !== -ENOENT) {
        const why = returned === -ENOSPC ? 'a chain longer than a batch' : errnoName(-returned);
        return fail('environment', `map ${this.spec.name}`, `can't be read: ${why}`);
      }
      const length = this.count.readUInt32LE();
      const hasContent = (index: number): boolean =>
        this.spec.kind !== 'percpu-array' ||
        !values.subarray(index * this.valueBytes, (index + 1) * this.valueBytes).every((byte) => byte === 0);
      for (let index = 0; index < length; index++) {
        if (!hasContent(index)) continue;
        found.push([
          key.decode(viewOf(keys), index * key.size),
          this.decodeValue(viewOf(values), index * this.valueBytes),
        ]);
      }
    }
    return ok(found);
  }

  /** The value of a per-CPU map is the sum over all CPUs, 64-bit word by word: they hold counters. */
  private decodeValue(view: DataView, offset: number): V {
    if (this.cpus === 1) return this.spec.value.decode(view, offset);
    const size = this.spec.value.size;
    assert(size % 8 === 0, 'per-CPU values are 64-bit counters');
    const sum = new DataView(new ArrayBuffer(size));
    for (let cpu = 0; cpu < this.cpus; cpu++) {
      for (let at = 0; at < size; at += 8) {
        const part = view.getBigUint64(offset + cpu * size + at, true);
        sum.setBigUint64(at, sum.getBigUint64(at, true) + part, true);
      }
    }
    return this.spec.value.decode(sum, 0);
  }

  /** In a per-CPU map the whole value goes to the first CPU, so that the sum is what was set. */
  private encodeValue(index: number, value: V): void {
    const offset = index * this.valueBytes;
    if (this.cpus > 1) this.values.fill(0, offset, offset + this.valueBytes);
    this.spec.value.encode(this.valueView, offset, value);
  }

  /** A Failure that names the map, the step, the key, and the limit if it was one. */
  private failed(step: string, key: K, errno: number): Result<never> {
    if (errno === E2BIG) return mapFull(this.spec.name, this.capacity, this.keyText(key));
    return fail('environment', `map ${this.spec.name}`, `${step} ${this.keyText(key)}: ${errnoName(errno)}`);
  }
}

/** `map-full: frontends (65536) while adding 10.0.0.7:8080/TCP`. */
export function mapFull(name: string, capacity: number, key: string): Result<never> {
  return fail('limit', 'map-full', `${name} (${capacity}) while adding ${key}`, `load with more entries for ${name}`);
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function isZero(words: Int32Array, from: number, to: number): boolean {
  for (let index = from; index < to; index++) if (words[index] !== 0) return false;
  return true;
}
