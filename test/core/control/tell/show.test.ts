// SPDX-License-Identifier: Apache-2.0
/** One Service as a person reads it on node-a, and all of them in a list. */
import { describe, expect, test } from 'vitest';
import { parseAddress, parsePrefix, type Address, type Prefix } from '../../../../core/address.ts';
import { computeEverything } from '../../../../core/control/tell/document.ts';
import { listingLines, listServices } from '../../../../core/control/tell/servicelist.ts';
import { showService, type ShownService } from '../../../../core/control/tell/show.ts';
import { serviceLines } from '../../../../core/control/tell/showtext.ts';
import type { ClusterEvent } from '../../../../core/objects.ts';
import type { NodeConfig } from '../../../../core/service.ts';
import { clusterAfter } from '../compiled.ts';
import { added, endpoint, NODE, service, slice } from '../objects.ts';

function prefix(text: string): Prefix {
  const parsed = parsePrefix(text);
  if (!parsed.ok) throw new Error(text);
  return parsed.value;
}

function address(text: string): Address {
  const parsed = parseAddress(text);
  if (!parsed.ok) throw new Error(text);
  return parsed.value;
}

function shown(events: readonly ClusterEvent[], config: Partial<NodeConfig> = {}, key = 'shop/web'): ShownService {
  const cluster = clusterAfter(events);
  const one = showService(cluster, computeEverything(cluster, { ...NODE, ...config }), key);
  if (one === undefined) throw new Error(`no ${key}`);
  return one;
}

function text(events: readonly ClusterEvent[], config: Partial<NodeConfig> = {}): string {
  return serviceLines(shown(events, config)).join('\n');
}

const POLICY = 'internalTrafficPolicy Cluster, externalTrafficPolicy';
const CLUSTER_IP_ONLY = 'a ClusterIP answers clients on this node only (see externalClusterIP)';

/** A load balancer with everything: both policies, source ranges, hints, endpoints of each reason. */
const BALANCER = added({
  ...service('web', '10.96.0.1', {
    type: 'LoadBalancer',
    externalTrafficPolicy: 'Local',
    loadBalancerSourceRanges: ['203.0.113.0/24'],
    healthCheckNodePort: 31_000,
    sessionAffinity: 'ClientIP',
    ports: [{ name: 'http', port: 80, nodePort: 30_080 }],
  }),
  status: { loadBalancer: { ingress: [{ ip: '198.51.100.9' }] } },
});
const MANY = added(
  slice('web', [
    endpoint('10.0.1.1', { node: 'node-a', zone: 'z1', forZones: ['z1'] }),
    endpoint('10.0.2.2', { node: 'node-b', zone: 'z2' }),
    endpoint('10.0.2.3', { ready: false, node: 'node-b' }),
    endpoint('10.0.2.4', { ready: false, serving: true, terminating: true, node: 'node-b' }),
    endpoint('10.0.2.5', { ready: false, serving: false, terminating: true, node: 'node-b' }),
    endpoint('fd00::1', { node: 'node-b' }),
  ]),
);
const OTHER_PORT = added(
  slice('web', [endpoint('10.0.1.9', { node: 'node-a' })], { slice: 'web-2', ports: [{ name: 'web', port: 8080 }] }),
);

describe('one Service', () => {
  test('tells who reaches what from where, and why not the others', () => {
    const config = { clusterCIDRs: [prefix('10.0.0.0/8')], nodeIPs: [address('192.0.2.10')] };
    const left = [
      '    left out (5):',
      '    10.0.1.9        this node  slice web-2 has no port http/TCP, it has web/TCP',
      '    10.0.2.3:8080   node-b     not ready',
      '    10.0.2.4:8080   node-b     terminating; it would serve only if no other were ready',
      '    10.0.2.5:8080   node-b     not ready: terminating, and it serves no longer',
      '    [fd00::1]:8080  node-b     not an IPv4 address, as slice web-1 says it is',
    ];
    const inside = [
      "  pods here       2 backends; the backend sees the pod's own address",
      "  this node       the same; the backend sees this node's address",
      '    10.0.1.1:8080  this node  zone z1',
      '    10.0.2.2:8080  node-b     zone z2',
      ...left,
    ];
    const outside = [
      "  outside         1 backend; the backend sees the client's own address",
      '    10.0.1.1:8080  this node  zone z1',
      '    left out (6):',
      left[1],
      '    10.0.2.2:8080   node-b     not on this node',
      left[2],
      '    10.0.2.4:8080   node-b     not on this node',
      ...left.slice(4),
    ];
    expect(text([BALANCER, MANY, OTHER_PORT], config).split('\n')).toEqual([
      'shop/web  LoadBalancer; seen from node-a in zone z1',
      '',
      '  endpoints       4 of 7 ready, in 2 slices:',
      '                  web-1 (3 of 6 ready, IPv4, http:8080/TCP)',
      '                  web-2 (1 of 1 ready, IPv4, web:8080/TCP)',
      `  policies        ${POLICY} Local`,
      '  affinity        ClientIP: a client comes back to its backend until 3 h after its last connection',
      '  choice          hash',
      '  hints           http/TCP IPv4: not followed, since 1 of 2 ready endpoints have none (10.0.2.2): it is all or nothing',
      '  health check    port 31000 answers 200: 1 ready endpoint on this node, load balancers may send here',
      '',
      'ClusterIP 10.96.0.1:80/TCP (http)',
      ...inside,
      `  outside         not taken: ${CLUSTER_IP_ONLY}`,
      '',
      'LoadBalancer 198.51.100.9:80/TCP (http)',
      '  source ranges: only 203.0.113.0/24, for clients on this node too; all others are dropped without an answer',
      ...inside,
      ...outside,
      '',
      'NodePort 192.0.2.10:30080/TCP (http)',
      ...inside,
      ...outside,
      '',
      'PROBLEMS',
      '  EndpointSlice shop/web-1 endpoints[5].addresses[0]: not an IPv4 address: "fd00::1"',
    ]);
  });

  const remote = added(slice('web', [endpoint('10.0.2.2', { node: 'node-b' })]));
  const empty: readonly (readonly [string, readonly ClusterEvent[], string])[] = [
    [
      'without slices',
      [added(service('web', '10.96.0.1'))],
      'NO BACKEND: refused at once, since no EndpointSlice belongs to this Service',
    ],
    [
      'with an empty slice',
      [added(service('web', '10.96.0.1')), added(slice('web', []))],
      'NO BACKEND: refused at once, since its slices have no endpoint',
    ],
    [
      'with nothing ready',
      [added(service('web', '10.96.0.1')), added(slice('web', [endpoint('10.0.1.1', { ready: false })]))],
      'NO BACKEND: refused at once, since no endpoint is usable',
    ],
    [
      'with a Local policy and endpoints elsewhere',
      [added(service('web', '10.96.0.1', { internalTrafficPolicy: 'Local' })), remote],
      'NO BACKEND: dropped without an answer, since the policy is Local and no usable endpoint is on node-a',
    ],
    [
      'with a Local policy and endpoints nowhere',
      [added(service('web', '10.96.0.1', { internalTrafficPolicy: 'Local' })), added(slice('web', []))],
      'NO BACKEND: refused at once, since its slices have no endpoint',
    ],
  ];
  test.each(empty)('%s it says what clients meet, and why', (_what, events, said) => {
    expect(text(events)).toContain(`  pods here       ${said}\n  this node       the same\n`);
  });

  test('terminating endpoints that serve are told as the last resort they are', () => {
    const ending = endpoint('10.0.1.1', { ready: false, serving: true, terminating: true });
    const told = text([added(service('web', '10.96.0.1')), added(slice('web', [ending]))]);
    expect(told).toContain('1 backend, all terminating since none is ready; the backend sees');
    expect(told).toContain('    10.0.1.1:8080  -  terminating\n');
  });

  const unserved: readonly (readonly [string, ClusterEvent, string])[] = [
    ['headless', added(service('web', 'None')), 'headless: it has no address of its own'],
    ['of an external name', added(service('web', '', { type: 'ExternalName' })), 'an external name: a matter of DNS'],
    [
      'of another proxy',
      added(service('web', '10.96.0.1', {}, { 'service.kubernetes.io/service-proxy-name': 'mesh' })),
      'it has the label service.kubernetes.io/service-proxy-name "mesh": this node serves those without the label',
    ],
    ['without a readable address', added(service('web', 'nope')), 'none of its cluster addresses can be read'],
  ];
  test.each(unserved)('%s it is not served, and says why', (_what, event, said) => {
    expect(text([event])).toContain(`\nNOT SERVED: ${said}`);
  });

  test('clients from elsewhere keep their address by where they are', () => {
    const config = { externalClusterIP: true, clusterCIDRs: [prefix('10.0.0.0/8')] };
    const events = [added(service('web', '10.96.0.1')), added(slice('web', [endpoint('10.0.1.1', {})]))];
    expect(text(events, config)).toContain(
      "  outside         the same; the backend sees the own address of clients in 10.0.0.0/8, and this node's for all others",
    );
    expect(text(events, { ...config, masqueradeAll: true })).toContain(
      "  pods here       1 backend; the backend sees this node's address\n",
    );
  });

  test('a contested address is told on both sides', () => {
    const older = { ...service('web', '10.96.0.1', { externalIPs: ['192.0.2.1'] }) };
    const newer = service('api', '10.96.0.2', { externalIPs: ['192.0.2.1'] });
    const events = [
      added({ ...older, metadata: { ...older.metadata, creationTimestamp: '2026-01-01T00:00:00Z' } }),
      added({ ...newer, metadata: { ...newer.metadata, creationTimestamp: '2026-01-02T00:00:00Z' } }),
    ];
    expect(text(events)).toContain(
      'ExternalIP 192.0.2.1:80/TCP (http)\n  also claimed by ExternalIP of shop/api:http, which gets it when this Service goes',
    );
    const loser = shown(events, {}, 'shop/api');
    expect(serviceLines(loser).join('\n')).toContain(
      'ExternalIP 192.0.2.1:80/TCP (http)\n  NOT SERVED here: this address and port belong to ExternalIP of shop/web:http',
    );
    expect(loser.frontends.map(({ owner }) => owner?.service ?? null)).toEqual([null, 'shop/web']);
    expect(loser.problems.map(({ field }) => field)).toEqual(['spec.externalIPs']);
  });

  const hints: readonly (readonly [string, readonly string[], Partial<NodeConfig>, string])[] = [
    ['followed', ['z1', 'z2'], {}, 'followed, only endpoints for zone z1'],
    ['for other zones', ['z2', 'z3'], {}, 'none is for this node or zone z1 (they name zone z2, zone z3)'],
    ['without a known zone', ['z1', 'z2'], { zone: '' }, 'since the zone of this node is not known'],
    ['switched off', ['z1', 'z2'], { topology: false }, 'not followed: topology is false in the configuration'],
  ];
  test.each(hints)('hints %s are told with the reason', (_what, zones, config, said) => {
    const list = zones.map((zone, index) => endpoint(`10.0.0.${index}`, { forZones: [zone] }));
    const told = text([added(service('web', '10.96.0.1')), added(slice('web', list))], config);
    expect(told).toContain('  hints           http/TCP IPv4: ');
    expect(told).toContain(said);
  });

  test('an endpoint that two slices name is counted once, and a name that there is not is nothing', () => {
    const one = [endpoint('10.0.1.1', {})];
    const events = [
      added(service('web', '10.96.0.1')),
      added(slice('web', one)),
      added(slice('web', one, { slice: 'b' })),
    ];
    expect(text(events)).toContain('10.0.1.1:8080  -  named 2 times, by b, web-1: counted once');
    const cluster = clusterAfter(events);
    expect(showService(cluster, computeEverything(cluster, NODE), 'shop/wbe')).toBeUndefined();
  });

  test('a configuration without the right node name is told where it matters', () => {
    const events = [added(service('web', '10.96.0.1', { internalTrafficPolicy: 'Local' })), remote];
    expect(text(events, { nodeName: 'node-x' })).toContain(
      'configuration nodeName: "node-x" is the node of no endpoint',
    );
    expect(text([added(service('web', '10.96.0.1')), remote], { nodeName: 'node-x' })).not.toContain('PROBLEMS');
  });
});

describe('all Services', () => {
  test('have a line each, with what is unusual', () => {
    const cluster = clusterAfter([
      BALANCER,
      MANY,
      added(service('api', '10.96.0.2', { ports: [{ name: '', port: 443 }] })),
      added(service('names', 'None')),
    ]);
    const lines = listingLines(listServices(cluster, computeEverything(cluster, NODE)));
    expect(lines.map((line) => line.replaceAll(/ {2,}/g, ' | '))).toEqual([
      'SERVICE | TYPE | ADDRESSES | PORTS | READY | UNUSUAL',
      'shop/api | ClusterIP | 10.96.0.2 | 443/TCP | 0/0 | NO BACKEND, refused at once; no EndpointSlice',
      'shop/names | ClusterIP | - | - | 0/0 | not served: headless',
      'shop/web | LoadBalancer | 10.96.0.1,198.51.100.9 | http=80:30080/TCP | 3/6 | IPv4 hints not followed;' +
        ' health check 200; external policy Local; affinity 10800 s; only from 203.0.113.0/24; 2 problems',
      '',
      '3 Services: 2 served, 1 of them without a ready endpoint',
    ]);
  });

  test('a port without backends is named where others have some, and headless slices do not count', () => {
    const ports = [
      { name: 'http', port: 80 },
      { name: 'dns', port: 53, protocol: 'UDP' },
    ];
    const headless = { slice: 'other', labels: { 'service.kubernetes.io/headless': '' } };
    const cluster = clusterAfter([
      added(service('web', '10.96.0.1', { ports })),
      added(slice('web', [endpoint('10.0.1.1', {})])),
      added(slice('web', [endpoint('10.0.1.2', {}), endpoint('10.0.1.3', {})], headless)),
    ]);
    const [, line] = listingLines(listServices(cluster, computeEverything(cluster, NODE)));
    expect(line).toMatch(/ 1\/1 +dns: NO BACKEND, refused at once$/);
  });

  test('problems of nobody are told below, and wide Services stay on their line', () => {
    const ports = Array.from({ length: 400 }, (_, index) => ({ name: `p${index}`, port: 1 + index }));
    const lost: ClusterEvent = { type: 'DISCONNECTED', kind: 'Service', reason: 'gone' };
    const cluster = clusterAfter([added(service('web', '10.96.0.1', { ports })), lost]);
    const lines = listingLines(listServices(cluster, computeEverything(cluster, NODE)));
    expect(lines[1]).toMatch(/p3=4\/TCP,\+396 +0\/0 +NO BACKEND, refused at once; no EndpointSlice$/);
    expect(lines.at(-1)).toBe('watch of Service: lost (gone) and not listed again: may be out of date');
  });
});
