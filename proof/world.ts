// SPDX-License-Identifier: Apache-2.0
/** Random clusters: Services, ports and endpoints as plain data, how they change, and the events that tell of them. */
import { PLAIN_NODE } from '../core/control/nodes.ts';
import type { ClusterEvent, EndpointObject, EndpointSliceObject, ServiceObject } from '../core/objects.ts';
import type { NodeConfig } from '../core/service.ts';
import { addressText } from '../core/address.ts';
import { addressOf, ipv6, type HostAddress } from './traffic/address.ts';
import type { Stream } from '../core/random.ts';

/** The node for which every world is compiled. */
export const worldNode: NodeConfig = { ...PLAIN_NODE, nodeName: 'node-a', zone: 'z1' };

const NAMESPACE = 'shop';
const BACKENDS_MAX = 40;
const SERVICES_MAX = 10;
/** To which Services move. */
const SPARE_ADDRESSES = 4;

/** `terminating` still serves, but gets new connections only where nothing else is left. */
export type EndpointState = 'ready' | 'not-ready' | 'terminating';

/** An endpoint of a Service; `pod` tells two owners of one address apart. */
export type WorldEndpoint = {
  readonly address: HostAddress;
  readonly state: EndpointState;
  /** On our node. */
  readonly isLocal: boolean;
  readonly pod: string;
};

export type WorldPort = {
  readonly name: string;
  readonly port: number;
  readonly targetPort: number;
  /** Default TCP. */
  readonly protocol?: 'TCP' | 'UDP';
};

export type WorldService = {
  readonly name: string;
  /** One, or one of each family. */
  readonly addresses: readonly HostAddress[];
  /** internalTrafficPolicy Local: with endpoints elsewhere only, clients meet silence. */
  readonly isLocal: boolean;
  readonly ports: readonly WorldPort[];
  /** Clients are kept on their backend for so long; absent: they are not. */
  readonly affinitySeconds?: number;
  /** Of both families; clients get those of theirs. */
  readonly endpoints: readonly WorldEndpoint[];
};

export type World = { readonly services: readonly WorldService[] };

type Family = 'IPv4' | 'IPv6';

function familyOf(address: HostAddress): Family {
  return typeof address === 'number' ? 'IPv4' : 'IPv6';
}

/**
 * IPv6 addresses share their last word with IPv4 ones, so that neither may be told by it alone; the first of them
 * differs from each other in one word, whichever.
 */
function serviceAddress(family: Family, index: number): HostAddress {
  const word = 0x0a600001 + index;
  if (family === 'IPv4') return word;
  const words: [number, number, number, number] = [0xfd000096, 0, 0, 0x0a600001];
  words[index & 3]! += index;
  return ipv6(...words);
}

/** Where pods live: few addresses, so that Services share backends and clients are backends themselves. */
export function podAddress(stream: Stream, family: Family): HostAddress {
  const word = 0x0a010000 + stream.below(2) * 256 + 1 + stream.below(24);
  if (family === 'IPv4') return word;
  // Some differ in one word only, whichever it is.
  return ipv6(0xfd000001 + stream.below(2), stream.below(2) * 7, stream.below(2) * 0xabcd, word & 0xffff000f);
}

function randomEndpoint(stream: Stream, families: readonly Family[]): WorldEndpoint {
  const family = stream.pick(families);
  const isService = stream.chance(0.02);
  const address = isService ? serviceAddress(family, stream.below(SERVICES_MAX)) : podAddress(stream, family);
  const state = stream.chance(0.75) ? 'ready' : stream.pick(['not-ready', 'terminating'] as const);
  return { address, state, isLocal: stream.chance(0.5), pod: `pod-${stream.below(400)}` };
}

function randomEndpoints(stream: Stream, families: readonly Family[]): readonly WorldEndpoint[] {
  const count = stream.pick([0, 1, 1, 2, 3, 5, 8, stream.below(BACKENDS_MAX + 1)]);
  const found = new Map<HostAddress, WorldEndpoint>();
  for (let i = 0; i < count; i++) {
    const endpoint = randomEndpoint(stream, families);
    found.set(endpoint.address, endpoint);
  }
  return [...found.values()];
}

function randomPorts(stream: Stream): readonly WorldPort[] {
  const names = ['http', 'admin', 'grpc'].slice(0, 1 + stream.below(3));
  const first = stream.pick([80, 443, 1, 65534, 8080]);
  return names.flatMap((name, index): WorldPort[] => {
    const port = first + index * 2 - (first > 65000 ? index * 4 : 0);
    const one = { name, port, targetPort: stream.pick([8080, 8080, 80, 9000]) };
    if (stream.chance(0.3)) return [{ ...one, protocol: 'UDP' }];
    // Both protocols of a number: one is never taken for the other.
    return stream.chance(0.3) ? [one, { ...one, name: `${name}-udp`, protocol: 'UDP' }] : [one];
  });
}

const FAMILIES: readonly (readonly Family[])[] = [['IPv4'], ['IPv4', 'IPv6'], ['IPv6', 'IPv4'], ['IPv6']];

function randomService(stream: Stream, index: number): WorldService {
  const families = stream.pick(FAMILIES);
  return {
    name: `service-${index}`,
    addresses: families.map((family) => serviceAddress(family, index)),
    isLocal: stream.chance(0.25),
    ports: randomPorts(stream),
    endpoints: randomEndpoints(stream, families),
    ...(stream.chance(0.15) ? { affinitySeconds: stream.pick([1, 3, 60]) } : {}),
  };
}

/** Every other port is one of UDP, every third Service keeps its clients for a few seconds. */
export function withDatagrams(stream: Stream, world: World): World {
  return {
    services: world.services.map((service) => ({
      ...service,
      ports: service.ports.map((port) => ({ ...port, protocol: stream.pick(['TCP', 'UDP', 'UDP'] as const) })),
      ...(stream.chance(0.35) ? { affinitySeconds: stream.pick([1, 3, 60]) } : {}),
    })),
  };
}

/** A Service with the one backend that its neighbours have, too: the same answers would belong to all of them. */
function narrowService(stream: Stream, index: number, shared: readonly WorldEndpoint[]): WorldService {
  const ports = randomPorts(stream).map((port) => ({ ...port, targetPort: 8080 }));
  return { ...randomService(stream, index), isLocal: false, ports, endpoints: shared };
}

/** A cluster of one to ten Services with up to 40 backends each, drawn from few pods. */
export function randomWorld(stream: Stream): World {
  const count = 1 + stream.below(SERVICES_MAX);
  const shared = (['IPv4', 'IPv6'] as const).map((family) => ({
    ...randomEndpoint(stream, [family]),
    address: podAddress(stream, family),
    state: 'ready' as const,
  }));
  const isNarrow = stream.chance(0.3);
  return {
    services: Array.from({ length: count }, (_, index) =>
      isNarrow && stream.chance(0.8) ? narrowService(stream, index, shared) : randomService(stream, index),
    ),
  };
}

function changeEndpoints(stream: Stream, { addresses, endpoints }: WorldService): readonly WorldEndpoint[] {
  const families = addresses.map(familyOf);
  if (endpoints.length === 0) return randomEndpoints(stream, families);
  const chosen = stream.below(endpoints.length);
  switch (stream.below(7)) {
    case 0:
      return endpoints.filter((_, index) => index !== chosen);
    case 1:
      return endpoints.map((it, index) => (index === chosen ? { ...it, state: 'terminating' } : it));
    case 2:
      return endpoints.map((it, index) => (index === chosen ? { ...it, state: 'ready' } : it));
    case 3:
    case 6: {
      // The address passes to another pod, or all do: flows to the old one must not count as its own.
      const passes = stream.chance(0.5);
      return endpoints.map((it, index) => (passes || index === chosen ? { ...it, pod: `${it.pod}-again` } : it));
    }
    case 4:
      return [];
    default: {
      const fresh = randomEndpoint(stream, families);
      return [...endpoints.filter(({ address }) => address !== fresh.address), fresh];
    }
  }
}

/** The Service at another address: its backends go on serving, but not those who ask the old one. */
function moved(stream: Stream, service: WorldService): WorldService {
  const index = SERVICES_MAX + stream.below(SPARE_ADDRESSES);
  return { ...service, addresses: service.addresses.map((address) => serviceAddress(familyOf(address), index)) };
}

/** One thing happens: an endpoint comes, goes, ends or is replaced; a Service is made anew, moved or taken away. */
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
  const change = (service: WorldService): WorldService => {
    if (fate === 2) return { ...service, isLocal: !service.isLocal };
    if (fate === 3) return moved(stream, service);
    return { ...service, endpoints: changeEndpoints(stream, service) };
  };
  return { services: services.map((service, index) => (index === chosen ? change(service) : service)) };
}

function textOf(host: HostAddress): string {
  return addressText(addressOf(host));
}

function serviceObject({ name, addresses, isLocal, ports, affinitySeconds }: WorldService): ServiceObject {
  const clusterIPs = addresses.map(textOf);
  return {
    kind: 'Service',
    metadata: { namespace: NAMESPACE, name, uid: name },
    spec: {
      type: 'ClusterIP',
      clusterIP: clusterIPs[0] ?? 'None',
      clusterIPs,
      ipFamilies: addresses.map(familyOf),
      internalTrafficPolicy: isLocal ? 'Local' : 'Cluster',
      ...(affinitySeconds === undefined
        ? {}
        : {
            sessionAffinity: 'ClientIP',
            sessionAffinityConfig: { clientIP: { timeoutSeconds: affinitySeconds } },
          }),
      ports: ports.map(({ name: portName, port, targetPort, protocol = 'TCP' }) => ({
        name: portName,
        port,
        targetPort,
        protocol,
      })),
    },
  };
}

function endpointObject({ address, state, isLocal, pod }: WorldEndpoint): EndpointObject {
  return {
    addresses: [textOf(address)],
    conditions: { ready: state === 'ready', serving: state !== 'not-ready', terminating: state === 'terminating' },
    nodeName: isLocal ? worldNode.nodeName : 'node-b',
    targetRef: { kind: 'Pod', namespace: NAMESPACE, name: pod, uid: pod },
  };
}

/** A slice for each family of a Service. */
function sliceObjects({ name, addresses, ports, endpoints }: WorldService): readonly EndpointSliceObject[] {
  return addresses.map(familyOf).map((family) => ({
    kind: 'EndpointSlice',
    metadata: {
      namespace: NAMESPACE,
      name: `${name}-${family.toLowerCase()}`,
      labels: { 'kubernetes.io/service-name': name },
    },
    addressType: family,
    ports: ports.map(({ name: portName, targetPort, protocol = 'TCP' }) => ({
      name: portName,
      port: targetPort,
      protocol,
    })),
    endpoints: endpoints.filter(({ address }) => familyOf(address) === family).map(endpointObject),
  }));
}

/** The lists that tell a control plane of this world and nothing else. */
export function worldEvents(world: World): readonly ClusterEvent[] {
  return [
    { type: 'LISTED', kind: 'Service', items: world.services.map(serviceObject) },
    { type: 'LISTED', kind: 'EndpointSlice', items: world.services.flatMap(sliceObjects) },
  ];
}

/** What a watch tells where one world follows another: only the Services that are not the same object any more. */
export function changeEvents(before: World, after: World): readonly ClusterEvent[] {
  const events: ClusterEvent[] = [];
  const next = new Map(after.services.map((service) => [service.name, service]));
  for (const service of before.services) {
    const successor = next.get(service.name);
    if (successor === service) continue;
    const kept = new Set(successor === undefined ? [] : sliceObjects(successor).map((slice) => slice.addressType));
    for (const object of sliceObjects(service)) {
      if (!kept.has(object.addressType)) events.push({ type: 'DELETED', object });
    }
    if (successor === undefined) events.push({ type: 'DELETED', object: serviceObject(service) });
  }
  for (const service of after.services) {
    const known = before.services.find(({ name }) => name === service.name);
    if (known === service) continue;
    const type = known === undefined ? 'ADDED' : 'MODIFIED';
    events.push({ type, object: serviceObject(service) });
    for (const object of sliceObjects(service)) events.push({ type, object });
  }
  return events;
}

/** `shop/web:http` for an address and port of a world; `shop/web` where only the address is its; else undefined. */
export function serviceAt(world: World, address: HostAddress, port: number): string | undefined {
  const service = world.services.find(({ addresses }) => addresses.includes(address));
  if (service === undefined) return undefined;
  const found = service.ports.find((candidate) => candidate.port === port);
  return `${NAMESPACE}/${service.name}${found === undefined ? '' : `:${found.name}`}`;
}
