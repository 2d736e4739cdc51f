// SPDX-License-Identifier: Apache-2.0
/** Laws of the loop over random histories: equal ends, valid in between, no harm from failures and restarts. */
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { addressEquals, type Address } from '../../core/address.ts';
import { classifierCovers } from '../../core/control/classifier.ts';
import type { FrontendKeyRecord } from '../../core/layout.gen.ts';
import type { NodeConfig } from '../../core/service.ts';
import type { Operation } from '../../core/store.ts';
import { keyText, MemoryStore, type Sizes } from '../core/control/memory.ts';
import { tell } from '../core/control/objects.ts';
import { isFull } from '../full.ts';
import {
  answer,
  changes,
  CLIENTS,
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

const orderArbitrary = fc.array(fc.nat(100), { minLength: 3, maxLength: 12 });
const historyArbitrary = fc.array(fc.record({ world: worldArbitrary(), order: orderArbitrary }), {
  minLength: 1,
  maxLength: 5,
});
const RUNS = { numRuns: isFull ? 1500 : 60 };
const LONG_MS = 600_000;

test(
  'maps are a function of the last list, whatever happened before and in whatever order',
  { timeout: LONG_MS },
  () => {
    fc.assert(
      fc.property(historyArbitrary, configArbitrary, fc.boolean(), (history, config, isRelisted) => {
        const store = new MemoryStore();
        const loop = start(store, config);
        tell(loop, lists(EMPTY_WORLD));
        let before = EMPTY_WORLD;
        for (const { world, order } of history) {
          for (const [index, event] of changes(before, world, order).entries()) {
            loop.event(event);
            if ((order[index % order.length] ?? 0) % 2 === 0) loop.step();
          }
          if (isRelisted) tell(loop, lists(world));
          before = world;
          expect(loop.step().isSettled).toBe(true);
          expect(text(store)).toBe(text(fresh(world, config)));
          expect(classifierCovers(store)).toEqual({ ok: true, value: true });
          expectTidy(store);
        }
      }),
      RUNS,
    );
  },
);

/** Frontends whose answer a step may change: writes to anything else are refused by the store while a row names it. */
function touched(keys: readonly FrontendKeyRecord[], operation: Operation): readonly FrontendKeyRecord[] {
  if (operation.op === 'barrier') return [];
  const { name } = operation.map;
  const isWhole = operation.op === 'set' || operation.op === 'rows';
  if (name === 'classifier' || (isWhole && ['services', 'slots', 'backends'].includes(name))) return [];
  if (name !== 'frontends') return keys;
  const { address } = operation.key as FrontendKeyRecord;
  return keys.filter((key) => addressEquals(key.address, address));
}

/** Where nobody answers, nobody is let in. */
function isLetIn(store: MemoryStore, key: FrontendKeyRecord, client: Address): boolean {
  return store.lookup(key) !== undefined && store.permits(key, client);
}

/** From here on every frontend and each address of the node is watched between two writes: as it is now, or as `after`. */
function watch(store: MemoryStore, after: MemoryStore): void {
  const keys = new Map([...store.keys(), ...after.keys()].map((key) => [keyText(key), key]));
  const permitted = new Map(
    [...keys].map(([name, key]) => [
      name,
      [answer(store, key), answer(after, key)].map((each) => JSON.stringify(each)),
    ]),
  );
  const welcome = new Map(
    [...keys].map(([name, key]) => [
      name,
      CLIENTS.filter((each) => isLetIn(store, key, each) && isLetIn(after, key, each)),
    ]),
  );
  const flags = [store, after].map((each) => each.nodeAddresses());
  store.onStep = (operation) => {
    for (const key of touched([...keys.values()], operation)) {
      const name = keyText(key);
      expect(permitted.get(name), name).toContain(JSON.stringify(answer(store, key)));
      for (const client of welcome.get(name) ?? []) expect(isLetIn(store, key, client), name).toBe(true);
    }
    for (const [address, flag] of store.nodeAddresses()) expect(flags.map((each) => each.get(address))).toContain(flag);
  };
}

/** Brings the maps from world to world while every frontend is watched. */
function walk(store: MemoryStore, config: NodeConfig, worlds: readonly World[]): void {
  const loop = start(store, config);
  tell(loop, lists(EMPTY_WORLD));
  for (const world of worlds) {
    const after = fresh(world, config);
    watch(store, after);
    tell(loop, lists(world));
    expect(loop.step().isSettled).toBe(true);
    expect(text(store)).toBe(text(after));
  }
}

test('between any two writes every frontend and each view answers as before or as after', { timeout: LONG_MS }, () => {
  const sizes = fc.constantFrom<Sizes>({}, { slots: 600, backends: 200, services: 200 });
  const worlds = fc.array(worldArbitrary(), { minLength: 1, maxLength: 5 });
  fc.assert(
    fc.property(worlds, configArbitrary, sizes, (history, config, size) =>
      walk(new MemoryStore(size), config, history),
    ),
    RUNS,
  );
});

test('between any two writes, with Maglev tables', { timeout: LONG_MS }, () => {
  const worlds = fc.array(worldArbitrary({ maglev: true }), { minLength: 1, maxLength: 3 });
  fc.assert(
    fc.property(worlds, configArbitrary, (history, config) => walk(new MemoryStore(), config, history)),
    { numRuns: isFull ? 1000 : 8 },
  );
});

test('a failure at any write, or a restart after it, loses nothing, and nobody notices', { timeout: LONG_MS }, () => {
  const faults = fc.array(fc.record({ failAt: fc.nat(150), isRestarted: fc.boolean() }), { maxLength: 3 });
  const historyOfFaults = fc.array(fc.record({ world: worldArbitrary(), faults }), { minLength: 1, maxLength: 4 });
  fc.assert(
    fc.property(historyOfFaults, configArbitrary, (history, config) => {
      const store = new MemoryStore();
      let loop = start(store, config);
      for (const { world, faults: posed } of history) {
        watch(store, fresh(world, config));
        tell(loop, lists(world));
        for (const { failAt, isRestarted } of posed) {
          store.failAt = failAt;
          loop.step();
          if (!isRestarted) continue;
          loop = start(store, config);
          tell(loop, lists(world));
        }
        store.failAt = Number.POSITIVE_INFINITY;
        expect(loop.step()).toMatchObject({ isSettled: true, waiting: [] });
        expect(text(store)).toBe(text(fresh(world, config)));
        // What nothing names any more is withdrawn, also what a crash left behind.
        expectTidy(store);
        expect(loop.resync()).toMatchObject({ isSettled: true });
        expect(text(store)).toBe(text(fresh(world, config)));
      }
    }),
    RUNS,
  );
});
