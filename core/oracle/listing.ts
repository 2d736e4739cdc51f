// SPDX-License-Identifier: Apache-2.0
/** Every frontend that exists, each with its one owner. */
import type { Address, Port, Protocol } from '../address.ts';
import type { FrontendKind } from './answer.ts';
import { frontendKey, ownerOf, type Claim } from './claims.ts';
import type { HealthCheck } from './health.ts';
import { familyOf } from './read.ts';
import { ownAddresses, type Surroundings } from './resolve.ts';
import type { View } from './view.ts';

export type Frontend = {
  readonly kind: FrontendKind;
  /** `namespace/name` of the Service, of the pod for a host port. */
  readonly service: string;
  readonly portName: string;
  readonly address: Address;
  readonly protocol: Protocol;
  readonly port: Port;
  /** 0: clients are not kept on their backends (E2). */
  readonly affinitySeconds: number;
};

/** The frontends of the kinds that are judged, in no order: one for each address of the node that serves a NodePort. */
export function frontendsOf(views: readonly View[], surroundings: Surroundings): Frontend[] {
  const { families, judged, servesHostPorts } = surroundings;
  const serving = (surroundings.own ?? ownAddresses(views))?.serving ?? [];
  const claimants = new Map<string, { readonly address: Address; readonly claims: Claim[] }>();
  for (const claim of views.flatMap((view) => claimsOf(view, servesHostPorts))) {
    if (!families.includes(claim.family)) continue;
    const addresses =
      claim.address === undefined ? serving.filter((one) => familyOf(one) === claim.family) : [claim.address];
    for (const address of addresses) {
      const key = frontendKey(address, claim.protocol, claim.port);
      const known = claimants.get(key);
      if (known === undefined) claimants.set(key, { address, claims: [claim] });
      else known.claims.push(claim);
    }
  }
  return [...claimants.values()].flatMap(({ address, claims }) => {
    const owner = ownerOf(claims);
    if (owner === undefined || (owner.kind !== 'ClusterIP' && !judged.has(owner.kind))) return [];
    const { affinitySeconds, kind, owner: service, port, portName, protocol } = owner;
    return [{ kind, service, portName, address, protocol, port, affinitySeconds }];
  });
}

export type ServiceHealth = HealthCheck & { readonly service: string };

export function healthChecksOf(views: readonly View[]): ServiceHealth[] {
  return views.flatMap((view) =>
    view.kind === 'service' && view.healthCheck !== undefined ? [{ service: view.name, ...view.healthCheck }] : [],
  );
}

function claimsOf(view: View, servesHostPorts: boolean): readonly Claim[] {
  switch (view.kind) {
    case 'service':
      return [...view.claims.byFrontend.values(), ...view.claims.byPort.values()].flat();
    case 'pod':
      return servesHostPorts ? view.served.map(({ claim }) => claim) : [];
    case 'node':
      return [];
  }
}
