// SPDX-License-Identifier: Apache-2.0
/** What is known of the captured node without a file of facts: its name, its addresses, its pods' range. */
import { parsePrefix, type Address, type Prefix } from '../core/address.ts';
import { fail, ok, type Result } from '../core/result.ts';
import { objectsOf, type NodeObject } from '../core/objects.ts';
import type { EventStreams } from '../formats/events.ts';
import type { NodeFacts } from '../formats/node.ts';

/** What a configuration says about the node; empty where it doesn't. */
export type KnownNode = {
  readonly nodeName: string;
  readonly nodeIPs: readonly Address[];
  readonly clusterCIDRs: readonly Prefix[];
};

/** Roles of devices are then inferred from what was captured on them. */
export function factsFromEvents(known: KnownNode, streams: EventStreams): Result<NodeFacts> {
  const nodes = nodesOf(streams);
  const [only] = nodes.length === 1 ? nodes : [];
  const name = known.nodeName === '' ? (only?.metadata?.name ?? '') : known.nodeName;
  const node = nodes.find(({ metadata }) => metadata?.name === name);
  const podRanges = (node?.spec?.podCIDRs ?? []).flatMap((text) => {
    const range = parsePrefix(text);
    return range.ok ? [range.value] : [];
  });
  if (name === '' || (podRanges.length === 0 && known.clusterCIDRs.length === 0)) {
    const remedy = 'give --node node.json, or nodeName and clusterCIDRs by --config';
    return fail(
      'usage',
      'node',
      `nothing says ${name === '' ? 'which node was captured' : `which pods ${name} has`}`,
      remedy,
    );
  }
  const { nodeIPs, clusterCIDRs } = known;
  return ok({ name, addresses: nodeIPs, podRanges, clusterRanges: clusterCIDRs, devices: [], proxy: '' });
}

/** The first that is told of each node. */
function nodesOf({ events }: EventStreams): readonly NodeObject[] {
  const nodes = new Map<string, NodeObject>();
  for (const { event } of events) {
    for (const object of objectsOf(event)) {
      const name = object.metadata?.name ?? '';
      if (object.kind === 'Node' && !nodes.has(name)) nodes.set(name, object);
    }
  }
  return [...nodes.values()];
}
