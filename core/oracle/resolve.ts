// SPDX-License-Identifier: Apache-2.0
/** Which of several claims answers a question: the order of the lookups (services A5 to A7, B4). */
import {
  address as addressOf,
  addressEquals,
  isIPv4,
  prefixContains,
  SCTP,
  TCP,
  UDP,
  type Address,
  type Prefix,
} from '../address.ts';
import type { Answer, Outcome, Question, Unsupported } from './answer.ts';
import { addressKey, familyOf, type Family } from './facts.ts';
import { outcomesForClient } from './affinity.ts';
import { answerForFlow } from './flow.ts';
import { frontendKey, portKey, type PodView, type ServiceView, type View } from './view.ts';

/** What holds for every question to one oracle. */
export type Surroundings = {
  readonly families: readonly Family[];
  readonly serviceRanges: readonly Prefix[];
  /** Keys of node addresses known from elsewhere than the Node objects. */
  readonly nodeAddresses: ReadonlySet<string>;
};

const LOOPBACK_IPV6 = addressOf(0, 0, 0, 1);
const NOT_A_SERVICE: Answer = { kind: 'not-a-service' };
const DROP_UNALLOCATED: Answer = { kind: 'drop-unallocated' };

/** The keys of every view that can have a say in the answer. */
export function keysOfQuestion(question: Question): readonly string[] {
  return [addressKey(question.address), portKey(question.protocol, question.port)];
}

/** The answer from the claims of all objects found by `keysOfQuestion`. */
export function answerFromViews(views: readonly View[], question: Question, surroundings: Surroundings): Answer {
  if (!surroundings.families.includes(familyOf(question.address))) return NOT_A_SERVICE;
  // Views come in order of arrival, which no answer may show.
  const services = views.filter((view) => view.kind === 'service').sort(byName);
  const owned = isProxied(question)
    ? (answerFromFrontends(services, question) ?? answerFromNodePorts(services, views, question, surroundings))
    : answerOtherProtocol(services, question);
  return owned ?? answerWithoutPort(services, question, surroundings);
}

function byName(left: { readonly name: string }, right: { readonly name: string }): number {
  return left.name < right.name ? -1 : left.name > right.name ? 1 : 0;
}

function isProxied({ protocol }: Question): boolean {
  return protocol === TCP || protocol === UDP || protocol === SCTP;
}

/** B5: ICMP and the like to an address of a Service are never proxied, and what becomes of them is not a rule. */
function answerOtherProtocol(services: readonly ServiceView[], { address, protocol }: Question): Answer | undefined {
  const key = addressKey(address);
  const owner = services.find((view) => view.clusterAddresses.includes(key) || view.externalAddresses.includes(key));
  return owner && { kind: 'unsupported', reason: 'protocol', object: `${owner.name} protocol ${protocol}` };
}

/** A6, A7: ClusterIP, external address and LB VIP come first and on one level; between claimants nobody is the winner. */
function answerFromFrontends(services: readonly ServiceView[], question: Question): Answer | undefined {
  const key = frontendKey(question.address, question.protocol, question.port);
  const external = services.map((view) => view.external.get(key)).find((claim) => claim !== undefined);
  if (external !== undefined) return external;
  const frontends = services.map((view) => view.cluster.get(key)).filter((found) => found !== undefined);
  const claims = frontends.flatMap((frontend) => outcomesForClient(frontend, question));
  const unsupported = claims.find((claim): claim is Unsupported => claim.kind === 'unsupported');
  if (unsupported !== undefined) return unsupported;
  const outcomes = claims.filter((claim): claim is Outcome => claim.kind !== 'unsupported');
  return answerForFlow(outcomes, frontends, question);
}

/** A7: what no Service address takes may be a NodePort or a host port, if it goes to an address of a node. */
function answerFromNodePorts(
  services: readonly ServiceView[],
  views: readonly View[],
  question: Question,
  surroundings: Surroundings,
): Answer | undefined {
  const { address, protocol, port } = question;
  const key = addressKey(address);
  const toNode =
    isLoopback(address) ||
    surroundings.nodeAddresses.has(key) ||
    views.some((view) => view.kind === 'node' && view.addresses.includes(key));
  const nodePorts = services.flatMap((view) => view.nodePorts.get(portKey(protocol, port)) ?? []);
  if (toNode && nodePorts[0] !== undefined) return nodePorts[0];
  const pods = views.filter((view) => view.kind === 'pod').sort(byName);
  const pod = pods.find((view) => claimsHostPort(view, question, toNode));
  return pod && { kind: 'unsupported', reason: 'HostPort', object: `pod ${pod.name}` };
}

function claimsHostPort(view: PodView, { address, protocol, port }: Question, toNode: boolean): boolean {
  return view.hostPorts.some((entry) => {
    if (entry.port !== port || entry.protocol !== protocol) return false;
    return entry.address === undefined ? toNode : addressKey(entry.address) === addressKey(address);
  });
}

/** 127.0.0.0/8 and ::1. */
function isLoopback(value: Address): boolean {
  return isIPv4(value) ? value.d >>> 24 === 127 : addressEquals(value, LOOPBACK_IPV6);
}

/** B4: a live ClusterIP refuses its other ports, the free part of a service range drops; A5: the rest is not ours. */
function answerWithoutPort(services: readonly ServiceView[], question: Question, surroundings: Surroundings): Answer {
  const key = addressKey(question.address);
  const owners = services.filter((view) => view.clusterAddresses.includes(key));
  const owner = owners.find((view) => !view.foreign);
  if (owner !== undefined) return { kind: 'refuse-unknown-port', service: owner.name };
  // Another proxy's ClusterIP is allocated: neither refused nor dropped by us (A2, B4).
  if (owners.length > 0) return NOT_A_SERVICE;
  if (!surroundings.serviceRanges.some((range) => prefixContains(range, question.address))) return NOT_A_SERVICE;
  const external = services.find((view) => view.externalAddresses.includes(key));
  // A5 leaves it alone, B4 drops it: the rules don't say which one holds for an external address in such a range.
  if (external !== undefined)
    return { kind: 'unsupported', reason: 'external-address-in-service-range', object: external.name };
  return DROP_UNALLOCATED;
}
