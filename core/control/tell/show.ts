// SPDX-License-Identifier: Apache-2.0
/** One Service as a person asks after it: who reaches what from where, why not the others, and what stands in the way. */
import { prefixText, protocolText, TCP } from '../../address.ts';
import type {
  Algorithm,
  Exclusion,
  ExclusionReason,
  Family,
  Frontend,
  Masquerade,
  NodeConfig,
  Problem,
  TopologyMode,
  TopologyReason,
  TrafficPolicy,
  ViewName,
  WhenEmpty,
} from '../../service.ts';
import { nameOf, type FrontendName } from './changes.ts';
import type { Desired } from '../claims.ts';
import type { ClusterState } from '../cluster.ts';
import type { ServiceInfo } from '../decode.ts';
import {
  compareFrontends,
  compiledView,
  problems,
  topologies,
  type CompiledBackend,
  type CompiledHealthCheck,
  type Everything,
} from './document.ts';
import { portsOf } from '../endpoints.ts';
import type { EndpointInfo, SliceInfo } from '../slices.ts';
import { usesLocal } from './nodename.ts';
import { keyText } from '../names.ts';
import { EXCLUSION_WORDS } from './reasons.ts';

/** `why`: the reason in words, with what this endpoint has that is in the way. */
export type ShownExclusion = {
  readonly address: string;
  readonly port: number | null;
  readonly node: string | null;
  readonly reason: ExclusionReason;
  readonly why: string;
};

export type ShownView = {
  readonly backends: readonly CompiledBackend[];
  readonly leftOut: readonly ShownExclusion[];
  readonly whenEmpty: WhenEmpty;
  readonly topology: TopologyMode;
  readonly topologyReason: TopologyReason;
  readonly masquerade: Masquerade;
};

/** `owner`: who has the address and port where it is somebody else; `rivals`: who would take over. */
export type ShownFrontend = FrontendName & {
  readonly owner: FrontendName | null;
  readonly rivals: readonly FrontendName[];
  readonly sourceRanges: readonly string[] | null;
  /** Pods and processes of this node; null: they are not served. */
  readonly internal: ShownView | null;
  /** All that arrives from elsewhere. */
  readonly external: ShownView | null;
};

export type ShownSlice = {
  readonly name: string;
  readonly family: Family | null;
  readonly ports: readonly string[];
  readonly endpoints: number;
  readonly ready: number;
  /** Labelled headless: it doesn't count. */
  readonly headless: boolean;
};

/** Of a port whose endpoints have hints. `withoutHints`: ready endpoints that have none; `hints`: what the others name. */
export type ShownTopology = {
  readonly portName: string;
  readonly protocol: string;
  readonly family: Family;
  readonly topology: TopologyMode;
  readonly reason: TopologyReason;
  readonly ready: number;
  readonly withoutHints: readonly string[];
  readonly hints: readonly string[];
};

export type ShownService = {
  readonly apiVersion: 'tandem/v1alpha1';
  readonly kind: 'CompiledService';
  readonly node: { readonly name: string; readonly zone: string | null };
  readonly service: string;
  readonly type: string;
  readonly created: string | null;
  /** null: it is served. */
  readonly notServed: string | null;
  readonly internalPolicy: TrafficPolicy;
  readonly externalPolicy: TrafficPolicy;
  readonly affinitySeconds: number | null;
  readonly algorithm: Algorithm;
  /** Addresses of pods as far as they are known; whose own address backends see. */
  readonly clusterCIDRs: readonly string[];
  readonly slices: readonly ShownSlice[];
  readonly frontends: readonly ShownFrontend[];
  readonly topology: readonly ShownTopology[];
  readonly healthCheck: (Omit<CompiledHealthCheck, 'service'> & { readonly answer: 200 | 503 }) | null;
  readonly problems: readonly Problem[];
};

/** undefined: there is no Service of this name. */
export function showService(cluster: ClusterState, everything: Everything, key: string): ShownService | undefined {
  const { node, desired } = everything;
  const service = cluster.services.get(key);
  if (service === undefined) return undefined;
  const slices = [...(cluster.slicesOf.get(key)?.values() ?? [])].sort((left, right) =>
    left.key < right.key ? -1 : 1,
  );
  const places = placesOf(slices);
  const owner = desired.owners.get(key);
  const frontends = [...(owner?.frontends ?? [])].sort(compareFrontends);
  const check = owner?.healthCheck ?? null;
  return {
    apiVersion: 'tandem/v1alpha1',
    kind: 'CompiledService',
    node: { name: node.nodeName, zone: orNull(node.zone) },
    service: key,
    type: service.type,
    created: orNull(service.created),
    notServed: whyNotServed(service, node),
    internalPolicy: service.internalPolicy,
    externalPolicy: service.externalPolicy,
    affinitySeconds: service.affinitySeconds,
    algorithm: service.algorithm ?? node.algorithm,
    clusterCIDRs: node.clusterCIDRs.map(prefixText),
    slices: slices.map(shownSlice),
    frontends: frontends.map((frontend) => shownFrontend(frontend, desired, { node, places })),
    topology: shownTopologies(frontends, slices),
    healthCheck: check === null ? null : { ...check, answer: check.localEndpoints > 0 ? 200 : 503 },
    problems: problemsOf(cluster, everything, service, slices),
  };
}

function orNull(text: string): string | null {
  return text === '' ? null : text;
}

/** null: it is served. */
export function whyNotServed(service: ServiceInfo, node: NodeConfig): string | null {
  const { skipped, type, proxyName, clusterIPs, problems: found } = service;
  if (type === 'ExternalName') return 'an external name: a matter of DNS alone';
  if (skipped && found.some(({ field }) => field === 'spec.clusterIP'))
    return 'no cluster address: the API server gives one, a manifest has none before it is applied';
  if (skipped) return 'headless: it has no address of its own, DNS gives the addresses of its endpoints';
  if (proxyName !== node.serviceProxyName) {
    const ours = node.serviceProxyName === null ? 'those without the label' : `those of "${node.serviceProxyName}"`;
    const its = proxyName === null ? 'has no label' : `has the label`;
    return `it ${its} service.kubernetes.io/service-proxy-name${proxyName === null ? '' : ` "${proxyName}"`}: this node serves ${ours}`;
  }
  return clusterIPs.IPv4 === null && clusterIPs.IPv6 === null ? 'none of its cluster addresses can be read' : null;
}

function shownSlice({ key, family, ports, endpoints, headless }: SliceInfo): ShownSlice {
  return {
    name: key.slice(key.indexOf('/') + 1),
    family,
    ports: ports.map(({ name, port, protocol }) => `${name}${name === '' ? '' : ':'}${port}/${protocolText(protocol)}`),
    endpoints: endpoints.length,
    ready: endpoints.filter(({ ready }) => ready).length,
    headless,
  };
}

/** An endpoint and the slice that names it. */
type Place = { readonly endpoint: EndpointInfo; readonly slice: SliceInfo };
type Surroundings = { readonly node: NodeConfig; readonly places: ReadonlyMap<string, readonly Place[]> };

/** By the address as the slices write it, in canonical form where it is one. */
function placesOf(slices: readonly SliceInfo[]): ReadonlyMap<string, readonly Place[]> {
  const places = new Map<string, Place[]>();
  for (const slice of slices) {
    for (const endpoint of slice.endpoints) {
      const place = { endpoint, slice };
      const others = places.get(endpoint.text);
      if (others === undefined) places.set(endpoint.text, [place]);
      else others.push(place);
    }
  }
  return places;
}

function shownFrontend(frontend: Frontend, { claims }: Desired, around: Surroundings): ShownFrontend {
  const [first, ...others] = claims.get(keyText(frontend)) ?? [];
  const isOwner = first === frontend || first === undefined;
  return {
    ...nameOf(frontend),
    owner: isOwner ? null : nameOf(first),
    rivals: isOwner ? others.map(nameOf) : [],
    sourceRanges: frontend.sourceRanges?.map(prefixText) ?? null,
    internal: shownView(frontend, 'internal', around),
    external: shownView(frontend, 'external', around),
  };
}

function shownView(frontend: Frontend, name: ViewName, around: Surroundings): ShownView | null {
  const view = frontend[name];
  const compiled = compiledView(view);
  if (view === null || compiled === null) return null;
  const leftOut = frontend.excluded
    .filter((one) => one.view === name)
    .map((one) => shownExclusion(one, frontend, around));
  return { ...compiled, topologyReason: view.topologyReason, leftOut };
}

function shownExclusion(one: Exclusion, frontend: Frontend, around: Surroundings): ShownExclusion {
  const { address, port, reason } = one;
  const places = around.places.get(address) ?? [];
  const place = places.find((candidate) => isMeant(reason, candidate, frontend)) ?? places[0];
  const why = place === undefined ? EXCLUSION_WORDS[reason] : whyLeftOut(reason, place, places, frontend, around.node);
  return { address, port, node: orNull(place?.endpoint.node ?? ''), reason, why };
}

/** Of several with one address, the one that the reason is about. */
function isMeant(reason: ExclusionReason, { endpoint, slice }: Place, { servicePort }: Frontend): boolean {
  const { portName, protocol } = servicePort;
  switch (reason) {
    case 'invalid-address':
      return endpoint.address === null;
    case 'not-ready':
      return !endpoint.ready;
    case 'terminating':
      return endpoint.terminating;
    case 'no-such-port':
      return portsOf(slice, { name: portName, protocol }).length === 0;
    case 'not-local':
    case 'other-zone':
    case 'other-node':
    case 'other-family':
    case 'duplicate':
      return true;
  }
}

function whyLeftOut(
  reason: ExclusionReason,
  { endpoint, slice }: Place,
  places: readonly Place[],
  { servicePort }: Frontend,
  node: NodeConfig,
): string {
  switch (reason) {
    case 'not-ready':
      return endpoint.terminating ? 'not ready: terminating, and it serves no longer' : 'not ready';
    case 'terminating':
      return 'terminating; it would serve only if no other were ready';
    case 'not-local':
      return endpoint.node === '' ? 'its slice does not say on which node it is' : 'not on this node';
    case 'other-zone':
      return `its hint is for zone ${endpoint.zoneHints.join(', ')}, this node is in ${node.zone}`;
    case 'other-node':
      return `its hint is for node ${endpoint.nodeHints.join(', ')}`;
    case 'other-family':
      return `${slice.family ?? 'unknown'}: the Service has no address of that family`;
    case 'no-such-port': {
      const wanted = `${servicePort.portName === '' ? '(no name)' : servicePort.portName}/${protocolText(servicePort.protocol)}`;
      const has = slice.ports.map(
        ({ name, protocol }) => `${name === '' ? '(no name)' : name}/${protocolText(protocol)}`,
      );
      return `slice ${nameIn(slice)} has no port ${wanted}, it has ${has.length === 0 ? 'none' : firstOf(has)}`;
    }
    case 'duplicate':
      return `named ${places.length} times, by ${firstOf([...new Set(places.map((place) => nameIn(place.slice)))])}: counted once`;
    case 'invalid-address':
      return `not an ${slice.family ?? 'IP'} address, as slice ${nameIn(slice)} says it is`;
  }
}

function nameIn({ key }: SliceInfo): string {
  return key.slice(key.indexOf('/') + 1);
}

/** Of a list that may be long, what fits a line. */
function firstOf(texts: readonly string[]): string {
  const most = 5;
  const more = texts.length - most;
  return more <= 0 ? texts.join(', ') : `${texts.slice(0, most).join(', ')} and ${more} more`;
}

/** What decided for and against hints: each Service port and family once. */
function shownTopologies(frontends: readonly Frontend[], slices: readonly SliceInfo[]): ShownTopology[] {
  const protocols = new Map(frontends.map((frontend) => [protocolText(frontend.protocol), frontend.protocol]));
  return topologies(frontends).map(({ portName, protocol, family, topology, reason }) => {
    const number = protocols.get(protocol) ?? TCP;
    const ready = slices
      .filter((slice) => !slice.headless && slice.family === family)
      .filter((slice) => portsOf(slice, { name: portName, protocol: number }).length > 0)
      .flatMap(({ endpoints }) => endpoints.filter((one) => one.ready && one.address !== null));
    const without = ready.filter(({ zoneHints, nodeHints }) => zoneHints.length + nodeHints.length === 0);
    const hints = ready.flatMap(({ zoneHints, nodeHints }) => [
      ...zoneHints.map((zone) => `zone ${zone}`),
      ...nodeHints.map((name) => `node ${name}`),
    ]);
    return {
      portName,
      protocol,
      family,
      topology,
      reason,
      ready: ready.length,
      withoutHints: without.map(({ text }) => text),
      hints: [...new Set(hints)].toSorted(),
    };
  });
}

/** Of the Service and its slices, of the frontends it lost, and of the node where that matters to it. */
function problemsOf(
  cluster: ClusterState,
  { desired, node }: Everything,
  service: ServiceInfo,
  slices: readonly SliceInfo[],
): Problem[] {
  const objects = new Set([`Service ${service.key}`, ...slices.map(({ key }) => `EndpointSlice ${key}`)]);
  const matters = (problem: Problem): boolean =>
    objects.has(problem.object) ||
    problem.object.startsWith('watch of ') ||
    (problem.object === 'configuration' && usesLocal(service, node));
  return problems(cluster, node, desired).filter(matters);
}
