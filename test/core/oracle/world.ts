// SPDX-License-Identifier: Apache-2.0
/** Words for small clusters: Services, slices, nodes and pods as a watch delivers them, and questions about them. */
import {
  addressText,
  parseAddress,
  parsePrefix,
  parseProtocol,
  port,
  type Address,
  type Prefix,
} from '../../../core/address.ts';
import type {
  ClusterObject,
  EndpointObject,
  EndpointSliceObject,
  NodeObject,
  PodObject,
  ServiceObject,
} from '../../../core/objects.ts';
import { oracleOf, type OracleOptions } from '../../../core/oracle.ts';
import { answerText, sourceSeen, type Answer, type ClientClass, type Question } from '../../../core/oracle/answer.ts';

export const NODE = 'node-a';
export const SERVICE_RANGE = '10.96.0.0/16';
export const OPTIONS: OracleOptions = {
  nodeName: NODE,
  serviceRanges: [prefix(SERVICE_RANGE), prefix('fd00:96::/112')],
};

/** What the datapath of this build serves. */
export const ONLY_CLUSTER_IP: OracleOptions = { ...OPTIONS, judged: ['ClusterIP'] };

/** The frontend of `web()`. */
export const WEB = '10.96.0.1:80/TCP';

type Spec = NonNullable<ServiceObject['spec']>;

/** The Service shop/web: ClusterIP 10.96.0.1, port http 80/TCP. */
export function web(spec: Spec = {}, labels: Record<string, string> = {}): ServiceObject {
  return service('shop/web', spec, labels);
}

export function service(name: string, spec: Spec = {}, labels: Record<string, string> = {}): ServiceObject {
  const base: Spec = {
    type: 'ClusterIP',
    clusterIP: '10.96.0.1',
    ports: [{ name: 'http', port: 80, protocol: 'TCP' }],
  };
  return { kind: 'Service', metadata: { ...named(name), labels }, spec: { ...base, ...spec } };
}

/** A Service of type LoadBalancer with one entry in its status. */
export function balanced(ip: string, ipMode?: string): ServiceObject {
  const entry = ipMode === undefined ? { ip } : { ip, ipMode };
  return { ...web({ type: 'LoadBalancer' }), status: { loadBalancer: { ingress: [entry] } } };
}

type SliceRest = Partial<Omit<EndpointSliceObject, 'kind' | 'metadata'>> & {
  service?: string;
  labels?: Record<string, string>;
};

/** A slice shop/NAME of shop/web with port http 8080/TCP; addressType from the first address. */
export function slice(name: string, endpoints: readonly EndpointObject[], rest: SliceRest = {}): EndpointSliceObject {
  const { service: owner = 'web', labels = {}, ...fields } = rest;
  return {
    kind: 'EndpointSlice',
    metadata: { ...named(`shop/${name}`), labels: { 'kubernetes.io/service-name': owner, ...labels } },
    addressType: endpoints[0]?.addresses?.[0]?.includes(':') === true ? 'IPv6' : 'IPv4',
    ports: [{ name: 'http', port: 8080, protocol: 'TCP' }],
    endpoints,
    ...fields,
  };
}

/** A ready endpoint on this node. */
export function endpoint(address: string, fields: Partial<EndpointObject> = {}): EndpointObject {
  return { addresses: [address], nodeName: NODE, conditions: conditions('TTF'), ...fields };
}

/** `TFT` = ready, not serving, terminating; `-` = not said. */
export function conditions(text: string): NonNullable<EndpointObject['conditions']> {
  const value = (index: number): boolean | null => (text[index] === '-' ? null : text[index] === 'T');
  return { ready: value(0), serving: value(1), terminating: value(2) };
}

export function elsewhere(address: string, fields: Partial<EndpointObject> = {}): EndpointObject {
  return endpoint(address, { nodeName: 'node-b', ...fields });
}

export function node(name: string, addresses: readonly string[], zone?: string): NodeObject {
  const labels = zone === undefined ? {} : { 'topology.kubernetes.io/zone': zone };
  const listed = addresses.map((address) => ({ type: 'InternalIP', address }));
  return { kind: 'Node', metadata: { name, labels }, status: { addresses: listed } };
}

export function podWithHostPort(hostPort: number, hostIP?: string): PodObject {
  const entry = { containerPort: 8080, hostPort, protocol: 'TCP', ...(hostIP === undefined ? {} : { hostIP }) };
  return { kind: 'Pod', metadata: named('shop/cache'), spec: { nodeName: NODE, containers: [{ ports: [entry] }] } };
}

/** `10.96.0.1:80/TCP` or `[fd00::1]:80/TCP`; a protocol by number for those without a name. */
export function question(text: string, client: Question['client'] = 'pod'): Question {
  const match = /^\[?([^\]]+?)\]?:(\d+)\/(\w+)$/.exec(text);
  const [, host = '', number = '', name = ''] = match ?? [];
  const protocol = /^\d+$/.test(name) ? (Number(name) as Question['protocol']) : must(parseProtocol(name));
  return { client, address: address(host), port: port(Number(number)), protocol };
}

/** The answer, as one line, of an oracle that knows these objects. */
export function ask(objects: readonly ClusterObject[], text: string, options: OracleOptions = OPTIONS): string {
  return answerText(oracleOf(options, objects).answer(question(text)));
}

/**
 * What this client gets, in few words: `10.0.0.1 10.0.0.2 see client`, `refuse`, `drop`, `pass`. `from` is a class, and
 * the client's address where it matters.
 */
export function meet(
  objects: readonly ClusterObject[],
  text: string,
  from: string,
  options: OracleOptions = OPTIONS,
): string {
  const [client = '', own] = from.split(' ');
  const asked: Question = {
    ...question(
      text,
      CLASSES.find((name) => name === client),
    ),
    clientAddress: own === undefined ? undefined : address(own),
  };
  return meetingText(oracleOf(options, objects).answer(asked), asked);
}

const CLASSES: readonly ClientClass[] = ['pod', 'process', 'foreign-pod', 'outside'];

export function meetingText(answer: Answer, asked: Question): string {
  switch (answer.kind) {
    case 'permitted':
      return answer.backends.map((it) => `${addressText(it.address)} sees ${sourceSeen(answer, it, asked)}`).join(', ');
    case 'contested':
      return answer.outcomes.map((outcome) => meetingText(outcome, asked)).join(' or ');
    case 'not-a-service':
      return 'pass';
    case 'refuse':
    case 'drop':
    case 'refuse-unknown-port':
    case 'drop-unallocated':
    case 'unsupported':
      return answer.kind;
  }
}

export function address(text: string): Address {
  return must(parseAddress(text));
}

export function prefix(text: string): Prefix {
  return must(parsePrefix(text));
}

function must<T>(result: { readonly ok: true; readonly value: T } | { readonly ok: false }): T {
  if (!result.ok) throw new Error('a text of the test is wrong');
  return result.value;
}

function named(text: string): { readonly namespace: string; readonly name: string } {
  const [namespace = '', name = ''] = text.split('/');
  return { namespace, name };
}
