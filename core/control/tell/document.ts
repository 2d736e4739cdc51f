// SPDX-License-Identifier: Apache-2.0
/** The compiled Services as a document (kind CompiledServices) and as a table: who can reach what, and why not. */
import { addressText, compareAddresses, hostText, prefixText, protocolText, type Prefix } from '../../address.ts';
import type {
  BackendState,
  ExclusionReason,
  Family,
  Frontend,
  FrontendKind,
  Masquerade,
  NodeConfig,
  Problem,
  TopologyMode,
  TopologyReason,
  View,
  ViewName,
  WhenEmpty,
} from '../../service.ts';
import { allFrontends, desiredProblems, emptyDesired, updateDesired, type Desired } from '../claims.ts';
import { clusterProblems, everyOwner, type ClusterState } from '../cluster.ts';
import { familyOf } from '../families.ts';
import { compareTexts, servicePortText, serviceText } from '../names.ts';
import { nodeNameProblem } from './nodename.ts';
import { effectiveNode } from '../nodes.ts';

export type CompiledBackend = {
  readonly address: string;
  readonly port: number;
  readonly state: BackendState;
  /** null: the slice doesn't say. */
  readonly node: string | null;
  readonly zone: string | null;
};

export type CompiledView = {
  readonly backends: readonly CompiledBackend[];
  readonly whenEmpty: WhenEmpty;
  readonly topology: TopologyMode;
  readonly masquerade: Masquerade;
};

export type CompiledExclusion = {
  readonly address: string;
  readonly port: number | null;
  readonly view: ViewName;
  readonly reason: ExclusionReason;
};

export type CompiledFrontend = {
  readonly kind: FrontendKind;
  readonly service: string;
  readonly portName: string;
  readonly address: string;
  readonly port: number;
  readonly protocol: string;
  readonly affinitySeconds: number | null;
  readonly sourceRanges: readonly string[] | null;
  readonly internal: CompiledView | null;
  readonly external: CompiledView | null;
  readonly excluded: readonly CompiledExclusion[];
};

/** Of a Service port whose endpoints have hints: whether these are followed, and why not (services 2.4). */
export type CompiledTopology = {
  readonly service: string;
  readonly portName: string;
  readonly protocol: string;
  readonly family: Family;
  readonly topology: TopologyMode;
  readonly reason: TopologyReason;
};

/** `port`: where load balancers ask; they get 200 while there are local endpoints (services F1). */
export type CompiledHealthCheck = { readonly service: string; readonly port: number; readonly localEndpoints: number };

export type CompiledServices = {
  readonly apiVersion: 'tandem/v1alpha1';
  readonly kind: 'CompiledServices';
  readonly node: { readonly name: string; readonly zone: string | null };
  readonly defaults: {
    readonly serviceCIDRs: readonly string[];
    readonly unknownPort: 'reject';
    readonly unallocatedAddress: 'drop';
  };
  readonly frontends: readonly CompiledFrontend[];
  readonly healthChecks: readonly CompiledHealthCheck[];
  readonly topology: readonly CompiledTopology[];
  readonly problems: readonly Problem[];
};

export type DocumentConfig = NodeConfig & { readonly serviceCIDRs: readonly Prefix[] };

/** What a node makes of a cluster: itself with all that is known of it, and what every owner wants. */
export type Everything = { readonly node: NodeConfig; readonly desired: Desired };

export function computeEverything(cluster: ClusterState, config: NodeConfig): Everything {
  const desired = emptyDesired();
  const node = effectiveNode(cluster.nodes, config);
  updateDesired(desired, cluster, node, everyOwner(cluster));
  return { node, desired };
}

/** Computes every Service and writes down the outcome; equal for equal clusters, whatever order they came in. */
export function compileServices(cluster: ClusterState, config: DocumentConfig): CompiledServices {
  const { node, desired } = computeEverything(cluster, config);
  const frontends = allFrontends(desired).sort(compareFrontends);
  return {
    apiVersion: 'tandem/v1alpha1',
    kind: 'CompiledServices',
    node: { name: node.nodeName, zone: node.zone === '' ? null : node.zone },
    defaults: {
      serviceCIDRs: config.serviceCIDRs.map(prefixText),
      unknownPort: 'reject',
      unallocatedAddress: 'drop',
    },
    frontends: frontends.map(compiledFrontend),
    healthChecks: healthChecks(desired),
    topology: topologies(frontends),
    problems: problems(cluster, node, desired),
  };
}

function serviceOf({ servicePort }: Frontend): string {
  return serviceText(servicePort.namespace, servicePort.name);
}

/** Rows of the document in their order. */
export function compareFrontends(left: Frontend, right: Frontend): number {
  return (
    compareTexts(serviceOf(left), serviceOf(right)) ||
    compareTexts(left.servicePort.portName, right.servicePort.portName) ||
    compareTexts(left.kind, right.kind) ||
    compareAddresses(left.address, right.address) ||
    left.port - right.port ||
    left.protocol - right.protocol
  );
}

/** A row of the document. */
export function compiledFrontend(frontend: Frontend): CompiledFrontend {
  return {
    kind: frontend.kind,
    service: serviceOf(frontend),
    portName: frontend.servicePort.portName,
    address: addressText(frontend.address),
    port: frontend.port,
    protocol: protocolText(frontend.protocol),
    affinitySeconds: frontend.affinitySeconds,
    sourceRanges: frontend.sourceRanges?.map(prefixText) ?? null,
    internal: compiledView(frontend.internal),
    external: compiledView(frontend.external),
    excluded: frontend.excluded,
  };
}

/** Where no endpoint has a hint, or the policy alone decides, there is nothing to tell. */
const UNTOLD: readonly TopologyReason[] = ['no-hints', 'no-ready-endpoints', 'local-policy'];

/** Each Service port and family once; `frontends` in the order of the document. */
export function topologies(frontends: readonly Frontend[]): CompiledTopology[] {
  const found = new Map<string, CompiledTopology>();
  for (const frontend of frontends) {
    const { address, internal, protocol, servicePort } = frontend;
    if (internal === null || UNTOLD.includes(internal.topologyReason)) continue;
    const family = familyOf(address);
    found.set(`${servicePortText(servicePort)} ${family}`, {
      service: serviceOf(frontend),
      portName: servicePort.portName,
      protocol: protocolText(protocol),
      family,
      topology: internal.topology,
      reason: internal.topologyReason,
    });
  }
  return [...found.values()];
}

export function healthChecks({ owners }: Desired): CompiledHealthCheck[] {
  const checks = [...owners].flatMap(([service, { healthCheck }]) =>
    healthCheck === null ? [] : [{ service, ...healthCheck }],
  );
  return checks.sort((left, right) => compareTexts(left.service, right.service));
}

export function compiledView(view: View | null): CompiledView | null {
  if (view === null) return null;
  const backends = view.backends.map(({ address, port, state, node, zone }) => ({
    address: addressText(address),
    port,
    state,
    node: node === '' ? null : node,
    zone: zone === '' ? null : zone,
  }));
  const { whenEmpty, topology, masquerade } = view;
  return { backends, whenEmpty, topology, masquerade };
}

export function problems(cluster: ClusterState, config: NodeConfig, desired: Desired): Problem[] {
  const found = [...clusterProblems(cluster), ...desiredProblems(desired)];
  found.push(...gapProblems(cluster));
  const nodeName = nodeNameProblem(cluster, config);
  if (nodeName !== undefined) found.push(nodeName);
  return found.sort(compareProblems);
}

/** What is out of date, by kind. */
export function gapProblems({ gaps }: ClusterState): Problem[] {
  return [...gaps].map(([kind, reason]) => ({
    object: `watch of ${kind}`,
    field: '',
    message: `lost (${reason}) and not listed again: may be out of date`,
  }));
}

/** In the order of the document. */
export function compareProblems(left: Problem, right: Problem): number {
  return (
    compareTexts(left.object, right.object) ||
    compareTexts(left.field, right.field) ||
    compareTexts(left.message, right.message)
  );
}

const HEADINGS = [
  'SERVICE',
  'KIND',
  'FRONTEND',
  'VIEW',
  'BACKENDS',
  'WHEN EMPTY',
  'TOPOLOGY',
  'MASQUERADE',
  'LEFT OUT',
];

/** The same for people: a line per frontend and view, then the problems. */
export function compiledTable({
  frontends,
  healthChecks: checks,
  problems: found,
  topology,
}: CompiledServices): string {
  const rows = [HEADINGS, ...frontends.flatMap(tableRows)];
  const widths = HEADINGS.map((_, column) => rows.reduce((most, row) => Math.max(most, row[column]?.length ?? 0), 0));
  const lines = rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
  for (const { service, portName, family, reason, topology: mode } of topology.filter(isIgnored))
    lines.push('', `${service}:${portName} ${family}: hints are not followed (${mode}): ${reason}`);
  for (const { service, port, localEndpoints } of checks)
    lines.push('', `${service}: health check port ${port}: ${localEndpoints} local endpoints`);
  if (found.length > 0) lines.push('', 'PROBLEMS');
  for (const { object, field, message } of found) lines.push(`${object}${field === '' ? '' : ` ${field}`}: ${message}`);
  return lines.join('\n');
}

function isIgnored({ reason }: CompiledTopology): boolean {
  return reason !== 'followed';
}

/** One Service with a thousand endpoints would make every line as long as its own. */
const CELL_ITEMS_MAX = 12;

function cellText(items: readonly string[]): string {
  const more = items.length - CELL_ITEMS_MAX;
  return (more > 1 ? [...items.slice(0, CELL_ITEMS_MAX), `and ${more} more`] : items).join(', ') || '-';
}

function tableRows(frontend: CompiledFrontend): string[][] {
  const { service, portName, kind, address, port, protocol } = frontend;
  const head = [`${service}:${portName}`, kind, `${hostText(address)}:${port}/${protocol}`];
  const views: readonly ViewName[] = ['internal', 'external'];
  return views.flatMap((name) => {
    const view = frontend[name];
    if (view === null) return [];
    const backends = view.backends.map((each) => {
      const suffix = each.state === 'active' ? '' : ` (${each.state})`;
      return `${hostText(each.address)}:${each.port}${suffix}`;
    });
    const left = frontend.excluded
      .filter((each) => each.view === name)
      .map((each) => `${hostText(each.address)}${each.port === null ? '' : `:${each.port}`} ${each.reason}`);
    const cells = [cellText(backends), view.whenEmpty, view.topology, view.masquerade, cellText(left)];
    return [[...head, name, ...cells]];
  });
}
