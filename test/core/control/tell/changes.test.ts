// SPDX-License-Identifier: Apache-2.0
/** What changed, as people read it: each case is a history on node-a, of which the last event is told. */
import { describe, expect, test } from 'vitest';
import { parseAddress, parsePrefix, type Address, type Prefix } from '../../../../core/address.ts';
import { changesBetween, isUnchanged } from '../../../../core/control/tell/changes.ts';
import { changeLines } from '../../../../core/control/tell/changetext.ts';
import { emptyCluster } from '../../../../core/control/cluster.ts';
import type { DocumentConfig } from '../../../../core/control/tell/document.ts';
import { createFollower, situationOf } from '../../../../core/control/tell/follow.ts';
import type { ClusterEvent } from '../../../../core/objects.ts';
import { clusterAfter } from '../compiled.ts';
import { added, deleted, endpoint, node, NODE, service, slice } from '../objects.ts';

const CONFIG: DocumentConfig = { ...NODE, serviceCIDRs: [] };

function address(text: string): Address {
  const parsed = parseAddress(text);
  if (!parsed.ok) throw new Error(text);
  return parsed.value;
}

function prefix(text: string): Prefix {
  const parsed = parsePrefix(text);
  if (!parsed.ok) throw new Error(text);
  return parsed.value;
}

/** The lines of the last event. */
function lines(history: readonly ClusterEvent[], config: Partial<DocumentConfig> = {}): readonly string[] {
  const follower = createFollower({ ...CONFIG, ...config });
  return history.map((event) => changeLines(follower.event(event))).at(-1) ?? [];
}

const web = added(service('web', '10.96.0.1'));
const local = endpoint('10.0.1.1', { node: 'node-a' });
const remote = endpoint('10.0.2.2', { node: 'node-b' });
const both = added(slice('web', [local, remote]));

describe('what an event changed', () => {
  test('a new Service without endpoints refuses', () => {
    expect(lines([web])).toEqual([
      'new: shop/web:http  ClusterIP 10.96.0.1:80/TCP',
      '  no backend: new connections are refused at once',
    ]);
  });

  test('endpoints come, one of them not ready', () => {
    const list = [local, endpoint('10.0.2.2', { ready: false })];
    expect(lines([web, added(slice('web', list))])).toEqual([
      'shop/web:http  ClusterIP 10.96.0.1:80/TCP',
      '  + 10.0.1.1:8080 on node-a',
      '  . 10.0.2.2:8080 left out: not ready',
      '  0 -> 1 backends',
    ]);
  });

  test('an endpoint that terminates is left out with its reason; the last one stays in use', () => {
    const ending = endpoint('10.0.2.2', { ready: false, serving: true, terminating: true, node: 'node-b' });
    const one = added(slice('web', [local, ending]));
    expect(lines([web, both, one])).toEqual([
      'shop/web:http  ClusterIP 10.96.0.1:80/TCP',
      '  - 10.0.2.2:8080 on node-b: terminating while others are ready',
      '  2 -> 1 backends',
    ]);
    expect(lines([web, both, one, added(slice('web', [ending]))])).toEqual([
      'shop/web:http  ClusterIP 10.96.0.1:80/TCP',
      '  - 10.0.1.1:8080 on node-a: no slice has it any more',
      '  + 10.0.2.2:8080 on node-b: terminating, but none is ready (was left out: terminating while others are ready)',
    ]);
  });

  test('the last resort is ready again', () => {
    const ending = endpoint('10.0.1.1', { ready: false, serving: true, terminating: true, node: 'node-a' });
    expect(lines([web, added(slice('web', [ending])), added(slice('web', [local]))])).toEqual([
      'shop/web:http  ClusterIP 10.96.0.1:80/TCP',
      '  ~ 10.0.1.1:8080 on node-a: ready again',
    ]);
  });

  test('a second slice with the same endpoint changes nobody, and is told', () => {
    expect(lines([web, both, added(slice('web', [local], { slice: 'web-2' }))])).toEqual([
      'shop/web:http  ClusterIP 10.96.0.1:80/TCP',
      '  . 10.0.1.1:8080 left out: named more than once',
    ]);
    expect(lines([added(slice('web', [local])), added(slice('web', [local], { slice: 'web-2' })), web])).toEqual([
      'new: shop/web:http  ClusterIP 10.96.0.1:80/TCP',
      '  . 10.0.1.1:8080 left out: named more than once',
      '  + 10.0.1.1:8080 on node-a',
    ]);
  });

  test('a health check that moves to another port', () => {
    const checked = (healthCheckNodePort: number): ClusterEvent => {
      const spec = { type: 'LoadBalancer', externalTrafficPolicy: 'Local', healthCheckNodePort };
      return added(service('web', '10.96.0.1', spec));
    };
    expect(lines([checked(31_000), both, checked(31_001)])).toEqual([
      'shop/web: health check port 31001 answers 200 (1 local endpoints)',
    ]);
    expect(lines([checked(31_000), both, web])).toEqual(['shop/web: health check port 31000 is closed']);
  });

  test('another pod takes over an address; an endpoint moves to another node', () => {
    const held = (pod: string, on: string): ClusterEvent =>
      added(slice('web', [endpoint('10.0.1.1', { pod, node: on, zone: 'z1' })]));
    expect(lines([web, held('uid-1', 'node-a'), held('uid-2', 'node-a')])).toEqual([
      'shop/web:http  ClusterIP 10.96.0.1:80/TCP',
      '  ~ 10.0.1.1:8080 on node-a: another pod has this address now',
    ]);
    expect(lines([web, held('uid-1', 'node-a'), held('uid-1', 'node-b')])).toEqual([
      'shop/web:http  ClusterIP 10.96.0.1:80/TCP',
      '  ~ 10.0.1.1:8080 on node-b: now on node node-b, zone z1',
    ]);
  });

  test('a change of policy is told for each view, and for what clients and backends notice', () => {
    const balanced = (externalTrafficPolicy: string): ClusterEvent =>
      added({
        ...service('web', '10.96.0.1', { type: 'LoadBalancer', externalTrafficPolicy, healthCheckNodePort: 31_000 }),
        status: { loadBalancer: { ingress: [{ ip: '192.0.2.1' }] } },
      });
    expect(lines([balanced('Cluster'), both, balanced('Local')])).toEqual([
      'shop/web:http  LoadBalancer 192.0.2.1:80/TCP',
      '  from this node:',
      "    the backend sees: this node's address -> the client's own address",
      '  from elsewhere:',
      '    - 10.0.2.2:8080 on node-b: not on this node',
      '    when empty: refused at once -> dropped without an answer',
      "    the backend sees: this node's address -> the client's own address",
      '    2 -> 1 backends',
      'shop/web: health check port 31000 answers 200 (1 local endpoints)',
    ]);
    expect(lines([balanced('Local'), both, added(slice('web', [remote]))])).toEqual([
      'shop/web:http  ClusterIP 10.96.0.1:80/TCP',
      '  - 10.0.1.1:8080 on node-a: no slice has it any more',
      '  2 -> 1 backends',
      'shop/web:http  LoadBalancer 192.0.2.1:80/TCP',
      '  from this node:',
      '    - 10.0.1.1:8080 on node-a: no slice has it any more',
      '    2 -> 1 backends',
      '  from elsewhere:',
      '    - 10.0.1.1:8080 on node-a: no slice has it any more',
      '    no backend: new connections are dropped without an answer',
      'shop/web: health check port 31000: 200 (1 local endpoints) -> 503 (0 local endpoints)',
      'problem: configuration nodeName: "node-a" is the node of no endpoint (they are on node-b): every Local policy is empty here',
    ]);
  });

  test('a contested address passes to the next Service when its owner goes', () => {
    const first = service('api', '10.96.0.2', { externalIPs: ['192.0.2.1'] });
    const second = service('web', '10.96.0.1', { externalIPs: ['192.0.2.1'] });
    const loss =
      'Service shop/web spec.externalIPs: 192.0.2.1:80/TCP belongs to ExternalIP of shop/api:http/TCP already:' +
      ' this ExternalIP is not served there';
    expect(lines([added(first), added(second)])).toContain(`problem: ${loss}`);
    expect(lines([added(first), added(second), deleted(first)])).toEqual([
      'gone: shop/api:http  ClusterIP 10.96.0.2:80/TCP, ExternalIP 192.0.2.1:80/TCP',
      'new: shop/web:http  ExternalIP 192.0.2.1:80/TCP',
      '  no backend: new connections are refused at once',
      '192.0.2.1:80/TCP passes from ExternalIP of shop/api:http to ExternalIP of shop/web:http',
      `no longer a problem: ${loss}`,
    ]);
  });

  test('hints that begin to count are told with their effect, and so is a zone that changes', () => {
    const near = endpoint('10.0.1.1', { forZones: ['z1'] });
    const bare = endpoint('10.0.2.2', {});
    const far = endpoint('10.0.2.2', { forZones: ['z2'] });
    expect(lines([web, added(slice('web', [near, bare])), added(slice('web', [near, far]))])).toEqual([
      'shop/web:http  ClusterIP 10.96.0.1:80/TCP',
      '  - 10.0.2.2:8080: its hint is for another zone',
      '  topology: none -> zone',
      '  2 -> 1 backends',
      'shop/web:http IPv4 hints: not followed: a ready endpoint has none -> followed by zone',
    ]);
    expect(lines([web, added(slice('web', [near, far])), added(node('node-a', 'z2'))])).toEqual([
      'this node: zone: z1 -> z2',
      'shop/web:http  ClusterIP 10.96.0.1:80/TCP',
      '  - 10.0.1.1:8080: its hint is for another zone',
      '  + 10.0.2.2:8080 (was left out: its hint is for another zone)',
    ]);
  });

  test('frontends of one port that change alike stand together, and a thousand endpoints are cut', () => {
    const wide = service('web', '10.96.0.1', {
      type: 'NodePort',
      ports: [{ name: 'http', port: 80, nodePort: 30_080 }],
    });
    const many = Array.from({ length: 1000 }, (_, index) => endpoint(`10.1.${index >> 8}.${index & 255}`));
    const told = lines([added(wide), added(slice('web', many))], { nodeIPs: [address('192.0.2.9')] });
    expect(told[0]).toBe('shop/web:http  ClusterIP 10.96.0.1:80/TCP');
    expect(told.map((line) => line.trim())).toContain('... and 976 more endpoints; -o json and ndjson tell all');
    expect(told.length).toBeLessThan(60);
    const alike = lines([added(wide), deleted(wide)], { nodeIPs: [address('192.0.2.9'), address('fd00::9')] });
    expect(alike).toEqual(['gone: shop/web:http  ClusterIP 10.96.0.1:80/TCP, NodePort 192.0.2.9:30080/TCP']);
  });

  test('what changes nothing says nothing', () => {
    expect(lines([web, both, both])).toEqual([]);
    expect(lines([web, added(node('node-b', 'z9'))])).toEqual([]);
    expect(lines([web, { type: 'BOOKMARK', kind: 'Service' }])).toEqual([]);
  });

  test('a watch that is lost is a problem until the next list', () => {
    const lost: ClusterEvent = { type: 'DISCONNECTED', kind: 'Service', reason: 'gone' };
    const message = 'watch of Service: lost (gone) and not listed again: may be out of date';
    expect(lines([lost])).toEqual([`problem: ${message}`]);
    expect(lines([lost, { type: 'LISTED', kind: 'Service', items: [] }])).toEqual([`no longer a problem: ${message}`]);
  });
});

test('another configuration changes what it says and nothing else', () => {
  const cluster = clusterAfter([web, both]);
  const before = situationOf(cluster, CONFIG);
  const after = situationOf(cluster, { ...CONFIG, clusterCIDRs: [prefix('10.0.0.0/8')] });
  expect(changeLines(changesBetween(before, after))).toEqual([
    'this node: clusterCIDRs: (empty) -> 10.0.0.0/8',
    'shop/web:http  ClusterIP 10.96.0.1:80/TCP',
    "  the backend sees: the client's own address -> a pod's own address, for other clients this node's",
  ]);
  expect(isUnchanged(changesBetween(after, after))).toBe(true);
  expect(isUnchanged(changesBetween(situationOf(emptyCluster(), CONFIG), after))).toBe(false);
});
