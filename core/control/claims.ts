// SPDX-License-Identifier: Apache-2.0
/** What all Services together want: who owns each contested address and port, and what one change of a Service touches. */
import { addressText, type Address } from '../address.ts';
import type { Frontend, NodeConfig, Problem } from '../service.ts';
import type { ClusterState } from './cluster.ts';
import { desiredService, NOTHING_DESIRED, type ServiceDesired } from './desired.ts';
import { frontendText, servicePortText } from './names.ts';

/** The sum over all Services. One owner: updateDesired changes it in place. */
export type Desired = {
  /** By `namespace/name`; Services that want nothing are absent. */
  readonly services: Map<string, ServiceDesired>;
  /** Frontends of each Service port, by its full name, lost ones included. */
  readonly ports: Map<string, readonly Frontend[]>;
  /** Full names of the Service ports that want a frontend, smallest first: that one owns it (services A6). */
  readonly claims: Map<string, readonly string[]>;
  /** Addresses that belong to Services whole: what arrives for another port of them is refused (services B4). */
  readonly addresses: Map<string, OwnedAddress>;
};

export type OwnedAddress = { readonly address: Address; readonly frontends: number };

/** What may differ from before: Service ports by full name, owned addresses by text. */
export type DesiredChange = { readonly ports: ReadonlySet<string>; readonly addresses: ReadonlyMap<string, Address> };

type Touched = { readonly ports: Set<string>; readonly addresses: Map<string, Address> };

/** Nothing wanted yet. */
export function emptyDesired(): Desired {
  return { services: new Map(), ports: new Map(), claims: new Map(), addresses: new Map() };
}

/** Computes the given Services again. `config` is that of the node with its effective zone. */
export function updateDesired(
  desired: Desired,
  cluster: ClusterState,
  config: NodeConfig,
  services: Iterable<string>,
): DesiredChange {
  const touched: Touched = { ports: new Set(), addresses: new Map() };
  for (const key of services) {
    const before = desired.services.get(key) ?? NOTHING_DESIRED;
    const after = desiredService(cluster, config, key);
    withdraw(desired, touched, before.frontends);
    claim(desired, touched, after.frontends);
    if (after.frontends.length === 0 && after.problems.length === 0) desired.services.delete(key);
    else desired.services.set(key, after);
  }
  return touched;
}

function textOf(frontend: Frontend): string {
  return frontendText(frontend.address, frontend.port, frontend.protocol);
}

function withdraw(desired: Desired, touched: Touched, frontends: readonly Frontend[]): void {
  for (const frontend of frontends) {
    const name = servicePortText(frontend.servicePort);
    touched.ports.add(name);
    desired.ports.delete(name);
    const text = textOf(frontend);
    const claims = (desired.claims.get(text) ?? []).filter((claimant) => claimant !== name);
    if (claims.length === 0) desired.claims.delete(text);
    else desired.claims.set(text, claims);
    for (const claimant of claims) touched.ports.add(claimant);
    countAddress(desired, touched, frontend, -1);
  }
}

function claim(desired: Desired, touched: Touched, frontends: readonly Frontend[]): void {
  for (const frontend of frontends) {
    const name = servicePortText(frontend.servicePort);
    touched.ports.add(name);
    desired.ports.set(name, [...(desired.ports.get(name) ?? []), frontend]);
    const text = textOf(frontend);
    const others = desired.claims.get(text);
    if (others === undefined) desired.claims.set(text, [name]);
    else {
      for (const claimant of others) touched.ports.add(claimant);
      desired.claims.set(text, [...others, name].sort());
    }
    countAddress(desired, touched, frontend, 1);
  }
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
  return (desired.ports.get(port) ?? []).filter((frontend) => desired.claims.get(textOf(frontend))?.[0] === port);
}

/** Every frontend that somebody owns. */
export function allFrontends(desired: Desired): Frontend[] {
  return [...desired.ports.keys()].flatMap((port) => ownedFrontends(desired, port));
}

/** What the computation itself found: frontends lost to another Service port, parts that are not compiled yet. */
export function desiredProblems(desired: Desired): Problem[] {
  const problems: Problem[] = [];
  for (const service of desired.services.values()) {
    problems.push(...service.problems);
    for (const frontend of service.frontends) {
      const claims = desired.claims.get(textOf(frontend)) ?? [];
      if (claims.length < 2 || claims[0] === servicePortText(frontend.servicePort)) continue;
      const { namespace, name } = frontend.servicePort;
      const message = `${textOf(frontend)} belongs to ${claims[0]} already: this port is not served there`;
      problems.push({ object: `Service ${namespace}/${name}`, field: 'spec.ports', message });
    }
  }
  return problems;
}
