// SPDX-License-Identifier: Apache-2.0
/** What both twins are told of a recorded node before the first packet. */
import { hashText } from '../core/control/names.ts';
import { nodeSettings } from '../core/control/settings.ts';
import { configOf } from '../core/datapath/datapath.ts';
import type { Address, Prefix } from '../core/address.ts';
import type { ConfigRecord } from '../core/layout.gen.ts';
import { ok, type Result } from '../core/result.ts';

const FLOW_SECRET_WORDS = 12;

export type RecordedNode = {
  readonly serviceCIDRs: readonly Prefix[];
  readonly addresses: readonly Address[];
  /** null: it follows from the seed. */
  readonly selectionKey: readonly [number, number] | null;
};

/**
 * The keys of the hashes follow from the seed, so that a replay can be repeated; what the programs can't hold is a
 * mistake of the configuration here, where no node is to be served.
 */
export function replaySettings(node: RecordedNode, seed: number): Result<ConfigRecord> {
  const settings = nodeSettings(node.serviceCIDRs, node.addresses);
  if (!settings.ok) return { ok: false, error: { ...settings.error, kind: 'input' } };
  const words = Array.from({ length: FLOW_SECRET_WORDS / 2 }, (_, index) => hashText(`flows ${seed} ${index}`));
  const selectionKey = node.selectionKey ?? hashText(`selection ${seed}`);
  return ok(configOf({ ...settings.value, flowSecret: words.flat(), selectionKey }));
}
