// SPDX-License-Identifier: Apache-2.0
/** The compiler and the oracle, which share nothing but the contract, say the same of every frontend to every client. */
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { CompiledServices } from '../../core/control/tell/document.ts';
import type { ClusterEvent, ClusterObject } from '../../core/objects.ts';
import { createOracle } from '../../core/oracle.ts';
import { compile } from './control/compiled.ts';
import { anyObjects } from './oracle/clusters.ts';
import { differences } from './oracle/compare.ts';
import { FAULTS } from './oracle/faults.ts';
import { anyOddObjects } from './oracle/odd.ts';
import { anySettings, configOf, optionsOf, type Settings } from './oracle/settings.ts';

/** `deleted`: some that go again, by their places in the list; owners of what others want too. */
type World = {
  readonly objects: readonly ClusterObject[];
  readonly settings: Settings;
  readonly deleted: readonly number[];
};

const anyDeleted = fc.oneof({ weight: 3, arbitrary: fc.constant([]) }, fc.array(fc.nat(20), { maxLength: 3 }));
const anyWorld: fc.Arbitrary<World> = fc.record({ objects: anyObjects, settings: anySettings, deleted: anyDeleted });

function eventsOf({ deleted, objects }: World): ClusterEvent[] {
  const gone = deleted.flatMap((place) => objects[place] ?? []);
  return [
    ...objects.map((object): ClusterEvent => ({ type: 'ADDED', object })),
    ...gone.map((object): ClusterEvent => ({ type: 'DELETED', object })),
  ];
}

function documentOf(world: World): CompiledServices {
  return compile(eventsOf(world), configOf(world.settings));
}

function compare(world: World, document: CompiledServices): string[] {
  const { settings } = world;
  const oracle = createOracle(optionsOf(settings));
  for (const event of eventsOf(world)) oracle.apply(event);
  return differences(document, oracle, configOf(settings).clusterCIDRs).map(({ text }) => text);
}

test('law: document and oracle name the same owner, backends, refusal, drop and source for every frontend and client', () => {
  fc.assert(
    fc.property(anyWorld, (world) => {
      expect(compare(world, documentOf(world))).toEqual([]);
    }),
    { numRuns: 700 },
  );
});

test('law: so they do where a field is odd, and neither fails', () => {
  fc.assert(
    fc.property(anyOddObjects, anySettings, (objects, settings) => {
      const world = { objects, settings, deleted: [] };
      expect(compare(world, documentOf(world))).toEqual([]);
    }),
    { numRuns: 700 },
  );
});

describe('a wrong document is found out', () => {
  const worlds = fc
    .sample(anyWorld, { numRuns: 600, seed: 6 })
    .map((world) => ({ world, document: documentOf(world) }));
  test.each(FAULTS)('%s', (_name, plant) => {
    let planted = 0;
    let found = 0;
    for (const { world, document } of worlds) {
      const wrong = plant(document);
      if (wrong === undefined) continue;
      planted += 1;
      if (compare(world, wrong).length > 0) found += 1;
      if (planted === 10) break;
    }
    expect(planted).toBe(10);
    expect(found).toBeGreaterThanOrEqual(7);
  });
});
