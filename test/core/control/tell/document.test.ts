// SPDX-License-Identifier: Apache-2.0
/** What the document tells besides endpoints, and what events do to it. */
import { describe, expect, test } from 'vitest';
import { addressFromIPv4 } from '../../../../core/address.ts';
import { applyEvent, emptyCluster } from '../../../../core/control/cluster.ts';
import { compiledTable, type CompiledServices } from '../../../../core/control/tell/document.ts';
import type { ClusterEvent } from '../../../../core/objects.ts';
import { compile, only, summary, web } from '../compiled.ts';
import { added, deleted, endpoint, node, service, slice } from '../objects.ts';

describe('the document', () => {
  test('masquerade follows what is known of pod addresses, and a ClusterIP has no external view', () => {
    const events = web([endpoint('10.0.0.1')]);
    expect(only(compile(events)).internal?.masquerade).toBe('never');
    expect(only(compile(events)).external).toBeNull();
    expect(only(compile(events, { masqueradeAll: true })).internal?.masquerade).toBe('always');
  });

  test('a load balancer has a row for each of its addresses, and says what it cannot serve', () => {
    const spec = {
      type: 'LoadBalancer',
      externalTrafficPolicy: 'Local',
      externalIPs: ['192.0.2.9'],
      healthCheckNodePort: 30_112,
    };
    const object = service('web', '10.96.0.1', { ...spec, ports: [{ name: 'http', port: 80, nodePort: 30_080 }] });
    const balanced = { ...object, status: { loadBalancer: { ingress: [{ ip: '192.0.2.1' }, { hostname: 'x' }] } } };
    const events = [added(balanced), added(slice('web', [endpoint('10.0.0.1', { node: 'node-a' })]))];
    const { frontends, healthChecks, problems } = compile(events);
    expect(frontends.map(({ kind, address, port }) => `${kind} ${address} ${port}`)).toEqual([
      'ClusterIP 10.96.0.1 80',
      'ExternalIP 192.0.2.9 80',
      'LoadBalancer 192.0.2.1 80',
    ]);
    expect(healthChecks).toEqual([{ service: 'shop/web', port: 30_112, localEndpoints: 1 }]);
    expect(problems.map(({ field, message }) => `${field}: ${message}`)).toEqual([
      'spec.ports[0].nodePort: not served: this node has no IPv4 address for NodePorts; nodeIPs and nodePortAddresses say which',
    ]);
    const served = compile(events, { nodeIPs: [addressFromIPv4(0xc000_020a), addressFromIPv4(0xc000_020b)] });
    expect(served.problems).toEqual([]);
    expect(
      served.frontends.filter(({ kind }) => kind === 'NodePort').map(({ address, port }) => `${address}:${port}`),
    ).toEqual(['192.0.2.10:30080']);
  });

  test('objects that lack what they need are told by object and field, and the rest is compiled', () => {
    const events: ClusterEvent[] = [
      { type: 'ADDED', object: { kind: 'Service' } },
      { type: 'ADDED', object: { kind: 'EndpointSlice', metadata: { namespace: 'shop' } } },
      added(
        service('bad', '10.96.0.300', {
          ports: [{ port: 0 }, { port: 80, protocol: 'ICMP' }, { port: 81 }, { port: 82 }],
        }),
      ),
      ...web([endpoint('10.0.0.1')], { externalIPs: ['nope'] }),
    ];
    const compiled = compile(events);
    expect(compiled.frontends.map((frontend) => frontend.service)).toEqual(['shop/web']);
    expect(compiled.problems.map(({ object, field, message }) => `${object} ${field}: ${message}`)).toEqual([
      'EndpointSlice metadata: no namespace and name: the object is ignored',
      'Service metadata: no namespace and name: the object is ignored',
      'Service shop/bad spec.clusterIP: not an IP address: "10.96.0.300"',
      'Service shop/bad spec.ports[0].port: not a port from 1 to 65535: 0',
      'Service shop/bad spec.ports[1].protocol: not one of TCP, UDP, SCTP: "ICMP"',
      'Service shop/bad spec.ports[3].name: another port has the name "" and the same protocol; the first is used',
      'Service shop/web spec.externalIPs[0]: not an IP address: "nope"',
    ]);
  });

  test('a Service without a cluster address is one problem, a headless one none', () => {
    expect(compile([added(service('web', '')), added(service('headless', 'None'))]).problems).toEqual([
      { object: 'Service shop/web', field: 'spec.clusterIP', message: 'not set: nothing is served' },
    ]);
  });

  test('a lost watch is told until the next list', () => {
    const lost: ClusterEvent = { type: 'DISCONNECTED', kind: 'EndpointSlice', reason: '410 Gone' };
    const events = web([endpoint('10.0.0.1')]);
    const compiled = compile([...events, lost]);
    expect(summary(only(compiled)).chosen).toEqual(['10.0.0.1 active']);
    expect(compiled.problems.map(({ object }) => object)).toEqual(['watch of EndpointSlice']);
    expect(compile([...events, lost, { type: 'LISTED', kind: 'EndpointSlice', items: [] }]).problems).toEqual([]);
  });
});

describe('events', () => {
  test('H3, H5: endpoints are the union of slices, and a slice that moves takes its endpoints along', () => {
    const moved = slice('api', [endpoint('10.0.0.2')], { slice: 'web-2' });
    const events = [
      ...web([endpoint('10.0.0.1')]),
      added(service('api', '10.96.0.2')),
      added(slice('web', [endpoint('10.0.0.2')], { slice: 'web-2' })),
    ];
    const chosen = (compiled: CompiledServices): string[][] =>
      compiled.frontends.map((frontend) => summary(frontend).chosen);
    expect(chosen(compile(events))).toEqual([[], ['10.0.0.1 active', '10.0.0.2 active']]);
    expect(chosen(compile([...events, added(moved)]))).toEqual([['10.0.0.2 active'], ['10.0.0.1 active']]);
    expect(chosen(compile([...events, deleted(moved)]))).toEqual([[], ['10.0.0.1 active']]);
  });

  test('deleting what is not there is fine, and a list replaces what is', () => {
    const other = slice('other', [endpoint('10.0.0.9')]);
    const compiled = compile([deleted(other), ...web([endpoint('10.0.0.1')]), deleted(other)]);
    expect(summary(only(compiled)).chosen).toEqual(['10.0.0.1 active']);
    const relisted: ClusterEvent = {
      type: 'LISTED',
      kind: 'EndpointSlice',
      items: [slice('web', [endpoint('10.0.0.3')], { slice: 'new' })],
    };
    expect(summary(only(compile([...web([endpoint('10.0.0.1')]), relisted]))).chosen).toEqual(['10.0.0.3 active']);
  });

  test('an event names the Services that it can affect', () => {
    let { state } = applyEvent(emptyCluster(), added(service('web', '10.96.0.1')));
    const moved = applyEvent(state, added(slice('web', [], { slice: 'x' })));
    state = moved.state;
    expect([...moved.changed.owners]).toEqual(['shop/web']);
    expect([...applyEvent(state, added(slice('api', [], { slice: 'x' }))).changed.owners]).toEqual([
      'shop/web',
      'shop/api',
    ]);
    expect([...applyEvent(state, added(node('n', 'z'))).changed.nodes]).toEqual(['n']);
    expect([...applyEvent(state, added(node('n', 'z'))).changed.nodes]).toEqual([]);
  });
});

describe('the table', () => {
  test('it has a line per frontend, and the problems below', () => {
    const endpoints = [endpoint('10.0.0.1'), endpoint('10.0.0.2', { ready: false })];
    const events = [
      ...web(endpoints, { externalIPs: ['nope'] }),
      added(service('six', 'fd00:96::1')),
      added(slice('six', [endpoint('fd00::1')], { addressType: 'IPv6' })),
    ];
    expect(compiledTable(compile(events))).toMatchInlineSnapshot(`
      "SERVICE        KIND       FRONTEND             VIEW      BACKENDS        WHEN EMPTY  TOPOLOGY  MASQUERADE  LEFT OUT
      shop/six:http  ClusterIP  [fd00:96::1]:80/TCP  internal  [fd00::1]:8080  reject      none      never       -
      shop/web:http  ClusterIP  10.96.0.1:80/TCP     internal  10.0.0.1:8080   reject      none      never       10.0.0.2:8080 not-ready

      PROBLEMS
      Service shop/web spec.externalIPs[0]: not an IP address: "nope""
    `);
  });
});
