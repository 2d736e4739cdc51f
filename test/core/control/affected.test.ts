// SPDX-License-Identifier: Apache-2.0
/** Whom a change of our node concerns: those and nobody else are computed again. */
import { expect, test } from 'vitest';
import { parseAddress, type Address } from '../../../core/address.ts';
import { ownersAffected } from '../../../core/control/affected.ts';
import { applyEvent, emptyCluster, type ClusterState } from '../../../core/control/cluster.ts';
import type { NodeConfig } from '../../../core/service.ts';
import { added, endpoint, NODE, pod, service, slice } from './objects.ts';

const two = (nodePort: number): object[] => [
  { name: 'http', port: 80, nodePort },
  { name: 'metrics', port: 9090 },
];

function cluster(): ClusterState {
  const objects = [
    service('plain', '10.96.0.1'),
    service('one-node-port', '10.96.0.2', { ports: two(30_080) }),
    service('node-ports', '10.96.0.3', { ports: [{ name: 'http', port: 80, nodePort: 30_081 }] }),
    service('ranges', '10.96.0.4', { loadBalancerSourceRanges: ['192.0.2.0/24'] }),
    slice('plain', [endpoint('10.0.0.1')]),
    slice('hinted', [endpoint('10.0.0.2'), endpoint('10.0.0.3', { forZones: ['z1'] })]),
    slice('by-node', [endpoint('10.0.0.4', { forNodes: ['node-a'] })]),
    pod('web-0', ['10.0.0.5'], [{ containerPort: 80, hostPort: 8080 }]),
  ];
  let state = emptyCluster();
  for (const object of objects) state = applyEvent(state, added(object)).state;
  return state;
}

function address(text: string): Address {
  const parsed = parseAddress(text);
  if (!parsed.ok) throw new Error(`not an address: ${text}`);
  return parsed.value;
}

function affected(change: Partial<NodeConfig>): string[] {
  const before = { ...NODE, nodeIPs: [address('192.0.2.1')] };
  return [...ownersAffected(cluster(), before, { ...before, ...change })].toSorted();
}

const POD = 'Pod shop/web-0';

test('another zone: Services with zone hints, and pods with host ports', () => {
  expect(affected({ zone: 'z2' })).toEqual([POD, 'shop/hinted']);
});

test('another address: Services with a NodePort on any port, those with source ranges, and pods with host ports', () => {
  const owners = [POD, 'shop/node-ports', 'shop/one-node-port', 'shop/ranges'];
  expect(affected({ nodeIPs: [address('192.0.2.2')] })).toEqual(owners);
  expect(affected({ nodeIPs: [] })).toEqual(owners);
  expect(affected({ nodeIPs: [address('192.0.2.1'), address('192.0.2.2')] })).toEqual(owners);
});

test('both, nothing, and anything else', () => {
  expect(affected({ zone: 'z2', nodeIPs: [] })).toHaveLength(5);
  expect(affected({})).toEqual([]);
  expect(affected({ masqueradeAll: true })).toHaveLength(5);
});
