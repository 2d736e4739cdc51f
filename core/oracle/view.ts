// SPDX-License-Identifier: Apache-2.0
/** What one object of the cluster claims: a Service its frontends and their outcomes, a node its addresses, a pod its host ports. */
import { endpointText, UDP, type Address, type Port, type Protocol } from '../address.ts';
import type { Backend, Outcome, Unsupported } from './answer.ts';
import { categorizeEndpoints, possibleEndpoints, type Endpoint, type Place } from './endpoints.ts';
import {
  addressKey,
  familyOf,
  type HostPort,
  type ServiceFacts,
  type ServicePortFacts,
  type SliceFacts,
} from './facts.ts';
import { servingBackends, type ServingBackend } from './flow.ts';

export type Frontend = { readonly address: Address; readonly protocol: Protocol; readonly port: Port };

/** A ClusterIP frontend with each outcome its Service permits; more than one only where duplicates leave it open. */
export type ClusterFrontend = Frontend & {
  readonly outcomes: readonly (Outcome | Unsupported)[];
  /** Of UDP: whom a flow may keep. */
  readonly serving: readonly ServingBackend[];
  readonly affinitySeconds: number;
};

export type ServiceView = {
  readonly kind: 'service';
  readonly name: string;
  readonly foreign: boolean;
  readonly clusterAddresses: readonly string[];
  /** Keys of external addresses and LB VIPs, whatever the port. */
  readonly externalAddresses: readonly string[];
  readonly cluster: ReadonlyMap<string, ClusterFrontend>;
  readonly external: ReadonlyMap<string, Unsupported>;
  /** By `portKey`. */
  readonly nodePorts: ReadonlyMap<string, Unsupported>;
};

export type NodeView = { readonly kind: 'node'; readonly addresses: readonly string[] };

export type PodView = { readonly kind: 'pod'; readonly name: string; readonly hostPorts: readonly HostPort[] };

export type View = ServiceView | NodeView | PodView;

export function portKey(protocol: Protocol, port: Port | number): string {
  return `${protocol}:${port}`;
}

export function frontendKey(address: Address, protocol: Protocol, port: Port): string {
  return `${addressKey(address)} ${portKey(protocol, port)}`;
}

/** The keys under which a question finds the view: addresses and, where any address may be meant, ports. */
export function keysOfView(view: View): readonly string[] {
  switch (view.kind) {
    case 'service':
      return [...view.clusterAddresses, ...view.externalAddresses, ...view.nodePorts.keys()];
    case 'node':
      return view.addresses;
    case 'pod':
      return view.hostPorts.map((entry) => portKey(entry.protocol, entry.port));
  }
}

/** Name of a Service port as Kubernetes prints it. */
function portText(service: ServiceFacts, servicePort: ServicePortFacts): string {
  return servicePort.name === '' ? service.name : `${service.name}:${servicePort.name}`;
}

/** Everything a Service claims, computed from the Service and its slices alone. */
export function viewOfService(service: ServiceFacts, slices: readonly SliceFacts[], place: Place): ServiceView {
  const ports = service.foreign ? [] : service.ports;
  const cluster = new Map<string, ClusterFrontend>();
  const external = new Map<string, Unsupported>();
  const nodePorts = new Map<string, Unsupported>();
  for (const servicePort of ports) {
    const { port, protocol, nodePort } = servicePort;
    const object = portText(service, servicePort);
    for (const address of service.clusterAddresses) {
      const key = frontendKey(address, protocol, port);
      const { outcomes, serving } = outcomesOfPort(service, servicePort, address, slices, place);
      const known = cluster.get(key);
      cluster.set(key, {
        address,
        protocol,
        port,
        outcomes: [...(known?.outcomes ?? []), ...outcomes],
        serving: [...(known?.serving ?? []), ...serving],
        affinitySeconds: service.affinitySeconds,
      });
    }
    const claim = (reason: Unsupported['reason'], address: Address): unknown =>
      external.set(frontendKey(address, protocol, port), { kind: 'unsupported', reason, object });
    for (const address of service.externalAddresses) claim('ExternalIP', address);
    for (const address of service.loadBalancerAddresses) claim('LoadBalancer', address);
    if (nodePort !== 0) nodePorts.set(portKey(protocol, nodePort), { kind: 'unsupported', reason: 'NodePort', object });
  }
  const externals = service.foreign ? [] : [...service.externalAddresses, ...service.loadBalancerAddresses];
  return {
    kind: 'service',
    name: service.name,
    foreign: service.foreign,
    clusterAddresses: service.clusterAddresses.map(addressKey),
    externalAddresses: externals.map(addressKey),
    cluster,
    external,
    nodePorts,
  };
}

/**
 * The outcomes of one ClusterIP frontend: one, or one for each way in which undefined duplicates may fall; and whom
 * flows to it may keep.
 */
function outcomesOfPort(
  service: ServiceFacts,
  servicePort: ServicePortFacts,
  frontend: Address,
  slices: readonly SliceFacts[],
  place: Place,
): Pick<ClusterFrontend, 'outcomes' | 'serving'> {
  const object = portText(service, servicePort);
  const family = familyOf(frontend);
  const worlds = possibleEndpoints(slices, family, servicePort, place);
  if (worlds === undefined) {
    return { outcomes: [{ kind: 'unsupported', reason: 'duplicate-endpoints', object }], serving: [] };
  }
  const externals = [...service.externalAddresses, ...service.loadBalancerAddresses];
  const externallyAccessible = servicePort.nodePort !== 0 || externals.some((address) => familyOf(address) === family);
  const policy = { ...service, externallyAccessible };
  const outcomes = worlds.map((world) =>
    outcomeOf(object, service.internalLocal, categorizeEndpoints(world, policy, place)),
  );
  return {
    outcomes: outcomes.filter((outcome, index) => outcomes.findIndex((other) => sameJson(other, outcome)) === index),
    serving: servicePort.protocol === UDP ? servingBackends(worlds) : [],
  };
}

/** Internal policy chooses the list (B1); an empty one refuses or drops (C1, C2). */
function outcomeOf(service: string, internalLocal: boolean, lists: ReturnType<typeof categorizeEndpoints>): Outcome {
  const usable: readonly Endpoint[] = internalLocal ? lists.local : lists.cluster;
  if (usable.length > 0) return { kind: 'permitted', service, backends: usable.map((endpoint) => endpoint.backend) };
  return lists.hasAny
    ? { kind: 'drop', service, reason: 'no-local-endpoints' }
    : { kind: 'refuse', service, reason: 'no-endpoints' };
}

/**
 * The next view, sharing with the previous what did not change: the previous view itself where nothing did, so that
 * a history grows only by what is new.
 */
export function shareView(previous: View | undefined, next: View | undefined): View | undefined {
  if (previous === undefined || next === undefined || previous.kind !== next.kind) return next;
  if (previous.kind !== 'service' || next.kind !== 'service') return sameJson(previous, next) ? previous : next;
  const cluster = new Map(next.cluster);
  let same = previous.cluster.size === cluster.size;
  for (const [key, frontend] of cluster) {
    const before = previous.cluster.get(key);
    if (before === undefined) same = false;
    else if (sameJson(before, frontend)) cluster.set(key, before);
    else {
      same = false;
      cluster.set(key, { ...frontend, outcomes: shareBackends(before.outcomes, frontend.outcomes) });
    }
  }
  return same && sameJson(claimsOf(previous), claimsOf(next)) ? previous : { ...next, cluster };
}

/** A version of a Service with a thousand backends then costs a thousand words, not a thousand objects. */
function shareBackends(
  previous: ClusterFrontend['outcomes'],
  next: ClusterFrontend['outcomes'],
): ClusterFrontend['outcomes'] {
  const known = new Map<string, Backend>();
  for (const outcome of previous) {
    if (outcome.kind !== 'permitted') continue;
    for (const backend of outcome.backends) known.set(endpointText(backend.address, backend.port), backend);
  }
  const share = (backend: Backend): Backend => known.get(endpointText(backend.address, backend.port)) ?? backend;
  return next.map((outcome) =>
    outcome.kind === 'permitted' ? { ...outcome, backends: outcome.backends.map(share) } : outcome,
  );
}

/** The parts of a view besides its ClusterIP frontends, as plain data. */
function claimsOf(view: ServiceView): unknown {
  return [view.foreign, view.clusterAddresses, view.externalAddresses, [...view.external], [...view.nodePorts]];
}

function sameJson(left: unknown, right: unknown): boolean {
  return JSON.stringify(left) === JSON.stringify(right);
}
