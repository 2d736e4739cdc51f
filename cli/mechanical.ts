// SPDX-License-Identifier: Apache-2.0
/** `tandem verify mutants --mechanical N`: draws small changes of the twinned headers, tries each, prints who found it. */
import { fork, type ChildProcess } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isMutant, type Fate, type Judged, type MechanicalReport } from '../proof/fates.ts';
import { Draw, plantMechanical, type Header, type MechanicalMutant } from '../proof/mechanical.ts';
import type { HuntRound } from './hunt.ts';
import type { HuntJob } from './hunter.ts';
import { copySources, SOURCES } from './mutant.ts';

const MODEL = fileURLToPath(new URL('../core/datapath', import.meta.url));
const HUNTER = fileURLToPath(new URL('./hunter.ts', import.meta.url));
const HUNTERS_MAX = 2;
/** A mutant that is not done by then hangs. */
const MUTANT_TIMEOUT_MS = 90_000;

/** Headers whose decisions only connect() and its like reach. */
const SOCKET_HEADERS: ReadonlySet<string> = new Set(['connect.h']);
/** Short rounds first: most are found at once, and each seed has other settings. */
const PACKET_ROUNDS = [...Array.from({ length: 5 }, () => 2_000), ...Array.from({ length: 5 }, () => 10_000)];
const CALL_ROUNDS = Array.from({ length: 5 }, () => 2_000);

export type MechanicalOptions = {
  readonly count: number;
  readonly seed: number;
  readonly onProgress?: (done: number) => void;
};

/** The headers that have a twin, by name. */
export function twinnedHeaders(folder: string = SOURCES): readonly Header[] {
  return readdirSync(folder)
    .filter((name) => name.endsWith('.h') && existsSync(join(MODEL, `${basename(name, '.h')}.ts`)))
    .toSorted()
    .map((name) => ({ name, text: readFileSync(join(folder, name), 'utf8') }));
}

function roundsOf(header: string, seed: number): readonly HuntRound[] {
  const sockets = CALL_ROUNDS.map((count, index) => ({ road: 'sockets', seed: seed + index, count }) as const);
  const packets = PACKET_ROUNDS.map((count, index) => ({ road: 'packets', seed: seed + index, count }) as const);
  return SOCKET_HEADERS.has(header) ? sockets : [...packets, ...sockets.slice(0, 2)];
}

/** Draws and tries; what is none is replaced in the next round, so that the same seed tries the same ones. */
export async function runMechanical({ count, seed, onProgress }: MechanicalOptions): Promise<MechanicalReport> {
  // A copy: who edits the sources meanwhile changes no mutant.
  const sources = copySources(SOURCES);
  const hunters = Array.from({ length: Math.min(HUNTERS_MAX, availableParallelism()) }, () => new Hunter(sources));
  try {
    const headers = twinnedHeaders(sources);
    const draw = new Draw(headers, seed);
    const texts = new Map(headers.map(({ name, text }) => [name, text]));
    const control = await tryControl(hunters, headers, seed);
    const judged: Judged[] = [];
    const replaced = { uncompiled: 0, same: 0 };
    let drawn = Array.from({ length: count }, () => draw.next()).filter((mutant) => mutant !== undefined);
    while (drawn.length > 0) {
      const jobs = drawn.map((mutant) => jobOf(mutant, texts.get(mutant.header) ?? '', seed));
      const fates = await tryAll(hunters, jobs, (done) => onProgress?.(judged.length + done));
      const round = drawn.map((mutant, index) => ({ mutant, fate: fates[index]! }));
      for (const { fate } of round) if (fate.kind === 'uncompiled' || fate.kind === 'same') replaced[fate.kind]++;
      judged.push(...round.filter(({ fate }) => isMutant(fate)));
      const missing = round.filter(({ fate }) => !isMutant(fate));
      drawn = missing.map(({ mutant }) => draw.instead(mutant)).filter((mutant) => mutant !== undefined);
    }
    const sorted = judged.toSorted((left, right) => byPlace(left.mutant, right.mutant));
    return { possible: draw.total, judged: sorted, replaced, control };
  } finally {
    for (const hunter of hunters) hunter.end();
    rmSync(sources, { recursive: true });
  }
}

function byPlace(left: MechanicalMutant, right: MechanicalMutant): number {
  return left.header < right.header
    ? -1
    : left.header > right.header
      ? 1
      : left.at - right.at || left.length - right.length;
}

function jobOf(mutant: MechanicalMutant, text: string, seed: number): HuntJob {
  const { header } = mutant;
  return { header, text: plantMechanical(mutant, text), rounds: roundsOf(header, seed), isControl: false };
}

/** The programs as they are, by both roads. */
async function tryControl(hunters: readonly Hunter[], headers: readonly Header[], seed: number): Promise<Fate> {
  const [first] = headers;
  const [hunter] = hunters;
  if (first === undefined || hunter === undefined) return { kind: 'failed', why: 'no header has a twin' };
  return hunter.ask({ header: first.name, text: first.text, rounds: roundsOf(first.name, seed), isControl: true });
}

/** Each job to the next hunter that is free; the fates in the order of the jobs. */
async function tryAll(
  hunters: readonly Hunter[],
  jobs: readonly HuntJob[],
  onDone: (done: number) => void,
): Promise<readonly Fate[]> {
  const fates: Fate[] = [];
  let next = 0;
  let done = 0;
  const work = async (hunter: Hunter): Promise<void> => {
    for (let at = next++; at < jobs.length; at = next++) {
      fates[at] = await hunter.ask(jobs[at]!);
      onDone(++done);
    }
  };
  await Promise.all(hunters.map(work));
  return fates;
}

/** A process for mutants; another one takes its place where it dies. */
class Hunter {
  private readonly folder: string;
  private child: ChildProcess | undefined;

  constructor(sources: string) {
    this.folder = copySources(sources);
  }

  ask(job: HuntJob): Promise<Fate> {
    const child = (this.child ??= fork(HUNTER, [this.folder], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] }));
    return new Promise((resolve) => {
      const end = (fate: Fate, isOver: boolean): void => {
        clearTimeout(timer);
        child.removeAllListeners();
        if (isOver) this.stop();
        resolve(fate);
      };
      const timer = setTimeout(
        () => end({ kind: 'crash', why: `no answer in ${MUTANT_TIMEOUT_MS / 1000} s` }, true),
        MUTANT_TIMEOUT_MS,
      );
      child.once('message', (fate: Fate) => end(fate, false));
      child.once('exit', (code, signal) => end({ kind: 'crash', why: `ended with ${signal ?? code}` }, true));
      child.send(job);
    });
  }

  private stop(): void {
    this.child?.kill('SIGKILL');
    this.child = undefined;
  }

  /** Ends the process and takes its folder away. */
  end(): void {
    this.stop();
    rmSync(this.folder, { recursive: true });
  }
}
