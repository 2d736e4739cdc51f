// SPDX-License-Identifier: Apache-2.0
/** The model with a control plane of its own, for tests that need neither root nor a kernel. */
import { createLoop } from '../../../agent/loop.ts';
import { createDatapath, type Datapath } from '../../../core/datapath/datapath.ts';
import type { Settings } from '../../../proof/settings.ts';
import { createModelSide, type Side } from '../../../proof/side.ts';
import { worldNode } from '../../../proof/world.ts';
import { settings as staged } from './stage.ts';

export function openModel(settings: Settings = staged): { readonly side: Side; readonly datapath: Datapath } {
  const datapath = createDatapath(settings.config, settings.sizes);
  const control = createLoop({ store: datapath.store, node: worldNode, onProblem: () => undefined });
  return { side: createModelSide(datapath, control), datapath };
}
