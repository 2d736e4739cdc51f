// SPDX-License-Identifier: Apache-2.0
/** The views of a Service port in one family: which list each kind of client gets, and whose address the backend sees. */
import type { Backend, Exclusion, Family, Frontend, FrontendKind, Masquerade, NodeConfig, View } from '../service.ts';
import {
  categorizeEndpoints,
  LOCAL_POLICY,
  type Categories,
  type Categorization,
  type Category,
} from './categorize.ts';
import type { ServiceInfo, ServicePortInfo } from './decode.ts';
import { gatherEndpoints, type Unusable } from './endpoints.ts';
import { familyOf, prefixFamily } from './families.ts';
import { compareTexts } from './names.ts';
import type { Candidate, SliceInfo } from './slices.ts';

/** What differs between the kinds of a port's frontends. */
export type PortViews = Pick<Frontend, 'internal' | 'external' | 'excluded' | 'serving'>;

/** A list of endpoints, in the forms in which views share it. */
type List = {
  readonly category: Category;
  readonly backends: readonly Backend[];
  readonly topology: Pick<View, 'topology' | 'topologyReason' | 'whenEmpty'>;
};

type Lists = { readonly cluster: List; readonly local: List; readonly unusable: readonly Unusable[] };

/** Answers for each kind of frontend; what several kinds share is one object. */
export function viewsOfPort(
  service: ServiceInfo,
  port: ServicePortInfo,
  family: Family,
  slices: readonly SliceInfo[],
  config: NodeConfig,
): (kind: FrontendKind) => PortViews {
  const { candidates, isCalm, unusable } = gatherEndpoints(service, slices, family, port);
  const categories = categorizeEndpoints(candidates, { ...categorization(service, port, family, config), isCalm });
  const lists: Lists = { cluster: clusterList(categories), local: localList(categories), unusable };
  const knowsPods = config.clusterCIDRs.some((prefix) => prefixFamily(prefix) === family);
  const offCluster: Masquerade = knowsPods ? 'off-cluster' : 'never';
  let ofClusterIP: PortViews | undefined;
  let ofExternal: PortViews | undefined;
  return (kind) => {
    if (kind === 'ClusterIP') return (ofClusterIP ??= clusterIPViews(service, lists, candidates, config, offCluster));
    return (ofExternal ??= externalViews(service, lists, candidates, offCluster));
  };
}

function categorization(
  service: ServiceInfo,
  port: ServicePortInfo,
  family: Family,
  config: NodeConfig,
): Omit<Categorization, 'isCalm'> {
  return {
    internalPolicy: service.internalPolicy,
    externalPolicy: service.externalPolicy,
    externallyAccessible: port.nodePort !== null || externalAddresses(service, family) > 0,
    nodeName: config.nodeName,
    zone: config.zone,
    topology: config.topology,
  };
}

function externalAddresses(service: ServiceInfo, family: Family): number {
  const all = [...service.loadBalancerIPs, ...service.externalIPs];
  return all.filter((address) => familyOf(address) === family).length;
}

function clusterList({ cluster, topology }: Categories): List {
  return {
    category: cluster,
    backends: cluster.chosen,
    topology: { topology: topology.mode, topologyReason: topology.reason, whenEmpty: 'reject' },
  };
}

/** Local policy with endpoints elsewhere is silence, nothing anywhere is refusal (services C1 to C3). */
function localList({ local, hasAny }: Categories): List {
  const { mode, reason } = LOCAL_POLICY;
  return {
    category: local,
    backends: local.chosen,
    topology: { topology: mode, topologyReason: reason, whenEmpty: hasAny ? 'drop' : 'reject' },
  };
}

function view({ backends, topology }: List, masquerade: Masquerade): View {
  return { backends, ...topology, masquerade };
}

/** Services B1: the internal policy chooses; the pods' own addresses stay. */
function clusterIPViews(
  service: ServiceInfo,
  lists: Lists,
  candidates: readonly Candidate[],
  config: NodeConfig,
  offCluster: Masquerade,
): PortViews {
  const list = service.internalPolicy === 'Local' ? lists.local : lists.cluster;
  const internal = view(list, config.masqueradeAll ? 'always' : offCluster);
  const external = config.externalClusterIP ? internal : null;
  return { internal, external, ...leftOut(lists, candidates, list, external === null ? null : list) };
}

/** Services 1.4: this node's own clients get everybody, as if they had come through a load balancer outside. */
function externalViews(
  service: ServiceInfo,
  lists: Lists,
  candidates: readonly Candidate[],
  offCluster: Masquerade,
): PortViews {
  if (service.externalPolicy === 'Cluster') {
    const both = view(lists.cluster, 'always');
    return { internal: both, external: both, ...leftOut(lists, candidates, lists.cluster, lists.cluster) };
  }
  const internal = view(lists.cluster, offCluster);
  const external = view(lists.local, 'never');
  return { internal, external, ...leftOut(lists, candidates, lists.cluster, lists.local) };
}

/** Of Services whose endpoints all serve and are all chosen. */
const NOBODY_LEFT_OUT: Pick<PortViews, 'excluded' | 'serving'> = { excluded: [], serving: [] };

function leftOut(
  { unusable }: Lists,
  candidates: readonly Candidate[],
  internal: List,
  external: List | null,
): Pick<PortViews, 'excluded' | 'serving'> {
  const isWhole = (list: List | null): boolean => list === null || list.backends.length === candidates.length;
  if (unusable.length === 0 && isWhole(internal) && isWhole(external)) return NOBODY_LEFT_OUT;
  const excluded: Exclusion[] = [];
  const add = (list: List | null, name: Exclusion['view']): void => {
    if (list === null) return;
    for (const one of unusable) excluded.push({ ...one, view: name });
    for (const { candidate, reason } of list.category.excluded)
      excluded.push({ address: candidate.endpoint.text, port: candidate.port, view: name, reason });
  };
  add(internal, 'internal');
  add(external, 'external');
  const chosen = new Set([...internal.backends, ...(external?.backends ?? [])]);
  const serving = candidates.filter((candidate) => candidate.endpoint.serving && !chosen.has(candidate));
  return { excluded: excluded.sort(compareExclusions), serving };
}

function exclusionText({ address, port, view: name, reason }: Exclusion): string {
  return `${address} ${String(port ?? 0).padStart(5, '0')} ${name === 'internal' ? 0 : 1} ${reason}`;
}

function compareExclusions(left: Exclusion, right: Exclusion): number {
  return compareTexts(exclusionText(left), exclusionText(right));
}
