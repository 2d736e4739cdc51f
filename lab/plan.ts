// SPDX-License-Identifier: Apache-2.0
/**
 * A lab's specification turned into namespaces, devices, addresses and routes, as text for `ip -batch`.
 *
 *     pod eth0 -- vethXXXXXXXX node eth0 -- up0 [bridge br0, fabric] up1 -- eth0 node veth... -- eth0 pod
 *
 * Pods are wired as the CNI plugin `ptp` does it: the gateway's address sits on every veth of the node.
 */
import { assert } from '../core/result.ts';
import { fabricRange, firstAddress, type LabSpec, type NodeSpec, type PodSpec } from './spec.ts';

/** One network namespace and what is done inside it, in this order: sysctls, then `ip -batch`. */
export type NamespacePlan = {
  readonly namespace: string;
  readonly sysctls: readonly (readonly [key: string, value: string])[];
  readonly batch: readonly string[];
  /** Devices that write checksums themselves because who receives from them has to verify. */
  readonly checksumDevices: readonly string[];
};

export type LabPlan = {
  /** Makes namespaces and veth pairs; runs outside all of them. */
  readonly create: readonly string[];
  readonly namespaces: readonly NamespacePlan[];
};

/** `tandem-LAB-NAME` for a node, a pod or the fabric. */
export function namespaceName(lab: string, name: string): string {
  return `tandem-${lab}-${name}`;
}

/** FNV-1a: device names stay the same from run to run, so captures of two runs can be compared. */
function hash32(text: string): number {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(text)) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash >>> 0;
}

/** The node's end of a pod's veth, named as CNI plugins name it. */
export function podDevice(pod: PodSpec): string {
  return `veth${hash32(`${pod.node}/${pod.name}`).toString(16).padStart(8, '0')}`;
}

function withLength(text: string, rangeText: string): string {
  return `${text}/${rangeText.split('/')[1] ?? ''}`;
}

type Family = { readonly address: string; readonly bits: 32 | 128; readonly podRange: string };

/** A node's address and pod range of each family it has. */
function nodeFamilies(node: NodeSpec): readonly Family[] {
  const ipv4: Family = { address: node.address, bits: 32, podRange: node.podRange };
  if (node.addressIPv6 === undefined || node.podRangeIPv6 === undefined) return [ipv4];
  return [ipv4, { address: node.addressIPv6, bits: 128, podRange: node.podRangeIPv6 }];
}

/** A pod's address and its node's pod range of each family it has. */
function podFamilies(pod: PodSpec, node: NodeSpec): readonly Family[] {
  const addresses = [pod.address, pod.addressIPv6];
  return nodeFamilies(node).flatMap((family, index) => {
    const own = addresses[index];
    return own === undefined ? [] : [{ ...family, address: own }];
  });
}

/** Duplicate address detection would hold an address back. */
function nodad(family: Family): string {
  return family.bits === 128 ? ' nodad' : '';
}

function everything(family: Family): string {
  return family.bits === 32 ? '0.0.0.0/0' : '::/0';
}

/** Without duplicate address detection, which would hold back link-local addresses (so also forwarding) for a second. */
function ipv6Sysctls(wanted: boolean, devices: readonly string[]): readonly (readonly [string, string])[] {
  // No address, no neighbour discovery: captures then hold only what somebody sent.
  if (!wanted) return ['all', 'default'].map((device) => [`ipv6/conf/${device}/disable_ipv6`, '1'] as const);
  return ['all', 'default', ...devices].map((device) => [`ipv6/conf/${device}/accept_dad`, '0'] as const);
}

function fabricPlan(spec: LabSpec): NamespacePlan {
  const ports = spec.nodes.map((_, index) => `up${index}`);
  const first = spec.nodes[0];
  const gateways =
    first === undefined
      ? []
      : nodeFamilies(first).map((family) => {
          const shared = fabricRange(family.address);
          return `addr add ${withLength(firstAddress(shared), shared)} dev br0${nodad(family)}`;
        });
  return {
    namespace: namespaceName(spec.name, 'fabric'),
    sysctls: ipv6Sysctls(first?.addressIPv6 !== undefined, ports),
    batch: [
      'link set lo up',
      'link add br0 type bridge forward_delay 0 mcast_snooping 0',
      ...ports.map((port) => `link set ${port} master br0 up`),
      'link set br0 up',
      ...gateways,
    ],
    checksumDevices: ports,
  };
}

function nodePlan(spec: LabSpec, node: NodeSpec): NamespacePlan {
  const pods = spec.pods.filter((pod) => pod.node === node.name);
  const filter = String(spec.reversePathFilter ?? 2);
  return {
    namespace: namespaceName(spec.name, node.name),
    sysctls: [
      ...ipv6Sysctls(node.addressIPv6 !== undefined, ['eth0', ...pods.map(podDevice)]),
      ['ipv4/ip_forward', '1'],
      ['ipv6/conf/all/forwarding', node.addressIPv6 === undefined ? '0' : '1'],
      ['ipv4/conf/all/rp_filter', filter],
      ['ipv4/conf/default/rp_filter', filter],
    ],
    batch: [
      'link set lo up',
      'link set eth0 up',
      ...nodeFamilies(node).flatMap((family) => uplinkLines(spec, node, family)),
      ...pods.flatMap((pod) => [
        `link set ${podDevice(pod)} up`,
        ...podFamilies(pod, node).flatMap((family) => [
          `addr add ${firstAddress(family.podRange)}/${family.bits} dev ${podDevice(pod)}${nodad(family)}`,
          `route add ${family.address}/${family.bits} dev ${podDevice(pod)}${family.bits === 32 ? ' scope host' : ''}`,
        ]),
      ]),
    ],
    checksumDevices: pods.map(podDevice),
  };
}

/** The uplink's address, the way out, and a route to the pods of every other node. */
function uplinkLines(spec: LabSpec, node: NodeSpec, family: Family): readonly string[] {
  const shared = fabricRange(family.address);
  const others = spec.nodes
    .filter((other) => other !== node)
    .flatMap((other) => nodeFamilies(other).filter((candidate) => candidate.bits === family.bits));
  return [
    `addr add ${withLength(family.address, shared)} dev eth0${nodad(family)}`,
    `route add ${everything(family)} via ${firstAddress(shared)} dev eth0`,
    ...others.map((other) => `route add ${other.podRange} via ${other.address} dev eth0`),
  ];
}

function podPlan(spec: LabSpec, pod: PodSpec, node: NodeSpec): NamespacePlan {
  const families = podFamilies(pod, node);
  return {
    namespace: namespaceName(spec.name, pod.name),
    sysctls: ipv6Sysctls(families.length > 1, ['eth0']),
    batch: [
      'link set lo up',
      'link set eth0 up',
      ...families.flatMap((family) => {
        const gateway = firstAddress(family.podRange);
        return [
          `addr add ${family.address}/${family.bits} dev eth0${nodad(family)}`,
          `route add ${gateway} dev eth0${family.bits === 32 ? ' scope link' : ''}`,
          `route add ${everything(family)} via ${gateway} dev eth0`,
        ];
      }),
    ],
    checksumDevices: spec.podChecksums === 'stack' ? ['eth0'] : [],
  };
}

/** Everything that `ip`, the sysctls and the offloads have to become. The specification was checked before. */
export function planLab(spec: LabSpec): LabPlan {
  const name = (short: string): string => namespaceName(spec.name, short);
  const nodeOf = (pod: PodSpec): NodeSpec => {
    const node = spec.nodes.find((candidate) => candidate.name === pod.node);
    assert(node !== undefined, `pod ${pod.name} was checked before`);
    return node;
  };
  return {
    create: [
      ...['fabric', ...spec.nodes.map((node) => node.name), ...spec.pods.map((pod) => pod.name)].map(
        (short) => `netns add ${name(short)}`,
      ),
      ...spec.nodes.map(
        (node, index) =>
          `link add eth0 netns ${name(node.name)} type veth peer name up${index} netns ${name('fabric')}`,
      ),
      ...spec.pods.map(
        (pod) => `link add ${podDevice(pod)} netns ${name(pod.node)} type veth peer name eth0 netns ${name(pod.name)}`,
      ),
    ],
    namespaces: [
      fabricPlan(spec),
      ...spec.nodes.map((node) => nodePlan(spec, node)),
      ...spec.pods.map((pod) => podPlan(spec, pod, nodeOf(pod))),
    ],
  };
}
