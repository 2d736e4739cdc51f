// SPDX-License-Identifier: Apache-2.0
/** Random clusters for a real API server: a namespace each, with Services of all types and slices written by hand. */
import type { Stream } from '../../core/random.ts';
import { balancerPrefixes, externalPrefixes, node, otherNodes, ownPods } from './places.ts';
import { drawSlices } from './slices.ts';

/** As it is sent; the API server fills in and refuses. */
export type ObjectToSend = Readonly<Record<string, unknown>>;

export type ClusterService = {
  readonly name: string;
  readonly service: ObjectToSend;
  /** What a load balancer would write; null: nothing. */
  readonly status: ObjectToSend | null;
  readonly slices: readonly ObjectToSend[];
};

export type RandomCluster = {
  readonly namespace: string;
  /** Tells its addresses apart from those of other clusters. */
  readonly index: number;
  readonly services: readonly ClusterService[];
};

export type DrawnPort = { readonly name: string; readonly port: number; readonly protocol: 'TCP' | 'UDP' | 'SCTP' };

/** Four addresses of each kind and family for a cluster: enough to share some by chance. */
const ADDRESSES_OF_CLUSTER = 4;

export function drawCluster(stream: Stream, index: number): RandomCluster {
  const namespace = `cluster-${index}`;
  const services = Array.from({ length: 2 + stream.below(4) }, (_, at) => drawService(stream, index, `service-${at}`));
  return { namespace, index, services };
}

const types: readonly string[] = [
  ...['ClusterIP', 'ClusterIP', 'NodePort', 'NodePort'],
  ...['LoadBalancer', 'LoadBalancer', 'LoadBalancer', 'other'],
];

function drawService(stream: Stream, index: number, name: string): ClusterService {
  const type = stream.pick(types);
  const ports = drawPorts(stream);
  const families = stream.pick([['IPv4'], ['IPv6'], ['IPv4', 'IPv6'], ['IPv4', 'IPv6'], ['IPv6', 'IPv4']]);
  const labels = stream.chance(0.04) ? { 'service.kubernetes.io/service-proxy-name': stream.pick(['', 'other']) } : {};
  const spec = type === 'other' ? drawUnproxied(stream, ports) : drawSpec(stream, { index, type, ports, families });
  return {
    name,
    service: { apiVersion: 'v1', kind: 'Service', metadata: { name, labels }, spec },
    status: type === 'LoadBalancer' ? drawStatus(stream, index) : null,
    slices: drawSlices(stream, name, ports),
  };
}

/** Headless, or a name elsewhere (services A1). */
function drawUnproxied(stream: Stream, ports: readonly DrawnPort[]): ObjectToSend {
  return stream.chance(0.5)
    ? { type: 'ExternalName', externalName: 'example.com', ports }
    : { clusterIP: 'None', ports };
}

function drawPorts(stream: Stream): readonly DrawnPort[] {
  const count = stream.pick([1, 1, 2, 3]);
  const numbers = [80, 53, 443];
  const ports: DrawnPort[] = [];
  for (let at = 0; at < count; at += 1) {
    const protocol = stream.pick(['TCP', 'TCP', 'UDP', 'SCTP'] as const);
    // The same number on two protocols is two ports (services A4).
    const port = stream.pick(numbers);
    if (ports.some((other) => other.port === port && other.protocol === protocol)) continue;
    ports.push({ name: count === 1 && stream.chance(0.5) ? '' : `port-${at}`, port, protocol });
  }
  return ports;
}

type Drawn = {
  readonly index: number;
  readonly type: string;
  readonly ports: readonly DrawnPort[];
  readonly families: readonly string[];
};

function drawSpec(stream: Stream, { index, type, ports, families }: Drawn): ObjectToSend {
  const externalIPs = stream.chance(0.3) ? drawExternal(stream, index) : [];
  const isExternal = type !== 'ClusterIP' || externalIPs.length > 0;
  return {
    type,
    ports: type === 'NodePort' ? withSharedNumber(stream, ports, index) : ports,
    ipFamilies: families,
    ipFamilyPolicy: families.length === 2 ? 'RequireDualStack' : 'SingleStack',
    internalTrafficPolicy: stream.pick(['Cluster', 'Local']),
    ...(isExternal ? { externalTrafficPolicy: stream.pick(['Cluster', 'Local']) } : {}),
    ...(externalIPs.length > 0 ? { externalIPs } : {}),
    ...drawAffinity(stream),
    ...(type === 'LoadBalancer' ? drawBalancer(stream) : {}),
  };
}

/** Node ports that the API server hands out last, of which the first clusters may ask for one each. */
const asked = { first: 30_000, count: 80 };

/** Now and then one node port on several protocols (services A4). */
function withSharedNumber(stream: Stream, ports: readonly DrawnPort[], index: number): readonly ObjectToSend[] {
  const protocols = new Set(ports.map(({ protocol }) => protocol));
  const isShared = protocols.size === ports.length && index < asked.count && stream.chance(0.3);
  return isShared ? ports.map((port) => ({ ...port, nodePort: asked.first + index })) : ports;
}

export function drawAffinity(stream: Stream): ObjectToSend {
  if (stream.chance(0.75)) return { sessionAffinity: 'None' };
  const timeoutSeconds = stream.pick([1, 60, 10_800, 86_400]);
  return { sessionAffinity: 'ClientIP', sessionAffinityConfig: { clientIP: { timeoutSeconds } } };
}

function drawBalancer(stream: Stream): ObjectToSend {
  return {
    ...(stream.chance(0.5) ? { loadBalancerSourceRanges: drawRanges(stream) } : {}),
    allocateLoadBalancerNodePorts: stream.chance(0.8),
  };
}

/** Around the clients of the comparison, the node's own addresses, and everybody. */
const ranges: readonly string[] = [
  ...['10.0.0.0/8', '10.244.0.0/16', '10.244.1.0/24', '198.51.100.0/24', '198.51.100.0/25', '203.0.113.7/32'],
  ...['10.88.0.0/24', '10.89.0.0/16', '172.16.0.0/12', '172.24.0.0/13', '255.255.255.255/32', '128.0.0.0/1'],
  // Blanks are allowed here and nowhere else (services A8).
  ...[' 10.0.0.0/8', '198.51.100.0/24 '],
  ...['2001:db8:99::/64', 'fd00:10:244:1::/64', 'fd00:88::11/128', 'fd00:89::/64', '8000::/1', 'fd00::/8'],
];

export function drawRanges(stream: Stream): readonly string[] {
  const drawn = Array.from({ length: 1 + stream.below(4) }, () => stream.pick(ranges));
  if (stream.chance(0.1)) drawn.push(stream.pick(['0.0.0.0/0', '::/0']));
  return drawn;
}

/** Now and then an address of the node itself, which other clusters draw too. */
function drawExternal(stream: Stream, index: number): readonly string[] {
  return stream.chance(0.04) ? [stream.pick(node.addresses)] : drawAddresses(stream, externalPrefixes, index);
}

function drawAddresses(stream: Stream, prefixes: readonly [string, string], index: number): readonly string[] {
  const count = 1 + stream.below(2);
  return [...new Set(Array.from({ length: count }, () => drawAddress(stream, prefixes, index)))];
}

/** Its own to the cluster, so that contested frontends are those of one cluster. */
function drawAddress(stream: Stream, [four, six]: readonly [string, string], index: number): string {
  const number = index * ADDRESSES_OF_CLUSTER + stream.below(ADDRESSES_OF_CLUSTER);
  return stream.chance(0.5) ? `${four}${number >> 8}.${number & 255}` : `${six}${(number + 1).toString(16)}`;
}

function drawStatus(stream: Stream, index: number): ObjectToSend | null {
  if (stream.chance(0.1)) return null;
  const ingress = Array.from({ length: 1 + stream.below(3) }, () => {
    if (stream.chance(0.08)) return { hostname: 'balancer.example.com' };
    const ip = drawAddress(stream, balancerPrefixes, index);
    return { ip, ...(stream.chance(0.7) ? {} : { ipMode: stream.pick(['VIP', 'Proxy']) }) };
  });
  return { loadBalancer: { ingress } };
}

/** All nodes of the cluster, ours with its addresses and the zone that the run varies. */
export function nodeObjects(zone: string | null): readonly ObjectToSend[] {
  const labelsOf = (name: string | null): ObjectToSend =>
    name === null ? {} : { 'topology.kubernetes.io/zone': name };
  const [four, six] = node.primary;
  const ours = { name: node.name, zone, address: four, addressSix: six };
  return [ours, ...otherNodes].map((one) => ({
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name: one.name, labels: labelsOf(one.zone) },
    ...(one === ours ? { spec: { podCIDR: ownPods.ranges[0], podCIDRs: ownPods.ranges } } : {}),
    status: {
      addresses: [
        { type: 'InternalIP', address: one.address },
        { type: 'InternalIP', address: one.addressSix },
      ],
    },
  }));
}
