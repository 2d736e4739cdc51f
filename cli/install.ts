// SPDX-License-Identifier: Apache-2.0
/** A node's datapath in the kernel: an object of its own, loaded in test mode, whose clock and answers are posed. */
import { maps } from '../core/layout.gen.ts';
import { assert, failureText, ok, type Result } from '../core/result.ts';
import type { MapSpec } from '../core/store.ts';
import { loadObject, type LoadedObject } from '../kernel/object.ts';
import { createKernelTwin, packetPrograms } from '../kernel/twin.ts';
import type { KernelStore } from '../kernel/store.ts';
import type { Install, Installation } from '../sim/install.ts';
import type { ConfigRecord } from '../core/layout.gen.ts';
import type { MapSizes } from '../core/datapath/maps.ts';

/** Sizes in entries, by the names of bpf/layout.h. */
export function maxEntriesOf(sizes: MapSizes): Readonly<Record<string, number>> {
  return {
    classifier: sizes.classifierWords,
    frontends: sizes.frontends,
    services: sizes.services,
    slots: sizes.slotPairs,
    source_ranges: sizes.sourceRanges,
    node_addresses: sizes.nodeAddresses,
    backends: sizes.backends,
    flows: sizes.flowBuckets,
    peers: sizes.peers,
    affinity: sizes.affinity,
    netns: sizes.netns,
    netns_rows: sizes.netns,
    service_counters: sizes.services,
  };
}

/** Loads the object once for each node and each of its boots. The first refusal ends the run: nothing of it is a finding. */
export function installKernel(object: Uint8Array, name: string): Install {
  return (config, sizes) => {
    const installed = install(object, name, config, sizes);
    if (!installed.ok) throw new Error(failureText(installed.error));
    return installed.value;
  };
}

function install(object: Uint8Array, name: string, config: ConfigRecord, sizes: MapSizes): Result<Installation> {
  const settings = { ...config, testMode: 1 };
  const maxEntries = maxEntriesOf(sizes);
  const loaded = loadObject({ object, name, settings, maxEntries, programs: packetPrograms });
  if (!loaded.ok) return loaded;
  const made = connect(loaded.value);
  if (!made.ok) loaded.value[Symbol.dispose]();
  return made;
}

function connect(object: LoadedObject): Result<Installation> {
  const twin = createKernelTwin({ object });
  if (!twin.ok) return twin;
  const { store } = twin.value;
  const services = wordsOf(store, maps.services);
  const slots = wordsOf(store, maps.slots);
  const backends = wordsOf(store, maps.backends);
  const rows = { services, slots, backends };
  return ok({ twin: twin.value, rows, remove: () => object[Symbol.dispose]() });
}

function wordsOf<K, V>(store: KernelStore, spec: MapSpec<K, V>): Uint32Array {
  const map = store.map(spec);
  assert(map.ok && map.value.mapped !== undefined, `${spec.name} is mapped`);
  const { memory, strideBytes } = map.value.mapped;
  assert(strideBytes === spec.value.size, `rows of ${spec.name} lie side by side`);
  return new Uint32Array(memory, 0, (map.value.capacity * strideBytes) / 4);
}
