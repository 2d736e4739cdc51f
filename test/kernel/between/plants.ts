// SPDX-License-Identifier: Apache-2.0
/** Stores that break the order of writes, each in one way: what they do to packets must be seen. */
import {
  BACKEND_ACTIVE,
  BACKEND_STATE,
  BACKEND_TERMINATING,
  maps,
  type BackendRecord,
} from '../../../core/layout.gen.ts';
import type { Result } from '../../../core/result.ts';
import { rowsOperation, setOperation, type MapStore, type Operation } from '../../../core/store.ts';
import { withoutBarriers } from '../../../proof/side.ts';

export const plantNames = ['none', 'no-barrier', 'publish-first', 'reuse-at-once'] as const;
export type PlantName = (typeof plantNames)[number];

/** The store with this fault in it; `none` leaves it as it is. */
export function planted(name: PlantName, store: MapStore): MapStore {
  switch (name) {
    case 'none':
      return store;
    case 'no-barrier':
      return withoutBarriers(store);
    case 'publish-first':
      return reordered(store, publishFirst);
    case 'reuse-at-once': {
      const ids = new Ids();
      return reordered(store, (operations) => ids.rename(operations));
    }
  }
}

function reordered(store: MapStore, order: (operations: readonly Operation[]) => readonly Operation[]): MapStore {
  const batch = (operations: readonly Operation[]): { readonly done: number; readonly result: Result<void> } => {
    const { result } = store.batch(order(operations));
    return { done: result.ok ? operations.length : 0, result };
  };
  return {
    capacity: (map) => store.capacity(map),
    get: (map, key) => store.get(map, key),
    entries: (map) => store.entries(map),
    apply: (operation) => store.apply(operation),
    batch,
  };
}

/** Between two barriers: first what makes rows reachable, then the rows. */
function publishFirst(operations: readonly Operation[]): readonly Operation[] {
  const isPublishing = (operation: Operation): boolean => operation.op === 'set' && operation.map.name === 'frontends';
  const parts: Operation[][] = [[]];
  for (const operation of operations) {
    if (operation.op === 'barrier') parts.push([operation], []);
    else parts.at(-1)?.push(operation);
  }
  return parts.flatMap((part) => [...part.filter(isPublishing), ...part.filter((one) => !isPublishing(one))]);
}

function isServing(live: number): boolean {
  const state = live & BACKEND_STATE;
  return state === BACKEND_ACTIVE || state === BACKEND_TERMINATING;
}

/** Gives the row of a backend that ends in a batch to one that begins in it, before anybody was told. */
class Ids {
  private readonly rows = new Map<number, number>();
  private readonly free: number[] = [];
  private next = 1;

  rename(operations: readonly Operation[]): readonly Operation[] {
    for (const operation of operations) {
      if (operation.op !== 'word' || operation.map.name !== 'backends' || isServing(operation.word)) continue;
      const row = this.rows.get(Number(operation.key));
      if (row !== undefined) this.free.push(row);
      this.rows.delete(Number(operation.key));
    }
    return operations.flatMap((operation) => this.renamed(operation));
  }

  private renamed(operation: Operation): readonly Operation[] {
    if (operation.op === 'word' && operation.map.name === 'backends') {
      const row = this.rows.get(Number(operation.key));
      return row === undefined ? [] : [{ ...operation, key: row }];
    }
    if (operation.op === 'rows') {
      const words = operation.words.map((id) => this.rows.get(id) ?? 0);
      return [rowsOperation(maps.slots, Number(operation.key), words)];
    }
    if (operation.op !== 'set' || operation.map.name !== 'backends') return [operation];
    const row = this.free.shift() ?? this.next++;
    this.rows.set(Number(operation.key), row);
    return [setOperation(maps.backends, row, operation.value as BackendRecord)];
  }
}
