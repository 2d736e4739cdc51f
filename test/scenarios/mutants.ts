// SPDX-License-Identifier: Apache-2.0
/** The last column of the table of rules: faults of the control plane that a scenario of the row finds. */
import type { ControlFault } from '../../proof/control/fault.ts';
import type { RulesOf } from './rules.ts';

const ROW = /^\| (\S+) \| (.*) \| (.*) \| ([^|]*) \|$/;

/** Names of the faults that break the rule and that a scenario about the rule is known to find. */
function mutantsOf(rule: string, faults: readonly ControlFault[], rulesOf: RulesOf): string {
  const found = faults.filter((fault) => fault.rule === rule && rulesOf.get(fault.killer)?.includes(rule) === true);
  return found.map(({ name }) => `\`${name}\``).join(', ') || '-';
}

/** The document with the mutants of each rule as they are now. */
export function withMutants(document: string, faults: readonly ControlFault[], rulesOf: RulesOf): string {
  return document
    .split('\n')
    .map((line) => {
      const [, rule, does, scenarios] = ROW.exec(line) ?? [];
      if (rule === undefined || rule === 'rule' || rule.startsWith('-')) return line;
      return `| ${rule} | ${does} | ${scenarios} | ${mutantsOf(rule, faults, rulesOf)} |`;
    })
    .join('\n');
}
