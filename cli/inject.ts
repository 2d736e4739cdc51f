// SPDX-License-Identifier: Apache-2.0
/** `tandem replay --inject`: the packets of a recording into the kernel's own path in a lab, and what came out judged. */
import type { ConfigRecord } from '../core/layout.gen.ts';
import { failureText, ok, type Result } from '../core/result.ts';
import { readNodeFacts, type NodeFacts } from '../formats/node.ts';
import { writeNodeFacts } from '../lab/facts.ts';
import { startLab, type Lab } from '../lab/lab.ts';
import { checkMachine, thisMachine } from '../lab/requirements.ts';
import { silencePods } from '../lab/silence.ts';
import type { Filter } from '../replay/filter.ts';
import type { PacketLine } from '../replay/lines.ts';
import { reportText } from '../replay/report.ts';
import type { ReplayEnd } from '../replay/summary.ts';
import { watchAll } from '../replay/watch.ts';
import type { CommandOptions } from './commands.ts';
import { startNode } from './demo/node.ts';
import { endOnSignal } from './endonsignal.ts';
import { createBench, type InjectedPacket } from './inject/judge.ts';
import { playScript, type Pace, type Played } from './inject/play.ts';
import { injectionText, summarizeInjection, type InjectionSummary } from './inject/report.ts';
import { createScribe, MTU, type Script } from './inject/script.ts';
import { NODE, planStage, type Stage } from './inject/stage.ts';
import { exitCode, printJson, printNdjson, printNote, printText, reportFailure, startProgress } from './output.ts';
import { openProducts, type Products } from './products.ts';
import type { Replayed } from './replay.ts';
import type { ReplayFiles } from './replayfiles.ts';
import { replaySettings } from './replaysettings.ts';

/** What a replay is for an injection: handed in by it. */
export type ReplayTools = {
  readonly replayIt: (files: ReplayFiles) => Promise<Result<Replayed>>;
  readonly codeOf: (end: ReplayEnd) => number;
  /** The command line without its flags of injection and output. */
  readonly command: string;
};

export type InjectOptions = {
  readonly filter: Filter;
  readonly pace: Pace;
  /** Another object than the committed one. */
  readonly object?: Uint8Array;
  /** What of the lab's capture is to be kept. */
  readonly openProducts?: (files: ReplayFiles) => Result<Products>;
  readonly onLab?: (lab: Lab) => void;
  readonly onProgress?: (sent: number, of: number) => void;
};

export type Injected = {
  readonly packets: readonly InjectedPacket[];
  readonly summary: InjectionSummary;
  readonly script: Script;
  /** Of what was captured in the lab. */
  readonly replayed: Replayed;
  /** As they were told in the lab. */
  readonly files: ReplayFiles;
  /** A line about each file that was written. */
  readonly notes: readonly string[];
};

export async function runInject(
  files: ReplayFiles,
  filter: Filter,
  options: CommandOptions,
  tools: ReplayTools,
): Promise<number> {
  const format = options['output'];
  const pace = options['pace'] === 'fast' ? 'fast' : 'recorded';
  const progress = startProgress();
  const done = await inject(
    files,
    {
      filter,
      pace,
      onLab: endOnSignal,
      openProducts: (judged) => openProducts(judged, filter, options),
      onProgress: (sent, of) =>
        progress.update(`${sent.toLocaleString('en')} of ${of.toLocaleString('en')} packets sent`),
    },
    tools,
  );
  progress.done();
  if (!done.ok) return reportFailure(done.error);
  print(done.value, format, `${tools.command} --inject --pace ${pace}`);
  const { replayed, script, summary } = done.value;
  if (script.tooLarge.count > 0) {
    const others = script.tooLarge.count > 1 ? ` and ${script.tooLarge.count - 1} others` : '';
    printNote(
      `tandem: ${script.tooLarge.first}${others}: more than the ${MTU} bytes that the lab's devices take, not sent; ` +
        'record with ethtool -K DEVICE tso off gso off',
    );
  }
  for (const note of done.value.notes) printNote(`tandem: ${note}`);
  for (const failure of replayed.tally.failures) printNote(`tandem: ${failureText(failure)}`);
  if (summary.different > 0) return exitCode.twinsDiffer;
  if (summary.notSeen > 0) {
    return reportFailure({
      kind: 'environment',
      object: 'replay --inject',
      message: `${summary.notSeen} packets were sent and not seen on any device of the lab`,
      remedy: 'try --pace recorded',
    });
  }
  return tools.codeOf(replayed.end);
}

function print({ files, packets, replayed, summary }: Injected, format: CommandOptions[string], command: string): void {
  if (format === 'json') return printJson({ packets, summary });
  if (format === 'ndjson') {
    for (const packet of packets) printNdjson(packet);
    return printNdjson(summary);
  }
  printText(injectionText(summary, packets));
  printText(reportText({ ...replayed, events: files.streams.events, command }));
}

/** The recording, the lab, the judgement. Whatever happens, the lab is gone afterwards. */
export async function inject(
  files: ReplayFiles,
  options: InjectOptions,
  { replayIt }: Pick<ReplayTools, 'replayIt'>,
): Promise<Result<Injected>> {
  const machine = checkMachine(thisMachine());
  if (!machine.ok) return { ok: false, error: { ...machine.error, object: 'replay --inject' } };
  const scribe = createScribe(options.filter);
  const recorded = await replayIt({ ...files, watch: scribe.watch, withKernel: false });
  if (!recorded.ok) return recorded;
  const [unread] = recorded.value.tally.failures;
  const script = scribe.finish(files.captures.map((source) => (typeof source === 'string' ? source : source.name)));
  // Where nothing could be read, that is why there is nothing to send.
  if (!script.ok) return unread === undefined ? script : { ok: false, error: unread };
  const stage = planStage(`inject${process.pid}`, script.value.shots, files.facts, files.streams.events);
  if (!stage.ok) return stage;
  const lab = await startLab(stage.value.spec);
  if (!lab.ok) return lab;
  options.onLab?.(lab.value);
  try {
    return await injectInto(lab.value, files, script.value, stage.value, options, replayIt);
  } finally {
    await lab.value.stop();
  }
}

async function injectInto(
  lab: Lab,
  files: ReplayFiles,
  script: Script,
  stage: Stage,
  options: InjectOptions,
  replayIt: ReplayTools['replayIt'],
): Promise<Result<Injected>> {
  const facts = await labFacts(lab, files.facts);
  if (!facts.ok) return facts;
  const settings = replaySettings({ ...files.config, addresses: facts.value.addresses }, files.seed);
  if (!settings.ok) return settings;
  const played = await playIn(lab, files, script, stage, { ...options, settings: settings.value });
  if (!played.ok) return played;
  const bench = createBench(script.shots);
  const told = { ...files.streams, events: played.value.events, completeUntil: played.value.completeUntil };
  const judgedFiles = { ...files, others: [], captures: [played.value.capture], streams: told, facts: facts.value };
  const products = options.openProducts?.(judgedFiles);
  if (products?.ok === false) return products;
  const watches = [bench.watch, products?.value.watch].filter((watch) => watch !== undefined);
  const onLine = (line: PacketLine): void => {
    bench.line(line);
    products?.value.line?.(line);
  };
  const replayed = await replayIt({ ...judgedFiles, onLine, watch: watchAll(watches) });
  if (!replayed.ok) return replayed;
  const notes = await products?.value.finish(replayed.value.tally);
  if (notes?.ok === false) return notes;
  const packets = bench.finish();
  const about = { script, stage, played: played.value, pace: options.pace };
  const summary = summarizeInjection(packets, about, replayed.value.summary);
  return ok({ packets, summary, script, replayed: replayed.value, files: judgedFiles, notes: notes?.value ?? [] });
}

async function playIn(
  lab: Lab,
  files: ReplayFiles,
  script: Script,
  stage: Stage,
  options: InjectOptions & { readonly settings: ConfigRecord },
): Promise<Result<Played>> {
  const { object, onProgress, pace, settings } = options;
  const wiring = await silencePods(lab, NODE, stage.elsewhere);
  if (!wiring.ok) return wiring;
  const node = startNode(lab, NODE, {
    selectionKey: settings.selectionKey,
    settings,
    config: { ...files.config, nodeName: files.facts.name },
    ...(object !== undefined && { object }),
  });
  if (!node.ok) return node;
  using running = node.value;
  return await playScript({
    lab,
    node: running,
    wiring: wiring.value,
    stage,
    script,
    events: files.streams.events,
    completeUntil: files.streams.completeUntil,
    pace,
    onProgress: (sent) => onProgress?.(sent, script.shots.length),
  });
}

/** Devices are the lab's, everything else is the recorded node's. */
async function labFacts(lab: Lab, recorded: NodeFacts): Promise<Result<NodeFacts>> {
  const file = `${lab.node(NODE).stateDirectory}/node.json`;
  const written = await writeNodeFacts(lab, NODE, 'tandem', file);
  if (!written.ok) return written;
  const facts = readNodeFacts(file);
  if (!facts.ok) return facts;
  const { addresses, clusterRanges, name, podRanges } = recorded;
  return ok({ ...facts.value, name, addresses, podRanges, clusterRanges });
}
