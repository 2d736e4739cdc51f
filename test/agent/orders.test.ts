// SPDX-License-Identifier: Apache-2.0
/** Small spaces of events, completely: every order that keeps what is said of one object in order. */
import { expect, test } from 'vitest';
import type { Loop } from '../../agent/loop.ts';
import type { ClusterEvent, EndpointObject, ServiceObject } from '../../core/objects.ts';
import type { NodeConfig } from '../../core/service.ts';
import { MemoryStore } from '../core/control/memory.ts';
import {
  added,
  deleted,
  EMPTY_LISTS,
  endpoint,
  modified,
  NODE,
  service,
  slice,
  tell,
} from '../core/control/objects.ts';
import { isFull } from '../full.ts';
import { addressOf, expectTidy, start, text } from './worlds.ts';

const CONFIG: NodeConfig = { ...NODE, nodeIPs: [addressOf('192.0.2.10')] };

/** For each object what is said of it, in order. */
type Said = readonly (readonly ClusterEvent[])[];

const one = endpoint('10.0.0.1', { node: 'node-a', pod: 'p' });
const two = endpoint('10.0.0.2', { node: 'node-b', pod: 'q' });
const three = endpoint('10.0.0.3', { node: 'node-a', pod: 'r', ready: false, serving: true, terminating: true });
const moved = endpoint('10.0.0.1', { node: 'node-a', pod: 's' });

/** All three Services meet on one external address, and two of them on a cluster address. */
function web(name: 'a' | 'b' | 'c', spec: ServiceObject['spec'] = {}, created = ''): ServiceObject {
  const made = service(name, name === 'c' ? '10.96.0.3' : '10.96.0.1', {
    ports: [{ name: 'http', port: 80, ...(name === 'b' ? {} : { nodePort: 30_080 }) }],
    loadBalancerSourceRanges: name === 'a' ? ['10.0.0.0/8', '203.0.113.0/24'] : ['203.0.113.0/24', '10.0.0.0/8'],
    ...spec,
  });
  const status = { loadBalancer: { ingress: [{ ip: '198.51.100.1' }] } };
  return { ...made, metadata: { ...made.metadata, creationTimestamp: created }, status };
}

const sliceOf = (of: string, endpoints: readonly EndpointObject[], name = `${of}-1`): ReturnType<typeof slice> =>
  slice(of, endpoints, { slice: name });

const aChanged = web('a', { externalTrafficPolicy: 'Local', loadBalancerSourceRanges: ['10.0.0.0/8'] });
const SPACES: readonly { readonly name: string; readonly said: Said; readonly onlyFull: boolean }[] = [
  {
    name: 'a Service and two slices between which an endpoint moves',
    said: [
      [added(web('a')), modified(aChanged), deleted(aChanged)],
      [added(sliceOf('a', [one, two])), modified(sliceOf('a', [two])), deleted(sliceOf('a', [two]))],
      [added(sliceOf('a', [three], 'a-2')), modified(sliceOf('a', [moved, three], 'a-2'))],
    ],
    onlyFull: false,
  },
  {
    name: 'two Services that contest every address, one deleted before it is added again',
    said: [
      [added(web('a')), modified(aChanged), deleted(aChanged)],
      [deleted(web('b')), added(web('b', {}, '2026-01-01T00:00:00Z'))],
      [added(sliceOf('a', [one])), modified(sliceOf('a', [three]))],
      [added(sliceOf('b', [two]))],
    ],
    onlyFull: false,
  },
  {
    name: 'three Services with an endpoint each',
    said: [
      ...(['a', 'b', 'c'] as const).map((name) => [added(web(name))]),
      [added(sliceOf('a', [one]))],
      [added(sliceOf('b', [two]))],
      [added(sliceOf('c', [three]))],
    ],
    onlyFull: false,
  },
  {
    name: 'three Services with an endpoint each, of which one changes and one goes',
    said: [
      [added(web('a')), modified(aChanged)],
      [added(web('b')), deleted(web('b'))],
      [added(web('c'))],
      [added(sliceOf('a', [one]))],
      [added(sliceOf('b', [two]))],
      [added(sliceOf('c', [three]))],
    ],
    onlyFull: true,
  },
  {
    name: 'three Services and two slices that all change',
    said: [
      [added(web('a')), modified(aChanged), deleted(aChanged)],
      [added(web('b')), modified(web('b', { type: 'ExternalName' }))],
      [added(web('c'))],
      [added(sliceOf('a', [one, two])), modified(sliceOf('a', [three]))],
      [added(sliceOf('b', [two])), deleted(sliceOf('b', [two]))],
    ],
    onlyFull: true,
  },
];

/** Multinomial: how many orders keep each object's own. */
function ordersOf(said: Said): number {
  let orders = 1;
  let total = 0;
  for (const { length } of said) for (let each = 1; each <= length; each += 1) orders = (orders * (total += 1)) / each;
  return orders;
}

/** Each order as the object that speaks next. */
function* everyOrder(left: readonly number[]): Generator<readonly number[]> {
  if (left.every((count) => count === 0)) yield [];
  for (const [index, count] of left.entries()) {
    if (count === 0) continue;
    for (const rest of everyOrder(left.with(index, count - 1))) yield [index, ...rest];
  }
}

function begin(): { readonly store: MemoryStore; readonly loop: Loop } {
  const store = new MemoryStore();
  const loop = start(store, CONFIG);
  tell(loop, EMPTY_LISTS);
  return { store, loop };
}

/** Maps of what was said last of each object, told in the order of names at once. */
function freshText(said: Said, heard: readonly number[]): string {
  const { store, loop } = begin();
  const last = said.map((events, index) => events[(heard[index] ?? 0) - 1]);
  tell(loop, last.filter((event) => event !== undefined && event.type !== 'DELETED') as readonly ClusterEvent[]);
  loop.step();
  return text(store);
}

/** Every prefix is stepped; `isDoubled`: each event comes twice, the second time as another object in memory. */
function runOrder(said: Said, order: readonly number[], known: Map<string, string>, isDoubled: boolean): void {
  const { store, loop } = begin();
  const heard = said.map(() => 0);
  for (const index of order) {
    const event = said[index]?.[heard[index] ?? 0];
    if (event === undefined) throw new Error('an order says what there is to say');
    heard[index] = (heard[index] ?? 0) + 1;
    tell(loop, isDoubled ? [event, structuredClone(event)] : [event]);
    const report = loop.step();
    const name = heard.join();
    const expected = known.get(name) ?? freshText(said, heard);
    known.set(name, expected);
    if (!report.isSettled || text(store) !== expected)
      expect([order.join(), name, report.isSettled, text(store)]).toEqual([order.join(), name, true, expected]);
  }
  expectTidy(store);
}

for (const { name, said, onlyFull } of SPACES) {
  if (onlyFull && !isFull) continue;
  const orders = ordersOf(said);
  test(`${name}: ${orders} orders, each prefix as computed afresh`, { timeout: 900_000 }, () => {
    const known = new Map<string, string>();
    let count = 0;
    for (const order of everyOrder(said.map(({ length }) => length))) {
      runOrder(said, order, known, count % 2 === 1);
      if (isFull && orders < 20_000) runOrder(said, order, known, count % 2 === 0);
      count += 1;
    }
    expect(count).toBe(orders);
  });
}
