// SPDX-License-Identifier: Apache-2.0
/** Random clusters: repeatable, apart from each other, and of everything a rule is about there is something. */
import { describe, expect, test } from 'vitest';
import { createStream } from '../../core/random.ts';
import { drawChange } from '../../proof/kubeproxy/changes.ts';
import { drawCluster } from '../../proof/kubeproxy/clusters.ts';

const many = Array.from({ length: 320 }, (_, index) => drawCluster(createStream(11, index), index));
const text = JSON.stringify(many);

describe('random clusters', () => {
  test('are the same for the same seed', () => {
    const again = Array.from({ length: 320 }, (_, index) => drawCluster(createStream(11, index), index));
    expect(JSON.stringify(again)).toBe(text);
    expect(JSON.stringify(drawCluster(createStream(12, 0), 0))).not.toBe(JSON.stringify(many[0]));
  });

  test('share no load balancer address with another cluster', () => {
    const owners = new Map<string, Set<number>>();
    for (const { index, services } of many) {
      for (const [, ip = ''] of JSON.stringify(services).matchAll(/"ip":"([^"]+)"/g)) {
        owners.set(ip, (owners.get(ip) ?? new Set()).add(index));
      }
    }
    expect([...owners].filter(([, indexes]) => indexes.size > 1)).toEqual([]);
  });

  test.each([
    ...[
      '"type":"ClusterIP"',
      '"type":"NodePort"',
      '"type":"LoadBalancer"',
      '"type":"ExternalName"',
      '"clusterIP":"None"',
    ],
    ...['"internalTrafficPolicy":"Local"', '"externalTrafficPolicy":"Local"', '"externalIPs"', '"ipMode":"Proxy"'],
    ...[
      '"loadBalancerSourceRanges"',
      '0.0.0.0/0',
      '"allocateLoadBalancerNodePorts":false',
      '"sessionAffinity":"ClientIP"',
    ],
    ...[
      'service-proxy-name',
      'service.kubernetes.io/headless',
      '"forZones"',
      '"forNodes"',
      '"protocol":"SCTP"',
      '"hostname"',
    ],
    ...['"terminating":true', '"serving":false', '"ready":false', '"conditions":{}', '"ipFamilies":["IPv6","IPv4"]'],
  ])('have %s', (wanted) => {
    expect(text.split(wanted).length).toBeGreaterThan(4);
  });

  test('change in every way', () => {
    const changes = many.map((cluster) => JSON.stringify(drawChange(createStream(5, cluster.index), cluster)));
    const ways = [
      'internalTrafficPolicy',
      'externalTrafficPolicy',
      'sessionAffinity',
      '"type"',
      'labels',
      '"DELETE"',
      'endpointslices',
    ];
    for (const way of ways) expect(changes.filter((change) => change.includes(way)).length).toBeGreaterThan(3);
  });
});
