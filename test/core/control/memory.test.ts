// SPDX-License-Identifier: Apache-2.0
/** The store that watches over the order of writes sees what is written in a wrong one. */
import { expect, test } from 'vitest';
import { createLoop } from '../../../agent/loop.ts';
import type { Operation } from '../../../core/store.ts';
import { MemoryStore } from './memory.ts';
import { added, deleted, EMPTY_LISTS, endpoint, NODE, service, slice, tell } from './objects.ts';

/** The name of a step: what it does to which map. */
function nameOf(operation: Operation): string {
  return operation.op === 'barrier' ? 'barrier' : `${operation.op} ${operation.map.name}`;
}

function web(ranges: readonly string[]): ReturnType<typeof added> {
  const made = service('web', '10.96.0.1', { loadBalancerSourceRanges: ranges });
  return added({ ...made, status: { loadBalancer: { ingress: [{ ip: '198.51.100.1' }] } } });
}

/** Steps of the first programming, of a change of endpoints and ranges, and of the removal. */
function recorded(): readonly Operation[][] {
  const store = new MemoryStore();
  const loop = createLoop({ store, node: NODE, whyNot: () => undefined, onProblem: () => undefined });
  const steps: Operation[] = [];
  store.onStep = (operation) => void steps.push(operation);
  const phase = (...events: Parameters<typeof tell>[1]): Operation[] => {
    tell(loop, events);
    loop.step();
    return steps.splice(0);
  };
  return [
    phase(...EMPTY_LISTS, web(['10.0.0.0/8', '203.0.113.0/24']), added(slice('web', [endpoint('10.0.0.1')]))),
    phase(web(['10.0.0.0/8', '198.18.0.0/15']), added(slice('web', [endpoint('10.0.0.2'), endpoint('10.0.0.3')]))),
    phase(deleted(service('web', '10.96.0.1'))),
  ];
}

/** Carries the phases out, one of them in another order. */
function replay(changed: number, change: (steps: Operation[]) => readonly Operation[]): void {
  const store = new MemoryStore();
  for (const [index, steps] of recorded().entries())
    for (const step of index === changed ? change([...steps]) : steps) {
      store.apply(step);
      for (const key of store.keys()) store.lookup(key);
    }
}

const without = (steps: readonly Operation[], name: string): Operation[] =>
  steps.filter((step) => nameOf(step) !== name);
const only = (steps: readonly Operation[], name: string): Operation[] => steps.filter((step) => nameOf(step) === name);
const last = (steps: readonly Operation[], name: string): Operation[] => [
  ...without(steps, name),
  ...only(steps, name),
];
const first = (steps: readonly Operation[], name: string): Operation[] => [
  ...only(steps, name),
  ...without(steps, name),
];

test('as recorded it sees nothing wrong', () => {
  expect(() => replay(0, (steps) => steps)).not.toThrow();
});

test.each<readonly [string, number, (steps: Operation[]) => readonly Operation[], string]>([
  ['a row is published before it is written', 0, (steps) => first(steps, 'set frontends'), 'passes the filter'],
  ['the classifier comes last', 0, (steps) => last(steps, 'word classifier'), 'passes the filter'],
  [
    'a set of ranges is filled after a row names it',
    0,
    (steps) => last(steps, 'set source_ranges'),
    'only while nothing',
  ],
  ['a set of ranges grows', 1, (steps) => last(steps, 'set source_ranges'), 'only while nothing'],
  ['a set of ranges ends before the barrier', 1, (steps) => first(steps, 'delete source_ranges'), 'only while nothing'],
  ['backends come after the rows', 1, (steps) => last(steps, 'set backends'), 'there is one'],
  ['slots come after the rows', 1, (steps) => last(steps, 'rows slots'), 'there is one'],
  ['rows come after they were named', 1, (steps) => last(steps, 'set services'), 'the row is its own'],
  ['a backend ends first', 1, (steps) => first(steps, 'word backends'), 'ends only when nothing names it'],
  [
    'a backend ends before the barrier',
    2,
    (steps) => without(without(steps, 'barrier'), 'delete source_ranges'),
    'it serves the view',
  ],
  [
    'a backend ends while a row names it',
    2,
    (steps) => first(steps, 'word backends'),
    'ends only when nothing names it',
  ],
])('seen: %s', (_, phase, change, message) => {
  expect(() => replay(phase, change)).toThrow(message);
});
