// SPDX-License-Identifier: Apache-2.0
/** NodePorts: on which addresses of the node, for whom, and what a Node object has to say. */
import { describe, expect, test } from 'vitest';
import type { NodeObject, ServiceObject } from '../../../core/objects.ts';
import { createOracle, type OracleOptions } from '../../../core/oracle.ts';
import type { NodePortAddresses } from '../../../core/oracle/nodeports.ts';
import {
  address,
  elsewhere,
  endpoint,
  meet,
  meetingText,
  node,
  NODE,
  OPTIONS,
  prefix,
  question,
  slice,
  web,
  WEB,
} from './world.ts';

const DUAL = { clusterIPs: ['10.96.0.1', 'fd00:96::1'], ipFamilies: ['IPv4', 'IPv6'] };
const PORTS = [{ name: 'http', port: 80, protocol: 'TCP', nodePort: 30080 }];
const SERVED: ServiceObject = web({ type: 'NodePort', ports: PORTS, ...DUAL });
const ENDPOINTS = [slice('a', [endpoint('10.0.0.1')]), slice('b', [endpoint('fd00:1::1')])];
const ALL = ['192.0.2.10', '192.0.2.12', 'fd00:88::a', '2001:db8::20', '127.0.0.1', '::1', '192.0.2.99'];

/** Which of all addresses serve the NodePort. */
function serving(options: Partial<OracleOptions>, ...nodes: NodeObject[]): string {
  return ALL.filter((ip) => {
    const text = ip.includes(':') ? `[${ip}]:30080/TCP` : `${ip}:30080/TCP`;
    return meet([SERVED, ...ENDPOINTS, ...nodes], text, 'pod 10.0.5.5', { ...OPTIONS, ...options }) !== 'pass';
  }).join(' ');
}

describe('B7 the addresses that serve NodePorts', () => {
  const nodeIPs = ['fd00:88::a', '192.0.2.10', '2001:db8::20', '192.0.2.12'].map(address);
  test.each<[string, NodePortAddresses | undefined, string]>([
    ['by default the first of each family', undefined, '192.0.2.10 fd00:88::a'],
    ['an empty list is the default', [], '192.0.2.10 fd00:88::a'],
    ['primary', ['primary'], '192.0.2.10 fd00:88::a'],
    ['ranges of both families', [prefix('192.0.2.12/32'), prefix('2001:db8::/32')], '192.0.2.12 2001:db8::20'],
    ['a family without a range has all of its own', [prefix('192.0.2.12/32')], '192.0.2.12 fd00:88::a 2001:db8::20'],
    ['primary beside ranges is for the family without', ['primary', prefix('192.0.2.12/32')], '192.0.2.12 fd00:88::a'],
    [
      'a range of everything is all of its family',
      [prefix('0.0.0.0/0')],
      '192.0.2.10 192.0.2.12 fd00:88::a 2001:db8::20',
    ],
    [
      'a range of everything says nothing of the other family',
      [prefix('::/0'), 'primary'],
      '192.0.2.10 fd00:88::a 2001:db8::20',
    ],
    ['a range that none is in leaves none of its family', [prefix('10.0.0.0/8'), 'primary'], 'fd00:88::a'],
  ])('%s', (_name, nodePortAddresses, expected) => {
    expect(serving({ nodeIPs, ...(nodePortAddresses && { nodePortAddresses }) })).toBe(expected);
  });

  test('where none are configured they are those of the own Node object, the internal before the external', () => {
    const listed = [
      { type: 'ExternalIP', address: '192.0.2.10' },
      { type: 'Hostname', address: '192.0.2.99' },
      { type: 'InternalIP', address: 'nonsense' },
      { type: 'InternalIP', address: '192.0.2.12' },
    ];
    const own: NodeObject = { ...node(NODE, []), status: { addresses: listed } };
    expect(serving({}, own)).toBe('192.0.2.12');
    expect(serving({ nodePortAddresses: [prefix('0.0.0.0/0')] }, own)).toBe('192.0.2.10 192.0.2.12');
    expect(serving({}, node('node-b', ['192.0.2.10']))).toBe('');
    expect(serving({ nodeIPs: [address('192.0.2.10')] }, own)).toBe('192.0.2.10');
  });

  test('B8 loopback never serves, nor counts as the first', () => {
    const options = { nodeIPs: [address('127.0.0.1'), address('::1'), address('192.0.2.10')] };
    expect(serving(options)).toBe('192.0.2.10');
    expect(serving({ ...options, nodePortAddresses: [prefix('127.0.0.0/8')] })).toBe('');
  });
});

describe('B6 a NodePort', () => {
  const own = node(NODE, ['192.0.2.10', 'fd00:88::a']);
  const objects = [SERVED, ...ENDPOINTS, own, node('node-b', ['192.0.2.11'])];
  const outside = 'outside 203.0.113.9';
  test.each([
    ['its own address, protocol and number', '192.0.2.10:30080/TCP', '10.0.0.1 sees node'],
    ['the same by IPv6', '[fd00:88::a]:30080/TCP', 'fd00:1::1 sees node'],
    ['A5 another number', '192.0.2.10:30081/TCP', 'pass'],
    ['A5 another protocol', '192.0.2.10:30080/UDP', 'pass'],
    ["another node's address", '192.0.2.11:30080/TCP', 'pass'],
    ['an address of no node', '192.0.2.99:30080/TCP', 'pass'],
  ])('%s', (_name, text, expected) => {
    const from = text.startsWith('[') ? 'outside 2001:db8::9' : outside;
    expect(meet(objects, text, from)).toBe(expected);
  });

  test.each<[string, ServiceObject, string]>([
    ['A9 is served whatever the type says', web({ type: 'ClusterIP', ports: PORTS }), '10.0.0.1 sees node'],
    ['A9 is not there where none was allocated', web({ type: 'LoadBalancer' }), 'pass'],
    ['A1 is not there without a ClusterIP', web({ type: 'NodePort', clusterIP: 'None', ports: PORTS }), 'pass'],
    ['H1 is not there in a family that the Service lacks', web({ clusterIP: 'fd00:96::1', ports: PORTS }), 'pass'],
    [
      '1.4 has the whole list whatever iTP says',
      web({ ports: PORTS, internalTrafficPolicy: 'Local' }),
      '10.0.0.2 sees node',
    ],
    ['B6 has no source ranges', web({ ports: PORTS, loadBalancerSourceRanges: ['10.0.0.0/8'] }), '10.0.0.1 sees node'],
    [
      'A2 of another proxy is not ours',
      web({ ports: PORTS }, { 'service.kubernetes.io/service-proxy-name': 'other' }),
      'pass',
    ],
  ])('%s', (_name, service, expected) => {
    const endpoints = expected.startsWith('10.0.0.2') ? [slice('a', [elsewhere('10.0.0.2')])] : ENDPOINTS;
    expect(meet([service, ...endpoints, own], '192.0.2.10:30080/TCP', outside)).toBe(expected);
  });

  test('H2 a family that the node does not serve has none', () => {
    const options = { ...OPTIONS, families: ['IPv4'] as const };
    expect(meet(objects, '[fd00:88::a]:30080/TCP', 'outside 2001:db8::9', options)).toBe('pass');
  });

  test('A7 the addresses of Services come first', () => {
    const first = web({ ports: [{ name: 'http', port: 30080, nodePort: 30080 }], externalIPs: ['192.0.2.10'] });
    const zoo = { ...SERVED, metadata: { namespace: 'shop', name: 'apes' } };
    expect(meet([zoo, first, ...ENDPOINTS, own], '192.0.2.10:30080/TCP', outside)).toBe('10.0.0.1 sees node');
    expect(meet([zoo, ...ENDPOINTS, own], '192.0.2.10:30080/TCP', outside)).toBe('refuse');
  });

  test('A5 other ports of a node address are not ours, even within a service range', () => {
    const inside = node(NODE, ['10.96.9.9']);
    expect(meet([SERVED, inside], '10.96.9.9:80/TCP', 'pod 10.0.5.5')).toBe('pass');
    expect(meet([SERVED], '10.96.9.9:80/TCP', 'pod 10.0.5.5')).toBe('drop-unallocated');
  });

  test('B16 a NodePort and the addresses of its node come and go, the ClusterIP untouched', () => {
    const oracle = createOracle(OPTIONS);
    for (const object of [SERVED, ...ENDPOINTS, own]) oracle.apply({ type: 'ADDED', object });
    const said = (): string[] =>
      ['192.0.2.10:30080/TCP', '192.0.2.12:30080/TCP', WEB].map((text) => {
        const asked = question(text, 'process');
        return meetingText(oracle.answer(asked), asked);
      });
    const served = '10.0.0.1 sees node';
    expect(said()).toEqual([served, 'pass', served]);
    oracle.apply({ type: 'MODIFIED', object: node(NODE, ['192.0.2.12']) });
    expect(said()).toEqual(['pass', served, served]);
    oracle.apply({ type: 'MODIFIED', object: web(DUAL) });
    expect(said()).toEqual(['pass', 'pass', served]);
    oracle.apply({ type: 'MODIFIED', object: SERVED });
    oracle.apply({ type: 'LISTED', kind: 'Node', items: [] });
    expect(said()).toEqual(['pass', 'pass', served]);
  });
});
