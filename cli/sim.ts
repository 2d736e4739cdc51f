// SPDX-License-Identifier: Apache-2.0
/** `tandem sim [SEED]`: a cluster in virtual time under faults; its transcript, and the first promise that is broken. */
import { randomInt } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { fail, ok, type Result } from '../core/result.ts';
import type { Violation } from '../sim/checkers.ts';
import type { Install } from '../sim/install.ts';
import { plants, type Plant } from '../sim/plant.ts';
import { simulate, type Phase, type SimOptions, type SimReport } from '../sim/run.ts';
import { parseSeed, streamOf, type Seed } from '../sim/seed.ts';
import { faultKinds, modes, onlyFaults, type FaultKind, type Mode } from '../sim/swarm.ts';
import { transcriptHeader } from '../sim/transcript.ts';
import type { CommandOptions, CommandRun } from './commands.ts';
import { exitCode, printJson, printNote, printText, reportFailure } from './output.ts';

const OBJECT = 'bpf/tandem.bpf.o';
const SEED_MAX = 2 ** 31;
const NODES_MAX = 100;
const SERVICES_MAX = 5_000;
/** Lines are written in blocks: a write for each would take longer than the simulation. */
const BLOCK_LINES = 1_000;
/** Planted before each run, one by the seed; a simulator that misses it says nothing about the run. */
const CANARIES: readonly string[] = [
  'a selection off by one',
  'replies from the backend itself',
  'a flow that moves',
  'a checksum left as it was',
  'a drop without a reason',
];

type Wanted = {
  readonly seed: Seed;
  readonly nodes: number;
  readonly services: number;
  readonly seconds: number;
  readonly mode: Mode;
  /** undefined: as the seed draws them. */
  readonly faults: readonly FaultKind[] | undefined;
  readonly plant: string | undefined;
  readonly canary: string;
  readonly isKernel: boolean;
};

export const run: CommandRun = async ([text], options) => {
  const wanted = wantedOf(text ?? String(randomInt(SEED_MAX)), options);
  if (!wanted.ok) return reportFailure(wanted.error);
  const install = wanted.value.isKernel ? await kernelInstall() : ok(undefined);
  if (!install.ok) return reportFailure(install.error);
  const { seed, canary } = wanted.value;
  if (!isFound(seed, canary)) {
    const command = commandOf(wanted.value);
    printNote(`tandem: the harness is broken: the planted fault "${canary}" was not found with ${command}`);
    return exitCode.harnessBroken;
  }
  return runAndReport(wanted.value, options, install.value);
};

function wantedOf(text: string, options: CommandOptions): Result<Wanted> {
  const seed = parseSeed(text);
  if (!seed.ok) return seed;
  const isKernel = options['kernel'] === true;
  const nodes = numberOf(options, 'nodes', isKernel ? 2 : 20);
  const services = numberOf(options, 'services', isKernel ? 8 : 500);
  const seconds = numberOf(options, 'seconds', 60);
  if (nodes < 1 || nodes > NODES_MAX || services < 1 || services > SERVICES_MAX || seconds < 1) {
    const limits = `1 to ${NODES_MAX} nodes, 1 to ${SERVICES_MAX} services, 1 second or more`;
    return fail('usage', 'sim', 'a number is out of range', limits);
  }
  const faults = faultsOf(options['faults']);
  if (!faults.ok) return faults;
  const plant = options['plant'];
  if (plant !== undefined && plants[String(plant)] === undefined) {
    return fail('usage', `--plant ${String(plant)}`, 'no such fault', `one of: ${Object.keys(plants).join('; ')}`);
  }
  const mode = modes.find((name) => name === options['mode']) ?? 'swarm';
  const canary = String(options['canary'] ?? streamOf(seed.value, 99).pick(CANARIES));
  const planted = plant === undefined ? undefined : String(plant);
  return ok({
    seed: seed.value,
    nodes,
    services,
    seconds,
    mode,
    faults: faults.value,
    plant: planted,
    canary,
    isKernel,
  });
}

function numberOf(options: CommandOptions, name: string, otherwise: number): number {
  const given = options[name];
  return typeof given === 'number' ? given : otherwise;
}

function faultsOf(given: CommandOptions[string]): Result<readonly FaultKind[] | undefined> {
  if (typeof given !== 'string') return ok(undefined);
  const kinds: FaultKind[] = [];
  for (const name of given.split(',')) {
    const kind = faultKinds.find((known) => known === name);
    if (kind === undefined) return fail('usage', `--faults ${name}`, 'no such fault', `of ${faultKinds.join(',')}`);
    kinds.push(kind);
  }
  return ok(kinds);
}

/** Loads one object to see whether this machine can. */
async function kernelInstall(): Promise<Result<Install>> {
  if (process.getuid?.() !== 0) {
    return fail('environment', 'sim --kernel', 'the loaded programs need root', 'without --kernel nobody does');
  }
  const { installKernel } = await import('./install.ts');
  const path = fileURLToPath(new URL(`../${OBJECT}`, import.meta.url));
  try {
    return ok(installKernel(readFileSync(path), OBJECT));
  } catch (error) {
    return fail('input', OBJECT, error instanceof Error ? error.message : String(error));
  }
}

function commandOf({ seed, nodes, services, seconds, mode, faults, plant, isKernel }: Wanted): string {
  const words = [`./tandem sim ${seed.text} --nodes ${nodes} --services ${services} --seconds ${seconds}`];
  if (mode !== 'swarm') words.push(`--mode ${mode}`);
  if (faults !== undefined) words.push(`--faults ${faults.join(',')}`);
  if (isKernel) words.push('--kernel');
  if (plant !== undefined) words.push(`--plant '${plant}'`);
  return words.join(' ');
}

function isFound(seed: Seed, canary: string): boolean {
  const swarm = {
    meanBetweenConnectionsUs: 50e3,
    lossShare: 0,
    directShare: 0,
    networkDelayUs: 100,
    watchDelayUs: 2e3,
  };
  const plant = plants[canary] ?? {};
  return simulate({ seed, nodes: 2, services: 4, seconds: 20, swarm, plant }).violation !== undefined;
}

function optionsOf(wanted: Wanted): SimOptions {
  const { seed, nodes, services, seconds, mode, faults } = wanted;
  const plant: Plant = plants[wanted.plant ?? ''] ?? {};
  const swarm = faults === undefined ? {} : onlyFaults(faults);
  return { seed, nodes, services, seconds, mode, swarm, plant };
}

function runAndReport(wanted: Wanted, options: CommandOptions, install: Install | undefined): number {
  const isJson = options['output'] === 'json';
  const isQuiet = options['quiet'] === true || isJson;
  const started = new Map<Phase, number>();
  const model = install === undefined ? undefined : linesOf(wanted);
  const printed = createBlocks();
  let lines = 0;
  let difference: string | undefined;
  const onLine = (line: string): void => {
    if (model !== undefined && difference === undefined && model.lines[lines] !== line)
      difference = `the model: ${model.lines[lines] ?? 'nothing'}\nthe kernel: ${line}`;
    lines += 1;
    if (!isQuiet) printed.add(line);
  };
  if (!isQuiet) printText(`# ${commandOf(wanted)}\n${transcriptHeader}`);
  const onPhase = (phase: Phase): void => void started.set(phase, performance.now());
  const needsLines = !isQuiet || model !== undefined;
  const given = { ...optionsOf(wanted), onPhase, ...(needsLines ? { onLine } : {}) };
  const report = simulate(install === undefined ? given : { ...given, install });
  printed.flush();
  if (isJson) printJson({ kind: 'SimReport', command: commandOf(wanted), seed: wanted.seed.text, ...report });
  else printText(reportText(wanted, report));
  printRate(wanted, report, started);
  if (model !== undefined && (difference !== undefined || model.report.digest !== report.digest)) {
    printNote(`tandem: the twins differ\n${difference ?? 'in bytes, or in their flow tables'}`);
    return exitCode.twinsDiffer;
  }
  if (report.violation === undefined) return exitCode.agreed;
  return report.isLiveness ? exitCode.noConvergence : exitCode.invariantBroken;
}

function linesOf(wanted: Wanted): { readonly lines: readonly string[]; readonly report: SimReport } {
  const lines: string[] = [];
  const report = simulate({ ...optionsOf(wanted), onLine: (line) => void lines.push(line) });
  return { lines, report };
}

function createBlocks(): { readonly add: (line: string) => void; readonly flush: () => void } {
  let block: string[] = [];
  const flush = (): void => {
    if (block.length > 0) printText(block.join('\n'));
    block = [];
  };
  const add = (line: string): void => {
    block.push(line);
    if (block.length >= BLOCK_LINES) flush();
  };
  return { add, flush };
}

/** Of the machine, not of the seed: kept out of what is the same twice. */
function printRate({ seconds }: Wanted, report: SimReport, started: ReadonlyMap<Phase, number>): void {
  const spentMs = (started.get('quiet') ?? performance.now()) - (started.get('faults') ?? 0);
  const simulated = Math.min(seconds, report.simulatedUs / 1e6);
  const rate = Math.round((simulated / Math.max(1, spentMs)) * 1_000);
  printNote(`${rate} simulated seconds per second under faults; ${report.writes} map writes`);
}

function reportText(wanted: Wanted, { violation, tally, changes, faults, writes, digest }: SimReport): string {
  const { packets, opened, completed, refused, failed, broken } = tally;
  const ends = `${completed} completed, ${refused} refused, ${failed} never established, ${broken} broken off`;
  return [
    `${changes} changes, ${faults} faults, ${writes} map writes, ${packets} packets, ${opened} connections: ${ends}`,
    `digest ${digest}`,
    violation === undefined ? `every promise held: ${commandOf(wanted)}` : violationText(violation, wanted),
  ].join('\n');
}

function violationText({ invariant, atUs, node, what }: Violation, wanted: Wanted): string {
  const place = node < 0 ? 'the cluster' : `node-${node}`;
  return `BROKEN ${invariant} at ${(atUs / 1e6).toFixed(6)} s on ${place}: ${what}\nrepeat: ${commandOf(wanted)}`;
}
