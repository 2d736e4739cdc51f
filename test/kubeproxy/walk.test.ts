// SPDX-License-Identifier: Apache-2.0
/** A packet goes through the rules as netfilter would send it. */
import { describe, expect, test } from 'vitest';
import type { Chain, ChainType, Hook, NftTable, Ruleset, Statement, Verdict } from '../../proof/kubeproxy/ruleset.ts';
import { waysOf, type FirstPacket, type WalkFacts } from '../../proof/kubeproxy/walk.ts';

const arriving: FirstPacket = {
  protocol: 'tcp',
  source: '198.51.100.1',
  destination: '10.96.0.1',
  port: 80,
  isOfNode: false,
};
const facts: WalkFacts = { isLocal: (address) => address === '192.0.2.10' };

type Drawn = { readonly base?: Chain['base']; readonly rules: (readonly Statement[])[] };

/** Chains by name; an IPv4 table of these alone. */
function rules(chains: Readonly<Record<string, Drawn>>, more: Partial<NftTable> = {}): Ruleset {
  const entries = Object.entries(chains).map(
    ([name, drawn]) => [name, { name, base: drawn.base, rules: drawn.rules }] as const,
  );
  const table = { chains: new Map(entries), sets: new Map(), maps: new Map(), ...more };
  return { ip: table, ip6: { chains: new Map(), sets: new Map(), maps: new Map() } };
}

function verdict(one: Verdict): Statement {
  return { kind: 'verdict', verdict: one };
}

const drop = verdict({ kind: 'drop' });
const target = (address: string): Statement => ({ kind: 'target', target: { address, port: 8080 } });
function at(hook: Hook, type: ChainType = 'filter', priority = 0): NonNullable<Chain['base']> {
  return { hook, type, priority };
}

describe('a packet in the rules', () => {
  test('comes back from a jump and does not come back from a goto', () => {
    const other = { rules: [] };
    const jump = rules({
      a: { base: at('forward'), rules: [[verdict({ kind: 'jump', chain: 'other' })], [drop]] },
      other,
    });
    const goto = rules({
      a: { base: at('forward'), rules: [[verdict({ kind: 'goto', chain: 'other' })], [drop]] },
      other,
    });
    expect(waysOf(jump, arriving, facts)).toMatchObject([{ kind: 'dropped', hook: 'forward' }]);
    expect(waysOf(goto, arriving, facts)).toMatchObject([{ kind: 'sent', isTranslated: false }]);
  });

  test('returns past all that is left of a chain it was sent on from by goto', () => {
    const chains = {
      a: { base: at('forward'), rules: [[verdict({ kind: 'jump', chain: 'b' })], [drop]] },
      b: { rules: [[verdict({ kind: 'goto', chain: 'c' })], [verdict({ kind: 'accept' })]] },
      c: { rules: [] },
    };
    expect(waysOf(rules(chains), arriving, facts)).toMatchObject([{ kind: 'dropped' }]);
  });

  test('meets chains of a hook by priority, whatever their order', () => {
    const chains = {
      late: { base: at('prerouting', 'filter', 10), rules: [[drop]] },
      early: { base: at('prerouting', 'nat', -100), rules: [[target('10.0.0.1')]] },
    };
    expect(waysOf(rules(chains), arriving, facts)).toMatchObject([{ kind: 'dropped', address: '10.0.0.1' }]);
  });

  test('goes to the input where it was translated to the node, and is not masqueraded then', () => {
    const masquerade = { base: at('postrouting', 'nat'), rules: [[{ kind: 'masquerade' } as const]] };
    const to = (address: string): Ruleset =>
      rules({ nat: { base: at('prerouting', 'nat'), rules: [[target(address)]] }, masquerade });
    expect(waysOf(to('192.0.2.10'), arriving, facts)).toMatchObject([{ hook: 'input', isMasqueraded: false }]);
    expect(waysOf(to('10.0.0.1'), arriving, facts)).toMatchObject([{ hook: 'postrouting', isMasqueraded: true }]);
  });

  test('of a process to its own node meets the filters of the way in, but no second translation', () => {
    const own = { ...arriving, source: '192.0.2.10', destination: '192.0.2.10', isOfNode: true };
    const chains = {
      nat: { base: at('prerouting', 'nat'), rules: [[target('10.0.0.1')]] },
      filter: { base: at('input'), rules: [[{ kind: 'reject' } as const]] },
    };
    expect(waysOf(rules(chains), own, facts)).toMatchObject([{ kind: 'refused', hook: 'input', isTranslated: false }]);
  });

  test('takes every number of a random choice, each as often as the others', () => {
    const verdicts: readonly Verdict[] = ['one', 'two', 'two'].map((chain) => ({ kind: 'goto', chain }));
    const chains = {
      nat: { base: at('prerouting', 'nat'), rules: [[{ kind: 'random-verdict', verdicts } as const]] },
      one: { rules: [[target('10.0.0.1')]] },
      two: {
        rules: [
          [
            {
              kind: 'random-target',
              targets: [
                { address: '10.0.0.2', port: 1 },
                { address: '10.0.0.3', port: 1 },
              ],
            } as const,
          ],
        ],
      },
    };
    const shares = new Map<string, number>();
    for (const { address, probability } of waysOf(rules(chains), arriving, facts)) {
      shares.set(address, (shares.get(address) ?? 0) + probability);
    }
    expect([...shares].map(([address, share]) => `${address} ${share.toFixed(3)}`).toSorted()).toEqual([
      '10.0.0.1 0.333',
      '10.0.0.2 0.333',
      '10.0.0.3 0.333',
    ]);
  });

  test('finds a set that remembers clients empty unless it is said to remember this one', () => {
    const among = { kind: 'named', name: 'seen' } as const;
    const remembered = { kind: 'match', operands: ['source'], isNegated: false, among } as const;
    const sets = new Map([['seen', { timeoutSeconds: 60, elements: new Set<string>() }]]);
    const ruleset = rules(
      { nat: { base: at('prerouting', 'nat'), rules: [[remembered, target('10.0.0.1')]] } },
      { sets },
    );
    expect(waysOf(ruleset, arriving, facts)).toMatchObject([{ isTranslated: false }]);
    const again = { ...facts, remembering: new Set(['seen']) };
    expect(waysOf(ruleset, arriving, again)).toMatchObject([{ address: '10.0.0.1' }]);
  });

  test('that is led to a chain, map or set that is not there is an error', () => {
    const leaps: readonly Statement[] = [
      verdict({ kind: 'goto', chain: 'gone' }),
      { kind: 'lookup', operands: ['destination'], map: 'gone' },
      { kind: 'match', operands: ['source'], isNegated: false, among: { kind: 'named', name: 'gone' } },
    ];
    for (const leap of leaps) {
      const ruleset = rules({ a: { base: at('forward'), rules: [[leap]] } });
      expect(() => waysOf(ruleset, arriving, facts)).toThrow('not there: gone');
    }
  });
});
