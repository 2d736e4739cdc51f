// SPDX-License-Identifier: Apache-2.0
/** `node cli/incidents/record.ts FOLDER [NAME...]`: plays the incidents in labs and writes their recordings. Needs root. */
import { join } from 'node:path';
import { fail, failureText, ok, type Result } from '../../core/result.ts';
import { startLab } from '../../lab/lab.ts';
import { twoNodes } from '../../lab/twonodes.ts';
import { mutants } from '../../proof/mutants/mutants.ts';
import { buildMutant } from '../mutant.ts';
import { printNote, printText } from '../output.ts';
import { faultOf, incidents } from './plays.ts';
import { recordIncident, type Incident } from './stage.ts';

/** Needs the pinned clang where the incident needs a fault. */
function objectFor({ name }: Incident): Result<Uint8Array | undefined> {
  const fault = faultOf[name];
  if (fault === undefined) return ok(undefined);
  const mutant = mutants.find((one) => one.name === fault);
  return mutant === undefined ? fail('usage', name, `no fault is called ${fault}`) : buildMutant(mutant);
}

/** A lab of its own for each: what an incident breaks stays broken. */
async function record(incident: Incident, folder: string): Promise<Result<null>> {
  const object = objectFor(incident);
  if (!object.ok) return object;
  const lab = await startLab(twoNodes(`inc${process.pid}`));
  if (!lab.ok) return lab;
  try {
    return await recordIncident(lab.value, incident, folder, object.value);
  } finally {
    await lab.value.stop();
  }
}

const [folder, ...names] = process.argv.slice(2);
if (folder === undefined) {
  printNote('usage: node cli/incidents/record.ts FOLDER [NAME...]');
  process.exitCode = 2;
} else {
  for (const incident of incidents) {
    if (names.length > 0 && !names.includes(incident.name)) continue;
    const done = await record(incident, join(folder, incident.name));
    if (done.ok) printText(`${incident.name} recorded`);
    else {
      printNote(`${incident.name}: ${failureText(done.error)}`);
      process.exitCode = 4;
    }
  }
}
