// SPDX-License-Identifier: Apache-2.0
/** Which endpoints of a Service port may get new connections, and why the others may not (services 2.4, to the letter). */
import type { ExclusionReason, TopologyMode, TopologyReason, TrafficPolicy } from '../service.ts';
import type { Candidate, EndpointInfo } from './slices.ts';

/** What of a Service port and the node decides. */
export type Categorization = {
  readonly internalPolicy: TrafficPolicy;
  readonly externalPolicy: TrafficPolicy;
  /** Whether a NodePort, a load balancer address or an external IP of the family exists. */
  readonly externallyAccessible: boolean;
  readonly nodeName: string;
  readonly zone: string;
  /** Whether hints are followed. */
  readonly topology: boolean;
  /** Whether it is known that all endpoints are ready and none has a hint: then nobody has to be looked at. */
  readonly isCalm: boolean;
};

export type Category = {
  readonly chosen: readonly Candidate[];
  readonly excluded: readonly { candidate: Candidate; reason: ExclusionReason }[];
};

export type Categories = {
  readonly cluster: Category;
  readonly local: Category;
  /** Of the cluster list. */
  readonly topology: Topology;
  /** Whether any endpoint is usable from anywhere: decides between refusal and silence for Local policies. */
  readonly hasAny: boolean;
};

export type Topology = { readonly mode: TopologyMode; readonly reason: TopologyReason };

/** Of lists that no hint narrows. */
export const LOCAL_POLICY: Topology = { mode: 'none', reason: 'local-policy' };

const NOBODY: Category = { chosen: [], excluded: [] };

/** Serving and terminating: used only where a list has no ready endpoint (services 2.2). */
function isFallback(endpoint: EndpointInfo): boolean {
  return !endpoint.ready && endpoint.serving && endpoint.terminating;
}

/** All or nothing: one ready endpoint without hints, or no hint that names us, and hints don't count. */
function topologyOf(candidates: readonly Candidate[], { topology, isCalm, nodeName, zone }: Categorization): Topology {
  if (!topology) return { mode: 'none', reason: 'switched-off' };
  if (isCalm && candidates.length > 0) return { mode: 'none', reason: 'no-hints' };
  const ready = candidates.filter(({ endpoint }) => endpoint.ready);
  if (ready.length === 0) return { mode: 'none', reason: 'no-ready-endpoints' };
  let withNodes = 0;
  let withZones = 0;
  let namesNode = false;
  let namesZone = false;
  for (const { endpoint } of ready) {
    if (endpoint.nodeHints.length > 0) withNodes += 1;
    if (endpoint.nodeHints.includes(nodeName)) namesNode = true;
    if (endpoint.zoneHints.length > 0) withZones += 1;
    if (zone !== '' && endpoint.zoneHints.includes(zone)) namesZone = true;
  }
  if (withNodes === ready.length && namesNode) return { mode: 'node', reason: 'followed' };
  if (withZones === ready.length && namesZone) return { mode: 'zone', reason: 'followed' };
  if (withNodes + withZones === 0) return { mode: 'none', reason: 'no-hints' };
  if (withNodes < ready.length && withZones < ready.length) return { mode: 'none', reason: 'endpoint-without-hints' };
  return { mode: 'none', reason: withZones === ready.length && zone === '' ? 'zone-unknown' : 'no-hint-names-us' };
}

function topologyReason(
  endpoint: EndpointInfo,
  mode: TopologyMode,
  { nodeName, zone }: Categorization,
): ExclusionReason | undefined {
  switch (mode) {
    case 'none':
      return undefined;
    case 'node':
      return endpoint.nodeHints.includes(nodeName) ? undefined : 'other-node';
    case 'zone':
      return endpoint.zoneHints.includes(zone) ? undefined : 'other-zone';
  }
}

/** Splits candidates into those a test lets pass and the others, each with its reason. */
function categorize(
  candidates: readonly Candidate[],
  reasonAgainst: (endpoint: EndpointInfo) => ExclusionReason | undefined,
): Category {
  const chosen: Candidate[] = [];
  const excluded: { candidate: Candidate; reason: ExclusionReason }[] = [];
  for (const candidate of candidates) {
    const reason = reasonAgainst(candidate.endpoint);
    if (reason === undefined) chosen.push(candidate);
    else excluded.push({ candidate, reason });
  }
  return { chosen, excluded };
}

function clusterList(candidates: readonly Candidate[], mode: TopologyMode, how: Categorization): Category {
  if (how.isCalm) return { chosen: candidates, excluded: [] };
  const ready = categorize(candidates, (endpoint) => {
    if (endpoint.ready) return topologyReason(endpoint, mode, how);
    return isFallback(endpoint) ? 'terminating' : 'not-ready';
  });
  if (ready.chosen.length > 0) return ready;
  return categorize(candidates, (endpoint) => (isFallback(endpoint) ? undefined : 'not-ready'));
}

function localList(candidates: readonly Candidate[], { nodeName }: Categorization): Category {
  const isLocal = (endpoint: EndpointInfo): boolean => endpoint.node !== '' && endpoint.node === nodeName;
  const hasReady = candidates.some(({ endpoint }) => endpoint.ready && isLocal(endpoint));
  return categorize(candidates, (endpoint) => {
    if (!endpoint.ready && !isFallback(endpoint)) return 'not-ready';
    if (!isLocal(endpoint)) return 'not-local';
    return endpoint.ready || !hasReady ? undefined : 'terminating';
  });
}

/** Candidates must be ordered by `text`, each once. */
export function categorizeEndpoints(candidates: readonly Candidate[], how: Categorization): Categories {
  const usesCluster = how.internalPolicy !== 'Local' || how.externallyAccessible;
  const usesLocal = how.internalPolicy === 'Local' || (how.externalPolicy === 'Local' && how.externallyAccessible);
  const topology = usesCluster ? topologyOf(candidates, how) : LOCAL_POLICY;
  const cluster = usesCluster ? clusterList(candidates, topology.mode, how) : NOBODY;
  const local = usesLocal ? localList(candidates, how) : NOBODY;
  const usable = usesLocal && candidates.some(({ endpoint }) => endpoint.ready || isFallback(endpoint));
  return { cluster, local, topology, hasAny: cluster.chosen.length > 0 || usable };
}
