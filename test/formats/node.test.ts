// SPDX-License-Identifier: Apache-2.0
/** Node facts: the role of each device by the first rule that matches, and files that are not node facts. */
import { expect, test } from 'vitest';

import { addressText } from '../../core/address.ts';
import { failureText } from '../../core/result.ts';
import { readNodeFacts, roleOf, type NodeFacts } from '../../formats/node.ts';

type Json = Readonly<Record<string, unknown>>;

const NODE = { node: 'node1', nodeIPs: ['10.88.0.11'], podCIDRs: ['10.244.1.0/24'], clusterCIDRs: ['10.244.0.0/16'] };

function link(ifindex: number, more: Json = {}): Json {
  return { ifindex, ifname: `dev${ifindex}`, mtu: 1500, address: '0A:00:00:00:00:01', link_type: 'ether', ...more };
}

function read(facts: Json): ReturnType<typeof readNodeFacts> {
  return readNodeFacts({ name: 'node1.json', bytes: Buffer.from(JSON.stringify(facts, undefined, 1)) });
}

function factsOf(facts: Json): NodeFacts {
  const result = read(facts);
  if (!result.ok) throw new Error(failureText(result.error));
  return result.value;
}

test.each([
  [
    'role of the file',
    { link: { role: 'tunnel' }, routes: [{ dst: 'default', dev: 'dev2' }] },
    'tunnel: given by the file',
  ],
  ['loopback', { link: { link_type: 'loopback' } }, 'loopback: loopback device'],
  ['route to a pod', { routes: [{ dst: '10.244.1.4', dev: 'dev2', scope: 'host' }] }, 'pod: route to pod 10.244.1.4'],
  [
    'route to a pod with its length',
    { routes: [{ dst: '10.244.1.4/32', dev: 'dev2' }] },
    'pod: route to pod 10.244.1.4',
  ],
  [
    'address of the node',
    { addresses: [{ ifindex: 2, addr: ['10.88.0.11/24'] }] },
    'uplink: has node address 10.88.0.11',
  ],
  ['default route', { routes: [{ dst: 'default', gateway: '10.1.0.1', dev: 'dev2' }] }, 'uplink: default route'],
  [
    'one of two default routes',
    { routes: [{ dst: 'default', nexthops: [{ dev: 'dev1' }, { dev: 'dev2', gateway: '10.1.0.1' }] }] },
    'uplink: default route',
  ],
  [
    'tunnel with routes to pods elsewhere',
    {
      link: { linkinfo: { info_kind: 'vxlan' } },
      routes: [{ dst: '10.244.2.0/24', gateway: '10.244.2.0', dev: 'dev2' }],
    },
    'tunnel: vxlan device',
  ],
  [
    'route to pods of another node',
    { routes: [{ dst: '10.244.2.0/24', gateway: '10.88.0.12', dev: 'dev2' }] },
    'uplink: route to pods of another node',
  ],
  [
    'route to this node’s range as a whole, as a bridge has it',
    { routes: [{ dst: '10.244.1.0/24', dev: 'dev2' }] },
    'ignored: no pod behind it, no node address, no route to other nodes',
  ],
  [
    'route to one address of another node’s pods',
    { routes: [{ dst: '10.244.2.4', dev: 'dev2' }] },
    'ignored: no pod behind it, no node address, no route to other nodes',
  ],
  [
    'route to the gateway address that every pod device carries',
    { addresses: [{ ifindex: 2, addr: ['10.244.1.1/32'] }], routes: [{ dst: '10.244.1.1', dev: 'dev2' }] },
    'ignored: no pod behind it, no node address, no route to other nodes',
  ],
  [
    'route to this node’s range by a gateway',
    { routes: [{ dst: '10.244.1.128/25', gateway: '10.88.0.12', dev: 'dev2' }] },
    'ignored: no pod behind it, no node address, no route to other nodes',
  ],
  [
    'route to a pod behind a gateway',
    { routes: [{ dst: '10.244.1.4', gateway: '10.88.0.12', dev: 'dev2' }] },
    'ignored: no pod behind it, no node address, no route to other nodes',
  ],
  [
    'route that is none of unicast',
    { routes: [{ type: 'blackhole', dst: '10.244.1.4', dev: 'dev2' }] },
    'ignored: no pod behind it, no node address, no route to other nodes',
  ],
  [
    'route of another device',
    { routes: [{ dst: 'default', dev: 'dev1' }] },
    'ignored: no pod behind it, no node address, no route to other nodes',
  ],
])('%s', (_, given: { link?: Json; routes?: readonly Json[]; addresses?: readonly Json[] }, expected) => {
  const { link: more, ...rest } = given;
  const [device] = factsOf({ ...NODE, links: [link(2, more)], ...rest }).devices;
  expect(`${device?.role}: ${device?.roleReason}`).toBe(expected);
});

test('a device tells what is behind it, of both families', () => {
  const facts = factsOf({
    ...NODE,
    podCIDRs: ['10.244.1.0/24', 'fd00:1::/64'],
    links: [link(1), link(2, { kind: 'veth' })],
    routes: [{ dst: '10.244.1.4', dev: 'dev2' }],
    routes6: [{ dst: 'fd00:1::4', dev: 'dev2' }],
  });
  const { podAddresses, ...device } = facts.devices[1] ?? { podAddresses: [] };
  expect(podAddresses.map(addressText)).toEqual(['10.244.1.4', 'fd00:1::4']);
  expect(device).toEqual({
    ifindex: 2,
    name: 'dev2',
    kind: 'veth',
    role: 'pod',
    roleReason: 'route to pod 10.244.1.4',
    mtu: 1500,
    mac: '0a:00:00:00:00:01',
  });
  expect(roleOf(facts, 2)).toBe('pod');
  expect(roleOf(facts, 3)).toBeUndefined();
});

test('without ranges of its own, a node’s pods are those of the cluster to which it has routes', () => {
  const routes = [{ dst: '10.244.9.4', dev: 'dev2' }];
  expect(factsOf({ ...NODE, podCIDRs: [], links: [link(2)], routes }).devices[0]?.role).toBe('pod');
});

test.each([
  ['', 'node1.json offset 0: the file is empty'],
  ['{', 'node1.json line 1: '],
  ['[]', 'node1.json line 1: Invalid input: expected object, received array'],
  ['{"nodeIPs":[],"links":[]}', 'node1.json line 1: node: Invalid input: expected string, received undefined'],
])('%j is not node facts', (text, expected) => {
  const result = readNodeFacts({ name: 'node1.json', bytes: Buffer.from(text) });
  expect(result.ok ? 'read' : failureText(result.error)).toContain(expected);
});

test.each([
  ['no address', { nodeIPs: [] }, 'nodeIPs: '],
  ['an address that is none', { nodeIPs: ['10.88.0'] }, 'nodeIPs[0]: address "10.88.0": not an IP address'],
  [
    'a range that is none',
    { podCIDRs: ['10.244.1.0/240'] },
    'podCIDRs[0]: range "10.244.1.0/240": not an IP address range',
  ],
  ['a link without an index', { links: [link(0)] }, 'links[0].ifindex: '],
  ['two links of one index', { links: [link(2), link(2)] }, 'links[1].ifindex: 2 is links[0] as well'],
  ['an unknown role', { links: [link(2, { role: 'peer' })] }, 'links[0].role: '],
  [
    'a route to nowhere',
    { routes: [{ dst: 'nowhere' }] },
    'routes[0].dst: neither "default" nor an address range: "nowhere"',
  ],
  [
    'a device address that is none',
    { addresses: [{ ifindex: 1, addr: ['x/8'] }] },
    'addresses[0].addr[0]: not an address',
  ],
])('%s is refused by its field', (_, more, expected) => {
  const result = read({ ...NODE, links: [], ...more });
  expect(result.ok ? 'read' : failureText(result.error)).toMatch(/^node1\.json line \d+: /);
  expect(result.ok ? 'read' : failureText(result.error)).toContain(`: ${expected}`);
});
