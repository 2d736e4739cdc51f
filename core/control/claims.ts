// SPDX-License-Identifier: Apache-2.0
/** What all owners together want: who gets each contested address and port, and what one change of an owner touches. */
import { addressText, type Address } from '../address.ts';
import type { Frontend, FrontendKind, NodeConfig, Problem } from '../service.ts';
import type { ClusterState } from './cluster.ts';
import { desiredOf, NOTHING_DESIRED, type OwnerDesired } from './desired.ts';
import { compareTexts, keyText, servicePortText, serviceText } from './names.ts';

/** The sum over all owners. One owner: updateDesired changes it in place. */
export type Desired = {
  /** By owner; who wants nothing is absent. */
  readonly owners: Map<string, OwnerDesired>;
  /** Frontends of each Service port, by its full name, lost ones included. */
  readonly ports: Map<string, readonly Frontend[]>;
  /** Those that claim an address, port and protocol, the one that gets it first. */
  readonly claims: Map<string, readonly Frontend[]>;
  /** Addresses that belong to Services whole: what arrives for another port of them is refused (services B4). */
  readonly addresses: Map<string, OwnedAddress>;
};

export type OwnedAddress = { readonly address: Address; readonly frontends: number };

/** What may differ from before: Service ports by full name, owned addresses by text. */
export type DesiredChange = { readonly ports: ReadonlySet<string>; readonly addresses: ReadonlyMap<string, Address> };

type Touched = {
  readonly ports: Set<string>;
  readonly addresses: Map<string, Address>;
  /** Who had what several claim, before an owner was computed again: the others need to know only if it changes hands. */
  readonly contested: Map<string, Frontend | undefined>;
};

/** Nothing wanted yet. */
export function emptyDesired(): Desired {
  return { owners: new Map(), ports: new Map(), claims: new Map(), addresses: new Map() };
}

/** Computes the given owners again. `config` is that of the node as it is now. */
export function updateDesired(
  desired: Desired,
  cluster: ClusterState,
  config: NodeConfig,
  owners: Iterable<string>,
): DesiredChange {
  const touched: Touched = { ports: new Set(), addresses: new Map(), contested: new Map() };
  for (const owner of owners) {
    const before = desired.owners.get(owner) ?? NOTHING_DESIRED;
    const after = desiredOf(cluster, config, owner);
    withdraw(desired, touched, before.frontends);
    claim(desired, touched, after.frontends);
    touchRivals(desired, touched);
    const isNothing = after.frontends.length === 0 && after.problems.length === 0 && after.healthCheck === null;
    if (isNothing) desired.owners.delete(owner);
    else desired.owners.set(owner, after);
  }
  return touched;
}

/** Services A7, and what nobody chose for a host port gives way to what somebody did. */
const RANKS: { readonly [kind in FrontendKind]: number } = {
  ClusterIP: 0,
  LoadBalancer: 1,
  ExternalIP: 2,
  NodePort: 3,
  HostPort: 4,
};

/**
 * Who gets an address and port that several claim (services A6 leaves it open): the kind that is looked up first, then
 * the older owner, so that nobody takes over what is served by a new Service with a clever name; then the smaller name.
 */
function compareClaims(left: Frontend, right: Frontend): number {
  return (
    RANKS[left.kind] - RANKS[right.kind] ||
    compareTexts(left.created, right.created) ||
    compareTexts(ownerText(left), ownerText(right)) ||
    compareTexts(left.servicePort.portName, right.servicePort.portName)
  );
}

function ownerText({ servicePort: { namespace, name } }: Frontend): string {
  return serviceText(namespace, name);
}

function withdraw(desired: Desired, touched: Touched, frontends: readonly Frontend[]): void {
  for (const frontend of frontends) {
    const name = servicePortText(frontend.servicePort);
    touched.ports.add(name);
    desired.ports.delete(name);
    const text = keyText(frontend);
    const all = desired.claims.get(text) ?? [];
    const claims = all.filter((claimant) => claimant !== frontend);
    if (claims.length === 0) desired.claims.delete(text);
    else {
      desired.claims.set(text, claims);
      if (!touched.contested.has(text)) touched.contested.set(text, all[0]);
    }
    countAddress(desired, touched, frontend, -1);
  }
}

function claim(desired: Desired, touched: Touched, frontends: readonly Frontend[]): void {
  const ofPorts = new Map<string, Frontend[]>();
  for (const frontend of frontends) {
    const name = servicePortText(frontend.servicePort);
    const siblings = ofPorts.get(name);
    if (siblings === undefined) ofPorts.set(name, [frontend]);
    else siblings.push(frontend);
    const text = keyText(frontend);
    const others = desired.claims.get(text);
    if (others === undefined) desired.claims.set(text, [frontend]);
    else {
      desired.claims.set(text, others.toSpliced(placeAmong(others, frontend), 0, frontend));
      if (!touched.contested.has(text)) touched.contested.set(text, others[0]);
    }
    countAddress(desired, touched, frontend, 1);
  }
  for (const [name, own] of ofPorts) {
    touched.ports.add(name);
    desired.ports.set(name, own);
  }
}

/** Where a claim belongs in their order. */
function placeAmong(others: readonly Frontend[], frontend: Frontend): number {
  let [from, to] = [0, others.length];
  while (from < to) {
    const middle = (from + to) >>> 1;
    const other = others[middle];
    if (other !== undefined && compareClaims(other, frontend) <= 0) from = middle + 1;
    else to = middle;
  }
  return from;
}

/** Thousands may claim one address: most of their changes leave it with its owner. */
function touchRivals({ claims }: Desired, { contested, ports }: Touched): void {
  for (const [text, before] of contested) {
    const all = claims.get(text) ?? [];
    const [after] = all;
    if (after === undefined || (before !== undefined && isSameOwner(before, after))) continue;
    for (const { servicePort } of all) ports.add(servicePortText(servicePort));
  }
  contested.clear();
}

function isSameOwner(left: Frontend, right: Frontend): boolean {
  return left.kind === right.kind && servicePortText(left.servicePort) === servicePortText(right.servicePort);
}

/** Only cluster addresses are owned whole; other ports of a load balancer or external address are left alone (A5). */
function countAddress(desired: Desired, touched: Touched, frontend: Frontend, change: 1 | -1): void {
  if (frontend.kind !== 'ClusterIP') return;
  const text = addressText(frontend.address);
  const frontends = (desired.addresses.get(text)?.frontends ?? 0) + change;
  if (frontends === 0) desired.addresses.delete(text);
  else desired.addresses.set(text, { address: frontend.address, frontends });
  touched.addresses.set(text, frontend.address);
}

/** The frontends that a Service port really gets. */
export function ownedFrontends(desired: Desired, port: string): readonly Frontend[] {
  return (desired.ports.get(port) ?? []).filter((frontend) => desired.claims.get(keyText(frontend))?.[0] === frontend);
}

/** Every frontend that somebody owns. */
export function allFrontends(desired: Desired): Frontend[] {
  return [...desired.ports.keys()].flatMap((port) => ownedFrontends(desired, port));
}

/** What the computation itself found: frontends lost to another, NodePorts that nobody serves. */
export function desiredProblems(desired: Desired): Problem[] {
  const problems: Problem[] = [];
  for (const owner of desired.owners.values()) {
    for (const problem of owner.problems) problems.push(problem);
    for (const problem of lostProblems(desired, owner.frontends)) problems.push(problem);
  }
  return problems;
}

/** Those of the frontends that another one owns. */
export function lostProblems(desired: Desired, frontends: readonly Frontend[]): Problem[] {
  return frontends.flatMap((frontend) => {
    const [first] = desired.claims.get(keyText(frontend)) ?? [];
    return first === undefined || first === frontend ? [] : [lostProblem(frontend, first)];
  });
}

const FIELDS: { readonly [kind in FrontendKind]: string } = {
  ClusterIP: 'spec.ports',
  LoadBalancer: 'status.loadBalancer.ingress',
  ExternalIP: 'spec.externalIPs',
  NodePort: 'spec.ports',
  HostPort: 'spec.containers',
};

function lostProblem(frontend: Frontend, owner: Frontend): Problem {
  const what = frontend.kind === 'HostPort' ? 'Pod' : 'Service';
  const holder = `${owner.kind} of ${servicePortText(owner.servicePort)}`;
  const message = `${keyText(frontend)} belongs to ${holder} already: this ${frontend.kind} is not served there`;
  return { object: `${what} ${ownerText(frontend)}`, field: FIELDS[frontend.kind], message };
}
