// SPDX-License-Identifier: Apache-2.0
/** All that the maps of the control plane hold, read at once: what a restart begins with, and what a dump tells. */
import {
  maps,
  type BackendRecord,
  type FrontendKeyRecord,
  type NodeAddressKeyRecord,
  type ServiceRecord,
  type SlotPairRecord,
  type SourceRangeKeyRecord,
} from '../layout.gen.ts';
import { ok, type Result } from '../result.ts';
import type { MapStore } from '../store.ts';

export type MapContents = {
  readonly frontends: readonly (readonly [FrontendKeyRecord, number])[];
  /** By row. */
  readonly services: ReadonlyMap<number, ServiceRecord>;
  /** By pair. */
  readonly slots: ReadonlyMap<number, SlotPairRecord>;
  /** By id. */
  readonly backends: ReadonlyMap<number, BackendRecord>;
  /** By set. */
  readonly ranges: ReadonlyMap<number, readonly SourceRangeKeyRecord[]>;
  readonly nodeAddresses: readonly (readonly [NodeAddressKeyRecord, number])[];
};

/** A map that can't be read is a Failure: its entries may be in use. */
export function readContents(store: MapStore): Result<MapContents> {
  const frontends = store.entries(maps.frontends);
  if (!frontends.ok) return frontends;
  const services = store.entries(maps.services);
  if (!services.ok) return services;
  const slots = store.entries(maps.slots);
  if (!slots.ok) return slots;
  const backends = store.entries(maps.backends);
  if (!backends.ok) return backends;
  const ranges = store.entries(maps.sourceRanges);
  if (!ranges.ok) return ranges;
  const nodeAddresses = store.entries(maps.nodeAddresses);
  if (!nodeAddresses.ok) return nodeAddresses;
  return ok({
    frontends: frontends.value,
    services: new Map(services.value),
    slots: new Map(slots.value),
    backends: new Map(backends.value),
    ranges: Map.groupBy(
      ranges.value.map(([key]) => key),
      ({ set }) => set,
    ),
    nodeAddresses: nodeAddresses.value,
  });
}
