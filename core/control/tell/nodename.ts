// SPDX-License-Identifier: Apache-2.0
/** A node name that is not what slices say makes every Local policy empty here (services H7). */
import type { NodeConfig, Problem } from '../../service.ts';
import type { ClusterState } from '../cluster.ts';
import type { ServiceInfo } from '../decode.ts';
import { isServed } from '../desired.ts';
import type { SliceInfo } from '../slices.ts';

/** So many of the names that endpoints have are told. */
const NAMES_SHOWN = 3;

/** Whether the node's own name matters to a Service, and it is ours. */
export function usesLocal(service: ServiceInfo, config: NodeConfig): boolean {
  return isServed(service, config) && [service.internalPolicy, service.externalPolicy].includes('Local');
}

/** Counts the endpoints of each node's name, the empty one left out; whether a name came or went. */
export function countNodeNames(names: Map<string, number>, slice: SliceInfo, change: 1 | -1): boolean {
  const { size } = names;
  for (const { node } of slice.endpoints) {
    if (node === '') continue;
    const count = (names.get(node) ?? 0) + change;
    if (count === 0) names.delete(node);
    else names.set(node, count);
  }
  return names.size !== size;
}

/** undefined: the name is one that endpoints have, or none of it matters. */
export function nodeNameProblem(cluster: ClusterState, config: NodeConfig): Problem | undefined {
  const isNeeded = [...cluster.services.values()].some((service) => usesLocal(service, config));
  const names = new Map<string, number>();
  for (const slice of cluster.slices.values()) countNodeNames(names, slice, 1);
  return judgeNodeName(isNeeded, names, cluster, config);
}

/** `isNeeded`: whether any Service of ours has a Local policy. */
export function judgeNodeName(
  isNeeded: boolean,
  names: ReadonlyMap<string, number>,
  cluster: ClusterState,
  { nodeName }: NodeConfig,
): Problem | undefined {
  if (!isNeeded) return undefined;
  if (nodeName === '') return problem('not set: no endpoint is local to this node');
  if (names.size === 0 || names.has(nodeName) || cluster.nodes.has(nodeName)) return undefined;
  const known = [...names.keys()].toSorted().slice(0, NAMES_SHOWN).join(', ');
  return problem(`"${nodeName}" is the node of no endpoint (they are on ${known}): every Local policy is empty here`);
}

function problem(message: string): Problem {
  return { object: 'configuration', field: 'nodeName', message };
}
