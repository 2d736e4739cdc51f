// SPDX-License-Identifier: Apache-2.0
/** The last column of the table of rules names the faults that the scenarios of each row find, and no others. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { controlFaults } from '../../proof/control/faults/faults.ts';
import { CHECKOUT, readRules, rulesOfScenarios } from './files.ts';
import { withMutants } from './mutants.ts';
import { RULES } from './rules.ts';

const document = readRules();
const rulesOf = rulesOfScenarios();

test('mutants are where the faults say (`node test/scenarios/write.ts` writes them)', () => {
  expect(withMutants(document, controlFaults, rulesOf)).toBe(document);
});

test('each fault breaks a rule of the contract or a law of the maps, and names a scenario or a test that finds it', () => {
  for (const { name, rule, killer } of controlFaults) {
    expect(RULES.includes(rule) || rule === 'law', `${name}: ${rule}`).toBe(true);
    const [file = ''] = killer.split(' › ');
    const isThere = file.startsWith('test/') ? existsSync(join(CHECKOUT, file)) : rulesOf.has(file);
    expect(isThere, `${name}: ${killer}`).toBe(true);
  }
});

test('most rules that scenarios show have a mutant that they find', () => {
  const shown = new Set([...rulesOf.values()].flat());
  const withNone = [...shown].filter(
    (rule) => !controlFaults.some((fault) => fault.rule === rule && rulesOf.get(fault.killer)?.includes(rule)),
  );
  expect(withNone.length, withNone.join(', ')).toBeLessThan(shown.size / 2);
});

test('a row with other mutants is found out, one that has none has a dash', () => {
  const [fault] = controlFaults;
  if (fault === undefined) throw new Error('there are faults');
  const row = '| B7 | it | `x` | `nothing` |';
  const known = new Map([['x', ['B7']]]);
  expect(withMutants(row, [], known)).toBe('| B7 | it | `x` | - |');
  expect(withMutants(row, [{ ...fault, name: 'some', rule: 'B7', killer: 'x' }], known)).toBe(
    '| B7 | it | `x` | `some` |',
  );
});
