// SPDX-License-Identifier: Apache-2.0
/** The fold of watches: events in, the cluster as last heard out, with what each event may have changed. */
import type { ClusterEvent, ClusterObject, ObjectKind } from '../objects.ts';
import type { Problem } from '../service.ts';
import { decodeService, objectKey, type ServiceInfo } from './decode.ts';
import { decodeNode, sameNode, type NodeInfo } from './nodes.ts';
import { decodeSlice, type SliceInfo } from './slices.ts';
import { decodePod, ownerOfPod, type PodInfo } from './pods.ts';

/** Objects without a name can be sent without end; so many are remembered as problems. */
const NAMELESS_MAX = 100;

/**
 * What the API has said, last word per object. A state has one owner: applyEvent uses it up and returns it changed,
 * so that an event costs the same at ten Services and at ten thousand. Readers between two events see it whole.
 */
export type ClusterState = {
  readonly services: Map<string, ServiceInfo>;
  readonly slices: Map<string, SliceInfo>;
  /** Slices by `namespace/name` of their Service, then by their own key. */
  readonly slicesOf: Map<string, Map<string, SliceInfo>>;
  readonly nodes: Map<string, NodeInfo>;
  /** Those with host ports, by `namespace/name`. */
  readonly pods: Map<string, PodInfo>;
  /** Kinds of which a complete list has been heard. */
  readonly listed: Set<ObjectKind>;
  /** Kinds whose watch was lost since their last list: what is known of them may be out of date. */
  readonly gaps: Map<ObjectKind, string>;
  /** Objects that couldn't be told from others; one line each, bounded. */
  readonly nameless: Problem[];
};

/** What must be computed again: owners of frontends (Services and pods with host ports), and nodes whose facts changed. */
export type Changed = { readonly owners: ReadonlySet<string>; readonly nodes: ReadonlySet<string> };

type Changes = { readonly owners: Set<string>; readonly nodes: Set<string> };

/** Nothing heard yet. */
export function emptyCluster(): ClusterState {
  return {
    services: new Map(),
    slices: new Map(),
    slicesOf: new Map(),
    nodes: new Map(),
    pods: new Map(),
    listed: new Set(),
    gaps: new Map(),
    nameless: [],
  };
}

/** Takes one event in; an object heard before, the same in memory, changes nothing. The state passed in must not be used afterwards. */
export function applyEvent(
  state: ClusterState,
  event: ClusterEvent,
): { readonly state: ClusterState; readonly changed: Changed } {
  const changes: Changes = { owners: new Set(), nodes: new Set() };
  switch (event.type) {
    case 'ADDED':
    case 'MODIFIED':
      store(state, changes, event.object);
      break;
    case 'DELETED':
      remove(state, changes, event.object.kind, objectName(event.object));
      break;
    case 'LISTED':
      replaceKind(state, changes, event.kind, event.items);
      break;
    case 'DISCONNECTED':
      state.gaps.set(event.kind, event.reason);
      break;
    case 'BOOKMARK':
      break;
  }
  return { state, changed: changes };
}

/** Name under which the object is kept; undefined where it has none. */
function objectName(object: ClusterObject): string | undefined {
  return object.kind === 'Node' ? decodeNode(object)?.name : objectKey(object.metadata);
}

function store(state: ClusterState, changes: Changes, object: ClusterObject): void {
  switch (object.kind) {
    case 'Service': {
      const info = decodeService(object);
      if (info === undefined) return nameless(state, 'Service');
      if (state.services.get(info.key) === info) return;
      state.services.set(info.key, info);
      changes.owners.add(info.key);
      return;
    }
    case 'EndpointSlice': {
      const key = objectKey(object.metadata);
      const before = key === undefined ? undefined : state.slices.get(key);
      const info = decodeSlice(object, before);
      // A slice that lost its label is no longer a slice of anybody.
      if (info === undefined) {
        return key === undefined ? nameless(state, 'EndpointSlice') : removeSlice(state, changes, key);
      }
      if (before === info) return;
      if (before !== undefined && before.service !== info.service) removeSlice(state, changes, info.key);
      return storeSlice(state, changes, info);
    }
    case 'Node': {
      const info = decodeNode(object);
      if (info === undefined) return nameless(state, 'Node');
      const before = state.nodes.get(info.name);
      if (before === undefined || !sameNode(before, info)) changes.nodes.add(info.name);
      state.nodes.set(info.name, info);
      return;
    }
    case 'Pod': {
      const info = decodePod(object);
      if (info === undefined) return removePod(state, changes, objectName(object));
      if (state.pods.get(info.key) === info) return;
      state.pods.set(info.key, info);
      changes.owners.add(ownerOfPod(info.key));
      return;
    }
  }
}

function removePod(state: ClusterState, changes: Changes, key: string | undefined): void {
  if (key !== undefined && state.pods.delete(key)) changes.owners.add(ownerOfPod(key));
}

function nameless(state: ClusterState, kind: ObjectKind): void {
  if (state.nameless.length >= NAMELESS_MAX) return;
  const needed = kind === 'Node' ? 'name' : 'namespace and name';
  state.nameless.push({ object: kind, field: 'metadata', message: `no ${needed}: the object is ignored` });
}

function storeSlice(state: ClusterState, changes: Changes, info: SliceInfo): void {
  state.slices.set(info.key, info);
  const siblings = state.slicesOf.get(info.service);
  if (siblings === undefined) state.slicesOf.set(info.service, new Map([[info.key, info]]));
  else siblings.set(info.key, info);
  changes.owners.add(info.service);
}

function removeSlice(state: ClusterState, changes: Changes, key: string): void {
  const info = state.slices.get(key);
  if (info === undefined) return;
  state.slices.delete(key);
  const siblings = state.slicesOf.get(info.service);
  siblings?.delete(key);
  if (siblings?.size === 0) state.slicesOf.delete(info.service);
  changes.owners.add(info.service);
}

/** Deleting what isn't there is fine: events may be repeated, or arrive after a list without the object. */
function remove(state: ClusterState, changes: Changes, kind: ObjectKind, name: string | undefined): void {
  if (name === undefined) return;
  switch (kind) {
    case 'Service':
      if (state.services.delete(name)) changes.owners.add(name);
      return;
    case 'EndpointSlice':
      return removeSlice(state, changes, name);
    case 'Node':
      if (state.nodes.delete(name)) changes.nodes.add(name);
      return;
    case 'Pod':
      return removePod(state, changes, name);
  }
}

function namesOf(state: ClusterState, kind: ObjectKind): Iterable<string> {
  switch (kind) {
    case 'Service':
      return state.services.keys();
    case 'EndpointSlice':
      return state.slices.keys();
    case 'Node':
      return state.nodes.keys();
    case 'Pod':
      return state.pods.keys();
  }
}

function replaceKind(state: ClusterState, changes: Changes, kind: ObjectKind, items: readonly ClusterObject[]): void {
  const gone = new Set(namesOf(state, kind));
  for (const item of items) {
    if (item.kind !== kind) continue;
    const name = objectName(item);
    if (name !== undefined) gone.delete(name);
    store(state, changes, item);
  }
  for (const name of gone) remove(state, changes, kind, name);
  state.listed.add(kind);
  state.gaps.delete(kind);
}

/** Every owner of frontends that is known. */
export function everyOwner({ services, pods }: ClusterState): string[] {
  return [...services.keys(), ...[...pods.keys()].map(ownerOfPod)];
}

/** What is wrong with the objects themselves, in a stable order. */
export function clusterProblems(state: ClusterState): Problem[] {
  const problems: Problem[] = [...state.nameless];
  for (const info of state.services.values()) problems.push(...info.problems);
  for (const info of state.slices.values()) problems.push(...info.problems);
  for (const info of state.pods.values()) problems.push(...info.problems);
  return problems;
}
