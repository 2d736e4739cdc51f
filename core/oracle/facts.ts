// SPDX-License-Identifier: Apache-2.0
/** What the oracle reads from raw Kubernetes objects: checked fields only, invalid parts left out (services A8, H6). */
import type { Address, Port, Prefix, Protocol } from '../address.ts';
import type { EndpointObject, EndpointSliceObject, NodeObject, ServiceObject } from '../objects.ts';
import {
  familyOf,
  objects,
  readAddresses,
  readCreation,
  readPort,
  readProtocol,
  readRanges,
  texts,
  type Family,
} from './read.ts';

export type ServicePortFacts = {
  readonly name: string;
  readonly port: Port;
  readonly protocol: Protocol;
  /** undefined where none is allocated. */
  readonly nodePort: Port | undefined;
};

export type ServiceFacts = {
  /** `namespace/name`. */
  readonly name: string;
  readonly createdAt: string;
  /** Another proxy's by its label (A2): its ClusterIP is allocated, but not ours. */
  readonly foreign: boolean;
  /** At most one per family (H1). */
  readonly clusterAddresses: readonly Address[];
  readonly internalLocal: boolean;
  readonly externalLocal: boolean;
  /** How long a client is kept on its backend (E2); 0: not at all. */
  readonly affinitySeconds: number;
  readonly loadBalancerAddresses: readonly Address[];
  readonly externalAddresses: readonly Address[];
  /** Of LB VIPs (B10); undefined: none were given. Empty: none of those given can be read. */
  readonly sourceRanges: readonly Prefix[] | undefined;
  /** Of a load balancer that asks for local endpoints (F1). */
  readonly healthCheckPort: Port | undefined;
  readonly ports: readonly ServicePortFacts[];
};

export type EndpointFacts = {
  readonly address: Address;
  readonly ready: boolean;
  readonly serving: boolean;
  readonly terminating: boolean;
  readonly nodeName: string | undefined;
  readonly zoneHints: readonly string[];
  readonly nodeHints: readonly string[];
};

export type SliceFacts = {
  /** `namespace/name` of the Service it belongs to. */
  readonly service: string;
  readonly family: Family;
  readonly ports: readonly { readonly name: string; readonly port: Port; readonly protocol: Protocol }[];
  readonly endpoints: readonly EndpointFacts[];
};

export type NodeFacts = {
  readonly zone: string | undefined;
  /** Whatever their type. */
  readonly addresses: readonly Address[];
  /** The internal ones before the external ones: the first of a family is the primary one (B7). */
  readonly ownAddresses: readonly Address[];
};

const SERVICE_NAME_LABEL = 'kubernetes.io/service-name';
const PROXY_NAME_LABEL = 'service.kubernetes.io/service-proxy-name';
const HEADLESS_LABEL = 'service.kubernetes.io/headless';
const ZONE_LABEL = 'topology.kubernetes.io/zone';

/** Facts of a Service that has a ClusterIP; undefined for one that no proxy handles (A1). */
export function readService(object: ServiceObject, serviceProxyName: string | undefined): ServiceFacts | undefined {
  const { metadata, spec } = object;
  if (!metadata?.name || !metadata.namespace || !spec || spec.type === 'ExternalName') return undefined;
  if (typeof spec.clusterIP !== 'string' || spec.clusterIP === '' || spec.clusterIP === 'None') return undefined;
  const ingress = objects(object.status?.loadBalancer?.ingress).filter(isVip);
  return {
    name: `${metadata.namespace}/${metadata.name}`,
    createdAt: readCreation(object),
    foreign: metadata.labels?.[PROXY_NAME_LABEL] !== serviceProxyName,
    clusterAddresses: readClusterAddresses(spec),
    internalLocal: spec.internalTrafficPolicy === 'Local',
    externalLocal: spec.externalTrafficPolicy === 'Local',
    affinitySeconds: readAffinity(spec),
    loadBalancerAddresses: readAddresses(ingress.map((entry) => entry.ip)),
    externalAddresses: readAddresses(texts(spec.externalIPs)),
    sourceRanges: readSourceRanges(spec),
    healthCheckPort: asksForHealth(spec) ? readPort(spec.healthCheckNodePort) : undefined,
    ports: readServicePorts(spec),
  };
}

const AFFINITY_SECONDS = 10_800;
const AFFINITY_SECONDS_MAX = 86_400;

/** E2; a time that the API server would not take counts as none given. */
function readAffinity({ sessionAffinity, sessionAffinityConfig }: NonNullable<ServiceObject['spec']>): number {
  if (sessionAffinity !== 'ClientIP') return 0;
  const seconds = sessionAffinityConfig?.clientIP?.timeoutSeconds;
  const isValid = Number.isInteger(seconds) && Number(seconds) > 0 && Number(seconds) <= AFFINITY_SECONDS_MAX;
  return isValid ? Number(seconds) : AFFINITY_SECONDS;
}

function asksForHealth({ externalTrafficPolicy, type }: NonNullable<ServiceObject['spec']>): boolean {
  return type === 'LoadBalancer' && externalTrafficPolicy === 'Local';
}

/** A8: trimmed, and what cannot be read is skipped. */
function readSourceRanges({ loadBalancerSourceRanges }: NonNullable<ServiceObject['spec']>): Prefix[] | undefined {
  const given = texts(loadBalancerSourceRanges);
  return given.length === 0 ? undefined : readRanges(given);
}

/** B9: a mode other than VIP says that the address is somebody else's business. */
function isVip(entry: { readonly ipMode?: string }): boolean {
  return entry.ipMode === undefined || entry.ipMode === null || entry.ipMode === 'VIP';
}

/** H1: by position where the families are named, else the one legacy field, which is the first of the list too. */
function readClusterAddresses(spec: NonNullable<ServiceObject['spec']>): Address[] {
  const families = texts(spec.ipFamilies);
  if (families.length === 0) return readAddresses([spec.clusterIP]);
  const listed = texts(spec.clusterIPs);
  const clusterIPs = listed.length > 0 ? listed : [spec.clusterIP];
  const found = new Map<string, Address>();
  for (const [index, family] of families.entries()) {
    const [address] = readAddresses([clusterIPs[index]]);
    if (address !== undefined && familyOf(address) === family && !found.has(family)) found.set(family, address);
  }
  return [...found.values()];
}

/** A4: of two ports with one identity the first is the Service's. */
function readServicePorts(spec: NonNullable<ServiceObject['spec']>): ServicePortFacts[] {
  const found = new Map<string, ServicePortFacts>();
  for (const object of objects(spec.ports)) {
    const number = readPort(object.port);
    const protocol = readProtocol(object.protocol);
    if (number === undefined || protocol === undefined) continue;
    const name = object.name ?? '';
    const key = `${protocol} ${name}`;
    if (!found.has(key)) found.set(key, { name, port: number, protocol, nodePort: readPort(object.nodePort) });
  }
  return [...found.values()];
}

/** Facts of a slice that counts; undefined for FQDN, headless and invalid ones (A3, H1, H6). */
export function readSlice(object: EndpointSliceObject): SliceFacts | undefined {
  const { metadata, addressType } = object;
  const service = metadata?.labels?.[SERVICE_NAME_LABEL];
  if (!metadata?.namespace || !metadata.name || !service) return undefined;
  if (metadata.labels?.[HEADLESS_LABEL] !== undefined) return undefined;
  if (addressType !== 'IPv4' && addressType !== 'IPv6') return undefined;
  return {
    service: `${metadata.namespace}/${service}`,
    family: addressType,
    ports: objects(object.ports).flatMap(readSlicePort),
    endpoints: objects(object.endpoints).flatMap((endpoint) => readEndpoint(endpoint, addressType)),
  };
}

type SlicePortObject = NonNullable<EndpointSliceObject['ports']>[number];

/** B14 and 2.3: an empty name is a name, a missing one is not; port 0 is no port. */
function readSlicePort(object: SlicePortObject): SliceFacts['ports'] {
  const number = readPort(object.port);
  const protocol = readProtocol(object.protocol);
  if (typeof object.name !== 'string' || number === undefined || protocol === undefined) return [];
  return [{ name: object.name, port: number, protocol }];
}

/** Section 2.1: what is missing counts as ready, serving and not terminating. */
function readEndpoint(object: EndpointObject, family: Family): EndpointFacts[] {
  const [address] = readAddresses(texts(object.addresses).slice(0, 1));
  if (address === undefined || familyOf(address) !== family) return [];
  const { ready, serving, terminating } = object.conditions ?? {};
  return [
    {
      address,
      ready: typeof ready === 'boolean' ? ready : true,
      serving: typeof serving === 'boolean' ? serving : true,
      terminating: typeof terminating === 'boolean' ? terminating : false,
      nodeName: object.nodeName,
      zoneHints: objects(object.hints?.forZones).map((hint) => hint.name ?? ''),
      nodeHints: objects(object.hints?.forNodes).map((hint) => hint.name ?? ''),
    },
  ];
}

export function readNode(object: NodeObject): NodeFacts {
  const listed = objects(object.status?.addresses);
  const ofType = (wanted: string): (string | undefined)[] =>
    listed.filter(({ type }) => type === wanted).map((entry) => entry.address);
  return {
    zone: object.metadata?.labels?.[ZONE_LABEL],
    addresses: readAddresses(listed.map((entry) => entry.address)),
    ownAddresses: readAddresses([...ofType('InternalIP'), ...ofType('ExternalIP')]),
  };
}
