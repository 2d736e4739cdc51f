// SPDX-License-Identifier: Apache-2.0
/** What is known of our node: rule B7 in all its forms, what the Node object says, and what the map should hold. */
import { describe, expect, test } from 'vitest';
import { createLoop } from '../../../agent/loop.ts';
import { addressText } from '../../../core/address.ts';
import {
  addressesForNodePorts,
  decodeNode,
  effectiveNode,
  isLoopback,
  sameNode,
  wantedNodeAddresses,
  type NodeInfo,
} from '../../../core/control/nodes.ts';
import { NODE_ADDRESS_LOCAL, NODE_ADDRESS_NODE_PORT, NODE_ADDRESS_PRIMARY } from '../../../core/layout.gen.ts';
import type { NodeConfig } from '../../../core/service.ts';
import { address, range } from './balancer.ts';
import { compile } from './compiled.ts';
import { MemoryStore } from './memory.ts';
import { added, deleted, EMPTY_LISTS, node, NODE, service, tell } from './objects.ts';

type Configured = { readonly ips: readonly string[]; readonly serving?: readonly string[] };

function configured({ ips, serving }: Configured): NodeConfig {
  const nodePortAddresses = serving === undefined ? 'primary' : serving.map(range);
  return { ...NODE, nodeIPs: ips.map(address), nodePortAddresses };
}

const IPS = ['192.0.2.10', 'fd00:1::10', '198.18.0.10', '192.0.2.11', 'fd00:2::10'];

describe('B7: which addresses serve NodePorts', () => {
  const cases: readonly (readonly [string, readonly string[] | undefined, readonly string[], readonly string[]])[] = [
    ['the default: the primary of each family', undefined, ['192.0.2.10'], ['fd00:1::10']],
    ['no ranges at all: everything', [], ['192.0.2.10', '198.18.0.10', '192.0.2.11'], ['fd00:1::10', 'fd00:2::10']],
    ['a range of one family: all of the other', ['198.18.0.0/15'], ['198.18.0.10'], ['fd00:1::10', 'fd00:2::10']],
    ['a range of IPv6 alone', ['fd00:2::/64'], ['192.0.2.10', '198.18.0.10', '192.0.2.11'], ['fd00:2::10']],
    ['ranges of both', ['192.0.2.0/24', 'fd00:2::/64'], ['192.0.2.10', '192.0.2.11'], ['fd00:2::10']],
    [
      'several ranges, in the order of the addresses',
      ['192.0.2.11', '192.0.2.10'],
      ['192.0.2.10', '192.0.2.11'],
      ['fd00:1::10', 'fd00:2::10'],
    ],
    ['a range without an address of ours: nobody', ['203.0.113.0/24'], [], ['fd00:1::10', 'fd00:2::10']],
    ['all of a family', ['0.0.0.0/0', 'fd00:1::/64'], ['192.0.2.10', '198.18.0.10', '192.0.2.11'], ['fd00:1::10']],
    [
      'all of IPv6 is not all of IPv4',
      ['::/0', '192.0.2.0/24'],
      ['192.0.2.10', '192.0.2.11'],
      ['fd00:1::10', 'fd00:2::10'],
    ],
  ];

  test.each(cases)('%s', (_, serving, four, six) => {
    const config = configured({ ips: IPS, ...(serving === undefined ? {} : { serving }) });
    expect(addressesForNodePorts(config, 'IPv4').map(addressText)).toEqual(four);
    expect(addressesForNodePorts(config, 'IPv6').map(addressText)).toEqual(six);
  });

  test('B8: loopback never, not even where a range has it; an address that is said twice once', () => {
    const config = configured({ ips: ['127.0.0.1', '192.0.2.10', '::1', '192.0.2.10'], serving: ['0.0.0.0/0'] });
    expect(addressesForNodePorts(config, 'IPv4').map(addressText)).toEqual(['192.0.2.10']);
    expect(addressesForNodePorts(config, 'IPv6')).toEqual([]);
    expect(addressesForNodePorts(configured({ ips: ['127.0.0.1', '192.0.2.10'] }), 'IPv4').map(addressText)).toEqual([
      '192.0.2.10',
    ]);
  });

  test.each([
    ['127.0.0.1', true],
    ['127.255.0.9', true],
    ['::1', true],
    ['128.0.0.1', false],
    ['::2', false],
    ['::7f00:1', false],
  ])('%s is loopback: %s', (text, is) => {
    expect(isLoopback(address(text))).toBe(is);
  });

  test('a row for each address, of the families that the Service has', () => {
    const spec = {
      clusterIPs: ['10.96.0.1'],
      ipFamilies: ['IPv4'],
      ports: [{ name: 'http', port: 80, nodePort: 30_080 }],
    };
    const rows = (config: NodeConfig): string[] =>
      compile([added(service('web', '10.96.0.1', spec))], config)
        .frontends.filter(({ kind }) => kind === 'NodePort')
        .map(({ address: at, port }) => `${at}:${port}`);
    expect(rows(configured({ ips: IPS }))).toEqual(['192.0.2.10:30080']);
    expect(rows(configured({ ips: IPS, serving: ['192.0.2.0/24'] }))).toEqual(['192.0.2.10:30080', '192.0.2.11:30080']);
    expect(rows(configured({ ips: [] }))).toEqual([]);
  });
});

describe('the Node object', () => {
  const listed = (...addresses: readonly (readonly [string, string])[]): NodeInfo | undefined =>
    decodeNode({
      kind: 'Node',
      metadata: { name: 'node-a' },
      status: { addresses: addresses.map(([type, text]) => ({ type, address: text })) },
    });

  test('internal addresses before external ones, each in its order; names and nonsense are left out', () => {
    const info = listed(
      ['ExternalIP', '203.0.113.9'],
      ['Hostname', 'node-a'],
      ['InternalIP', 'fd00:1::10'],
      ['InternalDNS', '192.0.2.99'],
      ['InternalIP', '192.0.2.10'],
      ['InternalIP', 'nonsense'],
      ['ExternalIP', '198.18.0.1'],
    );
    expect(info?.addresses.map(addressText)).toEqual(['fd00:1::10', '192.0.2.10', '203.0.113.9', '198.18.0.1']);
  });

  test('it counts where the configuration says nothing: addresses; and its zone before the configured one', () => {
    const nodes = new Map([['node-a', { name: 'node-a', zone: 'z9', addresses: [address('192.0.2.10')] }]]);
    const known = effectiveNode(nodes, { ...NODE, nodeIPs: [] });
    expect([known.zone, known.nodeIPs.map(addressText)]).toEqual(['z9', ['192.0.2.10']]);
    const given = effectiveNode(nodes, { ...NODE, nodeIPs: [address('198.18.0.10')] });
    expect(given.nodeIPs.map(addressText)).toEqual(['198.18.0.10']);
    const other = { ...NODE, nodeName: 'node-b' };
    expect(effectiveNode(nodes, other)).toBe(other);
    const noZone = new Map([['node-a', { name: 'node-a', zone: '', addresses: [] }]]);
    expect(effectiveNode(noZone, NODE).zone).toBe('z1');
  });

  test('two readings are one where zone and addresses are, in order', () => {
    const info = (zone: string, ...texts: string[]): NodeInfo => ({ name: 'n', zone, addresses: texts.map(address) });
    const base = info('z1', '192.0.2.10', '192.0.2.11');
    expect(sameNode(base, info('z1', '192.0.2.10', '192.0.2.11'))).toBe(true);
    for (const other of [
      info('z2', '192.0.2.10', '192.0.2.11'),
      info('z1', '192.0.2.11', '192.0.2.10'),
      info('z1', '192.0.2.10'),
      info('z1', '192.0.2.10', '192.0.2.11', '192.0.2.12'),
    ])
      expect(sameNode(base, other)).toBe(false);
  });

  test('a Node without a name is nobody', () => {
    expect(decodeNode({ kind: 'Node', metadata: {} })).toBeUndefined();
  });
});

describe('the map of addresses', () => {
  const LOCAL = NODE_ADDRESS_LOCAL;
  const SERVES = LOCAL | NODE_ADDRESS_NODE_PORT;

  test('each says that it is ours, whether it serves NodePorts, and whether it is the primary of its family', () => {
    const flags = (config: NodeConfig): (readonly [string, number])[] =>
      wantedNodeAddresses(config).map(({ address: at, flags: bits }) => [addressText(at), bits]);
    expect(flags(configured({ ips: IPS }))).toEqual([
      ['192.0.2.10', SERVES | NODE_ADDRESS_PRIMARY],
      ['198.18.0.10', LOCAL],
      ['192.0.2.11', LOCAL],
      ['fd00:1::10', SERVES | NODE_ADDRESS_PRIMARY],
      ['fd00:2::10', LOCAL],
    ]);
    expect(flags(configured({ ips: ['127.0.0.1', '192.0.2.10', '192.0.2.11'], serving: ['192.0.2.11/32'] }))).toEqual([
      ['192.0.2.10', LOCAL | NODE_ADDRESS_PRIMARY],
      ['192.0.2.11', SERVES],
    ]);
    expect(flags(configured({ ips: [] }))).toEqual([]);
  });

  test('an event of our node changes only what differs, one of another node nothing', () => {
    const store = new MemoryStore();
    const loop = createLoop({
      store,
      node: { ...NODE, nodeIPs: [] },
      whyNot: () => undefined,
      onProblem: () => undefined,
    });
    tell(loop, [...EMPTY_LISTS, added(node('node-a', 'z1', ['192.0.2.10', '192.0.2.11', 'fd00:1::10']))]);
    loop.step();
    expect([...store.nodeAddresses()]).toEqual([
      ['192.0.2.10', SERVES | NODE_ADDRESS_PRIMARY],
      ['192.0.2.11', LOCAL],
      ['fd00:1::10', SERVES | NODE_ADDRESS_PRIMARY],
    ]);
    const steps: string[] = [];
    store.onStep = (operation) => {
      if (operation.op !== 'barrier') steps.push(`${operation.op} ${operation.map.key.text(operation.key)}`);
    };
    tell(loop, [added(node('node-b', 'z1', ['192.0.2.99']))]);
    loop.step();
    expect(steps).toEqual([]);
    tell(loop, [added(node('node-a', 'z1', ['192.0.2.11', 'fd00:1::10']))]);
    loop.step();
    expect(steps).toEqual(['delete address=192.0.2.10', 'set address=192.0.2.11']);
    expect(store.nodeAddresses().get('192.0.2.11')).toBe(SERVES | NODE_ADDRESS_PRIMARY);
    tell(loop, [deleted(node('node-a', 'z1'))]);
    loop.step();
    expect(store.nodeAddresses()).toEqual(new Map());
  });

  test('NodePorts and host ports follow the addresses of the Node object', () => {
    const store = new MemoryStore();
    const loop = createLoop({
      store,
      node: { ...NODE, nodeIPs: [] },
      whyNot: () => undefined,
      onProblem: () => undefined,
    });
    const ports = [{ name: 'http', port: 80, nodePort: 30_080 }];
    tell(loop, [...EMPTY_LISTS, added(service('web', '10.96.0.1', { ports }))]);
    const places = (): string[] =>
      store
        .keys()
        .filter(({ port }) => port === 30_080)
        .map(({ address: at }) => addressText(at));
    loop.step();
    expect(places()).toEqual([]);
    expect(loop.problems()).toMatchObject([{ field: 'spec.ports[0].nodePort' }]);
    for (const addresses of [['192.0.2.10', '192.0.2.11'], ['192.0.2.11'], []]) {
      tell(loop, [added(node('node-a', 'z1', addresses))]);
      loop.step();
      expect(places()).toEqual(addresses.slice(0, 1));
    }
  });
});
