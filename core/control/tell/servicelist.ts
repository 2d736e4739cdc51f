// SPDX-License-Identifier: Apache-2.0
/** All Services, a line each: what they are, how many endpoints are ready, and what is unusual about each. */
import { addressText, prefixText, protocolText } from '../../address.ts';
import type { Frontend, NodeConfig, Problem } from '../../service.ts';
import type { ClusterState } from '../cluster.ts';
import type { ServiceInfo } from '../decode.ts';
import { problems, type Everything } from './document.ts';
import { isServed, NOTHING_DESIRED, type OwnerDesired } from '../desired.ts';
import { familyOf } from '../families.ts';
import { keyText, serviceText } from '../names.ts';
import { EMPTY_WORDS } from './reasons.ts';
import { whyNotServed } from './show.ts';

export type ListedPort = {
  readonly name: string;
  readonly port: number;
  readonly protocol: string;
  /** null: none. */
  readonly nodePort: number | null;
};

export type ListedService = {
  readonly service: string;
  readonly type: string;
  readonly served: boolean;
  /** Cluster addresses first, then load balancers' and external ones. */
  readonly addresses: readonly string[];
  readonly ports: readonly ListedPort[];
  /** Of the family that has the most; each address once. */
  readonly endpoints: { readonly ready: number; readonly total: number };
  readonly unusual: readonly string[];
};

export type ServiceListing = {
  readonly apiVersion: 'tandem/v1alpha1';
  readonly kind: 'CompiledServiceList';
  readonly node: { readonly name: string; readonly zone: string | null };
  readonly services: readonly ListedService[];
  /** Of no Service: of the node, of watches, of pods with host ports. */
  readonly problems: readonly Problem[];
};

/** In the order of names. */
export function listServices(cluster: ClusterState, everything: Everything): ServiceListing {
  const { node } = everything;
  const { ofServices, others } = problemsByService(cluster, everything);
  const services = [...cluster.services.values()].sort((left, right) => (left.key < right.key ? -1 : 1));
  return {
    apiVersion: 'tandem/v1alpha1',
    kind: 'CompiledServiceList',
    node: { name: node.nodeName, zone: node.zone === '' ? null : node.zone },
    services: services.map((service) => listed(cluster, everything, service, ofServices.get(service.key) ?? 0)),
    problems: others,
  };
}

function problemsByService(
  cluster: ClusterState,
  { desired, node }: Everything,
): { readonly ofServices: ReadonlyMap<string, number>; readonly others: readonly Problem[] } {
  const ofServices = new Map<string, number>();
  const others: Problem[] = [];
  for (const problem of problems(cluster, node, desired)) {
    const [kind = '', key = ''] = problem.object.split(' ');
    const service = kind === 'Service' ? key : kind === 'EndpointSlice' ? cluster.slices.get(key)?.service : undefined;
    if (service === undefined || !cluster.services.has(service)) others.push(problem);
    else ofServices.set(service, (ofServices.get(service) ?? 0) + 1);
  }
  return { ofServices, others };
}

function listed(cluster: ClusterState, everything: Everything, service: ServiceInfo, found: number): ListedService {
  const { desired, node } = everything;
  const endpoints = endpointsOf(cluster, service.key);
  const wanted = desired.owners.get(service.key) ?? NOTHING_DESIRED;
  const { IPv4, IPv6 } = service.clusterIPs;
  const own = service.primaryFamily === 'IPv4' ? [IPv4, IPv6] : [IPv6, IPv4];
  const addresses = [...own, ...service.loadBalancerIPs, ...service.externalIPs];
  return {
    service: service.key,
    type: service.type,
    served: isServed(service, node),
    addresses: [...new Set(addresses.flatMap((one) => (one === null ? [] : [addressText(one)])))],
    ports: service.ports.map(({ name, port, protocol, nodePort }) => ({
      name,
      port,
      protocol: protocolText(protocol),
      nodePort,
    })),
    endpoints: { ready: endpoints.ready, total: endpoints.total },
    unusual: [
      ...unusualOfFrontends(wanted, everything),
      ...unusualOfService(service, node, endpoints.slices),
      ...(found === 0 ? [] : [`${found} problem${found === 1 ? '' : 's'}`]),
    ],
  };
}

type Counted = { readonly ready: number; readonly total: number; readonly slices: number };

function endpointsOf({ slicesOf }: ClusterState, key: string): Counted {
  const slices = [...(slicesOf.get(key)?.values() ?? [])].filter(({ headless }) => !headless);
  const families = (['IPv4', 'IPv6', null] as const).map((family) => {
    const endpoints = slices.filter((slice) => slice.family === family).flatMap((slice) => slice.endpoints);
    const ready = new Set(endpoints.filter((one) => one.ready).map(({ text }) => text));
    return { ready: ready.size, total: new Set(endpoints.map(({ text }) => text)).size, slices: slices.length };
  });
  return families.toSorted((left, right) => right.total - left.total || right.ready - left.ready)[0] ?? NONE;
}

const NONE: Counted = { ready: 0, total: 0, slices: 0 };

function unusualOfService(service: ServiceInfo, node: NodeConfig, slices: number): string[] {
  const why = whyNotServed(service, node);
  if (why !== null) return [`not served: ${(why.split(':')[0] ?? why).trim()}`];
  const { affinitySeconds, internalPolicy, externalPolicy, sourceRanges } = service;
  const unusual: string[] = [];
  if (slices === 0) unusual.push('no EndpointSlice');
  if (internalPolicy === 'Local') unusual.push('internal policy Local');
  if (externalPolicy === 'Local') unusual.push('external policy Local');
  if (affinitySeconds !== null) unusual.push(`affinity ${affinitySeconds} s`);
  if (sourceRanges !== null)
    unusual.push(sourceRanges.length === 0 ? 'source ranges let nobody in' : `only from ${rangesText(sourceRanges)}`);
  return unusual;
}

function rangesText(ranges: NonNullable<ServiceInfo['sourceRanges']>): string {
  const shown = ranges.slice(0, 2).map(prefixText).join(', ');
  return ranges.length > 2 ? `${shown} and ${ranges.length - 2} more ranges` : shown;
}

/** What holds for every port is said of none. */
function unusualOfFrontends({ frontends, healthCheck }: OwnerDesired, { desired }: Everything): string[] {
  const found = new Map<string, Set<string>>();
  const ports = new Set<string>();
  const lost: string[] = [];
  for (const frontend of frontends) {
    const { portName, protocol } = frontend.servicePort;
    const port = portName === '' ? `${frontend.port}/${protocolText(protocol)}` : portName;
    ports.add(port);
    const [first] = desired.claims.get(keyText(frontend)) ?? [];
    if (first !== undefined && first !== frontend) {
      lost.push(`${keyText(frontend)} belongs to ${serviceText(first.servicePort.namespace, first.servicePort.name)}`);
      continue;
    }
    for (const text of unusualOfFrontend(frontend)) {
      const known = found.get(text);
      if (known === undefined) found.set(text, new Set([port]));
      else known.add(port);
    }
  }
  const unusual = [...found].map(([text, of]) => (of.size === ports.size ? text : `${namesText([...of])}: ${text}`));
  const [one] = lost;
  if (one !== undefined) unusual.push(lost.length === 1 ? one : `${one}, and ${lost.length - 1} more lost`);
  if (healthCheck !== null) unusual.push(`health check ${healthCheck.localEndpoints > 0 ? 200 : 503}`);
  return unusual;
}

function namesText(names: readonly string[]): string {
  const more = names.length - PORTS_SHOWN;
  return more <= 0 ? names.join(', ') : `${names.slice(0, PORTS_SHOWN).join(', ')} and ${more} more ports`;
}

function unusualOfFrontend({ internal, external, address }: Frontend): string[] {
  const unusual: string[] = [];
  if (internal?.backends.length === 0) unusual.push(`NO BACKEND, ${EMPTY_WORDS[internal.whenEmpty]}`);
  else if (external?.backends.length === 0) unusual.push(`no backend from outside, ${EMPTY_WORDS[external.whenEmpty]}`);
  if (internal?.backends.some(({ state }) => state === 'terminating') === true)
    unusual.push('only terminating endpoints');
  if (internal !== null && internal.topology !== 'none')
    unusual.push(`${familyOf(address)} hints followed by ${internal.topology}`);
  else if (internal?.topologyReason === 'endpoint-without-hints' || internal?.topologyReason === 'no-hint-names-us')
    unusual.push(`${familyOf(address)} hints not followed`);
  return unusual;
}

const HEADINGS: readonly string[] = ['SERVICE', 'TYPE', 'ADDRESSES', 'PORTS', 'READY', 'UNUSUAL'];
/** More would make every line as long as the longest. */
const PORTS_SHOWN = 4;

/** A line for each Service, then what is wrong with nobody's. */
export function listingLines({ services, problems: found }: ServiceListing): string[] {
  const rows = [HEADINGS, ...services.map(rowOf)];
  const widths = HEADINGS.map((_, column) => rows.reduce((most, row) => Math.max(most, row[column]?.length ?? 0), 0));
  const lines = rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
  const empty = services.filter(({ served, endpoints }) => served && endpoints.ready === 0).length;
  const served = services.filter((one) => one.served).length;
  const summary = `${services.length} Services: ${served} served, ${empty} of them without a ready endpoint`;
  const told = found.map(({ object, field, message }) => `${object}${field === '' ? '' : ` ${field}`}: ${message}`);
  return [...lines, '', summary, ...told];
}

function rowOf({ service, type, addresses, ports, endpoints, unusual }: ListedService): string[] {
  const texts = ports.slice(0, PORTS_SHOWN).map(({ name, port, protocol, nodePort }) => {
    const number = `${port}${nodePort === null ? '' : `:${nodePort}`}/${protocol}`;
    return name === '' ? number : `${name}=${number}`;
  });
  const more = ports.length - texts.length;
  const port = more > 0 ? [...texts, `+${more}`] : texts;
  const shown =
    addresses.length > PORTS_SHOWN
      ? [...addresses.slice(0, PORTS_SHOWN), `+${addresses.length - PORTS_SHOWN}`]
      : addresses;
  return [
    service,
    type,
    shown.join(',') || '-',
    port.join(',') || '-',
    `${endpoints.ready}/${endpoints.total}`,
    unusual.join('; ') || '-',
  ];
}
