// SPDX-License-Identifier: Apache-2.0
/** Source ranges: rule B10 in all its forms, and lists of ranges in one order. */
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { prefixText } from '../../../core/address.ts';
import { compareRanges, distinctRanges, rangeKey, rangeOfKey, rangesText } from '../../../core/control/ranges.ts';
import { address, range, web } from './balancer.ts';
import { compile } from './compiled.ts';
import { added } from './objects.ts';

const NODE_IPS = ['192.0.2.10', '192.0.2.11', 'fd00:1::10'].map(address);

describe('B10: who may speak to a load balancer address', () => {
  const cases: readonly (readonly [
    string,
    readonly string[] | undefined,
    readonly string[] | null,
    readonly string[] | null,
  ])[] = [
    ['nothing is said', undefined, null, null],
    ['an empty list', [], null, null],
    ['one family: the other is open', ['10.0.0.0/8'], ['10.0.0.0/8'], null],
    ['the other family', ['fd00:5::/32'], null, ['fd00:5::/32']],
    ['both families, each its own', ['10.0.0.0/8', 'fd00:5::/32'], ['10.0.0.0/8'], ['fd00:5::/32']],
    ['all of a family among others', ['10.0.0.0/8', '0.0.0.0/0', 'fd00:5::/32'], null, ['fd00:5::/32']],
    ['all of IPv6 says nothing of IPv4', ['::/0', '10.0.0.0/8'], ['10.0.0.0/8'], null],
    ['all of both', ['::/0', '0.0.0.0/0'], null, null],
    ['host bits, spaces, zeros and repetition', [' 10.1.2.3/8', '010.0.0.0/8 ', '10.0.0.0/8'], ['10.0.0.0/8'], null],
    ['a bare address', ['203.0.113.7'], ['203.0.113.7/32'], null],
    [
      'the order of the list',
      ['203.0.113.0/24', '10.0.0.0/16', '10.0.0.0/8'],
      ['10.0.0.0/8', '10.0.0.0/16', '203.0.113.0/24'],
      null,
    ],
    ['what cannot be read is left out', ['nonsense', '10.0.0.0/8', '10.0.0.0/33'], ['10.0.0.0/8'], null],
    ['nothing can be read: nobody', ['nonsense', '10.0.0.0/33'], [], []],
    ['nothing of a family can be read: that one is open', ['nonsense', 'fd00:5::/32'], null, ['fd00:5::/32']],
    [
      'the node is in: it may come by an address of the Service',
      ['192.0.2.0/24'],
      ['192.0.2.0/24', '198.51.100.1/32'],
      null,
    ],
    ['its second address is in', ['192.0.2.11/32'], ['192.0.2.11/32', '198.51.100.1/32'], null],
    ['the node is in by IPv6 alone', ['10.0.0.0/8', 'fd00:1::/64'], ['10.0.0.0/8'], ['fd00:1::/64', 'fd00:ee::1/128']],
    [
      'the node is in and the address as well',
      ['192.0.2.10', '198.51.100.1'],
      ['192.0.2.10/32', '198.51.100.1/32'],
      null,
    ],
  ];

  test.each(cases)('%s', (_, ranges, four, six) => {
    const { frontends } = compile([added(web('web', 1, ranges))], { nodeIPs: NODE_IPS });
    const found = frontends.map(({ address: at, kind, sourceRanges }) => [kind, at, sourceRanges] as const);
    const balancers = found.filter(([kind]) => kind === 'LoadBalancer');
    expect(balancers).toEqual([
      ['LoadBalancer', '198.51.100.1', four],
      ['LoadBalancer', 'fd00:ee::1', six],
    ]);
    expect(found.filter(([kind]) => kind !== 'LoadBalancer').every(([, , sourceRanges]) => sourceRanges === null)).toBe(
      true,
    );
  });

  test('of a node without addresses nothing is in', () => {
    const { frontends } = compile([added(web('web', 1, ['192.0.2.0/24']))]);
    expect(frontends.find(({ kind }) => kind === 'LoadBalancer')?.sourceRanges).toEqual(['192.0.2.0/24']);
  });

  test('an address that is not ours to answer lets nobody in: ipMode Proxy', () => {
    const made = web('web', 1, ['192.0.2.0/24']);
    const ingress = [{ ip: '198.51.100.1' }, { ip: '198.51.100.9', ipMode: 'Proxy' }, { hostname: 'lb.example' }];
    const { frontends } = compile([added({ ...made, status: { loadBalancer: { ingress } } })], { nodeIPs: NODE_IPS });
    expect(frontends.filter(({ kind }) => kind === 'LoadBalancer').map(({ sourceRanges }) => sourceRanges)).toEqual([
      ['192.0.2.0/24', '198.51.100.1/32'],
    ]);
  });

  test('what cannot be read is named', () => {
    const { problems } = compile([added(web('web', 1, ['10.0.0.0/8', 'nonsense']))], { nodeIPs: NODE_IPS });
    expect(problems).toEqual([
      {
        object: 'Service shop/web',
        field: 'spec.loadBalancerSourceRanges[1]',
        message: 'not an IP address range: "nonsense"',
      },
    ]);
  });
});

describe('lists of ranges', () => {
  const text = fc
    .tuple(fc.constantFrom('10.0.0.0', '10.128.0.0', 'fd00::', '::'), fc.integer({ min: 0, max: 32 }))
    .map(([base, length]) => `${base}/${length}`);

  test('in one order, each once, equal texts for equal sets', () => {
    fc.assert(
      fc.property(fc.array(text, { maxLength: 8 }), fc.integer({ min: 0, max: 7 }), (texts, turn) => {
        const ranges = texts.map(range);
        const turned = [...ranges.slice(turn), ...ranges.slice(0, turn), ...ranges.slice(0, 2)];
        const distinct = distinctRanges(ranges);
        expect(rangesText(distinctRanges(turned))).toBe(rangesText(distinct));
        expect(new Set(distinct.map(prefixText))).toEqual(new Set(ranges.map(prefixText)));
        for (const [index, one] of distinct.entries()) {
          const before = distinct[index - 1];
          if (before !== undefined) expect(compareRanges(before, one)).toBeLessThan(0);
        }
      }),
      { numRuns: 200 },
    );
  });

  test('a key is the set and the range: both ways', () => {
    const ten = range('10.0.0.0/8');
    expect(rangeKey(7, ten)).toEqual({ prefixLength: 32 + 104, set: 7, address: ten.address });
    expect(rangeOfKey(rangeKey(7, ten))).toEqual(ten);
  });
});
