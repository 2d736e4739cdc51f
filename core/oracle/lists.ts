// SPDX-License-Identifier: Apache-2.0
/** What the two lists of a Service port permit: its backends, or what becomes of a connection where there is none. */
import { endpointText, UDP } from '../address.ts';
import type { Backend, Outcome, Permitted, Unsupported } from './answer.ts';
import { claimText } from './claims.ts';
import { categorizeEndpoints, possibleEndpoints, type Endpoint, type Lists, type Place } from './endpoints.ts';
import type { ServiceFacts, ServicePortFacts, SliceFacts } from './facts.ts';
import { servingBackends, type ServingBackend } from './flow.ts';
import { familyOf, type Family } from './read.ts';

/** An outcome before it is known who asks. */
export type Choice = Omit<Permitted, 'source'> | Exclude<Outcome, Permitted> | Unsupported;

/** More than one choice only where doubled endpoints leave it open; none of a list that nobody is sent to. */
export type PortLists = {
  readonly cluster: readonly Choice[];
  readonly local: readonly Choice[];
  /** Of UDP: whom a flow may keep. */
  readonly serving: readonly ServingBackend[];
};

export function listsOfPort(
  service: ServiceFacts,
  servicePort: ServicePortFacts,
  family: Family,
  slices: readonly SliceFacts[],
  place: Place,
): PortLists {
  const { externalLocal, internalLocal } = service;
  const text = claimText({ owner: service.name, portName: servicePort.name });
  const externals = [...service.externalAddresses, ...service.loadBalancerAddresses];
  const externallyAccessible =
    servicePort.nodePort !== undefined || externals.some((address) => familyOf(address) === family);
  const usesCluster = !internalLocal || externallyAccessible;
  const usesLocal = internalLocal || (externalLocal && externallyAccessible);
  const worlds = possibleEndpoints(slices, family, servicePort, place);
  if (worlds === undefined) {
    const open: readonly Choice[] = [{ kind: 'unsupported', reason: 'duplicate-endpoints', object: text }];
    return { cluster: usesCluster ? open : [], local: usesLocal ? open : [], serving: [] };
  }
  const policy = { internalLocal, externalLocal, externallyAccessible };
  const results = worlds.map((world) => categorizeEndpoints(world, policy, place));
  return {
    cluster: usesCluster ? distinct(results.map((lists) => choiceOf(text, lists.cluster, lists))) : [],
    local: usesLocal ? distinct(results.map((lists) => choiceOf(text, lists.local, lists))) : [],
    serving: servicePort.protocol === UDP ? servingBackends(worlds) : [],
  };
}

/** An empty list refuses where nothing is usable anywhere, else it is a local one that drops (C1 to C3). */
function choiceOf(service: string, usable: readonly Endpoint[], { hasAny }: Lists): Choice {
  if (usable.length > 0) return { kind: 'permitted', service, backends: usable.map((endpoint) => endpoint.backend) };
  return hasAny
    ? { kind: 'drop', service, reason: 'no-local-endpoints' }
    : { kind: 'refuse', service, reason: 'no-endpoints' };
}

function distinct(choices: readonly Choice[]): readonly Choice[] {
  if (choices.length < 2) return choices;
  return [...new Map(choices.map((choice) => [JSON.stringify(choice), choice])).values()];
}

/** A version of a Service with a thousand backends then costs a thousand words, not a thousand objects. */
export function shareBackends(previous: PortLists, next: PortLists): PortLists {
  const known = new Map<string, Backend>();
  for (const choice of [...previous.cluster, ...previous.local]) {
    if (choice.kind !== 'permitted') continue;
    for (const backend of choice.backends) known.set(endpointText(backend.address, backend.port), backend);
  }
  const share = (backend: Backend): Backend => known.get(endpointText(backend.address, backend.port)) ?? backend;
  const shareAll = (choices: readonly Choice[]): readonly Choice[] =>
    choices.map((choice) =>
      choice.kind === 'permitted' ? { ...choice, backends: choice.backends.map(share) } : choice,
    );
  return { ...next, cluster: shareAll(next.cluster), local: shareAll(next.local) };
}
