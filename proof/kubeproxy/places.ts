// SPDX-License-Identifier: Apache-2.0
/** The addresses of the differential against kube-proxy: the node, its pods, pods elsewhere, clients, and ranges of frontends. */

/** The judged node. `gateways` are also its own, on every device, and serve nothing. */
export const node = {
  name: 'node-1',
  zone: 'zone-1',
  /** One of each family, IPv4 first. */
  primary: ['10.88.0.11', 'fd00:88::11'],
  addresses: ['10.88.0.11', 'fd00:88::11', '10.89.0.11', 'fd00:89::11'],
  gateways: ['169.254.77.1', 'fd00:77::1'],
} as const;

/** In these zones, with these addresses; all objects of the cluster name one of them, ours, or nobody. */
export const otherNodes = [
  { name: 'node-2', zone: 'zone-1', address: '10.88.0.12', addressSix: 'fd00:88::12' },
  { name: 'node-3', zone: 'zone-2', address: '10.88.0.13', addressSix: 'fd00:88::13' },
] as const;

/** Pods of this node. */
export const ownPods = {
  ranges: ['10.244.1.0/24', 'fd00:10:244:1::/64'],
  /** Clients that are nobody's backend. */
  clients: ['10.244.1.250', 'fd00:10:244:1::250'],
  prefixes: ['10.244.1.', 'fd00:10:244:1::'],
} as const;

/** Pods of the other nodes. */
export const foreignPods = {
  ranges: ['10.244.2.0/24', '10.244.3.0/24', 'fd00:10:244:2::/64', 'fd00:10:244:3::/64'],
  clients: ['10.244.2.250', 'fd00:10:244:2::250'],
  prefixes: ['10.244.2.', 'fd00:10:244:2::'],
} as const;

export const clusterRanges = ['10.244.0.0/16', 'fd00:10:244::/48'] as const;
export const serviceRanges = ['10.96.0.0/16', 'fd00:10:96::/112'] as const;
/** Of the Service ranges; the API server hands addresses out at random. */
export const unallocatedAddresses = ['10.96.0.2', '10.96.255.254', 'fd00:10:96::2', 'fd00:10:96::fffe'] as const;

/** Those who are neither pods nor nodes. */
export const world = {
  ranges: ['198.51.100.0/24', '2001:db8:99::/64'],
  clients: ['198.51.100.1', '2001:db8:99::1'],
} as const;

/** Of load balancers and of external addresses; what follows tells the clusters apart. */
export const balancerPrefixes = ['198.18.', '2001:db8:88::'] as const;
export const externalPrefixes = ['198.19.', '2001:db8:113::'] as const;
