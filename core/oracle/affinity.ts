// SPDX-License-Identifier: Apache-2.0
/** What is permitted to a client that was here before (services E1 to E5): its backend, while that may be chosen. */
import { isBackend, type Outcome, type Question } from './answer.ts';

/** A proxy counts seconds, and not from the very moment that a packet was seen: so close to the end both is right. */
const EDGE_NS = 1_000_000_000;

/**
 * The outcomes of one frontend for this client. E3: a backend that the policy does not give now is not kept; that its
 * record is lost with it, also where it comes back, is for whoever remembers the client's last connection.
 */
export function outcomesForClient(
  outcomes: readonly Outcome[],
  affinitySeconds: number,
  { last }: Question,
): readonly Outcome[] {
  if (last === undefined || last.ageNs > affinitySeconds * 1e9 - EDGE_NS) return outcomes;
  return outcomes.map((outcome) => {
    if (outcome.kind !== 'permitted') return outcome;
    const own = outcome.backends.filter((backend) => isBackend(backend, last.backend));
    return own.length === 0 ? outcome : { ...outcome, backends: own };
  });
}
