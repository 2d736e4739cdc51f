// SPDX-License-Identifier: Apache-2.0
/** What the loop does besides its laws: when it begins, what it computes again, how it heals and what it tells. */
import { expect, test } from 'vitest';
import { createLoop, type Loop, type LoopOptions } from '../../agent/loop.ts';
import { addressFromIPv4, port } from '../../core/address.ts';
import { canonical } from '../../core/control/canonical.ts';
import { classifierCovers } from '../../core/control/classifier.ts';
import { createMaps, storeOf } from '../../core/datapath/maps.ts';
import { CLASSIFIER_WORDS, configCodec, maps, type FrontendKeyRecord } from '../../core/layout.gen.ts';
import { kindOf, type ClusterEvent } from '../../core/objects.ts';
import { deleteOperation, setOperation, wordOperation } from '../../core/store.ts';
import { MemoryStore } from '../core/control/memory.ts';
import {
  added,
  deleted,
  EMPTY_LISTS,
  endpoint,
  node,
  NODE,
  pod,
  service,
  slice,
  tell,
} from '../core/control/objects.ts';

const NODE_PORT = { type: 'NodePort', ports: [{ name: 'http', port: 80, nodePort: 30_080 }] };

const web = [
  added(service('web', '10.96.0.1')),
  added(
    slice('web', [
      endpoint('10.0.0.1', { pod: 'a', forZones: ['z1'] }),
      endpoint('10.0.0.2', { pod: 'b', forZones: ['z2'] }),
    ]),
  ),
];

function start(store: MemoryStore, failures: string[] = []): Loop {
  return createLoop({ store, node: NODE, onProblem: ({ object, message }) => failures.push(`${object}: ${message}`) });
}

function text(store: MemoryStore): string {
  const result = canonical(store);
  if (!result.ok) throw new Error(result.error.message);
  return result.value;
}

test('I1: nothing is programmed, and nothing removed, until Services and EndpointSlices have been listed', () => {
  const store = new MemoryStore();
  const before = start(store);
  tell(before, [...EMPTY_LISTS, ...web]);
  before.step();
  const programmed = text(store);
  const restarted = start(store);
  expect(restarted.step()).toMatchObject({ unlisted: ['Service', 'EndpointSlice'], done: 0, isSettled: false });
  restarted.event({ type: 'LISTED', kind: 'Service', items: [] });
  expect(restarted.step()).toMatchObject({ unlisted: ['EndpointSlice'], done: 0 });
  expect(text(store)).toBe(programmed);
  restarted.event({ type: 'LISTED', kind: 'EndpointSlice', items: [] });
  expect(restarted.step()).toMatchObject({ unlisted: [], isSettled: true });
  expect(text(store)).toBe('');
});

test('a restart takes nothing away before every kind that is watched has been listed, in whatever order', () => {
  const events: readonly ClusterEvent[] = [
    { type: 'LISTED', kind: 'Service', items: [service('web', '10.96.0.1', NODE_PORT)] },
    { type: 'LISTED', kind: 'EndpointSlice', items: [slice('web', [endpoint('10.0.0.1')])] },
    { type: 'LISTED', kind: 'Node', items: [node('node-a', 'z1', ['192.0.2.10'])] },
    { type: 'LISTED', kind: 'Pod', items: [pod('p', ['10.0.0.9'], [{ hostPort: 8080, containerPort: 80 }])] },
  ];
  const kinds = events.map(kindOf);
  const config = { ...NODE, nodeIPs: [], hostPort: true };
  const begin = (store: MemoryStore): Loop =>
    createLoop({ store, node: config, kinds, whyNot: () => undefined, onProblem: () => undefined });
  const store = new MemoryStore();
  const first = begin(store);
  tell(first, events);
  expect(first.step()).toMatchObject({ isSettled: true });
  const programmed = text(store);
  expect(programmed).toMatch(/node-port.*\n.*host-port|host-port.*\n.*node-port/s);
  for (let turn = 0; turn < events.length; turn += 1) {
    const again = begin(store);
    for (const event of [...events.slice(turn), ...events.slice(0, turn)]) {
      tell(again, [event]);
      again.step();
      expect(text(store), `lists from ${kinds[turn]} on`).toBe(programmed);
    }
    expect(again.step()).toMatchObject({ isSettled: true, unlisted: [] });
  }
});

test('an event computes one Service again, our node those that its zone or addresses can affect, another node none', () => {
  const loop = start(new MemoryStore());
  tell(loop, [...EMPTY_LISTS, ...web, added(service('api', '10.96.0.2'))]);
  expect(loop.step().owners).toBe(2);
  tell(loop, structuredClone(web.slice(1)));
  expect(loop.step()).toMatchObject({ owners: 1, planned: 0 });
  tell(loop, web.slice(1));
  tell(loop, web.slice(1));
  expect(loop.step(), 'the same object in memory').toMatchObject({ owners: 1, planned: 0 });
  tell(loop, [added(node('node-b', 'z2'))]);
  expect(loop.step()).toMatchObject({ owners: 0, planned: 0 });
  tell(loop, [added(node('node-a', 'z2'))]);
  expect(loop.step(), 'only one has hints').toMatchObject({ owners: 1 });
  const ports = [{ name: 'http', port: 80, nodePort: 30_080 }];
  tell(loop, [added(service('outside', '10.96.0.3', { type: 'NodePort', ports }))]);
  loop.step();
  const addresses = [{ type: 'InternalIP', address: '192.0.2.10' }];
  tell(loop, [added({ ...node('node-a', 'z2'), status: { addresses } })]);
  expect(loop.step(), 'only one has a NodePort').toMatchObject({ owners: 1 });
});

test('the zone of our node decides, and its deletion brings the configured one back', () => {
  const store = new MemoryStore();
  const loop = start(store);
  tell(loop, [...EMPTY_LISTS, ...web]);
  loop.step();
  const inZone1 = text(store);
  expect(inZone1).toContain('[10.0.0.1:8080/6 ');
  tell(loop, [added(node('node-a', 'z2'))]);
  loop.step();
  expect(text(store)).toContain('[10.0.0.2:8080/6 ');
  tell(loop, [deleted(node('node-a', 'z2'))]);
  loop.step();
  expect(text(store)).toBe(inZone1);
});

test('a failed write is told and tried again by the next step without a new event', () => {
  const store = new MemoryStore();
  const failures: string[] = [];
  const loop = start(store, failures);
  tell(loop, [...EMPTY_LISTS, ...web]);
  store.failAt = 3;
  expect(loop.step()).toMatchObject({ done: 3, isSettled: false, waiting: ['shop/web:http/TCP', '10.96.0.1'] });
  expect(failures).toEqual(['store: posed failure']);
  expect(loop.step()).toMatchObject({ isSettled: true, waiting: [], owners: 0 });
  expect(text(store)).toContain('10.96.0.1:80/TCP');
});

test('a batch that stops between the flip of its rows and the last word of a backend is ended by the next step', () => {
  const remote = added(slice('web', [endpoint('10.0.1.5', { node: 'node-b' })]));
  const local = added(service('web', '10.96.0.1', { internalTrafficPolicy: 'Local' }));
  for (let failAt = 0; ; failAt += 1) {
    const store = new MemoryStore();
    const loop = start(store);
    tell(loop, [...EMPTY_LISTS, added(service('web', '10.96.0.1')), remote]);
    loop.step();
    tell(loop, [local]);
    store.failAt = failAt;
    const { isSettled } = loop.step();
    store.failAt = Number.POSITIVE_INFINITY;
    if (!isSettled) loop.step();
    expect(text(store), `after ${failAt} writes`).toContain('serving ');
    if (isSettled) return expect(failAt).toBeGreaterThan(2);
  }
});

test('a lost watch changes nothing and is shown until the next list', () => {
  const store = new MemoryStore();
  const loop = start(store);
  tell(loop, [...EMPTY_LISTS, ...web]);
  loop.step();
  loop.event({ type: 'DISCONNECTED', kind: 'EndpointSlice', reason: 'timeout' });
  expect(loop.step()).toMatchObject({ planned: 0, isSettled: true });
  expect([...loop.gaps()]).toEqual([['EndpointSlice', 'timeout']]);
  tell(loop, EMPTY_LISTS);
  expect([...loop.gaps()]).toEqual([]);
});

test('a resync repairs what somebody else changed in the maps', () => {
  const store = new MemoryStore();
  const loop = start(store);
  tell(loop, [...EMPTY_LISTS, ...web, added(service('api', '10.96.0.2')), added(slice('api', [endpoint('10.0.0.7')]))]);
  loop.step();
  const good = text(store);
  const frontend = store.keys().find((key) => key.port === 80) as FrontendKeyRecord;
  const vandalism = [
    [deleteOperation(maps.frontends, frontend)],
    [setOperation(maps.frontends, { ...frontend, port: port(99) }, 1)],
    [setOperation(maps.frontends, frontend, 60_000)],
    [setOperation(maps.frontends, frontend, 1)],
    [...store.liveBackends().keys()].map((id) => wordOperation(maps.backends, id, 32, 0x100)),
  ];
  for (const operations of vandalism) {
    for (const operation of operations) store.damage(operation);
    loop.resync();
    expect(text(store)).toBe(good);
  }
});

test('the maps of the model hold the same as any other store', () => {
  const config = {
    ...configCodec.decode(new DataView(new ArrayBuffer(configCodec.size)), 0),
    classifierMask: CLASSIFIER_WORDS - 1,
  };
  const model = storeOf(createMaps(config));
  const memory = new MemoryStore();
  const texts = [model, memory].map((store) => {
    const loop = createLoop({ store, node: NODE, onProblem: () => undefined });
    tell(loop, [...EMPTY_LISTS, ...web]);
    expect(loop.step()).toMatchObject({ isSettled: true });
    expect(loop.resync()).toMatchObject({ isSettled: true, done: 1 });
    expect(classifierCovers(store)).toEqual({ ok: true, value: true });
    return canonical(store);
  });
  expect(texts[0]).toEqual(texts[1]);
});

test('what is kept out of the maps is told with its reason and its owner, what is not kept out is not', () => {
  const events = [
    ...EMPTY_LISTS,
    added(service('web', '10.96.0.1', NODE_PORT)),
    added(pod('p', ['10.0.0.9'], [{ hostPort: 8080, containerPort: 80 }])),
  ];
  const config = { ...NODE, nodeIPs: [addressFromIPv4(0xc000020a)], hostPort: true };
  const told = (whyNot: LoopOptions['whyNot']): string[] => {
    const options = { store: new MemoryStore(), node: config, onProblem: () => undefined };
    const loop = createLoop(whyNot === undefined ? options : { ...options, whyNot });
    tell(loop, events);
    loop.step();
    return loop.problems().map(({ object, field, message }) => `${object} ${field}: ${message}`);
  };
  expect(told(() => undefined)).toEqual([]);
  expect(told(({ kind }) => (kind === 'ClusterIP' ? undefined : kind))).toEqual([
    'Service shop/web spec.ports: unsupported: port "http" TCP: NodePort is not programmed yet',
    'Pod shop/p spec.containers: unsupported: port "hostPort:8080" TCP: HostPort is not programmed yet',
  ]);
});
