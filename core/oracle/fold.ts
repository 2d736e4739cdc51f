// SPDX-License-Identifier: Apache-2.0
/** The fold of watch events into what each object claims; only Services that an event concerns are computed again. */
import type { ClusterEvent, ClusterObject, ObjectKind } from '../objects.ts';
import type { Place } from './endpoints.ts';
import { readNode, type NodeFacts, type ServiceFacts, type SliceFacts } from './facts.ts';
import { servingAddresses, type NodePortAddresses } from './nodeports.ts';
import { readHostPorts, readServedHostPorts } from './pods.ts';
import { addressKey, readName } from './read.ts';
import { readServiceOnce, readSliceOnce, viewOfServiceOnce } from './shared.ts';
import type { NodeView, View } from './view.ts';

/** Mutable state of one oracle. Slices are kept by name, since each event replaces one of them whole (H5). */
export type Fold = {
  readonly options: {
    readonly nodeName: string;
    readonly zone: string | undefined;
    readonly topology: boolean;
    readonly serviceProxyName: string | undefined;
    readonly nodePortAddresses: NodePortAddresses;
  };
  place: Place;
  readonly services: Map<string, ServiceFacts>;
  readonly slices: Map<string, SliceFacts>;
  /** Names of the slices of each Service, whether or not the Service is there. */
  readonly slicesOf: Map<string, Set<string>>;
  /** What exists of each kind, by name: the next list of it tells what is gone and what is the very same object. */
  readonly objects: Readonly<Record<ObjectKind, Map<string, ClusterObject>>>;
};

/** What objects claim now, by object; undefined for one that claims nothing. */
export type Claims = Map<string, View | undefined>;

export function createFold(options: Fold['options']): Fold {
  return {
    options,
    place: { nodeName: options.nodeName, zone: options.zone, topology: options.topology },
    services: new Map(),
    slices: new Map(),
    slicesOf: new Map(),
    objects: { Service: new Map(), EndpointSlice: new Map(), Node: new Map(), Pod: new Map() },
  };
}

/** Takes one event into the fold and returns the claims that it may have changed, each computed once. */
export function applyToFold(fold: Fold, event: ClusterEvent): Claims {
  const claims: Claims = new Map();
  const services = new Set<string>();
  switch (event.type) {
    case 'ADDED':
    case 'MODIFIED':
      putObject(fold, event.object, claims, services);
      break;
    case 'DELETED': {
      const name = readName(event.object);
      if (name !== undefined) removeObject(fold, event.object.kind, name, claims, services);
      break;
    }
    case 'LISTED':
      replaceKind(fold, event, claims, services);
      break;
    case 'DISCONNECTED':
    case 'BOOKMARK':
      // The last state is kept (I9).
      break;
  }
  for (const name of services) claims.set(`service ${name}`, claimOfService(fold, name));
  return claims;
}

function replaceKind(
  fold: Fold,
  { kind, items }: Extract<ClusterEvent, { type: 'LISTED' }>,
  claims: Claims,
  services: Set<string>,
): void {
  const listed = items.filter((item) => item.kind === kind);
  const names = new Set(listed.map(readName));
  for (const name of [...fold.objects[kind].keys()])
    if (!names.has(name)) removeObject(fold, kind, name, claims, services);
  for (const item of listed) putObject(fold, item, claims, services);
}

function putObject(fold: Fold, object: ClusterObject, claims: Claims, services: Set<string>): void {
  const name = readName(object);
  if (name === undefined) return;
  // A list mostly says again what is known; an object that is the same in memory can't have changed.
  if (fold.objects[object.kind].get(name) === object) return;
  fold.objects[object.kind].set(name, object);
  switch (object.kind) {
    case 'Service': {
      const facts = readServiceOnce(object, fold.options.serviceProxyName);
      if (facts === undefined) fold.services.delete(name);
      else fold.services.set(name, facts);
      services.add(name);
      break;
    }
    case 'EndpointSlice':
      setSlice(fold, name, readSliceOnce(object), services);
      break;
    case 'Node': {
      const facts = readNode(object);
      claims.set(`node ${name}`, claimOfNode(fold, name, facts));
      // One without the label says nothing of a zone, so the configuration's holds.
      if (isOwnNode(fold, name)) setZone(fold, facts.zone ?? fold.options.zone, services);
      break;
    }
    case 'Pod': {
      const hostPorts = readHostPorts(object);
      const served = readServedHostPorts(object, fold.place.nodeName);
      claims.set(`pod ${name}`, hostPorts.length === 0 ? undefined : { kind: 'pod', name, hostPorts, served });
      break;
    }
  }
}

function removeObject(fold: Fold, kind: ObjectKind, name: string, claims: Claims, services: Set<string>): void {
  fold.objects[kind].delete(name);
  switch (kind) {
    case 'Service':
      fold.services.delete(name);
      services.add(name);
      break;
    case 'EndpointSlice':
      setSlice(fold, name, undefined, services);
      break;
    case 'Node':
      claims.set(`node ${name}`, undefined);
      if (isOwnNode(fold, name)) setZone(fold, fold.options.zone, services);
      break;
    case 'Pod':
      claims.set(`pod ${name}`, undefined);
      break;
  }
}

/** Nodes have no namespace. */
function isOwnNode(fold: Fold, name: string): boolean {
  return name === `/${fold.options.nodeName}`;
}

/** No Service depends on the addresses of its node: a question puts both together. */
function claimOfNode(fold: Fold, name: string, { addresses, ownAddresses }: NodeFacts): NodeView {
  const serving = servingAddresses(ownAddresses, fold.options.nodePortAddresses);
  const own = isOwnNode(fold, name) ? { addresses: ownAddresses, serving } : undefined;
  return { kind: 'node', addresses: addresses.map(addressKey), own };
}

/** I7: of the own Node only the zone decides where connections go, and for every Service at once. */
function setZone(fold: Fold, zone: string | undefined, services: Set<string>): void {
  if (zone === fold.place.zone) return;
  fold.place = { ...fold.place, zone };
  for (const name of fold.services.keys()) services.add(name);
}

/** A slice may change its Service: both are concerned. */
function setSlice(fold: Fold, name: string, next: SliceFacts | undefined, services: Set<string>): void {
  const previous = fold.slices.get(name);
  if (previous !== undefined) {
    const names = fold.slicesOf.get(previous.service);
    names?.delete(name);
    if (names?.size === 0) fold.slicesOf.delete(previous.service);
    fold.slices.delete(name);
    services.add(previous.service);
  }
  if (next === undefined) return;
  fold.slices.set(name, next);
  const names = fold.slicesOf.get(next.service);
  if (names === undefined) fold.slicesOf.set(next.service, new Set([name]));
  else names.add(name);
  services.add(next.service);
}

function claimOfService(fold: Fold, name: string): View | undefined {
  const service = fold.services.get(name);
  if (service === undefined) return undefined;
  const slices = [...(fold.slicesOf.get(name) ?? [])].sort().flatMap((slice) => fold.slices.get(slice) ?? []);
  return viewOfServiceOnce(service, slices, fold.place);
}
