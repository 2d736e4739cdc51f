// SPDX-License-Identifier: Apache-2.0
/** Follows a stream event by event: what each changed, from the owners that it touched and nothing else. */
import { addressText, prefixText } from '../../address.ts';
import type { ClusterEvent } from '../../objects.ts';
import type { Frontend, NodeConfig, Problem } from '../../service.ts';
import { ownersAffected } from '../affected.ts';
import { changesBetween, type Changes, type Settings, type Situation } from './changes.ts';
import { allFrontends, emptyDesired, lostProblems, ownedFrontends, updateDesired, type Desired } from '../claims.ts';
import { applyEvent, emptyCluster, type ClusterState } from '../cluster.ts';
import { objectKey, type ServiceInfo } from '../decode.ts';
import {
  compareFrontends,
  computeEverything,
  gapProblems,
  healthChecks,
  problems,
  topologies,
  type CompiledHealthCheck,
  type DocumentConfig,
} from './document.ts';
import { countNodeNames, judgeNodeName, usesLocal } from './nodename.ts';
import { effectiveNode } from '../nodes.ts';
import type { PodInfo } from '../pods.ts';
import type { SliceInfo } from '../slices.ts';

/** The whole outcome for a cluster and a node. */
export function situationOf(cluster: ClusterState, config: DocumentConfig): Situation {
  const { node, desired } = computeEverything(cluster, config);
  const frontends = allFrontends(desired).sort(compareFrontends);
  return {
    settings: settingsOf(node, config),
    frontends,
    healthChecks: healthChecks(desired),
    topology: topologies(frontends),
    problems: problems(cluster, node, desired),
  };
}

/** What of the node decides, as text. */
function settingsOf(node: NodeConfig, { serviceCIDRs }: DocumentConfig): Settings {
  const { nodePortAddresses } = node;
  return {
    nodeName: node.nodeName === '' ? null : node.nodeName,
    zone: node.zone === '' ? null : node.zone,
    nodeIPs: node.nodeIPs.map(addressText),
    nodePortAddresses: nodePortAddresses === 'primary' ? 'primary' : nodePortAddresses.map(prefixText),
    clusterCIDRs: node.clusterCIDRs.map(prefixText),
    serviceCIDRs: serviceCIDRs.map(prefixText),
  };
}

export interface Follower {
  /** Takes an event in and tells what it changed: the same as two whole computations say, for what its owners cost. */
  event(event: ClusterEvent): Changes;
  /** How many Services are known and frontends owned. */
  totals(): { readonly services: number; readonly frontends: number };
}

export function createFollower(config: DocumentConfig): Follower {
  let cluster = emptyCluster();
  let node = effectiveNode(cluster.nodes, config);
  let settings = settingsOf(node, config);
  const desired = emptyDesired();
  const ports = createPorts(desired);
  const nodeName = createNodeNames(config);

  function event(incoming: ClusterEvent): Changes {
    const settingsBefore = settings;
    const problemsBefore = [...gapProblems(cluster), ...nodeName.problems()];
    const nameless = cluster.nameless.length;
    const objectsBefore = objectsOf(cluster, incoming);
    const { state, changed } = applyEvent(cluster, incoming);
    cluster = state;
    const objectsAfter = objectsOf(cluster, incoming);
    nodeName.replace(objectsBefore, objectsAfter, cluster);
    const owners = new Set(changed.owners);
    if (changed.nodes.has(config.nodeName)) {
      const before = node;
      node = effectiveNode(cluster.nodes, config);
      settings = settingsOf(node, config);
      for (const owner of ownersAffected(cluster, before, node)) owners.add(owner);
    }
    const ownersBefore = ownersOf(desired, owners);
    const touched = ports.replace(updateDesired(desired, cluster, node, owners).ports);
    const ownersAfter = ownersOf(desired, owners);
    return changesBetween(
      situation(settingsBefore, touched.before, ownersBefore, objectsBefore, problemsBefore),
      situation(settings, touched.after, ownersAfter, objectsAfter, [
        ...gapProblems(cluster),
        ...nodeName.problems(),
        ...cluster.nameless.slice(nameless),
      ]),
    );
  }

  return { event, totals: () => ({ services: cluster.services.size, frontends: ports.count() }) };
}

/** What is known of the objects that an event names; of a list, all of its kind. */
type Objects = {
  readonly services: readonly ServiceInfo[];
  readonly slices: readonly SliceInfo[];
  readonly pods: readonly PodInfo[];
};

function objectsOf({ services, slices, pods }: ClusterState, event: ClusterEvent): Objects {
  const some = { services: [], slices: [], pods: [] };
  if (event.type === 'BOOKMARK' || event.type === 'DISCONNECTED') return some;
  const kind = event.type === 'LISTED' ? event.kind : event.object.kind;
  const key = event.type === 'LISTED' ? undefined : (objectKey(event.object.metadata) ?? '');
  switch (kind) {
    case 'Service':
      return { ...some, services: named(services, key) };
    case 'EndpointSlice':
      return { ...some, slices: named(slices, key) };
    case 'Pod':
      return { ...some, pods: named(pods, key) };
    case 'Node':
      return some;
  }
}

/** Without a key, all. */
function named<T>(all: ReadonlyMap<string, T>, key: string | undefined): readonly T[] {
  if (key === undefined) return [...all.values()];
  const one = all.get(key);
  return one === undefined ? [] : [one];
}

type Owners = { readonly checks: readonly CompiledHealthCheck[]; readonly problems: readonly Problem[] };

function ownersOf(desired: Desired, owners: Iterable<string>): Owners {
  const checks: CompiledHealthCheck[] = [];
  const found: Problem[] = [];
  for (const service of owners) {
    const owner = desired.owners.get(service);
    if (owner === undefined) continue;
    if (owner.healthCheck !== null) checks.push({ service, ...owner.healthCheck });
    for (const problem of owner.problems) found.push(problem);
  }
  return { checks, problems: found };
}

type Touched = { readonly frontends: readonly Frontend[]; readonly problems: readonly Problem[] };

/** What Service ports own, and what others have of what they claim: as it was told last. */
function createPorts(desired: Desired): {
  readonly replace: (names: Iterable<string>) => { readonly before: Touched; readonly after: Touched };
  readonly count: () => number;
} {
  const known = new Map<string, Touched>();
  let count = 0;
  function replace(names: Iterable<string>): { readonly before: Touched; readonly after: Touched } {
    const before: Touched[] = [];
    const after: Touched[] = [];
    for (const name of names) {
      const was = known.get(name);
      if (was !== undefined) before.push(was);
      const is = {
        frontends: ownedFrontends(desired, name),
        problems: lostProblems(desired, desired.ports.get(name) ?? []),
      };
      count += is.frontends.length - (was?.frontends.length ?? 0);
      if (is.frontends.length + is.problems.length === 0) known.delete(name);
      else known.set(name, is);
      after.push(is);
    }
    return { before: joined(before), after: joined(after) };
  }
  return { replace, count: () => count };
}

function joined(parts: readonly Touched[]): Touched {
  return {
    frontends: parts.flatMap(({ frontends }) => frontends).sort(compareFrontends),
    problems: parts.flatMap((part) => part.problems),
  };
}

function situation(
  settings: Settings,
  touched: Touched,
  owners: Owners,
  { services, slices, pods }: Objects,
  others: readonly Problem[],
): Situation {
  const found = [...others];
  const all = [touched, owners, ...services, ...slices, ...pods];
  for (const one of all) for (const problem of one.problems) found.push(problem);
  const { frontends } = touched;
  return { settings, frontends, healthChecks: owners.checks, topology: topologies(frontends), problems: found };
}

/** Whether the node's name is one that endpoints have, kept up to date. */
function createNodeNames(config: NodeConfig): {
  readonly replace: (before: Objects, after: Objects, cluster: ClusterState) => void;
  readonly problems: () => readonly Problem[];
} {
  const names = new Map<string, number>();
  let needed = 0;
  let isKnown = false;
  let found: readonly Problem[] = [];
  function replace(before: Objects, after: Objects, cluster: ClusterState): void {
    const count = ({ services }: Objects): number => services.filter((one) => usesLocal(one, config)).length;
    const more = count(after) - count(before);
    const isKnownNow = cluster.nodes.has(config.nodeName);
    let isStale = more !== 0 || isKnownNow !== isKnown;
    needed += more;
    isKnown = isKnownNow;
    // Those that stay are counted before the others go: a name doesn't come and go with every change of its slice.
    for (const slice of after.slices) isStale = countNodeNames(names, slice, 1) || isStale;
    for (const slice of before.slices) isStale = countNodeNames(names, slice, -1) || isStale;
    if (!isStale) return;
    const problem = judgeNodeName(needed > 0, names, cluster, config);
    found = problem === undefined ? [] : [problem];
  }
  return { replace, problems: () => found };
}
