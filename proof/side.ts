// SPDX-License-Identifier: Apache-2.0
/** One of the two sides of a comparison: a twin, the control plane that writes its maps, and what it counts. */
import type { Datapath } from '../core/datapath/datapath.ts';
import { maps, type CounterRecord } from '../core/layout.gen.ts';
import type { ClusterEvent } from '../core/objects.ts';
import { ok, type Failure, type Result } from '../core/result.ts';
import type { MapSpec, MapStore, Operation } from '../core/store.ts';
import type { Twin } from '../core/twin.ts';

/** What the agent's loop offers; handed in, because the agent is another room. */
export interface ControlPlane {
  event(event: ClusterEvent): void;
  step(): { readonly failures: readonly Failure[] };
}

export interface Side {
  readonly twin: Twin;
  /** Takes events in and brings the maps to them. */
  tell(events: readonly ClusterEvent[]): Result<void>;
  /** How often each branch was taken since the twin was made, by MARK_*. */
  marks(): readonly number[];
  /** Packets and bytes by reason and by Service port, one line each that is not zero. */
  counters(): Result<readonly string[]>;
}

type SideOptions = {
  readonly twin: Twin;
  readonly control: ControlPlane;
  readonly marks: () => readonly number[];
  readonly counters: () => Result<readonly string[]>;
};

export function createSide({ twin, control, marks, counters }: SideOptions): Side {
  const tell = (events: readonly ClusterEvent[]): Result<void> => {
    for (const event of events) control.event(event);
    const [failure] = control.step().failures;
    return failure === undefined ? ok(undefined) : { ok: false, error: failure };
  };
  return { twin, tell, marks, counters };
}

/** The model's side: its counters are not in its store. */
export function createModelSide(model: Datapath, control: ControlPlane): Side {
  const lines = (name: string, counters: Float64Array): string[] =>
    Array.from({ length: counters.length / 2 }, (_, index) => [counters[index * 2] ?? 0, counters[index * 2 + 1] ?? 0])
      .map(([packets = 0, bytes = 0], index) =>
        packets === 0 ? '' : `${name} ${index}: ${packets} packets, ${bytes} bytes`,
      )
      .filter((line) => line !== '');
  return createSide({
    twin: model,
    control,
    marks: () => [...model.log.marks],
    counters: () => ok([...lines('reason', model.maps.counters), ...lines('service', model.maps.serviceCounters)]),
  });
}

/** The lines of counters that lie in a store. */
export function storedCounters(store: MapStore): Result<readonly string[]> {
  const lines: string[] = [];
  const kinds: readonly (readonly [string, MapSpec<number, CounterRecord>])[] = [
    ['reason', maps.counters],
    ['service', maps.serviceCounters],
  ];
  for (const [name, map] of kinds) {
    const entries = store.entries(map);
    if (!entries.ok) return entries;
    const sorted = entries.value.filter(([, { packets }]) => packets > 0n).toSorted(([left], [right]) => left - right);
    for (const [index, { packets, bytes }] of sorted)
      lines.push(`${name} ${index}: ${packets} packets, ${bytes} bytes`);
  }
  return ok(lines);
}

/** Maps that the control plane writes. */
const WRITTEN = [maps.classifier, maps.frontends, maps.services, maps.slots, maps.backends] as const;

/** Everything a control plane wrote, one line an entry, sorted. */
export function dumpLines(store: MapStore): Result<readonly string[]> {
  const lines: string[] = [];
  for (const map of WRITTEN as readonly MapSpec<unknown, unknown>[]) {
    const entries = store.entries(map);
    if (!entries.ok) return entries;
    const dumped = entries.value.map(([key, value]) => `${map.name} ${map.key.text(key)}: ${map.value.text(value)}`);
    lines.push(...dumped.sort());
  }
  return ok(lines);
}

/** A store whose barriers are left out: between packets of a test run no program is running. */
export function withoutBarriers(store: MapStore): MapStore {
  const apply = (operation: Operation): Result<void> =>
    operation.op === 'barrier' ? ok(undefined) : store.apply(operation);
  const batch = (operations: readonly Operation[]): { readonly done: number; readonly result: Result<void> } => {
    const needed = operations.filter(({ op }) => op !== 'barrier');
    const { done, result } = store.batch(needed);
    return { done: result.ok ? operations.length : done, result };
  };
  return {
    capacity: (map) => store.capacity(map),
    get: (map, key) => store.get(map, key),
    entries: (map) => store.entries(map),
    apply,
    batch,
  };
}
