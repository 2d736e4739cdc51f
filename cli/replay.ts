// SPDX-License-Identifier: Apache-2.0
/** `tandem replay FILES...`: captures and events through the model, and through the kernel where it can be had. */
import { createHash } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { createLoop } from '../agent/loop.ts';
import { createDatapath } from '../core/datapath/datapath.ts';
import type { ConfigRecord } from '../core/layout.gen.ts';
import { fail, failureText, ok, type Failure, type Result } from '../core/result.ts';
import type { NodeConfig } from '../core/service.ts';
import type { Twin } from '../core/twin.ts';
import { defaultConfiguration, readConfiguration, type TandemConfiguration } from '../formats/config.ts';
import { readEventStreams, timesText, type EventStreams } from '../formats/events.ts';
import type { InputSource } from '../formats/input.ts';
import { readNodeFacts, type NodeFacts } from '../formats/node.ts';
import { factsFromEvents } from '../replay/facts.ts';
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
import { replay, type ReplayProgress } from '../replay/run.ts';
import { endOf, summarize, type ReplayEnd, type ReplaySetting, type ReplaySummary } from '../replay/summary.ts';
import type { Tally } from '../replay/tally.ts';
import type { ReplayTwin } from '../replay/twins.ts';
import type { Watch } from '../replay/watch.ts';
import { startCapturesProgress } from './capturesprogress.ts';
import type { CommandOptions, CommandRun } from './commands.ts';
import { filterWords } from './filterwords.ts';
import { injectionOf, startInjection } from './injectoptions.ts';
import { exitCode, printJson, printNdjson, printNote, printText, reportFailure } from './output.ts';
import { openProducts } from './products.ts';
import { openInputs, type ReplayInputs } from './replayinputs.ts';
import { replaySettings } from './replaysettings.ts';
import { isWhatIf, runWhatIf } from './whatif.ts';

const objectPath = fileURLToPath(new URL('../bpf/tandem.bpf.o', import.meta.url));

/** What to replay, and how. */
export type ReplayFiles = {
  readonly captures: readonly InputSource[];
  readonly streams: EventStreams;
  readonly facts: NodeFacts;
  readonly config: TandemConfiguration;
  readonly seed: number;
  readonly allowUnattributed: boolean;
  readonly onLine?: (line: PacketLine) => void;
  readonly onProgress?: (progress: ReplayProgress) => void;
  readonly watch?: Watch;
  /** False: the model alone is enough. */
  readonly withKernel?: boolean;
  /** In place of the node that was captured. */
  readonly asNode?: string;
};

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

async function replayInputs(inputs: ReplayInputs, files: readonly string[], options: CommandOptions): Promise<number> {
  const filter = parseFilter(filterWords(options));
  if (!filter.ok) return reportFailure(filter.error);
  const opened = openFiles(inputs, options);
  if (!opened.ok) return reportFailure(opened.error);
  const injection = injectionOf(options);
  if (!injection.ok) return reportFailure(injection.error);
  if (injection.value) {
    const tools = { replayIt: replayFiles, codeOf, command: commandLine(files, options) };
    return startInjection(opened.value, filter.value, options, tools);
  }
  if (isWhatIf(options)) return runWhatIf(opened.value, filter.value, options, replayFiles);
  const products = openProducts(opened.value, filter.value, options);
  if (!products.ok) return reportFailure(products.error);
  const { line: keep, watch } = products.value;
  const format = options['output'];
  const lines: PacketLine[] = [];
  const tell = (line: PacketLine): void => {
    if (!isLineWanted(line, filter.value)) return;
    keep?.(line);
    if (format === 'ndjson') printNdjson(line);
    else if (format === 'json') lines.push(line);
  };
  const { streams } = opened.value;
  const progress = startCapturesProgress(opened.value.captures);
  const everything = await replayFiles({
    ...opened.value,
    ...((format !== 'text' || keep !== undefined) && { onLine: tell }),
    ...(watch !== undefined && { watch }),
    onProgress: progress.update,
  });
  progress.done();
  if (!everything.ok) return reportFailure(everything.error);
  const replayed = filterReplayed(everything.value, filter.value, streams.events);
  if (!replayed.ok) return reportFailure(replayed.error);
  const { summary, end, tally } = replayed.value;
  const others = everything.value.tally.connections.length - tally.connections.length;
  if (format === 'ndjson') printNdjson(summary);
  else if (format === 'json') printJson({ packets: lines, summary });
  else
    printText(
      reportText({
        ...replayed.value,
        events: streams.events,
        times: timesText(streams),
        command: commandLine(files, options),
        others,
      }),
    );
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

export function openFiles(inputs: ReplayInputs, options: CommandOptions): Result<ReplayFiles> {
  const {
    config: path,
    node,
    seed,
    allowUnattributed,
  } = {
    config: options['config'],
    node: typeof options['node'] === 'string' ? options['node'] : inputs.node,
    seed: options['seed'],
    allowUnattributed: options['allowUnattributed'],
  };
  const config = typeof path === 'string' ? readConfiguration(path) : ok(defaultConfiguration());
  if (!config.ok) return config;
  const { captures, events } = inputs;
  if (captures.length === 0) return fail('usage', 'replay', 'no capture among the files', 'add a pcap of the node');
  if (events.length === 0) {
    return fail('usage', 'replay', 'no event stream among the files', 'add *.events.ndjson: what the API server said');
  }
  const read = readEventStreams(events);
  const streams = { ...read, failures: [...inputs.failures, ...read.failures] };
  const facts = node === undefined ? factsFromEvents(config.value, streams) : readNodeFacts(node);
  const [unread] = streams.failures;
  // Where nothing could be read, that is why nothing is known of the node.
  if (!facts.ok) return unread === undefined ? facts : { ok: false, error: unread };
  return ok({
    captures,
    streams,
    facts: facts.value,
    config: config.value,
    seed: typeof seed === 'number' ? seed : 0,
    allowUnattributed: allowUnattributed === true,
  });
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

type Kernel =
  | { readonly is: 'open'; readonly twin: Twin; readonly sha256: string; readonly close: () => void }
  | { readonly is: 'missing'; readonly why: string };

async function openKernel(settings: ConfigRecord): Promise<Kernel> {
  if (process.platform !== 'linux') return { is: 'missing', why: `this is ${process.platform}, not Linux` };
  if (process.getuid?.() !== 0) return { is: 'missing', why: 'not root' };
  const modules = await importKernel();
  if (modules === undefined) return { is: 'missing', why: 'kernel/ or its libraries are not here' };
  const [{ loadObject, readObjectFile }, { createKernelTwin, packetPrograms }] = modules;
  const bytes = readObjectFile(objectPath);
  if (!bytes.ok) return { is: 'missing', why: failureText(bytes.error) };
  const loaded = loadObject({
    object: bytes.value,
    name: objectPath,
    settings: { ...settings, testMode: 1 },
    programs: packetPrograms,
  });
  if (!loaded.ok) return { is: 'missing', why: failureText(loaded.error) };
  const twin = createKernelTwin({ object: loaded.value });
  const close = (): void => loaded.value[Symbol.dispose]();
  if (twin.ok) {
    return { is: 'open', twin: twin.value, sha256: createHash('sha256').update(bytes.value).digest('hex'), close };
  }
  close();
  return { is: 'missing', why: failureText(twin.error) };
}

type KernelModules = readonly [typeof import('../kernel/object.ts'), typeof import('../kernel/twin.ts')];

/** Undefined where kernel/ or koffi were left out on purpose; any other failure to import is a bug and stays loud. */
async function importKernel(): Promise<KernelModules | undefined> {
  try {
    return await Promise.all([import('../kernel/object.ts'), import('../kernel/twin.ts')]);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ERR_MODULE_NOT_FOUND') return undefined;
    throw error;
  }
}

/** The command that repeats this one, up to the format of its output. */
export function commandLine(files: readonly string[], options: CommandOptions): string {
  const flags = ['config', 'node', 'service', 'flow', 'from', 'to', 'seed'].flatMap((name) => {
    const value = options[name];
    return value === undefined ? [] : [`--${name} ${shellWord(String(value))}`];
  });
  return ['./tandem replay', ...files, ...flags].join(' ');
}

/** As a shell takes it for one word. */
function shellWord(word: string): string {
  return /^[\w./:@%+=,-]+$/.test(word) ? word : `'${word}'`;
}
