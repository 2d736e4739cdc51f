// SPDX-License-Identifier: Apache-2.0
/** `tandem replay --without-event, --delay, --as-node, --algorithm`: a recording twice, as it was and as it would have been. */
import { objectsOf } from '../core/objects.ts';
import { fail, ok, type Result } from '../core/result.ts';
import type { EventStreams } from '../formats/events.ts';
import { filterTally, nothingMatches, type Filter } from '../replay/filter.ts';
import { blameText } from '../replay/report.ts';
import { summarize } from '../replay/summary.ts';
import { compareTallies, withDelay, withoutEvent, type Altered } from '../replay/whatif.ts';
import { whatIfText, type WhatIf } from '../replay/whatiftext.ts';
import { nearest } from '../formats/shape.ts';
import type { CommandOptions } from './commands.ts';
import { exitCode, printJson, printNdjson, printText, reportFailure } from './output.ts';
import type { Replayed } from './replay.ts';
import type { ReplayFiles } from './replayfiles.ts';

/** Replays a recording, as cli/replay.ts does it. */
export type ReplayIt = (files: ReplayFiles) => Promise<Result<Replayed>>;

/** Whether anything is to be otherwise. */
export function isWhatIf(options: CommandOptions): boolean {
  return ['withoutEvent', 'delay', 'asNode', 'algorithm'].some((name) => options[name] !== undefined);
}

/** What would have been is no finding: it ends with 0, unless the twins differ or the files can't be read. */
export async function runWhatIf(
  files: ReplayFiles,
  filter: Filter,
  options: CommandOptions,
  replayIt: ReplayIt,
): Promise<number> {
  const altered = alter(files, options);
  if (!altered.ok) return reportFailure(altered.error);
  const was = await replayIt(files);
  if (!was.ok) return reportFailure(was.error);
  const wouldBe = await replayIt(altered.value.files);
  if (!wouldBe.ok) return reportFailure(wouldBe.error);
  const tallies = { was: filterTally(was.value.tally, filter), wouldBe: filterTally(wouldBe.value.tally, filter) };
  const { connections } = tallies.was;
  if (connections.length === 0) {
    const nothing = nothingMatches(filter, was.value.tally, files.streams.events);
    if (!nothing.ok) return reportFailure(nothing.error);
  }
  const found: WhatIf = {
    kind: 'WhatIf',
    changes: altered.value.words,
    verdict: {
      was: blameText(summarize(tallies.was, was.value.setting), tallies.was),
      wouldBe: blameText(summarize(tallies.wouldBe, wouldBe.value.setting), tallies.wouldBe),
    },
    connections: connections.length,
    otherwise: compareTallies(
      { tally: tallies.was, events: files.streams.events },
      { tally: tallies.wouldBe, events: altered.value.files.streams.events },
    ),
  };
  print(found, options['output']);
  if (was.value.tally.differences + wouldBe.value.tally.differences > 0) return exitCode.twinsDiffer;
  return was.value.tally.failures.map(reportFailure)[0] ?? exitCode.agreed;
}

function print(found: WhatIf, format: CommandOptions[string]): void {
  if (format === 'json') return printJson(found);
  if (format !== 'ndjson') return printText(whatIfText(found));
  const { otherwise, ...rest } = found;
  for (const one of otherwise) printNdjson(one);
  printNdjson(rest);
}

type AlteredFiles = { readonly files: ReplayFiles; readonly words: readonly string[] };

/** All changes, in the order of the help; each finds its event in what the ones before have left. */
function alter(files: ReplayFiles, options: CommandOptions): Result<AlteredFiles> {
  let { streams } = files;
  const words: string[] = [];
  const steps: readonly [unknown, (before: EventStreams, word: string) => Result<Altered>][] = [
    [options['delay'], withDelay],
    [options['withoutEvent'], withoutEvent],
  ];
  for (const [given, change] of steps) {
    for (const word of Array.isArray(given) ? given : []) {
      const altered = change(streams, String(word));
      if (!altered.ok) return altered;
      streams = altered.value.streams;
      words.push(altered.value.words);
    }
  }
  const { algorithm } = options;
  let { config } = files;
  if (algorithm === 'hash' || algorithm === 'maglev') {
    config = { ...config, algorithm };
    words.push(`backends had been chosen by ${algorithm}`);
  }
  const asNode = options['asNode'];
  if (typeof asNode !== 'string') return ok({ files: { ...files, config, streams }, words });
  const names = nodeNames(streams);
  if (!names.includes(asNode)) {
    const near = nearest(asNode, names);
    const remedy = near === undefined ? 'add the events of nodes' : `there are ${names.join(', ')}`;
    return fail('usage', `--as-node ${asNode}`, 'the events tell of no such node', remedy);
  }
  return ok({ files: { ...files, config, streams, asNode }, words: [...words, `the node had been ${asNode}`] });
}

function nodeNames({ events }: EventStreams): readonly string[] {
  const names = new Set<string>();
  for (const { event } of events) {
    for (const { kind, metadata } of objectsOf(event)) if (kind === 'Node') names.add(metadata?.name ?? '');
  }
  return [...names].sort();
}
