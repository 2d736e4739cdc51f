// SPDX-License-Identifier: Apache-2.0
/** One Service of the cluster to the frontends it should have on this node, each with its backends and who was left out. */
import { isIPv4, type Address } from '../address.ts';
import type { Backend, Exclusion, Family, Frontend, NodeConfig, Problem, View, ViewName } from '../service.ts';
import {
  categorizeEndpoints,
  type Candidate,
  type Categories,
  type Categorization,
  type Category,
} from './categorize.ts';
import type { ClusterState } from './cluster.ts';
import type { EndpointInfo, ServiceInfo, ServicePortInfo, SliceInfo } from './decode.ts';

/** What one Service wants. `problems` are the compiler's own; those of the objects are kept with the objects. */
export type ServiceDesired = { readonly frontends: readonly Frontend[]; readonly problems: readonly Problem[] };

export const NOTHING_DESIRED: ServiceDesired = { frontends: [], problems: [] };

const FAMILIES: readonly Family[] = ['IPv4', 'IPv6'];

/** The zone of our node: what the Node object says, else the configuration. */
export function effectiveNode(cluster: ClusterState, config: NodeConfig): NodeConfig {
  const zone = cluster.nodes.get(config.nodeName)?.zone ?? '';
  return zone === '' || zone === config.zone ? config : { ...config, zone };
}

function familyOf(address: Address): Family {
  return isIPv4(address) ? 'IPv4' : 'IPv6';
}

/** Whether the Service is ours to serve (services A1, A2). */
export function isServed(service: ServiceInfo, config: NodeConfig): boolean {
  return !service.skipped && service.proxyName === config.serviceProxyName;
}

/** Pure: the same cluster, node and key give the same answer. */
export function desiredService(cluster: ClusterState, config: NodeConfig, key: string): ServiceDesired {
  const service = cluster.services.get(key);
  if (service === undefined || !isServed(service, config)) return NOTHING_DESIRED;
  const slices = slicesOf(cluster, key);
  const frontends: Frontend[] = [];
  for (const family of FAMILIES) {
    const address = service.clusterIPs[family];
    if (address === null) continue;
    for (const port of service.ports) frontends.push(clusterIPFrontend(service, port, address, slices, config));
  }
  return { frontends, problems: notCompiledYet(service) };
}

/** Slices in an order that doesn't depend on arrival; those labelled headless don't count (services A3). */
function slicesOf(cluster: ClusterState, key: string): readonly SliceInfo[] {
  const slices = [...(cluster.slicesOf.get(key)?.values() ?? [])].filter((slice) => !slice.headless);
  return slices.length < 2 ? slices : slices.toSorted((left, right) => (left.key < right.key ? -1 : 1));
}

function notCompiledYet(service: ServiceInfo): Problem[] {
  const problems: Problem[] = [];
  const add = (field: string, what: string): void => {
    problems.push({ object: `Service ${service.key}`, field, message: `unsupported: ${what} is not compiled yet` });
  };
  for (const port of service.ports)
    if (port.nodePort !== 0) add(`spec.ports[${port.index}].nodePort`, `NodePort ${port.nodePort}`);
  if (service.externalIPs.length > 0) add('spec.externalIPs', 'an external IP');
  if (service.loadBalancerIPs.length > 0) add('status.loadBalancer.ingress', 'a load balancer address');
  const checksHealth = service.type === 'LoadBalancer' && service.externalPolicy === 'Local';
  if (checksHealth && service.healthCheckNodePort !== 0) add('spec.healthCheckNodePort', 'the health check port');
  return problems;
}

/** The endpoints of a Service port in one family, each `address:port` once, and those that are not among them. */
type Gathered = { readonly candidates: readonly Candidate[]; readonly excluded: readonly Omit<Exclusion, 'view'>[] };

/** Non-terminating wins over terminating (services H4); what upstream leaves open: ready, then serving, then the first. */
function isBetter(challenger: EndpointInfo, holder: EndpointInfo): boolean {
  if (challenger.terminating !== holder.terminating) return !challenger.terminating;
  if (challenger.ready !== holder.ready) return challenger.ready;
  return challenger.serving && !holder.serving;
}

function gather(slices: readonly SliceInfo[], family: Family, port: ServicePortInfo): Gathered {
  const found = new Map<string, Candidate>();
  const excluded: Omit<Exclusion, 'view'>[] = [];
  for (const slice of slices) {
    if (slice.family !== family) continue;
    const ports = slice.ports.filter(({ name, protocol }) => name === port.name && protocol === port.protocol);
    for (const endpoint of slice.endpoints) {
      if (ports.length === 0) excluded.push({ address: endpoint.text, port: null, reason: 'no-such-port' });
      for (const { port: number } of ports) {
        if (endpoint.address === null) {
          excluded.push({ address: endpoint.text, port: number, reason: 'invalid-address' });
          continue;
        }
        const text = family === 'IPv4' ? `${endpoint.text}:${number}` : `[${endpoint.text}]:${number}`;
        const holder = found.get(text);
        if (holder !== undefined) excluded.push({ address: endpoint.text, port: number, reason: 'duplicate' });
        if (holder === undefined || isBetter(endpoint, holder.endpoint))
          found.set(text, { endpoint, port: number, text });
      }
    }
  }
  const candidates = [...found.values()].sort((left, right) => (left.text < right.text ? -1 : 1));
  return { candidates, excluded };
}

/** Endpoints of a family in which the Service has no address serve nobody; of the others each family tells its own. */
function otherFamily(
  service: ServiceInfo,
  slices: readonly SliceInfo[],
  family: Family,
  port: ServicePortInfo,
): Omit<Exclusion, 'view'>[] {
  const excluded: Omit<Exclusion, 'view'>[] = [];
  for (const slice of slices) {
    if (slice.family === family || slice.family === null || service.clusterIPs[slice.family] !== null) continue;
    const match = slice.ports.find(({ name, protocol }) => name === port.name && protocol === port.protocol);
    for (const { text } of slice.endpoints)
      excluded.push({ address: text, port: match?.port ?? null, reason: 'other-family' });
  }
  return excluded;
}

function clusterIPFrontend(
  service: ServiceInfo,
  port: ServicePortInfo,
  address: Address,
  slices: readonly SliceInfo[],
  config: NodeConfig,
): Frontend {
  const family = familyOf(address);
  const gathered = gather(slices, family, port);
  const categories = categorizeEndpoints(gathered.candidates, categorization(service, port, family, config));
  const category = service.internalPolicy === 'Local' ? categories.local : categories.cluster;
  const excluded = exclusions('internal', category, [
    ...gathered.excluded,
    ...otherFamily(service, slices, family, port),
  ]);
  return {
    kind: 'ClusterIP',
    servicePort: { namespace: service.namespace, name: service.name, portName: port.name, protocol: port.protocol },
    address,
    port: port.port,
    protocol: port.protocol,
    affinitySeconds: service.affinitySeconds,
    sourceRanges: null,
    internal: clusterIPView(service, categories, category, family, config),
    external: null,
    excluded,
    serving: category.excluded
      .map(({ candidate }) => candidate)
      .filter(({ endpoint }) => endpoint.serving)
      .map(backend),
  };
}

function categorization(
  service: ServiceInfo,
  port: ServicePortInfo,
  family: Family,
  config: NodeConfig,
): Categorization {
  const ofFamily = (address: Address): boolean => familyOf(address) === family;
  return {
    internalPolicy: service.internalPolicy,
    externalPolicy: service.externalPolicy,
    externallyAccessible:
      port.nodePort !== 0 || service.loadBalancerIPs.some(ofFamily) || service.externalIPs.some(ofFamily),
    nodeName: config.nodeName,
    zone: config.zone,
    topology: config.topology,
  };
}

/** Local policy with endpoints elsewhere is silence, nothing anywhere is refusal (services C1, C2). */
function clusterIPView(
  service: ServiceInfo,
  categories: Categories,
  category: Category,
  family: Family,
  config: NodeConfig,
): View {
  const isLocal = service.internalPolicy === 'Local';
  const knowsPods = config.clusterCIDRs.some((prefix) => familyOf(prefix.address) === family);
  return {
    backends: category.chosen.map(backend),
    whenEmpty: isLocal && categories.hasAny ? 'drop' : 'reject',
    topology: isLocal ? 'none' : categories.mode,
    masquerade: config.masqueradeAll ? 'always' : knowsPods ? 'off-cluster' : 'never',
  };
}

function backend({ endpoint, port, text }: Candidate): Backend {
  const { address, node, zone, pod } = endpoint;
  if (address === null) throw new Error(`assertion failed: ${text} was chosen without an address`);
  return { address, port, state: endpoint.ready ? 'active' : 'terminating', node, zone, pod, text };
}

function exclusions(view: ViewName, category: Category, before: readonly Omit<Exclusion, 'view'>[]): Exclusion[] {
  const excluded: Exclusion[] = before.map((exclusion) => ({ ...exclusion, view }));
  for (const { candidate, reason } of category.excluded) {
    excluded.push({ address: candidate.endpoint.text, port: candidate.port, view, reason });
  }
  return excluded.sort(compareExclusions);
}

function exclusionText({ address, port, view, reason }: Exclusion): string {
  return `${address} ${String(port ?? 0).padStart(5, '0')} ${view === 'internal' ? 0 : 1} ${reason}`;
}

function compareExclusions(left: Exclusion, right: Exclusion): number {
  const [before, after] = [exclusionText(left), exclusionText(right)];
  return before < after ? -1 : before > after ? 1 : 0;
}
