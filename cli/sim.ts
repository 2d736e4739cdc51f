// SPDX-License-Identifier: Apache-2.0
/** `tandem sim [SEED]`: a cluster in virtual time under faults; its transcript, and the first promise that is broken. */
import { randomInt } from 'node:crypto';
import type { Violation } from '../sim/checkers.ts';
import { plants } from '../sim/plant.ts';
import { simulate, type Phase, type SimReport } from '../sim/run.ts';
import { parseSeed, streamOf, type Seed } from '../sim/seed.ts';
import { transcriptHeader } from '../sim/transcript.ts';
import { fail } from '../core/result.ts';
import type { CommandOptions, CommandRun } from './commands.ts';
import { exitCode, printJson, printNote, printText, reportFailure } from './output.ts';

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

type Wanted = { readonly seed: Seed; readonly nodes: number; readonly services: number; readonly seconds: number };

export const run: CommandRun = async ([text], options) => {
  const seed = parseSeed(text ?? String(randomInt(SEED_MAX)));
  if (!seed.ok) return reportFailure(seed.error);
  const wanted: Wanted = {
    seed: seed.value,
    nodes: numberOf(options, 'nodes', 20),
    services: numberOf(options, 'services', 500),
    seconds: numberOf(options, 'seconds', 60),
  };
  const { nodes, services, seconds } = wanted;
  if (nodes < 1 || nodes > NODES_MAX || services < 1 || services > SERVICES_MAX || seconds < 1) {
    const limits = `1 to ${NODES_MAX} nodes, 1 to ${SERVICES_MAX} services, 1 second or more`;
    return reportFailure(fail('usage', 'sim', 'a number is out of range', limits).error);
  }
  const canary = streamOf(wanted.seed, 99).pick(CANARIES);
  if (!isFound(wanted.seed, canary)) {
    printNote(`tandem: the harness is broken: the planted fault "${canary}" was not found with ${commandOf(wanted)}`);
    return exitCode.harnessBroken;
  }
  return runAndReport(wanted, options);
};

function numberOf(options: CommandOptions, name: string, otherwise: number): number {
  const given = options[name];
  return typeof given === 'number' ? given : otherwise;
}

function commandOf({ seed, nodes, services, seconds }: Wanted): string {
  return `./tandem sim ${seed.text} --nodes ${nodes} --services ${services} --seconds ${seconds}`;
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

function runAndReport(wanted: Wanted, options: CommandOptions): number {
  const isJson = options['output'] === 'json';
  const isQuiet = options['quiet'] === true || isJson;
  const started = new Map<Phase, number>();
  let block: string[] = [];
  const flush = (): void => {
    if (block.length > 0) printText(block.join('\n'));
    block = [];
  };
  const onLine = (line: string): void => {
    block.push(line);
    if (block.length >= BLOCK_LINES) flush();
  };
  if (!isQuiet) printText(`# ${commandOf(wanted)}\n${transcriptHeader}`);
  const onPhase = (phase: Phase): void => void started.set(phase, performance.now());
  const report = simulate({ ...wanted, onPhase, ...(isQuiet ? {} : { onLine }) });
  flush();
  if (isJson) printJson({ kind: 'SimReport', command: commandOf(wanted), seed: wanted.seed.text, ...report });
  else printText(reportText(wanted, report));
  const spentMs = (started.get('quiet') ?? performance.now()) - (started.get('faults') ?? 0);
  // Of the machine, not of the seed: kept out of what is the same twice.
  printNote(`${rateText(Math.min(wanted.seconds, report.simulatedUs / 1e6), spentMs)}; ${report.writes} map writes`);
  if (report.violation === undefined) return exitCode.agreed;
  return report.isLiveness ? exitCode.noConvergence : exitCode.invariantBroken;
}

function rateText(seconds: number, spentMs: number): string {
  return `${Math.round((seconds / Math.max(1, spentMs)) * 1_000)} simulated seconds per second under faults`;
}

function reportText(wanted: Wanted, { violation, tally, changes, faults, writes }: SimReport): string {
  const { packets, opened, completed, refused, failed, broken } = tally;
  const ends = `${completed} completed, ${refused} refused, ${failed} never established, ${broken} broken off`;
  return [
    `${changes} changes, ${faults} faults, ${writes} map writes, ${packets} packets, ${opened} connections: ${ends}`,
    violation === undefined ? `every promise held: ${commandOf(wanted)}` : violationText(violation, wanted),
  ].join('\n');
}

function violationText({ invariant, atUs, node, what }: Violation, wanted: Wanted): string {
  const place = node < 0 ? 'the cluster' : `node-${node}`;
  return `BROKEN ${invariant} at ${(atUs / 1e6).toFixed(6)} s on ${place}: ${what}\nrepeat: ${commandOf(wanted)}`;
}
