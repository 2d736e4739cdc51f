// SPDX-License-Identifier: Apache-2.0
/** `tandem verify --case` of a recording: its events and packets through both twins. */
import type { Result } from '../core/result.ts';
import { Bench, isPacketStep, runSteps, type StepsReport } from '../proof/steps.ts';
import { reportFailure } from './output.ts';
import { recordedSettings, type RecordedCase } from './recordedcase.ts';
import { openRig } from './rig.ts';
import { reportCase, type Wanted } from './verify.ts';

/** Tables as large as a node's are compared after each of so many packets, and now and then in longer cases. */
const EVERY_STEP_MAX = 1_000;

export function verifyRecorded(wanted: Wanted, path: string, recorded: RecordedCase): number {
  const report = runRecorded(wanted, recorded);
  if (!report.ok) return reportFailure(report.error);
  const { finding, packets } = report.value;
  return reportCase(wanted, path, finding, { seed: recorded.seed, packets });
}

function runRecorded({ bytes, object }: Wanted, recorded: RecordedCase): Result<StepsReport> {
  const settings = recordedSettings(recorded);
  if (!settings.ok) return settings;
  const opened = openRig({ object: bytes, name: object, settings: settings.value, node: recorded.node });
  if (!opened.ok) return opened;
  using sides = opened.value;
  const everyStep = recorded.steps.filter(isPacketStep).length <= EVERY_STEP_MAX;
  return runSteps(new Bench(sides), recorded.steps, everyStep);
}
