// SPDX-License-Identifier: Apache-2.0
/** Which endpoints of one Service port may get a new connection: services section 2, without any map or row. */
import { endpointText } from '../address.ts';
import type { Backend } from './answer.ts';
import type { EndpointFacts, ServicePortFacts, SliceFacts } from './facts.ts';
import type { Family } from './read.ts';

/** Where the judged node stands. `topology` false ignores hints. */
export type Place = { readonly nodeName: string; readonly zone: string | undefined; readonly topology: boolean };

export type Endpoint = Omit<EndpointFacts, 'address' | 'nodeName'> & {
  /** `ip:port`, its identity and its order. */
  readonly text: string;
  readonly backend: Backend;
  readonly isLocal: boolean;
};

export type Policy = {
  readonly internalLocal: boolean;
  readonly externalLocal: boolean;
  readonly externallyAccessible: boolean;
};

/** The four results of section 2.4; lists are ordered by `ip:port`. */
export type Lists = {
  readonly cluster: readonly Endpoint[];
  readonly local: readonly Endpoint[];
  readonly reachable: readonly Endpoint[];
  readonly hasAny: boolean;
};

/** One choice among doubled endpoints costs one evaluation; more than this is not judged. */
const WORLD_COUNT_MAX = 64;

/**
 * Every endpoint list that the slices of one family may mean for a Service port, each ordered by `ip:port`. There is
 * one, unless an address is listed differently in several slices, where the winner is undefined (H4). Undefined when
 * there are more than 64.
 */
export function possibleEndpoints(
  slices: readonly SliceFacts[],
  family: Family,
  servicePort: ServicePortFacts,
  place: Place,
): readonly (readonly Endpoint[])[] | undefined {
  const copies = new Map<string, Endpoint[]>();
  for (const slice of slices) {
    if (slice.family !== family) continue;
    for (const endpoint of endpointsOfSlice(slice, servicePort, place)) {
      const known = copies.get(endpoint.text);
      if (known === undefined) copies.set(endpoint.text, [endpoint]);
      else known.push(endpoint);
    }
  }
  let worlds: Endpoint[][] = [[]];
  for (const text of [...copies.keys()].sort()) {
    const winners = possibleWinners(copies.get(text) ?? []);
    if (worlds.length * winners.length > WORLD_COUNT_MAX) return undefined;
    const [only] = winners;
    if (winners.length === 1 && only !== undefined) for (const world of worlds) world.push(only);
    else worlds = winners.flatMap((winner) => worlds.map((world) => [...world, winner]));
  }
  return worlds;
}

/** One entry per `ip:port`: within a slice the order is known, a later one replaces unless it is terminating (H4). */
function endpointsOfSlice(slice: SliceFacts, wanted: ServicePortFacts, place: Place): Iterable<Endpoint> {
  const found = new Map<string, Endpoint>();
  for (const { name, protocol, port } of slice.ports) {
    if (name !== wanted.name || protocol !== wanted.protocol) continue;
    for (const { address, nodeName, ...facts } of slice.endpoints) {
      const text = endpointText(address, port);
      if (found.has(text) && facts.terminating) continue;
      const isLocal = nodeName !== undefined && nodeName !== '' && nodeName === place.nodeName;
      found.set(text, { ...facts, text, backend: { address, port }, isLocal });
    }
  }
  return found.values();
}

/** H4: one that is not terminating wins; among several of a kind that differ the winner is undefined. */
function possibleWinners(copies: readonly Endpoint[]): readonly Endpoint[] {
  if (copies.length === 1) return copies;
  const lasting = copies.filter((copy) => !copy.terminating);
  const candidates = lasting.length > 0 ? lasting : copies;
  return [...new Map(candidates.map((copy) => [JSON.stringify({ ...copy, backend: null }), copy])).values()];
}

/** CategorizeEndpoints of section 2.4. */
export function categorizeEndpoints(endpoints: readonly Endpoint[], policy: Policy, place: Place): Lists {
  const { internalLocal, externalLocal, externallyAccessible } = policy;
  const usesCluster = !internalLocal || externallyAccessible;
  const usesLocal = internalLocal || (externalLocal && externallyAccessible);
  const ready = endpoints.filter((endpoint) => endpoint.ready);
  const fallback = endpoints.filter((endpoint) => !endpoint.ready && endpoint.serving && endpoint.terminating);

  const near = ready.filter(nearness(ready, place));
  const cluster = !usesCluster ? [] : near.length > 0 ? near : fallback;
  const readyHere = ready.filter((endpoint) => endpoint.isLocal);
  const fallbackHere = fallback.filter((endpoint) => endpoint.isLocal);
  const local = !usesLocal ? [] : readyHere.length > 0 ? readyHere : fallbackHere;

  const chosen = new Set([...cluster, ...local]);
  const reachable = endpoints.filter((endpoint) => chosen.has(endpoint));
  const anywhere = ready.length > 0 || fallback.length > 0;
  return { cluster, local, reachable, hasAny: cluster.length > 0 || (usesLocal && anywhere) };
}

/** All or nothing over the ready endpoints, the node before the zone; any member of the hints may match. */
function nearness(ready: readonly Endpoint[], place: Place): (endpoint: Endpoint) => boolean {
  const { nodeName, zone, topology } = place;
  const onMyNode = (endpoint: Endpoint): boolean => endpoint.nodeHints.includes(nodeName);
  const inMyZone = (endpoint: Endpoint): boolean => zone !== undefined && endpoint.zoneHints.includes(zone);
  if (!topology) return () => true;
  if (ready.every((endpoint) => endpoint.nodeHints.length > 0) && ready.some(onMyNode)) return onMyNode;
  if (ready.every((endpoint) => endpoint.zoneHints.length > 0) && ready.some(inMyZone)) return inMyZone;
  return () => true;
}
