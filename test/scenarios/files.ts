// SPDX-License-Identifier: Apache-2.0
/** The files of fixtures/scenarios/, and the table of rules that names them. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { failureText } from '../../core/result.ts';
import { readScenario } from '../../formats/scenario.ts';
import type { RulesOf } from './rules.ts';

export const CHECKOUT: string = fileURLToPath(new URL('../../', import.meta.url));

const SCENARIOS = join(CHECKOUT, 'fixtures/scenarios');
const RULES = join(CHECKOUT, 'docs/reference/services.md');

export type ScenarioFile = { readonly name: string; readonly text: string };

/** In order of names, which come without `.txt`. */
export function scenarioFiles(): ScenarioFile[] {
  return readdirSync(SCENARIOS)
    .filter((file) => file.endsWith('.txt'))
    .toSorted()
    .map((file) => ({ name: file.slice(0, -'.txt'.length), text: readFileSync(join(SCENARIOS, file), 'utf8') }));
}

export function writeScenario(name: string, text: string): void {
  writeFileSync(join(SCENARIOS, `${name}.txt`), text);
}

/** What each scenario is about; throws where one can't be read. */
export function rulesOfScenarios(): RulesOf {
  return new Map(
    scenarioFiles().map(({ name, text }) => {
      const scenario = readScenario(name, text);
      if (!scenario.ok) throw new Error(failureText(scenario.error));
      return [name, scenario.value.rules];
    }),
  );
}

export function readRules(): string {
  return readFileSync(RULES, 'utf8');
}

export function writeRules(text: string): void {
  writeFileSync(RULES, text);
}
