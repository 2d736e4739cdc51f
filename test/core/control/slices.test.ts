// SPDX-License-Identifier: Apache-2.0
/** What a version of a slice shares with the one before: who stays is the same object, and so are its backends. */
import { describe, expect, test } from 'vitest';
import { port as numbered, TCP } from '../../../core/address.ts';
import { candidateOf, decodeSlice, type SliceInfo } from '../../../core/control/slices.ts';
import type { EndpointObject, EndpointSliceObject } from '../../../core/objects.ts';
import { endpoint, slice } from './objects.ts';

function decoded(object: EndpointSliceObject, before?: SliceInfo): SliceInfo {
  const info = decodeSlice(object, before);
  if (info === undefined) throw new Error('the slice has a name and a label');
  return info;
}

const web = (endpoints: readonly EndpointObject[]): EndpointSliceObject => slice('web', endpoints);
const SAID = { node: 'node-a', zone: 'z1', pod: 'uid-1', forZones: ['z1'], forNodes: ['node-a'] };

describe('an endpoint', () => {
  test('that says the same as before is the same object, whatever its neighbours do', () => {
    const before = decoded(web([endpoint('10.0.0.1', SAID), endpoint('10.0.0.2')]));
    const after = decoded(web([endpoint('10.0.0.3'), endpoint('10.0.0.1', SAID)]), before);
    expect(after.endpoints.find(({ text }) => text === '10.0.0.1')).toBe(before.endpoints[0]);
    expect(decoded(web([endpoint('10.0.0.1', SAID)])).endpoints[0]).not.toBe(before.endpoints[0]);
  });

  const changes: readonly (readonly [string, Parameters<typeof endpoint>[1]])[] = [
    ['is not ready', { ...SAID, ready: false }],
    ['does not serve', { ...SAID, serving: false }],
    ['ends', { ...SAID, terminating: true }],
    ['is on another node', { ...SAID, node: 'node-b' }],
    ['is in another zone', { ...SAID, zone: 'z2' }],
    ['is another pod', { ...SAID, pod: 'uid-2' }],
    ['is for another zone', { ...SAID, forZones: ['z2'] }],
    ['is for one zone more', { ...SAID, forZones: ['z1', 'z2'] }],
    ['is for another node', { ...SAID, forNodes: ['node-b'] }],
  ];
  test.each(changes)('that %s is another one', (_, options) => {
    const before = decoded(web([endpoint('10.0.0.1', SAID)]));
    const object = web([endpoint('10.0.0.1', options)]);
    expect(decoded(object, before).endpoints[0]).not.toBe(before.endpoints[0]);
    expect(decoded(structuredClone(object), before).endpoints).toEqual(decoded(structuredClone(object)).endpoints);
  });

  test('of a slice of the other family is another one', () => {
    const before = decoded(web([endpoint('10.0.0.1')]));
    const six = slice('web', [endpoint('10.0.0.1')], { addressType: 'IPv6' });
    expect(decoded(six, before).endpoints[0]).toMatchObject({ address: null, text: '10.0.0.1' });
  });
});

describe('a backend', () => {
  const ports = [80, 81, 82].map((number, place) => ({
    place,
    name: `p${place}`,
    port: numbered(number),
    protocol: TCP,
  }));

  test('of an endpoint and a port is made once, each port for itself, in any order', () => {
    const [one] = decoded(web([endpoint('10.0.0.1')])).endpoints;
    const [first, second, third] = ports;
    if (one === undefined || first === undefined || second === undefined || third === undefined)
      throw new Error('one endpoint has three ports');
    const made = [third, first, second].map((port) => candidateOf(one, port));
    expect([third, first, second].map((port) => candidateOf(one, port) === made.shift())).toEqual([true, true, true]);
    expect(candidateOf(one, second).text).toBe('10.0.0.1:81');
    expect([one.first, ...one.others]).toHaveLength(3);
  });

  test('of each of many ports is made once as well', () => {
    const many = Array.from({ length: 20 }, (_, place) => ({
      place,
      name: `p${place}`,
      port: numbered(place + 1),
      protocol: TCP,
    }));
    for (const order of [many, many.toReversed()]) {
      const [one] = decoded(web([endpoint('10.0.0.1')])).endpoints;
      if (one === undefined) throw new Error('there is one endpoint');
      const made = order.map((port) => candidateOf(one, port));
      expect(made.map(({ port }) => port)).toEqual(order.map(({ port }) => port));
      expect(order.every((port, index) => candidateOf(one, port) === made[index])).toBe(true);
    }
  });

  test('whose port has another number is another one', () => {
    const [one] = decoded(web([endpoint('10.0.0.1')])).endpoints;
    const [first] = ports;
    if (one === undefined || first === undefined) throw new Error('one endpoint has three ports');
    const before = candidateOf(one, first);
    const after = candidateOf(one, { ...first, port: numbered(8080) });
    expect([before.text, after.text]).toEqual(['10.0.0.1:80', '10.0.0.1:8080']);
  });
});

test('an object is read once', () => {
  const object = web([endpoint('10.0.0.1')]);
  expect(decoded(object)).toBe(decoded(object));
});

test('a slice is plain where each endpoint has an address and no two have the same', () => {
  const plain = (...addresses: readonly string[]): boolean =>
    decoded(web(addresses.map((each) => endpoint(each)))).isPlain;
  expect([plain(), plain('10.0.0.1'), plain('10.0.0.2', '10.0.0.1', '10.0.0.10')]).toEqual([true, true, true]);
  expect([plain('10.0.0.1', '10.0.0.2', '10.0.0.1'), plain('10.0.0.1', 'nope')]).toEqual([false, false]);
});
