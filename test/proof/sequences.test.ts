// SPDX-License-Identifier: Apache-2.0
/** Commands in any order: clusters, agents that end, writes that fail, foreign rows and packets, on both twins. */
import { readdirSync, readFileSync } from 'node:fs';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { buildMutant } from '../../cli/mutant.ts';
import { openRig, sequenceSidesOf, startAgent, type Rig } from '../../cli/rig.ts';
import { packetPrograms } from '../../kernel/twin.ts';
import { failureText } from '../../core/result.ts';
import { AgentSide } from '../../proof/sequences/agentside.ts';
import { commandsText, parseCommands } from '../../proof/sequences/commandcase.ts';
import type { Command, ControlCommand } from '../../proof/sequences/commands.ts';
import { mutants } from '../../proof/mutants/mutants.ts';
import type { Mutant } from '../../proof/mutants/plant.ts';
import { findingText } from '../../proof/report.ts';
import { runCommands, Sequence, type SequenceSides } from '../../proof/sequences/sequence.ts';
import { runSequences, sequenceSettings, sumSequences, type SequencesReport } from '../../proof/sequences/sequences.ts';
import { parseCase } from '../../proof/shrink.ts';
import type { Finding } from '../../proof/steps.ts';
import { agentPlants, type AgentPlant } from './agentplants.ts';
import { command as packet, stepsOf, world, type Command as Packet } from './play.ts';
import { commitHash, committedObject } from './rigs.ts';
import { isFull } from '../full.ts';

const COMMANDS = 60_000;
/** A million of each seed, a round each, as the command that repeats one takes them. */
const ROUNDS = isFull ? 17 : 1;
const PLANTED_MAX = 40_000;

function open(seed: number, object: Uint8Array = committedObject()): Rig {
  const rig = openRig({ object, name: 'bpf/tandem.bpf.o', settings: sequenceSettings(seed), programs: packetPrograms });
  if (!rig.ok) throw new Error(failureText(rig.error));
  return rig.value;
}

function sidesOf(rig: Rig, seed: number, plant?: AgentPlant): SequenceSides {
  const sides = sequenceSidesOf(rig, sequenceSettings(seed));
  const start = plant?.start ?? startAgent;
  const twins = { model: rig.datapath, kernel: rig.twin };
  const side = (name: 'model' | 'kernel'): AgentSide =>
    plant?.sides.includes(name) === true ? new AgentSide({ ...rig[name], twin: twins[name], start }) : sides[name];
  return { ...sides, model: side('model'), kernel: side('kernel') };
}

function run(seed: number, most: number, plant?: AgentPlant, object?: Uint8Array): SequencesReport {
  using rig = open(seed, object);
  const sides = sidesOf(rig, seed, plant);
  const report = runSequences({ seed, sides, settings: sequenceSettings(seed), commandsMax: most });
  if (!report.ok) throw new Error(`seed ${seed}: ${failureText(report.error)}`);
  return report.value;
}

/** What a reader of a failing test needs; empty where nothing was found. */
function foundText({ seed, found }: SequencesReport): string {
  if (found === undefined) return '';
  const command = `./tandem verify sequences --seed ${seed} --budget ${found.count}`;
  const text = findingText(found.finding, { command, shortCommand: undefined }, 0);
  return `${text}\n${commandsText({ seed, commands: found.commands })}`;
}

/** Runs a case on new twins, as `verify --case` does. */
function runCase(
  seed: number,
  commands: readonly Command[],
  plant?: AgentPlant,
  object?: Uint8Array,
): Finding | undefined {
  using rig = open(seed, object);
  const found = runCommands(new Sequence(sidesOf(rig, seed, plant)), commands, true);
  if (!found.ok) throw new Error(failureText(found.error));
  return found.value;
}

describe('sequences', () => {
  const first = [1, 2, 3, Number.parseInt(commitHash().slice(0, 8), 16)];
  const seeds = first.flatMap((seed) => Array.from({ length: ROUNDS }, (_, round) => seed + 10 * round));
  const reports: SequencesReport[] = [];

  test.each(seeds)('of seed %i find no difference', (seed) => {
    const report = run(seed, COMMANDS);
    reports.push(report);
    expect(foundText(report)).toBe('');
    expect(report.commands).toBe(COMMANDS);
  });

  test('hold commands of every kind and packets of every fate', () => {
    const { kinds, verdicts } = sumSequences(reports);
    expect(Object.keys(kinds).toSorted()).toEqual(['agent', 'fail', 'foreign', 'packet', 'world']);
    expect(Object.keys(verdicts).toSorted()).toEqual(['drop', 'forward', 'pass', 'refuse', 'reply']);
  });

  test('are repeated by their seed', () => {
    expect(run(11, 5_000)).toEqual(run(11, 5_000));
  });
});

describe('a case that once differed', () => {
  const folder = new URL('found/', import.meta.url);
  /** By file: what the programs said then. */
  const then: readonly (readonly [file: string, fault: Omit<Mutant, 'name' | 'meaning'>])[] = [
    [
      'fingerprint-off-by-one.json',
      {
        file: 'flows.h',
        find: 'x = ~(((x & 0x7fff7fff7fff7fffull) + 0x7fff7fff7fff7fffull) | x) & 0x8000800080008000ull;',
        replace: 'x = (x - 0x0001000100010001ull) & ~x & 0x8000800080008000ull;',
        shows: /^reason$/,
        road: 'packets',
      },
    ],
  ];

  test.each(then)('agrees, and differs with the fault of then: %s', (file, fault) => {
    const read = parseCommands(readFileSync(new URL(file, folder), 'utf8'), file);
    if (!read.ok || read.value === undefined) throw new Error('a case can be read');
    const { seed, commands } = read.value;
    expect(runCase(seed, commands)).toBeUndefined();
    const built = buildMutant({ ...fault, name: file, meaning: file });
    if (!built.ok) throw new Error(failureText(built.error));
    expect(runCase(seed, commands, undefined, built.value)?.field).toMatch(fault.shows);
  });

  test('is here for each file', () => {
    expect(readdirSync(folder).toSorted()).toEqual(then.map(([file]) => file).toSorted());
  });
});

describe('planted faults', () => {
  test.each(agentPlants)('$meaning: found, made short, and repeated by its case', (plant) => {
    const found = [1, 2, 3].map((seed) => run(seed, PLANTED_MAX, plant)).find((report) => report.found !== undefined);
    if (found?.found === undefined) throw new Error('not found');
    const { commands, finding } = found.found;
    expect(finding.field).toMatch(plant.shows);
    expect(commands.length).toBeLessThanOrEqual(8);
    const read = parseCommands(commandsText({ seed: found.seed, commands }), 'memory');
    if (!read.ok || read.value === undefined) throw new Error('a case can be read');
    expect(runCase(found.seed, read.value.commands, plant)).toEqual(finding);
    expect(runCase(found.seed, read.value.commands)).toBeUndefined();
  });

  test('a fault of the programs is found as in a campaign', () => {
    const mutant = mutants.find(({ name }) => name === 'reply-ports-swapped');
    const built = mutant === undefined ? undefined : buildMutant(mutant);
    if (mutant === undefined || built?.ok !== true) throw new Error('the fault can be compiled');
    const { found } = run(5, PLANTED_MAX, undefined, built.value);
    expect(found?.finding.field).toMatch(mutant.shows);
    expect(found?.commands.length).toBeLessThanOrEqual(4);
  });
});

const control: fc.Arbitrary<ControlCommand> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ world }) },
  { weight: 2, arbitrary: fc.record({ world, only: fc.constantFrom('Service' as const, 'EndpointSlice' as const) }) },
  {
    weight: 3,
    arbitrary: fc.record({ agent: fc.constantFrom('restart' as const, 'resync' as const, 'retry' as const) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      fail: fc.record({
        after: fc.nat({ max: 12 }),
        how: fc.constantFrom('full' as const, 'no-memory' as const, 'crash' as const),
      }),
    }),
  },
);

type Small = ControlCommand | Packet;

/** The commands that small ones are; time goes on with what waits. */
function commandsOf(small: readonly Small[]): readonly Command[] {
  const waits: Packet[] = [];
  return small.flatMap((it): readonly Command[] => {
    if (!('kind' in it)) return [it];
    if (it.kind === 'become') return [{ world: it.world }];
    if (it.kind === 'wait') waits.push(it);
    return stepsOf({ services: [] }, it.kind === 'wait' ? [] : [...waits, it]).slice(1) as readonly Command[];
  });
}

describe('small sequences', () => {
  const list = fc.array(fc.oneof({ weight: 2, arbitrary: packet }, control), { maxLength: 24, size: 'max' });

  test('do the same on both twins and end like an agent that begins anew', () => {
    using rig = open(1);
    const sequence = new Sequence(sidesOf(rig, 1));
    const law = fc.property(list, (small) => {
      const found = runCommands(sequence, [...commandsOf(small), { agent: 'heal' }], true);
      if (!found.ok) throw new Error(failureText(found.error));
      if (found.value !== undefined) throw new Error(JSON.stringify(found.value));
    });
    fc.assert(law, { numRuns: isFull ? 5_000 : 300 });
  });
});

describe('a case of commands', () => {
  test('holds worlds, orders, failing writes, foreign rows and packets', () => {
    const commands: readonly Command[] = [
      { world: { services: [] } },
      { world: { services: [] }, only: 'EndpointSlice' },
      { agent: 'restart' },
      { fail: { after: 3, how: 'crash' } },
      { foreign: { kind: 'stranger', pick: 7 } },
    ];
    expect(parseCommands(commandsText({ seed: 9, commands }), 'memory')).toEqual({
      ok: true,
      value: { seed: 9, commands },
    });
  });

  test('is told from one of packets, which is read as ever', () => {
    const old = '{"apiVersion":"tandem/v1alpha1","kind":"VerifyCase","seed":1,"steps":[{"world":{"services":[]}}]}';
    expect(parseCommands(old, 'old.json')).toEqual({ ok: true, value: undefined });
    expect(parseCase(old, 'old.json').ok).toBe(true);
  });

  const broken: readonly (readonly [string, string])[] = [
    ['an unknown order', '{"agent":"sleep"}'],
    ['a write that fails in no known way', '{"fail":{"after":1,"how":"later"}}'],
    ['foreign rows of no known kind', '{"foreign":{"kind":"odd","pick":1}}'],
    ['a world that was told to nobody', '{"world":{"services":[]},"only":"Node"}'],
    ['half a packet', '{"hook":"to-pod","frame":"0","outside":{"now":1}}'],
    ['nothing', '{}'],
  ];
  test.each(broken)('that holds %s is refused by name', (_, command) => {
    const text = `{"apiVersion":"tandem/v1alpha1","kind":"VerifyCase","seed":1,"commands":[${command}]}`;
    const read = parseCommands(text, 'case.json');
    expect(read.ok ? 'read' : [read.error.kind, read.error.object]).toEqual(['input', 'case.json']);
  });
});
