// SPDX-License-Identifier: Apache-2.0
/** The API server: objects with their versions, and watches that stall, repeat, end and list anew. */
import type { ClusterEvent, ClusterObject } from '../core/objects.ts';
import type { Stream } from '../core/random.ts';
import type { Clock } from './clock.ts';
import { exponential } from './seed.ts';
import type { Swarm } from './swarm.ts';

export const watchedKinds: readonly ['Service', 'EndpointSlice'] = ['Service', 'EndpointSlice'];
export type WatchedKind = (typeof watchedKinds)[number];
type WatchedObject = Extract<ClusterObject, { kind: WatchedKind }>;

export interface Api {
  write(object: WatchedObject): void;
  /** Absence is not an error. */
  remove(kind: WatchedKind, name: string): void;
  list(kind: WatchedKind): readonly WatchedObject[];
  subscribe(kind: WatchedKind, listener: (event: ClusterEvent) => void): void;
}

export function createApi(): Api {
  const objects = { Service: new Map<string, WatchedObject>(), EndpointSlice: new Map<string, WatchedObject>() };
  const listeners: Record<WatchedKind, ((event: ClusterEvent) => void)[]> = { Service: [], EndpointSlice: [] };
  let version = 0;
  const versioned = (object: WatchedObject): WatchedObject => {
    version += 1;
    return { ...object, metadata: { ...object.metadata, resourceVersion: String(version) } };
  };
  const tell = (kind: WatchedKind, event: ClusterEvent): void => {
    for (const listener of listeners[kind]) listener(event);
  };
  return {
    write: (object) => {
      const kept = versioned(object);
      const name = object.metadata?.name ?? '';
      const type = objects[object.kind].has(name) ? 'MODIFIED' : 'ADDED';
      objects[object.kind].set(name, kept);
      tell(object.kind, { type, object: kept });
    },
    remove: (kind, name) => {
      const object = objects[kind].get(name);
      if (object === undefined) return;
      objects[kind].delete(name);
      tell(kind, { type: 'DELETED', object: versioned(object) });
    },
    list: (kind) => [...objects[kind].values()],
    subscribe: (kind, listener) => void listeners[kind].push(listener),
  };
}

/** One node's watch of one kind. In order within the kind; nothing is promised between two kinds. */
export interface Watch {
  /** Lists, then watches. */
  start(): void;
  stop(): void;
  /** Nothing arrives for a while; it all arrives afterwards. */
  stall(spanUs: number): void;
  /** What is under way is lost; a list follows later. */
  end(): void;
  /** Ends a stall at once. */
  heal(): void;
}

export type WatchOptions = {
  readonly clock: Clock;
  readonly stream: Stream;
  readonly swarm: Swarm;
  readonly api: Api;
  readonly kind: WatchedKind;
  readonly deliver: (event: ClusterEvent) => void;
};

const RELIST_US = 1e6;

type Pending = { readonly atUs: number; readonly event: ClusterEvent };

function deliverDue(queue: Pending[], isDue: (it: Pending) => boolean, deliver: WatchOptions['deliver']): void {
  for (let first = queue[0]; first !== undefined && isDue(first); first = queue[0]) {
    queue.shift();
    deliver(first.event);
  }
}

export function createWatch({ clock, stream, swarm, api, kind, deliver }: WatchOptions): Watch {
  let isWatching = false;
  let epoch = 0;
  let stalledUntilUs = 0;
  let queue: Pending[] = [];
  let isAwake = false;

  const receive = (event: ClusterEvent): void => {
    if (!isWatching) return;
    const soonest = queue.at(-1)?.atUs ?? 0;
    const atUs = Math.max(soonest, clock.nowUs() + Math.floor(exponential(stream, swarm.watchDelayUs)));
    queue.push({ atUs, event });
    if (stream.chance(swarm.duplicateShare)) queue.push({ atUs, event });
    wakeLater();
  };
  api.subscribe(kind, receive);

  function wakeLater(): void {
    const first = queue[0];
    if (isAwake || first === undefined) return;
    isAwake = true;
    clock.after(Math.max(first.atUs, stalledUntilUs) - clock.nowUs(), wake);
  }

  function wake(): void {
    isAwake = false;
    const isDue = ({ atUs }: Pending): boolean => atUs <= clock.nowUs() && stalledUntilUs <= clock.nowUs();
    deliverDue(queue, isDue, deliver);
    wakeLater();
  }

  function listLater(delayUs: number): void {
    const mine = epoch;
    clock.after(delayUs, () => {
      if (epoch !== mine) return;
      isWatching = true;
      receive({ type: 'LISTED', kind, items: api.list(kind) });
    });
  }

  const drop = (): void => {
    epoch += 1;
    isWatching = false;
    queue = [];
  };
  const heal = (): void => {
    if (stalledUntilUs <= clock.nowUs()) return;
    stalledUntilUs = clock.nowUs();
    clock.after(0, wake);
  };
  return {
    start: () => {
      drop();
      listLater(exponential(stream, swarm.watchDelayUs));
    },
    stop: drop,
    stall: (spanUs) => {
      stalledUntilUs = clock.nowUs() + Math.floor(spanUs);
    },
    end: () => {
      if (!isWatching) return;
      drop();
      deliver({ type: 'DISCONNECTED', kind, reason: 'watch ended' });
      listLater(exponential(stream, RELIST_US));
    },
    heal,
  };
}
