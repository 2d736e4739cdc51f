// SPDX-License-Identifier: Apache-2.0
/** `tandem bench replay`: packets a second of the readers and of a whole replay, and the memory that they take. */
import { clusterEvents } from '../bench/cluster.ts';
import { benchReaders, type ReaderFigure } from '../bench/readers.ts';
import { busyCapture, busyFacts, RECORDED_SECONDS } from '../bench/recording.ts';
import { spreadOf, type Spread } from '../bench/statistics.ts';
import { fail, ok, type Result } from '../core/result.ts';
import { defaultConfiguration } from '../formats/config.ts';
import type { EventStreams, TimedEvent } from '../formats/events.ts';
import type { InputSource } from '../formats/input.ts';
import type { CommandOptions } from './commands.ts';
import { rateLine, thousands } from './benchrows.ts';
import { exitCode, printJson, printText, reportFailure, startProgress } from './output.ts';
import { replayFiles } from './replay.ts';

const ROUNDS = 9;
const ROUND_BYTES = 400_000_000;
const LARGE_BYTES = 10_000_000_000;
const SERVICES = 10_000;
const BACKENDS = 4;
const CONNECTIONS = 40_000;
const GOALS = {
  readPacketsPerSecond: 3_000_000,
  residentBytesMax: 500_000_000,
  modelPacketsPerSecond: 700_000,
  kernelPacketsPerSecond: 150_000,
};

type Sides = 'model' | 'both';

/** Packets a second of a whole replay; `kernelMissing`: why both twins could not run. */
type ReplayFigures = {
  readonly frames: number;
  readonly model: Spread;
  readonly both: Spread | undefined;
  readonly kernelMissing: string;
  /** Until the first packets are through: the cluster's lists into the oracle and the model's maps. */
  readonly intakeMs: Spread;
};

type BusyRun = {
  readonly packets: number;
  readonly kernel: string;
  /** After the first few thousand. */
  readonly packetsPerSecond: number;
  readonly intakeMs: number;
};

/** Measures and prints; needs no files, and root for the kernel's twin alone. */
export async function reportReplay(options: CommandOptions): Promise<number> {
  const { rounds: wanted } = options;
  const rounds = typeof wanted === 'number' ? Math.max(1, wanted) : ROUNDS;
  const progress = startProgress();
  const readers = benchReaders({
    rounds,
    roundBytes: ROUND_BYTES,
    largeBytes: LARGE_BYTES,
    onStep: (line) => progress.update(line),
  });
  const replayed = await benchReplay(rounds, (line) => progress.update(line));
  progress.done();
  if (!replayed.ok) return reportFailure(replayed.error);
  if (options['output'] === 'json') printJson({ kind: 'BenchReplay', goals: GOALS, readers, replay: replayed.value });
  else printText(replayText(readers, replayed.value, rounds));
  return exitCode.agreed;
}

/** The same recording again and again, with the model alone and with both twins in turn; the first round is not counted. */
async function benchReplay(rounds: number, onStep: (line: string) => void): Promise<Result<ReplayFigures>> {
  const capture = busyCapture({ services: SERVICES, backends: BACKENDS, connections: CONNECTIONS });
  const rates: { readonly [sides in Sides]: number[] } = { model: [], both: [] };
  const intakes: number[] = [];
  let frames = 0;
  let kernelMissing = '';
  for (let round = -1; round < rounds; round += 1) {
    for (const sides of ['model', 'both'] as const) {
      if (sides === 'both' && kernelMissing !== '') continue;
      onStep(`replaying with ${sides === 'both' ? 'both twins' : 'the model'}, round ${round + 1} of ${rounds}`);
      const ran = await replayBusy(capture, sides);
      if (!ran.ok) return ran;
      const { intakeMs, kernel, packets, packetsPerSecond } = ran.value;
      frames = packets;
      if (sides === 'both' && kernel !== 'ran') kernelMissing = kernel;
      else if (round >= 0) rates[sides].push(packetsPerSecond);
      if (sides === 'model' && round >= 0) intakes.push(intakeMs);
    }
  }
  const both = rates.both.length === 0 ? undefined : spreadOf(rates.both);
  return ok({ frames, model: spreadOf(rates.model), both, kernelMissing, intakeMs: spreadOf(intakes) });
}

async function replayBusy(capture: InputSource, sides: Sides): Promise<Result<BusyRun>> {
  const beganMs = performance.now();
  let first: { readonly atMs: number; readonly frames: number } | undefined;
  const replayed = await replayFiles({
    captures: [capture],
    streams: busyStreams(),
    facts: busyFacts(),
    config: defaultConfiguration(),
    seed: 0,
    allowUnattributed: false,
    withKernel: sides === 'both',
    onProgress: (progress) => {
      first ??= { atMs: performance.now(), frames: progress.frames };
    },
  });
  const endedMs = performance.now();
  if (!replayed.ok) return replayed;
  const { summary } = replayed.value;
  const { connections, differences, kernel, packets } = summary;
  // What is fast and wrong is no figure.
  if (connections.permitted !== CONNECTIONS || differences > 0) {
    return fail('input', 'bench replay', `${connections.permitted} of ${CONNECTIONS} permitted, ${differences} differ`);
  }
  const { atMs, frames } = first ?? { atMs: beganMs, frames: 0 };
  const packetsPerSecond = ((packets - frames) / (endedMs - atMs)) * 1000;
  return ok({ packets, kernel, packetsPerSecond, intakeMs: atMs - beganMs });
}

function busyStreams(): EventStreams {
  const events = clusterEvents(SERVICES, BACKENDS).map((event, index): TimedEvent => {
    return { seconds: RECORDED_SECONDS - 2, nanoseconds: index, event, file: 'generated', line: index + 1 };
  });
  const nothing = { failures: [], badLines: 0, problems: [], skipped: new Map(), headers: [], untyped: 0 };
  return { ...nothing, events, times: { exact: events.length, trigger: 0, arrival: 0 }, completeUntil: undefined };
}

function replayText(readers: readonly ReaderFigure[], replayed: ReplayFigures, rounds: number): string {
  const { both, frames, intakeMs, kernelMissing, model } = replayed;
  const { kernelPacketsPerSecond, modelPacketsPerSecond } = GOALS;
  const size = `${thousands(frames)} frames of ${thousands(CONNECTIONS)} connections, ${thousands(SERVICES)} Services`;
  return [
    `Captures of 100-byte packets, generated in memory; medians of ${rounds} rounds.`,
    '',
    '| read, packets a second | median | quarter to three quarters | goal | |',
    '|---|---|---|---|---|',
    ...readers.map(({ format, packetsPerSecond }) => rateLine(format, packetsPerSecond, GOALS.readPacketsPerSecond)),
    '',
    '| a capture of 10 GB | packets | seconds | memory of the process, highest, MB | goal | |',
    '|---|---|---|---|---|---|',
    ...readers.map(largeLine),
    '',
    `A whole replay: ${size}, each packet on two devices. Before its first packets the cluster is taken in: ` +
      `${(intakeMs.median / 1000).toFixed(2)} s with the model alone.`,
    '',
    '| replay, packets a second | median | quarter to three quarters | goal | |',
    '|---|---|---|---|---|',
    rateLine('the model alone', model, modelPacketsPerSecond),
    both === undefined
      ? `| model and kernel | not measured: ${kernelMissing} | | ${thousands(kernelPacketsPerSecond)} | |`
      : rateLine('model and kernel', both, kernelPacketsPerSecond),
  ].join('\n');
}

function largeLine({ format, large }: ReaderFigure): string {
  const verdict = large.residentBytesMax <= GOALS.residentBytesMax ? 'met' : 'MISSED';
  const memory = `${megabytes(large.residentBytesMax)} | ${megabytes(GOALS.residentBytesMax)}`;
  return `| ${format} | ${thousands(large.packets)} | ${large.seconds.toFixed(1)} | ${memory} | ${verdict} |`;
}

function megabytes(bytes: number): string {
  return String(Math.round(bytes / 1_000_000));
}
