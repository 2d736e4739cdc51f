// SPDX-License-Identifier: Apache-2.0
/** `tandem verify mutants --mechanical N`: draws small changes of the twinned headers, tries each, prints who found it. */
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isMutant, type Fate, type Judged, type MechanicalReport } from '../proof/mutants/fates.ts';
import { Draw, plantMechanical, type Header, type MechanicalMutant } from '../proof/mutants/mechanical.ts';
import type { HuntRound } from './hunt.ts';
import type { HuntJob } from './hunter.ts';
import { Hunter, tryAll } from './hunters.ts';
import { copySources, SOURCES } from './mutant.ts';

const MODEL = fileURLToPath(new URL('../core/datapath', import.meta.url));
const HUNTERS_MAX = 2;

/** Headers whose decisions only connect() and its like reach. */
const SOCKET_HEADERS: ReadonlySet<string> = new Set(['connect.h']);
/**
 * The same campaigns for every draw, so that what becomes of a mutant depends on the code alone. Short rounds first:
 * most are found at once, and each seed has other settings.
 */
const FIRST_SEED = 1;
const PACKET_ROUNDS = [...Array.from({ length: 5 }, () => 2_000), ...Array.from({ length: 6 }, () => 8_400)];
const CALL_ROUNDS = [4_000, 4_000, 4_000];

const socketRounds = CALL_ROUNDS.map((count, index) => ({ road: 'sockets', seed: FIRST_SEED + index, count }) as const);
const packetRounds = PACKET_ROUNDS.map(
  (count, index) => ({ road: 'packets', seed: FIRST_SEED + index, count }) as const,
);

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

/** What a mutant of this header must survive. Sockets may show what packets don't, the other way round they can't. */
export function roundsOf(header: string): readonly HuntRound[] {
  return SOCKET_HEADERS.has(header) ? socketRounds : [...packetRounds, ...socketRounds.slice(0, 1)];
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
    const control = await tryControl(hunters, headers);
    const judged: Judged[] = [];
    const replaced = { uncompiled: 0, same: 0 };
    // Campaigns that differ by themselves would find everything.
    const isClean = control.kind === 'hunted' && control.finding === undefined;
    let drawn = Array.from({ length: isClean ? count : 0 }, () => draw.next()).filter((mutant) => mutant !== undefined);
    while (drawn.length > 0) {
      const jobs = drawn.map((mutant) => jobOf(mutant, texts.get(mutant.header) ?? ''));
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

function jobOf(mutant: MechanicalMutant, text: string): HuntJob {
  const { header } = mutant;
  return { header, text: plantMechanical(mutant, text), rounds: roundsOf(header), isControl: false };
}

/** The programs as they are, in every campaign that is run for a mutant. */
async function tryControl(hunters: readonly Hunter[], headers: readonly Header[]): Promise<Fate> {
  const [first] = headers;
  const [hunter] = hunters;
  if (first === undefined || hunter === undefined) return { kind: 'failed', why: 'no header has a twin' };
  const rounds = [...packetRounds, ...socketRounds];
  return hunter.ask({ header: first.name, text: first.text, rounds, isControl: true });
}
