// SPDX-License-Identifier: Apache-2.0
/** The files of fixtures/scenarios/. */
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

export const SCENARIOS: string = fileURLToPath(new URL('../../fixtures/scenarios/', import.meta.url));

export type ScenarioFile = { readonly name: string; readonly text: string };

/** In order of names, which come without `.txt`. */
export function scenarioFiles(): ScenarioFile[] {
  return readdirSync(SCENARIOS)
    .filter((file) => file.endsWith('.txt'))
    .toSorted()
    .map((file) => ({ name: file.slice(0, -'.txt'.length), text: readFileSync(`${SCENARIOS}${file}`, 'utf8') }));
}
