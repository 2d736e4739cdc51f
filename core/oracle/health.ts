// SPDX-License-Identifier: Apache-2.0
/** How many local endpoints a load balancer hears of at a Service's health check port (services F1). */
import type { Port } from '../address.ts';
import { possibleEndpoints, type Endpoint, type Place } from './endpoints.ts';
import type { ServiceFacts, SliceFacts } from './facts.ts';
import { addressKey, FAMILIES, familyOf } from './read.ts';

/** Two numbers where it is open who counts, as of doubled endpoints (H4). */
export type HealthCheck = { readonly port: Port; readonly fewest: number; readonly most: number };

/**
 * Addresses of ready endpoints on this node, each once, in the first family of the Service; who is ending does not
 * count even where nobody else is left. Of a ClusterIP that cannot be read the family is not known.
 */
export function healthCheckOf(
  service: ServiceFacts,
  slices: readonly SliceFacts[],
  place: Place,
): HealthCheck | undefined {
  const { clusterAddresses, foreign, healthCheckPort, ports } = service;
  if (foreign || healthCheckPort === undefined) return undefined;
  const [first] = clusterAddresses;
  const families = first === undefined ? FAMILIES : [familyOf(first)];
  const certain = new Set<string>();
  const possible = new Set<string>();
  for (const [servicePort, family] of ports.flatMap((one) => families.map((family) => [one, family] as const))) {
    const worlds = possibleEndpoints(slices, family, servicePort, place) ?? [];
    const counted = worlds.map((world) => readyHere(world));
    for (const address of counted.flatMap((one) => [...one])) {
      possible.add(address);
      if (first !== undefined && counted.every((one) => one.has(address))) certain.add(address);
    }
  }
  return { port: healthCheckPort, fewest: certain.size, most: possible.size };
}

function readyHere(world: readonly Endpoint[]): ReadonlySet<string> {
  const ready = world.filter((endpoint) => endpoint.isLocal && endpoint.ready);
  return new Set(ready.map(({ backend }) => addressKey(backend.address)));
}
