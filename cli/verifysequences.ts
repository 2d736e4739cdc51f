// SPDX-License-Identifier: Apache-2.0
/** `tandem verify sequences`: packets while agents end, fail and find foreign rows, on both twins beside a fresh agent. */
import { ok, type Result } from '../core/result.ts';
import { commandsText, type CommandCase } from '../proof/sequences/commandcase.ts';
import { findingText, sequencesText } from '../proof/report.ts';
import { runCommands, Sequence } from '../proof/sequences/sequence.ts';
import { runSequences, sequenceSettings, sumSequences, type SequencesReport } from '../proof/sequences/sequences.ts';
import { exitCode, printJson, printNote, printText, reportFailure, startProgress } from './output.ts';
import { packetPrograms } from '../kernel/twin.ts';
import { openRig, sequenceSidesOf } from './rig.ts';
import { commandOf, keepCase, reportCase, type Wanted } from './verify.ts';

/** Commands of one seed; then the next seed, with other settings. */
const ROUND_COMMANDS = 65_536;

export async function verifySequences(wanted: Wanted): Promise<number> {
  if (!wanted.isJson) printNote(`seed ${wanted.seed}, object ${wanted.object}`);
  const reports = runRounds(wanted);
  if (!reports.ok) return reportFailure(reports.error);
  const last = reports.value.at(-1);
  if (last?.found !== undefined) return reportFound(wanted, last.seed, last.found);
  const { found: _none, ...sum } = sumSequences(reports.value);
  if (wanted.isJson) printJson({ kind: 'VerifySummary', ...sum });
  else {
    printText(sequencesText(sum));
    printNote(`seed ${wanted.seed}`);
  }
  return exitCode.agreed;
}

/** Round after round, a seed each, until one finds something or the budget ends. */
function runRounds(wanted: Wanted): Result<readonly SequencesReport[]> {
  const { budget, bytes, object } = wanted;
  const progress = startProgress();
  const endsAtMs = performance.now() + budget.durationMs;
  const reports: SequencesReport[] = [];
  let done = 0;
  for (let seed = wanted.seed; done < budget.packets && performance.now() < endsAtMs; seed++) {
    const settings = sequenceSettings(seed);
    const opened = openRig({ object: bytes, name: object, settings, programs: packetPrograms });
    if (!opened.ok) return opened;
    using rig = opened.value;
    const report = runSequences({
      seed,
      sides: sequenceSidesOf(rig, settings),
      settings,
      commandsMax: Math.min(ROUND_COMMANDS, budget.packets - done),
      goesOn: (commands) => {
        progress.update(`${(done + commands).toLocaleString('en')} commands, seed ${seed}`);
        return performance.now() < endsAtMs;
      },
    });
    if (!report.ok) return report;
    reports.push(report.value);
    done += report.value.commands;
    if (report.value.found !== undefined) break;
  }
  progress.done();
  return ok(reports);
}

function reportFound(wanted: Wanted, seed: number, found: NonNullable<SequencesReport['found']>): number {
  const { commands, count, finding } = found;
  const text = commandsText({ seed, commands });
  const file = keepCase(seed, text);
  const repeat = {
    command: commandOf(wanted, `sequences --seed ${seed} --budget ${count}`),
    shortCommand: file === undefined ? undefined : commandOf(wanted, `--case ${file}`),
  };
  if (wanted.isJson) printJson({ kind: 'VerifyFinding', finding, repeat, case: JSON.parse(text) as unknown });
  else printText(findingText(finding, repeat, commands.length));
  return exitCode.twinsDiffer;
}

/** Runs the commands of a file. */
export async function verifyCommands(wanted: Wanted, path: string, { seed, commands }: CommandCase): Promise<number> {
  const settings = sequenceSettings(seed);
  const opened = openRig({ object: wanted.bytes, name: wanted.object, settings, programs: packetPrograms });
  if (!opened.ok) return reportFailure(opened.error);
  using rig = opened.value;
  const found = runCommands(new Sequence(sequenceSidesOf(rig, settings)), commands, true);
  if (!found.ok) return reportFailure(found.error);
  return reportCase(wanted, path, found.value, { seed, commands: commands.length });
}
