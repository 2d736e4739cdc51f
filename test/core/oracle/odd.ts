// SPDX-License-Identifier: Apache-2.0
/** Fields that the API server would not let through, or that are rarely so: one of them put into a random cluster. */
import * as fc from 'fast-check';
import type { ClusterObject } from '../../../core/objects.ts';
import { anyObjects } from './clusters.ts';

type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** By the name of the field, wherever it stands. */
const ODD: Readonly<Record<string, readonly Json[]>> = {
  loadBalancerSourceRanges: [
    ...[null, 'x', [], [''], [' '], [null], ['203.0.113.9/24'], ['203.0.113.0/33'], ['::ffff:203.0.113.0/120']],
    ...[['::/0'], ['0.0.0.0/0', 'x'], ['10.0.0.0/0'], ['::ffff:0:0/96'], ['203.0.113.0/24', '203.0.113.0/24']],
  ],
  externalIPs: [
    ...[null, 'x', [null], ['::ffff:198.51.100.7'], [' 198.51.100.7'], ['198.51.100.7/32'], ['0.0.0.0'], ['127.0.0.1']],
    ...[
      ['224.0.0.1'],
      ['255.255.255.255'],
      ['::1'],
      ['fe80::1'],
      ['::'],
      ['10.0.1.1'],
      ['198.51.100.7', '198.51.100.7'],
    ],
  ],
  ingress: [null, 'x', [null], [{}], [{ ip: '198.51.100.7', ports: [{ port: 80, protocol: 'TCP' }] }]],
  ipMode: [null, '', 'vip', 'PROXY'],
  internalTrafficPolicy: [null, '', 'local', 'LOCAL'],
  externalTrafficPolicy: [null, '', 'local', 'Strange'],
  sessionAffinity: ['None', 'clientip', '', null],
  timeoutSeconds: [null, -1, 0, '10', 1.5, 86_400, 86_401],
  protocol: [null, '', 'tcp', 'ICMP', 5],
  port: [null, '80', -1, 0, 65_535, 65_536, 1.5],
  healthCheckNodePort: [null, 65_535],
  nodePort: [null, '30080', -1, 80, 65_535],
  clusterIP: [null, '', 'none', 'None', '10.96.0.1', 'fd00:96::1', ' 10.96.0.1', '::ffff:10.96.0.1'],
  clusterIPs: [
    ...[null, [], ['None'], ['10.96.0.1'], ['fd00:96::1'], ['10.96.0.1', 'fd00:96::1'], ['10.96.0.1', '10.96.0.2']],
    ...[
      ['x', 'fd00:96::1'],
      ['', 'fd00:96::1'],
    ],
  ],
  ipFamilies: [null, [], ['IPv4'], ['IPv6'], ['IPv6', 'IPv4'], ['IPv4', 'IPv4'], ['ipv4']],
  type: [null, '', 'ExternalName', 'clusterip'],
  nodeName: [null, '', 'Node-A', ' node-a'],
  conditions: [null, {}, { ready: 'true' }, { ready: null, serving: null, terminating: null }],
  hints: [
    ...[null, {}, { forZones: null }, { forZones: [] }, { forZones: [{}] }, { forZones: [{ name: '' }] }],
    ...[{ forNodes: [{ name: 'node-a' }] }, { forNodes: [{ name: 'node-b' }] }],
  ],
  addresses: [null, [], [null], ['::ffff:10.0.3.1'], ['10.0.1.1 '], ['10.0.1.300'], ['0.0.0.0'], ['127.0.0.1']],
  addressType: [null, '', 'ipv4', 'IPv4', 'IPv6', 'FQDN'],
  endpoints: [null, 'x', [], [null]],
  ports: [null, 'x', [], [null]],
  creationTimestamp: [null, '', '0001-01-01T00:00:00Z'],
  labels: [
    ...[null, {}, { 'topology.kubernetes.io/zone': '' }, { 'service.kubernetes.io/service-proxy-name': 'mine' }],
    ...[{ 'kubernetes.io/service-name': 'web' }, { 'kubernetes.io/service-name': '' }],
    { 'kubernetes.io/service-name': 'web', 'service.kubernetes.io/headless': 'false' },
  ],
  namespace: [null, '', 'other'],
  name: [null, '', 'http', 'web'],
  hostIP: [null, '127.0.0.1', '::1', '0.0.0.0 ', '0:0::0', '000.0.0.0', '::ffff:0.0.0.0', '10.96.0.1', '010.0.0.1'],
  hostPort: [null, '9000', 65_536, -1],
  containerPort: [null, '8080', 0, 65_536],
  restartPolicy: [null, 'always', 'Never'],
  phase: [null, '', 'succeeded', 'Unknown'],
  podIP: [null, '', 'x', '::ffff:10.0.1.5'],
  podIPs: [null, [null], [{}], [{ ip: '10.0.1.5' }, { ip: '10.0.1.6' }], [{ ip: 'x' }, { ip: '10.0.1.6' }]],
  address: [null, '', '192.0.2.10/24', '010.0.0.1', '::ffff:192.0.2.10', '0.0.0.0'],
  hostNetwork: [null, 'true'],
  containers: [null, [null]],
  initContainers: [null, [null]],
  metadata: [null],
  spec: [null],
  status: [null, {}],
};

type Slot = { readonly parent: { [key: string]: Json }; readonly key: string };

function slotsOf(value: Json): Slot[] {
  if (Array.isArray(value)) return value.flatMap(slotsOf);
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]) => {
    const own = ODD[key] === undefined ? [] : [{ parent: value, key }];
    return [...own, ...slotsOf(inner)];
  });
}

/** A cluster with one odd field. */
export const anyOddObjects: fc.Arbitrary<readonly ClusterObject[]> = fc
  .tuple(anyObjects, fc.nat(), fc.nat())
  .map(([objects, place, choice]) => {
    const copy = JSON.parse(JSON.stringify(objects)) as Json & ClusterObject[];
    const slots = slotsOf(copy);
    const slot = slots[place % slots.length];
    const values = slot === undefined ? undefined : ODD[slot.key];
    if (slot !== undefined && values !== undefined) slot.parent[slot.key] = values[choice % values.length] ?? null;
    return copy;
  });
