// SPDX-License-Identifier: Apache-2.0
/** Which family an address or a range belongs to: Services, endpoints and ranges of one never serve the other. */
import { isIPv4, type Address, type Prefix } from '../address.ts';
import type { Family } from '../service.ts';

export const FAMILIES: readonly Family[] = ['IPv4', 'IPv6'];

/** Bits of a mapped address before the IPv4 one. */
const MAPPED_BITS = 96;

/** An IPv4 address is kept v4-mapped. */
export function familyOf(address: Address): Family {
  return isIPv4(address) ? 'IPv4' : 'IPv6';
}

/** `::/0` is a range of IPv6 addresses, though mapped ones lie in it. */
export function prefixFamily({ address, length }: Prefix): Family {
  return length >= MAPPED_BITS ? familyOf(address) : 'IPv6';
}

/** Whether a range is all of its family. */
export function isWholeFamily(prefix: Prefix): boolean {
  return prefix.length === (prefixFamily(prefix) === 'IPv4' ? MAPPED_BITS : 0);
}
