// SPDX-License-Identifier: Apache-2.0
/** Whatever somebody else wrote into any row of the maps, a resync brings them back to what is wanted, and leaves no rest. */
import { expect, test } from 'vitest';
import { addressText, port, UDP } from '../../core/address.ts';
import {
  maps,
  type BackendRecord,
  type FrontendKeyRecord,
  type ServiceRecord,
  type SlotPairRecord,
} from '../../core/layout.gen.ts';
import { setOperation, type Operation } from '../../core/store.ts';
import { MemoryStore } from '../core/control/memory.ts';
import { added, EMPTY_LISTS, endpoint, NODE, service, slice, tell } from '../core/control/objects.ts';
import { start, text } from './worlds.ts';

const CONFIG = { ...NODE, nodeIPs: [] };

/** Two Services with several backends and two views each, one with source ranges. */
const EVENTS = [
  ...EMPTY_LISTS,
  added({
    ...service('web', '10.96.0.1', {
      type: 'LoadBalancer',
      externalTrafficPolicy: 'Local',
      loadBalancerSourceRanges: ['203.0.113.0/24', '198.51.100.0/24'],
    }),
    status: { loadBalancer: { ingress: [{ ip: '192.0.2.1' }] } },
  }),
  added(
    slice(
      'web',
      [1, 2, 3].map((last) => endpoint(`10.0.0.${last}`, last === 1 ? { node: 'node-a' } : {})),
    ),
  ),
  added(service('api', '10.96.0.2')),
  added(slice('api', [endpoint('10.0.1.1'), endpoint('10.0.1.2')])),
];

function rowsOf(store: MemoryStore): {
  readonly slots: readonly (readonly [number, SlotPairRecord])[];
  readonly backends: readonly (readonly [number, BackendRecord])[];
  readonly services: readonly (readonly [number, ServiceRecord])[];
  readonly frontends: readonly (readonly [FrontendKeyRecord, number])[];
} {
  const [slots, backends] = [store.entries(maps.slots), store.entries(maps.backends)];
  const [services, frontends] = [store.entries(maps.services), store.entries(maps.frontends)];
  if (!slots.ok || !backends.ok || !services.ok || !frontends.ok) throw new Error('a store in memory can be read');
  return { slots: slots.value, backends: backends.value, services: services.value, frontends: frontends.value };
}

/** Every row with each of its words wrong in some way. */
function damages(store: MemoryStore): (readonly [string, Operation])[] {
  const { slots, backends, services, frontends } = rowsOf(store);
  const ids = backends.map(([id]) => id);
  const found: (readonly [string, Operation])[] = [];
  for (const [place, { backends: pair }] of slots) {
    for (const id of [0, 60_000, ...ids]) {
      found.push([`slot ${place * 2} names ${id}`, setOperation(maps.slots, place, { backends: [id, pair[1]] })]);
      found.push([`slot ${place * 2 + 1} names ${id}`, setOperation(maps.slots, place, { backends: [pair[0], id] })]);
    }
  }
  for (const [id, record] of backends) {
    const wrong: readonly Partial<BackendRecord>[] = [
      { servicePort: 0 },
      { servicePort: 77 },
      { live: 0 },
      { protocol: UDP },
      { port: port(9) },
      { identity: [1, 2] },
    ];
    for (const part of [...wrong, ...backends.map(([, { servicePort }]) => ({ servicePort }))])
      found.push([
        `backend ${id} with ${JSON.stringify(part)}`,
        setOperation(maps.backends, id, { ...record, ...part }),
      ]);
  }
  for (const [row, record] of services) {
    const [internal, external] = record.views;
    const wide = { ...internal, tableSize: internal.tableSize + 1, count: internal.count + 1 };
    const far = { ...internal, firstSlot: 1 << 20, tableSize: 4 };
    const wrong: readonly Partial<ServiceRecord>[] = [
      ...[wide, far, external].map((view) => ({ views: [view, external] }) as const),
      ...[0, 1, 2, 60_000].map((servicePort) => ({ servicePort })),
      { nameHash: [1, 2] },
      { flags: record.flags ^ 0xff },
      { sourceRanges: record.sourceRanges === 0 ? 9 : 0 },
    ];
    for (const part of wrong)
      found.push([`row ${row} with ${JSON.stringify(part)}`, setOperation(maps.services, row, { ...record, ...part })]);
  }
  for (const [key] of frontends)
    for (const [, row] of frontends)
      found.push([`a frontend of port ${key.port} at row ${row}`, setOperation(maps.frontends, key, row)]);
  return found;
}

/** The slots of the Service on 10.96.0.2 one further than they are, and its row with them: blocks begin at even slots. */
function shifted(store: MemoryStore): readonly Operation[] {
  const { services } = rowsOf(store);
  const [row, record] =
    services.find(([, { key }]) => addressText(key.address) === '10.96.0.2') ?? expect.unreachable();
  const [{ firstSlot, tableSize }, external] = record.views;
  const pair = store.get(maps.slots, firstSlot >> 1);
  if (!pair.ok || pair.value === undefined) throw new Error('the Service has slots');
  const [first, second] = pair.value.backends;
  expect([firstSlot % 2, tableSize]).toEqual([0, 2]);
  const view = { ...record.views[0], firstSlot: firstSlot + 1 };
  return [
    setOperation(maps.slots, firstSlot >> 1, { backends: [0, first] }),
    setOperation(maps.slots, (firstSlot >> 1) + 1, { backends: [second, 0] }),
    setOperation(maps.services, row, { ...record, views: [view, external] }),
  ];
}

test('any row that is wrong in one way is repaired, and the maps can be changed as before', { timeout: 60_000 }, () => {
  const make = (): { readonly store: MemoryStore; readonly loop: ReturnType<typeof start> } => {
    const store = new MemoryStore();
    const loop = start(store, CONFIG);
    tell(loop, EVENTS);
    expect(loop.step().isSettled).toBe(true);
    return { store, loop };
  };
  const good = text(make().store);
  const wrong: (readonly [string, readonly Operation[]])[] = damages(make().store).map(([name, one]) => [name, [one]]);
  wrong.push(['a block at an odd slot', shifted(make().store)]);
  expect(wrong.length).toBeGreaterThan(100);
  for (const [name, operations] of wrong) {
    const { store, loop } = make();
    for (const operation of operations) store.damage(operation);
    expect(loop.resync().isSettled, name).toBe(true);
    expect(text(store), name).toBe(good);
    expect([store.strayBackends(), store.strayRanges()], name).toEqual([[], []]);
    tell(loop, [...EMPTY_LISTS]);
    expect(loop.step().isSettled, name).toBe(true);
    expect([store.keys(), [...store.liveBackends()]], name).toEqual([[], []]);
  }
});
