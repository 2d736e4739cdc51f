// SPDX-License-Identifier: Apache-2.0
/** Objects that no API server would have let through, and ones as wide as it permits: each is told, the rest compiled. */
import { describe, expect, test } from 'vitest';
import { computeEverything } from '../../../core/control/tell/document.ts';
import { createFollower } from '../../../core/control/tell/follow.ts';
import { showService } from '../../../core/control/tell/show.ts';
import { BACKENDS_OF_SERVICE_MAX } from '../../../core/control/desired.ts';
import type { ClusterEvent, ClusterObject, EndpointObject, ServiceObject } from '../../../core/objects.ts';
import { clusterAfter, compile, only, summary } from './compiled.ts';
import { added, endpoint, NODE, service, slice } from './objects.ts';

/** As it may come from a file: nobody has checked its fields. */
function unchecked(object: object): ClusterEvent {
  return { type: 'ADDED', object: object as ClusterObject };
}

const metadata = { namespace: 'shop', name: 'web' };
const good = [added(service('good', '10.96.0.9')), added(slice('good', [endpoint('10.0.9.9', {})]))];

describe('objects that lack what the API server enforces', () => {
  const cases: readonly (readonly [string, object, string, string])[] = [
    ['no spec', { kind: 'Service', metadata }, 'spec.clusterIP', 'not set: nothing is served'],
    [
      'ports that are no list',
      { kind: 'Service', metadata, spec: { clusterIP: '10.96.0.1', ports: 'nope' } },
      'spec.ports',
      'not a list: "nope"',
    ],
    [
      'a port that is text',
      { kind: 'Service', metadata, spec: { clusterIP: '10.96.0.1', ports: [{ name: 'a', port: '80' }] } },
      'spec.ports[0].port',
      'not a port from 1 to 65535: "80"',
    ],
    [
      'a port that is null',
      { kind: 'Service', metadata, spec: { clusterIP: '10.96.0.1', ports: [null] } },
      'spec.ports[0].port',
      'not a port from 1 to 65535: undefined',
    ],
    [
      'a policy in other letters',
      { kind: 'Service', metadata, spec: { clusterIP: '10.96.0.1', externalTrafficPolicy: 'local' } },
      'spec.externalTrafficPolicy',
      'not one of Cluster, Local: "local"; Cluster is used',
    ],
    [
      'two ports of one name',
      { kind: 'Service', metadata, spec: { clusterIP: '10.96.0.1', ports: [{ port: 1 }, { port: 2 }] } },
      'spec.ports[1].name',
      'another port has the name "" and the same protocol; the first is used',
    ],
    [
      'endpoints without addresses',
      { ...slice('web', []), endpoints: [{}] },
      'endpoints[0].addresses',
      'empty: the endpoint is ignored',
    ],
    [
      'an endpoint that is a number',
      { ...slice('web', []), endpoints: [7] },
      'endpoints[0].addresses',
      'empty: the endpoint is ignored',
    ],
    [
      'no address type',
      { ...slice('web', []), addressType: undefined },
      'addressType',
      'not one of IPv4, IPv6, FQDN: undefined',
    ],
  ];
  test.each(cases)(
    '%s: the path and what is wrong, and the other Service is compiled',
    (_what, object, field, message) => {
      const { frontends, problems } = compile([unchecked(object), ...good]);
      expect(problems).toContainEqual(expect.objectContaining({ field, message }));
      expect(frontends.filter((frontend) => frontend.service === 'shop/good').map(summary)).toEqual([
        { chosen: ['10.0.9.9 active'], excluded: [], whenEmpty: 'reject' },
      ]);
    },
  );
});

test('a value without end is told by its beginning', () => {
  const { problems } = compile([unchecked({ kind: 'Service', metadata, spec: { clusterIP: 'x'.repeat(100_000) } })]);
  expect(problems.map(({ message }) => message)).toEqual([
    `not an IP address: "${'x'.repeat(119)}... (100002 characters)`,
  ]);
});

test('zero-padded and IPv4-mapped addresses are the addresses that they mean', () => {
  const spec = { externalIPs: ['::ffff:192.0.2.1', '192.000.002.001', '192.0.2.1'] };
  const list = ['010.000.001.005', '::ffff:10.0.1.5', '10.0.1.5', '10.0.1.6'].map((text) => endpoint(text, {}));
  const { frontends, problems } = compile([added(service('web', '010.096.000.001', spec)), added(slice('web', list))]);
  expect(problems).toEqual([]);
  expect(frontends.map(({ kind, address }) => `${kind} ${address}`)).toEqual([
    'ClusterIP 10.96.0.1',
    'ExternalIP 192.0.2.1',
  ]);
  expect(frontends.map(summary)[0]).toEqual({
    chosen: ['10.0.1.5 active', '10.0.1.6 active'],
    excluded: ['10.0.1.5 duplicate', '10.0.1.5 duplicate'],
    whenEmpty: 'reject',
  });
});

function wide(ports: number, endpoints: number): readonly ClusterEvent[] {
  const named = Array.from({ length: ports }, (_, index) => ({ name: `p${index}`, port: 1 + index }));
  const list: EndpointObject[] = Array.from({ length: endpoints }, (_, index) =>
    endpoint(`10.1.${index >> 8}.${index & 255}`, { node: 'node-b' }),
  );
  return [added(service('web', '10.96.0.1', { ports: named })), added(slice('web', list, { ports: named }))];
}

/** Processor time, which other work on the machine does not lengthen. */
function secondsOf(work: () => void): number {
  const before = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1e6;
}

describe('as wide as the API permits', () => {
  test('a thousand endpoints in one slice', () => {
    expect(summary(only(compile(wide(1, 1000)))).chosen).toHaveLength(1000);
  });

  test('20,000 ports take what 20,000 ports cost, not their square', () => {
    const seconds = secondsOf(() => expect(compile(wide(20_000, 2)).frontends).toHaveLength(20_000));
    // Looking through 20,000 ports for each of 20,000 took four times as long as this leaves.
    expect(seconds).toBeLessThan(3);
  });

  test('20,000 ports of 1,000 endpoints: what fits is served, and the limit is told by its name', () => {
    const cluster = clusterAfter(wide(20_000, 1000));
    const everything = computeEverything(cluster, NODE);
    expect(everything.desired.ports.size).toBe(BACKENDS_OF_SERVICE_MAX / 1000);
    expect(showService(cluster, everything, 'shop/web')?.problems).toEqual([
      {
        object: 'Service shop/web',
        field: 'spec.ports[1000]',
        message:
          '19000 ports from here on are not served: ports times endpoints are more than 1000000' +
          ' (BACKENDS_OF_SERVICE_MAX); divide the Service',
      },
    ]);
  });

  test('thousands that claim one address cost no more than so many that do not', () => {
    const follower = createFollower({ ...NODE, serviceCIDRs: [] });
    const claimants: ServiceObject[] = Array.from({ length: 4000 }, (_, index) =>
      service(`s${(index * 2477) % 4000}`, `10.96.${index >> 8}.${index & 255}`, { externalIPs: ['192.0.2.1'] }),
    );
    const seconds = secondsOf(() => {
      for (const object of claimants) follower.event(added(object));
    });
    expect(follower.totals()).toEqual({ services: 4000, frontends: 4001 });
    expect(seconds).toBeLessThan(5);
  });
});
