// SPDX-License-Identifier: Apache-2.0
/** Every scenario as it is told, and by every other way to the same end. */
import { describe, expect, test } from 'vitest';
import { failureText } from '../../core/result.ts';
import { readScenario } from '../../formats/scenario.ts';
import { documentLines, dumpLines } from './agreement.ts';
import { playScenario, ways } from './expand.ts';
import { scenarioFiles } from './files.ts';
import { oracleDifferences } from './oracle.ts';

describe.each(scenarioFiles())('$name', ({ name, text }) => {
  const read = readScenario(name, text);
  if (!read.ok) {
    test('can be read', () => expect(failureText(read.error)).toBe(''));
    return;
  }
  const scenario = read.value;
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

  test('maps and document say the same', () => {
    for (const { document, dump } of played) expect(dumpLines(dump)).toEqual(documentLines(document));
  });

  test('the oracle says the same', () => {
    expect(oracleDifferences(scenario, played)).toEqual(scenario.steps.map(() => []));
  });

  test.each(Object.entries(ways))('%s', (_, way) => {
    for (const [index, there] of way(scenario).entries()) {
      if (there !== undefined) expect({ step: index, ...there }).toEqual({ step: index, ...played[index] });
    }
  });
});
