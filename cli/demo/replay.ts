// SPDX-License-Identifier: Apache-2.0
/** Captures through both twins as `tandem replay` does it, and what the demo wants to know of it. */
import type { Result } from '../../core/result.ts';
import { fail, ok } from '../../core/result.ts';
import { defaultConfiguration } from '../../formats/config.ts';
import { readEventStreams } from '../../formats/events.ts';
import { readNodeFacts } from '../../formats/node.ts';
import type { Connection } from '../../replay/connections.ts';
import { choiceText, isPermitted, verdictText } from '../../replay/judge.ts';
import type { PacketLine } from '../../replay/lines.ts';
import { replayFiles } from '../replay.ts';

export type ReplaySource = {
  /** Stands for it in the output. */
  readonly name: string;
  readonly capture: string;
  readonly events: readonly string[];
  readonly facts: string;
  /** The key with which the recorded node chose backends, where that was tandem. */
  readonly selectionKey: readonly [number, number] | undefined;
  /** A choice that was right so shortly before is one of a change in flight; 0 where events are known to the moment. */
  readonly inFlightNs: number;
};

/** What both twins made of one capture. */
export type Replayed = {
  readonly name: string;
  readonly frames: number;
  readonly comparedWithKernel: number;
  readonly differences: number;
  readonly firstDifference: string | null;
  readonly unattributed: number;
  /** Connections to Services, by the oracle's verdict on what was observed. */
  readonly connections: {
    readonly permitted: number;
    readonly inFlight: number;
    readonly stale: number;
    readonly never: number;
    readonly notJudged: number;
  };
  /** The stale ones and those that were never permitted, one line each. */
  readonly notPermitted: readonly string[];
  readonly repliesReproduced: number;
  readonly repliesDiffering: number;
  /** Of the connections that were sent to a backend, how many the model sends to the same; null without the key. */
  readonly choices: { readonly same: number; readonly of: number } | null;
};

/** Runs one capture. Everything is read from files, nothing is attached; both twins have the maps to themselves. */
export async function replaySource(source: ReplaySource, seed: number): Promise<Result<Replayed>> {
  const { name, capture, events, selectionKey } = source;
  const facts = readNodeFacts(source.facts);
  if (!facts.ok) return facts;
  const streams = readEventStreams(events);
  const choices = { same: 0, of: 0 };
  const replayed = await replayFiles({
    captures: [capture],
    streams,
    facts: facts.value,
    config: selectionKey === undefined ? defaultConfiguration() : { ...defaultConfiguration(), selectionKey },
    seed,
    allowUnattributed: false,
    onLine: (line) => compareChoice(line, choices),
  });
  if (!replayed.ok) return replayed;
  const { tally, summary } = replayed.value;
  const [failure] = tally.failures;
  if (failure !== undefined) return { ok: false, error: failure };
  const [full] = tally.mapFailures.keys();
  if (full !== undefined) return fail('limit', name, full);
  const { permitted, early, stale, never, notJudged } = summary.connections;
  const isInFlight = ({ verdict }: Connection): boolean =>
    verdict?.kind === 'stale' && verdict.staleNs <= source.inFlightNs;
  const inFlight = tally.connections.filter(isInFlight).length;
  const { firstDifference } = summary;
  return ok({
    name,
    frames: summary.packets,
    comparedWithKernel: summary.comparedWithKernel,
    differences: summary.differences,
    firstDifference:
      typeof firstDifference === 'object' && firstDifference !== null
        ? `${firstDifference.service ?? 'no Service'}, frame ${firstDifference.frame}: ${firstDifference.field} is ` +
          `${firstDifference.model} in the model and ${firstDifference.other} in the kernel`
        : firstDifference,
    unattributed: summary.unattributed,
    connections: { permitted: permitted + early, inFlight, stale: stale - inFlight, never, notJudged },
    notPermitted: tally.connections
      .filter((connection) => isPermitted(connection) === false && !isInFlight(connection))
      .map((connection) => {
        const { flow, opened, model } = connection;
        const said = `${verdictText(connection, streams.events)}; model: ${choiceText(model)}`;
        return `${connection.service} ${flow} frame ${opened.frame}: ${said}`;
      }),
    repliesReproduced: summary.replies.reproduced,
    repliesDiffering: summary.replies.differing,
    choices: selectionKey === undefined ? null : choices,
  });
}

function compareChoice({ hook, model, observed, verdict }: PacketLine, choices: { same: number; of: number }): void {
  if (hook !== 'from-pod' || verdict === undefined || observed === null || observed.backend === null) return;
  choices.of += 1;
  if (observed.backend === model.backend) choices.same += 1;
}
