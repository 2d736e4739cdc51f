// SPDX-License-Identifier: Apache-2.0
/** Compiled Services as lines that a person can write from the rules and compare by eye. */
import { hostText } from '../../core/address.ts';
import type { CompiledFrontend, CompiledServices, CompiledView } from '../../core/control/tell/document.ts';
import type { ViewName } from '../../core/service.ts';

/**
 * ```
 * default/web:http NodePort 192.0.2.10:30080/TCP
 *   internal: 10.0.1.5:8080, 10.0.2.6:8080; masquerade never
 *   external: 10.0.1.5:8080; masquerade never; without 10.0.2.6:8080 not-local
 * ```
 * Views that are alike are one line, `both`; one that nobody can reach has none; an empty one says `reject` or `drop`.
 */
export function scenarioTable(document: CompiledServices): string {
  const { defaults, frontends, healthChecks, node, problems, topology } = document;
  const { serviceCIDRs, unallocatedAddress, unknownPort } = defaults;
  const lines = [
    ...(node.zone === null ? [] : [`node ${node.name} in zone ${node.zone}`]),
    ...(serviceCIDRs.length === 0
      ? []
      : [`in ${serviceCIDRs.join(', ')}: unknown port ${unknownPort}, unallocated address ${unallocatedAddress}`]),
    ...frontends.flatMap(frontendLines),
    ...topology.map(
      ({ service, portName, protocol, family, topology: mode, reason }) =>
        `topology ${service}:${portName}/${protocol} ${family}: ${mode}, ${reason}`,
    ),
    ...healthChecks.map(
      ({ service, port, localEndpoints }) => `health check ${service} port ${port}: ${localEndpoints} local endpoints`,
    ),
    ...problems.map(({ object, field, message }) => `problem ${object}${field === '' ? '' : ` ${field}`}: ${message}`),
  ];
  return lines.map((line) => `${line}\n`).join('');
}

function frontendLines(frontend: CompiledFrontend): string[] {
  const { service, portName, kind, address, port, protocol, affinitySeconds, sourceRanges } = frontend;
  const marks = [
    affinitySeconds === null ? '' : ` affinity ${affinitySeconds}s`,
    sourceRanges === null ? '' : ` from ${sourceRanges.join(', ') || 'nobody'}`,
  ];
  const head = `${service}:${portName} ${kind} ${hostText(address)}:${port}/${protocol}${marks.join('')}`;
  const internal = viewText(frontend, 'internal');
  const external = viewText(frontend, 'external');
  if (internal !== undefined && internal === external) return [head, `  both: ${internal}`];
  return [
    head,
    ...(internal === undefined ? [] : [`  internal: ${internal}`]),
    ...(external === undefined ? [] : [`  external: ${external}`]),
  ];
}

function viewText(frontend: CompiledFrontend, name: ViewName): string | undefined {
  const view = frontend[name];
  const left = frontend.excluded
    .filter((each) => each.view === name)
    .map(({ address, port, reason }) => {
      const place = port === null ? address : `${hostText(address)}:${port}`;
      return `${place} ${reason}`;
    });
  if (view === null && left.length === 0) return undefined;
  const parts = [view === null ? 'nobody comes' : whoText(view), left.length === 0 ? '' : `without ${left.join(', ')}`];
  return parts.filter((part) => part !== '').join('; ');
}

function whoText({ backends, masquerade, topology, whenEmpty }: CompiledView): string {
  if (backends.length === 0) return whenEmpty;
  const listed = backends.map(
    ({ address, port, state }) => `${hostText(address)}:${port}${state === 'active' ? '' : ` (${state})`}`,
  );
  const hints = topology === 'none' ? '' : `; by ${topology}`;
  return `${listed.join(', ')}${hints}; masquerade ${masquerade}`;
}
