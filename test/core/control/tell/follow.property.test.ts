// SPDX-License-Identifier: Apache-2.0
/** Law: what a follower says of an event is what two whole computations, before and after it, differ in. */
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { parsePrefix } from '../../../../core/address.ts';
import { changesBetween, isUnchanged } from '../../../../core/control/tell/changes.ts';
import { emptyCluster } from '../../../../core/control/cluster.ts';
import type { DocumentConfig } from '../../../../core/control/tell/document.ts';
import { createFollower, situationOf } from '../../../../core/control/tell/follow.ts';
import type { ClusterEvent, ClusterObject, EndpointObject, ObjectKind } from '../../../../core/objects.ts';
import { clusterAfter } from '../compiled.ts';
import { endpoint, node, NODE, service, slice } from '../objects.ts';

const names = fc.constantFrom('web', 'api', 'dns');
const nodeNames = fc.constantFrom('node-a', 'node-b', 'node-c');

/** Few addresses, so that Services contest them, and one that is none. */
const services = fc
  .record({
    name: names,
    type: fc.constantFrom('ClusterIP', 'NodePort', 'LoadBalancer', 'ExternalName'),
    clusterIP: fc.constantFrom('10.96.0.1', '10.96.0.2', 'None', 'nope'),
    externalIPs: fc.subarray(['192.0.2.1', '192.0.2.2', 'nope']),
    nodePort: fc.constantFrom(0, 30_080, 30_081),
    internalTrafficPolicy: fc.constantFrom('Cluster', 'Local'),
    externalTrafficPolicy: fc.constantFrom('Cluster', 'Local'),
    sessionAffinity: fc.constantFrom('None', 'ClientIP'),
    loadBalancerSourceRanges: fc.subarray(['10.0.0.0/8', 'nope']),
    healthCheckNodePort: fc.constantFrom(0, 31_000),
    created: fc.constantFrom('2026-01-01T00:00:00Z', '2026-01-02T00:00:00Z'),
    ingress: fc.subarray([{ ip: '198.51.100.1' }, { ip: 'nope' }]),
  })
  .map(({ name, nodePort, created, ingress, ...spec }): ClusterObject => {
    const { metadata, ...made } = service(name, spec.clusterIP, {
      ...spec,
      ports: [{ name: 'http', port: 80, nodePort }],
    });
    return { ...made, metadata: { ...metadata, creationTimestamp: created }, status: { loadBalancer: { ingress } } };
  });

const endpoints: fc.Arbitrary<EndpointObject> = fc
  .record({
    address: fc.constantFrom('10.0.1.1', '10.0.1.2', '10.0.2.3', '10.0.2.4', 'nope'),
    ready: fc.boolean(),
    serving: fc.boolean(),
    terminating: fc.boolean(),
    node: nodeNames,
    zone: fc.constantFrom('z1', 'z2'),
    pod: fc.constantFrom('', 'uid-1', 'uid-2'),
    forZones: fc.constantFrom([], ['z1'], ['z2']),
    forNodes: fc.constantFrom([], ['node-a']),
  })
  .map(({ address, ...options }) => endpoint(address, options));

const slices = fc
  .record({ of: names, made: fc.constantFrom('1', '2'), name: names, list: fc.array(endpoints, { maxLength: 4 }) })
  .map(({ of, made, name, list }): ClusterObject => slice(of, list, { slice: `${name}-${made}` }));

const nodes = fc
  .record({ name: nodeNames, zone: fc.constantFrom('', 'z1', 'z2'), last: fc.constantFrom(0, 1, 2) })
  .map(({ name, zone, last }): ClusterObject => {
    const addresses = last === 0 ? [] : [{ type: 'InternalIP', address: `172.18.0.${last}` }];
    return { ...node(name, zone), status: { addresses } };
  });

const pods = fc
  .record({ name: names, nodeName: nodeNames, hostPort: fc.constantFrom(0, 80, 30_080, 70_000), ip: fc.nat(3) })
  .map(({ name, nodeName, hostPort, ip }): ClusterObject => ({
    kind: 'Pod',
    metadata: { namespace: 'shop', name },
    spec: { nodeName, containers: [{ ports: [{ containerPort: 8080, hostPort }] }] },
    status: { podIP: `10.0.1.${ip}` },
  }));

const nameless = fc.constant<ClusterObject>({ kind: 'Service', metadata: { name: 'lost' } });
const objects = fc.oneof(
  { weight: 4, arbitrary: services },
  { weight: 5, arbitrary: slices },
  { weight: 2, arbitrary: nodes },
  { weight: 1, arbitrary: pods },
  { weight: 1, arbitrary: nameless },
);
const kinds = fc.constantFrom<ObjectKind>('Service', 'EndpointSlice', 'Node', 'Pod');

const events: fc.Arbitrary<ClusterEvent> = fc.oneof(
  { weight: 8, arbitrary: objects.map((object): ClusterEvent => ({ type: 'MODIFIED', object })) },
  { weight: 2, arbitrary: objects.map((object): ClusterEvent => ({ type: 'DELETED', object })) },
  { weight: 1, arbitrary: kinds.map((kind): ClusterEvent => ({ type: 'DISCONNECTED', kind, reason: 'gone' })) },
  { weight: 1, arbitrary: kinds.map((kind): ClusterEvent => ({ type: 'BOOKMARK', kind })) },
  {
    weight: 1,
    arbitrary: fc
      .record({ kind: kinds, all: fc.array(objects, { maxLength: 6 }) })
      .map(({ kind, all }): ClusterEvent => {
        const items = all.filter((object) => object.kind === kind);
        return { type: 'LISTED', kind, items };
      }),
  },
);

const podRange = parsePrefix('10.0.0.0/8');
const configs: fc.Arbitrary<DocumentConfig> = fc
  .record({ nodeName: fc.constantFrom('', 'node-a', 'elsewhere'), hostPort: fc.boolean(), topology: fc.boolean() })
  .map((some) => ({ ...NODE, serviceCIDRs: [], clusterCIDRs: podRange.ok ? [podRange.value] : [], ...some }));

test('what an event changed is what whole computations before and after it differ in', () => {
  fc.assert(
    fc.property(configs, fc.array(events, { minLength: 1, maxLength: 14 }), (config, history) => {
      const follower = createFollower(config);
      let before = situationOf(emptyCluster(), config);
      for (const [index, event] of history.entries()) {
        const said = follower.event(event);
        const after = situationOf(clusterAfter(history.slice(0, index + 1)), config);
        expect(said).toEqual(changesBetween(before, after));
        expect(follower.totals().frontends).toBe(after.frontends.length);
        before = after;
      }
    }),
    { numRuns: 300 },
  );
});

test('the difference back is empty only where there is none forth', () => {
  fc.assert(
    fc.property(
      configs,
      fc.array(events, { maxLength: 8 }),
      fc.array(events, { maxLength: 8 }),
      (config, one, other) => {
        const [left, right] = [situationOf(clusterAfter(one), config), situationOf(clusterAfter(other), config)];
        const [forth, back] = [changesBetween(left, right), changesBetween(right, left)];
        expect(isUnchanged(changesBetween(left, left))).toBe(true);
        expect(isUnchanged(back)).toBe(isUnchanged(forth));
        expect(back.problems).toEqual({ appeared: forth.problems.gone, gone: forth.problems.appeared });
        expect(back.owners.map(({ from }) => from)).toEqual(forth.owners.map(({ to }) => to));
        expect(back.frontends.length).toBe(forth.frontends.length);
      },
    ),
    { numRuns: 200 },
  );
});
