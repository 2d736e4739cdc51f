// SPDX-License-Identifier: Apache-2.0
/** Every scenario as it is told, and by every other way to the same end. */
import { describe, expect, test } from 'vitest';
import { failureText } from '../../core/result.ts';
import { readScenario, type Scenario } from '../../formats/scenario.ts';
import { playScenario, ways } from './expand.ts';
import { scenarioFiles } from './files.ts';

function readOrThrow(name: string, text: string): Scenario {
  const scenario = readScenario(name, text);
  if (!scenario.ok) throw new Error(failureText(scenario.error));
  return scenario.value;
}

describe.each(scenarioFiles())('$name', ({ name, text }) => {
  const scenario = readOrThrow(name, text);
  const played = playScenario(scenario);

  test('as told', () => {
    const expected = scenario.steps.map(({ title, table, dump }) => ({ title, table, dump }));
    const found = scenario.steps.map(({ title, dump }, index) => ({
      title,
      table: played[index]?.table,
      dump: dump === undefined ? undefined : played[index]?.dump,
    }));
    expect(found).toEqual(expected);
  });

  test.each(Object.entries(ways))('%s', (_, way) => {
    for (const [index, there] of way(scenario).entries()) {
      if (there !== undefined) expect({ step: index, ...there }).toEqual({ step: index, ...played[index] });
    }
  });
});
