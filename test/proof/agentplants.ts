// SPDX-License-Identifier: Apache-2.0
/** Agents and stores with one fault each: a sequence must find it, by the check that is there for it. */
import { startAgent } from '../../cli/rig.ts';
import type { ClusterEvent, EndpointSliceObject } from '../../core/objects.ts';
import { ok, type Result } from '../../core/result.ts';
import type { MapStore, Operation } from '../../core/store.ts';
import type { AgentReport, StartAgent } from '../../proof/sequences/agentside.ts';

/** `model`, `kernel`: whose agent has the fault. `shows`: the field that must differ. */
export type AgentPlant = {
  readonly meaning: string;
  readonly sides: readonly ('model' | 'kernel')[];
  readonly start: StartAgent;
  readonly shows: RegExp;
};

const both = ['model', 'kernel'] as const;

type Batch = { readonly done: number; readonly result: Result<void> };

function withBatch(store: MapStore, batch: (operations: readonly Operation[]) => Batch): MapStore {
  return {
    capacity: (map) => store.capacity(map),
    get: (map, key) => store.get(map, key),
    entries: (map) => store.entries(map),
    apply: (operation) => store.apply(operation),
    batch,
  };
}

/** Leaves operations out and says that they were done. */
function without(store: MapStore, isLost: (operation: Operation) => boolean): MapStore {
  return withBatch(store, (operations) => {
    const { result } = store.batch(operations.filter((operation) => !isLost(operation)));
    return { done: result.ok ? operations.length : 0, result };
  });
}

function isOf(operation: Operation, op: Operation['op'], map: string): boolean {
  return operation.op === op && operation.op !== 'barrier' && operation.map.name === map;
}

function readySlice(slice: EndpointSliceObject): EndpointSliceObject {
  return { ...slice, endpoints: slice.endpoints?.map((it) => ({ ...it, conditions: { ready: true } })) ?? [] };
}

function allReady(event: ClusterEvent): ClusterEvent {
  if (event.type === 'LISTED' && event.kind === 'EndpointSlice')
    return { ...event, items: event.items.map((item) => (item.kind === 'EndpointSlice' ? readySlice(item) : item)) };
  if (event.type !== 'ADDED' && event.type !== 'MODIFIED') return event;
  return event.object.kind === 'EndpointSlice' ? { ...event, object: readySlice(event.object) } : event;
}

/** Those of one side are disagreements; those of both are only seen beside an agent that begins anew. */
export const agentPlants: readonly AgentPlant[] = [
  {
    meaning: 'a store that keeps a frontend which is to be deleted',
    sides: ['kernel'],
    start: (store) => startAgent(without(store, (operation) => isOf(operation, 'delete', 'frontends'))),
    shows: /^maps\[/,
  },
  {
    meaning: 'a store that does not withdraw backends',
    sides: ['kernel'],
    start: (store) => startAgent(without(store, (operation) => isOf(operation, 'word', 'backends'))),
    shows: /^(maps|trace|verdict|backend|reason|agent)/,
  },
  {
    meaning: 'a store on either side that does not withdraw backends',
    sides: both,
    start: (store) => startAgent(without(store, (operation) => isOf(operation, 'word', 'backends'))),
    shows: /^fresh\[/,
  },
  {
    meaning: 'a loop that does not hear of deletions',
    sides: both,
    start: (store) => {
      const agent = startAgent(store);
      return { ...agent, event: (event) => (event.type === 'DELETED' ? undefined : agent.event(event)) };
    },
    shows: /^fresh\[/,
  },
  {
    meaning: 'a loop that takes only the first list of each kind',
    sides: both,
    start: (store) => {
      const agent = startAgent(store);
      const listed = new Set<string>();
      const isNews = (event: ClusterEvent): boolean => {
        if (event.type !== 'LISTED') return true;
        if (listed.has(event.kind)) return false;
        listed.add(event.kind);
        return true;
      };
      return { ...agent, event: (event) => (isNews(event) ? agent.event(event) : undefined) };
    },
    shows: /^fresh\[/,
  },
  {
    meaning: 'a loop that takes every endpoint for ready',
    sides: both,
    start: (store) => {
      const agent = startAgent(store);
      return { ...agent, event: (event) => agent.event(allReady(event)) };
    },
    shows: /^fresh\[/,
  },
  {
    meaning: 'a store that says that a write which failed was done',
    sides: both,
    start: (store) =>
      startAgent(
        withBatch(store, (operations) => {
          store.batch(operations);
          return { done: operations.length, result: ok(undefined) };
        }),
      ),
    shows: /^fresh\[/,
  },
  {
    meaning: 'a loop that hides that it failed',
    sides: both,
    start: (store) => {
      const agent = startAgent(store);
      return { ...agent, step: () => ({ ...agent.step(), failures: [], isSettled: true }) };
    },
    shows: /^fresh\[/,
  },
  {
    meaning: 'a loop that compares nothing when it should',
    sides: both,
    start: (store) => {
      const agent = startAgent(store);
      return { ...agent, resync: () => agent.step() };
    },
    shows: /^(fresh\[|rest)/,
  },
  {
    meaning: 'an agent that takes the maps for empty when it starts',
    sides: both,
    start: (store) =>
      startAgent({ ...withBatch(store, (operations) => store.batch(operations)), entries: () => ok([]) }),
    shows: /^fresh\[/,
  },
  {
    meaning: 'a loop that never comes to rest after a failure',
    sides: both,
    start: (store) => {
      const agent = startAgent(store);
      let hasFailed = false;
      const turn = (work: () => AgentReport): AgentReport => {
        if (hasFailed) return { failures: [], isSettled: false };
        const report = work();
        hasFailed = !report.isSettled;
        return report;
      };
      return { ...agent, step: () => turn(() => agent.step()), resync: () => turn(() => agent.resync()) };
    },
    shows: /^rest/,
  },
];
