// SPDX-License-Identifier: Apache-2.0
/** Random clusters of every kind of frontend, small enough that Services meet on addresses, ports and ranges. */
import * as fc from 'fast-check';
import { expect } from 'vitest';
import { createLoop, type Loop } from '../../agent/loop.ts';
import { parseAddress, parsePrefix, type Address, type Port, type Prefix, type Protocol } from '../../core/address.ts';
import { canonical } from '../../core/control/canonical.ts';
import type { FrontendKeyRecord } from '../../core/layout.gen.ts';
import type {
  ClusterEvent,
  ClusterObject,
  EndpointSliceObject,
  NodeObject,
  ObjectKind,
  PodObject,
  ServiceObject,
} from '../../core/objects.ts';
import type { NodeConfig } from '../../core/service.ts';
import { MemoryStore, type Answer, type Sizes } from '../core/control/memory.ts';
import { added, deleted, endpoint, modified, node, NODE, pod, service, slice, tell } from '../core/control/objects.ts';

export type World = {
  readonly Service: readonly ServiceObject[];
  readonly EndpointSlice: readonly EndpointSliceObject[];
  readonly Node: readonly NodeObject[];
  readonly Pod: readonly PodObject[];
};

const KINDS: readonly ObjectKind[] = ['Service', 'EndpointSlice', 'Node', 'Pod'];

export const EMPTY_WORLD: World = { Service: [], EndpointSlice: [], Node: [], Pod: [] };

const NAMES = ['a', 'b', 'c', 'd'];
const CLUSTER_IPS = ['10.96.0.1', '10.96.0.2', '10.96.0.3'];
const CLUSTER_IPS_6 = ['fd00:96::1', 'fd00:96::2'];
/** Of load balancers, of the node, and a ClusterIP: all of them may be contested. */
const OUTER = ['198.51.100.1', '198.51.100.2', '192.0.2.10', '10.96.0.2', 'fd00:ee::1', 'fd00:96::1'];
const NODE_IPS: readonly (readonly string[])[] = [
  ['192.0.2.10'],
  ['192.0.2.10'],
  ['192.0.2.10', '192.0.2.11', 'fd00:1::10'],
  ['192.0.2.11', 'fd00:1::11', '192.0.2.10'],
  ['127.0.0.1', 'fd00:1::10'],
  [],
];

/** Several Services have equal sets, written differently; in some the node lies; /0 and ranges of the other family. */
const RANGES: readonly (readonly string[])[] = [
  ['10.0.0.0/8', '203.0.113.0/24'],
  [' 203.0.113.0/24 ', '10.0.0.0/8', '10.0.0.0/8'],
  ['203.0.113.0/24', '10.0.0.0/8', 'nonsense'],
  ['10.0.0.0/8'],
  ['0.0.0.0/0', '10.0.0.0/8'],
  ['fd00::/16'],
  ['10.0.0.0/8', 'fd00::/16', '203.0.113.7'],
  ['192.0.2.0/24'],
  ['192.0.2.10/32', 'fd00:1::/64'],
  ['nonsense'],
];

/** Each of these is told by some of the ranges above and not by others. */
export const CLIENTS: readonly Address[] = [
  '10.1.2.3',
  '203.0.113.7',
  '192.0.2.10',
  '192.0.2.77',
  '198.51.100.1',
  'fd00::5',
  'fd00:1::9',
].map(addressOf);

export function addressOf(text: string): Address {
  const parsed = parseAddress(text);
  if (!parsed.ok) throw new Error(parsed.error.message);
  return parsed.value;
}

export function rangeOf(text: string): Prefix {
  const parsed = parsePrefix(text);
  if (!parsed.ok) throw new Error(parsed.error.message);
  return parsed.value;
}

/** Rarely something else than the usual. */
function mostly<T>(usual: T, ...rare: readonly T[]): fc.Arbitrary<T> {
  return fc.oneof(
    { weight: 5 * rare.length, arbitrary: fc.constant(usual) },
    ...rare.map((value) => ({ weight: 1, arbitrary: fc.constant(value) })),
  );
}

const PORTS = [
  { name: 'http', port: 80 },
  { name: 'admin', port: 81 },
  { name: 'dns', port: 53, protocol: 'UDP' },
  { name: 'http', port: 80, protocol: 'UDP' },
  { name: 'other', port: 80 },
];

const portsArbitrary = fc
  .tuple(fc.subarray(PORTS, { minLength: 1, maxLength: 3 }), fc.constantFrom(0, 0, 30_080, 30_081, 8080))
  .map(([ports, first]) => ports.map((each, index) => (first === 0 ? each : { ...each, nodePort: first + index })));

const ingressArbitrary = fc.array(
  fc.record({ ip: fc.constantFrom(...OUTER), ipMode: mostly<string | undefined>(undefined, 'VIP', 'Proxy') }),
  { maxLength: 2 },
);

const createdArbitrary = fc.constantFrom(undefined, '2026-01-01T00:00:00Z', '2026-01-02T00:00:00Z');

const familiesArbitrary = fc
  .tuple(fc.constantFrom(...CLUSTER_IPS), fc.constantFrom(...CLUSTER_IPS_6), fc.constantFrom(4, 4, 46, 6, 64, 0))
  .map(([four, six, families]) => {
    if (families === 0) return { clusterIP: 'None' };
    const clusterIPs = families === 4 ? [four] : families === 6 ? [six] : families === 46 ? [four, six] : [six, four];
    return {
      clusterIP: clusterIPs[0] ?? '',
      clusterIPs,
      ipFamilies: clusterIPs.map((ip) => (ip.includes(':') ? 'IPv6' : 'IPv4')),
    };
  });

const serviceArbitrary = (maglev: boolean): fc.Arbitrary<ServiceObject> =>
  fc
    .record({
      name: fc.constantFrom(...NAMES),
      families: familiesArbitrary,
      type: mostly('LoadBalancer', 'ClusterIP', 'NodePort', 'ExternalName'),
      ports: portsArbitrary,
      internal: mostly('Cluster', 'Local'),
      external: fc.constantFrom('Cluster', 'Local'),
      affinity: mostly(0, 10, 600),
      externalIPs: fc.subarray(OUTER, { maxLength: 2 }),
      ingress: ingressArbitrary,
      ranges: fc.option(fc.constantFrom(...RANGES), { nil: undefined, freq: 1 }),
      created: createdArbitrary,
      proxy: mostly<string | undefined>(undefined, 'other'),
      algorithm: maglev ? fc.constantFrom('maglev', 'hash') : fc.constant('hash'),
    })
    .map(({ name, families, type, ports, internal, external, affinity, externalIPs, ingress, ...rest }) => {
      const { algorithm, created, proxy, ranges } = rest;
      const spec = {
        ...families,
        type,
        ports,
        internalTrafficPolicy: internal,
        externalTrafficPolicy: external,
        externalIPs,
        healthCheckNodePort: external === 'Local' ? 32_000 : 0,
        ...(ranges === undefined ? {} : { loadBalancerSourceRanges: ranges }),
        ...(affinity === 0
          ? {}
          : { sessionAffinity: 'ClientIP', sessionAffinityConfig: { clientIP: { timeoutSeconds: affinity } } }),
      };
      const labels = proxy === undefined ? {} : { 'service.kubernetes.io/service-proxy-name': proxy };
      const made = service(name, families.clusterIP, spec, labels);
      const annotations = algorithm === 'hash' ? {} : { 'tandem/algorithm': algorithm };
      const metadata = {
        ...made.metadata,
        annotations,
        ...(created === undefined ? {} : { creationTimestamp: created }),
      };
      const listed = ingress.map(({ ip, ipMode }) => (ipMode === undefined ? { ip } : { ip, ipMode }));
      return { ...made, metadata, status: { loadBalancer: { ingress: listed } } };
    });

const endpointArbitrary = fc
  .record({
    last: fc.integer({ min: 1, max: 5 }),
    ready: fc.boolean(),
    terminating: fc.boolean(),
    serving: fc.boolean(),
    node: fc.constantFrom('node-a', 'node-b'),
    pod: fc.constantFrom('', 'p', 'q'),
    zones: fc.constantFrom(undefined, ['z1'], ['z1'], ['z2'], ['z2']),
    nodes: mostly<string[] | undefined>(undefined, ['node-a'], ['node-b']),
  })
  .map(({ last, zones, nodes, ...options }) => ({
    last,
    options: {
      ...options,
      ...(zones === undefined ? {} : { forZones: zones }),
      ...(nodes === undefined ? {} : { forNodes: nodes }),
    },
  }));

const sliceArbitrary = fc
  .record({
    slice: fc.constantFrom('s1', 's2', 's3', 's4', 's5'),
    of: fc.constantFrom(...NAMES),
    endpoints: fc.array(endpointArbitrary, { maxLength: 5 }),
    admin: fc.constantFrom(8081, 9091),
    isSix: fc.constantFrom(false, false, true),
    isHeadless: mostly(false, true),
  })
  .map(({ slice: name, of, endpoints, admin, isSix, isHeadless }) => {
    const listed = endpoints.map(({ last, options }) => endpoint(`${isSix ? 'fd00:a::' : '10.0.0.'}${last}`, options));
    return slice(of, listed, {
      slice: name,
      addressType: isSix ? 'IPv6' : 'IPv4',
      labels: isHeadless ? { 'service.kubernetes.io/headless': '' } : {},
      ports: [
        { name: 'http', port: 8080 },
        { name: 'http', port: 8080, protocol: 'UDP' },
        { name: 'dns', port: 5353, protocol: 'UDP' },
        { name: 'other', port: 8082 },
        { name: 'admin', port: admin },
      ],
    });
  });

const hostPortArbitrary = fc.record({
  hostPort: fc.constantFrom(30_080, 80, 8080),
  containerPort: fc.constantFrom(8080, 9090),
  protocol: fc.constantFrom('TCP', 'UDP'),
  hostIP: fc.constantFrom('', '', '0.0.0.0', '::', '192.0.2.10', '198.51.100.1', '127.0.0.1'),
});

const podArbitrary = fc
  .record({
    name: fc.constantFrom('a', 'p', 'q'),
    ips: fc.constantFrom(['10.0.0.1'], ['10.0.0.2'], ['10.0.0.1', 'fd00:a::1'], ['fd00:a::2'], []),
    ports: fc.array(hostPortArbitrary, { maxLength: 2 }),
    nodeName: mostly('node-a', 'node-b'),
    created: createdArbitrary,
  })
  .map(({ name, ips, ports, nodeName, created }) => {
    const made = pod(name, ips, ports, { nodeName, containers: [{ ports }] });
    if (created === undefined) return made;
    return { ...made, metadata: { ...made.metadata, creationTimestamp: created } };
  });

export const nodeArbitrary: fc.Arbitrary<NodeObject> = fc
  .record({
    name: mostly('node-a', 'node-b'),
    zone: fc.constantFrom('z1', 'z2', ''),
    addresses: fc.constantFrom(...NODE_IPS),
  })
  .map(({ name, zone, addresses }) => node(name, zone, addresses));

function nameOf(object: ClusterObject): string {
  return object.metadata?.name ?? '';
}

export function worldArbitrary(options: { readonly maglev?: boolean } = {}): fc.Arbitrary<World> {
  return fc.record({
    Service: fc.uniqueArray(serviceArbitrary(options.maglev === true), { selector: nameOf, maxLength: 4 }),
    EndpointSlice: fc.uniqueArray(sliceArbitrary, { selector: nameOf, maxLength: 4 }),
    Node: fc.uniqueArray(nodeArbitrary, { selector: nameOf, maxLength: 2 }),
    Pod: fc.uniqueArray(podArbitrary, { selector: nameOf, maxLength: 2 }),
  });
}

/** Everything of a configuration that changes what is served. */
export const configArbitrary: fc.Arbitrary<NodeConfig> = fc
  .record({
    nodeIPs: fc.constantFrom([], [], ['192.0.2.10', '192.0.2.11', 'fd00:1::10']),
    nodePortAddresses: fc.constantFrom<'primary' | readonly string[]>(
      'primary',
      ['192.0.2.0/24'],
      ['0.0.0.0/0', '::/0'],
      ['fd00:1::/64'],
    ),
    clusterCIDRs: fc.constantFrom([], ['10.0.0.0/16']),
    masqueradeAll: fc.boolean(),
    externalClusterIP: mostly(false, true),
    hostPort: mostly(true, false),
    topology: mostly(true, false),
  })
  .map(({ nodeIPs, nodePortAddresses, clusterCIDRs, ...rest }) => ({
    ...NODE,
    ...rest,
    nodeIPs: nodeIPs.map(addressOf),
    nodePortAddresses: nodePortAddresses === 'primary' ? nodePortAddresses : nodePortAddresses.map(rangeOf),
    clusterCIDRs: clusterCIDRs.map(rangeOf),
  }));

export function lists(world: World): ClusterEvent[] {
  return KINDS.map((kind) => ({ type: 'LISTED', kind, items: world[kind] }));
}

/** Single events that lead from one world to another, in the order of the given numbers, some of them twice. */
export function changes(before: World, after: World, order: readonly number[]): ClusterEvent[] {
  const events = KINDS.flatMap((kind) => {
    const now = new Set(after[kind].map(nameOf));
    const old = new Set(before[kind].map(nameOf));
    return [
      ...before[kind].filter((object) => !now.has(nameOf(object))).map(deleted),
      ...after[kind].map((object) => (old.has(nameOf(object)) ? modified(object) : added(object))),
    ];
  });
  const shuffled = events
    .map((event, index) => ({ event, place: order[index % order.length] ?? 0 }))
    .sort((a, b) => a.place - b.place);
  return shuffled.flatMap(({ event, place }) => (place % 3 === 0 ? [event, event] : [event]));
}

/** A loop that programs frontends of every kind. */
export function start(store: MemoryStore, config: NodeConfig, failures: string[] = []): Loop {
  const onProblem = ({ object, message }: { readonly object: string; readonly message: string }): void =>
    void failures.push(`${object}: ${message}`);
  return createLoop({ store, node: config, whyNot: () => undefined, onProblem });
}

export function text(store: MemoryStore): string {
  const result = canonical(store);
  if (!result.ok) throw new Error(result.error.message);
  return result.value;
}

/** Maps made from a world at once. */
export function fresh(world: World, config: NodeConfig, sizes: Sizes = {}): MemoryStore {
  const store = new MemoryStore(sizes);
  const loop = start(store, config);
  tell(loop, lists(world));
  expect(loop.step().isSettled).toBe(true);
  return store;
}

/** What the datapath answers: the exact row, else that of the whole address. */
export function answer(store: MemoryStore, key: FrontendKeyRecord): Answer | undefined {
  return store.lookup(key) ?? store.lookup({ ...key, port: 0 as Port, protocol: 0 as Protocol });
}

/** What must hold between two steps of the loop: nothing is left behind. */
export function expectTidy(store: MemoryStore): void {
  expect(store.strayBackends()).toEqual([]);
  expect(store.strayRanges()).toEqual([]);
}
