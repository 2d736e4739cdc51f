// SPDX-License-Identifier: Apache-2.0
/** What one object of the cluster claims, and what its claims permit: a Service, a node its addresses, a pod its host ports. */
import type { Address } from '../address.ts';
import { claimsOnce, listsKey, portKey, type Claims } from './claims.ts';
import type { Place } from './endpoints.ts';
import type { ServiceFacts, SliceFacts } from './facts.ts';
import { healthCheckOf, type HealthCheck } from './health.ts';
import { listsOfPort, shareBackends, type PortLists } from './lists.ts';
import type { HostPort, ServedHostPort } from './pods.ts';
import { addressKey, familyOf } from './read.ts';

export type ServiceView = {
  readonly kind: 'service';
  readonly name: string;
  readonly foreign: boolean;
  readonly clusterAddresses: readonly string[];
  /** Keys of external addresses and LB VIPs, whatever the port. */
  readonly externalAddresses: readonly string[];
  readonly claims: Claims;
  /** By the `lists` of a claim. */
  readonly lists: ReadonlyMap<string, PortLists>;
  readonly healthCheck: HealthCheck | undefined;
};

export type NodeView = {
  readonly kind: 'node';
  readonly addresses: readonly string[];
  /** Of the judged node only. */
  readonly own: OwnAddresses | undefined;
};

export type OwnAddresses = {
  readonly addresses: readonly Address[];
  /** Those that serve NodePorts. */
  readonly serving: readonly Address[];
};

export type PodView = {
  readonly kind: 'pod';
  readonly name: string;
  readonly hostPorts: readonly HostPort[];
  readonly served: readonly ServedHostPort[];
};

export type View = ServiceView | NodeView | PodView;

/** The key of the judged node's own view, which has a say in questions about other addresses too. */
export const OWN_NODE_KEY = 'own node';

/** The keys under which a question finds the view: addresses and, where any address may be meant, ports. */
export function keysOfView(view: View): readonly string[] {
  switch (view.kind) {
    case 'service':
      return [...view.clusterAddresses, ...view.externalAddresses, ...view.claims.byPort.keys()];
    case 'node':
      return view.own === undefined ? view.addresses : [...view.addresses, OWN_NODE_KEY];
    case 'pod':
      return view.hostPorts.map((entry) => portKey(entry.protocol, entry.port));
  }
}

/** Everything a Service claims, computed from the Service and its slices alone. */
export function viewOfService(service: ServiceFacts, slices: readonly SliceFacts[], place: Place): ServiceView {
  const lists = new Map<string, PortLists>();
  const externals = service.foreign ? [] : [...service.externalAddresses, ...service.loadBalancerAddresses];
  for (const address of service.foreign ? [] : service.clusterAddresses) {
    const family = familyOf(address);
    for (const servicePort of service.ports) {
      lists.set(listsKey(servicePort, family), listsOfPort(service, servicePort, family, slices, place));
    }
  }
  return {
    kind: 'service',
    name: service.name,
    foreign: service.foreign,
    clusterAddresses: service.clusterAddresses.map(addressKey),
    externalAddresses: externals.map(addressKey),
    claims: claimsOnce(service),
    lists,
    healthCheck: healthCheckOf(service, slices, place),
  };
}

/**
 * The next view, sharing with the previous what did not change: the previous view itself where nothing did, so that
 * a history grows only by what is new.
 */
export function shareView(previous: View | undefined, next: View | undefined): View | undefined {
  if (previous === undefined || next === undefined || previous.kind !== next.kind) return next;
  if (previous.kind !== 'service' || next.kind !== 'service') return sameJson(previous, next) ? previous : next;
  const lists = new Map(next.lists);
  let same = previous.lists.size === lists.size;
  for (const [key, value] of lists) {
    const before = previous.lists.get(key);
    if (before === undefined) same = false;
    else if (sameJson(before, value)) lists.set(key, before);
    else {
      same = false;
      lists.set(key, shareBackends(before, value));
    }
  }
  const claims = isSameClaims(previous.claims, next.claims) ? previous.claims : next.claims;
  same &&= claims === previous.claims && sameJson(headOf(previous), headOf(next));
  return same ? previous : { ...next, claims, lists };
}

function isSameClaims(left: Claims, right: Claims): boolean {
  if (left === right) return true;
  return sameJson([...left.byFrontend], [...right.byFrontend]) && sameJson([...left.byPort], [...right.byPort]);
}

/** The parts of a view that are plain data. */
function headOf({ foreign, clusterAddresses, externalAddresses, healthCheck }: ServiceView): unknown {
  return [foreign, clusterAddresses, externalAddresses, healthCheck];
}

function sameJson(left: unknown, right: unknown): boolean {
  return JSON.stringify(left) === JSON.stringify(right);
}
