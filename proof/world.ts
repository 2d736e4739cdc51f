// SPDX-License-Identifier: Apache-2.0
/** Random clusters: Services, ports and endpoints as plain data, how they change, and the events that tell of them. */
import type { ClusterEvent, EndpointObject, EndpointSliceObject, ServiceObject } from '../core/objects.ts';
import type { NodeConfig } from '../core/service.ts';
import { dotted } from './describe.ts';
import type { Stream } from './stream.ts';

/** The node for which every world is compiled. */
export const worldNode: NodeConfig = {
  nodeName: 'node-a',
  zone: 'z1',
  serviceProxyName: null,
  topology: true,
  masqueradeAll: false,
  clusterCIDRs: [],
};

const NAMESPACE = 'shop';
const BACKENDS_MAX = 40;
const SERVICES_MAX = 10;

/** `terminating` still serves, but gets new connections only where nothing else is left. */
export type EndpointState = 'ready' | 'not-ready' | 'terminating';

/** An endpoint of a Service; `pod` tells two owners of one address apart. */
export type WorldEndpoint = {
  readonly address: number;
  readonly state: EndpointState;
  /** On our node. */
  readonly isLocal: boolean;
  readonly pod: string;
};

export type WorldPort = { readonly name: string; readonly port: number; readonly targetPort: number };

export type WorldService = {
  readonly name: string;
  readonly address: number;
  /** internalTrafficPolicy Local: with endpoints elsewhere only, clients meet silence. */
  readonly isLocal: boolean;
  readonly ports: readonly WorldPort[];
  readonly endpoints: readonly WorldEndpoint[];
};

export type World = { readonly services: readonly WorldService[] };

/** Where pods live: few addresses, so that Services share backends and clients are backends themselves. */
function podAddress(stream: Stream): number {
  return 0x0a010000 + stream.below(2) * 256 + 1 + stream.below(24);
}

function randomEndpoint(stream: Stream): WorldEndpoint {
  const address = stream.chance(0.02) ? 0x0a600001 + stream.below(SERVICES_MAX) : podAddress(stream);
  const state = stream.chance(0.75) ? 'ready' : stream.pick(['not-ready', 'terminating'] as const);
  return { address, state, isLocal: stream.chance(0.5), pod: `pod-${stream.below(400)}` };
}

function randomEndpoints(stream: Stream): readonly WorldEndpoint[] {
  const count = stream.pick([0, 1, 1, 2, 3, 5, 8, stream.below(BACKENDS_MAX + 1)]);
  const found = new Map<number, WorldEndpoint>();
  for (let i = 0; i < count; i++) {
    const endpoint = randomEndpoint(stream);
    found.set(endpoint.address, endpoint);
  }
  return [...found.values()];
}

function randomPorts(stream: Stream): readonly WorldPort[] {
  const names = ['http', 'admin', 'grpc'].slice(0, 1 + stream.below(3));
  const first = stream.pick([80, 443, 1, 65534, 8080]);
  return names.map((name, index) => ({
    name,
    port: first + index * 2 - (first > 65000 ? index * 4 : 0),
    targetPort: stream.pick([8080, 8080, 80, 9000]),
  }));
}

function randomService(stream: Stream, index: number): WorldService {
  return {
    name: `service-${index}`,
    address: 0x0a600001 + index,
    isLocal: stream.chance(0.25),
    ports: randomPorts(stream),
    endpoints: randomEndpoints(stream),
  };
}

/** A cluster of one to ten Services with up to 40 backends each, drawn from few pods. */
export function randomWorld(stream: Stream): World {
  const count = 1 + stream.below(SERVICES_MAX);
  return { services: Array.from({ length: count }, (_, index) => randomService(stream, index)) };
}

function changeEndpoints(stream: Stream, endpoints: readonly WorldEndpoint[]): readonly WorldEndpoint[] {
  if (endpoints.length === 0) return randomEndpoints(stream);
  const chosen = stream.below(endpoints.length);
  switch (stream.below(6)) {
    case 0:
      return endpoints.filter((_, index) => index !== chosen);
    case 1:
      return endpoints.map((it, index) => (index === chosen ? { ...it, state: 'terminating' } : it));
    case 2:
      return endpoints.map((it, index) => (index === chosen ? { ...it, state: 'ready' } : it));
    case 3:
      // The address passes to another pod: flows to the old one must not count as its own.
      return endpoints.map((it, index) => (index === chosen ? { ...it, pod: `${it.pod}-again` } : it));
    case 4:
      return [];
    default: {
      const fresh = randomEndpoint(stream);
      return [...endpoints.filter(({ address }) => address !== fresh.address), fresh];
    }
  }
}

/** One thing happens: an endpoint comes, goes, ends or is replaced; a Service is made anew or taken away. */
export function changeWorld(stream: Stream, world: World): World {
  const { services } = world;
  const chosen = stream.below(Math.max(services.length, 1));
  const fate = stream.below(12);
  if (services.length === 0 || (fate === 0 && services.length < SERVICES_MAX)) {
    const taken = new Set(services.map(({ name }) => name));
    const index = Array.from({ length: SERVICES_MAX }, (_, at) => at).find((at) => !taken.has(`service-${at}`));
    return index === undefined ? world : { services: [...services, randomService(stream, index)] };
  }
  if (fate === 1) return { services: services.filter((_, index) => index !== chosen) };
  const change = (service: WorldService): WorldService =>
    fate === 2
      ? { ...service, isLocal: !service.isLocal }
      : { ...service, endpoints: changeEndpoints(stream, service.endpoints) };
  return { services: services.map((service, index) => (index === chosen ? change(service) : service)) };
}

function serviceObject({ name, address, isLocal, ports }: WorldService): ServiceObject {
  return {
    kind: 'Service',
    metadata: { namespace: NAMESPACE, name, uid: name },
    spec: {
      type: 'ClusterIP',
      clusterIP: dotted(address),
      clusterIPs: [dotted(address)],
      ipFamilies: ['IPv4'],
      internalTrafficPolicy: isLocal ? 'Local' : 'Cluster',
      ports: ports.map(({ name: portName, port, targetPort }) => ({
        name: portName,
        port,
        targetPort,
        protocol: 'TCP',
      })),
    },
  };
}

function endpointObject({ address, state, isLocal, pod }: WorldEndpoint): EndpointObject {
  return {
    addresses: [dotted(address)],
    conditions: { ready: state === 'ready', serving: state !== 'not-ready', terminating: state === 'terminating' },
    nodeName: isLocal ? worldNode.nodeName : 'node-b',
    targetRef: { kind: 'Pod', namespace: NAMESPACE, name: pod, uid: pod },
  };
}

function sliceObject({ name, ports, endpoints }: WorldService): EndpointSliceObject {
  return {
    kind: 'EndpointSlice',
    metadata: { namespace: NAMESPACE, name: `${name}-1`, labels: { 'kubernetes.io/service-name': name } },
    addressType: 'IPv4',
    ports: ports.map(({ name: portName, targetPort }) => ({ name: portName, port: targetPort, protocol: 'TCP' })),
    endpoints: endpoints.map(endpointObject),
  };
}

/** The lists that tell a control plane of this world and nothing else. */
export function worldEvents(world: World): readonly ClusterEvent[] {
  return [
    { type: 'LISTED', kind: 'Service', items: world.services.map(serviceObject) },
    { type: 'LISTED', kind: 'EndpointSlice', items: world.services.map(sliceObject) },
  ];
}

/** What a watch tells where one world follows another: only the Services that are not the same object any more. */
export function changeEvents(before: World, after: World): readonly ClusterEvent[] {
  const events: ClusterEvent[] = [];
  const names = new Set(after.services.map(({ name }) => name));
  for (const service of before.services) {
    if (names.has(service.name)) continue;
    events.push({ type: 'DELETED', object: sliceObject(service) }, { type: 'DELETED', object: serviceObject(service) });
  }
  for (const service of after.services) {
    const known = before.services.find(({ name }) => name === service.name);
    if (known === service) continue;
    const type = known === undefined ? 'ADDED' : 'MODIFIED';
    events.push({ type, object: serviceObject(service) }, { type, object: sliceObject(service) });
  }
  return events;
}

/** `shop/web:http` for an address and port of a world; `shop/web` where only the address is its; else undefined. */
export function serviceAt(world: World, address: number, port: number): string | undefined {
  const service = world.services.find((candidate) => candidate.address === address);
  if (service === undefined) return undefined;
  const found = service.ports.find((candidate) => candidate.port === port);
  return `${NAMESPACE}/${service.name}${found === undefined ? '' : `:${found.name}`}`;
}
