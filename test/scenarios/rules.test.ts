// SPDX-License-Identifier: Apache-2.0
/** The table of rules is complete and true. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { CHECKOUT, readRules, rulesOfScenarios } from './files.ts';
import { ruleFindings, withScenarios } from './rules.ts';

const exists = (path: string): boolean => existsSync(join(CHECKOUT, path));
const document = readRules();
const rulesOf = rulesOfScenarios();

test('each rule has a row with the scenarios that are about it, or says where else it is decided', () => {
  expect(ruleFindings(document, rulesOf, exists)).toEqual([]);
});

test('there are at least eighty scenarios', () => {
  expect(rulesOf.size).toBeGreaterThanOrEqual(80);
});

describe('what is wrong is found:', () => {
  const row = document.split('\n').find((line) => line.startsWith('| B7 |')) ?? '';
  const cases: readonly (readonly [title: string, document: string, finding: string])[] = [
    ['a rule without a row', document.replace(row, ''), 'B7 has no row'],
    ['a rule with two', `${document}${row}\n`, 'B7 has two rows'],
    ['a row without a rule', `${document}| B77 | it | elsewhere: agent, for it | - |\n`, 'B77 is no rule'],
    ['nothing said', document.replace(row, '| B7 |  | x | - |'), 'B7 does not say what tandem does'],
    ['no mutants said', document.replace(row, '| B7 | it | x |  |'), 'B7 has no word about mutants'],
    [
      'a scenario that is not there',
      document.replace(row, '| B7 | it | `nothing` | - |'),
      'B7 names other scenarios than those about it',
    ],
    [
      'a rule without a scenario',
      document.replace(/\| B5 \|.*/, '| B5 | it |  | - |'),
      'B5 has no scenario, and does not say who else decides',
    ],
    [
      'a test that is not there',
      document.replace(/\| B5 \|.*/, '| B5 | it | elsewhere: datapath (`test/none.ts`) | - |'),
      'B5 names test/none.ts, which is not there',
    ],
  ];
  test.each(cases)('%s', (_, changed, finding) => {
    expect(ruleFindings(changed, rulesOf, exists)).toContain(finding);
  });

  test('a scenario about a rule that is none', () => {
    const others = new Map([...rulesOf, ['odd', ['B99']]]);
    expect(ruleFindings(document, others, exists)).toEqual(['odd is about B99, which is no rule']);
  });

  test('and scenarios are filled in', () => {
    const emptied = document.replace(row, '| B7 | it | x | - |');
    expect(ruleFindings(withScenarios(emptied, rulesOf), rulesOf, exists)).toEqual([]);
  });
});
