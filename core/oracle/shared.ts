// SPDX-License-Identifier: Apache-2.0
/** What several oracles of one process make of the same objects in memory is made once, and is then one in memory too. */
import type { EndpointSliceObject, ServiceObject } from '../objects.ts';
import type { Place } from './endpoints.ts';
import { readService, readSlice, type ServiceFacts, type SliceFacts } from './facts.ts';
import { addressKey } from './read.ts';
import { shareView, viewOfService, type ServiceView, type View } from './view.ts';

/** Oracles that hear one stream ask for the same view within so many revisions of its slices. */
const REVISIONS_KEPT = 4;

/** undefined: the view depends on where the node stands. */
type Revision = { readonly slices: readonly SliceFacts[]; readonly view: ServiceView | undefined };

const services = new WeakMap<ServiceObject, { readonly proxyName: string | undefined; readonly facts: Facts }>();
type Facts = ServiceFacts | undefined;
/** What followed on a view: itself, or one that says something else. */
type Succession = { readonly previous: View; readonly view: View };
const slicesRead = new WeakMap<EndpointSliceObject, { readonly facts: SliceFacts | undefined }>();
const revisions = new WeakMap<ServiceFacts, readonly Revision[]>();
const successors = new WeakMap<View, readonly Succession[]>();

/** `readService`, once per object and name of the proxy. */
export function readServiceOnce(object: ServiceObject, proxyName: string | undefined): Facts {
  const known = services.get(object);
  if (known !== undefined && known.proxyName === proxyName) return known.facts;
  const facts = readService(object, proxyName);
  services.set(object, { proxyName, facts });
  return facts;
}

/** `readSlice`, once per object. */
export function readSliceOnce(object: EndpointSliceObject): SliceFacts | undefined {
  const known = slicesRead.get(object);
  if (known !== undefined) return known.facts;
  const facts = readSlice(object);
  slicesRead.set(object, { facts });
  return facts;
}

/** `viewOfService`, once for all nodes where it is the same for all. */
export function viewOfServiceOnce(service: ServiceFacts, slices: readonly SliceFacts[], place: Place): ServiceView {
  const kept = revisions.get(service) ?? [];
  const known = kept.find((revision) => isSame(revision.slices, slices));
  if (known !== undefined) return known.view ?? viewOfService(service, slices, place);
  const view = viewOfService(service, slices, place);
  const revision = { slices, view: isEverywhere(service, slices) ? view : undefined };
  revisions.set(service, [revision, ...kept.slice(0, REVISIONS_KEPT - 1)]);
  return view;
}

/**
 * `shareView`, once for all histories that went through the same two views. A history that left something out comes
 * back to the others': they all go on with what the first one made of the next view.
 */
export function shareViewOnce(previous: View | undefined, next: View | undefined): View | undefined {
  if (previous === undefined || next === undefined || previous === next) return next;
  const kept = successors.get(next) ?? [];
  const known = kept.find((succession) => succession.previous === previous);
  if (known !== undefined) return known.view;
  const first = kept[0]?.view;
  const made = shareView(previous, first ?? next) ?? next;
  const view = made === previous ? previous : (first ?? made);
  successors.set(next, [...kept.slice(0, REVISIONS_KEPT - 1), { previous, view }]);
  return view;
}

function isSame(left: readonly SliceFacts[], right: readonly SliceFacts[]): boolean {
  return left.length === right.length && left.every((slice, index) => slice === right[index]);
}

/** Nobody asks who is near: no local policy, no hints, and no doubled endpoint of which one copy may be local. */
function isEverywhere({ externalLocal, internalLocal }: ServiceFacts, slices: readonly SliceFacts[]): boolean {
  if (internalLocal || externalLocal) return false;
  const seen = new Set<string>();
  for (const { endpoints } of slices) {
    for (const { address, nodeHints, zoneHints } of endpoints) {
      const text = addressKey(address);
      if (nodeHints.length > 0 || zoneHints.length > 0 || seen.has(text)) return false;
      seen.add(text);
    }
  }
  return true;
}
