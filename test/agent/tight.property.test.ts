// SPDX-License-Identifier: Apache-2.0
/** Laws of the loop where maps are too small: told by name, nothing lost, and room again afterwards. */
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Loop } from '../../agent/loop.ts';
import type { FrontendKeyRecord } from '../../core/layout.gen.ts';
import type { NodeConfig } from '../../core/service.ts';
import { keyText, MemoryStore, type Sizes } from '../core/control/memory.ts';
import { added, endpoint, node, NODE, service, slice, tell } from '../core/control/objects.ts';
import { isFull } from '../full.ts';
import {
  configArbitrary,
  EMPTY_WORLD,
  expectTidy,
  fresh,
  lists,
  start,
  text,
  worldArbitrary,
  type World,
} from './worlds.ts';

const TIGHT: readonly Sizes[] = [
  { source_ranges: 2 },
  { source_ranges: 4 },
  { node_addresses: 1 },
  { node_addresses: 2, source_ranges: 3 },
  { services: 8 },
  { slots: 6 },
  { backends: 5 },
  { frontends: 6 },
  { frontends: 6, source_ranges: 2 },
  { services: 8, source_ranges: 2 },
];

/** Fits any of the sizes above. */
const SMALL: World = {
  ...EMPTY_WORLD,
  Service: [
    {
      ...service('z', '10.96.0.9', { loadBalancerSourceRanges: ['10.0.0.0/8', '172.16.0.0/12'] }),
      status: { loadBalancer: { ingress: [{ ip: '198.51.100.9' }] } },
    },
  ],
  EndpointSlice: [slice('z', [endpoint('10.0.0.9')])],
};

type Rig = { readonly store: MemoryStore; readonly config: NodeConfig; loop: Loop };

/** A write fails before the step that counts, and the process may end with it. */
type Fault = { readonly failAt: number; readonly isRestarted: boolean };

/** Brings the maps to a world as far as it fits; returns whether something didn't. */
function stepTo(rig: Rig, world: World, fault: Fault | undefined): boolean {
  const { store, config } = rig;
  const before = new Map(store.keys().map((key) => [keyText(key), store.lookup(key)?.owner]));
  const after = fresh(world, config);
  watchRanges(store, after);
  tell(rig.loop, lists(world));
  if (fault !== undefined) {
    store.failAt = fault.failAt;
    rig.loop.step();
    store.failAt = Number.POSITIVE_INFINITY;
    if (fault.isRestarted) rig.loop = start(store, config);
    if (fault.isRestarted) tell(rig.loop, lists(world));
  }
  const { failures, isSettled, waiting } = rig.loop.step();
  expect(isSettled).toBe(failures.length === 0);
  expect(waiting.length).toBeGreaterThanOrEqual(failures.length);
  expect(store.strayRanges()).toEqual([]);
  if (isSettled) {
    expect(text(store)).toBe(text(after));
    // Where something waits, its backends do too, also where others took its frontends.
    expectTidy(store);
    return false;
  }
  for (const { kind, object, message } of failures) {
    expect([kind, Object.keys(store.sizes).includes(object)]).toEqual(['limit', true]);
    expect(message).toMatch(/^map-full: (shop\/\S+|address \S+|this node) needs \d+ more, \d+ of \d+ are left$/);
  }
  // What passes to another owner may end to make room for it.
  const stays = after.keys().filter((key) => before.get(keyText(key)) === after.lookup(key)?.owner);
  expect(stays.filter((key) => store.lookup(key) === undefined).map(keyText), 'lost').toEqual([]);
  return true;
}

const LAW = 'what does not fit is told by name, what is programmed stays, and everything fits again';

test(`${LAW}; also where writes fail and the process ends`, { timeout: 600_000 }, () => {
  const fault = fc.option(fc.record({ failAt: fc.nat(60), isRestarted: fc.boolean() }), { nil: undefined });
  const worlds = fc.array(fc.record({ world: worldArbitrary(), fault }), { minLength: 1, maxLength: 6 });
  let short = 0;
  fc.assert(
    fc.property(fc.constantFrom(...TIGHT), worlds, configArbitrary, (sizes, history, config) => {
      const store = new MemoryStore(sizes);
      const rig: Rig = { store, config, loop: start(store, config) };
      tell(rig.loop, lists(EMPTY_WORLD));
      for (const { world, fault: posed } of history) if (stepTo(rig, world, posed)) short += 1;
      expectRoomAgain(store, rig.loop, config);
    }),
    { numRuns: isFull ? 1000 : 80 },
  );
  expect(short).toBeGreaterThan(10);
});

/** Whoever is let in before and after is let in all the time, also where a map cannot hold both. */
function watchRanges(store: MemoryStore, after: MemoryStore): void {
  const names = (key: FrontendKeyRecord): (string | undefined)[] =>
    [store, after].map((each) => JSON.stringify(each.lookup(key)?.ranges));
  const permitted = new Map([...store.keys(), ...after.keys()].map((key) => [keyText(key), names(key)]));
  store.onStep = () => {
    for (const key of store.keys())
      expect(permitted.get(keyText(key)), keyText(key)).toContain(JSON.stringify(store.lookup(key)?.ranges));
  };
}

function expectRoomAgain(store: MemoryStore, loop: Loop, config: NodeConfig): void {
  store.onStep = () => undefined;
  tell(loop, lists(EMPTY_WORLD));
  const emptied = loop.step();
  // The node's own addresses, as configured, may never have fitted: that alone still fails.
  const own = config.nodeIPs.length;
  expect(emptied.failures.filter(({ object }) => object !== 'node_addresses' || own === 0)).toEqual([]);
  expect(store.keys()).toEqual([]);
  expect(store.liveBackends()).toEqual(new Map());
  expectTidy(store);
  // Twice: the first flushes what cools.
  loop.step();
  tell(loop, lists(SMALL));
  const { failures } = loop.step();
  expect(failures.filter(({ object }) => object !== 'node_addresses')).toEqual([]);
  const isLine = (line: string): boolean => !line.startsWith('node ');
  const both = [store, fresh(SMALL, config)].map((each) => text(each).split('\n').filter(isLine));
  expect(both[0]).toEqual(both[1]);
}

test('a set of ranges that has no room is told with the Service port, and comes as soon as another one went', () => {
  const store = new MemoryStore({ source_ranges: 2 });
  const told: string[] = [];
  const loop = start(store, NODE, told);
  const web = (name: string, last: number, ranges: readonly string[]): ReturnType<typeof service> => ({
    ...service(name, `10.96.0.${last}`, { loadBalancerSourceRanges: ranges }),
    status: { loadBalancer: { ingress: [{ ip: `198.51.100.${last}` }] } },
  });
  tell(loop, lists({ ...EMPTY_WORLD, Service: [web('a', 1, ['10.0.0.0/8']), web('b', 2, ['10.0.0.0/8'])] }));
  expect(loop.step()).toMatchObject({ isSettled: true });
  tell(loop, [added(web('c', 3, ['192.0.2.0/24', '203.0.113.0/24']))]);
  const before = text(store);
  expect(loop.step()).toMatchObject({ isSettled: false, waiting: ['shop/c:http/TCP'] });
  expect(told).toEqual(['source_ranges: map-full: shop/c:http/TCP needs 2 more, 1 of 2 are left']);
  // The rest of its address is refused already; nobody else notices.
  expect(
    text(store)
      .split('\n')
      .filter((line) => !line.startsWith('10.96.0.3:0/0')),
  ).toEqual(before.split('\n'));
  tell(loop, [added(web('a', 1, [])), added(web('b', 2, []))]);
  expect(loop.step()).toMatchObject({ isSettled: true, waiting: [] });
  expect(text(store)).toContain('ranges=[192.0.2.0/24 203.0.113.0/24]');
});

test('addresses of this node that have no room leave those that are programmed, and come when they fit', () => {
  const store = new MemoryStore({ node_addresses: 1 });
  const told: string[] = [];
  const loop = start(store, { ...NODE, nodeIPs: [] }, told);
  const ofNode = (...addresses: readonly string[]): ReturnType<typeof node> => node('node-a', 'z1', addresses);
  tell(loop, [...lists(EMPTY_WORLD), added(ofNode('192.0.2.10'))]);
  expect(loop.step()).toMatchObject({ isSettled: true });
  const one = store.nodeAddresses();
  expect([...one.keys()]).toEqual(['192.0.2.10']);
  tell(loop, [added(ofNode('192.0.2.11', '192.0.2.12'))]);
  expect(loop.step()).toMatchObject({ isSettled: false, waiting: ['node addresses'] });
  expect(told).toEqual(['node_addresses: map-full: this node needs 2 more, 1 of 1 are left']);
  expect(store.nodeAddresses()).toEqual(one);
  tell(loop, [added(ofNode('192.0.2.12'))]);
  expect(loop.step()).toMatchObject({ isSettled: true, waiting: [] });
  expect([...store.nodeAddresses().keys()]).toEqual(['192.0.2.12']);
});
