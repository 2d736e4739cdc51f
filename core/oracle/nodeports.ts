// SPDX-License-Identifier: Apache-2.0
/** Which addresses of the node serve NodePorts and host ports (services B7, B8). */
import { address as addressOf, addressEquals, isIPv4, prefixContains, type Address, type Prefix } from '../address.ts';
import { FAMILIES, familyOf, familyOfRange } from './read.ts';

/** Ranges, and the word for the first address of each family that no range is given for. */
export type NodePortAddresses = readonly (Prefix | 'primary')[];

const LOOPBACK_IPV6 = addressOf(0, 0, 0, 1);

/** 127.0.0.0/8 and ::1. */
export function isLoopback(value: Address): boolean {
  return isIPv4(value) ? value.d >>> 24 === 127 : addressEquals(value, LOOPBACK_IPV6);
}

/** Of the node's own addresses, in their order. Nothing said is `primary` (B7); loopback never (B8). */
export function servingAddresses(own: readonly Address[], wanted: NodePortAddresses): readonly Address[] {
  const ranges = wanted.filter((entry) => entry !== 'primary');
  const isPrimaryWanted = wanted.length === 0 || wanted.includes('primary');
  return FAMILIES.flatMap((family) => {
    const candidates = own.filter((one) => familyOf(one) === family && !isLoopback(one));
    const ofFamily = ranges.filter((range) => familyOfRange(range) === family);
    if (ofFamily.length > 0) return candidates.filter((one) => ofFamily.some((range) => prefixContains(range, one)));
    return isPrimaryWanted ? candidates.slice(0, 1) : candidates;
  });
}
