// SPDX-License-Identifier: Apache-2.0
/**
 * The backends of a Service port over all its views as one list ordered by text, and the difference between two lists.
 * Backends that stay are told by being the same object: of a hundred thousand, only those that change are looked at.
 */
import {
  BACKEND_ACTIVE,
  BACKEND_GENERATION_SHIFT,
  BACKEND_IN_EXTERNAL,
  BACKEND_IN_INTERNAL,
  BACKEND_STATE,
  BACKEND_TERMINATING,
  type BackendRecord,
} from '../layout.gen.ts';
import type { Protocol } from '../address.ts';
import { assert } from '../result.ts';
import type { Backend, Frontend } from '../service.ts';
import { compareTexts, sameHash } from './names.ts';

/** `views`: BACKEND_IN_* of each; none: conversations of datagrams go on there. */
export type BackendList = { readonly backends: readonly Backend[]; readonly views: readonly number[] };

/** A backend that is published, or about to be. `record.live` is what the map holds. */
export type BackendEntry = { readonly id: number; record: BackendRecord };

/** What the maps hold of a Service port: for each of the list its id and its entry. */
export type HeldBackends = BackendList & { readonly ids: readonly number[]; readonly entries: readonly BackendEntry[] };

export const NO_BACKENDS: BackendList = { backends: [], views: [] };
export const NONE_HELD: HeldBackends = { ...NO_BACKENDS, ids: [], entries: [] };

/** State and views, the low bits of `live`. */
const LIVE_BITS = (1 << BACKEND_GENERATION_SHIFT) - 1;

/** The low bits of the `live` word of a backend in these views. */
export function liveBits({ state }: Backend, views: number): number {
  return (state === 'active' ? BACKEND_ACTIVE : BACKEND_TERMINATING) | views;
}

/** What a restart finds in the maps, by `address:port`. */
export function heldFrom(found: ReadonlyMap<string, BackendEntry>): HeldBackends {
  const sorted = [...found].sort(([left], [right]) => (left < right ? -1 : 1));
  const backends = sorted.map(([text, { record }]): Backend => {
    const { address, identity, live, port } = record;
    const state = (live & BACKEND_STATE) === BACKEND_ACTIVE ? 'active' : 'terminating';
    return { address, port, state, node: '', zone: '', identity, text };
  });
  const entries = sorted.map(([, entry]) => entry);
  const views = entries.map(({ record }) => record.live & (BACKEND_IN_INTERNAL | BACKEND_IN_EXTERNAL));
  return { backends, views, ids: entries.map(({ id }) => id), entries };
}

/** Every backend of the views of these frontends, and those that only serve on, each once. */
export function backendList(frontends: readonly Frontend[]): BackendList {
  const parts = new Map<readonly Backend[], number>();
  const add = (backends: readonly Backend[] | undefined, bit: number): void => {
    if (backends !== undefined) parts.set(backends, (parts.get(backends) ?? 0) | bit);
  };
  for (const { internal, external, serving } of frontends) {
    add(internal?.backends, BACKEND_IN_INTERNAL);
    add(external?.backends, BACKEND_IN_EXTERNAL);
    add(serving, 0);
  }
  let all = NO_BACKENDS;
  for (const [backends, bits] of parts) {
    all = mergeLists(all, { backends, views: repeated(bits, backends.length) });
  }
  return all;
}

let lastRepeated: readonly number[] = [];

/**
 * One list for ports that follow each other with as many backends. Not a typed array: of a hundred elements these cost
 * more to make than to fill.
 */
function repeated(value: number, length: number): readonly number[] {
  if (lastRepeated.length !== length || lastRepeated[0] !== value) lastRepeated = Array.from({ length }, () => value);
  return lastRepeated;
}

function mergeLists(left: BackendList, right: BackendList): BackendList {
  const [first, last] = [right.backends[0], left.backends[left.backends.length - 1]];
  if (last === undefined) return right;
  if (first === undefined) return left;
  const backends: Backend[] = [];
  const views: number[] = [];
  const push = (backend: Backend, bits: number): void => {
    backends.push(backend);
    views.push(bits);
  };
  let [one, other] = [0, 0];
  for (;;) {
    const [here, there] = [left.backends[one], right.backends[other]];
    if (here === undefined && there === undefined) return { backends, views };
    const order = compareBackends(here, there);
    const bits = (order <= 0 ? (left.views[one] ?? 0) : 0) | (order >= 0 ? (right.views[other] ?? 0) : 0);
    if (order <= 0) one += 1;
    if (order >= 0) other += 1;
    const backend = order <= 0 ? here : there;
    if (backend !== undefined) push(backend, bits);
  }
}

/** By text; what is missing comes last. */
function compareBackends(left: Backend | undefined, right: Backend | undefined): number {
  if (left === right) return 0;
  if (left === undefined) return 1;
  if (right === undefined) return -1;
  return compareTexts(left.text, right.text);
}

export type BackendDifference = {
  /** Of each that is wanted what is held of it; undefined: it is new, or another pod has its address now. */
  readonly kept: readonly (BackendEntry | undefined)[];
  /** Places in the wanted list. */
  readonly missing: readonly number[];
  /** Places in both lists: the bits may differ. */
  readonly changed: readonly { readonly held: number; readonly wanted: number }[];
  /** Places among those held. */
  readonly gone: readonly number[];
};

/** `protocol`: of the Service port; what was adopted may say another. */
export function compareLists(
  held: HeldBackends,
  wanted: BackendList,
  protocol: Protocol | undefined,
): BackendDifference {
  // As long as it will be: grown one by one, it would be copied again and again.
  const kept: (BackendEntry | undefined)[] = held.entries.slice(0, wanted.backends.length);
  const missing: number[] = [];
  const changed: { held: number; wanted: number }[] = [];
  const gone: number[] = [];
  let one = 0;
  let other = 0;
  while (one < held.backends.length || other < wanted.backends.length) {
    const here = held.backends[one];
    const there = wanted.backends[other];
    const order = here === there ? 0 : compareBackends(here, there);
    if (order === 0 && (here === there || isKept(held.entries[one], there, protocol))) {
      kept[other] = held.entries[one];
      if (here !== there || held.views[one] !== wanted.views[other]) changed.push({ held: one, wanted: other });
    } else {
      if (order <= 0) gone.push(one);
      if (order >= 0) {
        kept[other] = undefined;
        missing.push(other);
      }
    }
    if (order <= 0) one += 1;
    if (order >= 0) other += 1;
  }
  return { kept, missing, changed, gone };
}

/** Of two with the same address and port: whether the same pod has it. */
function isKept(held: BackendEntry | undefined, wanted: Backend | undefined, protocol: Protocol | undefined): boolean {
  assert(held !== undefined && wanted !== undefined, 'what has an address and port is there');
  return sameHash(held.record.identity, wanted.identity) && held.record.protocol === protocol;
}

/** State and views that a `live` word says. */
export function bitsOf(live: number): number {
  return live & LIVE_BITS;
}

/** The ids of some of a list, in its order. */
export function idsOf(some: readonly Backend[], list: BackendList, ids: readonly number[]): readonly number[] {
  if (some === list.backends) return ids;
  let at = 0;
  return some.map((backend) => {
    while (at < list.backends.length && compareBackends(list.backends[at], backend) !== 0) at += 1;
    const id = ids[at];
    assert(id !== undefined, `${backend.text} is in the list`);
    return id;
  });
}
