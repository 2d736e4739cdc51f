// SPDX-License-Identifier: Apache-2.0
/** `tandem verify mutants --control`: what the scenarios and laws of the control plane find of faults planted into it. */
import { randomInt } from 'node:crypto';
import { fail } from '../core/result.ts';
import { controlText, isKilled, isTrusted, killerText, type ControlReport } from '../proof/control/fates.ts';
import { controlFaults } from '../proof/control/faults/faults.ts';
import { argued } from '../proof/control/survivors.ts';
import type { CommandOptions } from './commands.ts';
import { runControl } from './controlmutants.ts';
import { exitCode, printJson, printText, reportFailure, startProgress } from './output.ts';

const SEED_MAX = 2 ** 31;

/** The written faults, or with `--mechanical` so many small changes drawn by the seed. Needs no root. */
export async function verifyControl(what: string | undefined, options: CommandOptions): Promise<number> {
  const count = options['mechanical'];
  if (what !== 'mutants') {
    return reportFailure(fail('usage', '--control', 'goes with mutants', 'verify mutants --control').error);
  }
  if (count === 0) {
    const remedy = 'verify mutants --control --mechanical 200';
    return reportFailure(fail('usage', '--mechanical 0', 'mutants are counted from 1', remedy).error);
  }
  // That Node's stripping of types is experimental is nothing to tell who waits for mutants.
  process.removeAllListeners('warning');
  const given = options['seed'];
  const seed = typeof given === 'number' ? given : randomInt(SEED_MAX);
  const progress = startProgress();
  const report = await runControl({
    faults: typeof count === 'number' ? [] : controlFaults,
    count: typeof count === 'number' ? count : 0,
    seed,
    onProgress: (done, of) => progress.update(`${done} of ${of} mutants`),
  });
  progress.done();
  if (report.control.kind !== 'survives') {
    const why = `the tests fail without any fault: ${killerText(report.control)}`;
    return reportFailure(fail('environment', 'verify mutants', why, 'tandem test unit').error);
  }
  if (options['output'] === 'json') printJson(summaryOf(report));
  else printText(controlText(report, argued));
  return isTrusted(report, argued) ? exitCode.agreed : exitCode.harnessBroken;
}

function summaryOf({ faults, drawn, seed }: ControlReport): object {
  const survivors = [
    ...faults.filter(({ fate }) => !isKilled(fate)).map(({ fault }) => fault.name),
    ...drawn.filter(({ fate }) => !isKilled(fate)).map(({ mutant }) => mutant.key),
  ];
  return { kind: 'VerifyMutants', seed, mutants: faults.length + drawn.length, survivors };
}
