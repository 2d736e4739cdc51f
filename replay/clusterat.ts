// SPDX-License-Identifier: Apache-2.0
/** A Service at one moment of a recording: its objects as last heard of, and what the maps hold of it. */
import { addressText, protocolText } from '../core/address.ts';
import { applyEvent, emptyCluster, type ClusterState } from '../core/control/cluster.ts';
import { SERVICE_NAME_LABEL } from '../core/control/slices.ts';
import { compileServices, type CompiledFrontend, type DocumentConfig } from '../core/control/tell/document.ts';
import { whyNotProgrammed } from '../core/control/wanted.ts';
import { objectsOf, type ClusterEvent, type ClusterObject } from '../core/objects.ts';
import { triggerTime } from '../formats/eventline.ts';
import type { TimedEvent } from '../formats/events.ts';
import { compareInstants, nanosecondsBetween, type Instant } from '../formats/instant.ts';
import type { Tuple } from './headers.ts';

/** An object of a Service as it was last heard of. */
export type Heard = {
  readonly object: ClusterObject;
  readonly timed: TimedEvent;
  /** From its change to the hearing of it; undefined: nothing says when it was changed. */
  readonly lagNs: number | undefined;
};

/** Whether an event tells of this Service (`namespace/name`). */
export function isAbout(event: ClusterEvent, service: string): boolean {
  return objectsOf(event).some((object) => isOf(object, service));
}

function isOf({ kind, metadata }: ClusterObject, service: string): boolean {
  if (kind !== 'Service' && kind !== 'EndpointSlice') return false;
  const name = kind === 'Service' ? metadata?.name : metadata?.labels?.[SERVICE_NAME_LABEL];
  return `${metadata?.namespace ?? ''}/${name ?? ''}` === service;
}

/** The Service and its slices that were there at a moment, by kind and name. */
export function heardOf(events: readonly TimedEvent[], service: string, moment: Instant): readonly Heard[] {
  const heard = new Map<string, Heard>();
  for (const timed of events) {
    if (compareInstants(timed, moment) > 0) break;
    const { event } = timed;
    if (event.type === 'LISTED') {
      for (const [key, { object }] of heard) if (object.kind === event.kind) heard.delete(key);
    }
    for (const object of objectsOf(event)) {
      if (!isOf(object, service)) continue;
      const key = `${object.kind} ${object.metadata?.name ?? ''}`;
      if (event.type === 'DELETED') heard.delete(key);
      else heard.set(key, { object, timed, lagNs: lagOf(timed) });
    }
  }
  const rank = ({ object }: Heard): number => (object.kind === 'Service' ? 0 : 1);
  return [...heard.values()].sort((left, right) => rank(left) - rank(right));
}

/** Watches of Services and slices that were broken at a moment, and not listed again since. */
export function gapsAt(events: readonly TimedEvent[], moment: Instant): readonly TimedEvent[] {
  const gaps = new Map<string, TimedEvent>();
  for (const timed of events) {
    if (compareInstants(timed, moment) > 0) break;
    const { event } = timed;
    if (event.type === 'LISTED') gaps.delete(event.kind);
    if (event.type === 'DISCONNECTED' && !gaps.has(event.kind)) gaps.set(event.kind, timed);
  }
  return ['Service', 'EndpointSlice'].map((kind) => gaps.get(kind)).filter((gap) => gap !== undefined);
}

/** The API writes whole seconds only: a lag below one is none. */
function lagOf(timed: TimedEvent): number | undefined {
  const changed = triggerTime(timed.event);
  return changed && nanosecondsBetween(changed, timed);
}

/** What a control plane that has heard everything up to a moment programs for an address and port. */
export function frontendAt(
  events: readonly TimedEvent[],
  moment: Instant,
  config: DocumentConfig,
  { destination, destinationPort, protocol }: Tuple,
): CompiledFrontend | undefined {
  let cluster: ClusterState = emptyCluster();
  for (const timed of events) {
    if (compareInstants(timed, moment) > 0) break;
    cluster = applyEvent(cluster, timed.event).state;
  }
  const address = addressText(destination);
  const name = protocolText(protocol);
  return compileServices(cluster, config).frontends.find(
    ({ kind, ...one }) =>
      one.address === address &&
      one.port === destinationPort &&
      one.protocol === name &&
      whyNotProgrammed({ kind, protocol }) === undefined,
  );
}
