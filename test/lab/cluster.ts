// SPDX-License-Identifier: Apache-2.0
/** Services of both families and protocols for tests with real packets, told as a watch tells them. */
import type { ClusterEvent, EndpointSliceObject, ServiceObject } from '../../core/objects.ts';

export type Family = 'IPv4' | 'IPv6';

export const families: readonly Family[] = ['IPv4', 'IPv6'];

/** An address of each family. */
export type Both = { readonly [family in Family]: string };

export type SmallPort = {
  readonly name: string;
  readonly protocol: 'TCP' | 'UDP';
  readonly port: number;
  readonly targetPort: number;
};

export type SmallService = {
  readonly name: string;
  readonly addresses: Both;
  readonly ports: readonly SmallPort[];
  /** Pods by name, with their addresses and nodes. */
  readonly endpoints: readonly { readonly pod: string; readonly node: string; readonly addresses: Both }[];
};

function serviceObject({ name, addresses, ports }: SmallService): ServiceObject {
  return {
    kind: 'Service',
    metadata: { name, namespace: 'shop', uid: name },
    spec: {
      type: 'ClusterIP',
      clusterIP: addresses.IPv4,
      clusterIPs: [addresses.IPv4, addresses.IPv6],
      ipFamilies: families,
      ports: ports.map(({ targetPort, ...rest }) => ({ ...rest, targetPort })),
    },
  };
}

/** What became of a Service's endpoints, one slice a family. */
export function slicesOf({ name, ports, endpoints }: SmallService): readonly EndpointSliceObject[] {
  return families.map((family) => ({
    kind: 'EndpointSlice',
    addressType: family,
    metadata: {
      name: `${name}-${family.toLowerCase()}`,
      namespace: 'shop',
      labels: { 'kubernetes.io/service-name': name },
    },
    ports: ports.map(({ name: portName, protocol, targetPort }) => ({ name: portName, protocol, port: targetPort })),
    endpoints: endpoints.map(({ pod, node, addresses }) => ({
      addresses: [addresses[family]],
      conditions: { ready: true },
      nodeName: node,
      targetRef: { kind: 'Pod', namespace: 'shop', name: pod, uid: pod },
    })),
  }));
}

/** The lists that a node begins with. */
export function listed(services: readonly SmallService[]): readonly ClusterEvent[] {
  return [
    { type: 'LISTED', kind: 'Service', items: services.map(serviceObject) },
    { type: 'LISTED', kind: 'EndpointSlice', items: services.flatMap(slicesOf) },
  ];
}

/** Other endpoints for a Service that is known. */
export function changed(service: SmallService): readonly ClusterEvent[] {
  return slicesOf(service).map((object) => ({ type: 'MODIFIED', object }));
}
