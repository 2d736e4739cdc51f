// SPDX-License-Identifier: Apache-2.0
/** The control plane by itself: clusters of a given shape to ordered map operations, all at once and event by event. */
import { createLoop, type Loop } from '../agent/loop.ts';
import { addressFromIPv4, addressText } from '../core/address.ts';
import { PLAIN_NODE } from '../core/control/nodes.ts';
import type { ClusterEvent, EndpointObject, EndpointSliceObject, ServiceObject } from '../core/objects.ts';
import { assert, failureText, ok } from '../core/result.ts';
import type { MapStore } from '../core/store.ts';

/** `slices`: of so many endpoints each, one a Service, of as many Services as there are slices. */
export type Shape = {
  readonly services: number;
  readonly ports: number;
  readonly slices: number;
  readonly endpoints: number;
};

const FIRST_SERVICE = 0x0a600001; // 10.96.0.1
const FIRST_ENDPOINT = 0x0ac80001; // 10.200.0.1
const NODES = 100;
/** Nothing is to be refused here: the maps' sizes are another question. */
const CAPACITY = 1 << 20;

/** Takes every operation and carries out none: what is measured ends where the kernel begins. */
export function sinkStore(): MapStore & { readonly taken: () => number } {
  let taken = 0;
  return {
    capacity: (map) => (map.name === 'classifier' ? map.maxEntries : CAPACITY),
    get: () => ok(undefined),
    entries: () => ok([]),
    apply: () => {
      taken += 1;
      return ok(undefined);
    },
    batch: (operations) => {
      taken += operations.length;
      return { done: operations.length, result: ok(undefined) };
    },
    taken: () => taken,
  };
}

function serviceOf(index: number, ports: number): ServiceObject {
  const ip = addressText(addressFromIPv4(FIRST_SERVICE + index));
  return {
    kind: 'Service',
    metadata: { name: `s${index}`, namespace: 'bench' },
    spec: {
      type: 'ClusterIP',
      clusterIP: ip,
      clusterIPs: [ip],
      ipFamilies: ['IPv4'],
      ports: Array.from({ length: ports }, (_, port) => ({ name: `p${port}`, port: 80 + port, protocol: 'TCP' })),
    },
  };
}

function endpointOf(index: number): EndpointObject {
  return {
    addresses: [addressText(addressFromIPv4(FIRST_ENDPOINT + index))],
    conditions: { ready: true, serving: true, terminating: false },
    nodeName: `node-${index % NODES}`,
    zone: `z${index % 3}`,
    targetRef: { kind: 'Pod', name: `pod-${index}`, uid: `${index}` },
  };
}

/** `round` 0: as listed; in others one endpoint of the slice is another. */
export function sliceOf(index: number, { endpoints, ports }: Shape, round = 0): EndpointSliceObject {
  const first = index * endpoints;
  const addresses = Array.from({ length: endpoints }, (_, one) => endpointOf(first + one));
  if (round > 0) addresses[round % endpoints] = endpointOf(0x400000 + (round % 1000));
  return {
    kind: 'EndpointSlice',
    metadata: { name: `s${index}-x`, namespace: 'bench', labels: { 'kubernetes.io/service-name': `s${index}` } },
    addressType: 'IPv4',
    endpoints: addresses,
    ports: Array.from({ length: ports }, (_, port) => ({ name: `p${port}`, port: 8080 + port, protocol: 'TCP' })),
  };
}

export function listsOf(shape: Shape): readonly ClusterEvent[] {
  return [
    {
      type: 'LISTED',
      kind: 'Service',
      items: Array.from({ length: shape.services }, (_, i) => serviceOf(i, shape.ports)),
    },
    { type: 'LISTED', kind: 'EndpointSlice', items: Array.from({ length: shape.slices }, (_, i) => sliceOf(i, shape)) },
  ];
}

export type Compiled = { readonly loop: Loop; readonly ms: number; readonly operations: number };

/** From parsed objects to ordered operations. */
export function compileAll(events: readonly ClusterEvent[]): Compiled {
  const store = sinkStore();
  const loop = createLoop({
    store,
    node: { ...PLAIN_NODE, nodeName: 'node-1' },
    onProblem: (failure) => fail(failureText(failure)),
  });
  const beganMs = performance.now();
  for (const event of events) loop.event(event);
  const { isSettled } = loop.step();
  const ms = performance.now() - beganMs;
  assert(isSettled, 'all of it fits');
  return { loop, ms, operations: store.taken() };
}

function fail(text: string): never {
  throw new Error(text);
}

/** Microseconds from each event to its operations. */
export function eventTimes(loop: Loop, shape: Shape, count: number): number[] {
  const events = Array.from({ length: count }, (_, round): ClusterEvent => {
    const object = sliceOf((round * 7919) % shape.slices, shape, round + 1);
    return { type: 'MODIFIED', object };
  });
  return events.map((event) => {
    const beganMs = performance.now();
    loop.event(event);
    loop.step();
    return (performance.now() - beganMs) * 1000;
  });
}
