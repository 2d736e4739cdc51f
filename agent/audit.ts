// SPDX-License-Identifier: Apache-2.0
/** Whether what the loop keeps is what the objects say: some owners are computed anew in each step, all of them in turn. */
import type { Desired } from '../core/control/claims.ts';
import { everyOwner, type ClusterState } from '../core/control/cluster.ts';
import { desiredOf, NOTHING_DESIRED } from '../core/control/desired.ts';
import { keyText, servicePortText } from '../core/control/names.ts';
import { podOfOwner } from '../core/control/pods.ts';
import type { NodeConfig, Problem } from '../core/service.ts';

/** Contract: only called when nothing is out of date; whoever gets a difference must compute everything again. */
export interface Audit {
  /** The next owners in turn. A round over all of them takes as many steps as there are owners, divided by `perStep`. */
  next(desired: Desired, cluster: ClusterState, config: NodeConfig): readonly Problem[];
  /** The first ones found since the start. */
  readonly seen: readonly Problem[];
}

const SEEN_MAX = 100;

/**
 * `perStep`: how many owners; less than 1: one after some steps; 0: none. In turn rather than by chance: nobody is left
 * out, and runs can be repeated.
 */
export function createAudit(perStep: number): Audit {
  let round: string[] = [];
  let due = 0;
  const seen: Problem[] = [];
  return {
    seen,
    next: (desired, cluster, config) => {
      due += perStep;
      const count = Math.floor(due);
      due -= count;
      if (count === 0) return [];
      // Also those that are kept and shouldn't be.
      if (round.length === 0) round = [...new Set([...desired.owners.keys(), ...everyOwner(cluster)])];
      const found = round.splice(-count).flatMap((owner) => difference(desired, cluster, config, owner) ?? []);
      seen.push(...found.slice(0, SEEN_MAX - seen.length));
      return found;
    },
  };
}

const REMEDY = 'was not what the objects say, a bug of tandem: everything was computed again';

/** What is kept of one owner against what is computed anew; undefined: it is the same. */
export function difference(
  desired: Desired,
  cluster: ClusterState,
  config: NodeConfig,
  owner: string,
): Problem | undefined {
  const kept = desired.owners.get(owner) ?? NOTHING_DESIRED;
  const object = podOfOwner(owner) === undefined ? `Service ${owner}` : owner;
  if (!sameValue(kept, desiredOf(cluster, config, owner)))
    return { object, field: '', message: `what was kept ${REMEDY}` };
  const lost = kept.frontends.find(
    (frontend) =>
      desired.claims.get(keyText(frontend))?.includes(frontend) !== true ||
      desired.ports.get(servicePortText(frontend.servicePort))?.includes(frontend) !== true,
  );
  if (lost === undefined) return undefined;
  return { object, field: '', message: `${keyText(lost)} ${REMEDY}` };
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null;
}

/** Of plain data: objects, lists, texts, numbers. */
function sameValue(left: unknown, right: unknown): boolean {
  if (left === right) return true;
  if (!isRecord(left) || !isRecord(right)) return false;
  const names = Object.keys(left);
  return names.length === Object.keys(right).length && names.every((name) => sameValue(left[name], right[name]));
}
