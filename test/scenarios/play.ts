// SPDX-License-Identifier: Apache-2.0
/** Plays events to the compiler and to the loop over maps in memory, and tells what both then say. */
import { createLoop, type Loop } from '../../agent/loop.ts';
import { canonical } from '../../core/control/canonical.ts';
import { applyEvent, emptyCluster, type ClusterState } from '../../core/control/cluster.ts';
import { compileServices, type CompiledServices } from '../../core/control/tell/document.ts';
import type { ClusterEvent, ObjectKind } from '../../core/objects.ts';
import { maps } from '../../core/layout.gen.ts';
import { failureText, type Result } from '../../core/result.ts';
import type { MapStore } from '../../core/store.ts';
import type { TandemConfiguration } from '../../formats/config.ts';
import { MemoryStore } from '../core/control/memory.ts';
import { readableDump } from './dump.ts';
import { scenarioTable } from './table.ts';

/** After one turn of events. `maps`: the dump as the control plane compares it. */
export type Played = {
  readonly table: string;
  readonly dump: string;
  readonly maps: string;
  readonly document: CompiledServices;
};

export const KINDS: readonly ObjectKind[] = ['Service', 'EndpointSlice', 'Node', 'Pod'];

/** A node to which nothing has happened but the first, empty lists. */
export class Stage {
  readonly #config: TandemConfiguration;
  readonly #store: MemoryStore = new MemoryStore();
  readonly #failures: string[] = [];
  #cluster: ClusterState = emptyCluster();
  #loop: Loop;

  constructor(config: TandemConfiguration) {
    this.#config = config;
    this.#loop = this.#start();
    this.tell(KINDS.map((kind) => ({ type: 'LISTED', kind, items: [] })));
  }

  #start(): Loop {
    const onProblem = (failure: Parameters<typeof failureText>[0]): void => {
      this.#failures.push(failureText(failure));
    };
    // All kinds, whether the programs can serve them or not: what is shown is what they would be told.
    return createLoop({ store: this.#store, node: this.#config, onProblem, whyNot: () => undefined });
  }

  /** Takes events in, brings the maps there, and says what is so. */
  tell(events: readonly ClusterEvent[]): Played {
    for (const event of events) {
      this.#cluster = applyEvent(this.#cluster, event).state;
      this.#loop.event(event);
    }
    this.#loop.step();
    return this.#played();
  }

  /** Steps that were carried out in the maps so far. */
  get writes(): number {
    return this.#store.steps;
  }

  /** Another process on the same maps, which hears everything anew. */
  restart(events: readonly ClusterEvent[]): Played {
    this.#cluster = emptyCluster();
    this.#loop = this.#start();
    return this.tell(events);
  }

  #played(): Played {
    if (this.#failures.length > 0) throw new Error(this.#failures.join('\n'));
    const strays = this.#store.strayBackends();
    if (strays.length > 0) throw new Error(`live backends that nothing reaches: ${strays.join(', ')}`);
    const sets = strayRanges(this.#store);
    if (sets.length > 0) throw new Error(`sets of ranges that nothing names: ${sets.join(', ')}`);
    const text = valueOf(canonical(this.#store));
    const document = compileServices(this.#cluster, this.#config);
    return {
      document,
      table: scenarioTable(document),
      dump: readableDump(text, this.#cluster),
      maps: text,
    };
  }
}

/** Sets of source ranges that no frontend names: what is not taken away is lost. */
function strayRanges(store: MapStore): number[] {
  const rows = new Map(valueOf(store.entries(maps.services)));
  const named = valueOf(store.entries(maps.frontends)).map(([, row]) => rows.get(row)?.sourceRanges);
  const sets = new Set(valueOf(store.entries(maps.sourceRanges)).map(([key]) => key.set));
  return [...sets].filter((set) => !named.includes(set));
}

function valueOf<T>(result: Result<T>): T {
  if (!result.ok) throw new Error(failureText(result.error));
  return result.value;
}
