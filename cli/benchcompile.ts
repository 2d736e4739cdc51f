// SPDX-License-Identifier: Apache-2.0
/** `tandem bench compile`: clusters of several shapes to ordered map operations, all at once and event by event. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { CompileRun, Shape } from '../bench/compile.ts';
import { spreadOf, type Spread } from '../bench/statistics.ts';
import { stripRooms } from '../tools/strip.ts';
import { thousands } from './benchrows.ts';
import type { CommandOptions } from './commands.ts';
import { exitCode, printJson, printText, startProgress } from './output.ts';

const ROOT = resolve(import.meta.dirname, '..');
const ROUNDS = 7;
/** As the launcher starts commands of the control plane. */
export const NODE_FLAGS: readonly string[] = ['--max-semi-space-size=8', '--heap-growing-percent=120'];

type Case = {
  readonly name: string;
  readonly shape: Shape;
  readonly events: number;
  readonly goals: {
    readonly computeMs?: number;
    readonly residentMB?: number;
    readonly eventUs?: number;
    readonly mostUs?: number;
  };
};

const CASES: readonly Case[] = [
  {
    name: '10,000 Services, 1,000 slices of 100',
    shape: { services: 10_000, ports: 1, slices: 1_000, endpoints: 100 },
    events: 4_000,
    goals: { computeMs: 800, residentMB: 250, eventUs: 100, mostUs: 1_000 },
  },
  {
    name: '5,006 Services, 250,000 endpoints',
    shape: { services: 5_006, ports: 1, slices: 5_006, endpoints: 50 },
    events: 2_000,
    goals: { computeMs: 2_500 },
  },
  {
    name: '1 Service of 400 ports, 100 endpoints',
    shape: { services: 1, ports: 400, slices: 1, endpoints: 100 },
    events: 240,
    goals: { eventUs: 20_000 },
  },
  ...[1_000, 10_000, 50_000].map((services) => ({
    name: `${thousands(services)} Services of 2 endpoints`,
    shape: { services, ports: 1, slices: services, endpoints: 2 },
    events: 4_000,
    goals: {},
  })),
];

type Figure = {
  readonly name: string;
  readonly parseMs: Spread;
  readonly computeMs: Spread;
  readonly residentMB: Spread;
  readonly eventUs: Spread;
  readonly mostUs: Spread;
  readonly operations: number;
  readonly goals: Case['goals'];
};

/** Every case in turn, a process each, of sources as a release has them; the first round is not counted. */
export function reportCompile(options: CommandOptions): number {
  const folder = mkdtempSync(join(tmpdir(), 'tandem-bench-'));
  try {
    stripRooms(ROOT, ['core', 'agent', 'bench'], folder);
    return reportFrom(join(folder, 'bench/compile.js'), options);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function reportFrom(program: string, options: CommandOptions): number {
  const { rounds: wanted } = options;
  const rounds = typeof wanted === 'number' ? Math.max(1, wanted) : ROUNDS;
  const progress = startProgress();
  const runs = CASES.map((): CompileRun[] => []);
  for (let round = -1; round < rounds; round += 1) {
    for (const [index, { events, name, shape }] of CASES.entries()) {
      progress.update(`round ${round + 1} of ${rounds}: ${name}`);
      const run = runOne(program, { events, shape });
      if (round >= 0) runs[index]?.push(run);
    }
  }
  progress.done();
  const figures = CASES.map((one, index) => figureOf(one, runs[index] ?? []));
  if (options['output'] === 'json') printJson({ kind: 'BenchCompile', rounds, figures });
  else printText(figuresText(figures, rounds));
  return exitCode.agreed;
}

function runOne(program: string, wanted: { readonly events: number; readonly shape: Shape }): CompileRun {
  const args = [...NODE_FLAGS, program, JSON.stringify(wanted)];
  return JSON.parse(execFileSync(process.execPath, args, { encoding: 'utf8' })) as CompileRun;
}

function figureOf({ goals, name }: Case, runs: readonly CompileRun[]): Figure {
  const spread = (of: (run: CompileRun) => number): Spread => spreadOf(runs.map(of));
  return {
    name,
    parseMs: spread(({ parseMs }) => parseMs),
    computeMs: spread(({ computeMs }) => computeMs),
    residentMB: spread(({ residentBytes }) => residentBytes / 1e6),
    eventUs: spread(({ eventUs }) => eventUs.median),
    mostUs: spread(({ eventUs }) => eventUs.most),
    operations: runs[0]?.operations ?? 0,
    goals,
  };
}

function figuresText(figures: readonly Figure[], rounds: number): string {
  return [
    `From parsed objects to ordered operations; medians of ${rounds} processes in turn, quarters in brackets.`,
    '',
    '| cluster | operations | in full, ms | times JSON.parse | resident, MB | one slice changes, µs: half, 99 of 100 |',
    '|---|---|---|---|---|---|',
    ...figures.map(figureLine),
  ].join('\n');
}

function figureLine({ computeMs, eventUs, goals, mostUs, name, operations, parseMs, residentMB }: Figure): string {
  const cells = [
    name,
    thousands(operations),
    beside(computeMs, goals.computeMs),
    (computeMs.median / parseMs.median).toFixed(1),
    beside(residentMB, goals.residentMB),
    `${beside(eventUs, goals.eventUs)}; ${beside(mostUs, goals.mostUs)}`,
  ];
  return `| ${cells.join(' | ')} |`;
}

function beside({ high, low, median }: Spread, goal: number | undefined): string {
  const text = `${thousands(median)} (${thousands(low)} to ${thousands(high)})`;
  if (goal === undefined) return text;
  return `${text}, goal ${thousands(goal)} ${median <= goal ? 'met' : 'MISSED'}`;
}
