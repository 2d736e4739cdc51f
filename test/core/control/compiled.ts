// SPDX-License-Identifier: Apache-2.0
/** Events to the compiled document, and short forms of what it says. */
import { applyEvent, emptyCluster, type ClusterState } from '../../../core/control/cluster.ts';
import { compileServices, type CompiledFrontend, type CompiledServices } from '../../../core/control/tell/document.ts';
import type { ClusterEvent, EndpointObject, ServiceObject } from '../../../core/objects.ts';
import type { NodeConfig } from '../../../core/service.ts';
import { added, NODE, service, slice } from './objects.ts';

/** The cluster as these events tell it. */
export function clusterAfter(events: readonly ClusterEvent[]): ClusterState {
  let cluster: ClusterState = emptyCluster();
  for (const event of events) cluster = applyEvent(cluster, event).state;
  return cluster;
}

/** What node-a makes of these events. */
export function compile(events: readonly ClusterEvent[], config: Partial<NodeConfig> = {}): CompiledServices {
  return compileServices(clusterAfter(events), { ...NODE, serviceCIDRs: [], ...config });
}

/** The only frontend of what is compiled. */
export function only(compiled: CompiledServices): CompiledFrontend {
  const [frontend, second] = compiled.frontends;
  if (frontend === undefined || second !== undefined) throw new Error(`${compiled.frontends.length} frontends`);
  return frontend;
}

/** `address state` of the internal view, and `address reason` of the rest, where the port is 8080. */
export function summary(frontend: CompiledFrontend): {
  readonly chosen: string[];
  readonly excluded: string[];
  readonly whenEmpty: string | undefined;
} {
  return {
    chosen: (frontend.internal?.backends ?? []).map(({ address, state }) => `${address} ${state}`),
    excluded: frontend.excluded.map(({ address, reason }) => `${address} ${reason}`),
    whenEmpty: frontend.internal?.whenEmpty,
  };
}

/** The Service web with one slice. */
export function web(endpoints: readonly EndpointObject[], spec: ServiceObject['spec'] = {}): readonly ClusterEvent[] {
  return [added(service('web', '10.96.0.1', spec)), added(slice('web', endpoints))];
}
