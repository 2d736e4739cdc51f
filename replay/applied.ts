// SPDX-License-Identifier: Apache-2.0
/**
 * Whether a node had acted on an event before it sent something on as if it had not: then its control plane was not
 * late, and what kept the old state was the datapath.
 */
import { port } from '../core/address.ts';
import type { OracleTimeline } from '../core/oracle.ts';
import { permits, type Observed } from '../core/oracle/answer.ts';
import type { Connection } from './connections.ts';
import { questionOf, STALE_WINDOW_NS } from './judge.ts';

/** A proxy changes its tables and flushes old flows one after the other: within this it may still do both. */
export const ACTING_NS = 1_000_000_000;

type Stale = Connection & { readonly verdict: Extract<NonNullable<Connection['verdict']>, { kind: 'stale' }> };

/** Sets what is known of the acting of the stale connections, and `applied` where it came before them. */
export function noteApplied(connections: readonly Connection[], oracle: OracleTimeline): void {
  const byEvent = new Map<number, Stale[]>();
  for (const one of connections.filter(isStale)) {
    const alike = byEvent.get(one.verdict.endedBy) ?? [];
    alike.push(one);
    byEvent.set(one.verdict.endedBy, alike);
  }
  for (const alike of byEvent.values()) {
    const [first] = alike;
    if (first === undefined) continue;
    const proof = proofOf(first, connections, oracle);
    const lastNs = alike.reduce((last, { verdict }) => Math.max(last, verdict.staleNs), 0);
    for (const one of alike) {
      const { endedNs, staleNs } = one.verdict;
      one.acting = { lastNs, firstNs: proof && proof.timeNs - endedNs };
      if (proof !== undefined && proof.timeNs + ACTING_NS < endedNs + staleNs) one.applied = proof;
    }
  }
}

function isStale(connection: Connection): connection is Stale {
  return connection.verdict?.kind === 'stale' && connection.notJudged === undefined;
}

/** The first packet that shows a choice which the event has permitted: of the same Service, whatever its port. */
function proofOf(
  { service, verdict: { endedNs } }: Stale,
  connections: readonly Connection[],
  oracle: OracleTimeline,
): Connection['decided'] {
  const name = service.split(':')[0];
  const found = connections.find((connection) => {
    const { backend, decided, verdict } = connection;
    if (verdict?.kind !== 'permitted' || backend === undefined || decided === undefined) return false;
    if (connection.service.split(':')[0] !== name) return false;
    if (decided.timeNs < endedNs || decided.timeNs > endedNs + STALE_WINDOW_NS) return false;
    const observed: Observed = { kind: 'backend', address: backend.address, port: port(backend.port) };
    const question = questionOf(connection);
    return (
      permits(oracle.answerAt(endedNs, question), observed) &&
      !permits(oracle.answerAt(endedNs - 1, question), observed)
    );
  });
  return found?.decided;
}
