// SPDX-License-Identifier: Apache-2.0
/** The files of a replay, with those that bundles among them hold. */
import { ok, type Failure, type Result } from '../core/result.ts';
import { isBundleName, openBundle } from '../formats/bundle.ts';
import { beginsWithObject } from '../formats/documents.ts';
import { isEventStreamName } from '../formats/events.ts';
import type { InputSource } from '../formats/input.ts';

export type ReplayInputs = {
  readonly captures: readonly InputSource[];
  readonly events: readonly InputSource[];
  /** Facts of nodes, of the bundles that have them. */
  readonly nodes: readonly InputSource[];
  /** What of a bundle could not be read; what came before is here. */
  readonly failures: readonly Failure[];
  readonly close: () => void;
};

export async function openInputs(files: readonly string[]): Promise<Result<ReplayInputs>> {
  const captures: InputSource[] = [];
  const events: InputSource[] = [];
  const failures: Failure[] = [];
  const closes: (() => void)[] = [];
  const close = (): void => closes.forEach((each) => each());
  const nodes: InputSource[] = [];
  for (const file of files) {
    if (!isBundleName(file)) {
      // What kubectl printed bears any name.
      (isEventStreamName(file) || beginsWithObject(file) ? events : captures).push(file);
      continue;
    }
    const opened = await openBundle(file);
    if (!opened.ok) {
      close();
      return opened;
    }
    const bundle = opened.value;
    captures.push(...bundle.captures);
    events.push(...bundle.events);
    failures.push(...bundle.failures);
    closes.push(bundle.close);
    if (bundle.node !== undefined) nodes.push(bundle.node);
  }
  return ok({ captures, events, nodes, failures, close });
}
