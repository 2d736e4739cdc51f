// SPDX-License-Identifier: Apache-2.0
/** Who may come to a load balancer's address (services B10, B11). */
import { addressEquals, prefixContains, type Address, type Prefix } from '../address.ts';
import { familyOf, familyOfRange, type Family } from './read.ts';

/** The ranges of one family: undefined where none restricts it, which a range of everything or none at all does not. */
export function restriction(given: readonly Prefix[] | undefined, family: Family): readonly Prefix[] | undefined {
  if (given === undefined) return undefined;
  // None that can be read, of either family: nobody is let in rather than everybody.
  if (given.length === 0) return [];
  const ranges = given.filter((range) => familyOfRange(range) === family);
  const everyone = family === 'IPv4' ? 96 : 0;
  return ranges.length === 0 || ranges.some(({ length }) => length === everyone) ? undefined : ranges;
}

/**
 * Whether the ranges let the client's own address in. A node that reaches an address bound on itself has that very
 * address for its source: so the Service's addresses are let in where the node is.
 */
export function isAdmitted(
  ranges: readonly Prefix[],
  client: Address,
  { vips, nodeAddresses }: { readonly vips: readonly Address[]; readonly nodeAddresses: readonly Address[] },
): boolean {
  const contains = (value: Address): boolean => ranges.some((range) => isInside(range, value));
  if (contains(client)) return true;
  return vips.some((vip) => addressEquals(vip, client)) && nodeAddresses.some(contains);
}

/** Ranges hold addresses of their own family alone. */
export function isInside(range: Prefix, value: Address): boolean {
  return familyOfRange(range) === familyOf(value) && prefixContains(range, value);
}
