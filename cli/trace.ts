// SPDX-License-Identifier: Apache-2.0
/** `tandem trace SERVICE|FLOW FILES...`: ten questions about one connection, with their answers on one screen. */
import { fail, type Result } from '../core/result.ts';
import type { TimedEvent } from '../formats/events.ts';
import { traceOf } from '../replay/card.ts';
import type { Connection } from '../replay/connections.ts';
import { filterTally, isServiceName, nothingMatches, parseFilter, type Filter } from '../replay/filter.ts';
import { isPermitted } from '../replay/judge.ts';
import { followPath, spanOf } from '../replay/path.ts';
import { whyNotJudged } from '../replay/summary.ts';
import { traceText } from '../replay/tracetext.ts';
import type { CommandOptions, CommandRun } from './commands.ts';
import { filterWords } from './filterwords.ts';
import { exitCode, printJson, printText, reportFailure } from './output.ts';
import { openInputs, type ReplayInputs } from './replayinputs.ts';
import { commandLine, replayFiles, type Replayed } from './replay.ts';
import { openNodes, type ReplayFiles } from './replayfiles.ts';

export const run: CommandRun = async ([what = '', ...files], options) => {
  const filter = parseSubject(what, options);
  if (!filter.ok) return reportFailure(filter.error);
  const inputs = await openInputs(files);
  if (!inputs.ok) return reportFailure(inputs.error);
  try {
    return await traceInputs(inputs.value, filter.value, files, options);
  } finally {
    inputs.value.close();
  }
};

async function traceInputs(
  inputs: ReplayInputs,
  filter: Filter,
  files: readonly string[],
  options: CommandOptions,
): Promise<number> {
  const nodes = openNodes(inputs, options);
  if (!nodes.ok) return reportFailure(nodes.error);
  const isJson = options['output'] === 'json';
  const asked = { commandFor: (flow: string) => commandLine(files, { ...options, flow }), isJson };
  for (const opened of nodes.value) {
    const judged = await replayFiles(opened);
    if (!judged.ok) return reportFailure(judged.error);
    const { connections } = filterTally(judged.value.tally, filter);
    const connection = worstOf(connections);
    if (connection !== undefined) return trace(opened, judged.value, connection, connections.length - 1, asked);
    if (opened !== nodes.value.at(-1)) continue;
    const nothing = nothingMatches(filter, judged.value.tally, opened.streams.events);
    if (!nothing.ok) return reportFailure(nothing.error);
  }
  return exitCode.usage;
}

function parseSubject(what: string, options: CommandOptions): Result<Filter> {
  const { from, to } = filterWords(options);
  const times = { from, to };
  if (isServiceName(what)) return parseFilter({ ...times, service: what, flow: undefined });
  const filter = parseFilter({ ...times, service: undefined, flow: what });
  if (filter.ok || /[>,[]|:\d/.test(what)) return filter;
  return fail('usage', what, 'neither a Service nor a flow', 'write namespace/name or 10.0.0.9:4242-10.96.0.1:80/TCP');
}

/** Everything has been judged; now what belongs to the one connection is gathered. `others`: how many more match. */
async function trace(
  opened: ReplayFiles,
  { setting, tally }: Replayed,
  connection: Connection,
  others: number,
  { commandFor, isJson }: { readonly commandFor: (flow: string) => string; readonly isJson: boolean },
): Promise<number> {
  const { events } = opened.streams;
  const writes = new Map<TimedEvent, number>();
  const { path, watch } = followPath(spanOf(connection, tally.connections));
  const again = await replayFiles({
    ...opened,
    withKernel: false,
    watch: { ...watch, event: (timed, count) => void writes.set(timed, count) },
  });
  if (!again.ok) return reportFailure(again.error);
  const config = { ...opened.config, nodeName: opened.facts.name };
  const { origin } = tally;
  const difference = tally.firstDifference;
  const traced = traceOf({ connection, path: path(), events, origin, config, setting, writes, difference });
  const told = others === 0 ? '' : `; ${others} more connections match: give the flow of one`;
  const more = `${commandFor(connection.flow)} -o ndjson${told}`;
  if (isJson) printJson(traced);
  else printText(traceText(traced, more));
  for (const failure of tally.failures) reportFailure(failure);
  if (tally.differences > 0) return exitCode.twinsDiffer;
  if (tally.failures.length > 0) return exitCode.usage;
  return isPermitted(connection) === false ? exitCode.notPermitted : exitCode.agreed;
}

/** The one that a Service's name stands for: what is wrong before what is odd, then the first. */
function worstOf(connections: readonly Connection[]): Connection | undefined {
  const rank = (one: Connection): number => {
    if (isPermitted(one) === false) return one.verdict?.kind === 'never' ? 0 : 1;
    if (whyNotJudged(one) !== undefined) return 4;
    return one.reply === 'answered' ? 3 : 2;
  };
  return [...connections].sort((left, right) => rank(left) - rank(right))[0];
}
