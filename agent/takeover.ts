// SPDX-License-Identifier: Apache-2.0
/** What an agent makes sure of before it writes into maps that outlive it: they are laid out as it thinks, and its alone. */
import { LAYOUT_HASH } from '../core/layout.gen.ts';
import { fail, ok, type Result } from '../core/result.ts';
import type { MapStore } from '../core/store.ts';

/** The word beside the maps that says whose they are; it outlives every agent. */
export interface Epoch {
  current(): number;
  /** Makes it one more and returns that: whoever wrote before may not write again. */
  take(): number;
}

/** Refuses pinned maps that another version laid out, naming both layouts. */
export function checkPinned(found: string): Result<void> {
  if (found === LAYOUT_HASH) return ok(undefined);
  const message = `layout ${found}, this agent speaks ${LAYOUT_HASH}`;
  return fail('environment', 'pinned maps', message, 'run the version that made them, or tandem cleanup');
}

/** The maps for one writer: once another one has taken them over, whatever would write fails and writes nothing. */
export function takeOver(store: MapStore, epoch: Epoch): MapStore {
  const mine = epoch.take();
  const check = (): Result<void> => {
    const current = epoch.current();
    if (current === mine) return ok(undefined);
    return fail('environment', 'maps', `another agent took them over (epoch ${current}, ours was ${mine})`, 'end one');
  };
  return {
    capacity: (map) => store.capacity(map),
    get: (map, key) => store.get(map, key),
    entries: (map) => store.entries(map),
    apply: (operation) => {
      const allowed = check();
      return allowed.ok ? store.apply(operation) : allowed;
    },
    batch: (operations) => {
      const allowed = check();
      return allowed.ok ? store.batch(operations) : { done: 0, result: allowed };
    },
  };
}
