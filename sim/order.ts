// SPDX-License-Identifier: Apache-2.0
/** Watches every write into one node's maps: what packets can reach is whole, and is written only while unreachable. */
import { backendServes, BACKEND_WORDS, LIVE, viewOf } from '../core/datapath/select.ts';
import { SERVICE_WORDS } from '../core/datapath/lookup.ts';
import {
  BACKEND_IN_EXTERNAL,
  BACKEND_IN_INTERNAL,
  BACKEND_SERVICE_PORT_AT,
  BACKEND_STATE,
  maps as specs,
  SERVICE_SERVICE_PORT_AT,
  SERVICE_SOURCE_RANGES_AT,
  VIEW_TABLE_SIZE_AT,
  VIEW_FIRST_SLOT_AT,
  VIEW_MAX,
  type FrontendKeyRecord,
  type SourceRangeKeyRecord,
} from '../core/layout.gen.ts';
import { rowsAsSets, type MapStore, type Operation } from '../core/store.ts';
import type { Rows } from './install.ts';

/** `before` and `after` each write; what they return is what is wrong, undefined: nothing. */
export interface WriteOrder {
  before(operation: Operation): string | undefined;
  after(operation: Operation): string | undefined;
  /** Live backends that no frontend reaches; none are left between two steps that settled. */
  strays(): readonly number[];
}

const STATE_FREE = 0;
const STATE_REUSED = 3;

function isDead(live: number): boolean {
  const state = live & BACKEND_STATE;
  return state === STATE_FREE || state === STATE_REUSED;
}

/** How often each number is named. */
class Names {
  readonly #counts = new Map<number, number>();
  add(number: number, change: 1 | -1): void {
    const count = (this.#counts.get(number) ?? 0) + change;
    if (count === 0) this.#counts.delete(number);
    else this.#counts.set(number, count);
  }
  has(number: number): boolean {
    return this.#counts.has(number);
  }
  all(): readonly number[] {
    return [...this.#counts.keys()];
  }
}

/** The slots of a row, as numbers. */
function slotsOf(maps: Rows, row: number): number[] {
  const slots: number[] = [];
  for (let view = 0; view < VIEW_MAX; view += 1) {
    const at = viewOf(row * SERVICE_WORDS, view);
    const first = maps.services[at + VIEW_FIRST_SLOT_AT / 4] ?? 0;
    const count = Math.min(maps.services[at + VIEW_TABLE_SIZE_AT / 4] ?? 0, maps.slots.length);
    for (let slot = first; slot < first + count; slot += 1) slots.push(slot);
  }
  return slots;
}

/** What packets can reach, how often each is named, and what was freed since the last barrier. */
type Reach = {
  readonly rows: Names;
  readonly pairs: Names;
  readonly backends: Names;
  readonly freed: { readonly rows: Set<number>; readonly pairs: Set<number>; readonly backends: Set<number> };
};

/** `isLive`: of the backend of this number. */
function whyNotNow(map: string, key: number, { rows, pairs, freed }: Reach, isLive: boolean): string | undefined {
  const text = `${map}[${key}]`;
  if (map === 'services' && freed.rows.has(key)) return `${text} is written before the barrier`;
  if (map === 'services' && rows.has(key)) return `${text} is written while a frontend names it`;
  if (map === 'slots' && freed.pairs.has(key)) return `${text} is written before the barrier`;
  if (map === 'slots' && pairs.has(key)) return `${text} is written while a row names it`;
  if (map === 'backends' && freed.backends.has(key)) return `${text} is written before the barrier`;
  if (map === 'backends' && isLive) return `${text} is written while it is live`;
  return undefined;
}

/** Half a set of source ranges refuses clients that it lets in. */
function whyNotThisSet(maps: Rows, { freed, rows }: Reach, { set }: SourceRangeKeyRecord): string | undefined {
  const isNamed = [...rows.all(), ...freed.rows].some(
    (row) => maps.services[row * SERVICE_WORDS + SERVICE_SOURCE_RANGES_AT / 4] === set,
  );
  return isNamed ? `source_ranges: set ${set} changes while a row names it` : undefined;
}

export function createWriteOrder(maps: Rows, store: MapStore): WriteOrder {
  const freed = { rows: new Set<number>(), pairs: new Set<number>(), backends: new Set<number>() };
  const reach: Reach = { rows: new Names(), pairs: new Names(), backends: new Names(), freed };
  const { rows, pairs, backends } = reach;

  const name = (row: number, change: 1 | -1): void => {
    rows.add(row, change);
    for (const slot of slotsOf(maps, row)) {
      pairs.add(slot >> 1, change);
      backends.add(maps.slots[slot] ?? 0, change);
      if (change < 0) freed.pairs.add(slot >> 1);
    }
    if (change < 0) freed.rows.add(row);
  };
  let frontends = 0;
  const held = store.entries(specs.frontends);
  if (held.ok) for (const [, row] of held.value) name(row, 1);
  if (held.ok) frontends = held.value.length;

  const rowOf = (key: unknown): number | undefined => {
    const found = store.get(specs.frontends, key as FrontendKeyRecord);
    return found.ok ? found.value : undefined;
  };
  const live = (id: number): number => maps.backends[id * BACKEND_WORDS + LIVE] ?? 0;

  function before(operation: Operation): string | undefined {
    if (operation.op === 'barrier') {
      for (const set of [freed.rows, freed.pairs, freed.backends]) set.clear();
      return undefined;
    }
    if (operation.map.name === 'frontends') {
      const row = rowOf(operation.key);
      if (row !== undefined) {
        name(row, -1);
        frontends -= 1;
      }
      return undefined;
    }
    if (operation.map.name === 'source_ranges')
      return whyNotThisSet(maps, reach, operation.key as SourceRangeKeyRecord);
    if (operation.op === 'rows') {
      for (const row of rowsAsSets(operation)) {
        const early = before(row);
        if (early !== undefined) return early;
      }
      return undefined;
    }
    const key = Number(operation.key);
    if (operation.op === 'set') return whyNotNow(operation.map.name, key, reach, !isDead(live(key)));
    if (operation.op !== 'word' || operation.map.name !== 'backends' || !isDead(operation.word)) return undefined;
    if (backends.has(key)) return `backends[${key}] ends while a slot names it`;
    freed.backends.add(key);
    return undefined;
  }

  function after(operation: Operation): string | undefined {
    if (operation.op !== 'set' || operation.map.name !== 'frontends') return undefined;
    const row = rowOf(operation.key);
    if (row === undefined) return 'a frontend that was written is not there';
    name(row, 1);
    frontends += 1;
    const capacity = store.capacity(specs.frontends);
    if (frontends > capacity) return `frontends holds more than ${capacity}`;
    return danglingSlot(maps, row);
  }

  return { before, after, strays: () => straysOf(maps, reach, live) };
}

function straysOf(maps: Rows, { backends, rows }: Reach, live: (id: number) => number): number[] {
  const found: number[] = [];
  const ports = new Set(rows.all().map((row) => maps.services[row * SERVICE_WORDS + SERVICE_SERVICE_PORT_AT / 4]));
  for (let id = 0; id * BACKEND_WORDS < maps.backends.length; id += 1) {
    if (isDead(live(id)) || backends.has(id)) continue;
    // One that only serves on is in no view.
    const isInView = (live(id) & (BACKEND_IN_INTERNAL | BACKEND_IN_EXTERNAL)) !== 0;
    if (isInView || !ports.has(maps.backends[id * BACKEND_WORDS + BACKEND_SERVICE_PORT_AT / 4])) found.push(id);
  }
  return found;
}

/** The first slot of a row that names nothing that could serve. */
function danglingSlot(maps: Rows, row: number): string | undefined {
  const port = maps.services[row * SERVICE_WORDS + SERVICE_SERVICE_PORT_AT / 4];
  for (let view = 0; view < VIEW_MAX; view += 1) {
    const at = viewOf(row * SERVICE_WORDS, view);
    const first = maps.services[at + VIEW_FIRST_SLOT_AT / 4] ?? 0;
    const count = maps.services[at + VIEW_TABLE_SIZE_AT / 4] ?? 0;
    for (let slot = first; slot < first + count; slot += 1) {
      const backend = (maps.slots[slot] ?? 0) * BACKEND_WORDS;
      const isOwn = maps.backends[backend + BACKEND_SERVICE_PORT_AT / 4] === port;
      if (!isOwn || !backendServes(maps.backends[backend + LIVE] ?? 0, view))
        return `services[${row}] slot ${slot} names a backend that is not there`;
    }
  }
  return undefined;
}
