// SPDX-License-Identifier: Apache-2.0
/** `tandem demo`: two nodes on this machine, a rolling update, and both twins over everything that was captured. */
import { checkMachine, thisMachine } from '../lab/requirements.ts';
import type { CommandRun } from './commands.ts';
import { endOnSignal } from './endonsignal.ts';
import { printJson, printText, reportFailure } from './output.ts';

export const run: CommandRun = async (_args, options) => {
  const machine = checkMachine(thisMachine());
  if (!machine.ok) return reportFailure({ ...machine.error, object: 'demo' });
  const { runDemo } = await import('./demo/run.ts');
  const { reportText } = await import('./demo/report.ts');
  const json = options['output'] === 'json';
  const seed = typeof options['seed'] === 'number' ? options['seed'] : crypto.getRandomValues(new Uint32Array(1))[0];
  const say = (phase: string, line: string): void => {
    if (!json) printText(`${phase.padEnd(12)} ${line}`);
  };
  const labName = `demo${process.pid}`;
  const done = await runDemo({ seed: seed ?? 0, labName, say, onLab: endOnSignal });
  if (!done.ok) return reportFailure(done.error);
  if (json) printJson(done.value);
  else printText(reportText(done.value));
  return done.value.exitCode;
};
