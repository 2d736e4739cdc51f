// SPDX-License-Identifier: Apache-2.0
/** A campaign: one episode after the other of traffic against a changing cluster, on both twins, until they differ. */
import { markNames, reasonNames, verdictNames } from '../core/layout.gen.ts';
import { ok, type Result } from '../core/result.ts';
import type { PacketHook } from '../core/twin.ts';
import { compareTables } from './compare.ts';
import { faultKinds } from './faults.ts';
import { Traffic, type PacketStep } from './traffic/packets.ts';
import { Bench, isPacketStep, judgePacket, runSteps, type Finding, type Sides, type Step } from './steps.ts';
import { shrinkSteps, type Shrunk } from './shrink.ts';
import type { Settings } from './settings.ts';
import { createStream, type Stream } from '../core/random.ts';
import { changeWorld, randomWorld, type World } from './world.ts';

/** Packets of an episode: it begins with no flows and a new cluster, so a case is never longer. */
export const EPISODE_PACKETS = 4096;
const TABLES_EVERY = 256;
const WORLD_CHANGE_CHANCE = 1 / 250;
const FAULT_CHANCE = 1 / 300;

export type CampaignOptions = {
  /** A safe integer; with the packet budget it repeats the run. */
  readonly seed: number;
  readonly sides: Sides;
  /** Packets to run at most. */
  readonly packetsMax: number;
  /** With which the twins were made. */
  readonly settings: Pick<Settings, 'lifetimes' | 'isComplete'>;
  /** Judge the packets of this hook only. */
  readonly hook?: PacketHook | undefined;
  /** Asked once per 256 packets with what has been done: false ends the campaign. */
  readonly goesOn?: (packets: number) => boolean;
  /** Without it a finding keeps all steps of its episode. */
  readonly shrinks?: boolean;
};

export type CampaignReport = {
  readonly seed: number;
  readonly packets: number;
  readonly worlds: number;
  /** How often each verdict and each reason was given, by name. */
  readonly verdicts: Readonly<Record<string, number>>;
  readonly reasons: Readonly<Record<string, number>>;
  /** Marks of the packet road that no packet reached. */
  readonly unreached: readonly string[];
  readonly found: Found | undefined;
};

/** A difference, its shortest known steps, and the packet of the campaign at which it was seen, from 1. */
export type Found = Shrunk & { readonly packets: number };

/** Marks that no packet can reach: those of the socket road. */
export function isSocketMark(mark: number): boolean {
  return /^(socket|peer|affinity)-/.test(markNames[mark] ?? '');
}

/** Runs until the budget is used up or the sides differ. */
export function runCampaign(options: CampaignOptions): Result<CampaignReport> {
  return new Campaign(options).run();
}

class Campaign {
  private readonly options: CampaignOptions;
  private readonly bench: Bench;
  private readonly verdicts: number[] = verdictNames.map(() => 0);
  private readonly reasons: number[] = reasonNames.map(() => 0);
  private packets = 0;
  private worlds = 0;
  private isOver = false;

  constructor(options: CampaignOptions) {
    this.options = options;
    this.bench = new Bench(options.sides, { hook: options.hook });
  }

  run(): Result<CampaignReport> {
    for (let episode = 0; !this.isOver; episode++) {
      const found = this.episode(episode);
      if (!found.ok) return found;
      if (found.value !== undefined) return ok(this.report(found.value));
    }
    return ok(this.report(undefined));
  }

  private report(found: Found | undefined): CampaignReport {
    const named = (names: readonly string[], counts: readonly number[]): Record<string, number> =>
      Object.fromEntries(names.map((name, at) => [name, counts[at] ?? 0] as const).filter(([, count]) => count > 0));
    const marks = this.options.sides.model.marks();
    const unreached = markNames.filter((_, mark) => mark > 0 && marks[mark] === 0 && !isSocketMark(mark));
    return {
      seed: this.options.seed,
      packets: this.packets,
      worlds: this.worlds,
      verdicts: named(verdictNames, this.verdicts),
      reasons: named(reasonNames, this.reasons),
      unreached,
      found,
    };
  }

  private episode(episode: number): Result<Found | undefined> {
    const stream = createStream(this.options.seed, 2, episode);
    const steps: Step[] = [];
    const clean = this.bench.reset();
    if (!clean.ok) return clean;
    const world = randomWorld(stream);
    const told = this.tell(steps, world);
    if (!told.ok) return told;
    // Near the places where the clock's numbers wrap.
    const now = stream.pick([1000, 2 ** 31 - 300, 2 ** 32 - 500, stream.word()]);
    const traffic = new Traffic({ stream, world, now, ...this.options.settings });
    for (let count = 1; count <= EPISODE_PACKETS && !this.isOver; count++) {
      const found = this.step(stream, traffic, steps);
      if (!found.ok || found.value !== undefined) return found;
    }
    return this.end(steps);
  }

  private tell(steps: Step[], world: World): Result<void> {
    this.worlds++;
    steps.push({ world });
    return this.bench.tell(world);
  }

  private step(stream: Stream, traffic: Traffic, steps: Step[]): Result<Found | undefined> {
    const prepared = this.disturb(stream, traffic, steps);
    if (!prepared.ok) return prepared;
    const step = traffic.next();
    steps.push(step);
    this.packets++;
    const finding = judgePacket(this.bench, step, steps.length - 1, false);
    if (!finding.ok) return finding;
    if (finding.value !== undefined) return this.found(steps, finding.value);
    const { model } = this.bench.outcomes;
    this.verdicts[model.verdict]! += 1;
    this.reasons[model.reason]! += 1;
    traffic.learn(model);
    return this.packets % TABLES_EVERY === 0 || this.packets === this.options.packetsMax
      ? this.checkpoint(steps, step)
      : ok(undefined);
  }

  /** Now and then the cluster changes, or a write to the maps is lost. */
  private disturb(stream: Stream, traffic: Traffic, steps: Step[]): Result<void> {
    if (stream.chance(WORLD_CHANGE_CHANCE)) {
      traffic.change(changeWorld(stream, traffic.world));
      return this.tell(steps, traffic.world);
    }
    if (!stream.chance(FAULT_CHANCE)) return ok(undefined);
    const fault = { kind: stream.pick(faultKinds), pick: stream.below(1000) };
    steps.push({ fault });
    return this.bench.fault(fault);
  }

  /** Every 256 packets the whole flow tables, and the question whether to go on. */
  private checkpoint(steps: readonly Step[], step: PacketStep): Result<Found | undefined> {
    const { packetsMax, goesOn, sides } = this.options;
    this.isOver = this.packets >= packetsMax || goesOn?.(this.packets) === false;
    const difference = compareTables(sides.model.twin.flowMemory(), sides.kernel.twin.flowMemory());
    if (difference === undefined) return ok(undefined);
    return this.found(steps, this.bench.finding(difference, step, steps.length - 1));
  }

  /** After an episode: map entries, counters and marks. */
  private end(steps: readonly Step[]): Result<Found | undefined> {
    const difference = this.bench.rest();
    if (!difference.ok) return difference;
    const last = steps.at(-1);
    if (difference.value === undefined || last === undefined || !isPacketStep(last)) return ok(undefined);
    const finding = this.bench.finding(difference.value, last, steps.length - 1);
    return ok({ steps, finding, packets: this.packets });
  }

  /**
   * The packet at which tables first differ is looked for by running the episode again, with a comparison after every
   * packet; then the steps are made fewer.
   */
  private found(steps: readonly Step[], finding: Finding): Result<Found> {
    const again = runSteps(this.bench, steps, true);
    if (!again.ok) return again;
    const precise = again.value.finding ?? finding;
    const isRepeated = again.value.finding !== undefined;
    if (this.options.shrinks === false || !isRepeated) return ok({ steps, finding: precise, packets: this.packets });
    const shrunk = shrinkSteps(this.bench, steps, precise);
    return shrunk.ok ? ok({ ...shrunk.value, packets: this.packets }) : shrunk;
  }
}
