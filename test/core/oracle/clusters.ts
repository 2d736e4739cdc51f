// SPDX-License-Identifier: Apache-2.0
/** Random clusters from the Service contract: every type, policy and mix of endpoints, few addresses, so that they meet. */
import * as fc from 'fast-check';
import type {
  ClusterObject,
  EndpointObject,
  EndpointSliceObject,
  NodeObject,
  PodObject,
  ServiceObject,
  ServicePortObject,
} from '../../../core/objects.ts';
import { NODE } from './world.ts';

/** One of several values, the first as often as all others together. */
function mostly<T>(usual: T, ...others: readonly T[]): fc.Arbitrary<T> {
  return fc.oneof({ weight: others.length, arbitrary: fc.constant(usual) }, fc.constantFrom(...others));
}

const rarely = (value: number): fc.Arbitrary<boolean> => fc.nat(value).map((drawn) => drawn === 0);
const someOf = <T>(maxLength: number, ...pool: readonly T[]): fc.Arbitrary<T[]> =>
  fc.array(fc.constantFrom(...pool), { maxLength });

/** What is there and what is not, as it is in JSON. */
function defined<T extends object>(fields: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]: Exclude<T[K], undefined>;
  };
}

const serviceName = fc.constantFrom('shop/web', 'shop/zoo', 'shop/api', 'other/web');
const policy = mostly('Cluster', 'Local', 'Local', undefined);
const creationTimestamp = fc.constantFrom(
  undefined,
  '2026-01-02T03:04:05Z',
  '2026-01-02T03:04:05Z',
  '2025-12-31T23:59:59Z',
);

const anyPort: fc.Arbitrary<ServicePortObject> = fc
  .record({
    name: fc.constantFrom('http', 'http', 'dns', '', undefined),
    port: mostly(80, 53, 81, 30080, 9000, 0, 70_000),
    protocol: mostly('TCP', 'UDP', 'UDP', 'SCTP', undefined, 'XTP'),
    nodePort: fc.constantFrom(undefined, 0, 30080, 30080, 30053, 70_000),
    targetPort: fc.constantFrom<number | string | undefined>(undefined, 8080, 'www'),
  })
  .map((fields) => defined(fields));

const v4 = fc.constantFrom('10.96.0.1', '10.96.0.2', '10.96.0.3', '010.096.000.004');
const v6 = fc.constantFrom('fd00:96::1', 'fd00:96::2', 'FD00:0096::0003');

const anyClusterIPs: fc.Arbitrary<{ clusterIP: string; clusterIPs?: string[]; ipFamilies?: string[] }> = fc.oneof(
  { weight: 4, arbitrary: v4.map((ip) => ({ clusterIP: ip, clusterIPs: [ip], ipFamilies: ['IPv4'] })) },
  { weight: 2, arbitrary: v4.map((ip) => ({ clusterIP: ip })) },
  { weight: 2, arbitrary: v6.map((ip) => ({ clusterIP: ip, clusterIPs: [ip], ipFamilies: ['IPv6'] })) },
  { weight: 1, arbitrary: v6.map((ip) => ({ clusterIP: ip })) },
  {
    weight: 6,
    arbitrary: fc
      .tuple(v4, v6, fc.boolean())
      .map(([four, six, turned]) =>
        turned
          ? { clusterIP: six, clusterIPs: [six, four], ipFamilies: ['IPv6', 'IPv4'] }
          : { clusterIP: four, clusterIPs: [four, six], ipFamilies: ['IPv4', 'IPv6'] },
      ),
  },
  { weight: 1, arbitrary: fc.constantFrom({ clusterIP: 'None' }, { clusterIP: '' }, { clusterIP: 'nonsense' }) },
);

/** Addresses that are a ClusterIP, a node's, another's VIP, or none of them; and some that cannot be read. */
const OUTER = [
  '198.51.100.7',
  '198.51.100.8',
  '198.51.100.008',
  '2001:db8::7',
  '2001:db8::8',
  '10.96.0.1',
  '192.0.2.10',
  'fd00:88::a',
  'nonsense',
  '',
];

const RANGES = [
  '203.0.113.0/24',
  ' 203.0.113.0/25 ',
  '10.0.0.0/16',
  '192.0.2.0/24',
  '0.0.0.0/0',
  '2001:db8:1::/48',
  'fd00:88::/64',
  '::/0',
  'nonsense',
  '010.000.002.000/24',
];

const anyIngress = fc
  .record({
    ip: fc.constantFrom(undefined, ...OUTER.slice(0, 9)),
    ipMode: mostly(undefined, 'VIP', 'Proxy'),
    hostname: fc.constantFrom(undefined, undefined, 'lb.example'),
  })
  .map((fields) => defined(fields));

const anyService: fc.Arbitrary<ServiceObject> = fc
  .record({
    name: serviceName,
    creationTimestamp,
    type: mostly('LoadBalancer', 'ClusterIP', 'ClusterIP', 'NodePort', 'ExternalName', 'Strange'),
    clusterIPs: anyClusterIPs,
    internalTrafficPolicy: policy,
    externalTrafficPolicy: policy,
    externalIPs: fc.oneof({ weight: 2, arbitrary: fc.constant([]) }, someOf(2, ...OUTER)),
    ports: fc.array(anyPort, { minLength: 1, maxLength: 3 }),
    ranges: fc.oneof({ weight: 2, arbitrary: fc.constant(undefined) }, someOf(3, ...RANGES)),
    ingress: fc.oneof({ weight: 2, arbitrary: fc.constant([]) }, fc.array(anyIngress, { maxLength: 3 })),
    healthCheckNodePort: fc.constantFrom(32_000, 32_001, 0, undefined),
    affinity: mostly<number | undefined>(undefined, 0, 10, 10_800),
    label: mostly<string | undefined>(undefined, undefined, undefined, '', 'mine'),
  })
  .map(({ name, creationTimestamp: created, clusterIPs, ranges, ingress, affinity, label, ...spec }) => ({
    kind: 'Service' as const,
    metadata: {
      ...named(name),
      ...defined({ creationTimestamp: created }),
      labels: label === undefined ? {} : { 'service.kubernetes.io/service-proxy-name': label },
    },
    spec: {
      ...defined(spec),
      ...clusterIPs,
      ...defined({ loadBalancerSourceRanges: ranges }),
      ...(affinity === undefined
        ? {}
        : { sessionAffinity: 'ClientIP', ...(affinity === 0 ? {} : affinityConfig(affinity)) }),
    },
    status: { loadBalancer: { ingress } },
  }));

const affinityConfig = (timeoutSeconds: number): object => ({
  sessionAffinityConfig: { clientIP: { timeoutSeconds } },
});

const nodeName = fc.constantFrom(NODE, NODE, 'node-b', 'node-b', '', undefined);
const flag = fc.constantFrom(true, true, false, null, undefined);

/** Mostly as a controller writes them: ready, ending, not ready; else at random. */
const anyConditions: fc.Arbitrary<NonNullable<EndpointObject['conditions']> | undefined> = fc.oneof(
  { weight: 4, arbitrary: fc.constant({ ready: true, serving: true, terminating: false }) },
  { weight: 3, arbitrary: fc.constant({ ready: false, serving: true, terminating: true }) },
  { weight: 1, arbitrary: fc.constant({ ready: false, serving: false, terminating: false }) },
  { weight: 1, arbitrary: fc.constant(undefined) },
  {
    weight: 2,
    arbitrary: fc.record({ ready: flag, serving: flag, terminating: flag }).map((fields) => defined(fields)),
  },
);

const HINTS: readonly (EndpointObject['hints'] | undefined)[] = [
  undefined,
  {},
  { forZones: [{ name: 'z1' }] },
  { forZones: [{ name: 'z2' }] },
  { forZones: [{ name: 'z2' }, { name: 'z1' }] },
  { forZones: [{ name: 'z1' }], forNodes: [{ name: NODE }] },
  { forZones: [{ name: 'z2' }], forNodes: [{ name: 'node-b' }] },
];

const ENDPOINTS_V4 = ['10.0.1.1', '10.0.1.5', '10.0.2.1', '010.000.002.006', '192.0.2.10', '172.31.0.5'];
const ENDPOINTS_V6 = ['fd00:1::1', 'fd00:1::5', 'fd00:2::1', 'fd00:88::a'];

function anyEndpoint(pool: readonly string[], hints: readonly (typeof HINTS)[number][]): fc.Arbitrary<EndpointObject> {
  const address = fc.oneof(
    { weight: 9, arbitrary: fc.constantFrom(...pool) },
    fc.constantFrom('nonsense', 'fd00:9::9', '9.9.9.9'),
  );
  return fc
    .record({
      addresses: fc.oneof(
        { weight: 9, arbitrary: address.map((one) => [one]) },
        fc.array(address, { maxLength: 2 }),
        fc.constant(undefined),
      ),
      conditions: anyConditions,
      nodeName,
      zone: fc.constantFrom('z1', 'z2', undefined),
      hints: fc.constantFrom(...hints),
    })
    .map((fields) => defined(fields));
}

const anySlicePort = fc
  .record({
    name: mostly<string | null | undefined>('http', 'dns', '', null, undefined),
    port: mostly<number | null | undefined>(8080, 8081, 8080, 0, null),
    protocol: mostly<string | null | undefined>('TCP', 'UDP', 'UDP', 'SCTP', undefined),
  })
  .map((fields) => defined(fields));

/** Hints are all or nothing, so most Services have them of one kind. */
const anyHints = fc.constantFrom([HINTS[0]], HINTS.slice(2, 5), HINTS.slice(5), HINTS);

type SliceIdea = {
  readonly owner: string;
  readonly name: string;
  readonly addressType: string;
  readonly ports: NonNullable<EndpointSliceObject['ports']>;
  readonly endpoints: readonly EndpointObject[];
  readonly headless: boolean;
  readonly ownerless: boolean;
};

/** Slices of one Service: mostly with its ports. */
function slicesOf({ metadata, spec }: ServiceObject): fc.Arbitrary<EndpointSliceObject[]> {
  const owner = `${metadata?.namespace ?? ''}/${metadata?.name ?? ''}`;
  const ports = (spec?.ports ?? []).map(({ name = '', protocol }, index) =>
    defined({ name, protocol, port: index === 1 ? 9090 : 8080 }),
  );
  const families = spec?.ipFamilies ?? ['IPv4', 'IPv6'];
  return anyHints.chain((hints) => {
    const anyOne = mostly('same', 'same', 'IPv4', 'IPv6', 'FQDN').chain((drawn) =>
      fc.constantFrom(...(drawn === 'same' ? families : [drawn])).chain((addressType) =>
        fc.record<SliceIdea>({
          owner: fc.constant(owner),
          name: fc.constantFrom('a', 'b', 'c', 'd', 'e'),
          addressType: fc.constant(addressType),
          ports: fc.oneof(
            { weight: 5, arbitrary: fc.constant(ports) },
            fc.array(anySlicePort, { minLength: 1, maxLength: 3 }),
          ),
          endpoints: anyEndpoints(addressType, hints),
          headless: rarely(12),
          ownerless: rarely(25),
        }),
      ),
    );
    return fc.array(anyOne.map(sliceOf), { maxLength: 3 });
  });
}

function anyEndpoints(addressType: string, hints: readonly (typeof HINTS)[number][]): fc.Arbitrary<EndpointObject[]> {
  return fc.array(anyEndpoint(addressType === 'IPv6' ? ENDPOINTS_V6 : ENDPOINTS_V4, hints), { maxLength: 5 });
}

function sliceOf({ owner, name, headless, ownerless, ...rest }: SliceIdea): EndpointSliceObject {
  return {
    kind: 'EndpointSlice',
    metadata: {
      ...named(owner),
      name: `${named(owner).name}-${name}`,
      labels: {
        ...(ownerless ? {} : { 'kubernetes.io/service-name': named(owner).name }),
        ...(headless ? { 'service.kubernetes.io/headless': '' } : {}),
      },
    },
    ...rest,
  };
}

const NODE_ADDRESSES = [
  { type: 'ExternalIP', address: '198.51.100.20' },
  { type: 'InternalIP', address: '192.0.2.10' },
  { type: 'InternalIP', address: '192.0.2.12' },
  { type: 'InternalIP', address: 'fd00:88::a' },
  { type: 'ExternalIP', address: '2001:db8::20' },
  { type: 'Hostname', address: '192.0.2.66' },
  { type: 'InternalIP', address: '127.0.0.1' },
  { type: 'InternalIP', address: 'nonsense' },
];

const anyNode: fc.Arbitrary<NodeObject> = fc
  .record({
    name: mostly(NODE, 'node-b'),
    zone: fc.constantFrom('z1', 'z2', undefined),
    addresses: fc.shuffledSubarray(NODE_ADDRESSES),
  })
  .map(({ name, zone, addresses }) => ({
    kind: 'Node' as const,
    metadata: { name, labels: zone === undefined ? {} : { 'topology.kubernetes.io/zone': zone } },
    status: { addresses },
  }));

const anyContainerPort = fc
  .record({
    hostPort: mostly(9000, 80, 30080, 0, undefined),
    hostIP: fc.constantFrom(undefined, undefined, '', '0.0.0.0', '::', '192.0.2.10', '198.51.100.7', 'fd00:88::a', 'x'),
    containerPort: mostly(8080, 8081, undefined),
    protocol: mostly('TCP', 'UDP', undefined, 'SCTP'),
  })
  .map((fields) => defined(fields));

const anyContainer = fc.array(anyContainerPort, { maxLength: 2 }).map((ports) => ({ ports }));
const anyInitContainer = fc
  .tuple(anyContainer, fc.constantFrom(undefined, 'Always', 'OnFailure'))
  .map(([container, restartPolicy]) => ({ ...container, ...defined({ restartPolicy }) }));

const anyPod: fc.Arbitrary<PodObject> = fc
  .record({
    name: fc.constantFrom('shop/cache', 'shop/web', 'other/cache'),
    creationTimestamp,
    where: mostly<string | undefined>(NODE, 'node-b', undefined),
    hostNetwork: rarely(8),
    containers: fc.array(anyContainer, { maxLength: 2 }),
    initContainers: fc.array(anyInitContainer, { maxLength: 1 }),
    phase: mostly<string | undefined>('Running', undefined, 'Pending', 'Succeeded', 'Failed'),
    podIP: fc.constantFrom(undefined, '10.0.1.5', 'fd00:1::5'),
    podIPs: fc.constantFrom(undefined, ['10.0.1.5'], ['10.0.1.5', 'fd00:1::5'], ['fd00:1::5'], ['nonsense'], []),
  })
  .map(({ name, creationTimestamp: created, where, podIP, podIPs, phase, ...spec }) => ({
    kind: 'Pod' as const,
    metadata: { ...named(name), ...defined({ creationTimestamp: created }) },
    spec: { ...defined({ nodeName: where }), ...spec },
    status: defined({ phase, podIP, podIPs: podIPs?.map((ip) => ({ ip })) }),
  }));

const anyServices: fc.Arbitrary<readonly ClusterObject[]> = fc
  .array(
    anyService.chain((service) => slicesOf(service).map((slices): ClusterObject[] => [service, ...slices])),
    { minLength: 1, maxLength: 4 },
  )
  .map((groups) => groups.flat());

/** Objects in the order of their arrival; one of the name of an earlier one replaces it. */
export const anyObjects: fc.Arbitrary<readonly ClusterObject[]> = fc
  .tuple(anyServices, fc.array(anyNode, { maxLength: 2 }), fc.array(anyPod, { maxLength: 2 }))
  .map((kinds) => kinds.flat());

function named(text: string): { readonly namespace: string; readonly name: string } {
  const [namespace = '', name = ''] = text.split('/');
  return { namespace, name };
}
