// SPDX-License-Identifier: Apache-2.0
import { expect, test } from 'vitest';
import type { Invariant } from '../../sim/checkers.ts';
import { plants } from '../../sim/plant.ts';
import { simulate, type SimOptions } from '../../sim/run.ts';
import { faultKinds, type FaultKind, type Swarm } from '../../sim/swarm.ts';

const noFaults = Object.fromEntries(faultKinds.map((kind) => [kind, 0])) as Swarm['faults'];
const SEEDS = 6;

/** A busy cluster whose API is reliable: what breaks is what was planted. */
const options: SimOptions = {
  seed: { text: '1', words: [1] },
  nodes: 2,
  services: 6,
  seconds: 60,
  swarm: {
    faults: noFaults,
    changes: { scale: 3, rollout: 1, 'pod-crash': 1, flap: 1, 'service-delete': 2, 'service-create': 2 },
    meanBetweenChangesUs: 1e6,
    meanBetweenConnectionsUs: 50e3,
    directShare: 0.1,
    lossShare: 0,
    foreignRows: false,
  },
};

/** Faults that a plant mishandles, often; for those that show without any, none. */
const often = (kind: FaultKind): Partial<SimOptions> => ({
  swarm: { ...options.swarm, faults: { ...noFaults, [kind]: 1 }, meanBetweenFaultsUs: 4e6 },
});

/** Services that go and come back, often under another address. */
const comings = { scale: 1, rollout: 0, 'pod-crash': 0, flap: 0, 'service-delete': 4, 'service-create': 4 };

const cases: readonly (readonly [plant: string, found: readonly Invariant[], besides?: Partial<SimOptions>])[] = [
  ['a loop that drops DELETED', ['permitted-backend', 'convergence']],
  ['a loop that hides its failures', ['rows-within-capacity', 'permitted-backend'], { sizes: { services: 8 } }],
  ['a loop that takes a bookmark for an empty list', ['permitted-backend'], { seconds: 70 }],
  ['a loop that keeps what it does not know', ['convergence'], often('foreign-row')],
  ['a watch that takes 410 for nothing new', ['convergence', 'removed-gets-none'], often('watch-gone')],
  ['a watch that goes on from now after an old list', ['convergence', 'removed-gets-none'], often('old-list')],
  ['a watch that waits for ever', ['convergence'], often('watch-silent')],
  ['a datapath on the wall clock', ['flow-keeps-backend', 'reply-address'], often('clock-jump')],
  ['an agent that takes maps of any layout', ['layout-untouched'], often('old-layout')],
  ['two agents that share the maps', ['frontends-resolve', 'permitted-backend'], often('second-writer')],
  ['a store without barriers', ['frontends-resolve']],
  ['a store that withdraws no backend', ['frontends-resolve', 'convergence', 'permitted-backend']],
  ['a store that loses backends', ['frontends-resolve']],
  ['a store that fills sets of ranges last', ['frontends-resolve']],
  ['a store that loses addresses of the node', ['convergence']],
  ['a selection off by one', ['permitted-backend', 'reply-address']],
  ['a flow that moves', ['flow-keeps-backend']],
  [
    'a SYN that is sent again does not ask for its frontend',
    ['permitted-backend'],
    { swarm: { ...options.swarm, changes: comings, meanBetweenChangesUs: 200e3, lossShare: 0.3 } },
  ],
  ['replies from the backend itself', ['reply-address']],
  ['replies from a neighbour', ['reply-address']],
  ['a bystander is touched', ['bystander-untouched']],
  ['a checksum left as it was', ['checksums']],
  ['a drop without a reason', ['drop-has-reason']],
  ['datagrams that stay where they were', ['permitted-backend']],
  ['datagrams that wander', ['flow-keeps-backend', 'permitted-backend']],
];

test('nothing is found where nothing is planted', () => {
  expect(simulate(options).violation).toBeUndefined();
});

test.each(faultKinds)('nothing is found where nothing is planted, under %s alone', (kind) => {
  expect(simulate({ ...options, ...often(kind) }).violation).toBeUndefined();
});

/** Some faults show only where chance brings two things together: a few seeds, the first that finds ends. */
function firstFound(name: string, besides: Partial<SimOptions> = {}): Invariant | undefined {
  const plant = plants[name];
  if (plant === undefined) throw new Error(`no plant ${name}`);
  for (let seed = 1; seed <= SEEDS; seed += 1) {
    const { violation } = simulate({ ...options, seed: { text: String(seed), words: [seed] }, ...besides, plant });
    if (violation !== undefined) return violation.invariant;
  }
  return undefined;
}

for (const [name, found, besides] of cases) {
  test(`${name} is found`, () => expect(found).toContain(firstFound(name, besides)));
}

test('every plant has its case', () => {
  expect(cases.map(([name]) => name).toSorted()).toEqual(Object.keys(plants).toSorted());
});
