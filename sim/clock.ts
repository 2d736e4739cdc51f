// SPDX-License-Identifier: Apache-2.0
/** Virtual time: a queue of things to do, in order of time and, at one time, in the order in which they were planned. */

/** Times are whole microseconds since the start of the run. */
export interface Clock {
  nowUs(): number;
  /** Plans something `delayUs` from now; fractions are rounded down. */
  after(delayUs: number, action: () => void): void;
  /** Does what is planned up to a time, or until `isDone`; afterwards it is that time, or that of the last deed. */
  runUntil(timeUs: number, isDone: () => boolean): void;
  /** Things done so far. */
  deeds(): number;
}

type Deed = { readonly atUs: number; readonly order: number; readonly action: () => void };

function isBefore(left: Deed, right: Deed): boolean {
  return left.atUs < right.atUs || (left.atUs === right.atUs && left.order < right.order);
}

function push(heap: Deed[], deed: Deed): void {
  let at = heap.length;
  heap.push(deed);
  while (at > 0) {
    const above = (at - 1) >> 1;
    const parent = heap[above];
    if (parent === undefined || !isBefore(deed, parent)) break;
    heap[at] = parent;
    at = above;
  }
  heap[at] = deed;
}

function pop(heap: Deed[]): Deed | undefined {
  const first = heap[0];
  const last = heap.pop();
  if (last === undefined || heap.length === 0) return first;
  let at = 0;
  for (;;) {
    let below = at * 2 + 1;
    let child = heap[below];
    const right = heap[below + 1];
    if (child === undefined) break;
    if (right !== undefined && isBefore(right, child)) {
      child = right;
      below += 1;
    }
    if (!isBefore(child, last)) break;
    heap[at] = child;
    at = below;
  }
  heap[at] = last;
  return first;
}

/** A clock that stands at 0. */
export function createClock(): Clock {
  const heap: Deed[] = [];
  let nowUs = 0;
  let order = 0;
  let deeds = 0;
  return {
    nowUs: () => nowUs,
    after: (delayUs, action) => {
      push(heap, { atUs: nowUs + Math.max(0, Math.floor(delayUs)), order, action });
      order += 1;
    },
    runUntil: (timeUs, isDone) => {
      for (let next = heap[0]; next !== undefined && next.atUs <= timeUs && !isDone(); next = heap[0]) {
        pop(heap);
        nowUs = next.atUs;
        deeds += 1;
        next.action();
      }
      if (!isDone()) nowUs = Math.max(nowUs, timeUs);
    },
    deeds: () => deeds,
  };
}
