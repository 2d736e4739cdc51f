// SPDX-License-Identifier: Apache-2.0
/** Builders of Kubernetes objects in the words of the domain. */
import type { Loop } from '../../../agent/loop.ts';
import { PLAIN_NODE } from '../../../core/control/nodes.ts';
import type {
  ClusterEvent,
  ClusterObject,
  EndpointObject,
  EndpointSliceObject,
  NodeObject,
  PodObject,
  ServiceObject,
} from '../../../core/objects.ts';
import type { NodeConfig } from '../../../core/service.ts';

export const NODE: NodeConfig = { ...PLAIN_NODE, nodeName: 'node-a', zone: 'z1' };

type ServiceSpec = NonNullable<ServiceObject['spec']>;

/** A ClusterIP Service in namespace shop with port 80 named http, unless said otherwise. */
export function service(
  name: string,
  clusterIP: string,
  spec: ServiceSpec = {},
  labels: Readonly<Record<string, string>> = {},
): ServiceObject {
  return {
    kind: 'Service',
    metadata: { namespace: 'shop', name, labels },
    spec: { type: 'ClusterIP', clusterIP, ports: [{ name: 'http', port: 80, protocol: 'TCP' }], ...spec },
  };
}

type SliceOptions = {
  readonly slice?: string;
  readonly addressType?: string;
  readonly ports?: EndpointSliceObject['ports'];
  readonly labels?: Readonly<Record<string, string>>;
};

/** A slice of a Service in namespace shop; the port http resolves to 8080, unless said otherwise. */
export function slice(
  of: string,
  endpoints: readonly EndpointObject[],
  options: SliceOptions = {},
): EndpointSliceObject {
  return {
    kind: 'EndpointSlice',
    metadata: {
      namespace: 'shop',
      name: options.slice ?? `${of}-1`,
      labels: { 'kubernetes.io/service-name': of, ...options.labels },
    },
    addressType: options.addressType ?? 'IPv4',
    ports: options.ports === undefined ? [{ name: 'http', port: 8080, protocol: 'TCP' }] : options.ports,
    endpoints,
  };
}

type EndpointOptions = {
  readonly ready?: boolean;
  readonly serving?: boolean;
  readonly terminating?: boolean;
  readonly node?: string;
  readonly zone?: string;
  readonly pod?: string;
  readonly forZones?: readonly string[];
  readonly forNodes?: readonly string[];
};

export function endpoint(address: string, options: EndpointOptions = {}): EndpointObject {
  const { ready = true, serving = ready, terminating = false } = options;
  const hints = {
    ...(options.forZones === undefined ? {} : { forZones: options.forZones.map((name) => ({ name })) }),
    ...(options.forNodes === undefined ? {} : { forNodes: options.forNodes.map((name) => ({ name })) }),
  };
  return {
    addresses: [address],
    conditions: { ready, serving, terminating },
    ...(options.node === undefined ? {} : { nodeName: options.node }),
    ...(options.zone === undefined ? {} : { zone: options.zone }),
    ...(options.pod === undefined ? {} : { targetRef: { kind: 'Pod', uid: options.pod } }),
    ...(Object.keys(hints).length === 0 ? {} : { hints }),
  };
}

export function node(name: string, zone: string, addresses?: readonly string[]): NodeObject {
  const metadata = { name, labels: { 'topology.kubernetes.io/zone': zone } };
  if (addresses === undefined) return { kind: 'Node', metadata };
  const listed = addresses.map((address) => ({ type: 'InternalIP', address }));
  return { kind: 'Node', metadata, status: { addresses: listed } };
}

type HostPortObject = NonNullable<
  NonNullable<NonNullable<NonNullable<PodObject['spec']>['containers']>[number]['ports']>[number]
>;

/** A pod in namespace shop on node-a with one container. */
export function pod(
  name: string,
  ips: readonly string[],
  ports: readonly HostPortObject[],
  spec: PodObject['spec'] = {},
): PodObject {
  return {
    kind: 'Pod',
    metadata: { namespace: 'shop', name, uid: `uid-${name}` },
    spec: { nodeName: 'node-a', containers: [{ ports }], ...spec },
    status: { phase: 'Running', podIPs: ips.map((ip) => ({ ip })) },
  };
}

export function added(object: ClusterObject): ClusterEvent {
  return { type: 'ADDED', object };
}

export function modified(object: ClusterObject): ClusterEvent {
  return { type: 'MODIFIED', object };
}

export function deleted(object: ClusterObject): ClusterEvent {
  return { type: 'DELETED', object };
}

/** Both lists, empty: from here on the loop programs. */
export const EMPTY_LISTS: readonly ClusterEvent[] = [
  { type: 'LISTED', kind: 'Service', items: [] },
  { type: 'LISTED', kind: 'EndpointSlice', items: [] },
];

export function tell(loop: Loop, events: readonly ClusterEvent[]): void {
  for (const event of events) loop.event(event);
}
