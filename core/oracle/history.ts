// SPDX-License-Identifier: Apache-2.0
/** Versions of what each object claims, kept by time and by event, found by the keys of the claims. */
import { assert } from '../result.ts';

/** A value in force from `fromNs` on, brought by the event of that index; undefined = nothing. */
export type Version<T> = { readonly fromNs: number; readonly event: number; readonly value: T | undefined };

/** When something changed, and by which event. */
export type Moment = { readonly atNs: number; readonly event: number };

/** Mutable tables of one oracle. They grow with the number of changes; `forgetBefore` is the bound. */
export type History<T> = {
  readonly keysOf: (value: T) => readonly string[];
  /** False: only the latest value of each object is kept. */
  readonly keepsPast: boolean;
  readonly versions: Map<string, Version<T>[]>;
  /** Keys under which each object is found, and the reverse. */
  readonly keys: Map<string, Set<string>>;
  readonly objects: Map<string, Set<string>>;
  /** Objects with something to forget: more than one version, or a last one that is nothing. */
  readonly aged: Set<string>;
};

export function createHistory<T>(options: Pick<History<T>, 'keysOf' | 'keepsPast'>): History<T> {
  return { ...options, versions: new Map(), keys: new Map(), objects: new Map(), aged: new Set() };
}

/** Records a new value; the caller passes only real changes, in order of time and event. */
export function recordVersion<T>(history: History<T>, object: string, value: T | undefined, moment: Moment): void {
  const version = { fromNs: moment.atNs, event: moment.event, value };
  const versions = history.versions.get(object);
  const last = versions?.at(-1);
  assert(last === undefined || (last.fromNs <= moment.atNs && last.event <= moment.event), 'history runs forward');
  if (versions !== undefined && history.keepsPast) {
    versions.push(version);
    history.aged.add(object);
    addKeys(history, object, value);
  } else {
    history.versions.set(object, [version]);
    if (history.keepsPast && value === undefined) history.aged.add(object);
    settleKeys(history, object);
  }
}

export function latestOf<T>(history: History<T>, object: string): T | undefined {
  return history.versions.get(object)?.at(-1)?.value;
}

export function latestValues<T>(history: History<T>): T[] {
  return [...history.versions.values()].flatMap((versions) => versions.at(-1)?.value ?? []);
}

/** Objects that claim, or in the kept past claimed, one of the keys. */
export function objectsFor<T>(history: History<T>, keys: readonly string[]): readonly string[] {
  const found = new Set<string>();
  for (const key of keys) for (const object of history.objects.get(key) ?? []) found.add(object);
  return [...found];
}

/** Values in force at a time. */
export function valuesAtTime<T>(history: History<T>, objects: readonly string[], timeNs: number): T[] {
  return select(history, objects, (version) => version.fromNs <= timeNs);
}

/** Values in force right after an event. */
export function valuesAfterEvent<T>(history: History<T>, objects: readonly string[], event: number): T[] {
  return select(history, objects, (version) => version.event <= event);
}

function select<T>(history: History<T>, objects: readonly string[], inForce: (version: Version<T>) => boolean): T[] {
  const values: T[] = [];
  for (const object of objects) {
    const versions = history.versions.get(object) ?? [];
    const value = versions[lastWhere(versions, inForce)]?.value;
    if (value !== undefined) values.push(value);
  }
  return values;
}

/** Moments after `afterNs` and up to `untilNs` at which one of the objects changed, in order of events. */
export function changesWithin<T>(
  history: History<T>,
  objects: readonly string[],
  span: { readonly afterNs: number; readonly untilNs: number },
): Moment[] {
  const moments = new Map<number, Moment>();
  for (const object of objects) {
    const versions = history.versions.get(object) ?? [];
    const first = lastWhere(versions, (version) => version.fromNs <= span.afterNs) + 1;
    const last = lastWhere(versions, (version) => version.fromNs <= span.untilNs);
    for (const { fromNs, event } of versions.slice(first, last + 1)) moments.set(event, { atNs: fromNs, event });
  }
  return [...moments.values()].sort((left, right) => left.event - right.event);
}

/** Drops every version that was over at `timeNs`; answers from then on stay as they are. */
export function forgetVersionsBefore<T>(history: History<T>, timeNs: number): void {
  for (const object of history.aged) {
    const versions = history.versions.get(object) ?? [];
    const current = lastWhere(versions, (version) => version.fromNs <= timeNs);
    if (current > 0) versions.splice(0, current);
    if (current > 0 || versions[0]?.value === undefined) settleKeys(history, object);
    if (versions.length < 2) history.aged.delete(object);
  }
}

export function versionCount<T>(history: History<T>): number {
  let count = 0;
  for (const versions of history.versions.values()) count += versions.length;
  return count;
}

function addKeys<T>(history: History<T>, object: string, value: T | undefined): void {
  const known = history.keys.get(object) ?? new Set();
  history.keys.set(object, known);
  for (const key of value === undefined ? [] : history.keysOf(value)) {
    known.add(key);
    const objects = history.objects.get(key);
    if (objects === undefined) history.objects.set(key, new Set([object]));
    else objects.add(object);
  }
}

/** Leaves exactly the keys of the kept versions; an object that is gone for good goes altogether. */
function settleKeys<T>(history: History<T>, object: string): void {
  for (const key of history.keys.get(object) ?? []) {
    const objects = history.objects.get(key);
    objects?.delete(object);
    if (objects?.size === 0) history.objects.delete(key);
  }
  history.keys.delete(object);
  const versions = history.versions.get(object) ?? [];
  if (versions.every(({ value }) => value === undefined)) history.versions.delete(object);
  else for (const { value } of versions) addKeys(history, object, value);
}

/** Index of the last element for which the condition holds, -1 for none; it holds up to some element and not after. */
function lastWhere<E>(list: readonly E[], holds: (element: E) => boolean): number {
  let low = 0;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const element = list[middle];
    if (element !== undefined && holds(element)) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}
