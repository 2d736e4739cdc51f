// SPDX-License-Identifier: Apache-2.0
/** The objects of the cluster in which incidents are recorded, as the API server tells them. */
import type { ClusterEvent, EndpointSliceObject, NodeObject, PodObject, ServiceObject } from '../../core/objects.ts';

/** Addresses of the pods of the usual lab, and the nodes they are on. */
export const podAddresses = {
  web1: { address: '10.244.1.4', node: 'node1' },
  web2: { address: '10.244.1.5', node: 'node1' },
  web3: { address: '10.244.2.4', node: 'node2' },
  web4: { address: '10.244.2.5', node: 'node2' },
} as const;

export type PodName = keyof typeof podAddresses;

/** The Service of the recordings: web over TCP, dns over UDP, of the same pods. */
export const serviceAddress = '10.96.0.10';
export const ports = { web: 80, dns: 53 } as const;

export function service(internalTrafficPolicy: 'Cluster' | 'Local' = 'Cluster'): ServiceObject {
  return {
    kind: 'Service',
    metadata: { name: 'web', namespace: 'shop' },
    spec: {
      type: 'ClusterIP',
      clusterIP: serviceAddress,
      clusterIPs: [serviceAddress],
      ipFamilies: ['IPv4'],
      internalTrafficPolicy,
      ports: [
        { name: 'http', port: ports.web, protocol: 'TCP', targetPort: 8080 },
        { name: 'dns', port: ports.dns, protocol: 'UDP', targetPort: 8053 },
      ],
    },
  };
}

/** `nodeNames` are told in place of the nodes' own. */
export function slice(
  name: string,
  pods: readonly PodName[],
  nodeNames: Readonly<Record<'node1' | 'node2', string>> = { node1: 'node1', node2: 'node2' },
): EndpointSliceObject {
  return {
    kind: 'EndpointSlice',
    addressType: 'IPv4',
    metadata: { name, namespace: 'shop', labels: { 'kubernetes.io/service-name': 'web' } },
    endpoints: pods.map((pod) => ({
      addresses: [podAddresses[pod].address],
      conditions: { ready: true, serving: true, terminating: false },
      nodeName: nodeNames[podAddresses[pod].node],
      targetRef: { kind: 'Pod', namespace: 'shop', name: pod, uid: `uid-of-${pod}` },
    })),
    ports: [
      { name: 'http', port: 8080, protocol: 'TCP' },
      { name: 'dns', port: 8053, protocol: 'UDP' },
    ],
  };
}

export function pod(name: string, node: string): PodObject {
  return { kind: 'Pod', metadata: { name, namespace: 'shop', uid: `uid-of-${name}` }, spec: { nodeName: node } };
}

function node(index: 1 | 2): NodeObject {
  return {
    kind: 'Node',
    metadata: { name: `node${index}` },
    spec: { podCIDRs: [`10.244.${index}.0/24`] },
    status: { addresses: [{ type: 'InternalIP', address: `10.88.0.1${index}` }] },
  };
}

/** The lists that a watch begins with. */
export function lists(services: readonly ServiceObject[], slices: readonly EndpointSliceObject[]): ClusterEvent[] {
  return [
    { type: 'LISTED', kind: 'Node', items: [node(1), node(2)] },
    { type: 'LISTED', kind: 'Service', items: services },
    { type: 'LISTED', kind: 'EndpointSlice', items: slices },
  ];
}
