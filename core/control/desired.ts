// SPDX-License-Identifier: Apache-2.0
/** One owner of frontends, a Service or a pod with host ports, to what it should have on this node. */
import { addressText, prefixContains, type Address, type Port, type Prefix } from '../address.ts';
import type { Family, Frontend, FrontendKind, NodeConfig, Problem } from '../service.ts';
import type { ClusterState } from './cluster.ts';
import type { ServiceInfo, ServicePortInfo } from './decode.ts';
import { gatherEndpoints } from './endpoints.ts';
import { FAMILIES, familyOf, isWholeFamily, prefixFamily } from './families.ts';
import { desiredPod } from './hostports.ts';
import { compareTexts } from './names.ts';
import { addressesForNodePorts } from './nodes.ts';
import { podOfOwner } from './pods.ts';
import { distinctRanges } from './ranges.ts';
import type { SliceInfo } from './slices.ts';
import { viewsOfPort } from './views.ts';

/** What one owner wants. `problems` are the compiler's own; those of the objects are kept with the objects. */
export type OwnerDesired = {
  readonly frontends: readonly Frontend[];
  readonly problems: readonly Problem[];
  /** null: nobody asks after the health of this Service here. */
  readonly healthCheck: HealthCheck | null;
};

/** Services F1: answered on a port of its own while local endpoints are ready. */
export type HealthCheck = { readonly port: number; readonly localEndpoints: number };

export const NOTHING_DESIRED: OwnerDesired = { frontends: [], problems: [], healthCheck: null };

/** Whether the Service is ours to serve (services A1, A2). */
export function isServed(service: ServiceInfo, config: NodeConfig): boolean {
  return !service.skipped && service.proxyName === config.serviceProxyName;
}

/** Pure: the same cluster, node and owner give the same answer. */
export function desiredOf(cluster: ClusterState, config: NodeConfig, owner: string): OwnerDesired {
  const pod = podOfOwner(owner);
  if (pod !== undefined) return desiredPod(cluster.pods.get(pod), config);
  const service = cluster.services.get(owner);
  if (service === undefined || !isServed(service, config)) return NOTHING_DESIRED;
  const slices = slicesOf(cluster, owner);
  const frontends: Frontend[] = [];
  const fitting = service.ports.slice(0, portsThatFit(slices));
  for (const family of FAMILIES) {
    if (service.clusterIPs[family] === null) continue;
    const places = placesOf(service, family, config);
    for (const port of fitting) frontends.push(...portFrontends(service, port, family, slices, config, places));
  }
  return {
    frontends,
    problems: [...nodePortProblems(service, config), ...tooManyProblems(service, fitting.length)],
    healthCheck: healthCheckOf(service, slices, config),
  };
}

/** Every port has every endpoint: 20,000 of one and 1,000 of the other, which the API permits, would fill any memory. */
export const BACKENDS_OF_SERVICE_MAX: number = 1_000_000;

/** How many ports of a Service can be served. */
function portsThatFit(slices: readonly SliceInfo[]): number {
  const endpoints = slices.reduce((sum, slice) => sum + slice.endpoints.length, 0);
  return Math.floor(BACKENDS_OF_SERVICE_MAX / Math.max(1, endpoints));
}

function tooManyProblems({ key, ports }: ServiceInfo, served: number): Problem[] {
  const first = ports[served];
  if (first === undefined) return [];
  const rest = ports.length - served;
  const message =
    `${rest} ports from here on are not served: ports times endpoints are more than ${BACKENDS_OF_SERVICE_MAX}` +
    ' (BACKENDS_OF_SERVICE_MAX); divide the Service';
  return [{ object: `Service ${key}`, field: `spec.ports[${first.index}]`, message }];
}

/** Slices in an order that doesn't depend on arrival; those labelled headless don't count (services A3). */
function slicesOf(cluster: ClusterState, key: string): readonly SliceInfo[] {
  const slices = [...(cluster.slicesOf.get(key)?.values() ?? [])].filter((slice) => !slice.headless);
  return slices.length < 2 ? slices : slices.toSorted((left, right) => compareTexts(left.key, right.key));
}

/** The addresses of a Service in one family, each once, by kind; those of a kind before are left out. */
type Places = {
  readonly [kind in Exclude<FrontendKind, 'HostPort'>]: readonly Address[];
} & { readonly sourceRanges: readonly Prefix[] | null };

function placesOf(service: ServiceInfo, family: Family, config: NodeConfig): Places {
  const taken = new Set<string>();
  const fresh = (addresses: readonly Address[]): Address[] =>
    addresses.filter((address) => {
      const text = addressText(address);
      if (familyOf(address) !== family || taken.has(text)) return false;
      taken.add(text);
      return true;
    });
  const clusterIP = service.clusterIPs[family];
  return {
    ClusterIP: fresh(clusterIP === null ? [] : [clusterIP]),
    LoadBalancer: fresh(service.loadBalancerIPs),
    ExternalIP: fresh(service.externalIPs),
    NodePort: addressesForNodePorts(config, family),
    sourceRanges: sourceRangesOf(service, family, config),
  };
}

/** Services B10: of the own family, all or nothing; a node that is let in may also come by an address it has from us. */
function sourceRangesOf(service: ServiceInfo, family: Family, config: NodeConfig): readonly Prefix[] | null {
  const { sourceRanges } = service;
  if (sourceRanges === null || sourceRanges.length === 0) return sourceRanges;
  const ranges = sourceRanges.filter((range) => prefixFamily(range) === family);
  if (ranges.length === 0 || ranges.some(isWholeFamily)) return null;
  const own = config.nodeIPs.filter((address) => familyOf(address) === family);
  const isNodeIn = own.some((address) => ranges.some((range) => prefixContains(range, address)));
  const vips = service.loadBalancerIPs.filter((address) => familyOf(address) === family);
  const all = isNodeIn ? [...ranges, ...vips.map((address) => ({ address, length: 128 }))] : ranges;
  return distinctRanges(all);
}

function portFrontends(
  service: ServiceInfo,
  port: ServicePortInfo,
  family: Family,
  slices: readonly SliceInfo[],
  config: NodeConfig,
  places: Places,
): Frontend[] {
  const viewsOf = viewsOfPort(service, port, family, slices, config);
  const { namespace, name, created, affinitySeconds } = service;
  const { nodePort } = port;
  const frontend = (kind: FrontendKind, address: Address, number: Port): Frontend => ({
    kind,
    created,
    algorithm: service.algorithm ?? config.algorithm,
    servicePort: { namespace, name, portName: port.name, protocol: port.protocol },
    address,
    port: number,
    protocol: port.protocol,
    affinitySeconds,
    sourceRanges: kind === 'LoadBalancer' ? places.sourceRanges : null,
    ...viewsOf(kind),
  });
  return [
    ...places.ClusterIP.map((address) => frontend('ClusterIP', address, port.port)),
    ...places.LoadBalancer.map((address) => frontend('LoadBalancer', address, port.port)),
    ...places.ExternalIP.map((address) => frontend('ExternalIP', address, port.port)),
    ...(nodePort === null ? [] : places.NodePort.map((address) => frontend('NodePort', address, nodePort))),
  ];
}

/** NodePorts that no address of this node serves, or that source NAT may take for itself. */
function nodePortProblems(service: ServiceInfo, config: NodeConfig): Problem[] {
  const families = FAMILIES.filter((family) => service.clusterIPs[family] !== null);
  const hasPlace = families.some((family) => addressesForNodePorts(config, family).length > 0);
  const { first, last } = config.nodePortRange;
  return service.ports.flatMap(({ nodePort, index }) => {
    if (nodePort === null) return [];
    const isInRange = nodePort >= first && nodePort <= last;
    if (hasPlace && isInRange) return [];
    const message = hasPlace
      ? `${nodePort} is outside of nodePortRange ${first}-${last}: source NAT may use the same port`
      : `not served: this node has no ${families.join(' or ')} address for NodePorts; nodeIPs and nodePortAddresses say which`;
    return [{ object: `Service ${service.key}`, field: `spec.ports[${index}].nodePort`, message }];
  });
}

/** Ready local addresses, each once, of the Service's first family: a fallback to terminating ones doesn't count. */
function healthCheckOf(service: ServiceInfo, slices: readonly SliceInfo[], config: NodeConfig): HealthCheck | null {
  const { type, externalPolicy, healthCheckNodePort } = service;
  if (type !== 'LoadBalancer' || externalPolicy !== 'Local' || healthCheckNodePort === 0) return null;
  const local = new Set<string>();
  for (const port of service.ports) {
    for (const { endpoint } of gatherEndpoints(service, slices, service.primaryFamily, port).candidates) {
      const isLocal = endpoint.node !== '' && endpoint.node === config.nodeName;
      if (isLocal && endpoint.ready) local.add(endpoint.text);
    }
  }
  return { port: healthCheckNodePort, localEndpoints: local.size };
}
