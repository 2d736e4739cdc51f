// SPDX-License-Identifier: Apache-2.0
/** The API server: objects with their versions, what changed since a version as far as it is kept, and lists of before. */
import type { ClusterEvent, ClusterObject } from '../core/objects.ts';

export const watchedKinds: readonly ['Service', 'EndpointSlice'] = ['Service', 'EndpointSlice'];
export type WatchedKind = (typeof watchedKinds)[number];
type WatchedObject = Extract<ClusterObject, { kind: WatchedKind }>;

/** One change of an object; `before` is undefined where it was not there. */
export type Change = {
  readonly version: number;
  readonly event: ClusterEvent;
  readonly before: WatchedObject | undefined;
};
export type Listing = { readonly version: number; readonly items: readonly WatchedObject[] };

export interface Api {
  write(object: WatchedObject): void;
  /** Absence is not an error. */
  remove(kind: WatchedKind, name: string): void;
  list(kind: WatchedKind): Listing;
  /** A list as a cache that is `changes` behind has it, or as far back as is kept. */
  listBehind(kind: WatchedKind, changes: number): Listing;
  /** What changed after a version; undefined: that is too long ago (410 Gone). */
  since(kind: WatchedKind, version: number): readonly Change[] | undefined;
  version(): number;
  /** Forgets every change so far. */
  compact(): void;
  subscribe(kind: WatchedKind, listener: (change: Change) => void): void;
}

/** So many changes of a kind are kept; then the older half is forgotten. */
const CHANGES_MAX = 4_096;

/** Objects and changes of one kind. */
class Shelf {
  readonly objects: Map<string, WatchedObject> = new Map();
  readonly listeners: ((change: Change) => void)[] = [];
  /** Changes up to this version are forgotten. */
  compacted: number = 0;
  changes: Change[] = [];

  add(change: Change): void {
    this.changes.push(change);
    if (this.changes.length > CHANGES_MAX) {
      const forgotten = this.changes.splice(0, CHANGES_MAX / 2);
      this.compacted = forgotten.at(-1)?.version ?? this.compacted;
    }
    for (const listener of this.listeners) listener(change);
  }
}

function nameOf(object: WatchedObject): string {
  return object.metadata?.name ?? '';
}

export function createApi(): Api {
  const shelves: Readonly<Record<WatchedKind, Shelf>> = { Service: new Shelf(), EndpointSlice: new Shelf() };
  let version = 0;
  const versioned = (object: WatchedObject): WatchedObject => {
    version += 1;
    return { ...object, metadata: { ...object.metadata, resourceVersion: String(version) } };
  };
  const since = (kind: WatchedKind, from: number): readonly Change[] | undefined => {
    const { compacted, changes } = shelves[kind];
    if (from < compacted) return undefined;
    let first = changes.length;
    while (first > 0 && (changes[first - 1]?.version ?? 0) > from) first -= 1;
    return changes.slice(first);
  };
  return {
    write: (object) => {
      const kept = versioned(object);
      const shelf = shelves[object.kind];
      const before = shelf.objects.get(nameOf(object));
      shelf.objects.set(nameOf(object), kept);
      shelf.add({ version, event: { type: before === undefined ? 'ADDED' : 'MODIFIED', object: kept }, before });
    },
    remove: (kind, name) => {
      const before = shelves[kind].objects.get(name);
      if (before === undefined) return;
      shelves[kind].objects.delete(name);
      const object = versioned(before);
      shelves[kind].add({ version, event: { type: 'DELETED', object }, before });
    },
    list: (kind) => ({ version, items: [...shelves[kind].objects.values()] }),
    listBehind: (kind, behind) => listBehind(shelves[kind], version, behind),
    since,
    version: () => version,
    compact: () => {
      for (const kind of watchedKinds) Object.assign(shelves[kind], { changes: [], compacted: version });
    },
    subscribe: (kind, listener) => void shelves[kind].listeners.push(listener),
  };
}

/** Takes the last changes back, newest first. */
function listBehind({ objects, changes, compacted }: Shelf, version: number, behind: number): Listing {
  const first = Math.max(0, changes.length - behind);
  if (first === changes.length) return { version, items: [...objects.values()] };
  const then = new Map(objects);
  for (const { event, before } of changes.slice(first).toReversed()) {
    if (!('object' in event) || event.object.metadata?.name === undefined) continue;
    if (before === undefined) then.delete(event.object.metadata.name);
    else then.set(event.object.metadata.name, before);
  }
  return { version: changes[first - 1]?.version ?? compacted, items: [...then.values()] };
}
