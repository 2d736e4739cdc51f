// SPDX-License-Identifier: Apache-2.0
/** EndpointSlices as they come over the wire, checked field by field; what a version says as the last one is kept. */
import { addressText, hostText, parseAddress, type Address, type Port, type Protocol } from '../address.ts';
import type { EndpointSliceObject } from '../objects.ts';
import { assert } from '../result.ts';
import type { Backend, Family, Problem } from '../service.ts';
import { identity } from './decode.ts';
import { familyOf } from './families.ts';
import {
  fieldsOf,
  listField,
  listOf,
  portField,
  protocolField,
  report,
  shown,
  textOf,
  type Fields,
  type Findings,
} from './fields.ts';
import { podIdentity, serviceText, type Hash } from './names.ts';

const HEADLESS_LABEL = 'service.kubernetes.io/headless';
/** On an EndpointSlice: the Service that it belongs to. */
export const SERVICE_NAME_LABEL = 'kubernetes.io/service-name';

export type EndpointInfo = {
  /** null: not an address of the slice's family. */
  readonly address: Address | null;
  /** Canonical text of the address; what the slice says where it is not one. */
  readonly text: string;
  readonly ready: boolean;
  readonly serving: boolean;
  readonly terminating: boolean;
  readonly node: string;
  readonly zone: string;
  readonly zoneHints: readonly string[];
  readonly nodeHints: readonly string[];
  /** Uid of the pod that has the address, and its hash; empty and zero: not said. */
  readonly pod: string;
  readonly identity: Hash;
  /** With the slice's first port: made once, so that the lists of all views and versions share it. */
  first: Candidate | undefined;
  /** With the ports behind it, in their order. */
  others: (Candidate | undefined)[];
};

/** An endpoint with a port that it has, as views show it. */
export type Candidate = Backend & { readonly endpoint: EndpointInfo };

export type SlicePortInfo = {
  readonly place: number;
  readonly name: string;
  readonly port: Port;
  readonly protocol: Protocol;
};

/** An EndpointSlice of a Service. */
export type SliceInfo = {
  readonly key: string;
  /** `namespace/name` of its Service. */
  readonly service: string;
  readonly headless: boolean;
  /** null: names, or something we don't know. */
  readonly family: Family | null;
  readonly ports: readonly SlicePortInfo[];
  /** In the order of their backends' texts; equal ones as in the slice. */
  readonly endpoints: readonly EndpointInfo[];
  /** Whether each has an address, and no two the same. */
  readonly isPlain: boolean;
  /** Whether each is ready, and none has a hint. */
  readonly isCalm: boolean;
  readonly hasZoneHints: boolean;
  readonly problems: readonly Problem[];
};

const NO_NAMES: readonly string[] = [];
/** Of all whose slice has one port. */
const NO_CANDIDATES: Candidate[] = [];

/** The order of `10.0.0.1:80` and `10.0.0.10:80`, of `[fd00::1]:80` and `[fd00::10]:80`, whatever the port. */
function compareHosts(left: string, right: string): number {
  if (left === right) return 0;
  const end = left.includes(':') ? ']' : ':';
  if (right.startsWith(left)) return end < (right[left.length] ?? '') ? -1 : 1;
  if (left.startsWith(right)) return (left[right.length] ?? '') < end ? -1 : 1;
  return left < right ? -1 : 1;
}

/** The same endpoint and port give the same object; `place`: of the port in its slice. */
export function candidateOf(endpoint: EndpointInfo, { place, port }: SlicePortInfo): Candidate {
  const known = place === 0 ? endpoint.first : endpoint.others[place - 1];
  if (known !== undefined && known.port === port) return known;
  const { address, identity: who, node, ready, zone } = endpoint;
  assert(address !== null, `${endpoint.text} is chosen, so it is an address`);
  const text = `${hostText(endpoint.text)}:${port}`;
  const state = ready ? 'active' : 'terminating';
  const made: Candidate = { address, port, state, node, zone, identity: who, text, endpoint };
  if (place === 0) endpoint.first = made;
  else {
    if (endpoint.others === NO_CANDIDATES) endpoint.others = [];
    while (endpoint.others.length < place) endpoint.others.push(undefined);
    endpoint.others[place - 1] = made;
  }
  return made;
}

/** Ports without a name or number are skipped (services 2.3); an empty name is a name. */
function slicePorts(findings: Findings, value: unknown): SlicePortInfo[] {
  const ports: SlicePortInfo[] = [];
  for (const [index, item] of listField(findings, 'ports', value).entries()) {
    const fields = fieldsOf(item);
    const name = fields['name'];
    if (typeof name !== 'string') {
      report(findings, `ports[${index}].name`, 'not set: the port is ignored');
      continue;
    }
    if (fields['port'] === undefined || fields['port'] === null || fields['port'] === 0) continue;
    const number = portField(findings, `ports[${index}].port`, fields['port']);
    const protocol = protocolField(findings, `ports[${index}].protocol`, fields['protocol']);
    if (number !== null && protocol !== null) ports.push({ place: ports.length, name, port: number, protocol });
  }
  return ports;
}

function hintNames(value: unknown): readonly string[] {
  const items = listOf(value);
  return items.length === 0 ? NO_NAMES : items.map((item) => textOf(fieldsOf(item)['name']));
}

function sameNames(left: readonly string[], right: readonly string[]): boolean {
  return left.length === right.length && left.every((name, index) => name === right[index]);
}

/** Absent conditions: ready, serving, not terminating (services 2.1). */
function readEndpoint(
  findings: Findings,
  at: number,
  family: Family | null,
  item: unknown,
  known: (text: string) => EndpointInfo | undefined,
): EndpointInfo | undefined {
  const fields = fieldsOf(item);
  const first = listOf(fields['addresses'])[0];
  if (first === undefined) {
    report(findings, `endpoints[${at}].addresses`, 'empty: the endpoint is ignored');
    return undefined;
  }
  const before = typeof first === 'string' ? known(first) : undefined;
  if (before !== undefined && saysTheSame(fields, before)) return before;
  const parsed = typeof first === 'string' ? parseAddress(first) : undefined;
  const usable = parsed?.ok === true && familyOf(parsed.value) === family ? parsed.value : null;
  if (usable === null && family !== null)
    report(findings, `endpoints[${at}].addresses[0]`, `not an ${family} address: ${shown(first)}`);
  return endpointOf(fields, usable, typeof first === 'string' ? first : shown(first));
}

function endpointOf(fields: Fields, address: Address | null, given: string): EndpointInfo {
  const conditions = fieldsOf(fields['conditions']);
  const hints = fieldsOf(fields['hints']);
  const pod = textOf(fieldsOf(fields['targetRef'])['uid']);
  return {
    address,
    text: address === null ? given : addressText(address),
    ready: conditions['ready'] !== false,
    serving: conditions['serving'] !== false,
    terminating: conditions['terminating'] === true,
    node: textOf(fields['nodeName']),
    zone: textOf(fields['zone']),
    zoneHints: hintNames(hints['forZones']),
    nodeHints: hintNames(hints['forNodes']),
    pod,
    identity: podIdentity(pod),
    first: undefined,
    others: NO_CANDIDATES,
  };
}

/** Of an endpoint whose address is the same text. */
function saysTheSame(fields: Fields, before: EndpointInfo): boolean {
  const conditions = fieldsOf(fields['conditions']);
  const hints = fieldsOf(fields['hints']);
  return (
    before.ready === (conditions['ready'] !== false) &&
    before.serving === (conditions['serving'] !== false) &&
    before.terminating === (conditions['terminating'] === true) &&
    before.node === textOf(fields['nodeName']) &&
    before.zone === textOf(fields['zone']) &&
    before.pod === textOf(fieldsOf(fields['targetRef'])['uid']) &&
    sameNames(before.zoneHints, hintNames(hints['forZones'])) &&
    sameNames(before.nodeHints, hintNames(hints['forNodes']))
  );
}

/** Those of the version before whose address can be used, by its text. */
function lookupIn(before: SliceInfo | undefined, family: Family | null): (text: string) => EndpointInfo | undefined {
  if (before === undefined || before.family !== family) return () => undefined;
  const byText = new Map<string, EndpointInfo>();
  for (const endpoint of before.endpoints) byText.set(endpoint.text, endpoint);
  return (text) => {
    const found = byText.get(text);
    return found === undefined || found.address === null ? undefined : found;
  };
}

/** `before`: the version that this one replaces. undefined: no namespace, name or Service label (services H6). */
export function decodeSlice(object: EndpointSliceObject, before?: SliceInfo): SliceInfo | undefined {
  const known = decoded.get(object);
  if (known !== undefined) return known.slice;
  const slice = readSlice(object, before);
  decoded.set(object, { slice });
  return slice;
}

/** What comes over the wire never changes, and lists and restarts say most of it again. */
const decoded = new WeakMap<EndpointSliceObject, { readonly slice: SliceInfo | undefined }>();

function isCalm({ nodeHints, ready, zoneHints }: EndpointInfo): boolean {
  return ready && nodeHints.length === 0 && zoneHints.length === 0;
}

function readSlice(object: EndpointSliceObject, before: SliceInfo | undefined): SliceInfo | undefined {
  const id = identity(object.metadata);
  const labels = fieldsOf(object.metadata?.labels);
  const service = textOf(labels[SERVICE_NAME_LABEL]);
  if (id === undefined || service === '') return undefined;
  const key = serviceText(id.namespace, id.name);
  const findings: Findings = { object: `EndpointSlice ${key}`, problems: [] };
  const type: unknown = object.addressType;
  const family = type === 'IPv4' || type === 'IPv6' ? type : null;
  if (family === null && type !== 'FQDN')
    report(findings, 'addressType', `not one of IPv4, IPv6, FQDN: ${shown(type)}`);
  const lookup = lookupIn(before, family);
  const endpoints: EndpointInfo[] = [];
  listField(findings, 'endpoints', object.endpoints).forEach((item, index) => {
    const endpoint = readEndpoint(findings, index, family, item, lookup);
    if (endpoint !== undefined) endpoints.push(endpoint);
  });
  endpoints.sort((left, right) => compareHosts(left.text, right.text));
  return {
    key,
    service: serviceText(id.namespace, service),
    headless: labels[HEADLESS_LABEL] !== undefined,
    family,
    ports: slicePorts(findings, object.ports),
    endpoints,
    isPlain: endpoints.every(({ address, text }, index) => address !== null && text !== endpoints[index - 1]?.text),
    isCalm: endpoints.every(isCalm),
    hasZoneHints: endpoints.some(({ zoneHints }) => zoneHints.length > 0),
    problems: findings.problems,
  };
}
