// SPDX-License-Identifier: Apache-2.0
/** A run as a whole: its numbers in one line, and what is wrong with the closed list. */
import type { Difference, Outcome } from './compare.ts';
import { deliberate } from './deliberate.ts';

export type Totals = {
  clusters: number;
  frontends: number;
  comparisons: number;
  differences: number;
  connections: number;
  healthChecks: number;
  readonly explained: Map<string, number>;
};

export function emptyTotals(): Totals {
  return {
    clusters: 0,
    frontends: 0,
    comparisons: 0,
    differences: 0,
    connections: 0,
    healthChecks: 0,
    explained: new Map(),
  };
}

export function addOutcome(totals: Totals, { frontends, comparisons, differences, explained }: Outcome): void {
  totals.frontends += frontends;
  totals.comparisons += comparisons;
  totals.differences += differences.length;
  for (const [id, count] of explained) totals.explained.set(id, (totals.explained.get(id) ?? 0) + count);
}

/** Entries that explained nothing, or more than they may. */
export function closedListFaults({ explained, comparisons }: Totals): readonly string[] {
  return deliberate.flatMap(({ id, shareMax }) => {
    const count = explained.get(id) ?? 0;
    if (count === 0) return [`${id}: explained nothing, so it has no place in the list`];
    const share = count / comparisons;
    return share > shareMax
      ? [`${id}: explained ${(share * 100).toFixed(2)} % of all, at most ${shareMax * 100} %`]
      : [];
  });
}

export function totalsText(totals: Totals): string {
  const { clusters, frontends, comparisons, differences, connections, healthChecks } = totals;
  const rules = deliberate.map(({ id }) => `${id} ${totals.explained.get(id) ?? 0}`).join(', ');
  const counts = `${clusters} clusters, ${frontends} frontends, ${comparisons} comparisons, differences ${differences}`;
  const confirmed = `${connections} connections and ${healthChecks} health checks as read`;
  return `${counts}; ${confirmed}; deliberate: ${rules}`;
}

/** Three lines: which Service, which client at which frontend, the first field that differs; and how to see it again. */
export function differenceText({ service, where, field }: Difference, repeat: string): string {
  return `${service}\n  ${where}\n  ${field}\n  repeat: ${repeat}`;
}
