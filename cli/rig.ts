// SPDX-License-Identifier: Apache-2.0
/** Both twins side by side, each with a control plane of its own: the model, and an object loaded in test mode. */
import { createLoop } from '../agent/loop.ts';
import { createDatapath, type Datapath } from '../core/datapath/datapath.ts';
import { createMaps, storeOf } from '../core/datapath/maps.ts';
import { ok, type Result } from '../core/result.ts';
import type { NodeConfig } from '../core/service.ts';
import type { MapStore } from '../core/store.ts';
import { loadObject, type LoadedObject } from '../kernel/object.ts';
import { createKernelTwin, type KernelTwin } from '../kernel/twin.ts';
import { AgentSide, type StartAgent } from '../proof/sequences/agentside.ts';
import type { SequenceSides } from '../proof/sequences/sequence.ts';
import type { Settings } from '../proof/settings.ts';
import {
  createModelSide,
  createSide,
  storedCounters,
  withoutBarriers,
  type ControlPlane,
  type Side,
} from '../proof/side.ts';
import { worldNode } from '../proof/world.ts';
import { maxEntriesOf } from './install.ts';

/** Disposing of it unloads the object. */
export interface Rig extends Disposable {
  readonly model: Side;
  readonly kernel: Side;
  readonly datapath: Datapath;
  readonly twin: KernelTwin;
  readonly object: LoadedObject;
}

export type RigOptions = {
  readonly object: Uint8Array;
  /** Stands for the object in Failures. */
  readonly name: string;
  readonly settings: Settings;
  /** For which the control planes work; the one of all worlds where it isn't said. */
  readonly node?: NodeConfig;
  /** Which programs are loaded; all where it isn't said. */
  readonly programs?: readonly string[];
};

/** An agent's loop over a store. */
export const startAgent: StartAgent = (store) => createLoop({ store, node: worldNode, onProblem: () => undefined });

/** The rig's twins with agents of their own, which can end and whose writes can fail. */
export function sequenceSidesOf({ model, kernel, datapath, twin }: Rig, settings: Settings): SequenceSides {
  const sizes = { ...settings.sizes, flowBuckets: 1, peers: 1 };
  return {
    model: new AgentSide({ ...model, twin: datapath, start: startAgent }),
    kernel: new AgentSide({ ...kernel, twin, start: startAgent }),
    emptyStore: () => storeOf(createMaps(settings.config, sizes)),
    start: startAgent,
  };
}

function controlOf(store: MapStore, node: NodeConfig): ControlPlane {
  return createLoop({ store: withoutBarriers(store), node, onProblem: () => undefined });
}

/** The model alone, for what needs no kernel. */
export function openModel(
  settings: Settings,
  node: NodeConfig = worldNode,
): { readonly side: Side; readonly datapath: Datapath } {
  const datapath = createDatapath(settings.config, settings.sizes);
  return { side: createModelSide(datapath, controlOf(datapath.store, node)), datapath };
}

/** Loads the object with the settings, and a model with the same. Needs root. */
export function openRig({ object: bytes, name, settings, programs, node = worldNode }: RigOptions): Result<Rig> {
  const object = loadObject({
    object: bytes,
    name,
    settings: settings.config,
    maxEntries: maxEntriesOf(settings.sizes),
    ...(programs === undefined ? {} : { programs }),
  });
  if (!object.ok) return object;
  const twin = createKernelTwin({ object: object.value, checksumComplete: settings.isComplete });
  if (!twin.ok) {
    object.value[Symbol.dispose]();
    return twin;
  }
  const { store } = twin.value;
  const kernel = createSide({
    twin: twin.value,
    control: controlOf(store, node),
    marks: () => twin.value.markCounts(),
    counters: () => storedCounters(store),
  });
  const { side: model, datapath } = openModel(settings, node);
  return ok({
    model,
    kernel,
    datapath,
    twin: twin.value,
    object: object.value,
    [Symbol.dispose]: () => object.value[Symbol.dispose](),
  });
}
