// SPDX-License-Identifier: Apache-2.0
/** Small worlds and commands by fast-check: what differs is shrunk to the commands that matter. */
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { buildMutant } from '../../cli/mutant.ts';
import type { Rig } from '../../cli/rig.ts';
import { failureText } from '../../core/result.ts';
import { mutants } from '../../proof/mutants.ts';
import { Bench, runSteps, type Finding, type Step } from '../../proof/steps.ts';
import { command, stepsOf, world } from './play.ts';
import { isFull, rigOf } from './rigs.ts';

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

describe('worlds and commands', () => {
  test('both twins do the same, whatever happens in whatever order', () => {
    using rig = rigOf(SETTINGS_SEED);
    const law = fc.property(world, commands, (first, list) => {
      const finding = findingOf(rig, stepsOf(first, list));
      if (finding !== undefined) throw new Error(findingLine(finding));
    });
    // A failure prints the seed and the path of fast-check, and the counterexample with the finding.
    fc.assert(law, { numRuns });
  });

  test('a planted fault is shrunk to the few commands that show it', () => {
    const mutant = mutants.find(({ name }) => name === 'fin-not-told-other');
    const object = mutant === undefined ? undefined : buildMutant(mutant);
    if (object?.ok !== true) throw new Error('the fault can be compiled');
    using rig = rigOf(SETTINGS_SEED, object.value);
    const law = fc.property(world, commands, (first, list) => findingOf(rig, stepsOf(first, list)) === undefined);
    const checked = fc.check(law, { numRuns: 300, seed: 1 });
    expect(checked.failed).toBe(true);
    const [first, list] = checked.counterexample ?? [];
    if (first === undefined || list === undefined) throw new Error('a failed check has a counterexample');
    expect(list.filter(({ kind }) => kind !== 'become').length).toBeLessThanOrEqual(2);
    for (const left of list.map((one) => list.filter((it) => it !== one)))
      expect(findingOf(rig, stepsOf(first, left)), 'every command is needed').toBeUndefined();
    expect(findingOf(rig, stepsOf(first, list))?.field).toMatch(/^(writes|trace|flows)/);
  });
});
