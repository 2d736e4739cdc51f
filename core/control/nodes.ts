// SPDX-License-Identifier: Apache-2.0
/** What is known of our node: its zone, its addresses, and which of them serve NodePorts (services B7). */
import { addressEquals, addressText, parseAddress, port, prefixContains, type Address } from '../address.ts';
import type { NodeObject } from '../objects.ts';
import { NODE_ADDRESS_LOCAL, NODE_ADDRESS_NODE_PORT, NODE_ADDRESS_PRIMARY } from '../layout.gen.ts';
import type { Family, NodeConfig } from '../service.ts';
import { FAMILIES, familyOf, prefixFamily } from './families.ts';
import { fieldsOf, listOf, textOf } from './fields.ts';

const ZONE_LABEL = 'topology.kubernetes.io/zone';
/** In this order, as kube-proxy prefers them (GetNodeHostIPs of Kubernetes). */
const ADDRESS_TYPES: readonly string[] = ['InternalIP', 'ExternalIP'];

/** What is wanted of an address of this node. */
export type WantedNodeAddress = { readonly address: Address; readonly flags: number };

/** `addresses`: internal ones first. */
export type NodeInfo = { readonly name: string; readonly zone: string; readonly addresses: readonly Address[] };

/** A node of which nothing is configured: what every key means where it is not given. */
export const PLAIN_NODE: NodeConfig = {
  nodeName: '',
  zone: '',
  serviceProxyName: null,
  topology: true,
  masqueradeAll: false,
  clusterCIDRs: [],
  nodeIPs: [],
  nodePortAddresses: 'primary',
  nodePortRange: { first: port(30_000), last: port(32_767) },
  hostPort: false,
  externalClusterIP: false,
  algorithm: 'hash',
};

/** undefined: no name. */
export function decodeNode(object: NodeObject): NodeInfo | undefined {
  const name = textOf(fieldsOf(object.metadata)['name']);
  if (name === '') return undefined;
  const listed = listOf(fieldsOf(object.status)['addresses']).map(fieldsOf);
  const addresses = ADDRESS_TYPES.flatMap((type) => listed.filter((each) => each['type'] === type)).flatMap((each) => {
    const parsed = parseAddress(textOf(each['address']));
    return parsed.ok ? [parsed.value] : [];
  });
  return { name, zone: textOf(fieldsOf(object.metadata?.labels)[ZONE_LABEL]), addresses };
}

/** Whether two readings of a Node say the same. */
export function sameNode(left: NodeInfo, right: NodeInfo): boolean {
  return left.zone === right.zone && sameAddresses(left.addresses, right.addresses);
}

export function sameAddresses(left: readonly Address[], right: readonly Address[]): boolean {
  return (
    left.length === right.length &&
    left.every((one, index) => {
      const other = right[index];
      return other !== undefined && addressEquals(one, other);
    })
  );
}

/** The configuration with what the Node object knows better (its zone) or the configuration doesn't say (addresses). */
export function effectiveNode(nodes: ReadonlyMap<string, NodeInfo>, config: NodeConfig): NodeConfig {
  const known = nodes.get(config.nodeName);
  if (known === undefined) return config;
  return {
    ...config,
    zone: known.zone === '' ? config.zone : known.zone,
    nodeIPs: config.nodeIPs.length === 0 ? known.addresses : config.nodeIPs,
  };
}

/** 127.0.0.0/8 and ::1. */
export function isLoopback(address: Address): boolean {
  const isFour = familyOf(address) === 'IPv4';
  return isFour ? address.d >>> 24 === 127 : addressText(address) === '::1';
}

/** Of one family, each once, in the order of the configuration; loopback never (services B8). */
function ownAddresses({ nodeIPs }: NodeConfig, family: Family): readonly Address[] {
  const seen = new Set<string>();
  return nodeIPs.filter((address) => {
    const text = addressText(address);
    if (familyOf(address) !== family || isLoopback(address) || seen.has(text)) return false;
    seen.add(text);
    return true;
  });
}

/** In the order of the configuration. */
export function addressesForNodePorts(config: NodeConfig, family: Family): readonly Address[] {
  const own = ownAddresses(config, family);
  const { nodePortAddresses } = config;
  if (nodePortAddresses === 'primary') return own.slice(0, 1);
  const ranges = nodePortAddresses.filter((range) => prefixFamily(range) === family);
  return ranges.length === 0 ? own : own.filter((address) => ranges.some((range) => prefixContains(range, address)));
}

/** What the map `node_addresses` should hold. */
export function wantedNodeAddresses(config: NodeConfig): readonly WantedNodeAddress[] {
  return FAMILIES.flatMap((family) => {
    const serving = new Set(addressesForNodePorts(config, family));
    return ownAddresses(config, family).map((address, index) => {
      const serves = serving.has(address) ? NODE_ADDRESS_NODE_PORT : 0;
      return { address, flags: NODE_ADDRESS_LOCAL | serves | (index === 0 ? NODE_ADDRESS_PRIMARY : 0) };
    });
  });
}
