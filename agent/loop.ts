// SPDX-License-Identifier: Apache-2.0
/** The level-triggered loop: events mark what is out of date, a step computes it and brings the maps to it. */
import {
  allFrontends,
  desiredProblems,
  emptyDesired,
  ownedFrontends,
  updateDesired,
  type Desired,
  type DesiredChange,
} from '../core/control/claims.ts';
import { ownersAffected } from '../core/control/affected.ts';
import { applyEvent, clusterProblems, emptyCluster, everyOwner, type ClusterState } from '../core/control/cluster.ts';
import { wantedSocketHooks, type SocketHook } from '../core/control/hooks.ts';
import { effectiveNode, wantedNodeAddresses } from '../core/control/nodes.ts';
import { unsupportedProblems, whyNotProgrammed, type WantedPort } from '../core/control/wanted.ts';
import type { ClusterEvent, ObjectKind } from '../core/objects.ts';
import { fail, type Failure } from '../core/result.ts';
import type { Frontend, NodeConfig, Problem } from '../core/service.ts';
import type { MapStore } from '../core/store.ts';
import { createAudit } from './audit.ts';
import { createReconciler, type Everything } from './reconcile.ts';

/** Without these there is nothing to serve (services I1): half a cluster would refuse the other half. */
const NEEDED: readonly ObjectKind[] = ['Service', 'EndpointSlice'];

export type LoopOptions = {
  readonly store: MapStore;
  readonly node: NodeConfig;
  /** Why a frontend is kept out of the maps; undefined: it is not. Else: what the programs of this build can't serve. */
  readonly whyNot?: (frontend: Frontend) => string | undefined;
  /** Kinds that are watched: nothing is programmed, and nothing taken away, before each has been listed. */
  readonly kinds?: readonly ObjectKind[];
  /** Owners that each step computes anew, in turn, to compare them with what is kept; a part of one: in some steps. */
  readonly auditPerStep?: number;
  /** Told of each failure of a step, once per step. */
  readonly onProblem: (failure: Failure) => void;
};

export type StepReport = {
  /** Kinds whose first list has not come yet; nothing is done while there are any. */
  readonly unlisted: readonly ObjectKind[];
  /** Services and pods with host ports that were computed again. */
  readonly owners: number;
  /** Steps carried out, and how many were planned. */
  readonly done: number;
  readonly planned: number;
  readonly failures: readonly Failure[];
  /** What was kept wrongly, a bug of ours: everything was computed again. */
  readonly differences: readonly Problem[];
  /** What the next step will try again. */
  readonly waiting: readonly string[];
  /** Whether the maps are now as wanted. */
  readonly isSettled: boolean;
};

export interface Loop {
  /** Takes an event in; cheap, touches no map. */
  event(event: ClusterEvent): void;
  /** Computes what is out of date and brings the maps to it; also tries again what failed before. */
  step(): StepReport;
  /** Computes everything, asks the maps what they hold, and repairs what differs. */
  resync(): StepReport;
  /** What can't be used of the objects, what isn't compiled and what isn't programmed yet. */
  problems(): readonly Problem[];
  /** The socket programs that what is programmed needs, in the order of attaching. */
  socketHooks(): readonly SocketHook[];
  /** Kinds whose watch is broken, with the reason: their part of the cluster may be out of date. */
  gaps(): ReadonlyMap<ObjectKind, string>;
}

/** Ten thousand Services are audited in 160,000 steps: as often as their slices change, every few hours. */
const AUDIT_PER_STEP = 1 / 16;

const NOTHING_DONE = { owners: 0, done: 0, planned: 0, failures: [], differences: [], isSettled: false };

export function createLoop(options: LoopOptions): Loop {
  const { node, onProblem, store, whyNot = whyNotProgrammed } = options;
  let cluster: ClusterState = emptyCluster();
  let desired: Desired = emptyDesired();
  let effective = effectiveNode(cluster.nodes, node);
  let dirty = new Set<string>();
  const audit = createAudit(options.auditPerStep ?? AUDIT_PER_STEP);
  const reconciler = createReconciler(store, () => everythingWanted(desired, effective, whyNot));

  function event(incoming: ClusterEvent): void {
    const { state, changed } = applyEvent(cluster, incoming);
    cluster = state;
    for (const owner of changed.owners) dirty.add(owner);
    if (!changed.nodes.has(node.nodeName)) return;
    const before = effective;
    effective = effectiveNode(cluster.nodes, node);
    reconciler.node(wantedNodeAddresses(effective));
    for (const owner of ownersAffected(cluster, before, effective)) dirty.add(owner);
  }

  function step(): StepReport {
    const unlisted = (options.kinds ?? NEEDED).filter((kind) => !cluster.listed.has(kind));
    if (unlisted.length > 0) {
      return { ...NOTHING_DONE, unlisted, waiting: [...dirty] };
    }
    const { change, differences, owners } = bringUpToDate();
    for (const name of change.ports) {
      const port = wantedPort(desired, name, whyNot);
      if (port.frontends.length === 0) reconciler.delete(name);
      else reconciler.update(port);
    }
    for (const [text, address] of change.addresses) reconciler.own(address, desired.addresses.has(text));
    const report = reconciler.commit();
    for (const failure of report.failures) onProblem(failure);
    const { done, failures, planned, waiting } = report;
    return { unlisted, owners, done, planned, failures, differences, waiting, isSettled: failures.length === 0 };
  }

  function bringUpToDate(): { change: DesiredChange; differences: readonly Problem[]; owners: number } {
    const owners = dirty;
    dirty = new Set();
    const change = updateDesired(desired, cluster, effective, owners);
    const differences = audit.next(desired, cluster, effective);
    if (differences.length === 0) return { change, differences, owners: owners.size };
    for (const { object, message } of differences) onProblem(fail('environment', object, message).error);
    const all = forget();
    return { change: updateDesired(desired, cluster, effective, all), differences, owners: all.length };
  }

  /** Nothing kept is trusted any more, the maps included; returns who must be computed. */
  function forget(): readonly string[] {
    desired = emptyDesired();
    effective = effectiveNode(cluster.nodes, node);
    reconciler.prune();
    return everyOwner(cluster);
  }

  const resync = (): StepReport => {
    dirty = new Set(forget());
    return step();
  };
  const problems = (): Problem[] => [
    ...clusterProblems(cluster),
    ...desiredProblems(desired),
    ...unsupportedProblems(allFrontends(desired), whyNot),
    ...audit.seen,
  ];
  const socketHooks = (): readonly SocketHook[] => wantedSocketHooks(allFrontends(desired), whyNot);
  return { event, step, resync, problems, socketHooks, gaps: () => cluster.gaps };
}

type WhyNot = NonNullable<LoopOptions['whyNot']>;

function wantedPort(desired: Desired, name: string, whyNot: WhyNot): WantedPort {
  return { name, frontends: ownedFrontends(desired, name).filter((frontend) => whyNot(frontend) === undefined) };
}

function everythingWanted(desired: Desired, node: NodeConfig, whyNot: WhyNot): Everything {
  const ports = [...desired.ports.keys()]
    .map((name) => wantedPort(desired, name, whyNot))
    .filter(({ frontends }) => frontends.length > 0);
  const addresses = [...desired.addresses.values()];
  return {
    ports,
    addresses: addresses.map(({ address }) => ({ address, isOwned: true })),
    nodeAddresses: wantedNodeAddresses(node),
  };
}
