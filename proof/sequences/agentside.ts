// SPDX-License-Identifier: Apache-2.0
/** A side whose agent can end and start again, and whose map writes fail where they are told to. */
import { maps } from '../../core/layout.gen.ts';
import type { ClusterEvent } from '../../core/objects.ts';
import { fail, ok, type Failure, type Result } from '../../core/result.ts';
import { deleteOperation, setOperation, type MapSpec, type MapStore, type Operation } from '../../core/store.ts';
import type { Twin } from '../../core/twin.ts';
import { withoutBarriers, type Side } from '../side.ts';

export type AgentReport = { readonly failures: readonly Failure[]; readonly isSettled: boolean };

/** What the agent's loop offers; handed in, because the agent is another room. */
export interface Agent {
  event(event: ClusterEvent): void;
  step(): AgentReport;
  resync(): AgentReport;
}

/** A new agent over maps that may hold what an earlier one wrote. */
export type StartAgent = (store: MapStore) => Agent;

/** Writes that still succeed, and how the one after them fails; `crash`: the agent ends before it. */
export type Posed = { readonly after: number; readonly how: 'full' | 'no-memory' | 'crash' };

/** What became of one turn of an agent. */
export type Turn = { readonly failures: readonly Failure[]; readonly isSettled: boolean; readonly isCrashed: boolean };

/** Turns after the first that an agent may need once nothing fails any more. */
const HEAL_TURNS = 3;

class Crash extends Error {}

/** A store that fails once when it was told to, write by write, and lists a hash in the order of its keys. */
class PosedStore implements MapStore {
  posed: Posed | undefined;
  private left = 0;
  private readonly inner: MapStore;

  constructor(inner: MapStore) {
    this.inner = inner;
  }

  pose(posed: Posed): void {
    this.posed = posed;
    this.left = posed.after;
  }

  capacity<K, V>(map: MapSpec<K, V>): number {
    return this.inner.capacity(map);
  }

  get<K, V>(map: MapSpec<K, V>, key: K): Result<V | undefined> {
    return this.inner.get(map, key);
  }

  /** Two hashes have no common order, and an agent gives out numbers in the order of what it reads. */
  entries<K, V>(map: MapSpec<K, V>): Result<readonly (readonly [K, V])[]> {
    const entries = this.inner.entries(map);
    if (!entries.ok || map.kind !== 'hash') return entries;
    const texts = entries.value.map((entry) => [map.key.text(entry[0]), entry] as const);
    return ok(texts.toSorted(([left], [right]) => (left < right ? -1 : 1)).map(([, entry]) => entry));
  }

  apply(operation: Operation): Result<void> {
    if (this.posed !== undefined && this.left-- <= 0) return this.refuse(this.posed, operation);
    return this.inner.apply(operation);
  }

  batch(operations: readonly Operation[]): { readonly done: number; readonly result: Result<void> } {
    if (this.posed === undefined) return this.inner.batch(operations);
    for (const [done, operation] of operations.entries()) {
      const result = this.apply(operation);
      if (!result.ok) return { done, result };
    }
    return { done: operations.length, result: ok(undefined) };
  }

  private refuse({ how }: Posed, operation: Operation): Result<never> {
    this.posed = undefined;
    if (how === 'crash') throw new Crash('the agent ended between two writes');
    const name = operation.op === 'barrier' ? 'barrier' : operation.map.name;
    return how === 'full'
      ? fail('limit', `map-full: ${name}`, 'posed: no room (E2BIG)')
      : fail('environment', `map ${name}`, 'posed: no memory (ENOMEM)');
  }
}

export type AgentSideOptions = Pick<Side, 'marks' | 'counters'> & { readonly twin: Twin; readonly start: StartAgent };

/** Contract: `lists` always tells the whole cluster, `events` what changed since the last turn. */
export class AgentSide implements Side {
  readonly twin: Twin;
  readonly marks: () => readonly number[];
  readonly counters: () => Result<readonly string[]>;
  private readonly start: StartAgent;
  private readonly store: PosedStore;
  private agent: Agent | undefined;

  constructor({ twin, marks, counters, start }: AgentSideOptions) {
    this.twin = twin;
    this.marks = marks;
    this.counters = counters;
    this.start = start;
    this.store = new PosedStore(withoutBarriers(twin.store));
  }

  pose(posed: Posed): void {
    this.store.pose(posed);
  }

  /** Takes events in and lets the agent work; one that has ended starts again and is told everything. */
  turn(lists: readonly ClusterEvent[], events: readonly ClusterEvent[]): Turn {
    return this.guarded(() => {
      if (this.agent === undefined) return this.begin(lists).step();
      for (const event of events) this.agent.event(event);
      return this.agent.step();
    });
  }

  /** The agent ends, and a new one finds the maps. */
  restart(lists: readonly ClusterEvent[]): Turn {
    this.agent = undefined;
    return this.turn(lists, []);
  }

  /** The agent asks the maps what they hold. */
  resync(lists: readonly ClusterEvent[]): Turn {
    return this.guarded(() => (this.agent === undefined ? this.begin(lists).step() : this.agent.resync()));
  }

  /** Writes succeed again; the agent compares and repairs until it is at rest, or gives up. */
  heal(lists: readonly ClusterEvent[]): Turn {
    this.store.posed = undefined;
    let turn = this.resync(lists);
    for (let more = 0; more < HEAL_TURNS && !turn.isSettled; more++) turn = this.resync(lists);
    return turn;
  }

  tell(events: readonly ClusterEvent[]): Result<void> {
    const [failure] = this.turn(events, events).failures;
    return failure === undefined ? ok(undefined) : { ok: false, error: failure };
  }

  /** No agent, no failing write, nothing in the maps. */
  wipe(): Result<void> {
    this.agent = undefined;
    this.store.posed = undefined;
    this.twin.clearFlows();
    return wipeMaps(this.twin.store);
  }

  private begin(lists: readonly ClusterEvent[]): Agent {
    const agent = this.start(this.store);
    for (const event of lists) agent.event(event);
    this.agent = agent;
    return agent;
  }

  private guarded(work: () => AgentReport): Turn {
    try {
      return { ...work(), isCrashed: false };
    } catch (error) {
      if (!(error instanceof Crash)) throw error;
      this.agent = undefined;
      return { failures: [], isSettled: false, isCrashed: true };
    }
  }
}

const WRITTEN = [maps.classifier, maps.services, maps.slots, maps.backends] as const;

function wipeMaps(store: MapStore): Result<void> {
  const operations: Operation[] = [];
  const frontends = store.entries(maps.frontends);
  if (!frontends.ok) return frontends;
  for (const [key] of frontends.value) operations.push(deleteOperation(maps.frontends, key));
  for (const map of WRITTEN as readonly MapSpec<unknown, unknown>[]) {
    const entries = store.entries(map);
    if (!entries.ok) return entries;
    const nothing = map.value.decode(new DataView(new ArrayBuffer(map.value.size)), 0);
    for (const [key] of entries.value) operations.push(setOperation(map, key, nothing));
  }
  return store.batch(operations).result;
}
