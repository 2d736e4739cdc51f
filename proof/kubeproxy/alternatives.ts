// SPDX-License-Identifier: Apache-2.0
/** Where upstream leaves a choice open: the same Service as it would be with each choice made. */
import type { ClusterObject, EndpointObject, EndpointSliceObject, ServiceObject } from '../../core/objects.ts';
import type { CompiledServices } from '../../core/control/tell/document.ts';
import type { Claim } from './objects.ts';

/** So many ways at most of one Service; more are not looked at. */
const ALTERNATIVES_MAX = 64;

export type Compile = (objects: readonly ClusterObject[]) => CompiledServices;

/** Each claimant as if it were alone; and without source ranges, for those that count may be another claimant's. */
export function claimantsAlone(
  claims: readonly Claim[],
  slicesOf: (service: ServiceObject) => readonly EndpointSliceObject[],
): readonly (readonly ClusterObject[])[] {
  if (claims.length < 2) return [];
  return claims.flatMap(({ service }) => {
    const { loadBalancerSourceRanges: _, ...spec } = service.spec ?? {};
    return [service, { ...service, spec }].map((one) => [one, ...slicesOf(service)]);
  });
}

/** A port of a Service, as slices name it. */
export type PortName = { readonly name: string; readonly protocol: string };

/**
 * The slices with each endpoint of the port once: every choice among those that stand there with the same address and
 * number, where what stays comes before what is on its way out (services H4). Other ports may lose endpoints by it.
 */
export function endpointsOnce(
  service: ServiceObject,
  slices: readonly EndpointSliceObject[],
  port: PortName,
): readonly (readonly ClusterObject[])[] {
  let dropped: readonly ReadonlySet<object>[] = [new Set()];
  const doubled = [...appearancesOf(slices, port).values()].filter((list) => list.length > 1);
  for (const list of doubled) {
    const staying = list.filter(({ conditions }) => conditions?.terminating !== true);
    const winners = staying.length > 0 ? staying : list;
    dropped = dropped.flatMap((before) =>
      winners.map((winner) => new Set([...before, ...list.filter((one) => one !== winner)])),
    );
    if (dropped.length > ALTERNATIVES_MAX) return [];
  }
  if (doubled.length === 0) return [];
  return dropped.map((losers) => [
    service,
    ...slices.map((slice) => ({ ...slice, endpoints: (slice.endpoints ?? []).filter((one) => !losers.has(one)) })),
  ]);
}

/** By address and number, all that the slices say of such an endpoint. */
function appearancesOf(
  slices: readonly EndpointSliceObject[],
  { name, protocol }: PortName,
): ReadonlyMap<string, readonly EndpointObject[]> {
  const found = new Map<string, EndpointObject[]>();
  for (const { addressType, endpoints, ports } of slices) {
    for (const port of ports ?? []) {
      if (port.name !== name || port.protocol?.toLowerCase() !== protocol) continue;
      for (const endpoint of endpoints ?? []) {
        const key = `${addressType} ${endpoint.addresses?.[0]} ${port.port}`;
        const known = found.get(key) ?? [];
        found.set(key, known);
        known.push(endpoint);
      }
    }
  }
  return found;
}
