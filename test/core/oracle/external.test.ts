// SPDX-License-Identifier: Apache-2.0
/** External traffic: the decision in order, its masquerade matrix, and what becomes of it where there is no endpoint. */
import { describe, expect, test } from 'vitest';
import type { ClusterObject, ServiceObject } from '../../../core/objects.ts';
import { conditions, elsewhere, endpoint, meet, node, NODE, OPTIONS, prefix, slice, web, WEB } from './world.ts';

const PORTS = [{ name: 'http', port: 80, protocol: 'TCP', nodePort: 30080 }];
const OWN = node(NODE, ['192.0.2.10']);
const BOTH = slice('a', [endpoint('10.0.0.1'), elsewhere('10.0.0.2')]);
const FAR = slice('a', [elsewhere('10.0.0.2')]);
const POD_RANGES = { ...OPTIONS, clusterCIDRs: [prefix('10.0.0.0/16'), prefix('fd00:1::/64')] };

/** Every kind of frontend at once. */
function everywhere(spec: ServiceObject['spec'] = {}): ServiceObject {
  return {
    ...web({ type: 'LoadBalancer', ports: PORTS, externalIPs: ['198.51.100.7'], ...spec }),
    status: { loadBalancer: { ingress: [{ ip: '198.51.100.8' }] } },
  };
}

const EXTERNAL = ['192.0.2.10:30080/TCP', '198.51.100.8:80/TCP', '198.51.100.7:80/TCP'];
const CLUSTER = { externalTrafficPolicy: 'Cluster' };
const LOCAL = { externalTrafficPolicy: 'Local' };

describe('1.4 the masquerade matrix, for NodePort, LB VIP and external IP alike', () => {
  test.each([
    ['step 1: a pod, eTP Cluster', CLUSTER, 'pod 10.0.5.5', '10.0.0.1 sees node, 10.0.0.2 sees node'],
    ['step 1: a process, eTP Cluster', CLUSTER, 'process 192.0.2.10', '10.0.0.1 sees node, 10.0.0.2 sees node'],
    ['step 1: a pod elsewhere, eTP Cluster', CLUSTER, 'foreign-pod 10.0.6.6', '10.0.0.1 sees node, 10.0.0.2 sees node'],
    ['step 1: an outsider, eTP Cluster', CLUSTER, 'outside 203.0.113.9', '10.0.0.1 sees node, 10.0.0.2 sees node'],
    ['step 2: a pod, eTP Local', LOCAL, 'pod 10.0.5.5', '10.0.0.1 sees client, 10.0.0.2 sees client'],
    ['step 3: a process, eTP Local', LOCAL, 'process 192.0.2.10', '10.0.0.1 sees node, 10.0.0.2 sees node'],
    ['step 4: a pod elsewhere, eTP Local', LOCAL, 'foreign-pod 10.0.6.6', '10.0.0.1 sees client'],
    ['step 4: an outsider, eTP Local', LOCAL, 'outside 203.0.113.9', '10.0.0.1 sees client'],
  ])('%s', (_name, spec, from, expected) => {
    for (const options of [OPTIONS, POD_RANGES, { ...POD_RANGES, masqueradeAll: true }]) {
      for (const text of EXTERNAL) expect(meet([everywhere(spec), BOTH, OWN], text, from, options)).toBe(expected);
    }
  });

  test('an address of this node that is no pod of the pod ranges is masqueraded also under eTP Local', () => {
    for (const text of EXTERNAL) {
      expect(meet([everywhere(LOCAL), FAR, OWN], text, 'pod 172.31.0.5', POD_RANGES)).toBe('10.0.0.2 sees node');
      expect(meet([everywhere(LOCAL), FAR, OWN], text, 'pod 172.31.0.5')).toBe('10.0.0.2 sees client');
    }
  });

  test.each<[string, string, typeof POD_RANGES | typeof OPTIONS, string]>([
    ['a pod to a ClusterIP', 'pod 10.0.5.5', POD_RANGES, 'client'],
    ['a pod outside of the pod ranges', 'pod 172.31.0.5', POD_RANGES, 'node'],
    ['a process', 'process 192.0.2.10', POD_RANGES, 'node'],
    ['a pod where no pod ranges are known', 'pod 172.31.0.5', OPTIONS, 'client'],
    ['a pod whose address is not told', 'pod', POD_RANGES, 'client'],
  ])('%s: a ClusterIP is masqueraded for whoever is outside of the pod ranges', (_name, from, options, sees) => {
    for (const spec of [CLUSTER, LOCAL, { internalTrafficPolicy: 'Local' }]) {
      const objects = [everywhere(spec), slice('a', [endpoint('10.0.0.1')]), OWN];
      expect(meet(objects, WEB, from, options)).toBe(`10.0.0.1 sees ${sees}`);
    }
  });

  test('the pod ranges of one family say nothing of the other', () => {
    const six = web({ clusterIP: 'fd00:96::1' });
    const objects = [six, slice('a', [endpoint('fd00:1::1')])];
    const onlyFour = { ...OPTIONS, clusterCIDRs: [prefix('10.0.0.0/16')] };
    expect(meet(objects, '[fd00:96::1]:80/TCP', 'pod fd77::1', onlyFour)).toBe('fd00:1::1 sees client');
    expect(meet(objects, '[fd00:96::1]:80/TCP', 'pod fd77::1', POD_RANGES)).toBe('fd00:1::1 sees node');
  });

  test('masqueradeAll masquerades whatever goes to a ClusterIP', () => {
    const options = { ...POD_RANGES, masqueradeAll: true };
    expect(meet([everywhere(), FAR], WEB, 'pod 10.0.5.5', options)).toBe('10.0.0.2 sees node');
  });
});

describe('D2 a client that is sent to itself sees the node, whatever the frontend', () => {
  test.each([
    ['ClusterIP', WEB, {}],
    ['NodePort under eTP Local', '192.0.2.10:30080/TCP', LOCAL],
    ['LB VIP under eTP Local', '198.51.100.8:80/TCP', LOCAL],
    ['external IP under eTP Local', '198.51.100.7:80/TCP', LOCAL],
  ])('%s', (_name, text, spec) => {
    const objects = [everywhere(spec), BOTH, OWN];
    expect(meet(objects, text, 'pod 10.0.0.1')).toBe('10.0.0.1 sees node, 10.0.0.2 sees client');
    expect(meet(objects, text, 'pod 10.0.0.9')).toBe('10.0.0.1 sees client, 10.0.0.2 sees client');
  });
});

describe('no endpoints', () => {
  const gone = slice('a', [elsewhere('10.0.0.2', { conditions: conditions('FFF') })]);
  const ending = slice('a', [elsewhere('10.0.0.2', { conditions: conditions('FTT') })]);
  const clients = ['pod 10.0.5.5', 'process 192.0.2.10', 'foreign-pod 10.0.6.6', 'outside 203.0.113.9'];

  test('C1, C4 with none in the cluster every kind refuses everybody, processes too, under either policy', () => {
    for (const spec of [CLUSTER, LOCAL]) {
      for (const text of EXTERNAL) {
        for (const from of clients) expect(meet([everywhere(spec), gone, OWN], text, from)).toBe('refuse');
      }
    }
  });

  test('C3 with none here eTP Local drops those from elsewhere and serves those of this node', () => {
    for (const text of EXTERNAL) {
      const got = clients.map((from) => meet([everywhere(LOCAL), FAR, OWN], text, from));
      expect(got).toEqual(['10.0.0.2 sees client', '10.0.0.2 sees node', 'drop', 'drop']);
    }
  });

  test('C3 an ending endpoint elsewhere is enough to drop rather than refuse', () => {
    for (const text of EXTERNAL) expect(meet([everywhere(LOCAL), ending, OWN], text, clients[3] ?? '')).toBe('drop');
  });

  test('C2 iTP Local empties the ClusterIP only', () => {
    const objects = [everywhere({ internalTrafficPolicy: 'Local' }), FAR, OWN];
    expect(meet(objects, WEB, 'pod 10.0.5.5')).toBe('drop');
    for (const text of EXTERNAL) expect(meet(objects, text, 'outside 203.0.113.9')).toBe('10.0.0.2 sees node');
  });

  test('2.4 the lists fall back on their own: a local ending endpoint serves outsiders, the ready one elsewhere pods', () => {
    const mixed = slice('a', [endpoint('10.0.0.1', { conditions: conditions('FTT') }), elsewhere('10.0.0.2')]);
    for (const text of EXTERNAL) {
      expect(meet([everywhere(LOCAL), mixed, OWN], text, 'outside 203.0.113.9')).toBe('10.0.0.1 sees client');
      expect(meet([everywhere(LOCAL), mixed, OWN], text, 'pod 10.0.5.5')).toBe('10.0.0.2 sees client');
    }
  });

  test('H7 the nodes of one process each have their own local list, although they hear of the same objects', () => {
    const objects = [everywhere(LOCAL), slice('a', [endpoint('10.0.0.1'), elsewhere('10.0.0.2')])];
    const on = (nodeName: string): string =>
      meet(objects, '198.51.100.7:80/TCP', 'outside 203.0.113.9', { ...OPTIONS, nodeName });
    expect([NODE, 'node-b', 'node-c'].map(on)).toEqual(['10.0.0.1 sees client', '10.0.0.2 sees client', 'drop']);
  });

  test('2.4 hints narrow the cluster list of outsiders and never the local one', () => {
    const hints = { hints: { forZones: [{ name: 'z1' }] } };
    const other = { hints: { forZones: [{ name: 'z2' }] } };
    const hinted = slice('a', [endpoint('10.0.0.1', other), elsewhere('10.0.0.2', hints)]);
    const own = node(NODE, ['192.0.2.10'], 'z1');
    for (const text of EXTERNAL) {
      expect(meet([everywhere(CLUSTER), hinted, own], text, 'outside 203.0.113.9')).toBe('10.0.0.2 sees node');
      expect(meet([everywhere(LOCAL), hinted, own], text, 'outside 203.0.113.9')).toBe('10.0.0.1 sees client');
    }
  });
});

describe('a ClusterIP for those from elsewhere', () => {
  const objects: ClusterObject[] = [web(), BOTH];
  const open = { ...POD_RANGES, externalClusterIP: true };

  test.each(['foreign-pod 10.0.6.6', 'outside 203.0.113.9'])('%s: it is not ours unless it is opened', (from) => {
    expect(meet(objects, WEB, from)).toBe('pass');
    expect(meet(objects, '10.96.0.1:81/TCP', from)).toBe('pass');
    expect(meet(objects, '10.96.9.9:80/TCP', from)).toBe('pass');
  });

  test('B1 where it is opened it is what it is to pods, masqueraded for whoever is outside of the pod ranges', () => {
    expect(meet(objects, WEB, 'foreign-pod 10.0.6.6', open)).toBe('10.0.0.1 sees client, 10.0.0.2 sees client');
    expect(meet(objects, WEB, 'outside 203.0.113.9', open)).toBe('10.0.0.1 sees node, 10.0.0.2 sees node');
    expect(meet(objects, WEB, 'outside', open)).toBe('10.0.0.1 sees node, 10.0.0.2 sees node');
    expect(meet([web({ internalTrafficPolicy: 'Local' }), FAR], WEB, 'outside 203.0.113.9', open)).toBe('drop');
    expect(meet(objects, '10.96.0.1:81/TCP', 'outside 203.0.113.9', open)).toBe('refuse-unknown-port');
    expect(meet(objects, '10.96.9.9:80/TCP', 'outside 203.0.113.9', open)).toBe('drop-unallocated');
  });
});
