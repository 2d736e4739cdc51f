// SPDX-License-Identifier: Apache-2.0
/** Recorded rules of kube-proxy against the document: nothing differs, and no edit of the rules that matters goes unnoticed. */
import { describe, expect, test } from 'vitest';
import { frontendText } from '../../proof/kubeproxy/answer.ts';
import { compareRules } from '../../proof/kubeproxy/compare.ts';
import { faults, type Json } from '../../proof/kubeproxy/faults.ts';
import { createStream } from '../../core/random.ts';
import { readRuleset } from '../../proof/kubeproxy/ruleset.ts';
import { differenceText } from '../../proof/kubeproxy/totals.ts';
import { frontendFor } from '../cluster/targets.ts';
import { recordedComparison, recordedRules } from './recorded.ts';

const recorded = recordedComparison();

type Item = {
  readonly map?: { readonly family: string; readonly name: string; readonly elem?: Json[] };
  readonly rule?: { readonly chain: string; readonly expr: Json[] };
};
type Edit = { readonly name: string; readonly make: (items: Item[]) => void };

function itemsOf(printed: Json): Item[] {
  return (printed as { readonly nftables: Item[] }).nftables;
}

/** Maps of which every element is somebody's frontend; of refusals those alone that nothing else would make. */
function isTold(map: string, element: Json): boolean {
  const isRefusal = map.startsWith('no-endpoint-') && JSON.stringify(element).includes('reject-chain');
  return map !== 'no-endpoint-nodeports' && !isRefusal;
}

/** Each element of a map and each rule that chooses a backend or drops, taken away alone. */
function editsOf(items: readonly Item[]): readonly Edit[] {
  return items.flatMap(({ map, rule }, index): readonly Edit[] => {
    if (map !== undefined) {
      return (map.elem ?? []).flatMap((element, at) => {
        const make = (copy: Item[]): void => void copy[index]?.map?.elem?.splice(at, 1);
        const name = `${map.family} ${map.name} ${JSON.stringify(element)}`;
        return isTold(map.name, element) ? [{ name, make }] : [];
      });
    }
    const text = JSON.stringify(rule?.expr ?? '');
    if (rule === undefined || !/"dnat"|"drop"/.test(text)) return [];
    return [{ name: `${rule.chain} ${text}`, make: (copy) => void copy.splice(index, 1) }];
  });
}

/** The lines of what differs once the edit is made. */
function differencesWith(edit: Edit): readonly string[] {
  const printed = recordedRules();
  edit.make(itemsOf(printed));
  const { differences } = compareRules({ ...recorded, ruleset: readRuleset(printed) });
  return differences.map(({ where }) => where);
}

describe('recorded rules of kube-proxy', () => {
  test('do what the document says, but for the closed list', () => {
    const { frontends, comparisons, differences, explained } = compareRules(recorded);
    expect(differences).toEqual([]);
    expect(frontends).toBeGreaterThan(100);
    expect(comparisons).toBeGreaterThan(6 * frontends);
    const deliberately = [...explained.values()].reduce((sum, count) => sum + count, 0);
    expect(deliberately).toBeLessThan(comparisons / 5);
  });

  test.each(faults.map((fault) => [fault.name, fault] as const))('tell a fault at its frontend: %s', (_, fault) => {
    const printed = recordedRules();
    const target = frontendFor(recorded, fault, printed);
    if (target === undefined) throw new Error('nowhere to be planted');
    const { differences } = compareRules({ ...recorded, ruleset: readRuleset(printed) });
    expect(differences.map(({ where }) => where).join('\n')).toContain(frontendText(target));
  });

  test('tell every element of a map, every choice and every drop that is taken away', () => {
    const edits = editsOf(itemsOf(recordedRules()));
    const stream = createStream(8);
    const drawn = Array.from({ length: 25 }, () => stream.pick(edits));
    expect(edits.length).toBeGreaterThan(100);
    expect(drawn.filter((edit) => differencesWith(edit).length === 0).map(({ name }) => name)).toEqual([]);
  }, 60_000);

  test('a difference is three lines and the command that repeats it', () => {
    const lines = differenceText(
      { service: 'shop/web:http (NodePort)', where: 'pod 10.0.0.1 -> 192.0.2.1:30080/tcp', field: 'outcome: a, b' },
      'TANDEM_SEED=1 ./tandem test proxy --yes',
    ).split('\n');
    expect(lines).toEqual([
      'shop/web:http (NodePort)',
      '  pod 10.0.0.1 -> 192.0.2.1:30080/tcp',
      '  outcome: a, b',
      '  repeat: TANDEM_SEED=1 ./tandem test proxy --yes',
    ]);
  });
});
