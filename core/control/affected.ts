// SPDX-License-Identifier: Apache-2.0
/** Which owners of frontends a change of our node can affect: with ten thousand Services that is rarely all of them. */
import type { NodeConfig } from '../service.ts';
import { everyOwner, type ClusterState } from './cluster.ts';
import type { ServiceInfo } from './decode.ts';
import { sameAddresses } from './nodes.ts';
import { ownerOfPod } from './pods.ts';

/** `before` and `after`: our node as it was and as it is; whatever else differs between them affects everybody. */
export function ownersAffected(cluster: ClusterState, before: NodeConfig, after: NodeConfig): Iterable<string> {
  const { zone, nodeIPs } = after;
  if (!sameConfiguration({ ...before, zone, nodeIPs }, after)) return everyOwner(cluster);
  const owners = new Set<string>();
  if (before.zone !== zone) {
    for (const slice of cluster.slices.values()) if (slice.hasZoneHints) owners.add(slice.service);
  }
  if (!sameAddresses(before.nodeIPs, nodeIPs)) {
    for (const service of cluster.services.values()) if (usesNodeAddresses(service)) owners.add(service.key);
    for (const pod of cluster.pods.keys()) owners.add(ownerOfPod(pod));
  }
  // A host port's backend says the zone of its node.
  if (before.zone !== zone) for (const pod of cluster.pods.keys()) owners.add(ownerOfPod(pod));
  return owners;
}

function sameConfiguration(left: NodeConfig, right: NodeConfig): boolean {
  return JSON.stringify(left) === JSON.stringify(right);
}

/** NodePorts are served there, and source ranges that let the node in let in its load balancer addresses too. */
function usesNodeAddresses(service: ServiceInfo): boolean {
  return service.sourceRanges !== null || service.ports.some(({ nodePort }) => nodePort !== null);
}
