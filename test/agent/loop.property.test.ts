// SPDX-License-Identifier: Apache-2.0
/** Laws of the loop over random histories: equal ends, valid in between, no harm from failures and restarts. */
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { createLoop, type Loop } from '../../agent/loop.ts';
import type { Port, Protocol } from '../../core/address.ts';
import { canonical } from '../../core/control/canonical.ts';
import { classifierCovers } from '../../core/control/classifier.ts';
import type { FrontendKeyRecord } from '../../core/layout.gen.ts';
import type { ClusterEvent, EndpointSliceObject, ServiceObject } from '../../core/objects.ts';
import { keyText, MemoryStore, type Answer } from '../core/control/memory.ts';
import { added, deleted, endpoint, NODE, service, slice, tell } from '../core/control/objects.ts';

type World = { readonly services: readonly ServiceObject[]; readonly slices: readonly EndpointSliceObject[] };

const ADDRESSES = ['10.96.0.1', '10.96.0.2', '10.96.0.3'];
const NAMES = ['a', 'b', 'c'];

const endpointArbitrary = fc
  .record({
    last: fc.integer({ min: 1, max: 5 }),
    ready: fc.boolean(),
    terminating: fc.boolean(),
    serving: fc.boolean(),
    node: fc.constantFrom('node-a', 'node-b'),
    pod: fc.constantFrom('', 'p', 'q'),
    zone: fc.constantFrom(undefined, ['z1'], ['z2']),
  })
  .map(({ last, zone, ...options }) =>
    endpoint(`10.0.0.${last}`, { ...options, ...(zone === undefined ? {} : { forZones: zone }) }),
  );

const serviceArbitrary = fc
  .record({
    name: fc.constantFrom(...NAMES),
    address: fc.constantFrom(...ADDRESSES),
    policy: fc.constantFrom('Cluster', 'Local'),
    ports: fc.constantFrom([80], [81], [80, 81]),
    affinity: fc.constantFrom('None', 'ClientIP'),
  })
  .map(({ name, address, policy, ports, affinity }) =>
    service(name, address, {
      internalTrafficPolicy: policy,
      sessionAffinity: affinity,
      ports: ports.map((port) => ({ name: port === 80 ? 'http' : 'admin', port })),
    }),
  );

const sliceArbitrary = fc
  .record({
    slice: fc.constantFrom('s1', 's2', 's3', 's4'),
    of: fc.constantFrom(...NAMES),
    endpoints: fc.array(endpointArbitrary, { maxLength: 5 }),
    admin: fc.constantFrom(8081, 9091),
  })
  .map(({ slice: name, of, endpoints, admin }) =>
    slice(of, endpoints, {
      slice: name,
      ports: [
        { name: 'http', port: 8080 },
        { name: 'admin', port: admin },
      ],
    }),
  );

const byName = (object: ServiceObject | EndpointSliceObject): string => object.metadata?.name ?? '';

const worldArbitrary: fc.Arbitrary<World> = fc.record({
  services: fc.uniqueArray(serviceArbitrary, { selector: byName, maxLength: 3 }),
  slices: fc.uniqueArray(sliceArbitrary, { selector: byName, maxLength: 4 }),
});

function lists({ services, slices }: World): ClusterEvent[] {
  return [
    { type: 'LISTED', kind: 'Service', items: services },
    { type: 'LISTED', kind: 'EndpointSlice', items: slices },
  ];
}

/** Single events that lead from one world to another, in the order of the given numbers, some of them twice. */
function changes(before: World, after: World, order: readonly number[]): ClusterEvent[] {
  const gone = <T extends ServiceObject | EndpointSliceObject>(old: readonly T[], now: readonly T[]): T[] =>
    old.filter((object) => now.every((other) => byName(other) !== byName(object)));
  const events = [
    ...gone(before.services, after.services).map(deleted),
    ...gone(before.slices, after.slices).map(deleted),
    ...after.services.map(added),
    ...after.slices.map(added),
  ];
  const shuffled = events
    .map((event, index) => ({ event, place: order[index % order.length] ?? 0 }))
    .sort((a, b) => a.place - b.place);
  return shuffled.flatMap(({ event, place }) => (place % 3 === 0 ? [event, event] : [event]));
}

function start(store: MemoryStore): Loop {
  return createLoop({ store, node: NODE, onProblem: () => undefined });
}

function text(store: MemoryStore): string {
  const result = canonical(store);
  if (!result.ok) throw new Error(result.error.message);
  return result.value;
}

/** Maps made from a world at once. */
function fresh(world: World): MemoryStore {
  const store = new MemoryStore();
  const loop = start(store);
  tell(loop, lists(world));
  expect(loop.step().isSettled).toBe(true);
  return store;
}

/** What the datapath answers: the exact row, else that of the whole address. */
function answer(store: MemoryStore, key: FrontendKeyRecord): Answer | undefined {
  return store.lookup(key) ?? store.lookup({ ...key, port: 0 as Port, protocol: 0 as Protocol });
}

const orderArbitrary = fc.array(fc.nat(100), { minLength: 3, maxLength: 12 });
const historyArbitrary = fc.array(fc.record({ world: worldArbitrary, order: orderArbitrary }), {
  minLength: 1,
  maxLength: 5,
});
const RUNS = { numRuns: 150 };
const EMPTY: World = { services: [], slices: [] };

test('maps are a function of the last list, whatever happened before and in whatever order', () => {
  fc.assert(
    fc.property(historyArbitrary, fc.boolean(), (history, isRelisted) => {
      const store = new MemoryStore();
      const loop = start(store);
      tell(loop, lists(EMPTY));
      let before = EMPTY;
      for (const { world, order } of history) {
        for (const [index, event] of changes(before, world, order).entries()) {
          loop.event(event);
          if ((order[index % order.length] ?? 0) % 2 === 0) loop.step();
        }
        if (isRelisted) tell(loop, lists(world));
        before = world;
        expect(loop.step().isSettled).toBe(true);
        expect(text(store)).toBe(text(fresh(world)));
        expect(classifierCovers(store)).toEqual({ ok: true, value: true });
        expect(store.strayBackends()).toEqual([]);
      }
    }),
    RUNS,
  );
});

test('between any two writes every frontend answers as before or as after', () => {
  fc.assert(
    fc.property(historyArbitrary, fc.constantFrom({}, { slots: 24, backends: 40, services: 16 }), (history, sizes) => {
      const store = new MemoryStore(sizes);
      const loop = start(store);
      tell(loop, lists(EMPTY));
      for (const { world } of history) {
        const after = fresh(world);
        const keys = new Map([...store.keys(), ...after.keys()].map((key) => [keyText(key), key]));
        const permitted = new Map(
          [...keys].map(([name, key]) => [
            name,
            [answer(store, key), answer(after, key)].map((each) => JSON.stringify(each)),
          ]),
        );
        store.onStep = () => {
          for (const [name, key] of keys)
            expect(permitted.get(name), name).toContain(JSON.stringify(answer(store, key)));
        };
        tell(loop, lists(world));
        expect(loop.step().isSettled).toBe(true);
        expect(text(store)).toBe(text(after));
      }
    }),
    RUNS,
  );
});

test('a failure at any write, or a restart after it, loses nothing', () => {
  const faults = fc.array(fc.record({ failAt: fc.nat(40), isRestarted: fc.boolean() }), { maxLength: 3 });
  fc.assert(
    fc.property(fc.array(fc.record({ world: worldArbitrary, faults }), { minLength: 1, maxLength: 4 }), (history) => {
      const store = new MemoryStore();
      let loop = start(store);
      for (const { world, faults: posed } of history) {
        tell(loop, lists(world));
        for (const { failAt, isRestarted } of posed) {
          store.failAt = failAt;
          loop.step();
          if (!isRestarted) continue;
          loop = start(store);
          tell(loop, lists(world));
        }
        store.failAt = Number.POSITIVE_INFINITY;
        expect(loop.step()).toMatchObject({ isSettled: true, waiting: [] });
        expect(text(store)).toBe(text(fresh(world)));
        // What nothing names any more is withdrawn, also what a crash left behind.
        expect(store.strayBackends()).toEqual([]);
        expect(loop.resync()).toMatchObject({ isSettled: true });
        expect(text(store)).toBe(text(fresh(world)));
      }
    }),
    RUNS,
  );
});
