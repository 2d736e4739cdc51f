// SPDX-License-Identifier: Apache-2.0
/** What a run varies about the node as a whole: kube-proxy is started anew for each. */
import { clusterRanges, ownPods } from './places.ts';

export type NodeSettings = {
  /** One word for reports. */
  readonly name: string;
  /** How kube-proxy knows pods: by the range of the cluster, or by that of the node. */
  readonly detector: 'ClusterCIDR' | 'NodeCIDR';
  /** The ranges by which pods are known; empty: they are not. */
  readonly clusterCIDRs: readonly string[];
  /** null: not given. */
  readonly nodePortAddresses: readonly string[] | null;
  readonly masqueradeAll: boolean;
  /** What tandem serves outsiders; kube-proxy has no such choice. */
  readonly externalClusterIP: boolean;
  /** Of the Node object; null: no label. */
  readonly zone: string | null;
  /** Whether real connections confirm what was read. */
  readonly isAsked: boolean;
};

/** The rounds of a run, in order. */
export const rounds: readonly NodeSettings[] = [
  {
    name: 'defaults',
    detector: 'ClusterCIDR',
    clusterCIDRs: clusterRanges,
    nodePortAddresses: null,
    masqueradeAll: false,
    externalClusterIP: false,
    zone: 'zone-1',
    isAsked: true,
  },
  {
    name: 'all addresses',
    detector: 'ClusterCIDR',
    clusterCIDRs: clusterRanges,
    nodePortAddresses: ['0.0.0.0/0', '::/0'],
    masqueradeAll: true,
    externalClusterIP: true,
    zone: null,
    isAsked: false,
  },
  {
    name: 'no detector',
    detector: 'ClusterCIDR',
    clusterCIDRs: [],
    nodePortAddresses: ['10.89.0.0/16', 'fd00:88::/64'],
    masqueradeAll: false,
    externalClusterIP: true,
    zone: 'zone-2',
    isAsked: true,
  },
  {
    name: 'one family',
    detector: 'ClusterCIDR',
    clusterCIDRs: ['10.244.0.0/16'],
    nodePortAddresses: ['10.89.0.0/16', '10.88.0.11/32'],
    masqueradeAll: false,
    externalClusterIP: false,
    zone: 'zone-1',
    isAsked: false,
  },
  {
    name: 'range of the node',
    detector: 'NodeCIDR',
    clusterCIDRs: ownPods.ranges,
    nodePortAddresses: ['10.88.0.0/24'],
    masqueradeAll: false,
    externalClusterIP: true,
    zone: 'zone-1',
    isAsked: false,
  },
];
