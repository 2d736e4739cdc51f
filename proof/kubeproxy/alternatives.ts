// SPDX-License-Identifier: Apache-2.0
/** Where upstream leaves a choice open: the same Service as it would be with each choice made. */
import type { ClusterObject, EndpointObject, EndpointSliceObject, ServiceObject } from '../../core/objects.ts';
import type { CompiledServices } from '../../core/control/tell/document.ts';
import type { Claim } from './objects.ts';

/** So many ways at most of one Service; more are not looked at. */
const ALTERNATIVES_MAX = 256;

export type Compile = (objects: readonly ClusterObject[]) => CompiledServices;

/**
 * Each claimant as if it were alone, with every choice among its doubled endpoints; and without source ranges, for those
 * that count may be another claimant's.
 */
export function claimantsAlone(
  claims: readonly Claim[],
  slicesOf: (service: ServiceObject) => readonly EndpointSliceObject[],
  protocol: string,
): readonly (readonly ClusterObject[])[] {
  if (claims.length < 2) return [];
  return claims.flatMap(({ service, portName }) => {
    const { loadBalancerSourceRanges: _, ...spec } = service.spec ?? {};
    const slices = slicesOf(service);
    const port = { name: portName, protocol };
    return [service, { ...service, spec }].flatMap((one) => [[one, ...slices], ...endpointsOnce(one, slices, port)]);
  });
}

/** A port of a Service, as slices name it. */
export type PortName = { readonly name: string; readonly protocol: string };

/**
 * The slices with each endpoint of the port once: every choice among those that stand there with the same address and
 * number in several slices, where what stays comes before what is on its way out (services H4). Other ports may lose
 * endpoints by it.
 */
export function endpointsOnce(
  service: ServiceObject,
  slices: readonly EndpointSliceObject[],
  port: PortName,
): readonly (readonly ClusterObject[])[] {
  let dropped: readonly ReadonlySet<object>[] = [new Set()];
  const doubled = [...appearancesOf(slices, port).values()].filter((lists) => lists.flat().length > 1);
  for (const lists of doubled) {
    const list = lists.flat();
    const ofSlices = lists.map(winnerOf);
    const staying = ofSlices.filter(isStaying);
    const winners = staying.length > 0 ? staying : ofSlices;
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

function isStaying({ conditions }: EndpointObject): boolean {
  return conditions?.terminating !== true;
}

/** Within one slice the order decides: the last that stays, else the first that is on its way out. */
function winnerOf(list: readonly EndpointObject[]): EndpointObject {
  const winner = list.findLast(isStaying) ?? list[0];
  if (winner === undefined) throw new Error('assertion failed: a slice that names an endpoint has one');
  return winner;
}

/** By address and number, what each slice that has such an endpoint says of it. */
function appearancesOf(
  slices: readonly EndpointSliceObject[],
  { name, protocol }: PortName,
): ReadonlyMap<string, readonly (readonly EndpointObject[])[]> {
  const found = new Map<string, (readonly EndpointObject[])[]>();
  for (const { addressType, endpoints, ports } of slices) {
    for (const port of ports ?? []) {
      if (port.name !== name || port.protocol?.toLowerCase() !== protocol) continue;
      for (const [address, list] of Map.groupBy(endpoints ?? [], ({ addresses }) => addresses?.[0])) {
        const key = `${addressType} ${address} ${port.port}`;
        found.set(key, [...(found.get(key) ?? []), list]);
      }
    }
  }
  return found;
}
