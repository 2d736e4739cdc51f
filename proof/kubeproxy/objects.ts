// SPDX-License-Identifier: Apache-2.0
/** Who claims a frontend, read from the objects alone: only to tell which Service a comparison is about. */
import { addressText, parseAddress } from '../../core/address.ts';
import type { EndpointSliceObject, ServiceObject } from '../../core/objects.ts';
import type { FrontendKind } from '../../core/service.ts';
import type { FrontendKey } from './answer.ts';

export type Claim = {
  readonly service: ServiceObject;
  readonly portName: string;
  /** Of the Service with its port. */
  readonly name: string;
  readonly kind: FrontendKind;
};

export type Claims = {
  readonly of: (frontend: FrontendKey) => readonly Claim[];
  /** Every frontend that an object names; of node ports those on the addresses handed in. */
  readonly frontends: readonly FrontendKey[];
  readonly slicesOf: (service: ServiceObject) => readonly EndpointSliceObject[];
};

function serviceName({ metadata }: ServiceObject): string {
  return `${metadata?.namespace ?? ''}/${metadata?.name ?? ''}`;
}

/** Addresses of the Service with what they are; a load balancer that does its own proxying has none (services B9). */
function addressesOf(service: ServiceObject): readonly (readonly [FrontendKind, string])[] {
  return [
    ...(service.spec?.clusterIPs ?? []).map((address) => ['ClusterIP', address] as const),
    ...balancersOf(service).map((address) => ['LoadBalancer', address] as const),
    ...(service.spec?.externalIPs ?? []).map((address) => ['ExternalIP', address] as const),
  ];
}

/** Addresses at which nodes are to serve it. */
export function balancersOf({ status }: ServiceObject): readonly string[] {
  const ingress = (status?.loadBalancer?.ingress ?? []).filter(({ ipMode }) => ipMode !== 'Proxy');
  return ingress.flatMap(({ ip = '' }) => (ip === '' ? [] : [ip]));
}

/** Services that kube-proxy leaves alone claim nothing (services A1, A2). */
function isProxied({ metadata, spec }: ServiceObject): boolean {
  const isNamed = metadata?.labels?.['service.kubernetes.io/service-proxy-name'] !== undefined;
  const { clusterIP = '' } = spec ?? {};
  return !isNamed && spec?.type !== 'ExternalName' && clusterIP !== '' && clusterIP !== 'None';
}

function protocolOf(text: string | undefined): FrontendKey['protocol'] {
  const protocol = (text ?? 'TCP').toLowerCase();
  if (protocol === 'tcp' || protocol === 'udp' || protocol === 'sctp') return protocol;
  throw new Error(`protocol ${protocol}`);
}

export function claimsOf(
  services: readonly ServiceObject[],
  slices: readonly EndpointSliceObject[],
  nodeAddresses: readonly string[],
): Claims {
  const found = new Map<string, { readonly key: FrontendKey; readonly claims: Claim[] }>();
  const add = (key: FrontendKey, claim: Claim): void => {
    const text = keyText(key);
    const entry = found.get(text) ?? { key, claims: [] };
    found.set(text, entry);
    // An address may stand in the objects of one Service twice.
    if (!entry.claims.some(({ name, kind }) => name === claim.name && kind === claim.kind)) entry.claims.push(claim);
  };
  for (const service of services.filter(isProxied)) {
    const families = service.spec?.ipFamilies ?? [];
    for (const { name = '', port = 0, protocol: text, nodePort = 0 } of service.spec?.ports ?? []) {
      const protocol = protocolOf(text);
      const claim = (kind: FrontendKind): Claim => ({
        ...{ service, kind, portName: name },
        name: `${serviceName(service)}:${name}`,
      });
      const servedFamily = (address: string): boolean => families.includes(address.includes(':') ? 'IPv6' : 'IPv4');
      for (const [kind, address] of addressesOf(service)) {
        if (servedFamily(address)) add({ address: canonical(address), port, protocol }, claim(kind));
      }
      if (nodePort === 0) continue;
      for (const address of nodeAddresses.filter(servedFamily))
        add({ address, port: nodePort, protocol }, claim('NodePort'));
    }
  }
  const byService = Map.groupBy(slices, (slice) => {
    const { namespace = '', labels = {} } = slice.metadata ?? {};
    return `${namespace}/${labels['kubernetes.io/service-name'] ?? ''}`;
  });
  return {
    of: (frontend) => found.get(keyText(frontend))?.claims ?? [],
    frontends: [...found.values()].map(({ key }) => key),
    slicesOf: (service) => byService.get(serviceName(service)) ?? [],
  };
}

export function keyText({ address, protocol, port }: FrontendKey): string {
  return `${address} ${protocol} ${port}`;
}

function canonical(address: string): string {
  const parsed = parseAddress(address);
  return parsed.ok ? addressText(parsed.value) : address;
}
