// SPDX-License-Identifier: Apache-2.0
/** The compiled Services as a document (kind CompiledServices) and as a table: who can reach what, and why not. */
import { addressText, compareAddresses, prefixText, protocolText, type Prefix } from '../address.ts';
import type {
  BackendState,
  ExclusionReason,
  Frontend,
  FrontendKind,
  Masquerade,
  NodeConfig,
  Problem,
  TopologyMode,
  View,
  ViewName,
  WhenEmpty,
} from '../service.ts';
import { allFrontends, desiredProblems, emptyDesired, updateDesired, type Desired } from './claims.ts';
import { clusterProblems, type ClusterState } from './cluster.ts';
import { effectiveNode, isServed } from './desired.ts';
import { serviceText } from './names.ts';

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
  readonly healthChecks: readonly {
    readonly service: string;
    readonly port: number;
    readonly localEndpoints: number;
  }[];
  readonly problems: readonly Problem[];
};

export type DocumentConfig = NodeConfig & { readonly serviceCIDRs: readonly Prefix[] };

/** Computes every Service and writes down the outcome; equal for equal clusters, whatever order they came in. */
export function compileServices(cluster: ClusterState, config: DocumentConfig): CompiledServices {
  const desired = emptyDesired();
  const node = effectiveNode(cluster, config);
  updateDesired(desired, cluster, node, cluster.services.keys());
  return {
    apiVersion: 'tandem/v1alpha1',
    kind: 'CompiledServices',
    node: { name: node.nodeName, zone: node.zone === '' ? null : node.zone },
    defaults: {
      serviceCIDRs: config.serviceCIDRs.map(prefixText),
      unknownPort: 'reject',
      unallocatedAddress: 'drop',
    },
    frontends: allFrontends(desired).sort(compareFrontends).map(compiledFrontend),
    healthChecks: [],
    problems: problems(cluster, node, desired),
  };
}

function compareText(left: string, right: string): number {
  return left < right ? -1 : left > right ? 1 : 0;
}

function serviceOf({ servicePort }: Frontend): string {
  return serviceText(servicePort.namespace, servicePort.name);
}

function compareFrontends(left: Frontend, right: Frontend): number {
  return (
    compareText(serviceOf(left), serviceOf(right)) ||
    compareText(left.servicePort.portName, right.servicePort.portName) ||
    compareText(left.kind, right.kind) ||
    compareAddresses(left.address, right.address) ||
    left.port - right.port ||
    left.protocol - right.protocol
  );
}

function compiledFrontend(frontend: Frontend): CompiledFrontend {
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

function compiledView(view: View | null): CompiledView | null {
  if (view === null) return null;
  const backends = view.backends.map(({ address, port, state, node, zone }) => ({
    address: addressText(address),
    port,
    state,
    node: node === '' ? null : node,
    zone: zone === '' ? null : zone,
  }));
  return { backends, whenEmpty: view.whenEmpty, topology: view.topology, masquerade: view.masquerade };
}

function problems(cluster: ClusterState, config: NodeConfig, desired: Desired): Problem[] {
  const found = [...clusterProblems(cluster), ...desiredProblems(desired)];
  for (const [kind, reason] of cluster.gaps) {
    found.push({
      object: `watch of ${kind}`,
      field: '',
      message: `lost (${reason}) and not listed again: may be out of date`,
    });
  }
  const usesLocal = [...cluster.services.values()].some(
    (service) => isServed(service, config) && [service.internalPolicy, service.externalPolicy].includes('Local'),
  );
  if (usesLocal && config.nodeName === '') {
    found.push({ object: 'configuration', field: 'nodeName', message: 'not set: no endpoint is local to this node' });
  }
  return found.sort(
    (left, right) =>
      compareText(left.object, right.object) ||
      compareText(left.field, right.field) ||
      compareText(left.message, right.message),
  );
}

const HEADINGS = ['SERVICE', 'KIND', 'FRONTEND', 'VIEW', 'BACKENDS', 'WHEN EMPTY', 'TOPOLOGY', 'LEFT OUT'];

/** The same for people: a line per frontend and view, then the problems. */
export function compiledTable({ frontends, problems: found }: CompiledServices): string {
  const rows = [HEADINGS, ...frontends.flatMap(tableRows)];
  const widths = HEADINGS.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const lines = rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
  if (found.length > 0) lines.push('', 'PROBLEMS');
  for (const { object, field, message } of found) lines.push(`${object}${field === '' ? '' : ` ${field}`}: ${message}`);
  return lines.join('\n');
}

function hostText(address: string): string {
  return address.includes(':') ? `[${address}]` : address;
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
    return [[...head, name, backends.join(', ') || '-', view.whenEmpty, view.topology, left.join(', ') || '-']];
  });
}
