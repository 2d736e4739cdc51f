// SPDX-License-Identifier: Apache-2.0
/** Printed rules and objects of one moment, made ready to be compared: rules read, objects compiled with the same settings. */
import { applyEvent, emptyCluster } from '../../core/control/cluster.ts';
import { compileServices, type CompiledServices } from '../../core/control/tell/document.ts';
import type { ClusterObject } from '../../core/objects.ts';
import { readConfiguration, type TandemConfiguration } from '../../formats/config.ts';
import type { Comparison } from '../../proof/kubeproxy/compare.ts';
import { readExpectation } from '../../proof/kubeproxy/expected.ts';
import type { Json } from '../../proof/kubeproxy/faults.ts';
import { node, serviceRanges } from '../../proof/kubeproxy/places.ts';
import { readRuleset } from '../../proof/kubeproxy/ruleset.ts';
import type { NodeSettings } from '../../proof/kubeproxy/settings.ts';

/** What the run's settings are to tandem: the same facts. */
export function configurationOf(settings: NodeSettings): TandemConfiguration {
  const wanted = {
    apiVersion: 'tandem/v1alpha1',
    kind: 'TandemConfiguration',
    nodeName: node.name,
    nodeIPs: [...node.addresses, ...node.gateways],
    nodePortAddresses: settings.nodePortAddresses,
    clusterCIDRs: settings.clusterCIDRs,
    serviceCIDRs: serviceRanges,
    masqueradeAll: settings.masqueradeAll,
    externalClusterIP: settings.externalClusterIP,
  };
  const read = readConfiguration({ name: 'settings.json', bytes: Buffer.from(JSON.stringify(wanted)) });
  if (!read.ok) throw new Error(JSON.stringify(read.error));
  return read.value;
}

/** `printed`: the rules before they were read. */
export type Taken = Comparison & {
  readonly printed: Json;
  readonly objects: readonly ClusterObject[];
  readonly document: CompiledServices;
};

export function comparisonOf(printed: Json, objects: readonly ClusterObject[], settings: NodeSettings): Taken {
  const configuration = configurationOf(settings);
  const nodes = objects.filter((object) => object.kind === 'Node');
  const compile = (list: readonly ClusterObject[]): CompiledServices => {
    let cluster = emptyCluster();
    for (const object of list) cluster = applyEvent(cluster, { type: 'ADDED', object }).state;
    return compileServices(cluster, configuration);
  };
  const document = compile(objects);
  return {
    ruleset: readRuleset(printed),
    expectation: readExpectation(document, settings.clusterCIDRs),
    services: objects.filter((object) => object.kind === 'Service'),
    slices: objects.filter((object) => object.kind === 'EndpointSlice'),
    compile: (list) => compile([...nodes, ...list]),
    ...{ settings, printed, objects, document },
  };
}
