// SPDX-License-Identifier: Apache-2.0
/** Looks for a fault that was compiled into an object: campaign after campaign, until one differs or the budget ends. */
import { openSockets } from '../kernel/sockets.ts';
import { ok, type Result } from '../core/result.ts';
import { runCampaign } from '../proof/campaign.ts';
import { settingsOf } from '../proof/settings.ts';
import { runSockets } from '../proof/sockets/sockets.ts';
import type { Mutant } from '../proof/mutants/plant.ts';
import type { Finding } from '../proof/steps.ts';
import { buildMutant } from './mutant.ts';
import { packetPrograms } from '../kernel/twin.ts';
import { openRig } from './rig.ts';

/** One campaign: packets, or connect() calls, of a seed. */
export type HuntRound = { readonly road: 'packets' | 'sockets'; readonly seed: number; readonly count: number };

/** What was found after how many packets or calls of all rounds; `steps`: of the shortest known case, packets only. */
export type Hunted = {
  /** Of the round that found it, else of the last one. */
  readonly seed: number;
  readonly packets: number;
  readonly finding: Finding | undefined;
  readonly steps: number | undefined;
};

export type HuntOptions = {
  readonly bytes: Uint8Array;
  /** Stands for the object in Failures. */
  readonly name: string;
  readonly rounds: readonly HuntRound[];
};

/** Runs the rounds in order. The object is loaded anew for each: settings belong to a seed. */
export function huntObject({ bytes, name, rounds }: HuntOptions): Result<Hunted> {
  let packets = 0;
  for (const round of rounds) {
    const programs = round.road === 'packets' ? { programs: packetPrograms } : {};
    const rig = openRig({ object: bytes, name, settings: settingsOf(round.seed), ...programs });
    if (!rig.ok) return rig;
    using sides = rig.value;
    const done = round.road === 'packets' ? packetRound(round, sides) : socketRound(round, sides);
    if (!done.ok) return done;
    packets += done.value.packets;
    if (done.value.finding !== undefined) return ok({ ...done.value, packets });
  }
  return ok({ seed: rounds.at(-1)?.seed ?? 0, packets, finding: undefined, steps: undefined });
}

type Opened = Extract<ReturnType<typeof openRig>, { ok: true }>['value'];

function packetRound({ seed, count }: HuntRound, sides: Opened): Result<Hunted> {
  const report = runCampaign({ seed, sides, settings: settingsOf(seed), packetsMax: count });
  if (!report.ok) return report;
  const { packets, found } = report.value;
  return ok({ seed, packets, finding: found?.finding, steps: found?.steps.length });
}

function socketRound({ seed, count }: HuntRound, sides: Opened): Result<Hunted> {
  const opened = openSockets(sides.object);
  if (!opened.ok) return opened;
  using sockets = opened.value;
  const report = runSockets({ seed, sides, datapath: sides.datapath, sockets, callsMax: count });
  if (!report.ok) return report;
  return ok({ seed, packets: report.value.calls, finding: report.value.finding, steps: undefined });
}

const MUTANT_PACKETS = 20_000;
const MUTANT_CALLS = 2_000;
const MUTANT_SEEDS = 6;

/** What became of one planted fault. */
export type MutantResult = { readonly mutant: Mutant; readonly packets: number; readonly finding: Finding | undefined };

/** Compiles a fault and looks for it with several seeds; packets or calls needed are counted over all of them. */
export function huntMutant(mutant: Mutant, firstSeed: number): Result<MutantResult> {
  const bytes = buildMutant(mutant);
  if (!bytes.ok) return bytes;
  const { road, name } = mutant;
  const count = road === 'packets' ? MUTANT_PACKETS : MUTANT_CALLS;
  const rounds = Array.from({ length: MUTANT_SEEDS }, (_, index) => ({ road, seed: firstSeed + index, count }));
  const hunted = huntObject({ bytes: bytes.value, name: `${name}.o`, rounds });
  return hunted.ok ? ok({ mutant, packets: hunted.value.packets, finding: hunted.value.finding }) : hunted;
}
