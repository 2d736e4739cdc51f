// SPDX-License-Identifier: Apache-2.0
/** Where upstream leaves a choice open: the same Service as it would be with each choice made. */
import type { ClusterObject, EndpointSliceObject, ServiceObject } from '../../core/objects.ts';
import type { CompiledServices } from '../../core/control/document.ts';
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

/** The slices with each address in one of its places only: every choice of places of the addresses that have several. */
export function endpointsOnce(
  service: ServiceObject,
  slices: readonly EndpointSliceObject[],
): readonly (readonly ClusterObject[])[] {
  const places = new Map<string, number>();
  for (const { endpoints } of slices) {
    for (const { addresses } of endpoints ?? []) {
      const address = addresses?.[0] ?? '';
      places.set(address, (places.get(address) ?? 0) + 1);
    }
  }
  const doubled = [...places].filter(([, count]) => count > 1);
  let choices: readonly ReadonlyMap<string, number>[] = doubled.length === 0 ? [] : [new Map()];
  for (const [address, count] of doubled) {
    choices = choices.flatMap((chosen) =>
      Array.from({ length: count }, (_, at) => new Map([...chosen, [address, at]])),
    );
    if (choices.length > ALTERNATIVES_MAX) return [];
  }
  return choices.map((chosen) => [service, ...slicesWith(slices, chosen)]);
}

/** By the number of its place, counted through all slices. */
function slicesWith(
  slices: readonly EndpointSliceObject[],
  chosen: ReadonlyMap<string, number>,
): readonly EndpointSliceObject[] {
  const met = new Map<string, number>();
  return slices.map((slice) => ({
    ...slice,
    endpoints: (slice.endpoints ?? []).filter(({ addresses }) => {
      const address = addresses?.[0] ?? '';
      const place = met.get(address) ?? 0;
      met.set(address, place + 1);
      return (chosen.get(address) ?? place) === place;
    }),
  }));
}
