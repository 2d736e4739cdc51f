// SPDX-License-Identifier: Apache-2.0
/** Medians and spread of repeated measurements. */

/** `low` and `high`: the quarter and three-quarter points. */
export type Spread = { readonly median: number; readonly low: number; readonly high: number; readonly least: number };

function at(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

export function spreadOf(values: readonly number[]): Spread {
  const sorted = values.toSorted((left, right) => left - right);
  return { median: at(sorted, 0.5), low: at(sorted, 0.25), high: at(sorted, 0.75), least: at(sorted, 0) };
}
