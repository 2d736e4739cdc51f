// SPDX-License-Identifier: Apache-2.0
import { expect, test } from 'vitest';
import type { Invariant } from '../../sim/checkers.ts';
import { plants } from '../../sim/plant.ts';
import { simulate, type SimOptions } from '../../sim/run.ts';
import type { Swarm } from '../../sim/swarm.ts';

const noFaults: Swarm['faults'] = {
  'watch-stall': 0,
  'watch-end': 0,
  'write-fails': 0,
  'crash-in-write': 0,
  'agent-restart': 0,
  'node-reboot': 0,
  'node-loss': 0,
  resync: 0,
};
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

const cases: readonly (readonly [plant: string, found: readonly Invariant[], sizes?: SimOptions['sizes']])[] = [
  ['a loop that drops DELETED', ['permitted-backend', 'convergence']],
  ['a loop that hides its failures', ['rows-within-capacity', 'permitted-backend'], { services: 8 }],
  ['a store without barriers', ['frontends-resolve']],
  ['a store that withdraws no backend', ['frontends-resolve', 'convergence', 'permitted-backend']],
  ['a store that loses backends', ['frontends-resolve']],
  ['a selection off by one', ['permitted-backend']],
  ['a flow that moves', ['flow-keeps-backend']],
  ['replies from the backend itself', ['reply-address']],
  ['replies from a neighbour', ['reply-address']],
  ['a bystander is touched', ['bystander-untouched']],
  ['a checksum left as it was', ['checksums']],
  ['a drop without a reason', ['drop-has-reason']],
];

test('nothing is found where nothing is planted', () => {
  expect(simulate(options).violation).toBeUndefined();
});

for (const [name, found, sizes] of cases) {
  test(`${name} is found`, () => {
    const plant = plants[name];
    if (plant === undefined) throw new Error(`no plant ${name}`);
    const { violation } = simulate({ ...options, plant, ...(sizes === undefined ? {} : { sizes }) });
    expect(found).toContain(violation?.invariant);
  });
}

test('every plant has its case', () => {
  expect(cases.map(([name]) => name).toSorted()).toEqual(Object.keys(plants).toSorted());
});
