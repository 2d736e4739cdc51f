// SPDX-License-Identifier: Apache-2.0
/** The reader of rules knows what kube-proxy writes and refuses everything else by printing it. */
import { describe, expect, test } from 'vitest';
import { readRuleset } from '../../proof/kubeproxy/ruleset.ts';
import { recordedRules } from './recorded.ts';

const chain = { chain: { family: 'ip', table: 'kube-proxy', name: 'c', handle: 1 } };

function withRule(...expr: readonly unknown[]): unknown {
  return { nftables: [chain, { rule: { family: 'ip', table: 'kube-proxy', chain: 'c', expr } }] };
}

function match(left: unknown, right: unknown, op = '=='): unknown {
  return { match: { op, left, right } };
}

const source = { payload: { protocol: 'ip', field: 'saddr' } };
const base = { family: 'ip', table: 'kube-proxy', name: 'c', type: 'filter', hook: 'input', prio: 0 };

const unknowns: readonly (readonly [string, unknown])[] = [
  ['a statement', withRule({ counter: { packets: 1, bytes: 2 } })],
  ['another refusal', withRule({ reject: { type: 'icmp', expr: 'admin-prohibited' } })],
  ['a refusal by reset', withRule({ reject: { type: 'tcp reset' } })],
  ['a field of the packet', withRule(match({ payload: { protocol: 'ip', field: 'ttl' } }, 1))],
  ['a field of the other family', withRule(match({ payload: { protocol: 'ip6', field: 'saddr' } }, '::1'))],
  ['a comparison', withRule(match(source, '10.0.0.1', '<'))],
  ['a mask of an address', withRule(match({ '&': [source, 255] }, 0, '!='))],
  ['a masquerade with fixed ports', withRule({ masquerade: null })],
  [
    'a choice that is not random',
    withRule({ vmap: { key: { numgen: { mode: 'inc', mod: 2, offset: 0 } }, data: { set: [] } } }),
  ],
  ['a mark that is set whole', withRule({ mangle: { key: { meta: { key: 'mark' } }, value: 1 } })],
  ['a set that is added to', withRule({ set: { op: 'add', elem: source, set: '@s' } })],
  ['a table', { nftables: [{ chain: { ...base, table: 'other', policy: 'accept' } }] }],
  ['a family', { nftables: [{ chain: { ...base, family: 'inet', policy: 'accept' } }] }],
  ['a policy that drops', { nftables: [{ chain: { ...base, policy: 'drop' } }] }],
  ['a hook', { nftables: [{ chain: { ...base, hook: 'ingress', policy: 'accept' } }] }],
  [
    'a map of addresses',
    { nftables: [{ map: { family: 'ip', table: 'kube-proxy', name: 'm', map: 'ipv4_addr', elem: [] } }] },
  ],
  ['a rule of no chain', { nftables: [{ rule: { family: 'ip', table: 'kube-proxy', chain: 'c', expr: [] } }] }],
];

describe('the reader of rules', () => {
  test('knows everything that kube-proxy wrote', () => {
    const { ip, ip6 } = readRuleset(recordedRules());
    expect(Math.min(ip.chains.size, ip6.chains.size)).toBeGreaterThan(30);
    expect(ip.maps.get('service-ips')?.size).toBeGreaterThan(10);
  });

  test.each(unknowns)('refuses %s that it does not know, and prints it', (_, printed) => {
    expect(() => readRuleset(printed)).toThrow(/^cannot read this [a-z ]+ of the rules: .+/);
  });

  test('reads ranges, single addresses and elements with words beside them alike', () => {
    const set = [{ prefix: { addr: '10.0.0.0', len: 8 } }, '192.0.2.1', { range: ['192.0.2.4', '192.0.2.9'] }];
    const [rule] = readRuleset(withRule(match(source, { set }, '!='))).ip.chains.get('c')?.rules ?? [];
    expect(rule).toEqual([
      {
        kind: 'match',
        operands: ['source'],
        isNegated: true,
        among: {
          kind: 'listed',
          exact: new Set(['192.0.2.1']),
          intervals: [
            { first: 0x0a000000n, last: 0x0affffffn },
            { first: 0xc0000204n, last: 0xc0000209n },
          ],
        },
      },
    ]);
  });
});
