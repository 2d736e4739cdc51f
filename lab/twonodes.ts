// SPDX-License-Identifier: Apache-2.0
/** The usual lab: two nodes, two servers and one client on each, addresses as in the recordings. */
import type { LabSpec, NodeSpec, PodSpec, ServerSpec } from './spec.ts';

const servers: readonly ServerSpec[] = [
  { port: 8080, protocol: 'TCP', behaviour: 'identity' },
  { port: 9090, protocol: 'TCP', behaviour: 'hold' },
  { port: 8053, protocol: 'UDP', behaviour: 'identity' },
];

function twoNodesNode(index: 1 | 2, ipv6: boolean): NodeSpec {
  const ipv4 = { name: `node${index}`, address: `10.88.0.1${index}`, podRange: `10.244.${index}.0/24` };
  return ipv6 ? { ...ipv4, addressIPv6: `fd00:88::1${index}`, podRangeIPv6: `fd00:10:244:${index}::/64` } : ipv4;
}

function twoNodesPod(name: string, index: 1 | 2, last: number, ipv6: boolean): PodSpec {
  const pod = { name, node: `node${index}`, address: `10.244.${index}.${last}` };
  const both = ipv6 ? { ...pod, addressIPv6: `fd00:10:244:${index}::${last}` } : pod;
  return name.startsWith('web') ? { ...both, servers } : both;
}

/** web1 and web2 with client1 on node1, web3 and web4 with client2 on node2. */
export function twoNodes(name: string, { ipv6 = false }: { readonly ipv6?: boolean } = {}): LabSpec {
  return {
    name,
    nodes: [twoNodesNode(1, ipv6), twoNodesNode(2, ipv6)],
    pods: [
      twoNodesPod('web1', 1, 4, ipv6),
      twoNodesPod('web2', 1, 5, ipv6),
      twoNodesPod('client1', 1, 6, ipv6),
      twoNodesPod('web3', 2, 4, ipv6),
      twoNodesPod('web4', 2, 5, ipv6),
      twoNodesPod('client2', 2, 6, ipv6),
    ],
  };
}
