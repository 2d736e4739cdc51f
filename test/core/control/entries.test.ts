// SPDX-License-Identifier: Apache-2.0
/** From events to map entries: what a Service becomes, what changes write, and in which order. */
import { describe, expect, test } from 'vitest';
import { createLoop, type Loop } from '../../../agent/loop.ts';
import { parseAddress, port, TCP, type Port, type Protocol } from '../../../core/address.ts';
import { canonical } from '../../../core/control/canonical.ts';
import { classifierCovers } from '../../../core/control/classifier.ts';
import {
  BACKEND_REUSED,
  BACKEND_STATE,
  maps,
  type BackendRecord,
  type FrontendKeyRecord,
} from '../../../core/layout.gen.ts';
import type { ClusterEvent } from '../../../core/objects.ts';
import type { Failure } from '../../../core/result.ts';
import { start } from '../../agent/worlds.ts';
import { MemoryStore, type Sizes } from './memory.ts';
import { added, deleted, EMPTY_LISTS, endpoint, NODE, service, slice, tell } from './objects.ts';

type Rig = { readonly store: MemoryStore; readonly loop: Loop; readonly failures: Failure[] };

function rig(sizes: Sizes = {}): Rig {
  const store = new MemoryStore(sizes);
  const failures: Failure[] = [];
  const loop = createLoop({ store, node: NODE, onProblem: (failure) => failures.push(failure) });
  tell(loop, EMPTY_LISTS);
  return { store, loop, failures };
}

function step({ loop }: Rig, ...events: readonly ClusterEvent[]): ReturnType<Loop['step']> {
  tell(loop, events);
  return loop.step();
}

function key(address: string, number: number): FrontendKeyRecord {
  const parsed = parseAddress(address);
  if (!parsed.ok) throw new Error(`not an address: ${address}`);
  return { address: parsed.value, port: port(number), protocol: TCP };
}

function whole(address: string): FrontendKeyRecord {
  return { ...key(address, 0), port: 0 as Port, protocol: 0 as Protocol };
}

function text(store: MemoryStore): string {
  const result = canonical(store);
  if (!result.ok) throw new Error(result.error.message);
  return result.value;
}

function backends(store: MemoryStore): (readonly [number, BackendRecord])[] {
  const result = store.entries(maps.backends);
  if (!result.ok) throw new Error(result.error.message);
  return [...result.value];
}

describe('what a Service becomes', () => {
  test('a ClusterIP resolves to its ready endpoints, in the order of address:port', () => {
    const all = rig();
    const report = step(
      all,
      added(service('web', '10.96.0.1')),
      added(slice('web', [endpoint('10.0.0.10'), endpoint('10.0.0.9')])),
    );
    expect(report).toMatchObject({ isSettled: true, owners: 1, unlisted: [] });
    expect(all.store.lookup(key('10.96.0.1', 80))).toMatchObject({
      whenEmpty: 'refuse',
      backends: ['10.0.0.10:8080', '10.0.0.9:8080'],
    });
    expect(text(all.store)).toMatchInlineSnapshot(`
      "10.96.0.1:0/0 whole-address 0000000000000000 flags=0 affinity=0 ranges=- internal=[] external=[]
      10.96.0.1:80/TCP cluster-ip 49d71cfe59d1e5c0 flags=0 affinity=0 ranges=- internal=[10.0.0.10:8080/6 active i 0000000000000000, 10.0.0.9:8080/6 active i 0000000000000000] external=[]"
    `);
    expect(classifierCovers(all.store)).toEqual({ ok: true, value: true });
  });

  test('B4: the rest of a cluster address is refused, until its last port is gone', () => {
    const all = rig();
    step(all, added(service('web', '10.96.0.1')));
    expect(all.store.lookup(whole('10.96.0.1'))).toMatchObject({ whenEmpty: 'refuse', backends: [] });
    step(all, deleted(service('web', '10.96.0.1')));
    expect(all.store.keys()).toEqual([]);
  });

  test('C2: Local with endpoints elsewhere only is silent, C1: without any it refuses', () => {
    const all = rig();
    const local = service('web', '10.96.0.1', { internalTrafficPolicy: 'Local' });
    step(all, added(local), added(slice('web', [endpoint('10.0.1.5', { node: 'node-b' })])));
    expect(all.store.lookup(key('10.96.0.1', 80))).toMatchObject({ whenEmpty: 'drop', backends: [] });
    step(all, added(slice('web', [endpoint('10.0.1.5', { node: 'node-b', ready: false })])));
    expect(all.store.lookup(key('10.96.0.1', 80))).toMatchObject({ whenEmpty: 'refuse', backends: [] });
  });

  test('both families are programmed for TCP and UDP; SCTP and affinity are named as not programmed', () => {
    const all = rig();
    const ports = [
      { name: 'http', port: 80 },
      { name: 'dns', port: 53, protocol: 'UDP' },
      { name: 'assoc', port: 99, protocol: 'SCTP' },
    ];
    const clusterIPs = ['10.96.0.1', 'fd00::1'];
    const spec = { ports, clusterIPs, ipFamilies: ['IPv4', 'IPv6'], sessionAffinity: 'ClientIP', type: 'NodePort' };
    step(
      all,
      added(
        service('web', '10.96.0.1', {
          ...spec,
          ports: ports.map((each, index) => ({ ...each, nodePort: 30_000 + index })),
        }),
      ),
    );
    expect(all.store.keys()).toHaveLength(6);
    expect(all.loop.problems().map(({ field, message }) => `${field}: ${message}`)).toEqual([
      ...[0, 1, 2].map(
        (port) =>
          `spec.ports[${port}].nodePort: not served: this node has no IPv4 or IPv6 address for NodePorts; ` +
          'nodeIPs and nodePortAddresses say which',
      ),
      'spec.ports: unsupported: port "assoc" SCTP: SCTP is not programmed yet',
    ]);
  });

  test('frontends of other kinds are named as not programmed, and are not', () => {
    const all = rig();
    const web = {
      ...service('web', '10.96.0.1', { externalIPs: ['192.0.2.1'] }),
      status: { loadBalancer: { ingress: [{ ip: '198.51.100.1' }] } },
    };
    expect(step(all, added(web), added(slice('web', [endpoint('10.0.0.1')])))).toMatchObject({ isSettled: true });
    expect(all.store.keys().filter(({ address }) => address.d >>> 24 !== 10)).toEqual([]);
    expect(all.store.lookup(key('10.96.0.1', 80))?.backends).toHaveLength(1);
    const told = all.loop.problems().map(({ message }) => message);
    for (const kind of ['ExternalIP', 'LoadBalancer'])
      expect(told).toContain(`unsupported: port "http" TCP: ${kind} is not programmed yet`);
  });

  test('A6: of two Services with one address and port the first by name owns it, the other takes over', () => {
    const all = rig();
    step(all, added(service('b', '10.96.0.1')), added(slice('b', [endpoint('10.0.0.2')])));
    step(all, added(service('a', '10.96.0.1')), added(slice('a', [endpoint('10.0.0.1')])));
    expect(all.store.lookup(key('10.96.0.1', 80))?.backends).toEqual(['10.0.0.1:8080']);
    expect(all.loop.problems()).toEqual([
      {
        object: 'Service shop/b',
        field: 'spec.ports',
        message: '10.96.0.1:80/TCP belongs to ClusterIP of shop/a:http/TCP already: this ClusterIP is not served there',
      },
    ]);
    step(all, deleted(service('a', '10.96.0.1')));
    expect(all.store.lookup(key('10.96.0.1', 80))?.backends).toEqual(['10.0.0.2:8080']);
  });
});

describe('what a change writes', () => {
  test('an event that changes nothing writes nothing', () => {
    const all = rig();
    const events = [added(service('web', '10.96.0.1')), added(slice('web', [endpoint('10.0.0.1', { pod: 'a' })]))];
    step(all, ...events);
    expect(step(all, ...structuredClone(events))).toMatchObject({ planned: 0, owners: 1, isSettled: true });
    expect(all.loop.resync()).toMatchObject({ done: 1, isSettled: true });
  });

  test('a backend keeps its id and generation while its Service port has it', () => {
    const all = rig();
    step(all, added(service('web', '10.96.0.1')), added(slice('web', [endpoint('10.0.0.1'), endpoint('10.0.0.2')])));
    const [first] = all.store.liveBackends();
    step(all, added(slice('web', [endpoint('10.0.0.1')])));
    expect([...all.store.liveBackends()]).toEqual([first]);
  });

  test('an endpoint that begins to terminate changes one word of its backend', () => {
    const all = rig();
    step(all, added(service('web', '10.96.0.1')), added(slice('web', [endpoint('10.0.0.1')])));
    const gone = endpoint('10.0.0.1', { ready: false, serving: true, terminating: true });
    expect(step(all, added(slice('web', [gone])))).toMatchObject({ done: 1, planned: 1 });
    expect(text(all.store)).toContain('[10.0.0.1:8080/6 terminating i ');
  });

  test('an address listed for another pod is another backend, and the old one is marked as reused', () => {
    const all = rig();
    step(all, added(service('web', '10.96.0.1')), added(slice('web', [endpoint('10.0.0.1', { pod: 'a' })])));
    step(all, added(slice('web', [endpoint('10.0.0.1', { pod: 'b' })])));
    const states = backends(all.store).map(([id, { live }]) => [id, live & BACKEND_STATE]);
    expect(states).toEqual([
      [1, BACKEND_REUSED],
      [2, 1],
    ]);
  });

  test('a backend that left is marked as reused when its address comes back with another pod, in any Service', () => {
    const all = rig();
    step(all, added(service('web', '10.96.0.1')), added(slice('web', [endpoint('10.0.0.1', { pod: 'a' })])));
    step(all, added(slice('web', [])), added(service('api', '10.96.0.2')));
    expect(backends(all.store).map(([, { live }]) => live & BACKEND_STATE)).toEqual([0]);
    step(all, added(slice('api', [endpoint('10.0.0.1', { pod: 'b' })])));
    expect(backends(all.store).map(([, { live }]) => live & BACKEND_STATE)).toEqual([BACKEND_REUSED, 1]);
  });

  test('the same pod that comes back leaves its earlier backend alone', () => {
    const all = rig();
    const here = added(slice('web', [endpoint('10.0.0.1', { pod: 'a' })]));
    step(all, added(service('web', '10.96.0.1')), here);
    step(all, added(slice('web', [])));
    step(all, here);
    expect(backends(all.store).map(([, { live }]) => live & BACKEND_STATE)).toEqual([0, 1]);
  });

  test('a backend id used again has another generation', () => {
    const all = rig({ backends: 3 });
    const generations = new Set<string>();
    step(all, added(service('web', '10.96.0.1')));
    for (let round = 0; round < 9; round += 1) {
      expect(step(all, added(slice('web', [endpoint(`10.0.0.${round}`)])))).toMatchObject({ isSettled: true });
      for (const [id, { live }] of backends(all.store)) generations.add(`${id} ${live >>> 8}`);
    }
    expect(generations.size).toBe(9);
  });
});

describe('limits', () => {
  const four = ['1', '2', '3', '4'].map((last) => endpoint(`10.0.0.${last}`));
  test.each([
    [
      'backends',
      { backends: 4 },
      'backends: map-full: shop/web:http/TCP needs 4 more, 3 of 3 are left; raise mapSizes.backends',
    ],
    ['slots', { slots: 1 }, 'slots: map-full: shop/web:http/TCP needs 4 more, 2 of 2 are left; raise mapSizes.slots'],
    [
      'services',
      { services: 2 },
      'services: map-full: address 10.96.0.1:0/0 needs 1 more, 0 of 1 are left; raise mapSizes.services',
    ],
    [
      'frontends',
      { frontends: 1 },
      'frontends: map-full: address 10.96.0.1:0/0 needs 1 more, 0 of 1 are left; raise mapSizes.frontends',
    ],
  ] as const)('a full map names the Service, the need, the limit and the option: %s', (_map, sizes, message) => {
    const all = rig(sizes);
    const report = step(all, added(service('web', '10.96.0.1')), added(slice('web', four)));
    const lines = report.failures.map((failure) => `${failure.object}: ${failure.message}; ${failure.remedy}`);
    expect(lines).toEqual([`${message}; what is programmed stays`]);
    expect(report.isSettled).toBe(false);
  });

  test('what is programmed stays when a map is full, and the rest follows when there is room', () => {
    const all = rig({ backends: 5 });
    step(all, added(service('a', '10.96.0.1')), added(slice('a', [endpoint('10.0.1.1')])));
    step(all, added(service('web', '10.96.0.2')), added(slice('web', four)));
    expect(all.store.lookup(key('10.96.0.1', 80))?.backends).toEqual(['10.0.1.1:8080']);
    expect(all.failures).toHaveLength(1);
    expect(step(all, deleted(service('a', '10.96.0.1')))).toMatchObject({ isSettled: true, waiting: [] });
    expect(all.store.lookup(key('10.96.0.2', 80))?.backends).toHaveLength(4);
  });

  test('a Service that grew too large keeps its old backends', () => {
    const all = rig({ backends: 4 });
    step(all, added(service('web', '10.96.0.1')), added(slice('web', four.slice(0, 1))));
    expect(step(all, added(slice('web', four.concat(endpoint('10.0.0.5'))))).isSettled).toBe(false);
    expect(all.store.lookup(key('10.96.0.1', 80))?.backends).toEqual(['10.0.0.1:8080']);
  });

  test.each([
    ['none', 4],
    ['one', 5],
  ])('all backends are replaced though not all fit beside the old ones: %s is free', (_free, capacity) => {
    const all = rig({ backends: capacity });
    const ends = (first: number): ClusterEvent =>
      added(
        slice(
          'web',
          [0, 1, 2].map((index) => endpoint(`10.0.0.${first + index}`)),
        ),
      );
    step(all, added(service('web', '10.96.0.1')), ends(10));
    const met = new Set<string>();
    all.store.onStep = () => {
      const found = all.store.lookup(key('10.96.0.1', 80));
      met.add(found?.backends.length === 0 ? (found?.whenEmpty ?? 'nobody') : (found?.backends.join() ?? 'nobody'));
    };
    expect(step(all, ends(20))).toMatchObject({ isSettled: true, waiting: [], failures: [] });
    const [old, all3] = [10, 20].map((first) => [0, 1, 2].map((index) => `10.0.0.${first + index}:8080`).join());
    const between = capacity === 4 ? 'drop' : '10.0.0.20:8080';
    expect([...met]).toEqual([old, between, all3]);
    expect(all.store.liveBackends()).toHaveLength(3);
  });

  const endsOf = (name: string, from: number, count: number): ClusterEvent =>
    added(
      slice(
        name,
        Array.from({ length: count }, (_, index) => endpoint(`10.0.${from}.${index}`)),
      ),
    );

  test('an address is not owned before what has to wait for room on it', () => {
    const all = rig({ backends: 6 });
    step(all, added(service('a', '10.96.0.1')), endsOf('a', 1, 4));
    const met = new Set<boolean>();
    all.store.onStep = () => {
      if (all.store.lookup(whole('10.96.0.2')) !== undefined)
        met.add(all.store.lookup(key('10.96.0.2', 80)) !== undefined);
    };
    step(all, endsOf('a', 1, 1), added(service('b', '10.96.0.2')), endsOf('b', 2, 4));
    expect(all.failures).toEqual([]);
    expect([...met]).toEqual([true]);
    all.store.onStep = () => undefined;
    step(all, added(service('c', '10.96.0.3')), endsOf('c', 3, 4));
    expect(all.failures.length, 'there is never room for the third').toBe(1);
    expect(all.store.lookup(whole('10.96.0.3'))).toMatchObject({ whenEmpty: 'refuse' });
  });

  test('a frontend that passes to a Service without room stays with the one that has it until there is', () => {
    const all = rig({ backends: 12 });
    step(all, added(service('a', '10.96.0.1')), added(service('b', '10.96.0.2')), added(service('c', '10.96.0.3')));
    step(all, endsOf('a', 1, 2), endsOf('b', 2, 2), endsOf('c', 3, 6));
    const met = new Set<number>();
    all.store.onStep = () => {
      for (const last of [1, 2]) met.add(all.store.lookup(key(`10.96.0.${last}`, 80))?.backends.length ?? 0);
    };
    const swapped = [service('a', '10.96.0.2'), service('b', '10.96.0.1')].map(added);
    expect(step(all, ...swapped, endsOf('a', 4, 6), endsOf('c', 3, 1))).toMatchObject({ isSettled: true });
    expect(met).toEqual(new Set([2, 6]));
  });

  test('two Services that change places in a full map', () => {
    const all = rig({ backends: 6 });
    step(all, added(service('a', '10.96.0.1')), added(service('b', '10.96.0.2')), endsOf('a', 1, 1), endsOf('b', 2, 4));
    expect(step(all, endsOf('a', 3, 4), endsOf('b', 4, 1))).toMatchObject({ isSettled: true, failures: [] });
    expect(all.store.lookup(key('10.96.0.1', 80))?.backends).toHaveLength(4);
    expect(all.store.lookup(key('10.96.0.2', 80))?.backends).toEqual(['10.0.4.0:8080']);
  });

  test('what would not fit alone either stays as it was, and says so', () => {
    const all = rig({ backends: 4 });
    step(all, added(service('web', '10.96.0.1')), added(slice('web', four.slice(0, 2))));
    const others = ['6', '7', '8', '9'].map((last) => endpoint(`10.0.0.${last}`));
    expect(step(all, added(slice('web', others)))).toMatchObject({ isSettled: false, waiting: ['shop/web:http/TCP'] });
    expect(all.store.lookup(key('10.96.0.1', 80))?.backends).toEqual(['10.0.0.1:8080', '10.0.0.2:8080']);
  });

  test('in a full map of rows every Service can still change', () => {
    const all = rig({ services: 32 });
    const names = Array.from({ length: 14 }, (_, index) => index);
    const ends = (last: number): ClusterEvent[] =>
      names.map((index) => added(slice(`s${index}`, [endpoint(`10.0.${index}.${last}`)])));
    step(all, ...names.map((index) => added(service(`s${index}`, `10.96.0.${index}`))), ...ends(1));
    expect(step(all, added(service('more', '10.96.1.1'))).failures.map(({ message }) => message)).toEqual([
      'map-full: address 10.96.1.1:0/0 needs 1 more, 0 of 29 are left',
    ]);
    step(all, deleted(service('more', '10.96.1.1')));
    expect(step(all, ...ends(2))).toMatchObject({ isSettled: true, failures: [] });
  });

  test('a Service moves to another address where no more frontends fit', () => {
    const all = rig({ frontends: 2 });
    step(all, added(service('web', '10.96.0.1')), added(slice('web', four)));
    expect(step(all, added(service('web', '10.96.0.2')))).toMatchObject({ isSettled: true });
    expect(all.store.lookup(key('10.96.0.2', 80))?.backends).toHaveLength(4);
  });

  test('a Service that keeps one of its addresses changes the other one where no more frontends fit', () => {
    const store = new MemoryStore({ frontends: 3 });
    const loop = start(store, NODE);
    const web = (external: string): ClusterEvent => added(service('web', '10.96.0.1', { externalIPs: [external] }));
    tell(loop, [...EMPTY_LISTS, web('192.0.2.1'), added(slice('web', four))]);
    expect(loop.step()).toMatchObject({ isSettled: true });
    tell(loop, [web('192.0.2.2')]);
    expect(loop.step()).toMatchObject({ isSettled: true });
    expect(store.keys()).toHaveLength(3);
    for (const address of ['10.96.0.1', '192.0.2.2']) expect(store.lookup(key(address, 80))?.backends).toHaveLength(4);
  });
});
