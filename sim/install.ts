// SPDX-License-Identifier: Apache-2.0
/** What a node of the simulation runs its packets through: the model, or whatever else the caller hands in. */
import { createDatapath } from '../core/datapath/datapath.ts';
import type { MapSizes } from '../core/datapath/maps.ts';
import type { ConfigRecord } from '../core/layout.gen.ts';
import type { Twin } from '../core/twin.ts';

/** Memory words of the arrays that packets walk through, live. */
export type Rows = { readonly services: Uint32Array; readonly slots: Uint32Array; readonly backends: Uint32Array };

export type Installation = {
  readonly twin: Twin;
  readonly rows: Rows;
  /** When the node's maps are gone. */
  readonly remove: () => void;
};

/** Makes a datapath with empty maps. */
export type Install = (config: ConfigRecord, sizes: MapSizes) => Installation;

export const installModel: Install = (config, sizes) => {
  const datapath = createDatapath(config, sizes);
  return { twin: datapath, rows: datapath.maps, remove: () => undefined };
};
