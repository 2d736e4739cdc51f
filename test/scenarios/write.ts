// SPDX-License-Identifier: Apache-2.0
/**
 * `node test/scenarios/write.ts [--dump] [NAME...]`: writes what the compiler and the maps say now into the expected
 * parts of scenarios, for review by a person, and the scenarios and mutants into the table of rules; `--dump` adds the dumps that
 * are missing. No test does this.
 */
import { failureText } from '../../core/result.ts';
import { cutScenario, joinScenario, readScenario, type Section } from '../../formats/scenario.ts';
import { controlFaults } from '../../proof/control/faults/faults.ts';
import { playScenario } from './expand.ts';
import { readRules, rulesOfScenarios, scenarioFiles, writeRules, writeScenario } from './files.ts';
import { withMutants } from './mutants.ts';
import type { Played } from './play.ts';
import { withScenarios } from './rules.ts';

function write(names: readonly string[], withDumps: boolean): void {
  for (const { name, text } of scenarioFiles()) {
    if (names.length > 0 && !names.includes(name)) continue;
    const scenario = readScenario(name, text);
    if (!scenario.ok) {
      console.error(failureText(scenario.error));
      process.exitCode = 2;
      continue;
    }
    const written = rewritten(text, playScenario(scenario.value), withDumps);
    if (written === text) continue;
    writeScenario(name, written);
    console.log(name);
  }
}

/** The text with the expected parts of each step anew. */
function rewritten(text: string, played: readonly Played[], withDumps: boolean): string {
  const { head, sections } = cutScenario(text);
  const kept: Section[] = [];
  let step = -1;
  for (const [index, section] of sections.entries()) {
    if (section.title === 'table' || section.title === 'dump') continue;
    kept.push(section);
    if (section.title === 'config') continue;
    step += 1;
    const now = played[step];
    const ahead = sections.slice(index + 1);
    const end = ahead.findIndex(({ title }) => title !== 'table' && title !== 'dump');
    const had = (end < 0 ? ahead : ahead.slice(0, end)).map(({ title }) => title);
    if (now === undefined) continue;
    kept.push({ title: 'table', body: now.table, line: 0 });
    if (withDumps || had.includes('dump')) kept.push({ title: 'dump', body: now.dump, line: 0 });
  }
  return joinScenario({ head, sections: kept });
}

const words = process.argv.slice(2);
write(
  words.filter((word) => word !== '--dump'),
  words.includes('--dump'),
);
if (process.exitCode === undefined) {
  const rulesOf = rulesOfScenarios();
  writeRules(withMutants(withScenarios(readRules(), rulesOf), controlFaults, rulesOf));
}
