// SPDX-License-Identifier: Apache-2.0
/** The frontends that a Service or a pod claims, from that object alone, and which of several claimants owns one. */
import type { Address, Port, Prefix, Protocol } from '../address.ts';
import type { FrontendKind } from './answer.ts';
import type { ServiceFacts, ServicePortFacts } from './facts.ts';
import { restriction } from './ranges.ts';
import { addressKey, familyOf, type Family } from './read.ts';

/** The two lists of section 2.4. */
export type ListName = 'cluster' | 'local';

export type Claim = {
  readonly kind: FrontendKind;
  /** `namespace/name` of the Service, of the pod for a host port. */
  readonly owner: string;
  readonly portName: string;
  readonly createdAt: string;
  /** undefined: every address of the node that serves NodePorts, of this family. */
  readonly address: Address | undefined;
  readonly family: Family;
  readonly protocol: Protocol;
  readonly port: Port;
  /** Under which the view has the lists. */
  readonly lists: string;
  /** For clients of this node, and for those from elsewhere. */
  readonly internal: ListName;
  readonly external: ListName;
  /** eTP Local: those from elsewhere keep their address, and so do pods of this node. */
  readonly isExternalLocal: boolean;
  readonly affinitySeconds: number;
  /** Of an LB VIP: who may come, undefined for everyone; and the Service's other VIPs of the family. */
  readonly sourceRanges: readonly Prefix[] | undefined;
  readonly vips: readonly Address[];
};

/** Claims of one object: of addresses by `frontendKey`, of node addresses by `portKey`. */
export type Claims = {
  readonly byFrontend: ReadonlyMap<string, readonly Claim[]>;
  readonly byPort: ReadonlyMap<string, readonly Claim[]>;
};

export function portKey(protocol: Protocol, port: Port | number): string {
  return `${protocol}:${port}`;
}

export function frontendKey(address: Address, protocol: Protocol, port: Port): string {
  return `${addressKey(address)} ${portKey(protocol, port)}`;
}

/** The key of what one port of a Service means in a family: its identity (A4). */
export function listsKey({ name, protocol }: ServicePortFacts, family: Family): string {
  return `${family} ${protocol} ${name}`;
}

const gathered = new WeakMap<ServiceFacts, Claims>();

/** Once per reading of a Service: what happens to its endpoints changes no claim. */
export function claimsOnce(service: ServiceFacts): Claims {
  const known = gathered.get(service);
  if (known !== undefined) return known;
  const claims = gatherClaims(claimsOfService(service));
  gathered.set(service, claims);
  return claims;
}

function gatherClaims(claims: readonly Claim[]): Claims {
  const byFrontend = new Map<string, Claim[]>();
  const byPort = new Map<string, Claim[]>();
  for (const claim of claims) {
    const { address, protocol, port } = claim;
    if (address === undefined) push(byPort, portKey(protocol, port), claim);
    else push(byFrontend, frontendKey(address, protocol, port), claim);
  }
  return { byFrontend, byPort };
}

function push(claims: Map<string, Claim[]>, key: string, claim: Claim): void {
  const known = claims.get(key);
  if (known === undefined) claims.set(key, [claim]);
  else known.push(claim);
}

/**
 * What a Service claims, in the families that it has a ClusterIP of (H1): another proxy's nothing (A2), LB VIPs and
 * NodePorts whatever its type says (A9).
 */
function claimsOfService(service: ServiceFacts): readonly Claim[] {
  if (service.foreign) return [];
  return service.clusterAddresses.flatMap((clusterAddress) => {
    const family = familyOf(clusterAddress);
    const inFamily = (list: readonly Address[]): Address[] => list.filter((one) => familyOf(one) === family);
    const external = inFamily(service.externalAddresses);
    const vips = inFamily(service.loadBalancerAddresses);
    return service.ports.flatMap((servicePort) => {
      const internal = internalClaim(service, servicePort, clusterAddress);
      const outward = externalClaim(internal, service);
      const balanced = { sourceRanges: restriction(service.sourceRanges, family), vips };
      const { nodePort } = servicePort;
      return [
        internal,
        ...vips.map((address): Claim => ({ ...outward, kind: 'LoadBalancer', address, ...balanced })),
        ...external.map((address): Claim => ({ ...outward, kind: 'ExternalIP', address })),
        ...(nodePort === undefined
          ? []
          : [{ ...outward, kind: 'NodePort' as const, address: undefined, port: nodePort }]),
      ];
    });
  });
}

/** eTP never applies to a ClusterIP, iTP does (B1). */
function internalClaim(service: ServiceFacts, servicePort: ServicePortFacts, address: Address): Claim {
  const { name, port, protocol } = servicePort;
  const family = familyOf(address);
  const list = service.internalLocal ? 'local' : 'cluster';
  return {
    kind: 'ClusterIP',
    owner: service.name,
    portName: name,
    createdAt: service.createdAt,
    address,
    family,
    protocol,
    port,
    lists: listsKey(servicePort, family),
    internal: list,
    external: list,
    isExternalLocal: false,
    affinitySeconds: service.affinitySeconds,
    sourceRanges: undefined,
    vips: [],
  };
}

/** iTP is never consulted (1.4): who is on this node has the whole list, who comes from elsewhere that of eTP. */
function externalClaim(internal: Claim, { externalLocal }: ServiceFacts): Claim {
  const external = externalLocal ? 'local' : 'cluster';
  return { ...internal, internal: 'cluster', external, isExternalLocal: externalLocal };
}

/** A7, and between external addresses, for which the rules have no order: the narrower promise first. */
const ORDER: Readonly<Record<FrontendKind, number>> = {
  ClusterIP: 0,
  LoadBalancer: 1,
  ExternalIP: 2,
  NodePort: 3,
  HostPort: 4,
};

/**
 * The one owner of a frontend (A6): by kind, then the older object (one without a date is the oldest), then by name.
 * Where it goes, the next one takes over.
 */
export function ownerOf<C extends Claim>(claims: readonly C[]): C | undefined {
  let owner: C | undefined;
  for (const claim of claims) if (owner === undefined || isBefore(claim, owner)) owner = claim;
  return owner;
}

function isBefore(left: Claim, right: Claim): boolean {
  if (left.kind !== right.kind) return ORDER[left.kind] < ORDER[right.kind];
  if (left.createdAt !== right.createdAt) return left.createdAt < right.createdAt;
  if (left.owner !== right.owner) return left.owner < right.owner;
  return left.portName < right.portName;
}

/** Name of a Service port as Kubernetes prints it. */
export function claimText({ owner, portName }: Pick<Claim, 'owner' | 'portName'>): string {
  return portName === '' ? owner : `${owner}:${portName}`;
}
