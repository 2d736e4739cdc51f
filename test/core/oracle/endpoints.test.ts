// SPDX-License-Identifier: Apache-2.0
/** Section 2 of the Service rules, row by row and sentence by sentence, against the oracle's endpoint lists. */
import { describe, expect, test } from 'vitest';
import { TCP, port } from '../../../core/address.ts';
import type { EndpointObject, EndpointSliceObject } from '../../../core/objects.ts';
import { categorizeEndpoints, possibleEndpoints, type Endpoint, type Policy } from '../../../core/oracle/endpoints.ts';
import { readSlice } from '../../../core/oracle/facts.ts';
import { ask, conditions, elsewhere, endpoint, NODE, node, OPTIONS, slice, web, WEB } from './world.ts';

const HTTP = { name: 'http', port: port(80), protocol: TCP, nodePort: undefined };
const PLACE = { nodeName: NODE, zone: 'z1', topology: true };
const PLAIN: Policy = { internalLocal: false, externalLocal: false, externallyAccessible: false };
const LOCAL: Policy = { ...PLAIN, internalLocal: true };

function listed(...slices: EndpointSliceObject[]): readonly Endpoint[] {
  const facts = slices.flatMap((object) => readSlice(object) ?? []);
  const worlds = possibleEndpoints(facts, 'IPv4', HTTP, PLACE) ?? [];
  expect(worlds).toHaveLength(1);
  return worlds[0] ?? [];
}

/** Last numbers of 10.0.0.x, list by list. */
function lists(endpoints: readonly EndpointObject[], policy: Policy = PLAIN, place: typeof PLACE = PLACE): string {
  const { cluster, local, reachable, hasAny } = categorizeEndpoints(listed(slice('a', endpoints)), policy, place);
  const numbers = (list: readonly Endpoint[]): string => list.map((it) => it.backend.address.d & 255).join(',');
  return `cluster ${numbers(cluster)}; local ${numbers(local)}; reachable ${numbers(reachable)}; ${hasAny ? 'any' : 'none'}`;
}

const at = (number: number, text: string, fields: Partial<EndpointObject> = {}): EndpointObject =>
  endpoint(`10.0.0.${number}`, { conditions: conditions(text), ...fields });
const far = (number: number, text = 'TTF', fields: Partial<EndpointObject> = {}): EndpointObject =>
  at(number, text, { nodeName: 'node-b', ...fields });
const zones = (...names: string[]): Partial<EndpointObject> => ({
  hints: { forZones: names.map((name) => ({ name })) },
});
const nodes = (...names: string[]): Partial<EndpointObject> => ({
  hints: { forNodes: names.map((name) => ({ name })) },
});
const both = (zone: string, name: string): Partial<EndpointObject> => ({
  hints: { forZones: [{ name: zone }], forNodes: [{ name }] },
});

describe('2.1 conditions that are not said', () => {
  test.each([
    ['ready', '-FF', { ready: true, serving: false, terminating: false }],
    ['serving', 'F-T', { ready: false, serving: true, terminating: true }],
    ['terminating', 'FT-', { ready: false, serving: true, terminating: false }],
  ])('2.1 %s has its default, whatever the others say', (_name, text, expected) => {
    expect(listed(slice('a', [at(1, text)]))[0]).toMatchObject(expected);
  });

  test('2.1 no conditions at all: ready, serving, not terminating', () => {
    const bare = { addresses: ['10.0.0.1'] };
    expect(listed(slice('a', [bare]))[0]).toMatchObject({ ready: true, serving: true, terminating: false });
  });
});

describe('2.2 truth table', () => {
  const rows: [string, boolean, boolean][] = [
    // conditions, usable beside a ready endpoint, usable when nothing is ready
    ['TTT', true, true],
    ['TTF', true, true],
    ['TFT', true, true],
    ['TFF', true, true],
    ['FTT', false, true],
    ['FTF', false, false],
    ['FFT', false, false],
    ['FFF', false, false],
  ];
  test.each(rows)('2.2 ready, serving, terminating = %s: beside a ready one %s, alone %s', (text, beside, alone) => {
    expect(lists([at(1, text), far(9)])).toContain(beside ? 'cluster 1,9;' : 'cluster 9;');
    expect(lists([at(1, text)])).toBe(
      alone ? 'cluster 1; local ; reachable 1; any' : 'cluster ; local ; reachable ; none',
    );
    expect(lists([at(1, text)], LOCAL)).toBe(
      alone ? 'cluster ; local 1; reachable 1; any' : 'cluster ; local ; reachable ; none',
    );
  });
});

describe('2.3 ports and limits', () => {
  test.each([
    ['a nil name', { name: null, port: 8080, protocol: 'TCP' }],
    ['a missing name', { port: 8080, protocol: 'TCP' }],
    ['a nil port', { name: 'http', port: null, protocol: 'TCP' }],
    ['port 0', { name: 'http', port: 0, protocol: 'TCP' }],
    ['another name', { name: 'https', port: 8080, protocol: 'TCP' }],
    ['another protocol', { name: 'http', port: 8080, protocol: 'UDP' }],
  ])('2.3 a slice port with %s serves nothing', (_name, slicePort) => {
    expect(listed(slice('a', [at(1, 'TTF')], { ports: [slicePort] }))).toEqual([]);
    const good = { name: 'http', port: 8081, protocol: 'TCP' };
    expect(listed(slice('a', [at(1, 'TTF')], { ports: [slicePort, good] })).map((it) => it.text)).toEqual([
      '10.0.0.1:8081',
    ]);
  });

  test('2.3 an endpoint without addresses is skipped, of several addresses the first counts', () => {
    const endpoints = [{ addresses: [] }, {}, endpoint('10.0.0.3', { addresses: ['10.0.0.3', '10.0.0.4'] })];
    expect(listed(slice('a', endpoints, { addressType: 'IPv4' })).map((it) => it.text)).toEqual(['10.0.0.3:8080']);
  });

  test('2.3 one address with two ports is two endpoints', () => {
    const other = slice('b', [at(1, 'TTF')], { ports: [{ name: 'http', port: 9090, protocol: 'TCP' }] });
    expect(listed(slice('a', [at(1, 'TTF')]), other).map((it) => it.text)).toEqual(['10.0.0.1:8080', '10.0.0.1:9090']);
  });

  test('2.3 endpoints are ordered by the text ip:port', () => {
    const order = listed(slice('a', [at(9, 'TTF'), at(10, 'TTF')]), slice('b', [at(1, 'TTF')])).map((it) => it.text);
    expect(order).toEqual(['10.0.0.10:8080', '10.0.0.1:8080', '10.0.0.9:8080'].sort());
  });
});

describe('2.4 which lists are used', () => {
  const endpoints = [at(1, 'TTF'), far(2)];
  const table: [string, Policy, string][] = [
    ['neither policy is Local', PLAIN, 'cluster 1,2; local ; reachable 1,2; any'],
    ['iTP=Local, no external frontend', LOCAL, 'cluster ; local 1; reachable 1; any'],
    [
      'iTP=Local with an external frontend',
      { ...LOCAL, externallyAccessible: true },
      'cluster 1,2; local 1; reachable 1,2; any',
    ],
    [
      'eTP=Local without an external frontend is ignored',
      { ...PLAIN, externalLocal: true },
      'cluster 1,2; local ; reachable 1,2; any',
    ],
    [
      'eTP=Local with one',
      { ...PLAIN, externalLocal: true, externallyAccessible: true },
      'cluster 1,2; local 1; reachable 1,2; any',
    ],
    [
      'both Local, external',
      { internalLocal: true, externalLocal: true, externallyAccessible: true },
      'cluster 1,2; local 1; reachable 1,2; any',
    ],
  ];
  test.each(table)('2.4 %s', (_name, policy, expected) => {
    expect(lists(endpoints, policy)).toBe(expected);
    expect(lists([], policy)).toBe('cluster ; local ; reachable ; none');
  });
});

describe('2.4 hints', () => {
  test.each([
    ['every one names a node, one of them mine', [at(1, 'TTF', nodes(NODE)), far(2, 'TTF', nodes('node-b'))], '1'],
    ['several node hints: membership', [at(1, 'TTF', nodes('node-b', NODE)), far(2, 'TTF', nodes('node-c'))], '1'],
    [
      'no node hint names mine: the zone decides',
      [at(1, 'TTF', both('z2', 'node-b')), far(2, 'TTF', both('z1', 'node-c'))],
      '2',
    ],
    ['one without node hints: the zone decides', [at(1, 'TTF', both('z2', NODE)), far(2, 'TTF', zones('z1'))], '2'],
    ['the node comes before the zone', [at(1, 'TTF', both('z2', NODE)), far(2, 'TTF', both('z1', 'node-b'))], '1'],
    ['every one names a zone, one of them mine', [at(1, 'TTF', zones('z1')), far(2, 'TTF', zones('z2'))], '1'],
    [
      'several zone hints: membership',
      [at(1, 'TTF', zones('z2', 'z1')), far(2, 'TTF', zones('z1')), far(3, 'TTF', zones('z2'))],
      '1,2',
    ],
    ['none names my zone: no topology', [at(1, 'TTF', zones('z2')), far(2, 'TTF', zones('z3'))], '1,2'],
    ['a single one without hints switches it off', [at(1, 'TTF', zones('z1')), far(2)], '1,2'],
    [
      'a single one with empty hints switches it off',
      [at(1, 'TTF', zones('z1')), far(2, 'TTF', { hints: { forZones: [] } })],
      '1,2',
    ],
    [
      'over ready endpoints only: one not ready, without hints',
      [at(1, 'TTF', zones('z1')), far(2, 'TTF', zones('z2')), far(3, 'FTF')],
      '1',
    ],
    [
      'over ready endpoints only: my zone is named by one not ready',
      [at(1, 'FTF', zones('z1')), far(2, 'TTF', zones('z2'))],
      '2',
    ],
    [
      'a fallback one in my zone does not count beside ready ones',
      [at(1, 'FTT', zones('z1')), far(2, 'TTF', zones('z2'))],
      '2',
    ],
    [
      'nothing ready: fallback anywhere, topology ignored',
      [at(1, 'FTT', zones('z1')), far(2, 'FTT', zones('z2'))],
      '1,2',
    ],
  ])('2.4 %s', (_name, endpoints, expected) => {
    expect(lists(endpoints)).toContain(`cluster ${expected};`);
  });

  test('2.4 a node without a zone label cannot match a zone, not even an empty one', () => {
    const endpoints = [at(1, 'TTF', zones('z1')), far(2, 'TTF', zones(''))];
    const nowhere = categorizeEndpoints(listed(slice('a', endpoints)), PLAIN, { ...PLACE, zone: undefined });
    expect(nowhere.cluster).toHaveLength(2);
  });

  test('2.4 topology never filters the local list', () => {
    const endpoints = [at(1, 'TTF', zones('z2')), far(2, 'TTF', zones('z1'))];
    expect(lists(endpoints, { ...LOCAL, externallyAccessible: true })).toBe('cluster 2; local 1; reachable 1,2; any');
  });

  test('2.4 with topology switched off hints mean nothing', () => {
    expect(
      lists([at(1, 'TTF', nodes(NODE)), far(2, 'TTF', nodes('node-b'))], PLAIN, { ...PLACE, topology: false }),
    ).toContain('cluster 1,2;');
  });
});

describe('2.4 terminating fallback', () => {
  const external: Policy = { internalLocal: true, externalLocal: true, externallyAccessible: true };
  test.each([
    [
      'local falls back while cluster uses ready ones',
      [at(1, 'FTT'), far(2)],
      'cluster 2; local 1; reachable 1,2; any',
    ],
    [
      'local ready ones: no fallback, not even beside',
      [at(1, 'FTT'), at(3, 'TTF'), far(2)],
      'cluster 2,3; local 3; reachable 2,3; any',
    ],
    [
      'cluster falls back to every node, local to its own',
      [at(1, 'FTT'), far(2, 'FTT')],
      'cluster 1,2; local 1; reachable 1,2; any',
    ],
    ['local has nothing to fall back to', [at(1, 'FFT'), far(2, 'FTT')], 'cluster 2; local ; reachable 2; any'],
  ])('2.4 %s', (_name, endpoints, expected) => {
    expect(lists(endpoints, external)).toBe(expected);
  });

  test.each([
    ['a ready one elsewhere', far(2), 'any'],
    ['a serving and terminating one elsewhere', far(2, 'FTT'), 'any'],
    ['a serving one elsewhere that is not ready', far(2, 'FTF'), 'none'],
    ['a terminating one elsewhere that does not serve', far(2, 'FFT'), 'none'],
  ])('2.4 hasAny with only a local list: %s', (_name, other, expected) => {
    expect(lists([other], LOCAL)).toBe(`cluster ; local ; reachable ; ${expected}`);
  });
});

describe('2.4 as a client meets it', () => {
  const own = node(NODE, ['192.0.2.10'], 'z1');
  const hinted = [elsewhere('10.0.0.1', zones('z1')), elsewhere('10.0.0.2', zones('z2'))];
  test('2.4 the zone is the one that the own Node object names, else that of the configuration', () => {
    expect(ask([web(), slice('a', hinted)], WEB)).toBe('permitted shop/web:http 10.0.0.1:8080 10.0.0.2:8080');
    expect(ask([web(), slice('a', hinted), own], WEB)).toBe('permitted shop/web:http 10.0.0.1:8080');
    expect(ask([web(), slice('a', hinted)], WEB, { ...OPTIONS, zone: 'z2' })).toBe(
      'permitted shop/web:http 10.0.0.2:8080',
    );
    expect(ask([own, web(), slice('a', hinted)], WEB, { ...OPTIONS, zone: 'z2' })).toBe(
      'permitted shop/web:http 10.0.0.1:8080',
    );
    const unlabelled = node(NODE, ['192.0.2.10']);
    expect(ask([unlabelled, web(), slice('a', hinted)], WEB)).toContain('10.0.0.1:8080 10.0.0.2:8080');
    expect(ask([unlabelled, web(), slice('a', hinted)], WEB, { ...OPTIONS, zone: 'z2' })).toBe(
      'permitted shop/web:http 10.0.0.2:8080',
    );
    expect(ask([node('node-b', ['192.0.2.11'], 'z1'), web(), slice('a', hinted)], WEB)).toContain(
      '10.0.0.1:8080 10.0.0.2:8080',
    );
  });

  test('2.4 hints of several slices of one Service are judged together', () => {
    const plain = slice('b', [elsewhere('10.0.0.3')]);
    expect(ask([own, web(), slice('a', hinted), plain], WEB)).toBe(
      'permitted shop/web:http 10.0.0.1:8080 10.0.0.2:8080 10.0.0.3:8080',
    );
  });
});
