// SPDX-License-Identifier: Apache-2.0
/** The control plane by itself: clusters of a given shape to ordered map operations, all at once and event by event. */
import { createLoop, type Loop } from '../agent/loop.ts';
import { addressFromIPv4, addressText } from '../core/address.ts';
import { PLAIN_NODE } from '../core/control/nodes.ts';
import type { ClusterEvent, EndpointObject, EndpointSliceObject, ServiceObject } from '../core/objects.ts';
import { assert, failureText, ok, type Failure } from '../core/result.ts';
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
function sinkStore(): MapStore & { readonly taken: () => number } {
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
function sliceOf(index: number, { endpoints, ports }: Shape, round = 0): EndpointSliceObject {
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

/** Objects as they come of JSON, page by page: what is said twice is two strings. `parseMs`: the floor of it all. */
function parsedLists(shape: Shape): { readonly lists: ClusterEvent[]; readonly parseMs: number } {
  let parseMs = 0;
  const parsed = <T>(object: T): T => {
    const text = JSON.stringify(object);
    const beganMs = performance.now();
    const again = JSON.parse(text) as T;
    parseMs += performance.now() - beganMs;
    return again;
  };
  const services = Array.from({ length: shape.services }, (_, index) => parsed(serviceOf(index, shape.ports)));
  const slices = Array.from({ length: shape.slices }, (_, index) => parsed(sliceOf(index, shape)));
  const lists: ClusterEvent[] = [
    { type: 'LISTED', kind: 'Service', items: services },
    { type: 'LISTED', kind: 'EndpointSlice', items: slices },
  ];
  return { lists, parseMs };
}
/** What one process finds; times in milliseconds and, of events, microseconds. */
export type CompileRun = {
  /** JSON to objects and nothing more: what is measured is told as a multiple of it. */
  readonly parseMs: number;
  /** From parsed objects to ordered operations. */
  readonly computeMs: number;
  readonly operations: number;
  readonly residentBytes: number;
  readonly eventUs: { readonly median: number; readonly most: number };
};

const SHARE_OF_MOST = 0.99;

/** One computation in full and `events` changes of one slice each; in a process of its own, whose memory is told. */
export function runCompile(shape: Shape, events: number): CompileRun {
  const { lists, parseMs } = parsedLists(shape);
  const store = sinkStore();
  const loop = createLoop({ store, node: { ...PLAIN_NODE, nodeName: 'node-1' }, onProblem: refuse });
  const beganMs = performance.now();
  // As a watch does: what was heard is not kept.
  for (let event = lists.shift(); event !== undefined; event = lists.shift()) loop.event(event);
  const { isSettled } = loop.step();
  const computeMs = performance.now() - beganMs;
  assert(isSettled, 'all of it fits');
  const operations = store.taken();
  const residentBytes = process.resourceUsage().maxRSS * 1024;
  const eventUs = eventTimes(loop, shape, events);
  return { parseMs, computeMs, operations, residentBytes, eventUs };
}

function refuse(failure: Failure): never {
  throw new Error(failureText(failure));
}

/** From each event to its operations, in microseconds; the first quarter warms up and is not counted. */
function eventTimes(loop: Loop, shape: Shape, count: number): CompileRun['eventUs'] {
  const texts = Array.from({ length: count }, (_, round) =>
    JSON.stringify(sliceOf((round * 7919) % shape.slices, shape, round + 1)),
  );
  const times = texts.map((text) => {
    const event: ClusterEvent = { type: 'MODIFIED', object: JSON.parse(text) as EndpointSliceObject };
    const beganMs = performance.now();
    loop.event(event);
    loop.step();
    return (performance.now() - beganMs) * 1000;
  });
  const sorted = times.slice(count >> 2).sort((left, right) => left - right);
  const at = (share: number): number => sorted[Math.floor(sorted.length * share)] ?? Number.NaN;
  return { median: at(0.5), most: at(SHARE_OF_MOST) };
}

/** As a child of `tandem bench compile`: the shape and the number of events as JSON, the answer as one line of it. */
if (import.meta.main) {
  const { events, shape } = JSON.parse(process.argv[2] ?? '') as { readonly events: number; readonly shape: Shape };
  process.stdout.write(`${JSON.stringify(runCompile(shape, events))}\n`);
}
