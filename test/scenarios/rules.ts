// SPDX-License-Identifier: Apache-2.0
/** The table of docs/reference/services.md: each rule of the contract, and the scenarios that show it. */

/** Ranges of the contract's numbers; `host-ports` is not kube-proxy's, but tandem's. */
const LETTERS: Readonly<Record<string, number>> = { A: 9, B: 16, C: 5, D: 3, E: 5, F: 8, G: 7, H: 7, I: 9 };
const SECTIONS: readonly string[] = ['1.4', '1.6', '1.12', '2.1', '2.2', '2.3', '2.4', 'host-ports'];

export const RULES: readonly string[] = [
  ...Object.entries(LETTERS).flatMap(([letter, last]) =>
    Array.from({ length: last }, (_, index) => `${letter}${index + 1}`),
  ),
  ...SECTIONS,
];

const COLUMNS = 4;
/** Who else decides, and why or where: `elsewhere: datapath, for ...`, `elsewhere: agent (test/agent/loop.test.ts)`. */
const ELSEWHERE = /^elsewhere: (datapath|agent)(,| \()/;

type Row = { readonly rule: string; readonly does: string; readonly scenarios: string; readonly mutants: string };

function rowOf(line: string): Row | undefined {
  const cells = line.split('|').map((cell) => cell.trim());
  const [before, rule = '', does = '', scenarios = '', mutants = ''] = cells;
  const isRow = line.startsWith('| ') && before === '' && cells.length === COLUMNS + 2 && rule !== 'rule';
  return isRow ? { rule, does, scenarios, mutants } : undefined;
}

/** `rules` of each scenario, by its name, in order of names. */
export type RulesOf = ReadonlyMap<string, readonly string[]>;

function scenariosOf(rule: string, rulesOf: RulesOf): string {
  const names = [...rulesOf].flatMap(([name, rules]) => (rules.includes(rule) ? [name] : []));
  return names.map((name) => `\`${name}\``).join(', ');
}

/** The document with the scenarios of each rule as they are now. */
export function withScenarios(document: string, rulesOf: RulesOf): string {
  const lines = document.split('\n').map((line) => {
    const row = rowOf(line);
    const named = row === undefined ? '' : scenariosOf(row.rule, rulesOf);
    return row === undefined || named === '' ? line : `| ${row.rule} | ${row.does} | ${named} | ${row.mutants} |`;
  });
  return lines.join('\n');
}

/** What is wrong with the table; `exists` tells of a path of the checkout. */
export function ruleFindings(document: string, rulesOf: RulesOf, exists: (path: string) => boolean): string[] {
  const rows = document.split('\n').flatMap((line) => rowOf(line) ?? []);
  const told = rows.map(({ rule }) => rule);
  return [
    ...RULES.filter((rule) => !told.includes(rule)).map((rule) => `${rule} has no row`),
    ...told.filter((rule, index) => told.indexOf(rule) !== index).map((rule) => `${rule} has two rows`),
    ...told.filter((rule) => !RULES.includes(rule)).map((rule) => `${rule} is no rule`),
    ...unknownRules(rulesOf),
    ...rows.flatMap((row) => rowFindings(row, rulesOf, exists)),
  ];
}

function unknownRules(rulesOf: RulesOf): string[] {
  return [...rulesOf].flatMap(([name, rules]) =>
    rules.filter((rule) => !RULES.includes(rule)).map((rule) => `${name} is about ${rule}, which is no rule`),
  );
}

function rowFindings(
  { rule, does, scenarios, mutants }: Row,
  rulesOf: RulesOf,
  exists: (path: string) => boolean,
): string[] {
  const findings: string[] = [];
  if (does === '') findings.push(`${rule} does not say what tandem does`);
  if (mutants === '') findings.push(`${rule} has no word about mutants`);
  const named = scenariosOf(rule, rulesOf);
  if (named !== '') {
    if (scenarios !== named) findings.push(`${rule} names other scenarios than those about it`);
    return findings;
  }
  if (!ELSEWHERE.test(scenarios)) findings.push(`${rule} has no scenario, and does not say who else decides`);
  const paths = [...scenarios.matchAll(/`(test\/[^`]+)`/g)].map(([, path = '']) => path);
  for (const path of paths) if (!exists(path)) findings.push(`${rule} names ${path}, which is not there`);
  return findings;
}
