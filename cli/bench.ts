// SPDX-License-Identifier: Apache-2.0
/** `tandem bench`: packets per second of both twins, nanoseconds per packet of the programs, beside their goals; sockets; replay; compile. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { benchPrograms, type ProgramFigure } from '../bench/programs.ts';
import { comparedRate, establish, modelRate, type Rate } from '../bench/rates.ts';
import { programCluster } from '../bench/cluster.ts';
import { spreadOf, type Spread } from '../bench/statistics.ts';
import { configOf, createDatapath, type Datapath } from '../core/datapath/datapath.ts';
import { defaultSizes } from '../core/datapath/maps.ts';
import type { ConfigRecord } from '../core/layout.gen.ts';
import { fail, ok, type Result } from '../core/result.ts';
import { loadObject, readObjectFile } from '../kernel/object.ts';
import { createKernelTwin, packetPrograms } from '../kernel/twin.ts';
import { compareOutcomes, sameOutcome } from '../proof/compare.ts';
import { runSequences, sequenceSettings } from '../proof/sequences/sequences.ts';
import { buildObject } from '../tools/build.ts';
import { reportCompile } from './benchcompile.ts';
import { reportReplay } from './benchreplay.ts';
import { rateLine, thousands } from './benchrows.ts';
import { reportSockets } from './benchsockets.ts';
import type { CommandOptions } from './commands.ts';
import { exitCode, printJson, printText, reportFailure, startProgress } from './output.ts';
import { openRig, sequenceSidesOf } from './rig.ts';

const ROOT = resolve(import.meta.dirname, '..');
const OBJECT = join(ROOT, 'bpf/tandem.bpf.o');
const FLOORS = join(ROOT, 'bench/floor.bpf.c');
const SERVICES = 10_000;
const BACKENDS = 10;
const FLOWS = 65_536;
const BUCKETS = 16_384;
const MODEL_PACKETS = 500_000;
const COMPARED_PACKETS = 60_000;
const SEQUENCE_ROUNDS = 9;
const SEQUENCE_COMMANDS = 32_768;
const GOALS = {
  modelPacketsPerSecond: 2_000_000,
  comparedPacketsPerSecond: 200_000,
  commandsPerSecond: 20_000,
  pauseMsMax: 5,
};

type Figures = {
  readonly model: Rate;
  readonly compared: Rate;
  readonly commandsPerSecond: Spread;
  readonly programs: readonly ProgramFigure[];
};

/** Fixed keys: a run is repeated by running it again. */
function benchConfig(testMode: number): ConfigRecord {
  const flowSecret = Array.from({ length: 12 }, (_, index) => Math.imul(index + 1, 0x9e3779b1) >>> 0);
  return configOf({ testMode, flowBucketMask: BUCKETS - 1, flowSecret, selectionKey: [1, 2] });
}

function benchModel(): Datapath {
  const model = createDatapath(benchConfig(1), { ...defaultSizes, flowBuckets: BUCKETS });
  programCluster(model.store, SERVICES, BACKENDS);
  return model;
}

function benchCompared(model: Datapath): Result<Rate> {
  const bytes = readObjectFile(OBJECT);
  if (!bytes.ok) return bytes;
  const settings = benchConfig(1);
  const loaded = loadObject({
    object: bytes.value,
    name: OBJECT,
    settings,
    maxEntries: { flows: BUCKETS },
    programs: packetPrograms,
  });
  if (!loaded.ok) return loaded;
  using object = loaded.value;
  const kernel = createKernelTwin({ object });
  if (!kernel.ok) return kernel;
  programCluster(kernel.value.store, SERVICES, BACKENDS);
  establish([kernel.value], FLOWS, SERVICES);
  return ok(
    comparedRate(model, kernel.value, FLOWS, SERVICES, COMPARED_PACKETS, (left, right) =>
      sameOutcome(left, right) ? undefined : (compareOutcomes(left, right)?.field ?? 'something'),
    ),
  );
}

/** Commands a second of `verify sequences`, a seed each round; loading is not counted, nor is the first round. */
function benchSequences(): Result<Spread> {
  const bytes = readObjectFile(OBJECT);
  if (!bytes.ok) return bytes;
  const rates: number[] = [];
  for (let seed = 0; seed <= SEQUENCE_ROUNDS; seed++) {
    const settings = sequenceSettings(seed);
    const opened = openRig({ object: bytes.value, name: OBJECT, settings, programs: packetPrograms });
    if (!opened.ok) return opened;
    using rig = opened.value;
    const sides = sequenceSidesOf(rig, settings);
    const beganMs = performance.now();
    const report = runSequences({ seed, sides, settings, commandsMax: SEQUENCE_COMMANDS });
    if (!report.ok) return report;
    if (report.value.found !== undefined)
      return fail('input', `sequences of seed ${seed}`, 'the twins differ', `./tandem verify sequences --seed ${seed}`);
    if (seed > 0) rates.push((SEQUENCE_COMMANDS / (performance.now() - beganMs)) * 1000);
  }
  return ok(spreadOf(rates));
}

function benchAll(onStep: (line: string) => void): Result<Figures> {
  const folder = mkdtempSync(join(tmpdir(), 'tandem-bench-'));
  try {
    const floors = join(folder, 'floor.o');
    const built = buildObject({ defines: [], output: floors, source: FLOORS });
    if (!built.ok) return built;
    onStep('model: 65,536 flows, 10,000 Services');
    const model = benchModel();
    establish([model], FLOWS, SERVICES);
    const alone = modelRate(model, FLOWS, SERVICES, MODEL_PACKETS);
    onStep('both twins, everything compared');
    const compared = benchCompared(model);
    if (!compared.ok) return compared;
    onStep('command sequences');
    const commands = benchSequences();
    if (!commands.ok) return commands;
    onStep('programs and floors');
    const programs = benchPrograms({
      object: OBJECT,
      floors,
      config: benchConfig(0),
      services: SERVICES,
      flows: FLOWS,
      onFigure: (figure) => onStep(`${figure.program}, ${figure.packet}, ${figure.flows} flows`),
    });
    if (!programs.ok) return programs;
    const commandsPerSecond = commands.value;
    return ok({ model: alone, compared: compared.value, commandsPerSecond, programs: programs.value });
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function nsText(spread: Spread): string {
  return `${Math.round(spread.least)} / ${Math.round(spread.median)} (${Math.round(spread.low)} to ${Math.round(spread.high)})`;
}

function figuresText({ model, compared, commandsPerSecond, programs }: Figures): string {
  const pause = model.pauseMsMax;
  const rows = programs.map(
    ({ program, packet, flows, netNs, harnessNs }) =>
      `| ${program} | ${packet} | ${thousands(flows)} | ${nsText(netNs)} | ${Math.round(harnessNs.median)} |`,
  );
  return [
    `${thousands(FLOWS)} flows, ${thousands(SERVICES)} Services, packets of 100 bytes; medians of 9 rounds.`,
    '',
    '| a second | median | quarter to three quarters | goal | |',
    '|---|---|---|---|---|',
    rateLine('packets, model alone', model.packetsPerSecond, GOALS.modelPacketsPerSecond),
    rateLine('packets, both twins compared', compared.packetsPerSecond, GOALS.comparedPacketsPerSecond),
    rateLine('commands of sequences, both twins with agents', commandsPerSecond, GOALS.commandsPerSecond),
    '',
    `Longest pause of the model (256 packets): ${pause.toFixed(2)} ms, goal ${GOALS.pauseMsMax} ms: ${pause <= GOALS.pauseMsMax ? 'met' : 'MISSED'}`,
    '',
    '| program | packet | flows | ns a packet, net: least / median (quarters) | harness ns |',
    '|---|---|---|---|---|',
    ...rows,
    '',
    'Net: without the wrapper and an empty program, measured in turn with it; 25 rounds.',
  ].join('\n');
}

export async function run([what = 'twins']: readonly string[], options: CommandOptions): Promise<number> {
  if (what === 'replay') return reportReplay(options);
  if (what === 'compile') return reportCompile(options);
  if (process.getuid?.() !== 0)
    return reportFailure({
      kind: 'environment',
      object: `bench ${what}`,
      message: 'loading eBPF programs needs root',
      remedy: 'run it as root',
    });
  return what === 'sockets' ? await reportSockets(OBJECT, SERVICES, options) : reportTwins(options);
}

function reportTwins(options: CommandOptions): number {
  const progress = startProgress();
  const figures = benchAll((line) => {
    progress.update(line);
  });
  progress.done();
  if (!figures.ok) return reportFailure(figures.error);
  if (options['output'] === 'json') printJson({ kind: 'BenchTwins', goals: GOALS, ...figures.value });
  else printText(figuresText(figures.value));
  return exitCode.agreed;
}
