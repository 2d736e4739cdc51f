// SPDX-License-Identifier: Apache-2.0
/** Sets of source ranges in the maps: shared, complete whenever a row names them, and their room used again. */
import { describe, expect, test } from 'vitest';
import { createLoop, type Loop } from '../../../agent/loop.ts';
import { port, TCP } from '../../../core/address.ts';
import { canonical } from '../../../core/control/canonical.ts';
import { emptyDesired, ownedFrontends, updateDesired } from '../../../core/control/claims.ts';
import { applyEvent, emptyCluster, everyOwner } from '../../../core/control/cluster.ts';
import { diff } from '../../../core/control/entries.ts';
import { emptyImage, type MapImage } from '../../../core/control/image.ts';
import { createRanges, forgetUnused, rangeKey } from '../../../core/control/ranges.ts';
import { idPool } from '../../../core/control/space.ts';
import type { WantedPort } from '../../../core/control/wanted.ts';
import { maps, SOURCE_RANGE_ALLOW, type FrontendKeyRecord } from '../../../core/layout.gen.ts';
import type { ServiceObject } from '../../../core/objects.ts';
import type { NodeConfig } from '../../../core/service.ts';
import { deleteOperation, setOperation } from '../../../core/store.ts';
import { address, range, web } from './balancer.ts';
import { MemoryStore } from './memory.ts';
import { added, deleted, EMPTY_LISTS, endpoint, NODE, service, slice, tell } from './objects.ts';

type Rig = { readonly store: MemoryStore; readonly loop: Loop };

function rig(store: MemoryStore = new MemoryStore(), config: Partial<NodeConfig> = {}): Rig {
  const loop = createLoop({ store, node: { ...NODE, ...config }, whyNot: () => undefined, onProblem: () => undefined });
  tell(loop, EMPTY_LISTS);
  return { store, loop };
}

function step({ loop }: Rig, ...events: Parameters<typeof tell>[1]): void {
  tell(loop, events);
  expect(loop.step()).toMatchObject({ isSettled: true });
}

const vip = (last: number): FrontendKeyRecord => ({
  address: address(`198.51.100.${last}`),
  port: port(80),
  protocol: TCP,
});

/** Numbers of the sets in the map, and how many ranges each has. */
function sets(store: MemoryStore): Map<number, number> {
  const entries = store.entries(maps.sourceRanges);
  if (!entries.ok) throw new Error(entries.error.message);
  expect(entries.value.every(([, rule]) => rule === SOURCE_RANGE_ALLOW)).toBe(true);
  return new Map([...Map.groupBy(entries.value, ([{ set }]) => set)].map(([set, keys]) => [set, keys.length]));
}

function text(store: MemoryStore): string {
  const result = canonical(store);
  if (!result.ok) throw new Error(result.error.message);
  return result.value;
}

test('where the numbers of sets are used up, the Service that needs one more is told, and one that shares is served', () => {
  const store = new MemoryStore();
  const image: MapImage = { ...emptyImage(store), rangeIds: idPool(2, 0) };
  const wanted = (services: readonly ServiceObject[]): WantedPort[] => {
    let cluster = emptyCluster();
    for (const object of services) cluster = applyEvent(cluster, added(object)).state;
    const desired = emptyDesired();
    const { ports } = updateDesired(desired, cluster, NODE, everyOwner(cluster));
    return [...ports].map((name) => ({ name, frontends: ownedFrontends(desired, name) }));
  };
  const services = [web('a', 1, ['10.0.0.0/8']), web('b', 2, ['203.0.113.0/24']), web('c', 3, ['10.0.0.0/8'])];
  const { failures, operations, remaining } = diff(image, {
    ports: wanted(services),
    addresses: [],
    isComplete: false,
  });
  expect(failures).toEqual([
    {
      kind: 'limit',
      object: 'source_ranges',
      message: 'map-full: shop/b:http/TCP needs a set of ranges of its own, all 1 are taken',
      remedy: 'Services with equal ranges share one; what is programmed stays',
    },
  ]);
  expect(remaining.ports.map(({ name }) => name)).toEqual(['shop/b:http/TCP']);
  expect(store.batch(operations).result.ok).toBe(true);
  expect([1, 2, 3].map((last) => store.lookup(vip(last))?.ranges)).toEqual([['10.0.0.0/8'], undefined, ['10.0.0.0/8']]);
});

describe('sets in the maps', () => {
  test('Services with equal sets share one, until the last of them has gone', () => {
    const all = rig();
    step(
      all,
      added(web('a', 1, ['10.0.0.0/8', '203.0.113.0/24'])),
      added(web('b', 2, ['203.0.113.9/24', '10.0.0.0/8'])),
    );
    expect([...sets(all.store).values()]).toEqual([2]);
    step(all, deleted(web('a', 1, undefined)));
    expect([...sets(all.store).values()]).toEqual([2]);
    expect(all.store.lookup(vip(2))?.ranges).toEqual(['10.0.0.0/8', '203.0.113.0/24']);
    step(all, deleted(web('b', 2, undefined)));
    expect(sets(all.store)).toEqual(new Map());
  });

  test('a changed list is another set: the old one stays whole until nobody reads it', () => {
    const all = rig();
    step(all, added(web('a', 1, ['10.0.0.0/8', '203.0.113.0/24'])), added(slice('a', [endpoint('10.0.0.1')])));
    const [before] = sets(all.store).keys();
    const met = new Set<string>();
    const names: string[] = [];
    all.store.onStep = (operation) => {
      if (operation.op !== 'barrier') names.push(`${operation.op} ${operation.map.name}`);
      else names.push('barrier');
      met.add(String(all.store.lookup(vip(1))?.ranges));
      expect(all.store.permits(vip(1), address('10.1.1.1'))).toBe(true);
      expect(all.store.permits(vip(1), address('172.16.0.1'))).toBe(false);
    };
    step(all, added(web('a', 1, ['10.0.0.0/8', '198.18.0.0/15'])));
    expect([...met]).toEqual(['10.0.0.0/8,203.0.113.0/24', '10.0.0.0/8,198.18.0.0/15']);
    expect(names).toEqual([
      'set source_ranges',
      'set source_ranges',
      'set services',
      'set frontends',
      'barrier',
      'delete source_ranges',
      'delete source_ranges',
    ]);
    expect([...sets(all.store).keys()]).not.toContain(before);
  });

  test('numbers of sets are used again', () => {
    const all = rig();
    for (let turn = 0; turn < 20; turn += 1) {
      step(all, added(web('a', 1, [`10.${turn}.0.0/16`])), added(web('b', 2, [`10.${turn}.0.0/16`, '203.0.113.0/24'])));
      expect(Math.max(...sets(all.store).keys())).toBeLessThanOrEqual(4);
    }
  });

  test('a Service that does not fit leaves no set behind', () => {
    // Its set is made before the row for which there is no room.
    const all = rig(new MemoryStore({ frontends: 2, source_ranges: 2 }));
    tell(all.loop, [added(web('a', 1, ['10.0.0.0/8', '172.16.0.0/12']))]);
    expect(all.loop.step().failures.map(({ object }) => object)).toContain('frontends');
    expect(sets(all.store)).toEqual(new Map());
    const ranges = ['10.0.0.0/8', '203.0.113.0/24'].map(range);
    const image = emptyImage(new MemoryStore({ frontends: 1, source_ranges: 2 }));
    const two = createRanges(image, ranges);
    expect([two?.references, image.rangesHeld, image.rangeSets.size]).toEqual([0, 2, 1]);
    forgetUnused(image);
    expect([image.rangesHeld, image.rangeSets.size, createRanges(image, ranges)?.id]).toEqual([0, 0, two?.id]);
  });

  test.each([
    ['the row that names it', ['10.96.0.7', '10.96.0.8']],
    ['a row after it', []],
  ])('room that was taken for a Service that then did not fit is given back: short is %s', (_, others) => {
    const all = rig(new MemoryStore({ frontends: 3, source_ranges: 2 }));
    const before = others.map((clusterIP, index) => service(`y${index}`, clusterIP));
    tell(all.loop, [...before.map(added), added(web('a', 1, ['10.0.0.0/8', '172.16.0.0/12']))]);
    expect(all.loop.step().failures.map(({ object }) => object)).toContain('frontends');
    tell(all.loop, [...before.map(deleted), deleted(web('a', 1, undefined))]);
    all.loop.step();
    const small = service('z', '10.96.0.9', { loadBalancerSourceRanges: ['198.18.0.0/15', '203.0.113.0/24'] });
    step(all, added({ ...small, status: { loadBalancer: { ingress: [{ ip: '198.51.100.9' }] } } }));
    expect(all.store.lookup(vip(9))?.ranges).toEqual(['198.18.0.0/15', '203.0.113.0/24']);
  });

  test('after a restart a set that two rows share ends with the second of them', () => {
    const all = rig();
    const [a, b] = [web('a', 1, ['10.0.0.0/8']), web('b', 2, ['10.0.0.0/8'])];
    step(all, added(a), added(b));
    const again = rig(all.store);
    step(again, added(a), added(b));
    step(again, deleted(a));
    expect(all.store.lookup(vip(2))?.ranges).toEqual(['10.0.0.0/8']);
    step(again, deleted(b));
    expect(sets(all.store)).toEqual(new Map());
  });

  test('room of a set that nobody names is free after a restart', () => {
    const all = rig(new MemoryStore({ source_ranges: 2 }));
    const a = web('a', 1, ['10.0.0.0/8']);
    step(all, added(a));
    all.store.damage(setOperation(maps.sourceRanges, rangeKey(999, range('10.0.0.0/8')), SOURCE_RANGE_ALLOW));
    const again = rig(all.store);
    step(again, added(a), added(web('b', 2, ['203.0.113.0/24'])));
    expect([...sets(all.store).values()]).toEqual([1, 1]);
    tell(again.loop, [added(web('c', 3, ['198.18.0.0/15']))]);
    expect(again.loop.step().failures.map(({ message }) => message)).toEqual([
      'map-full: shop/c:http/TCP needs 1 more, 0 of 2 are left',
    ]);
  });

  test('nobody: a set without a range, which a row names all the same', () => {
    const all = rig();
    step(all, added(web('a', 1, ['nonsense'])));
    expect(all.store.lookup(vip(1))?.ranges).toEqual([]);
    expect(all.store.permits(vip(1), address('10.1.1.1'))).toBe(false);
    step(all, added(web('a', 1, undefined)));
    expect(all.store.lookup(vip(1))?.ranges).toBeNull();
    expect(all.store.permits(vip(1), address('10.1.1.1'))).toBe(true);
  });

  test('an address of the node that comes or goes is another set for those whose ranges it lies in', () => {
    const all = rig(new MemoryStore(), { nodeIPs: [] });
    // Without a NodePort: its ranges alone depend on the node.
    const made = web('a', 1, ['192.0.2.0/24']);
    const plain = { ...made, spec: { ...made.spec, ports: [{ name: 'http', port: 80 }] } };
    step(all, added(plain), added(web('b', 2, ['10.0.0.0/8'])));
    expect(all.store.lookup(vip(1))?.ranges).toEqual(['192.0.2.0/24']);
    const addresses = [{ type: 'InternalIP', address: '192.0.2.10' }];
    step(all, added({ kind: 'Node', metadata: { name: 'node-a' }, status: { addresses } }));
    expect(all.store.lookup(vip(1))?.ranges).toEqual(['192.0.2.0/24', '198.51.100.1/32']);
    expect(all.store.lookup(vip(2))?.ranges).toEqual(['10.0.0.0/8']);
    step(all, deleted({ kind: 'Node', metadata: { name: 'node-a' } }));
    expect(all.store.lookup(vip(1))?.ranges).toEqual(['192.0.2.0/24']);
  });

  test('a restart finds the sets again and writes none; a set that nobody names is taken away', () => {
    const all = rig();
    const events = [
      added(web('a', 1, ['10.0.0.0/8'])),
      added(web('b', 2, ['nonsense'])),
      added(web('c', 3, ['10.0.0.0/8'])),
    ];
    step(all, ...events);
    const before = text(all.store);
    const held = sets(all.store);
    all.store.damage(setOperation(maps.sourceRanges, rangeKey(999, range('10.0.0.0/8')), SOURCE_RANGE_ALLOW));
    const names: string[] = [];
    all.store.onStep = (operation) => {
      if (operation.op !== 'barrier') names.push(`${operation.op} ${operation.map.name}`);
    };
    step(rig(all.store), ...events);
    expect(names).toEqual(['delete source_ranges']);
    expect([text(all.store), sets(all.store)]).toEqual([before, held]);
  });

  test('a set that somebody emptied is written anew by a resync', () => {
    const all = rig();
    step(all, added(web('a', 1, ['10.0.0.0/8', '203.0.113.0/24'])));
    const good = text(all.store);
    const [set = 0] = sets(all.store).keys();
    all.store.damage(deleteOperation(maps.sourceRanges, rangeKey(set, range('10.0.0.0/8'))));
    expect(text(all.store)).not.toBe(good);
    expect(all.loop.resync()).toMatchObject({ isSettled: true });
    expect(text(all.store)).toBe(good);
    expect(all.store.strayRanges()).toEqual([]);
  });

  test('two sets of equal ranges in adopted maps: each ends with its own rows', () => {
    const all = rig();
    const [a, b] = [web('a', 1, ['10.0.0.0/8']), web('b', 2, ['203.0.113.0/24'])];
    step(all, added(a), added(b));
    const setOfB = [...sets(all.store).keys()].at(-1) ?? 0;
    all.store.damage(deleteOperation(maps.sourceRanges, rangeKey(setOfB, range('203.0.113.0/24'))));
    all.store.damage(setOperation(maps.sourceRanges, rangeKey(setOfB, range('10.0.0.0/8')), SOURCE_RANGE_ALLOW));
    const again = rig(all.store);
    const same = web('b', 2, ['10.0.0.0/8']);
    step(again, added(a), added(same));
    expect([1, 2].map((last) => all.store.lookup(vip(last))?.ranges)).toEqual([['10.0.0.0/8'], ['10.0.0.0/8']]);
    step(again, deleted(same));
    step(again, added(web('c', 3, ['10.0.0.0/8'])));
    expect([...sets(all.store).values()], 'a and c share one').toEqual([1]);
    step(again, deleted(a), deleted(web('c', 3, undefined)));
    expect(sets(all.store)).toEqual(new Map());
  });
});
