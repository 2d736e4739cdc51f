// SPDX-License-Identifier: Apache-2.0
/** Sequence after sequence of commands drawn by a seed, until the budget ends or something differs. */
import { reasonNames, verdictNames } from '../../core/layout.gen.ts';
import { createStream, type Stream } from '../../core/random.ts';
import { ok, type Result } from '../../core/result.ts';
import { shrinkCommands, type ShrunkCommands } from './commandcase.ts';
import { Commands, isPacket, type Command, type WorldCommand } from './commands.ts';
import { Traffic } from '../traffic/packets.ts';
import { runCommands, Sequence, type SequenceSides } from './sequence.ts';
import { settingsOf, type Settings } from '../settings.ts';
import type { Finding } from '../steps.ts';
import type { World } from '../world.ts';

/** A case is never longer. */
export const SEQUENCE_COMMANDS = 1024;

/** Small maps: numbers are used again, and now and then there is no room. */
export function sequenceSettings(seed: number): Settings {
  const settings = settingsOf(seed);
  const backends = createStream(seed, 5).pick([128, 1024, 1024, 1024]);
  return { ...settings, sizes: { ...settings.sizes, frontends: 128, services: 128, slotPairs: 1024, backends } };
}

export type SequencesOptions = {
  /** With the budget it repeats the run. */
  readonly seed: number;
  readonly sides: SequenceSides;
  readonly settings: Pick<Settings, 'lifetimes' | 'isComplete'>;
  /** Commands to run at most. */
  readonly commandsMax: number;
  /** Asked once per sequence with what has been done: false ends the run. */
  readonly goesOn?: (commands: number) => boolean;
};

export type SequencesReport = {
  readonly seed: number;
  readonly commands: number;
  readonly sequences: number;
  /** Commands by kind: packet, world, agent, fail, foreign. */
  readonly kinds: Readonly<Record<string, number>>;
  readonly verdicts: Readonly<Record<string, number>>;
  readonly reasons: Readonly<Record<string, number>>;
  readonly found: FoundCommands | undefined;
};

/** A difference, its shortest known commands, and the command of the run at which it was seen, from 1. */
export type FoundCommands = ShrunkCommands & { readonly count: number };

export function runSequences(options: SequencesOptions): Result<SequencesReport> {
  return new Sequences(options).run();
}

class Sequences {
  private readonly options: SequencesOptions;
  private readonly sequence: Sequence;
  private readonly tallies = {
    kinds: new Map<string, number>(),
    verdicts: new Map<string, number>(),
    reasons: new Map<string, number>(),
  };
  private count = 0;
  private sequences = 0;

  constructor(options: SequencesOptions) {
    this.options = options;
    this.sequence = new Sequence(options.sides);
  }

  run(): Result<SequencesReport> {
    const { commandsMax, goesOn } = this.options;
    while (this.count < commandsMax && goesOn?.(this.count) !== false) {
      const found = this.one(createStream(this.options.seed, 4, this.sequences));
      if (!found.ok) return found;
      this.sequences += 1;
      if (found.value !== undefined) return ok(this.report(found.value));
    }
    return ok(this.report(undefined));
  }

  private report(found: FoundCommands | undefined): SequencesReport {
    const { kinds, verdicts, reasons } = this.tallies;
    return {
      seed: this.options.seed,
      commands: this.count,
      sequences: this.sequences,
      kinds: Object.fromEntries(kinds),
      verdicts: Object.fromEntries(verdicts),
      reasons: Object.fromEntries(reasons),
      found,
    };
  }

  private one(stream: Stream): Result<FoundCommands | undefined> {
    const clean = this.sequence.reset();
    if (!clean.ok) return clean;
    const commands: Command[] = [];
    const drawn = new Commands(stream);
    const first = drawn.first();
    let { world } = first;
    const now = stream.pick([1000, 2 ** 31 - 300, 2 ** 32 - 500, stream.word()]);
    const traffic = new Traffic({ stream, world, now, ...this.options.settings });
    for (let index = 0; index < SEQUENCE_COMMANDS && this.count < this.options.commandsMax; index++) {
      const control = this.control(index, first, drawn, world);
      const command: Command = control ?? traffic.next();
      if ('world' in command) traffic.change((world = command.world));
      commands.push(command);
      this.count += 1;
      const finding = this.sequence.do(command, index, false);
      if (!finding.ok) return finding;
      if (finding.value !== undefined) return this.found(commands, finding.value);
      this.tally(command, traffic);
    }
    return this.end(commands);
  }

  /** A sequence begins with a cluster and ends with everything well. */
  private control(index: number, first: WorldCommand, drawn: Commands, world: World): Command | undefined {
    if (index === 0) return first;
    return index === SEQUENCE_COMMANDS - 1 ? { agent: 'heal' } : drawn.next(world);
  }

  private tally(command: Command, traffic: Traffic): void {
    const { kinds, verdicts, reasons } = this.tallies;
    const [kind = 'packet'] = isPacket(command) ? [] : Object.keys(command);
    add(kinds, kind);
    if (!isPacket(command)) return;
    const { model } = this.sequence.bench.outcomes;
    add(verdicts, verdictNames[model.verdict] ?? '');
    add(reasons, reasonNames[model.reason] ?? '');
    traffic.learn(model);
  }

  /** After a sequence: every map entry to the byte, counters and marks. */
  private end(commands: readonly Command[]): Result<FoundCommands | undefined> {
    const difference = this.sequence.bench.rest();
    if (!difference.ok) return difference;
    if (difference.value === undefined) return ok(undefined);
    const finding = { ...difference.value, service: 'all', packet: 'end of the sequence', step: commands.length - 1 };
    return this.found(commands, finding);
  }

  private found(commands: readonly Command[], finding: Finding): Result<FoundCommands> {
    const count = this.count;
    const again = runCommands(this.sequence, commands, true);
    if (!again.ok) return again;
    if (again.value === undefined) return ok({ commands, finding, count });
    const shrunk = shrinkCommands(this.sequence, commands, again.value);
    return shrunk.ok ? ok({ ...shrunk.value, count }) : shrunk;
  }
}

function add(counts: Map<string, number>, name: string, by = 1): void {
  counts.set(name, (counts.get(name) ?? 0) + by);
}

/** Reports of several runs as one. */
export function sumSequences(reports: readonly SequencesReport[]): SequencesReport {
  const [first] = reports;
  if (first === undefined) throw new Error('assertion failed: at least one run');
  const sum = (of: (report: SequencesReport) => Readonly<Record<string, number>>): Record<string, number> => {
    const counts = new Map<string, number>();
    for (const report of reports) for (const [name, count] of Object.entries(of(report))) add(counts, name, count);
    return Object.fromEntries(counts);
  };
  return {
    seed: first.seed,
    commands: reports.reduce((total, { commands }) => total + commands, 0),
    sequences: reports.reduce((total, { sequences }) => total + sequences, 0),
    kinds: sum(({ kinds }) => kinds),
    verdicts: sum(({ verdicts }) => verdicts),
    reasons: sum(({ reasons }) => reasons),
    found: reports.find(({ found }) => found !== undefined)?.found,
  };
}
