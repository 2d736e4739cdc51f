// SPDX-License-Identifier: Apache-2.0
/** Random configurations of a node, as the compiler and as the oracle take them. */
import * as fc from 'fast-check';
import type { Prefix } from '../../../core/address.ts';
import { port } from '../../../core/address.ts';
import type { OracleOptions } from '../../../core/oracle.ts';
import type { NodeConfig } from '../../../core/service.ts';
import { address, NODE, prefix, SERVICE_RANGE } from './world.ts';

export type Settings = {
  readonly nodeName: string;
  readonly zone: string;
  readonly nodeIPs: readonly string[];
  /** Empty: `primary`. */
  readonly nodePortAddresses: readonly string[];
  readonly clusterCIDRs: readonly string[];
  readonly serviceProxyName: string | null;
  readonly topology: boolean;
  readonly masqueradeAll: boolean;
  readonly hostPort: boolean;
  readonly externalClusterIP: boolean;
};

export const PLAIN_SETTINGS: Settings = {
  nodeName: NODE,
  zone: '',
  nodeIPs: [],
  nodePortAddresses: [],
  clusterCIDRs: [],
  serviceProxyName: null,
  topology: true,
  masqueradeAll: false,
  hostPort: false,
  externalClusterIP: false,
};

export const anySettings: fc.Arbitrary<Settings> = fc.record({
  nodeName: fc.constant(NODE),
  zone: fc.constantFrom('z1', 'z2', ''),
  nodeIPs: fc.constantFrom<readonly string[]>(
    [],
    [],
    ['192.0.2.10'],
    ['192.0.2.10', 'fd00:88::a'],
    ['fd00:88::a', '192.0.2.12', '192.0.2.10', '2001:db8::20'],
    ['127.0.0.1', '192.0.2.10'],
  ),
  nodePortAddresses: fc.constantFrom<readonly string[]>(
    [],
    [],
    ['0.0.0.0/0', '::/0'],
    ['192.0.2.0/24'],
    ['192.0.2.12/32', '198.51.100.0/24'],
    ['fd00:88::/64'],
    ['127.0.0.0/8'],
    ['::/0'],
  ),
  clusterCIDRs: fc.constantFrom<readonly string[]>([], ['10.0.0.0/16'], ['10.0.0.0/16', 'fd00::/16'], ['fd00:1::/32']),
  serviceProxyName: fc.constantFrom(null, null, null, 'mine'),
  topology: fc.constantFrom(true, true, true, false),
  masqueradeAll: fc.constantFrom(false, false, true),
  hostPort: fc.boolean(),
  externalClusterIP: fc.constantFrom(false, false, true),
});

const SERVICE_CIDRS: readonly Prefix[] = [prefix(SERVICE_RANGE), prefix('fd00:96::/112')];

export function configOf(settings: Settings): NodeConfig & { readonly serviceCIDRs: readonly Prefix[] } {
  const { clusterCIDRs, nodeIPs, nodePortAddresses, ...plain } = settings;
  return {
    ...plain,
    nodeIPs: nodeIPs.map(address),
    nodePortAddresses: nodePortAddresses.length === 0 ? 'primary' : nodePortAddresses.map(prefix),
    clusterCIDRs: clusterCIDRs.map(prefix),
    serviceCIDRs: SERVICE_CIDRS,
    nodePortRange: { first: port(30_000), last: port(32_767) },
    algorithm: 'hash',
  };
}

export function optionsOf(settings: Settings): OracleOptions {
  const { clusterCIDRs, nodeIPs, nodePortAddresses, serviceProxyName, zone, ...plain } = settings;
  return {
    ...plain,
    ...(zone === '' ? {} : { zone }),
    ...(serviceProxyName === null ? {} : { serviceProxyName }),
    nodeIPs: nodeIPs.map(address),
    nodePortAddresses: nodePortAddresses.map(prefix),
    clusterCIDRs: clusterCIDRs.map(prefix),
    serviceRanges: SERVICE_CIDRS,
  };
}
