// SPDX-License-Identifier: Apache-2.0
/** Maps that don't fit together, as a packet may meet them when a write was lost: planted in a store, and taken out. */
import {
  BACKEND_LIVE_AT,
  maps,
  type BackendRecord,
  type FrontendKeyRecord,
  type ServiceRecord,
} from '../core/layout.gen.ts';
import { ok, type Result } from '../core/result.ts';
import { setOperation, wordOperation, type MapSpec, type MapStore, type Operation } from '../core/store.ts';

/**
 * `row`: a frontend names another's row; `slot`: a view lies beyond the slots; `live`: a backend is another pod's or
 * serves nothing; `owner`: a backend belongs to another Service port; `id`: slots name a backend that can't exist.
 */
export const faultKinds = ['row', 'slot', 'live', 'owner', 'id'] as const;

/** `pick` chooses the entry; the same store gives the same one. */
export type Fault = { readonly kind: (typeof faultKinds)[number]; readonly pick: number };

/** What plants a fault and what takes it out again; none where the store holds nothing of the kind. */
type Plan = { readonly plant: readonly Operation[]; readonly undo: readonly Operation[] };

const NO_PLAN: Plan = { plant: [], undo: [] };
const BEYOND = 0x7fff_fff0;

function chosen<K, V>(store: MapStore, map: MapSpec<K, V>, pick: number): Result<readonly [K, V] | undefined> {
  const entries = store.entries(map);
  if (!entries.ok) return entries;
  const sorted = entries.value.toSorted(([left], [right]) => (map.key.text(left) < map.key.text(right) ? -1 : 1));
  return ok(sorted[pick % Math.max(sorted.length, 1)]);
}

function rowPlan([key, row]: readonly [FrontendKeyRecord, number], pick: number): Plan {
  const wrong = pick % 3 === 0 ? BEYOND : row + 1;
  return { plant: [setOperation(maps.frontends, key, wrong)], undo: [setOperation(maps.frontends, key, row)] };
}

function slotPlan([row, record]: readonly [number, ServiceRecord], pick: number): Plan {
  const [internal, external] = record.views;
  const view = pick % 2 === 0 ? { ...internal, firstSlot: BEYOND } : { ...internal, firstSlot: internal.firstSlot + 2 };
  const wrong: ServiceRecord = { ...record, views: [{ ...view, count: Math.max(view.count, 1) }, external] };
  return { plant: [setOperation(maps.services, row, wrong)], undo: [setOperation(maps.services, row, record)] };
}

function livePlan([id, record]: readonly [number, BackendRecord], pick: number): Plan {
  const bits = [0, record.live | 3, record.live & ~12, record.live + 256][pick % 4] ?? 0;
  const word = (live: number): Operation => wordOperation(maps.backends, id, BACKEND_LIVE_AT, live >>> 0);
  return { plant: [word(bits)], undo: [word(record.live)] };
}

function ownerPlan([id, record]: readonly [number, BackendRecord]): Plan {
  const wrong = { ...record, servicePort: record.servicePort + 1 };
  return { plant: [setOperation(maps.backends, id, wrong)], undo: [setOperation(maps.backends, id, record)] };
}

function planOf(store: MapStore, { kind, pick }: Fault): Result<Plan> {
  switch (kind) {
    case 'row': {
      const entry = chosen(store, maps.frontends, pick);
      return entry.ok ? ok(entry.value === undefined ? NO_PLAN : rowPlan(entry.value, pick)) : entry;
    }
    case 'slot': {
      const entry = chosen(store, maps.services, pick);
      return entry.ok ? ok(entry.value === undefined ? NO_PLAN : slotPlan(entry.value, pick)) : entry;
    }
    case 'live': {
      const entry = chosen(store, maps.backends, pick);
      return entry.ok ? ok(entry.value === undefined ? NO_PLAN : livePlan(entry.value, pick)) : entry;
    }
    case 'owner': {
      const entry = chosen(store, maps.backends, pick);
      return entry.ok ? ok(entry.value === undefined ? NO_PLAN : ownerPlan(entry.value)) : entry;
    }
    case 'id': {
      const entry = chosen(store, maps.slots, pick);
      if (!entry.ok || entry.value === undefined) return entry.ok ? ok(NO_PLAN) : entry;
      const [pair, record] = entry.value;
      const plant = [setOperation(maps.slots, pair, { backends: [BEYOND, BEYOND] })];
      return ok({ plant, undo: [setOperation(maps.slots, pair, record)] });
    }
  }
}

/** Plants a fault; the operations that take it out again. */
export function plantFault(store: MapStore, fault: Fault): Result<readonly Operation[]> {
  const plan = planOf(store, fault);
  if (!plan.ok) return plan;
  const { result } = store.batch(plan.value.plant);
  return result.ok ? ok(plan.value.undo) : result;
}
