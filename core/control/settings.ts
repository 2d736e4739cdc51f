// SPDX-License-Identifier: Apache-2.0
/** What the configuration of a node means to the programs: ranges of Service addresses, and whom a pod hears itself from. */
import { address, isIPv4, prefixText, type Address, type Prefix } from '../address.ts';
import { SERVICE_RANGES, type ConfigRecord } from '../layout.gen.ts';
import { fail, ok, type Result } from '../result.ts';
import { prefixFamily } from './families.ts';

export type NodeSettings = Pick<ConfigRecord, 'serviceRanges' | 'hairpinSource'>;

const NOWHERE = address(0, 0, 0, 0);
const NO_RANGE = { base: NOWHERE, mask: NOWHERE };

function maskOf(length: number): Address {
  const word = (from: number): number => {
    const bits = Math.min(32, Math.max(0, length - from));
    return bits === 0 ? 0 : (0xffffffff << (32 - bits)) >>> 0;
  };
  return address(word(0), word(32), word(64), word(96));
}

/** Rows of one family, filled up; more than the programs hold is a Failure. */
function rowsOf(family: string, prefixes: readonly Prefix[]): Result<readonly (typeof NO_RANGE)[]> {
  if (prefixes.length > SERVICE_RANGES) {
    const text = prefixes.map(prefixText).join(', ');
    const what = `${prefixes.length} ${family} ranges, the programs hold ${SERVICE_RANGES}: ${text}`;
    return fail('limit', 'serviceCIDRs', what, 'join ranges that lie side by side');
  }
  const rows = prefixes.map((prefix) => ({ base: prefix.address, mask: maskOf(prefix.length) }));
  return ok([...rows, ...Array.from({ length: SERVICE_RANGES - rows.length }, () => NO_RANGE)]);
}

/**
 * `serviceCIDRs`: addresses in them that no Service has are dropped; `nodeIPs`: the first of each family is the address
 * from which a pod that is its own backend hears itself; none: such packets are dropped by name.
 */
export function nodeSettings(serviceCIDRs: readonly Prefix[], nodeIPs: readonly Address[]): Result<NodeSettings> {
  const four = rowsOf(
    'IPv4',
    serviceCIDRs.filter((prefix) => prefixFamily(prefix) === 'IPv4'),
  );
  if (!four.ok) return four;
  const six = rowsOf(
    'IPv6',
    serviceCIDRs.filter((prefix) => prefixFamily(prefix) === 'IPv6'),
  );
  if (!six.ok) return six;
  const hairpinSource = [
    nodeIPs.find((ip) => isIPv4(ip)) ?? NOWHERE,
    nodeIPs.find((ip) => !isIPv4(ip)) ?? NOWHERE,
  ] as const;
  return ok({ serviceRanges: [...four.value, ...six.value], hairpinSource });
}
