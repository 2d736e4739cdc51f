// SPDX-License-Identifier: Apache-2.0
/** Maps that don't fit together, as a packet may meet them when a write was lost: planted in a store, and taken out. */
import { addressFromIPv4, type Address, type Port } from '../core/address.ts';
import {
  BACKEND_GENERATION_SHIFT,
  BACKEND_IN_EXTERNAL,
  BACKEND_IN_INTERNAL,
  BACKEND_LIVE_AT,
  BACKEND_REUSED,
  BACKEND_STATE,
  maps,
  type BackendRecord,
  type FrontendKeyRecord,
  type ServiceRecord,
  type SlotPairRecord,
} from '../core/layout.gen.ts';
import { ok, type Result } from '../core/result.ts';
import { setOperation, wordOperation, type MapSpec, type MapStore, type Operation } from '../core/store.ts';

/**
 * `row`: frontends name others' rows; `slot`: views lie beyond the slots; `state`: backends are other pods' or serve
 * nothing; `reused`: they are other pods', as a takeover says it, or were before that; `generation`: they were used anew; `owner`: they belong
 * to another Service port; `id`: slots name backends that can't exist.
 */
export const faultKinds = ['row', 'slot', 'state', 'reused', 'generation', 'owner', 'id'] as const;

/** `pick` chooses a third of the entries and what is wrong with them. */
export type Fault = { readonly kind: (typeof faultKinds)[number]; readonly pick: number };

/** What plants a fault in an entry, and what takes it out. */
type Plan = { readonly plant: Operation; readonly undo: Operation };

const BEYOND = 0x7fff_fff0;
const GENERATION = 1 << BACKEND_GENERATION_SHIFT;

type Place = { readonly address: Address; readonly port: Port };

/** Told apart by what entries are about and not by their numbers, which differ from one start to the next. */
function isChosen({ address, port }: Place, pick: number): boolean {
  return (address.d + port + pick) % 3 === 0;
}

function rowPlan([key, row]: readonly [FrontendKeyRecord, number], pick: number): Plan {
  const wrong = pick % 5 === 0 ? BEYOND : row + 1 + (pick % 2);
  return { plant: setOperation(maps.frontends, key, wrong), undo: setOperation(maps.frontends, key, row) };
}

function slotPlan([row, record]: readonly [number, ServiceRecord], pick: number): Plan {
  const [internal, external] = record.views;
  const firstSlot = pick % 2 === 0 ? BEYOND : internal.firstSlot + 2;
  const wrong: ServiceRecord = {
    ...record,
    views: [{ ...internal, firstSlot, count: Math.max(internal.count, 1) }, external],
  };
  return { plant: setOperation(maps.services, row, wrong), undo: setOperation(maps.services, row, record) };
}

function livePlan([id, record]: readonly [number, BackendRecord], live: number): Plan {
  const word = (value: number): Operation => wordOperation(maps.backends, id, BACKEND_LIVE_AT, value >>> 0);
  return { plant: word(live), undo: word(record.live) };
}

function statePlan(entry: readonly [number, BackendRecord], pick: number): Plan {
  const { live } = entry[1];
  const views = BACKEND_IN_INTERNAL | BACKEND_IN_EXTERNAL;
  return livePlan(entry, [0, live | BACKEND_REUSED, live & ~views, live & ~BACKEND_STATE][pick % 4] ?? 0);
}

function reusedPlan(entry: readonly [number, BackendRecord], pick: number): Plan {
  const generation = (entry[1].live >>> BACKEND_GENERATION_SHIFT) + (pick % 2 === 0 ? 1 : 0);
  return livePlan(entry, (generation << BACKEND_GENERATION_SHIFT) | BACKEND_REUSED);
}

function ownerPlan([id, record]: readonly [number, BackendRecord]): Plan {
  const wrong = { ...record, servicePort: record.servicePort + 1 };
  return { plant: setOperation(maps.backends, id, wrong), undo: setOperation(maps.backends, id, record) };
}

function idPlan([pair, record]: readonly [number, SlotPairRecord]): Plan {
  const wrong = { backends: [BEYOND, BEYOND] as const };
  return { plant: setOperation(maps.slots, pair, wrong), undo: setOperation(maps.slots, pair, record) };
}

function plansOf(store: MapStore, { kind, pick }: Fault): Result<readonly Plan[]> {
  const plans = <K, V>(
    map: MapSpec<K, V>,
    place: (entry: readonly [K, V]) => Place,
    plan: (entry: readonly [K, V]) => Plan,
  ): Result<readonly Plan[]> => {
    const entries = store.entries(map);
    return entries.ok ? ok(entries.value.filter((entry) => isChosen(place(entry), pick)).map(plan)) : entries;
  };
  const backends = (plan: (entry: readonly [number, BackendRecord]) => Plan): Result<readonly Plan[]> =>
    plans(maps.backends, ([, record]) => record, plan);
  switch (kind) {
    case 'row':
      return plans(
        maps.frontends,
        ([key]) => key,
        (entry) => rowPlan(entry, pick),
      );
    case 'slot':
      return plans(
        maps.services,
        ([, { key }]) => key,
        (entry) => slotPlan(entry, pick),
      );
    case 'state':
      return backends((entry) => statePlan(entry, pick));
    case 'reused':
      return backends((entry) => reusedPlan(entry, pick));
    case 'generation':
      return backends((entry) => livePlan(entry, entry[1].live + GENERATION));
    case 'owner':
      return backends(ownerPlan);
    case 'id':
      return plans(maps.slots, ([pair]) => ({ address: addressFromIPv4(pair), port: 0 as Port }), idPlan);
  }
}

/** Plants a fault; the operations that take it out again. */
export function plantFault(store: MapStore, fault: Fault): Result<readonly Operation[]> {
  const plans = plansOf(store, fault);
  if (!plans.ok) return plans;
  const { result } = store.batch(plans.value.map(({ plant }) => plant));
  return result.ok ? ok(plans.value.map(({ undo }) => undo)) : result;
}
