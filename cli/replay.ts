// SPDX-License-Identifier: Apache-2.0
/** `tandem replay FILES...`: captures and events through the model, and through the kernel where it can be had. */
import { createLoop } from '../agent/loop.ts';
import { createDatapath } from '../core/datapath/datapath.ts';
import { failureText, ok, type Failure, type Result } from '../core/result.ts';
import type { NodeConfig } from '../core/service.ts';
import type { Twin } from '../core/twin.ts';
import { timesText, type EventStreams } from '../formats/events.ts';
import {
  filterTally,
  isEmptyFilter,
  isLineWanted,
  nothingMatches,
  parseFilter,
  type Filter,
} from '../replay/filter.ts';
import type { PacketLine } from '../replay/lines.ts';
import { reportText } from '../replay/report.ts';
import { clockText } from '../replay/nodes.ts';
import { replay } from '../replay/run.ts';
import { endOf, summarize, type ReplayEnd, type ReplaySetting, type ReplaySummary } from '../replay/summary.ts';
import type { Tally } from '../replay/tally.ts';
import type { ReplayTwin } from '../replay/twins.ts';
import { startCapturesProgress } from './capturesprogress.ts';
import type { CommandOptions, CommandRun } from './commands.ts';
import { filterWords } from './filterwords.ts';
import { injectionOf, startInjection } from './injectoptions.ts';
import { exitCode, printJson, printNdjson, printNote, printText, reportFailure } from './output.ts';
import { openProducts } from './products.ts';
import { onlyNode, openNodes, type ReplayFiles } from './replayfiles.ts';
import { openInputs, type ReplayInputs } from './replayinputs.ts';
import { openKernel, type Kernel } from './replaykernel.ts';
import { replaySettings } from './replaysettings.ts';
import { isWhatIf, runWhatIf } from './whatif.ts';

export type Replayed = {
  readonly tally: Tally;
  readonly setting: ReplaySetting;
  readonly summary: ReplaySummary;
  readonly end: ReplayEnd;
};

export const run: CommandRun = async (files, options) => {
  const inputs = await openInputs(files);
  if (!inputs.ok) return reportFailure(inputs.error);
  try {
    return await replayInputs(inputs.value, files, options);
  } finally {
    inputs.value.close();
  }
};

async function replayInputs(inputs: ReplayInputs, words: readonly string[], options: CommandOptions): Promise<number> {
  const filter = parseFilter(filterWords(options));
  if (!filter.ok) return reportFailure(filter.error);
  const injection = injectionOf(options);
  if (!injection.ok) return reportFailure(injection.error);
  const nodes = openNodes(inputs, options);
  if (!nodes.ok) return reportFailure(nodes.error);
  const single = singleNodeOption(options);
  const only = single === undefined ? undefined : onlyNode(nodes.value, single);
  if (only?.ok === false) return reportFailure(only.error);
  if (only !== undefined && injection.value) {
    const tools = { replayIt: replayFiles, codeOf, command: commandLine(words, options) };
    return startInjection(only.value, filter.value, options, tools);
  }
  if (only !== undefined && isWhatIf(options)) return runWhatIf(only.value, filter.value, options, replayFiles);
  const codes: number[] = [];
  for (const files of nodes.value) codes.push(await replayNode(files, filter.value, words, options));
  return worstFirst.find((code) => codes.includes(code)) ?? exitCode.environment;
}

const worstFirst: readonly number[] = [
  exitCode.twinsDiffer,
  exitCode.usage,
  exitCode.environment,
  exitCode.notPermitted,
  exitCode.agreed,
];

/** What makes one document or one file, and so is of one node; undefined: nothing of the kind is asked for. */
function singleNodeOption(options: CommandOptions): string | undefined {
  if (options['inject'] === true) return '--inject';
  if (isWhatIf(options)) return 'what if';
  if (options['emitCase'] !== undefined) return '--emit-case';
  if (options['write'] !== undefined) return '--write';
  return options['output'] === 'json' ? '--output json' : undefined;
}

async function replayNode(
  files: ReplayFiles,
  filter: Filter,
  words: readonly string[],
  options: CommandOptions,
): Promise<number> {
  const products = openProducts(files, filter, options);
  if (!products.ok) return reportFailure(products.error);
  const { line: keep, watch } = products.value;
  const format = options['output'];
  const lines: PacketLine[] = [];
  const tell = (line: PacketLine): void => {
    if (!isLineWanted(line, filter)) return;
    keep?.(line);
    if (format === 'ndjson') printNdjson(line);
    else if (format === 'json') lines.push(line);
  };
  const { streams } = files;
  const progress = startCapturesProgress(files.captures);
  const everything = await replayFiles({
    ...files,
    ...((format !== 'text' || keep !== undefined) && { onLine: tell }),
    ...(watch !== undefined && { watch }),
    onProgress: progress.update,
  });
  progress.done();
  if (!everything.ok) return reportFailure(everything.error);
  const replayed = filterReplayed(everything.value, filter, streams.events);
  if (!replayed.ok) return reportFailure(replayed.error);
  const { summary, end, tally } = replayed.value;
  if (format === 'ndjson') printNdjson(summary);
  else if (format === 'json') printJson({ packets: lines, summary });
  else {
    const others = everything.value.tally.connections.length - tally.connections.length;
    const clocks = (files.others ?? []).map(({ clock }) => clockText(clock));
    const times = [...timesText(streams), ...clocks];
    const command = commandLine(words, options);
    printText(reportText({ ...replayed.value, events: streams.events, times, command, others }));
  }
  for (const problem of streams.problems) printNote(`tandem: ${failureText(problem)}`);
  for (const failure of tally.failures) reportFailure(failure);
  for (const text of tally.mapFailures.keys()) printNote(`tandem: ${text}`);
  const written = await products.value.finish(everything.value.tally);
  if (!written.ok) return reportFailure(written.error);
  for (const note of written.value) printNote(`tandem: ${note}`);
  return codeOf(end);
}

/** What is told and judged; the twins have been fed everything. */
function filterReplayed(all: Replayed, filter: Filter, events: EventStreams['events']): Result<Replayed> {
  if (isEmptyFilter(filter)) return ok(all);
  const { setting } = all;
  const tally = filterTally(all.tally, filter);
  if (tally.connections.length === 0) return nothingMatches(filter, all.tally, events);
  return ok({ setting, tally, summary: summarize(tally, setting), end: endOf(tally, setting) });
}

function codeOf(end: ReplayEnd): number {
  switch (end) {
    case 'twins-differ':
      return exitCode.twinsDiffer;
    case 'input-unreadable':
      return exitCode.usage;
    case 'maps-full':
      return exitCode.environment;
    case 'not-permitted':
      return exitCode.notPermitted;
    case 'agreed':
      return exitCode.agreed;
  }
}

/** Runs a replay with the kernel's twin where it can be had; the summary says why not where it can't. */
export async function replayFiles(files: ReplayFiles): Promise<Result<Replayed>> {
  const {
    allowUnattributed,
    asNode,
    captures,
    config,
    facts,
    onLine,
    onProgress,
    others,
    seed,
    streams,
    watch,
    withKernel = true,
  } = files;
  const { addresses } = facts;
  const built = replaySettings({ ...config, addresses }, seed);
  if (!built.ok) return built;
  const settings = built.value;
  const node = { ...config, nodeName: asNode ?? facts.name };
  const kernel: Kernel = withKernel ? await openKernel(settings) : { is: 'missing', why: 'not asked for' };
  try {
    const tally = replay({
      captures,
      streams,
      facts,
      ...(others !== undefined && { others }),
      oracle: { ...oracleOf(node), serviceRanges: config.serviceCIDRs, nodeAddresses: facts.addresses },
      model: replayTwin(createDatapath(settings), node),
      kernel: kernel.is === 'open' ? replayTwin(kernel.twin, node) : undefined,
      ...(onLine !== undefined && { onLine }),
      ...(onProgress !== undefined && { onProgress }),
      ...(watch !== undefined && { watch }),
    });
    const setting: ReplaySetting = {
      node: facts.name,
      proxy: facts.proxy,
      seed,
      objectSha256: kernel.is === 'open' ? kernel.sha256 : null,
      noKernel: kernel.is === 'open' ? null : kernel.why,
      allowUnattributed,
      clocks: (others ?? []).map(({ clock }) => clock),
    };
    return ok({ tally, setting, summary: summarize(tally, setting), end: endOf(tally, setting) });
  } finally {
    if (kernel.is === 'open') kernel.close();
  }
}

function oracleOf({ nodeName, serviceProxyName, topology, zone }: NodeConfig): {
  readonly nodeName: string;
  readonly topology: boolean;
  readonly zone?: string;
  readonly serviceProxyName?: string;
} {
  return {
    nodeName,
    topology,
    ...(zone !== '' && { zone }),
    ...(serviceProxyName !== null && { serviceProxyName }),
  };
}

/** A control plane of its own for each twin: what one of them can't hold, the other may. */
function replayTwin(twin: Twin, node: NodeConfig): ReplayTwin {
  let failures: Failure[] = [];
  let writes = 0;
  const loop = createLoop({ store: twin.store, node, onProblem: (failure) => void failures.push(failure) });
  return {
    twin,
    program: (event) => {
      failures = [];
      loop.event(event);
      writes = loop.step().done;
      return failures;
    },
    writes: () => writes,
  };
}

/** The command that repeats this one, up to the format of its output. */
export function commandLine(files: readonly string[], options: CommandOptions): string {
  const flags = ['config', 'node', 'service', 'flow', 'from', 'to', 'seed'].flatMap((name) => {
    const value = options[name];
    const values = Array.isArray(value) ? value : value === undefined ? [] : [value];
    return values.map((one) => `--${name} ${shellWord(String(one))}`);
  });
  return ['./tandem replay', ...files, ...flags].join(' ');
}

/** As a shell takes it for one word. */
function shellWord(word: string): string {
  return /^[\w./:@%+=,-]+$/.test(word) ? word : `'${word}'`;
}
