// SPDX-License-Identifier: Apache-2.0
/** Frontends that an oracle knows of without judging them, where it is told to judge ClusterIPs alone. */
import { describe, expect, test } from 'vitest';
import type { ClusterObject } from '../../../core/objects.ts';
import {
  address,
  ask as askOf,
  balanced,
  endpoint,
  node,
  NODE,
  ONLY_CLUSTER_IP,
  podWithHostPort,
  service,
  slice,
  web,
  WEB,
} from './world.ts';

const ask = (objects: readonly ClusterObject[], text: string, options = ONLY_CLUSTER_IP): string =>
  askOf(objects, text, options);

const ONE = slice('a', [endpoint('10.0.0.1')]);
const PERMITTED = 'permitted shop/web:http 10.0.0.1:8080';

describe("frontends that are not judged are named, never called somebody else's", () => {
  const ports = [{ name: 'http', port: 80, protocol: 'TCP', nodePort: 30080 }];
  const nodes = [node(NODE, ['192.0.2.10', 'fd00:88::a']), node('node-b', ['192.0.2.11'])];
  test.each<[string, ClusterObject[], string, string]>([
    [
      'B12 an external IP',
      [web({ externalIPs: ['198.51.100.7'] })],
      '198.51.100.7:80/TCP',
      'unsupported ExternalIP shop/web:http',
    ],
    ['B9 an LB VIP', [balanced('198.51.100.8')], '198.51.100.8:80/TCP', 'unsupported LoadBalancer shop/web:http'],
    [
      'B9 an LB VIP by mode',
      [balanced('198.51.100.8', 'VIP')],
      '198.51.100.8:80/TCP',
      'unsupported LoadBalancer shop/web:http',
    ],
    ['B9 mode Proxy is not programmed', [balanced('198.51.100.8', 'Proxy')], '198.51.100.8:80/TCP', 'not-a-service'],
    [
      'A9 LB status on type ClusterIP',
      [{ ...balanced('198.51.100.8'), spec: web().spec ?? {} }],
      '198.51.100.8:80/TCP',
      'unsupported LoadBalancer shop/web:http',
    ],
    ['A5 an unowned port of an LB VIP', [balanced('198.51.100.8')], '198.51.100.8:81/TCP', 'not-a-service'],
    ['A5 an unowned protocol of an LB VIP', [balanced('198.51.100.8')], '198.51.100.8:80/UDP', 'not-a-service'],
    [
      'A5 against B4: an unowned port within a service range',
      [balanced('10.96.9.9')],
      '10.96.9.9:81/TCP',
      'unsupported external-address-in-service-range shop/web',
    ],
    [
      'A1 external IPs of a headless Service',
      [web({ clusterIP: 'None', externalIPs: ['198.51.100.7'] })],
      '198.51.100.7:80/TCP',
      'not-a-service',
    ],
    [
      'B6 a NodePort of this node',
      [web({ ports }), ...nodes],
      '192.0.2.10:30080/TCP',
      'unsupported NodePort shop/web:http',
    ],
    [
      'B6 a NodePort of another node',
      [web({ ports }), ...nodes],
      '192.0.2.11:30080/TCP',
      'unsupported NodePort shop/web:http',
    ],
    [
      'B6 a NodePort by IPv6',
      [web({ ports, clusterIPs: ['10.96.0.1', 'fd00:96::1'], ipFamilies: ['IPv4', 'IPv6'] }), ...nodes],
      '[fd00:88::a]:30080/TCP',
      'unsupported NodePort shop/web:http',
    ],
    [
      'H1 a NodePort by a family that its Service lacks',
      [web({ ports }), ...nodes],
      '[fd00:88::a]:30080/TCP',
      'not-a-service',
    ],
    ['B8 a NodePort on localhost', [web({ ports })], '127.0.0.1:30080/TCP', 'unsupported NodePort shop/web:http'],
    ['B6 that number at an address of no node', [web({ ports }), ...nodes], '192.0.2.99:30080/TCP', 'not-a-service'],
    ['B6 that number with another protocol', [web({ ports }), ...nodes], '192.0.2.10:30080/UDP', 'not-a-service'],
    ['B6 another number', [web({ ports }), ...nodes], '192.0.2.10:30081/TCP', 'not-a-service'],
    ['a host port', [podWithHostPort(9000), ...nodes], '192.0.2.10:9000/TCP', 'unsupported HostPort pod shop/cache'],
    [
      'a host port at one address',
      [podWithHostPort(9000, '192.0.2.10')],
      '192.0.2.10:9000/TCP',
      'unsupported HostPort pod shop/cache',
    ],
    [
      'a host port at another address',
      [podWithHostPort(9000, '192.0.2.10'), ...nodes],
      '192.0.2.11:9000/TCP',
      'not-a-service',
    ],
  ])('%s', (_name, objects, text, expected) => {
    expect(ask([...objects, ONE], text)).toBe(expected);
  });

  test('A7 a NodePort matches only what no Service address takes', () => {
    const object = web({ clusterIP: '10.96.0.1', ports: [{ name: 'http', port: 30080, nodePort: 30080 }] });
    expect(ask([object, ONE, node(NODE, ['10.96.0.1'])], '10.96.0.1:30080/TCP')).toBe(PERMITTED);
  });

  test('A6 a ClusterIP frontend is judged also where another Service claims it as its external address', () => {
    const claimant = service('shop/zoo', { clusterIP: '10.96.0.2', externalIPs: ['10.96.0.1'] });
    expect(ask([web(), ONE, claimant], WEB)).toBe(PERMITTED);
  });

  test('B6 node addresses known from elsewhere count too', () => {
    const options = { ...ONLY_CLUSTER_IP, nodeAddresses: [address('192.0.2.99')] };
    expect(ask([web({ ports })], '192.0.2.99:30080/TCP', options)).toBe('unsupported NodePort shop/web:http');
  });

  test('B6 of several claimants of a NodePort or host port the same one is named, whoever came first', () => {
    const twins = [web({ ports }), service('shop/zoo', { clusterIP: '10.96.0.2', ports })];
    const second = { ...podWithHostPort(9000), metadata: { namespace: 'shop', name: 'zoo' } };
    const objects = [...twins, podWithHostPort(9000), second, ...nodes];
    for (const order of [objects, objects.toReversed()]) {
      expect(ask(order, '192.0.2.10:30080/TCP')).toBe('unsupported NodePort shop/web:http');
      expect(ask(order, '192.0.2.10:9000/TCP')).toBe('unsupported HostPort pod shop/cache');
    }
  });
});
