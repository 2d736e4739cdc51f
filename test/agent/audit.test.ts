// SPDX-License-Identifier: Apache-2.0
/** The audit of a running loop: it finds what was planted, by name, and the loop heals. */
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createAudit, difference } from '../../agent/audit.ts';
import { createLoop, type Loop } from '../../agent/loop.ts';
import { emptyDesired, updateDesired, type Desired } from '../../core/control/claims.ts';
import { applyEvent, emptyCluster, everyOwner, type ClusterState } from '../../core/control/cluster.ts';
import { decodeService } from '../../core/control/decode.ts';
import { effectiveNode } from '../../core/control/nodes.ts';
import type { ServiceObject } from '../../core/objects.ts';
import type { Frontend, NodeConfig, Problem } from '../../core/service.ts';
import { MemoryStore } from '../core/control/memory.ts';
import { added, EMPTY_LISTS, endpoint, NODE, pod, service, slice, tell } from '../core/control/objects.ts';
import { configArbitrary, lists, text, worldArbitrary } from './worlds.ts';

/** What is read-only for everybody else. */
type Planted<T> = { -readonly [name in keyof T]: T[name] };

const FOUND = 'was not what the objects say, a bug of tandem: everything was computed again';
const hinted = [endpoint('10.0.0.1', { forZones: ['z1'] }), endpoint('10.0.0.2', { forZones: ['z2'] })];

type Rig = { readonly store: MemoryStore; readonly loop: Loop; readonly told: string[]; readonly kept: Frontend[] };

/** `kept`: the very frontends that the loop holds. */
function rig(node: NodeConfig, auditPerStep = 1): Rig {
  const store = new MemoryStore();
  const told: string[] = [];
  const kept: Frontend[] = [];
  const whyNot = (frontend: Frontend): undefined => void kept.push(frontend);
  const onProblem = ({ object, message }: { readonly object: string; readonly message: string }): void =>
    void told.push(`${object}: ${message}`);
  const loop = createLoop({ store, node, whyNot, onProblem, auditPerStep });
  tell(loop, [
    ...EMPTY_LISTS,
    added(service('api', '10.96.0.2')),
    added(slice('api', [endpoint('10.0.0.7')])),
    added(service('web', '10.96.0.1')),
    added(slice('web', hinted)),
  ]);
  expect(loop.step()).toMatchObject({ isSettled: true, differences: [] });
  return { store, loop, told, kept };
}

/** So many steps that each owner had its turn. */
function steps(loop: Loop, count: number): readonly Problem[] {
  return Array.from({ length: count }, () => loop.step()).flatMap(({ differences }) => differences);
}

test('less than one owner a step is one owner after some steps, each in turn', () => {
  const all = rig({ ...NODE }, 0.5);
  const found: number[] = [];
  for (const frontend of all.kept) (frontend.internal?.backends as unknown[] | undefined)?.splice(0);
  for (let step = 1; step <= 4; step += 1) if (steps(all.loop, 1).length > 0) found.push(step);
  // The one that finds a fault computes everything again.
  expect(found).toHaveLength(1);
  expect(found[0]).toBeLessThanOrEqual(2);
});

describe('a planted fault is found within a round, and healed by the step that finds it', () => {
  test('a desired state that was changed behind the back of the loop', () => {
    const all = rig({ ...NODE });
    const good = text(all.store);
    expect(steps(all.loop, 10)).toEqual([]);
    const frontend = all.kept.find(({ servicePort }) => servicePort.name === 'web');
    const backends = frontend?.internal?.backends as Frontend['serving'][number][];
    backends.pop();
    const found = { object: 'Service shop/web', field: '', message: `what was kept ${FOUND}` };
    expect(steps(all.loop, 2)).toEqual([found]);
    expect(all.told).toEqual([`Service shop/web: what was kept ${FOUND}`]);
    expect(all.loop.problems()).toEqual([found]);
    expect(text(all.store)).toBe(good);
    expect(steps(all.loop, 10)).toEqual([]);
  });

  test('an owner that a change of the node forgot', () => {
    const node: Planted<NodeConfig> = { ...NODE };
    const all = rig(node);
    expect(text(all.store)).toContain('[10.0.0.1:8080/6 ');
    node.zone = 'z2';
    expect(steps(all.loop, 2)).toEqual([{ object: 'Service shop/web', field: '', message: `what was kept ${FOUND}` }]);
    expect(text(all.store)).toContain('[10.0.0.2:8080/6 ');
  });

  test('an owner whose own objects changed without an event, and one that should be gone', () => {
    const all = rig({ ...NODE });
    const object: ServiceObject = service('late', '10.96.0.3');
    tell(all.loop, [added(object)]);
    all.loop.step();
    const info = decodeService(object) as Planted<NonNullable<ReturnType<typeof decodeService>>>;
    info.skipped = true;
    expect(text(all.store)).toContain('10.96.0.3:80/TCP');
    expect(steps(all.loop, 3)).toEqual([{ object: 'Service shop/late', field: '', message: `what was kept ${FOUND}` }]);
    expect(text(all.store)).not.toContain('10.96.0.3');
    expect(all.loop.step()).toMatchObject({ isSettled: true, differences: [], planned: 0 });
  });

  test('without an audit nobody notices; so it is the audit that does', () => {
    const node: Planted<NodeConfig> = { ...NODE };
    const all = rig(node, 0);
    node.zone = 'z2';
    expect(steps(all.loop, 10)).toEqual([]);
    expect(text(all.store)).toContain('[10.0.0.1:8080/6 ');
  });
});

type Kept = { readonly desired: Desired; readonly cluster: ClusterState; readonly config: NodeConfig };

function keptOf(events: Parameters<typeof tell>[1], config: NodeConfig): Kept {
  let cluster = emptyCluster();
  for (const event of events) cluster = applyEvent(cluster, event).state;
  const desired = emptyDesired();
  const effective = effectiveNode(cluster.nodes, config);
  updateDesired(desired, cluster, effective, everyOwner(cluster));
  return { desired, cluster, config: effective };
}

const WEB = 'shop/web';
const web = [added(service('web', '10.96.0.1')), added(slice('web', hinted))];

const PLANTS: readonly (readonly [name: string, plant: (desired: Desired) => void])[] = [
  ['an owner is missing', ({ owners }) => void owners.delete(WEB)],
  ['a claim is missing', ({ claims }) => claims.clear()],
  ['a Service port is missing', ({ ports }) => ports.clear()],
  [
    'an owner has a frontend too many',
    ({ owners }) => {
      const before = owners.get(WEB);
      if (before !== undefined) owners.set(WEB, { ...before, frontends: [...before.frontends, ...before.frontends] });
    },
  ],
  [
    'an owner has a problem that is none',
    ({ owners }) => {
      const before = owners.get(WEB);
      const problems = [{ object: 'Service shop/web', field: '', message: 'none' }];
      if (before !== undefined) owners.set(WEB, { ...before, problems });
    },
  ],
  [
    'a health check counts wrongly',
    ({ owners }) => {
      const before = owners.get(WEB);
      if (before !== undefined) owners.set(WEB, { ...before, healthCheck: { port: 1, localEndpoints: 1 } });
    },
  ],
];

test.each(PLANTS)('a difference is seen where %s', (_, plant) => {
  const { desired, cluster, config } = keptOf(web, NODE);
  expect(difference(desired, cluster, config, WEB)).toBeUndefined();
  plant(desired);
  expect(difference(desired, cluster, config, WEB)).toMatchObject({ object: 'Service shop/web' });
});

test('owners have their turns: so many in each call, all of them in a round, also one that is only kept', () => {
  const events = [...web, ...['a', 'b', 'c'].map((name, index) => added(service(name, `10.96.1.${index + 1}`)))];
  const { desired, cluster, config } = keptOf([...events, added(pod('p', ['10.0.0.1'], []))], NODE);
  const nobody = { desired: emptyDesired(), cluster, config };
  const audit = createAudit(3);
  const named = Array.from({ length: 2 }, () =>
    audit.next(nobody.desired, cluster, config).map(({ object }) => object),
  );
  expect(named.map((each) => each.length)).toEqual([3, 1]);
  expect(named.flat().toSorted()).toEqual(['a', 'b', 'c', 'web'].map((name) => `Service shop/${name}`));
  expect(audit.seen).toHaveLength(4);
  const gone = createAudit(10).next(desired, emptyCluster(), config);
  expect(gone).toHaveLength(4);
});

test('nothing is found where nothing was planted', () => {
  fc.assert(
    fc.property(worldArbitrary(), configArbitrary, (world, config) => {
      const { desired, cluster, config: effective } = keptOf(lists(world), config);
      expect(createAudit(100).next(desired, cluster, effective)).toEqual([]);
    }),
    { numRuns: 60 },
  );
});
