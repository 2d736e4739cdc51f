// SPDX-License-Identifier: Apache-2.0
/** Small recordings that are damaged byte by byte, the whole of replay on them, and what must hold of any of it. */
import { expect } from 'vitest';
import { onlyNode, openNodes } from '../../cli/replayfiles.ts';
import type { ReplayInputs } from '../../cli/replayinputs.ts';
import { failureText } from '../../core/result.ts';
import { flowText } from '../../replay/headers.ts';
import { replay } from '../../replay/run.ts';
import { endOf, type ReplayEnd } from '../../replay/summary.ts';
import { totalOf } from '../../replay/tally.ts';
import { modelTwin, setting } from './recording.ts';

export type File = { readonly name: string; readonly bytes: Uint8Array };

/** A recording of three files. */
export type Recorded = { readonly capture: File; readonly events: File; readonly node: File };
export type Part = keyof Recorded;

/** What replay says of a recording. */
export type Outcome = {
  readonly end: ReplayEnd;
  /** What could not be read, as a user sees it. */
  readonly messages: readonly string[];
  readonly frames: number;
  /** Frames of which it is said what became of them. */
  readonly accounted: number;
  /** Connections: what became of them and the verdict, by flow. */
  readonly stories: ReadonlyMap<string, string>;
};

export type Run = (inputs: ReplayInputs) => Outcome;

export function inputsOf({ capture, events, node }: Recorded): ReplayInputs {
  return { captures: [capture], events: [events], nodes: [node], failures: [], close: () => {} };
}

/** Reads and judges everything, as `tandem replay` does with the model alone. */
export function run(inputs: ReplayInputs): Outcome {
  const nodes = openNodes(inputs, {});
  const opened = nodes.ok ? onlyNode(nodes.value, 'this') : nodes;
  if (!opened.ok) {
    const messages = [failureText(opened.error)];
    return { end: 'input-unreadable', messages, frames: 0, accounted: 0, stories: new Map() };
  }
  const { captures, facts, streams } = opened.value;
  const tally = replay({
    captures,
    streams,
    facts,
    oracle: { nodeName: facts.name, nodeAddresses: facts.addresses, serviceRanges: [] },
    model: modelTwin(),
    kernel: undefined,
  });
  const stories = tally.connections.map(({ backend, notJudged, reply, tuple, verdict }): [string, string] => {
    return [flowText(tuple), [reply, backend?.port, notJudged ?? verdict?.kind].join(' ')];
  });
  return {
    end: endOf(tally, setting),
    messages: tally.failures.map(failureText),
    frames: tally.packets,
    accounted: totalOf(tally.inputs) + tally.sightings + totalOf(tally.noInput),
    stories: new Map(stories),
  };
}

/** Where something is wrong: an offset in bytes or a line, within the file. */
function placeIn(file: File, message: string): boolean {
  const place = message.startsWith(`${file.name} `) ? message.slice(file.name.length + 1) : '';
  const [, what, number = ''] = /^(offset|line) (\d+)\b/.exec(place) ?? [];
  const lines = Buffer.from(file.bytes).toString('latin1').split('\n').length;
  return what === 'offset' ? Number(number) <= file.bytes.length : Number(number) >= 1 && Number(number) <= lines;
}

/** Whatever a file holds: each frame is accounted for, and what can't be read is named with its place and ends with 2. */
export function checkOutcome({ accounted, end, frames, messages }: Outcome, damaged: File): void {
  expect(accounted).toBe(frames);
  expect(end === 'input-unreadable').toBe(messages.length > 0);
  for (const message of messages) expect(placeIn(damaged, message), message).toBe(true);
}

export type Damage = { readonly what: string; readonly at: number; readonly bytes: Uint8Array };

/** Each byte with all of its bits turned, or with one of them, another one for each byte; or both. */
export function* flipsOf(bytes: Uint8Array, bits: readonly ('all' | 'one')[] = ['all', 'one']): Generator<Damage> {
  for (let at = 0; at < bytes.length; at += 1) {
    for (const which of bits) {
      const mask = which === 'all' ? 0xff : 1 << (at % 8);
      // A Buffer's slice would be the same bytes.
      const flipped = Uint8Array.from(bytes);
      flipped[at] = (flipped[at] ?? 0) ^ mask;
      yield { what: `byte ${at} ^ ${mask}`, at, bytes: flipped };
    }
  }
}

export function* cutsOf(bytes: Uint8Array): Generator<Damage> {
  for (let at = 0; at < bytes.length; at += 1) yield { what: `cut at ${at}`, at, bytes: bytes.subarray(0, at) };
}

/** Damages one file in every way given; `holds` is asked about each besides what always holds. */
export function sweep(
  recorded: Recorded,
  part: Part,
  damages: Iterable<Damage>,
  { holds, by = run }: { readonly holds: (outcome: Outcome, damage: Damage) => void; readonly by?: Run },
): number {
  let refused = 0;
  for (const damage of damages) {
    const file = { ...recorded[part], bytes: damage.bytes };
    try {
      const outcome = by(inputsOf({ ...recorded, [part]: file }));
      checkOutcome(outcome, file);
      holds(outcome, damage);
      if (outcome.messages.length > 0) refused += 1;
    } catch (error) {
      throw new Error(`${part}, ${damage.what}`, { cause: error });
    }
  }
  return refused;
}
