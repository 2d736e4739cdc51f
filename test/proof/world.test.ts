// SPDX-License-Identifier: Apache-2.0
/** Small worlds and commands by fast-check: what differs is shrunk to the commands that matter. */
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { buildMutant } from '../../cli/mutant.ts';
import type { Rig } from '../../cli/rig.ts';
import { failureText } from '../../core/result.ts';
import { mutants } from '../../proof/mutants/mutants.ts';
import { caseText, parseCase } from '../../proof/shrink.ts';
import { Bench, runSteps, type Finding, type Step } from '../../proof/steps.ts';
import { command, stepsOf, world } from './play.ts';
import { rigOf } from './rigs.ts';
import { isFull } from '../full.ts';

const SETTINGS_SEED = 1;
const numRuns = isFull ? 5_000 : 300;
const commands = fc.array(command, { maxLength: 40, size: 'max' });

function findingOf(rig: Rig, steps: readonly Step[]): Finding | undefined {
  const report = runSteps(new Bench(rig), steps, true);
  if (!report.ok) throw new Error(failureText(report.error));
  return report.value.finding;
}

function findingLine({ service, packet, field, model, kernel }: Finding): string {
  return `${service}: ${packet}: ${field}: model ${model}, kernel ${kernel}`;
}

/** Faults of each kind of packet, the most commands that are left of a failing list, and what is among them. */
const planted: readonly { readonly name: string; readonly most: number; readonly kinds: readonly string[] }[] = [
  { name: 'fin-not-told-other', most: 2, kinds: ['client'] },
  { name: 'answer-not-noted', most: 2, kinds: ['client', 'backend'] },
  { name: 'quoted-ports-stale', most: 2, kinds: ['client', 'about-client'] },
  { name: 'later-transport-touched', most: 2, kinds: ['client'] },
  { name: 'fragment-not-kept', most: 2, kinds: ['client', 'backend'] },
];

describe('worlds and commands', () => {
  test('both twins do the same, whatever happens in whatever order', () => {
    using rig = rigOf(SETTINGS_SEED);
    const law = fc.property(world, commands, (first, list) => {
      const finding = findingOf(rig, stepsOf(first, list));
      if (finding === undefined) return;
      const text = caseText({ seed: SETTINGS_SEED, steps: stepsOf(first, list) });
      throw new Error(`${findingLine(finding)}\n${text}`);
    });
    // A failure prints the seed and the path of fast-check, and the counterexample with the finding.
    fc.assert(law, { numRuns });
  });

  test.each(planted)('the planted fault $name is shrunk to the few commands that show it', ({ name, most, kinds }) => {
    const mutant = mutants.find((it) => it.name === name);
    const object = mutant === undefined ? undefined : buildMutant(mutant);
    if (mutant === undefined || object?.ok !== true) throw new Error('the fault can be compiled');
    using rig = rigOf(SETTINGS_SEED, object.value);
    const law = fc.property(world, commands, (first, list) => findingOf(rig, stepsOf(first, list)) === undefined);
    const checked = fc.check(law, { numRuns: 300, seed: 1 });
    expect(checked.failed).toBe(true);
    const [first, list] = checked.counterexample ?? [];
    if (first === undefined || list === undefined) throw new Error('a failed check has a counterexample');
    expect(list.filter(({ kind }) => kind !== 'become').length).toBeLessThanOrEqual(most);
    expect(list.map(({ kind }) => kind)).toEqual(expect.arrayContaining([...kinds]));
    for (const left of list.map((one) => list.filter((it) => it !== one)))
      expect(findingOf(rig, stepsOf(first, left)), 'every command is needed').toBeUndefined();
    const found = findingOf(rig, stepsOf(first, list));
    expect(found?.field).toMatch(mutant.shows);
    // As a file it stands alone: it shows the same on twins that never saw the commands, and nothing without the fault.
    const read = parseCase(caseText({ seed: SETTINGS_SEED, steps: stepsOf(first, list) }), 'memory');
    if (!read.ok) throw new Error(failureText(read.error));
    using other = rigOf(read.value.seed, object.value);
    expect(findingOf(other, read.value.steps)).toEqual(found);
    using sound = rigOf(read.value.seed);
    expect(findingOf(sound, read.value.steps)).toBeUndefined();
  });
});
