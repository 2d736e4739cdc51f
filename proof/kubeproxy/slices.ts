// SPDX-License-Identifier: Apache-2.0
/** Random EndpointSlices as nobody's controller would write them: every mix of conditions, hints, nodes, ports and families. */
import type { Stream } from '../../core/random.ts';
import type { DrawnPort, ObjectToSend } from './clusters.ts';
import { foreignPods, node, otherNodes, ownPods } from './places.ts';

/** Backends listen on these. */
export const backendPorts: readonly number[] = [8080, 8081, 9090];
/** Pods of each node by their last number. */
const POD_FIRST = 10;
const PODS = 150;

/** One to three slices of each family, now and then one that is not meant for anybody. */
export function drawSlices(stream: Stream, of: string, ports: readonly DrawnPort[]): readonly ObjectToSend[] {
  const mood = drawMood(stream);
  const taken = new Set<string>();
  return (['IPv4', 'IPv6'] as const).flatMap((family) => {
    const count = stream.pick([0, 1, 1, 1, 2, 3]);
    return Array.from({ length: count }, (_, at) => {
      const name = `${of}-${family.toLowerCase()}-${at}`;
      return slice(stream, { name, of, family, endpoints: drawEndpoints(stream, family, mood, taken), ports });
    });
  });
}

type DrawnSlice = {
  readonly name: string;
  readonly of: string;
  readonly family: 'IPv4' | 'IPv6';
  readonly endpoints: readonly ObjectToSend[];
  readonly ports: readonly DrawnPort[];
};

function slice(stream: Stream, { name, of, family, endpoints, ports }: DrawnSlice): ObjectToSend {
  const headless = stream.chance(0.03) ? { 'service.kubernetes.io/headless': '' } : {};
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name, labels: { 'kubernetes.io/service-name': of, ...headless } },
    addressType: family,
    endpoints,
    ports: drawSlicePorts(stream, ports),
  };
}

/** The same name may mean another number in another slice (services B14). */
function drawSlicePorts(stream: Stream, ports: readonly DrawnPort[]): readonly ObjectToSend[] {
  return ports.flatMap(({ name, protocol }): readonly ObjectToSend[] => {
    if (stream.chance(0.04)) return [];
    if (stream.chance(0.02)) return [{ name, protocol }];
    const other = stream.chance(0.03) ? stream.pick(['TCP', 'UDP', 'SCTP']) : protocol;
    return [{ name, protocol: other, port: stream.pick(backendPorts) }];
  });
}

/** What the endpoints of one Service have in common, so that every branch of the rules is met often. */
type Mood = {
  readonly conditions: 'ready' | 'terminating' | 'mixed' | 'dead';
  readonly hints: 'none' | 'zones' | 'nodes' | 'both';
  /** Whether each endpoint has its hints, or one may have none of a kind. */
  readonly isHintedThroughout: boolean;
  readonly places: 'anywhere' | 'elsewhere' | 'here';
};

function drawMood(stream: Stream): Mood {
  return {
    conditions: stream.pick(['ready', 'ready', 'ready', 'mixed', 'mixed', 'terminating', 'dead']),
    hints: stream.pick(['none', 'none', 'zones', 'nodes', 'both']),
    isHintedThroughout: stream.chance(0.7),
    places: stream.pick(['anywhere', 'anywhere', 'elsewhere', 'here']),
  };
}

/** `taken`: addresses that the Service has already; twice only where it is meant. */
function drawEndpoints(
  stream: Stream,
  family: 'IPv4' | 'IPv6',
  mood: Mood,
  taken: Set<string>,
): readonly ObjectToSend[] {
  const count = stream.chance(0.01) ? 100 : stream.pick([0, 1, 2, 3, 5]);
  const endpoints: ObjectToSend[] = [];
  for (let at = 0; at < count; at += 1) {
    const { address, nodeName } = drawPlace(stream, family, mood);
    if (taken.has(address)) continue;
    taken.add(address);
    endpoints.push({
      addresses: [address],
      conditions: drawConditions(stream, mood),
      ...(nodeName === undefined ? {} : { nodeName }),
      ...drawHints(stream, mood),
    });
  }
  const [first] = endpoints;
  if (first === undefined) return endpoints;
  // The same endpoint again on its way out, or with other words (services H4).
  const again = stream.below(40);
  if (again < 3) endpoints.push({ ...first, conditions: drawConditions(stream, { ...mood, conditions: 'mixed' }) });
  if (again > 34) endpoints.push({ ...first, conditions: { ready: false, serving: true, terminating: true } });
  return endpoints;
}

/** Pods of this node, of others, programs on the nodes themselves, and pods of which nobody says where they run. */
function drawPlace(stream: Stream, family: 'IPv4' | 'IPv6', { places }: Mood): { address: string; nodeName?: string } {
  const index = family === 'IPv4' ? 0 : 1;
  const kind = stream.below(20);
  if (kind === 0) return { address: node.primary[index], nodeName: node.name };
  const [second, third] = otherNodes;
  if (kind === 1) return { address: index === 0 ? second.address : second.addressSix, nodeName: second.name };
  const last = POD_FIRST + stream.below(PODS);
  const isHere = places === 'here' || (places === 'anywhere' && stream.chance(0.5));
  if (isHere) {
    const address = `${ownPods.prefixes[index]}${last}`;
    return kind === 2 ? { address } : { address, nodeName: node.name };
  }
  const other = stream.pick([second, third]);
  const prefix = foreignPods.prefixes[index];
  const address = other === second ? `${prefix}${last}` : `${prefix.replace(/2(\.|::)$/, '3$1')}${last}`;
  return kind === 2 ? { address } : { address, nodeName: other.name };
}

function drawConditions(stream: Stream, { conditions }: Mood): ObjectToSend {
  switch (conditions) {
    case 'ready':
      return stream.chance(0.2) ? {} : { ready: true, serving: true, terminating: false };
    case 'terminating':
      return { ready: false, serving: stream.chance(0.7), terminating: true };
    case 'dead':
      return { ready: false, serving: stream.chance(0.5), terminating: false };
    case 'mixed': {
      const any = (name: string): ObjectToSend => stream.pick([{ [name]: true }, { [name]: false }, {}]);
      return { ...any('ready'), ...any('serving'), ...any('terminating') };
    }
  }
}

function drawHints(stream: Stream, { hints, isHintedThroughout }: Mood): ObjectToSend {
  const has = (kind: 'zones' | 'nodes'): boolean =>
    (hints === kind || hints === 'both') && (isHintedThroughout || stream.chance(0.6));
  const [isZones, isNodes] = [has('zones'), has('nodes')];
  if (!isZones && !isNodes) return {};
  const forZones = [{ name: stream.pick(['zone-1', 'zone-1', 'zone-2', 'zone-3']) }];
  if (stream.chance(0.2)) forZones.push({ name: stream.pick(['zone-4', 'zone-5']) });
  const forNodes = [{ name: stream.pick([node.name, 'node-2', 'node-3']) }];
  return { hints: { ...(isZones ? { forZones } : {}), ...(isNodes ? { forNodes } : {}) } };
}
