// SPDX-License-Identifier: Apache-2.0
/** A MapStore that fails, or ends its agent, at a posed write, and has every write watched. */
import { LAYOUT_HASH } from '../core/layout.gen.ts';
import { fail, ok, type Result } from '../core/result.ts';
import { rowsOf, type MapStore, type Operation } from '../core/store.ts';
import type { Invariant } from './checkers.ts';
import type { WriteOrder } from './order.ts';

/** Thrown out of a step of the loop: the process ended between two writes. */
export class AgentCrash extends Error {
  override readonly name: string = 'AgentCrash';
}

export type Counts = { sets: number; deletes: number; words: number };

/** `failAfter`, `crashAfter`: writes until it happens, once. */
export type SimStore = MapStore & {
  failAfter: number;
  crashAfter: number;
  failWith: 'full' | 'no-memory';
  /** How the maps are laid out. */
  layout: string;
  /** A write that is nobody's of ours: it never fails, and breaks no promise. */
  intrude(operation: Operation): void;
  readonly counts: Counts;
};

export type StoreOptions = {
  readonly inner: MapStore;
  readonly order: () => WriteOrder;
  readonly onBroken: (invariant: Invariant, what: string) => void;
  /** After each write that was carried out. */
  readonly onWrite: () => void;
};

export function createSimStore({ inner, order, onBroken, onWrite }: StoreOptions): SimStore {
  const counts: Counts = { sets: 0, deletes: 0, words: 0 };
  const store: SimStore = {
    failAfter: Number.POSITIVE_INFINITY,
    crashAfter: Number.POSITIVE_INFINITY,
    failWith: 'full',
    layout: LAYOUT_HASH,
    intrude: (operation) => {
      order().before(operation);
      inner.apply(operation);
      order().after(operation);
    },
    counts,
    capacity: (map) => inner.capacity(map),
    get: (map, key) => inner.get(map, key),
    entries: (map) => inner.entries(map),
    apply,
    batch: (operations) => {
      for (const [done, operation] of operations.entries()) {
        const result = apply(operation);
        if (!result.ok) return { done, result };
      }
      return { done: operations.length, result: ok(undefined) };
    },
  };

  function posed(operation: Operation): Result<void> | undefined {
    store.crashAfter -= 1;
    if (store.crashAfter < 0) {
      store.crashAfter = Number.POSITIVE_INFINITY;
      throw new AgentCrash('the agent ended between two writes');
    }
    store.failAfter -= 1;
    if (store.failAfter >= 0) return undefined;
    store.failAfter = Number.POSITIVE_INFINITY;
    const object = operation.op === 'barrier' ? 'barrier' : operation.map.name;
    return store.failWith === 'full'
      ? fail('limit', `map-full: ${object}`, 'posed: no room (E2BIG)')
      : fail('environment', `map ${object}`, 'posed: no memory (ENOMEM)');
  }

  function apply(operation: Operation): Result<void> {
    const failure = posed(operation);
    if (failure !== undefined) return failure;
    if (store.layout !== LAYOUT_HASH) onBroken('layout-untouched', `a write into maps of layout ${store.layout}`);
    const early = order().before(operation);
    if (early !== undefined) onBroken('frontends-resolve', early);
    const result = inner.apply(operation);
    if (!result.ok) return result;
    const late = order().after(operation);
    if (late !== undefined) onBroken('frontends-resolve', late);
    if (operation.op === 'set') counts.sets += 1;
    else if (operation.op === 'rows') counts.sets += rowsOf(operation);
    else if (operation.op === 'word') counts.words += 1;
    else if (operation.op === 'delete') counts.deletes += 1;
    onWrite();
    return result;
  }
  return store;
}
