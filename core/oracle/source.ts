// SPDX-License-Identifier: Apache-2.0
/** Whose address a backend sees (services 1.4 and its matrix); hairpins apart, which depend on the backend (D2). */
import type { Prefix } from '../address.ts';
import type { Question, Source } from './answer.ts';
import type { Claim } from './claims.ts';
import { isInside } from './ranges.ts';
import { familyOfRange } from './read.ts';

export type Masquerade = {
  /** Addresses of pods, all nodes; of a family without any nothing is masqueraded for where it comes from. */
  readonly clusterCIDRs: readonly Prefix[];
  /** Of ClusterIPs alone. */
  readonly masqueradeAll: boolean;
};

/** Whether a client is on the judged node: all that tells the two views apart. */
export function isOnNode({ client }: Question): boolean {
  return client === 'pod' || client === 'process';
}

export function sourceFor(claim: Claim, question: Question, masquerade: Masquerade): Source {
  // Whether masqueraded or not: a process of the node has no other address than the node's.
  if (question.client === 'process') return 'node';
  switch (claim.kind) {
    case 'ClusterIP':
      return masquerade.masqueradeAll ? 'node' : sourceByPlace(claim, question, masquerade);
    case 'NodePort':
    case 'LoadBalancer':
    case 'ExternalIP':
      if (!claim.isExternalLocal) return 'node';
      return isOnNode(question) ? sourceByPlace(claim, question, masquerade) : 'client';
    case 'HostPort':
      return 'client';
  }
}

/** Clients outside of the pod ranges are masqueraded; where the address is not told, the class stands for it. */
function sourceByPlace({ family }: Claim, { client, clientAddress }: Question, { clusterCIDRs }: Masquerade): Source {
  const ranges = clusterCIDRs.filter((range) => familyOfRange(range) === family);
  if (ranges.length === 0) return 'client';
  if (clientAddress === undefined) return client === 'outside' ? 'node' : 'client';
  return ranges.some((range) => isInside(range, clientAddress)) ? 'client' : 'node';
}
