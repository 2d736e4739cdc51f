// SPDX-License-Identifier: Apache-2.0
/** Rows of the tables that benches print. */
import type { Spread } from '../bench/statistics.ts';

/** A rate beside its goal. */
export function rateLine(name: string, { high, low, median }: Spread, goal: number): string {
  const verdict = median >= goal ? 'met' : 'MISSED';
  return `| ${name} | ${thousands(median)} | ${thousands(low)} to ${thousands(high)} | ${thousands(goal)} | ${verdict} |`;
}

/** 1234567 as `1,234,567`. */
export function thousands(value: number): string {
  return Math.round(value).toLocaleString('en-US');
}
