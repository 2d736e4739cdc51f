// SPDX-License-Identifier: Apache-2.0
/** An event computes its owners only, and all owners together are then as if everything had been computed. */
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { ownersAffected } from '../../core/control/affected.ts';
import {
  allFrontends,
  desiredProblems,
  emptyDesired,
  ownedFrontends,
  updateDesired,
} from '../../core/control/claims.ts';
import type { Desired, DesiredChange } from '../../core/control/claims.ts';
import { applyEvent, emptyCluster, everyOwner, type ClusterState } from '../../core/control/cluster.ts';
import { compileServices } from '../../core/control/tell/document.ts';
import { keyText, servicePortText } from '../../core/control/names.ts';
import { effectiveNode } from '../../core/control/nodes.ts';
import type { ClusterEvent } from '../../core/objects.ts';
import type { Frontend, NodeConfig } from '../../core/service.ts';
import { addressText } from '../../core/address.ts';
import { isFull } from '../full.ts';
import { added, deleted } from '../core/control/objects.ts';
import { changes, configArbitrary, EMPTY_WORLD, lists, nodeArbitrary, worldArbitrary, type World } from './worlds.ts';

/** What a reader of changes knows: each Service port and address as it was when a change last named it. */
type Mirror = { readonly ports: Map<string, readonly Frontend[]>; readonly addresses: Set<string> };

type Kept = { cluster: ClusterState; effective: NodeConfig; readonly desired: Desired; readonly mirror: Mirror };

function keep(config: NodeConfig): Kept {
  const mirror = { ports: new Map(), addresses: new Set<string>() };
  return { cluster: emptyCluster(), effective: config, desired: emptyDesired(), mirror };
}

/** As the loop does it: the owners of the event, and where our node changed those that it can affect. */
function tellOne(kept: Kept, config: NodeConfig, event: ClusterEvent): void {
  const { state, changed } = applyEvent(kept.cluster, event);
  kept.cluster = state;
  const owners = new Set(changed.owners);
  if (changed.nodes.has(config.nodeName)) {
    const after = effectiveNode(state.nodes, config);
    for (const owner of ownersAffected(state, kept.effective, after)) owners.add(owner);
    kept.effective = after;
  }
  reflect(kept, updateDesired(kept.desired, state, kept.effective, owners));
}

function reflect({ desired, mirror }: Kept, change: DesiredChange): void {
  for (const name of change.ports) {
    const frontends = ownedFrontends(desired, name);
    if (frontends.length === 0) mirror.ports.delete(name);
    else mirror.ports.set(name, frontends);
  }
  for (const text of change.addresses.keys()) {
    if (desired.addresses.has(text)) mirror.addresses.add(text);
    else mirror.addresses.delete(text);
  }
}

function sorted<T>(map: ReadonlyMap<string, T>): (readonly [string, T])[] {
  return [...map].toSorted(([left], [right]) => (left < right ? -1 : 1));
}

function problemTexts(desired: Desired): string[] {
  return desiredProblems(desired)
    .map((problem) => JSON.stringify(problem))
    .toSorted();
}

function expectFull(kept: Kept, config: NodeConfig): void {
  const { cluster, desired, effective, mirror } = kept;
  expect(effective).toEqual(effectiveNode(cluster.nodes, config));
  const full = emptyDesired();
  updateDesired(full, cluster, effective, everyOwner(cluster));
  expect(sorted(desired.owners)).toEqual(sorted(full.owners));
  expect(sorted(desired.claims)).toEqual(sorted(full.claims));
  expect(sorted(desired.addresses)).toEqual(sorted(full.addresses));
  expect(sorted(desired.ports)).toEqual(sorted(full.ports));
  expect(problemTexts(desired)).toEqual(problemTexts(full));
  const owned = Map.groupBy(allFrontends(full), ({ servicePort }) => servicePortText(servicePort));
  expect(sorted(mirror.ports), 'every change was told').toEqual(sorted(owned));
  expect([...mirror.addresses].toSorted()).toEqual([...full.addresses.keys()].toSorted());
}

/** The document is computed from the lists at once, by its own path. */
function expectDocument({ desired }: Kept, world: World, config: NodeConfig): void {
  let cluster = emptyCluster();
  for (const event of lists(world)) cluster = applyEvent(cluster, event).state;
  const { frontends, healthChecks, problems } = compileServices(cluster, { ...config, serviceCIDRs: [] });
  const texts = frontends.map(({ kind, address, port, protocol }) => `${kind} ${address} ${port}/${protocol}`);
  const mine = allFrontends(desired).map(
    (each) => `${each.kind} ${addressText(each.address)} ${each.port}/${keyText(each).split('/').at(-1)}`,
  );
  expect(mine.toSorted()).toEqual(texts.toSorted());
  const checks = [...desired.owners].flatMap(([service, { healthCheck }]) =>
    healthCheck === null ? [] : [{ service, ...healthCheck }],
  );
  expect(checks.toSorted((left, right) => (left.service < right.service ? -1 : 1))).toEqual(healthChecks);
  const told = new Set(problems.map((problem) => JSON.stringify(problem)));
  expect(problemTexts(desired).filter((problem) => !told.has(problem))).toEqual([]);
}

const orderArbitrary = fc.array(fc.nat(100), { minLength: 3, maxLength: 12 });
const historyArbitrary = fc.array(fc.record({ world: worldArbitrary(), order: orderArbitrary }), {
  minLength: 1,
  maxLength: 4,
});

test(
  'after each event what is kept, and what changes told of it, is what a full computation gives',
  { timeout: 600_000 },
  () => {
    fc.assert(
      fc.property(historyArbitrary, configArbitrary, (history, config) => {
        const kept = keep(config);
        for (const event of lists(EMPTY_WORLD)) tellOne(kept, config, event);
        let before = EMPTY_WORLD;
        for (const { world, order } of history) {
          for (const event of changes(before, world, order)) {
            tellOne(kept, config, event);
            expectFull(kept, config);
          }
          expectDocument(kept, world, config);
          before = world;
        }
      }),
      { numRuns: isFull ? 1500 : 60 },
    );
  },
);

test(
  'a change of the node computes whom it can affect, and that is as if everything had been computed',
  { timeout: 600_000 },
  () => {
    const nodes = fc.array(nodeArbitrary, { minLength: 2, maxLength: 6 });
    fc.assert(
      fc.property(worldArbitrary(), nodes, configArbitrary, (world, objects, config) => {
        const kept = keep(config);
        for (const event of lists(world)) tellOne(kept, config, event);
        for (const [index, object] of objects.entries()) {
          tellOne(kept, config, index % 3 === 2 ? deleted(object) : added(object));
          expectFull(kept, config);
        }
      }),
      { numRuns: isFull ? 1000 : 150 },
    );
  },
);
