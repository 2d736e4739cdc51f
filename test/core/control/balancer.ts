// SPDX-License-Identifier: Apache-2.0
/** Addresses, ranges, and a Service behind a load balancer that only some may use. */
import { parseAddress, parsePrefix, type Address, type Prefix } from '../../../core/address.ts';
import type { ServiceObject } from '../../../core/objects.ts';
import { service } from './objects.ts';

export function address(text: string): Address {
  const parsed = parseAddress(text);
  if (!parsed.ok) throw new Error(parsed.error.message);
  return parsed.value;
}

export function range(text: string): Prefix {
  const parsed = parsePrefix(text);
  if (!parsed.ok) throw new Error(parsed.error.message);
  return parsed.value;
}

/** A load balancer of both families with these ranges. */
export function web(name: string, last: number, ranges: readonly string[] | undefined): ServiceObject {
  const clusterIPs = [`10.96.0.${last}`, `fd00:96::${last}`];
  const made = service(name, `10.96.0.${last}`, {
    type: 'LoadBalancer',
    clusterIPs,
    ipFamilies: ['IPv4', 'IPv6'],
    externalIPs: [`198.51.101.${last}`],
    ports: [{ name: 'http', port: 80, nodePort: 30_000 + last }],
    ...(ranges === undefined ? {} : { loadBalancerSourceRanges: ranges }),
  });
  return { ...made, status: { loadBalancer: { ingress: [{ ip: `198.51.100.${last}` }, { ip: `fd00:ee::${last}` }] } } };
}
