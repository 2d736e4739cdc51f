// SPDX-License-Identifier: Apache-2.0
/** Addresses from outside of the cluster: LB VIPs with their source ranges, and external IPs. */
import { describe, expect, test } from 'vitest';
import type { ServiceObject } from '../../../core/objects.ts';
import { answerText } from '../../../core/oracle/answer.ts';
import { oracleOf } from '../../../core/oracle.ts';
import { balanced, endpoint, meet, node, NODE, OPTIONS, question, slice, web, WEB } from './world.ts';

const VIP = '198.51.100.8:80/TCP';
const ONE = slice('a', [endpoint('10.0.0.1')]);
const SERVED = '10.0.0.1 sees node';
const outside = 'outside 203.0.113.9';

describe('LB VIPs', () => {
  test.each<[string, ServiceObject, string, string]>([
    ['B9 of no mode', balanced('198.51.100.8'), VIP, SERVED],
    ['B9 of mode VIP', balanced('198.51.100.8', 'VIP'), VIP, SERVED],
    ['B9 of mode Proxy', balanced('198.51.100.8', 'Proxy'), VIP, 'pass'],
    ['A9 on a Service of type ClusterIP', { ...balanced('198.51.100.8'), spec: web().spec ?? {} }, VIP, SERVED],
    ['A5 at a port that nobody owns', balanced('198.51.100.8'), '198.51.100.8:81/TCP', 'pass'],
    ['A5 at a protocol that nobody owns', balanced('198.51.100.8'), '198.51.100.8:80/UDP', 'pass'],
    ['A5 at such a port within a service range', balanced('10.96.9.9'), '10.96.9.9:81/TCP', 'pass'],
    ['A8 that cannot be read', balanced('nonsense'), VIP, 'pass'],
    ['A8 with leading zeros', balanced('198.051.100.008'), VIP, SERVED],
    ['H1 of a family that its Service lacks', balanced('2001:db8::8'), '[2001:db8::8]:80/TCP', 'pass'],
  ])('%s', (_name, service, text, expected) => {
    const classes = text.startsWith('[') ? ['pod fd00:1::9'] : ['pod 10.0.5.5', 'process 192.0.2.10', outside];
    for (const from of classes) expect(meet([service, ONE], text, from)).toBe(expected);
  });

  test('A5 several Services share one address by their ports', () => {
    const other: ServiceObject = {
      ...balanced('198.51.100.8'),
      metadata: { namespace: 'shop', name: 'zoo' },
      spec: { clusterIP: '10.96.0.2', ports: [{ name: 'dns', port: 53, protocol: 'UDP' }] },
    };
    expect(meet([balanced('198.51.100.8'), other, ONE], VIP, outside)).toBe(SERVED);
    expect(meet([balanced('198.51.100.8'), other, ONE], '198.51.100.8:53/UDP', outside)).toBe('refuse');
  });

  test('B5 what is neither TCP, UDP nor SCTP is not judged at the address of a Service', () => {
    for (const from of [outside, 'pod 10.0.5.5'])
      expect(meet([balanced('198.51.100.8'), ONE], '198.51.100.8:0/1', from)).toBe('unsupported');
  });
});

describe('B10 source ranges', () => {
  const DUAL = { clusterIPs: ['10.96.0.1', 'fd00:96::1'], ipFamilies: ['IPv4', 'IPv6'] };
  /** Ports on every kind of frontend, and VIPs in both families. */
  function ranged(ranges: string[], rest: ServiceObject['spec'] = {}): ServiceObject {
    const ports = [{ name: 'http', port: 80, protocol: 'TCP', nodePort: 30080 }];
    const spec = { ...DUAL, ports, externalIPs: ['198.51.100.7'], loadBalancerSourceRanges: ranges, ...rest };
    return {
      ...web({ type: 'LoadBalancer', ...spec }),
      status: { loadBalancer: { ingress: [{ ip: '198.51.100.8' }, { ip: '2001:db8::8' }] } },
    };
  }
  const own = node(NODE, ['192.0.2.10', 'fd00:88::a']);
  const endpoints = [ONE, slice('b', [endpoint('fd00:1::1')])];
  const comes = (ranges: string[], from: string): string => {
    const text = from.includes(':') ? '[2001:db8::8]:80/TCP' : VIP;
    return meet([ranged(ranges), ...endpoints, own], text, from).replace(/^\S+ sees node$/, 'comes');
  };

  test.each<[string, string[], string, string]>([
    ['who is in one comes', ['203.0.113.0/24'], outside, 'comes'],
    ['who is in none is dropped', ['203.0.114.0/24'], outside, 'drop'],
    ['a pod is judged by its own address', ['203.0.113.0/24'], 'pod 10.0.5.5', 'drop'],
    ['a pod that is in one comes', ['10.0.0.0/16'], 'pod 10.0.5.5', 'comes'],
    ['a process is judged by its own address', ['203.0.113.0/24'], 'process 192.0.2.10', 'drop'],
    ['a process that is in one comes', ['192.0.2.10/32'], 'process 192.0.2.10', 'comes'],
    ['A8 spaces and zeros do not matter', [' 203.000.113.000/24 '], outside, 'comes'],
    ['A8 one that cannot be read is skipped', ['nonsense', '203.0.113.0/24'], outside, 'comes'],
    ['one that cannot be read lets nobody in', ['nonsense'], outside, 'drop'],
    ['one that cannot be read lets nobody in of either family', ['nonsense'], 'outside 2001:db8:9::9', 'drop'],
    ['an address is no range', ['203.0.113.9'], outside, 'drop'],
    ['none of the family is no restriction', ['2001:db8:9::/48'], outside, 'comes'],
    ['none of the other family is no restriction', ['203.0.113.0/24'], 'outside 2001:db8:9::9', 'comes'],
    ['everything is no restriction', ['10.0.0.0/8', '0.0.0.0/0'], outside, 'comes'],
    ['everything of the other family does not count', ['10.0.0.0/8', '::/0'], outside, 'drop'],
    [
      'everything of the other family is no restriction of it',
      ['10.0.0.0/8', '::/0'],
      'outside 2001:db8:9::9',
      'comes',
    ],
    ['the other family is judged by its own', ['10.0.0.0/8', '2001:db8:9::/48'], 'outside 2001:db8:8::8', 'drop'],
    ['an own VIP comes where the node is in one', ['192.0.2.0/24'], 'process 198.51.100.8', 'comes'],
    ['an own VIP does not come where the node is in none', ['10.0.0.0/8'], 'process 198.51.100.8', 'drop'],
    [
      'an own VIP comes by the node address of its family',
      ['192.0.2.0/24', '2001:db8:9::/48'],
      'process 2001:db8::8',
      'drop',
    ],
    ['an own VIP does not come by a node address of the other family', ['::/3'], 'process 2001:db8::8', 'drop'],
    ['a VIP of nobody does not come', ['192.0.2.0/24'], 'process 198.51.100.9', 'drop'],
  ])('%s', (_name, ranges, from, expected) => {
    expect(comes(ranges, from)).toBe(expected);
  });

  test('they restrict neither ClusterIP, NodePort nor external IP', () => {
    const objects = [ranged(['203.0.114.0/24']), ...endpoints, own];
    for (const text of ['192.0.2.10:30080/TCP', '198.51.100.7:80/TCP'])
      expect(meet(objects, text, outside)).toBe(SERVED);
    expect(meet(objects, WEB, 'pod 10.0.5.5')).toBe('10.0.0.1 sees client');
  });

  test('B11 without endpoints the others are dropped still, those in a range refused', () => {
    expect(meet([ranged(['203.0.113.0/24']), own], VIP, outside)).toBe('refuse');
    expect(meet([ranged(['203.0.113.0/24']), own], VIP, 'outside 203.0.114.1')).toBe('drop');
    const reasoned = oracleOf(OPTIONS, [ranged(['203.0.114.0/24']), own]);
    const asked = { ...question(VIP, 'outside'), clientAddress: question('203.0.113.9:0/TCP').address };
    expect(answerText(reasoned.answer(asked))).toBe('drop shop/web:http source-ranges');
  });

  test('a question that does not tell the client is answered with both', () => {
    expect(meet([ranged(['203.0.113.0/24']), ONE], VIP, 'outside')).toBe(`${SERVED} or drop`);
    expect(meet([ranged(['nonsense']), ONE], VIP, 'outside')).toBe('drop');
    expect(meet([ranged(['0.0.0.0/0']), ONE], VIP, 'outside')).toBe(SERVED);
    const six = [ranged(['::/0']), slice('b', [endpoint('fd00:1::1')])];
    expect(meet(six, '[2001:db8::8]:80/TCP', 'outside')).toBe('fd00:1::1 sees node');
  });
});

describe('external IPs', () => {
  const at = (ip: string, spec: ServiceObject['spec'] = {}): ServiceObject => web({ externalIPs: [ip], ...spec });
  test.each<[string, ServiceObject, string, string]>([
    ['B12 need not be of any node', at('198.51.100.7'), '198.51.100.7:80/TCP', SERVED],
    ['B12 may be one of the node', at('192.0.2.10'), '192.0.2.10:80/TCP', SERVED],
    [
      'B12 have no source ranges',
      at('198.51.100.7', { loadBalancerSourceRanges: ['10.0.0.0/8'] }),
      '198.51.100.7:80/TCP',
      SERVED,
    ],
    ['A1 of a headless Service', at('198.51.100.7', { clusterIP: 'None' }), '198.51.100.7:80/TCP', 'pass'],
    ['A5 at another port', at('198.51.100.7'), '198.51.100.7:81/TCP', 'pass'],
    ['A8 with leading zeros', at('198.051.100.007'), '198.51.100.7:80/TCP', SERVED],
  ])('%s', (_name, service, text, expected) => {
    expect(meet([service, ONE, node(NODE, ['192.0.2.10'])], text, outside)).toBe(expected);
  });

  test('2.4 a Service with one is accessible from outside: iTP Local leaves its whole list', () => {
    const service = at('198.51.100.7', { internalTrafficPolicy: 'Local' });
    const far = slice('a', [endpoint('10.0.0.1', { nodeName: 'node-b' })]);
    expect(meet([service, far], '198.51.100.7:80/TCP', outside)).toBe(SERVED);
  });
});
