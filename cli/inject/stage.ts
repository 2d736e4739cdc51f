// SPDX-License-Identifier: Apache-2.0
/** The lab in which a recording is sent again: the recorded node, its clients and those backends that are on it. */
import {
  address,
  addressText,
  isIPv4,
  parseAddress,
  prefixContains,
  prefixText,
  type Address,
  type Prefix,
} from '../../core/address.ts';
import { SERVICE_NAME_LABEL } from '../../core/control/slices.ts';
import { objectsOf, type EndpointSliceObject } from '../../core/objects.ts';
import { fail, ok, type Result } from '../../core/result.ts';
import type { TimedEvent } from '../../formats/events.ts';
import type { NodeFacts } from '../../formats/node.ts';
import type { LabSpec, NodeSpec, PodSpec } from '../../lab/spec.ts';
import type { Shot } from './script.ts';

/** A pod is a namespace with a device; more of them are slow to make. */
export const PODS_MAX = 64;

/** The recorded node in the lab: its own name may hold dots. */
export const NODE = 'node';

/** Where a recording does not say: addresses for tests of networks (RFC 2544), and some of our own (RFC 4193). */
const MADE_UP = {
  node: '198.18.1.10',
  podRange: '198.18.0.0/24',
  nodeIPv6: 'fd00:198:18::10',
  podRangeIPv6: 'fd00:198:18:1::/64',
} as const;

export type Stage = {
  readonly spec: LabSpec;
  /** Address to the pod that has it; others are behind the uplink. */
  readonly podOf: ReadonlyMap<string, string>;
  /** Endpoints that are not on this node. */
  readonly elsewhere: readonly string[];
};

type Family = 'IPv4' | 'IPv6';
type PodAddresses = { [Of in Family]?: string };

/** One pod for each that a packet comes from or may be sent to on this node. */
export function planStage(
  labName: string,
  shots: readonly Shot[],
  facts: NodeFacts,
  events: readonly TimedEvent[],
): Result<Stage> {
  const endpoints = endpointsOf(events, new Set(shots.map(({ service }) => serviceName(service))));
  const isHere = (text: string): boolean => isLocal(text, endpoints.get(text), facts);
  const requests = shots.filter(({ is }) => is === 'request').map(({ headers }) => addressText(headers.source));
  const local = [...new Set([...requests, ...[...endpoints.keys()].filter(isHere)])];
  const pods = groupPods(local, facts, endpoints);
  if (pods.length > PODS_MAX) {
    const message = `${pods.length} pods of ${facts.name} send or get these packets; a lab has at most ${PODS_MAX}`;
    return fail('limit', 'replay --inject', message, 'choose with --service, --flow, --from and --to');
  }
  const node = nodeOf(facts, local);
  if (!node.ok) return node;
  const named = pods.map((pod, index) => podOf(pod, index, node.value, local));
  const podsByAddress = named.flatMap((pod) => [
    [pod.address, pod.name] as const,
    ...(pod.addressIPv6 === undefined ? [] : [[pod.addressIPv6, pod.name] as const]),
  ]);
  return ok({
    spec: { name: labName, nodes: [node.value], pods: named },
    podOf: new Map(podsByAddress),
    elsewhere: [...endpoints.keys()].filter((text) => !isHere(text)),
  });
}

/** `shop/web:http` to `shop/web`. */
function serviceName(service: string): string {
  return service.split(':')[0] ?? '';
}

/** What slices say of an address: the last word counts. */
type Endpoint = { readonly node: string; readonly pod: string };

function endpointsOf(events: readonly TimedEvent[], services: ReadonlySet<string>): ReadonlyMap<string, Endpoint> {
  const found = new Map<string, Endpoint>();
  for (const { event } of events) {
    for (const object of objectsOf(event)) {
      if (object.kind === 'EndpointSlice' && services.has(serviceOf(object))) noteEndpoints(object, found);
    }
  }
  return found;
}

function serviceOf({ metadata }: EndpointSliceObject): string {
  return `${metadata?.namespace ?? ''}/${metadata?.labels?.[SERVICE_NAME_LABEL] ?? ''}`;
}

function noteEndpoints({ endpoints }: EndpointSliceObject, found: Map<string, Endpoint>): void {
  for (const { addresses = [], nodeName = '', targetRef } of endpoints ?? []) {
    for (const written of addresses) {
      const parsed = parseAddress(written);
      if (!parsed.ok) continue;
      found.set(addressText(parsed.value), { node: nodeName, pod: targetRef?.uid ?? targetRef?.name ?? '' });
    }
  }
}

function isLocal(text: string, endpoint: Endpoint | undefined, facts: NodeFacts): boolean {
  const value = parsed(text);
  if (facts.addresses.some((own) => addressText(own) === text)) return false;
  if (facts.podRanges.length > 0) return isWithin(facts.podRanges, value);
  return endpoint?.node === facts.name && isWithin(facts.clusterRanges, value);
}

function isWithin(ranges: readonly Prefix[], value: Address): boolean {
  return ranges.some((range) => prefixContains(range, value));
}

function parsed(text: string): Address {
  const result = parseAddress(text);
  return result.ok ? result.value : address(0, 0, 0, 0);
}

/** A pod has one address of each family: those behind one device, or of one pod by what slices say. */
function groupPods(
  local: readonly string[],
  facts: NodeFacts,
  endpoints: ReadonlyMap<string, Endpoint>,
): readonly PodAddresses[] {
  const devices = new Map(
    facts.devices.flatMap(({ name, podAddresses }) => podAddresses.map((one) => [addressText(one), name] as const)),
  );
  const pods = new Map<string, PodAddresses>();
  for (const text of local) {
    const pod = endpoints.get(text)?.pod ?? '';
    const device = devices.get(text);
    const key = device === undefined ? (pod === '' ? text : `pod ${pod}`) : `device ${device}`;
    const family = familyOf(text);
    const known = pods.get(key);
    // A name that came again with another address is another pod.
    if (known?.[family] !== undefined) pods.set(text, { [family]: text });
    else pods.set(key, { ...known, [family]: text });
  }
  return [...pods.values()];
}

function familyOf(text: string): Family {
  return isIPv4(parsed(text)) ? 'IPv4' : 'IPv6';
}

function nodeOf(facts: NodeFacts, local: readonly string[]): Result<NodeSpec> {
  const own = (family: Family): string | undefined =>
    facts.addresses.map(addressText).find((text) => familyOf(text) === family);
  const podRange = rangeFor('IPv4', facts, local);
  if (!podRange.ok) return podRange;
  const podRangeIPv6 = rangeFor('IPv6', facts, local);
  if (!podRangeIPv6.ok) return podRangeIPv6;
  const ipv4 = {
    name: NODE,
    address: own('IPv4') ?? MADE_UP.node,
    podRange: podRange.value ?? MADE_UP.podRange,
  };
  const hasIPv6 = local.some((text) => familyOf(text) === 'IPv6');
  if (!hasIPv6) return ok(ipv4);
  const addressIPv6 = own('IPv6') ?? MADE_UP.nodeIPv6;
  return ok({ ...ipv4, addressIPv6, podRangeIPv6: podRangeIPv6.value ?? MADE_UP.podRangeIPv6 });
}

/** The range in which all pods of a family are; undefined: there are none of it and no range is known. */
function rangeFor(family: Family, facts: NodeFacts, local: readonly string[]): Result<string | undefined> {
  const ranges = facts.podRanges.length > 0 ? facts.podRanges : facts.clusterRanges;
  const pods = local.filter((text) => familyOf(text) === family).map(parsed);
  const candidates = ranges.filter((range) => isIPv4(range.address) === (family === 'IPv4'));
  const range = candidates.find((one) => pods.every((pod) => prefixContains(one, pod)));
  if (range !== undefined) return ok(prefixText(range));
  const [stranger] = pods;
  if (stranger === undefined) return ok(undefined);
  const message = `no one pod range of ${facts.name} holds all pods that send or get these packets`;
  return fail('input', addressText(stranger), message, 'give podCIDRs by --node node.json');
}

/** A lab's pods have an address of IPv4: one is taken from the end of the range where the recording has none. */
function podOf(pod: PodAddresses, index: number, node: NodeSpec, local: readonly string[]): PodSpec {
  const name = `pod${index + 1}`;
  const ipv4 = pod.IPv4 ?? spareAddress(node.podRange, index, local);
  return { name, node: NODE, address: ipv4, ...(pod.IPv6 !== undefined && { addressIPv6: pod.IPv6 }) };
}

function spareAddress(range: string, index: number, local: readonly string[]): string {
  const [base = '', length = '24'] = range.split('/');
  const { a, b, c, d } = parsed(base);
  const last = (d | (2 ** (32 - Number(length)) - 1)) >>> 0;
  for (let at = last - 1 - index; ; at -= PODS_MAX) {
    const text = addressText(address(a, b, c, at >>> 0));
    if (!local.includes(text)) return text;
  }
}
