// SPDX-License-Identifier: Apache-2.0
/** Rules H1 to H7: which slices and endpoints count, for which family, and where. */
import { describe, expect, test } from 'vitest';
import type { ClusterObject } from '../../../core/objects.ts';
import { createOracle } from '../../../core/oracle.ts';
import { answerText } from '../../../core/oracle/answer.ts';
import { ask, conditions, endpoint, node, NODE, OPTIONS, question, service, slice, web, WEB } from './world.ts';

const ONE = slice('a', [endpoint('10.0.0.1')]);
const PERMITTED = 'permitted shop/web:http 10.0.0.1:8080';

describe('slices and families', () => {
  const dual = web({
    clusterIPs: ['10.96.0.1', 'fd00:96::1'],
    ipFamilies: ['IPv4', 'IPv6'],
  });
  const six = slice('six', [endpoint('fd00::1')]);
  const WEB6 = '[fd00:96::1]:80/TCP';

  test('H1 the families are independent: endpoints of one never serve the other', () => {
    expect(ask([dual, ONE, six], WEB)).toBe(PERMITTED);
    expect(ask([dual, ONE, six], WEB6)).toBe('permitted shop/web:http [fd00::1]:8080');
    expect(ask([dual, six], WEB)).toBe('refuse shop/web:http no-endpoints');
    expect(ask([dual, ONE], WEB6)).toBe('refuse shop/web:http no-endpoints');
  });

  test('H1 hints and readiness of one family do not sway the other', () => {
    const zoned = (name: string, text: string, zone: string): ClusterObject =>
      slice(name, [endpoint(text, { hints: { forZones: [{ name: zone }] } })]);
    const own = node(NODE, [], 'z1');
    const objects = [own, dual, zoned('a', '10.0.0.1', 'z1'), zoned('b', '10.0.0.2', 'z2'), six];
    expect(ask(objects, WEB)).toBe(PERMITTED);
  });

  test('H1 an address is found by the position of its family, in either order; without families by the legacy field', () => {
    const swapped = web({
      clusterIP: 'fd00:96::1',
      clusterIPs: ['fd00:96::1', '10.96.0.1'],
      ipFamilies: ['IPv6', 'IPv4'],
    });
    expect([WEB, WEB6].map((text) => ask([swapped, ONE, six], text))).toEqual([
      PERMITTED,
      'permitted shop/web:http [fd00::1]:8080',
    ]);
    const single = web({ clusterIPs: ['10.96.0.1', 'fd00:96::1'], ipFamilies: ['IPv4'] });
    expect([WEB, WEB6].map((text) => ask([single, ONE, six], text))).toEqual([PERMITTED, 'drop-unallocated']);
    const legacy = web({ clusterIP: 'fd00:96::1' });
    expect([WEB, WEB6].map((text) => ask([legacy, ONE, six], text))).toEqual([
      'drop-unallocated',
      'permitted shop/web:http [fd00::1]:8080',
    ]);
  });

  test.each([
    ['FQDN slices are ignored', 'FQDN', 'web.example'],
    ['an IPv6 address in an IPv4 slice is ignored', 'IPv4', 'fd00::1'],
    ['an IPv4 address in an IPv6 slice is ignored', 'IPv6', '10.0.0.1'],
  ])('H1 %s', (_name, addressType, text) => {
    const odd = slice('odd', [endpoint(text)], { addressType });
    expect([WEB, WEB6].map((asked) => ask([dual, odd], asked))).toEqual([
      'refuse shop/web:http no-endpoints',
      'refuse shop/web:http no-endpoints',
    ]);
  });

  test('H2 a node of one family ignores the other', () => {
    const options = { ...OPTIONS, families: ['IPv4'] as const };
    expect(ask([dual, ONE, six], WEB, options)).toBe(PERMITTED);
    expect(ask([dual, ONE, six], WEB6, options)).toBe('not-a-service');
    expect(ask([dual, ONE, six], '[fd00:96::7]:80/TCP', options)).toBe('not-a-service');
  });

  test('H3 endpoints are the union over the slices of the Service, and of no other Service', () => {
    const other = slice('c', [endpoint('10.0.0.3')], { service: 'other' });
    const foreign = {
      ...slice('d', [endpoint('10.0.0.4')]),
      metadata: { namespace: 'farm', name: 'd', labels: { 'kubernetes.io/service-name': 'web' } },
    };
    expect(ask([web(), ONE, slice('b', [endpoint('10.0.0.2')]), other, foreign], WEB)).toBe(
      `${PERMITTED} 10.0.0.2:8080`,
    );
  });

  test.each([
    ['the one that is not terminating wins', 'FTT', 'TTF', PERMITTED],
    ['also when it is unready', 'TTT', 'FTF', 'refuse shop/web:http no-endpoints'],
    ['two alike are one', 'TTF', 'TTF', PERMITTED],
    ['two terminating alike are one', 'FTT', 'FTT', PERMITTED],
    [
      'two that differ: undefined, so both are permitted',
      'TTF',
      'FTF',
      `contested: ${PERMITTED} | refuse shop/web:http no-endpoints`,
    ],
  ])('H4 one ip:port in two slices: %s', (_name, left, right, expected) => {
    const copy = (name: string, text: string): ClusterObject =>
      slice(name, [endpoint('10.0.0.1', { conditions: conditions(text) })]);
    const sorted = (text: string): string[] => text.replace('contested: ', '').split(' | ').sort();
    expect(sorted(ask([web(), copy('a', left), copy('b', right)], WEB))).toEqual(sorted(expected));
    expect(sorted(ask([web(), copy('a', right), copy('b', left)], WEB))).toEqual(sorted(expected));
  });

  test('H4 within one slice the order is known: a later one replaces an earlier unless it is terminating', () => {
    const twice = (...texts: string[]): string =>
      ask(
        [
          web(),
          slice(
            'a',
            texts.map((text) => endpoint('10.0.0.1', { conditions: conditions(text) })),
          ),
        ],
        WEB,
      );
    expect(twice('TTF', 'FTF')).toBe('refuse shop/web:http no-endpoints');
    expect(twice('FTF', 'TTF')).toBe(PERMITTED);
    expect(twice('FTF', 'TTT')).toBe('refuse shop/web:http no-endpoints');
  });

  test('H4 more undefined duplicates than can be told apart are not judged', () => {
    const numbers = Array.from({ length: 7 }, (_, index) => `10.0.0.${index + 1}`);
    const copies = (name: string, text: string): ClusterObject =>
      slice(
        name,
        numbers.map((number) => endpoint(number, { conditions: conditions(text) })),
      );
    expect(ask([web(), copies('a', 'TTF'), copies('b', 'FTF')], WEB)).toBe(
      'unsupported duplicate-endpoints shop/web:http',
    );
    expect(ask([web(), copies('a', 'TTF'), copies('b', 'TTF')], WEB)).toContain('10.0.0.7:8080');
  });

  test('H5 an endpoint that moves between slices may be doubled or absent on the way', () => {
    const oracle = createOracle(OPTIONS);
    const answer = (): string => answerText(oracle.answer(question(WEB)));
    for (const object of [web(), ONE, slice('b', [endpoint('10.0.0.1')])]) oracle.apply({ type: 'ADDED', object });
    expect(answer()).toBe(PERMITTED);
    oracle.apply({ type: 'MODIFIED', object: slice('a', []) });
    expect(answer()).toBe(PERMITTED);
    oracle.apply({ type: 'DELETED', object: slice('b', []) });
    expect(answer()).toBe('refuse shop/web:http no-endpoints');
  });

  test('H5 a slice that changes its Service leaves the one and serves the other', () => {
    const oracle = createOracle(OPTIONS);
    const objects = [web(), service('shop/other', { clusterIP: '10.96.0.2' }), ONE];
    for (const object of objects) oracle.apply({ type: 'ADDED', object });
    oracle.apply({ type: 'MODIFIED', object: slice('a', [endpoint('10.0.0.1')], { service: 'other' }) });
    expect([WEB, '10.96.0.2:80/TCP'].map((text) => answerText(oracle.answer(question(text))))).toEqual([
      'refuse shop/web:http no-endpoints',
      'permitted shop/other:http 10.0.0.1:8080',
    ]);
  });

  test.each([
    ['without a namespace', { name: 'a', labels: { 'kubernetes.io/service-name': 'web' } }],
    ['without a name', { namespace: 'shop', labels: { 'kubernetes.io/service-name': 'web' } }],
    ['without the service label', { namespace: 'shop', name: 'a' }],
    ['with an empty service label', { namespace: 'shop', name: 'a', labels: { 'kubernetes.io/service-name': '' } }],
  ])('H6 a slice %s is ignored', (_name, metadata) => {
    expect(ask([web(), { ...ONE, metadata }], WEB)).toBe('refuse shop/web:http no-endpoints');
  });

  test.each([
    ['its own node', NODE, NODE, PERMITTED],
    ['its own name, which is lowercased', 'Node-A', NODE, PERMITTED],
    ['another node', NODE, 'node-b', 'drop shop/web:http no-local-endpoints'],
    ['a name that is not lowercase', NODE, 'Node-A', 'drop shop/web:http no-local-endpoints'],
    ['an empty name', '', '', 'drop shop/web:http no-local-endpoints'],
    ['no name', NODE, undefined, 'drop shop/web:http no-local-endpoints'],
  ])('H7 local is what the slice puts on %s', (_name, nodeName, sliceNode, expected) => {
    const placed = { addresses: ['10.0.0.1'], ...(sliceNode === undefined ? {} : { nodeName: sliceNode }) };
    expect(ask([web({ internalTrafficPolicy: 'Local' }), slice('a', [placed])], WEB, { ...OPTIONS, nodeName })).toBe(
      expected,
    );
  });
});
