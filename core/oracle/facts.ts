// SPDX-License-Identifier: Apache-2.0
/** What the oracle reads from raw Kubernetes objects: checked fields only, invalid parts left out (services A8, H6). */
import { isIPv4, parseAddress, parseProtocol, port, TCP, type Address, type Port, type Protocol } from '../address.ts';
import type { EndpointObject, EndpointSliceObject, NodeObject, PodObject, ServiceObject } from '../objects.ts';

export type Family = 'IPv4' | 'IPv6';

export type ServicePortFacts = {
  readonly name: string;
  readonly port: Port;
  readonly protocol: Protocol;
  /** 0 where none is allocated. */
  readonly nodePort: number;
};

export type ServiceFacts = {
  /** `namespace/name`. */
  readonly name: string;
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

export type NodeFacts = { readonly zone: string | undefined; readonly addresses: readonly Address[] };

/** A host port of a pod; without an address it answers on every address of the pod's node. */
export type HostPort = { readonly address: Address | undefined; readonly port: Port; readonly protocol: Protocol };

const SERVICE_NAME_LABEL = 'kubernetes.io/service-name';
const PROXY_NAME_LABEL = 'service.kubernetes.io/service-proxy-name';
const HEADLESS_LABEL = 'service.kubernetes.io/headless';
const ZONE_LABEL = 'topology.kubernetes.io/zone';

export function familyOf(address: Address): Family {
  return isIPv4(address) ? 'IPv4' : 'IPv6';
}

/** Facts of a Service that has a ClusterIP; undefined for one that no proxy handles (A1). */
export function readService(object: ServiceObject, serviceProxyName: string | undefined): ServiceFacts | undefined {
  const { metadata, spec } = object;
  if (metadata?.name === undefined || spec === undefined || spec.type === 'ExternalName') return undefined;
  if (typeof spec.clusterIP !== 'string' || spec.clusterIP === '' || spec.clusterIP === 'None') return undefined;
  const ingress = objects(object.status?.loadBalancer?.ingress).filter(isVip);
  return {
    name: `${metadata.namespace ?? ''}/${metadata.name}`,
    foreign: metadata.labels?.[PROXY_NAME_LABEL] !== serviceProxyName,
    clusterAddresses: readClusterAddresses(spec),
    internalLocal: spec.internalTrafficPolicy === 'Local',
    externalLocal: spec.externalTrafficPolicy === 'Local',
    affinitySeconds: readAffinity(spec),
    loadBalancerAddresses: readAddresses(ingress.map((entry) => entry.ip)),
    externalAddresses: readAddresses(texts(spec.externalIPs)),
    ports: objects(spec.ports).flatMap(readServicePort),
  };
}

const AFFINITY_SECONDS = 10_800;

/** E2. */
function readAffinity({ sessionAffinity, sessionAffinityConfig }: NonNullable<ServiceObject['spec']>): number {
  if (sessionAffinity !== 'ClientIP') return 0;
  const seconds = sessionAffinityConfig?.clientIP?.timeoutSeconds;
  return typeof seconds === 'number' && seconds > 0 ? seconds : AFFINITY_SECONDS;
}

/** B9: a mode other than VIP says that the address is somebody else's business. */
function isVip(entry: { readonly ipMode?: string }): boolean {
  return entry.ipMode === undefined || entry.ipMode === null || entry.ipMode === 'VIP';
}

/** H1: by position where the families are named, else the one legacy field. */
function readClusterAddresses(spec: NonNullable<ServiceObject['spec']>): Address[] {
  const families = texts(spec.ipFamilies);
  if (families.length === 0) return readAddresses([spec.clusterIP]);
  const clusterIPs = texts(spec.clusterIPs);
  const found = new Map<string, Address>();
  for (const [index, family] of families.entries()) {
    const [address] = readAddresses([clusterIPs[index]]);
    if (address !== undefined && familyOf(address) === family && !found.has(family)) found.set(family, address);
  }
  return [...found.values()];
}

type ServicePortObject = NonNullable<NonNullable<ServiceObject['spec']>['ports']>[number];

function readServicePort(object: ServicePortObject): ServicePortFacts[] {
  const number = readPort(object.port);
  const protocol = readProtocol(object.protocol);
  if (number === undefined || protocol === undefined) return [];
  return [{ name: object.name ?? '', port: number, protocol, nodePort: readPort(object.nodePort) ?? 0 }];
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
  return {
    zone: object.metadata?.labels?.[ZONE_LABEL],
    addresses: readAddresses(objects(object.status?.addresses).map((entry) => entry.address)),
  };
}

/** Host ports that need translation: in the host's own network the pod listens there itself. */
export function readHostPorts(object: PodObject): HostPort[] {
  if (object.spec?.hostNetwork === true) return [];
  const containers = [...objects(object.spec?.initContainers), ...objects(object.spec?.containers)];
  return containers
    .flatMap((container) => objects(container.ports))
    .flatMap((entry) => {
      const number = readPort(entry.hostPort);
      const protocol = readProtocol(entry.protocol);
      if (number === undefined || protocol === undefined) return [];
      const [address] = readAddresses([entry.hostIP]);
      const everywhere = entry.hostIP === '0.0.0.0' || entry.hostIP === '::';
      return [{ address: everywhere ? undefined : address, port: number, protocol }];
    });
}

/** `namespace/name`, the identity of an object within its kind; undefined where it has no name. */
export function readName(object: { readonly metadata?: PodObject['metadata'] }): string | undefined {
  const name = object.metadata?.name;
  return name === undefined ? undefined : `${object.metadata?.namespace ?? ''}/${name}`;
}

/** Valid addresses without repetition, in order; the rest is skipped, not fatal (A8). */
function readAddresses(list: readonly (string | undefined)[]): Address[] {
  const found = new Map<string, Address>();
  for (const text of list) {
    const parsed = typeof text === 'string' ? parseAddress(text) : undefined;
    if (parsed?.ok === true) found.set(addressKey(parsed.value), parsed.value);
  }
  return [...found.values()];
}

function readPort(value: unknown): Port | undefined {
  const valid = typeof value === 'number' && Number.isInteger(value) && value > 0 && value <= 0xffff;
  return valid ? port(value) : undefined;
}

/** The API's default for a missing protocol is TCP. */
function readProtocol(value: string | null | undefined): Protocol | undefined {
  if (value === undefined || value === null) return TCP;
  const parsed = parseProtocol(value);
  return parsed.ok ? parsed.value : undefined;
}

/** Text that is equal for equal addresses and cheap to make. */
export function addressKey(address: Address): string {
  return isIPv4(address) ? `${address.d}` : `${address.a},${address.b},${address.c},${address.d}`;
}

function objects<T extends object>(list: readonly T[] | null | undefined): readonly T[] {
  const entries: readonly (T | null)[] = Array.isArray(list) ? list : [];
  return entries.filter((entry) => typeof entry === 'object' && entry !== null);
}

function texts(list: readonly string[] | null | undefined): readonly string[] {
  return Array.isArray(list) ? list.map((item: unknown) => (typeof item === 'string' ? item : '')) : [];
}
