// SPDX-License-Identifier: Apache-2.0
/** Which of several claims answers a question: the order of the lookups (services A5 to A7, B4), and what it says. */
import { prefixContains, SCTP, TCP, UDP, type Prefix } from '../address.ts';
import type { Answer, FrontendKind, Outcome, Question, Unsupported } from './answer.ts';
import { outcomesForClient } from './affinity.ts';
import { claimText, frontendKey, ownerOf, portKey, type Claim } from './claims.ts';
import { answerForFlow } from './flow.ts';
import type { PortLists } from './lists.ts';
import { isLoopback } from './nodeports.ts';
import { isAdmitted } from './ranges.ts';
import { addressKey, familyOf, type Family } from './read.ts';
import { isOnNode, sourceFor, type Masquerade } from './source.ts';
import { OWN_NODE_KEY, type OwnAddresses, type PodView, type ServiceView, type View } from './view.ts';

/** What holds for every question to one oracle. */
export type Surroundings = Masquerade & {
  readonly families: readonly Family[];
  readonly judged: ReadonlySet<FrontendKind>;
  readonly serviceRanges: readonly Prefix[];
  /** Keys of node addresses known from elsewhere than the Node objects. */
  readonly nodeAddresses: ReadonlySet<string>;
  /** Of the judged node; undefined: its Node object says. */
  readonly own: OwnAddresses | undefined;
  readonly servesHostPorts: boolean;
  /** Whether clients from elsewhere are served at ClusterIPs. */
  readonly externalClusterIP: boolean;
};

export type Candidate = { readonly claim: Claim; readonly lists: PortLists };

const NOT_A_SERVICE: Answer = { kind: 'not-a-service' };
const DROP_UNALLOCATED: Answer = { kind: 'drop-unallocated' };
const NO_ADDRESSES: OwnAddresses = { addresses: [], serving: [] };

/** The keys of every view that can have a say in the answer. */
export function keysOfQuestion(
  { address, port, protocol }: Question,
  { judged, own }: Surroundings,
): readonly string[] {
  const keys = [addressKey(address), portKey(protocol, port)];
  const asksNode =
    own === undefined && (judged.has('LoadBalancer') || judged.has('NodePort') || judged.has('HostPort'));
  return asksNode ? [...keys, OWN_NODE_KEY] : keys;
}

/** The answer from the claims of all objects found by `keysOfQuestion`. */
export function answerFromViews(views: readonly View[], question: Question, surroundings: Surroundings): Answer {
  if (!surroundings.families.includes(familyOf(question.address))) return NOT_A_SERVICE;
  // Views come in order of arrival, which no answer may show.
  const services = views.filter((view) => view.kind === 'service').sort(byName);
  const own = surroundings.own ?? ownAddresses(views) ?? NO_ADDRESSES;
  const owned = isProxied(question)
    ? answerFromOwner(services, views, question, { ...surroundings, own })
    : answerOtherProtocol(services, question);
  return owned ?? answerWithoutPort(services, question, { ...surroundings, own });
}

function byName(left: { readonly name: string }, right: { readonly name: string }): number {
  return left.name < right.name ? -1 : left.name > right.name ? 1 : 0;
}

export function ownAddresses(views: readonly View[]): OwnAddresses | undefined {
  for (const view of views) if (view.kind === 'node' && view.own !== undefined) return view.own;
  return undefined;
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

type Settled = Surroundings & { readonly own: OwnAddresses };

/** A6, A7: of all claimants of the frontend the one owner answers; undefined where there is none. */
function answerFromOwner(
  services: readonly ServiceView[],
  views: readonly View[],
  question: Question,
  surroundings: Settled,
): Answer | undefined {
  const { judged } = surroundings;
  const isOfNode = (kind: FrontendKind): boolean =>
    judged.has(kind) ? isServing(question, surroundings) : isOfAnyNode(views, question, surroundings);
  const candidates = services.flatMap((view) => candidatesOf(view, question, isOfNode('NodePort')));
  const service = ownerAmong(candidates);
  const pods = views.filter((view) => view.kind === 'pod').sort(byName);
  if (service !== undefined) return answerOfOwner(service, question, surroundings);
  if (!judged.has('HostPort')) {
    const pod = pods.find((view) => mayClaimHostPort(view, question, isOfNode('HostPort')));
    return pod && { kind: 'unsupported', reason: 'HostPort', object: `pod ${pod.name}` };
  }
  const served = surroundings.servesHostPorts ? pods.flatMap((view) => view.served) : [];
  const owner = ownerAmong(served.filter(({ claim }) => isMeant(claim, question, isOfNode('HostPort'))));
  return owner && answerOfOwner(owner, question, surroundings);
}

export function candidatesOf(view: ServiceView, question: Question, isOfNode: boolean): Candidate[] {
  const { address, port, protocol } = question;
  const exact = view.claims.byFrontend.get(frontendKey(address, protocol, port)) ?? [];
  const byPort = isOfNode ? (view.claims.byPort.get(portKey(protocol, port)) ?? []) : [];
  return [...exact, ...byPort].flatMap((claim) => {
    const lists = view.lists.get(claim.lists);
    return lists === undefined || claim.family !== familyOf(address) ? [] : [{ claim, lists }];
  });
}

export function ownerAmong(candidates: readonly Candidate[]): Candidate | undefined {
  const claim = ownerOf(candidates.map((candidate) => candidate.claim));
  return candidates.find((candidate) => candidate.claim === claim);
}

/** Whether a claim of a host port is one of this frontend. */
function isMeant({ address, family, port, protocol }: Claim, question: Question, isOfNode: boolean): boolean {
  if (port !== question.port || protocol !== question.protocol || family !== familyOf(question.address)) return false;
  return address === undefined ? isOfNode : addressKey(address) === addressKey(question.address);
}

function isServing({ address }: Question, { own }: Settled): boolean {
  const key = addressKey(address);
  return own.serving.some((one) => addressKey(one) === key);
}

/** Of a kind that is not judged it is enough that some node may serve it. */
function isOfAnyNode(views: readonly View[], { address }: Question, { nodeAddresses }: Surroundings): boolean {
  const key = addressKey(address);
  if (isLoopback(address) || nodeAddresses.has(key)) return true;
  return views.some((view) => view.kind === 'node' && view.addresses.includes(key));
}

function mayClaimHostPort(view: PodView, { address, protocol, port }: Question, isOfNode: boolean): boolean {
  return view.hostPorts.some((entry) => {
    if (entry.port !== port || entry.protocol !== protocol) return false;
    return entry.address === undefined ? isOfNode : addressKey(entry.address) === addressKey(address);
  });
}

/** What the owner of a frontend permits to this client. */
function answerOfOwner({ claim, lists }: Candidate, question: Question, surroundings: Settled): Answer | undefined {
  const service = claimText(claim);
  if (claim.kind !== 'ClusterIP' && !surroundings.judged.has(claim.kind))
    return { kind: 'unsupported', reason: claim.kind, object: service };
  const isInternal = isOnNode(question);
  if (claim.kind === 'ClusterIP' && !isInternal && !surroundings.externalClusterIP) return NOT_A_SERVICE;
  // B11: before anything else, also where there is no endpoint.
  const denied: Outcome = { kind: 'drop', service, reason: 'source-ranges' };
  const mayCome = isLetIn(claim, question, surroundings);
  if (mayCome === false) return denied;
  const choices = lists[isInternal ? claim.internal : claim.external];
  const unsupported = choices.find((choice): choice is Unsupported => choice.kind === 'unsupported');
  if (unsupported !== undefined) return unsupported;
  const source = sourceFor(claim, question, surroundings);
  const outcomes = choices.flatMap((choice): Outcome[] =>
    choice.kind === 'unsupported' ? [] : [choice.kind === 'permitted' ? { ...choice, source } : choice],
  );
  const forClient = outcomesForClient(outcomes, claim.affinitySeconds, question);
  const all = mayCome === undefined ? [...forClient, denied] : forClient;
  return answerForFlow(all, { serving: lists.serving, source }, question);
}

/** B10, by the client's own address; undefined: it decides, and is not told. */
function isLetIn({ sourceRanges, vips }: Claim, { clientAddress }: Question, { own }: Settled): boolean | undefined {
  if (sourceRanges === undefined) return true;
  if (clientAddress === undefined) return sourceRanges.length === 0 ? false : undefined;
  return isAdmitted(sourceRanges, clientAddress, { vips, nodeAddresses: own.addresses });
}

/** B4: a live ClusterIP refuses its other ports, the free part of a service range drops; A5: the rest is not ours. */
function answerWithoutPort(services: readonly ServiceView[], question: Question, surroundings: Settled): Answer {
  const { judged, own, serviceRanges } = surroundings;
  const key = addressKey(question.address);
  if (!isOnNode(question) && !surroundings.externalClusterIP) return NOT_A_SERVICE;
  const owners = services.filter((view) => view.clusterAddresses.includes(key));
  const owner = owners.find((view) => !view.foreign);
  if (owner !== undefined) return { kind: 'refuse-unknown-port', service: owner.name };
  // Another proxy's ClusterIP is allocated: neither refused nor dropped by us (A2, B4).
  if (owners.length > 0) return NOT_A_SERVICE;
  if (!serviceRanges.some((range) => prefixContains(range, question.address))) return NOT_A_SERVICE;
  const external = services.find((view) => view.externalAddresses.includes(key));
  if (external !== undefined) {
    // A5 leaves it alone, B4 drops it. The narrower rule is taken by those who judge such addresses at all.
    return judged.has('ExternalIP') && judged.has('LoadBalancer')
      ? NOT_A_SERVICE
      : { kind: 'unsupported', reason: 'external-address-in-service-range', object: external.name };
  }
  const isNodeAddress = judged.has('NodePort') && own.addresses.some((one) => addressKey(one) === key);
  return isNodeAddress ? NOT_A_SERVICE : DROP_UNALLOCATED;
}
