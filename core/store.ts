// SPDX-License-Identifier: Apache-2.0
/** Maps as the control plane sees them: specs with codecs, and a store whose answers are values. */
import { assert, type Result } from './result.ts';

/** How a value lies in memory. Sizes and offsets in bytes. */
export type Codec<T> = {
  readonly size: number;
  readonly encode: (view: DataView, offset: number, value: T) => void;
  readonly decode: (view: DataView, offset: number) => T;
  /** One line, the same for equal values. */
  readonly text: (value: T) => string;
};

/** A map of bpf/layout.h. `maxEntries` is the default size. */
export type MapSpec<K, V> = {
  readonly name: string;
  readonly kind: 'array' | 'hash' | 'lpm-trie' | 'lru-hash' | 'percpu-array' | 'socket-storage';
  readonly mmapable: boolean;
  readonly maxEntries: number;
  readonly key: Codec<K>;
  readonly value: Codec<V>;
};

/**
 * One step of an update. The order of steps is part of their meaning: a packet between any two of them meets a valid
 * old or a valid new state.
 *
 * - `set`: a whole entry. In a mmapable array the row must be unreachable for packets, except for its last word
 *   (`backends.live`), which is stored last and atomically.
 * - `rows`: consecutive rows of a mmapable array from `key` on, as their 32-bit words; packets can reach none of them.
 * - `word`: one aligned 32-bit store at a byte offset of the value (mmapable arrays only): publishes or withdraws.
 * - `delete`: an entry of a hash; absence is not an error.
 * - `barrier`: no program still reads what was reachable before this step.
 */
export type Operation =
  | { readonly op: 'set'; readonly map: MapSpec<unknown, unknown>; readonly key: unknown; readonly value: unknown }
  | {
      readonly op: 'rows';
      readonly map: MapSpec<unknown, unknown>;
      readonly key: unknown;
      readonly words: readonly number[];
    }
  | {
      readonly op: 'word';
      readonly map: MapSpec<unknown, unknown>;
      readonly key: unknown;
      readonly offset: number;
      readonly word: number;
    }
  | { readonly op: 'delete'; readonly map: MapSpec<unknown, unknown>; readonly key: unknown }
  | { readonly op: 'barrier' };

/** A set operation with the types of its map. */
export function setOperation<K, V>(map: MapSpec<K, V>, key: K, value: V): Operation {
  return { op: 'set', map: map as MapSpec<unknown, unknown>, key, value };
}

/** A rows operation with the types of its map; `words`: whole rows. */
export function rowsOperation<V>(map: MapSpec<number, V>, key: number, words: readonly number[]): Operation {
  assert((words.length * 4) % map.value.size === 0, `whole rows of ${map.name}: ${words.length} words`);
  return { op: 'rows', map: map as MapSpec<unknown, unknown>, key, words };
}

type RowsOperation = Extract<Operation, { op: 'rows' }>;

/** How many rows. */
export function rowsOf({ map, words }: RowsOperation): number {
  return (words.length * 4) / map.value.size;
}

/** What it writes, row by row. */
export function rowsAsSets(operation: RowsOperation): Operation[] {
  const { map, key, words } = operation;
  const view = new DataView(Uint32Array.from(words).buffer);
  return Array.from({ length: rowsOf(operation) }, (_, row) =>
    setOperation(map, Number(key) + row, map.value.decode(view, row * map.value.size)),
  );
}

/** A word operation with the types of its map; `offset` in bytes from the start of the value. */
export function wordOperation<K, V>(map: MapSpec<K, V>, key: K, offset: number, word: number): Operation {
  return { op: 'word', map: map as MapSpec<unknown, unknown>, key, offset, word };
}

/** A delete operation with the types of its map. */
export function deleteOperation<K, V>(map: MapSpec<K, V>, key: K): Operation {
  return { op: 'delete', map: map as MapSpec<unknown, unknown>, key };
}

/**
 * What holds the maps: libbpf (kernel/store.ts) or memory (core/datapath/maps.ts, sim/store.ts). Failures name the map,
 * the key, the limit and the errno; what was done before a failure stays done.
 */
export interface MapStore {
  /** Entries the map can hold here, which may differ from the spec's default. */
  capacity<K, V>(map: MapSpec<K, V>): number;
  get<K, V>(map: MapSpec<K, V>, key: K): Result<V | undefined>;
  /** Every entry of a hash; every row of an array that is not all zero. */
  entries<K, V>(map: MapSpec<K, V>): Result<readonly (readonly [K, V])[]>;
  /** Carries out one step. */
  apply(operation: Operation): Result<void>;
  /** Carries out the steps in order until one fails; `done` counts those that were carried out. */
  batch(operations: readonly Operation[]): { readonly done: number; readonly result: Result<void> };
}
