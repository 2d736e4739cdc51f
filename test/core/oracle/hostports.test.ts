// SPDX-License-Identifier: Apache-2.0
/** Host ports of the node's own pods: which pods and containers have them, where, and whom they see. */
import { describe, expect, test } from 'vitest';
import type { ContainerObject, PodObject } from '../../../core/objects.ts';
import { createOracle } from '../../../core/oracle.ts';
import { ask, meet, meetingText, node, NODE, OPTIONS, question } from './world.ts';

const OPEN = { ...OPTIONS, hostPort: true };
const OWN = node(NODE, ['192.0.2.10', '192.0.2.12', 'fd00:88::a']);
const outside = 'outside 203.0.113.9';
type Port = NonNullable<ContainerObject['ports']>[number];

const ports = (fields: Partial<Port> = {}): ContainerObject => ({
  ports: [{ hostPort: 9000, containerPort: 8080, protocol: 'TCP', ...fields }],
});

function pod(spec: NonNullable<PodObject['spec']> = {}, status: PodObject['status'] = {}): PodObject {
  return {
    kind: 'Pod',
    metadata: { namespace: 'shop', name: 'cache' },
    spec: { nodeName: NODE, containers: [ports()], ...spec },
    status: { phase: 'Running', podIP: '10.0.0.9', podIPs: [{ ip: '10.0.0.9' }, { ip: 'fd00:1::9' }], ...status },
  };
}

const SERVED = '10.0.0.9 sees client';

describe('whose host ports are served', () => {
  test.each<[string, PodObject, string]>([
    ['a pod of this node', pod(), SERVED],
    ['a pod of another node', pod({ nodeName: 'node-b' }), 'pass'],
    ['a pod without a node', pod({ nodeName: '' }), 'pass'],
    ["a pod in the host's network", pod({ hostNetwork: true }), 'pass'],
    ['a pod that is pending', pod({}, { phase: 'Pending' }), SERVED],
    ['a pod that has succeeded', pod({}, { phase: 'Succeeded' }), 'pass'],
    ['a pod that has failed', pod({}, { phase: 'Failed' }), 'pass'],
    ['a pod with its one address', { ...pod(), status: { podIP: '10.0.0.9' } }, SERVED],
    ['a pod without an address', { ...pod(), status: {} }, 'pass'],
    ['a pod without an address of the family', pod({}, { podIPs: [{ ip: 'fd00:1::9' }] }), 'pass'],
    ['a pod whose address cannot be read', pod({}, { podIPs: [{ ip: 'nonsense' }] }), 'pass'],
    ['a sidecar', pod({ containers: [], initContainers: [{ ...ports(), restartPolicy: 'Always' }] }), SERVED],
    ['an init container that ends', pod({ containers: [], initContainers: [ports()] }), 'pass'],
    ['another protocol', pod({ containers: [ports({ protocol: 'UDP' })] }), 'pass'],
    ['a protocol of nobody', pod({ containers: [ports({ protocol: 'XTP' })] }), 'pass'],
    ['no port of the container', pod({ containers: [{ ports: [{ hostPort: 9000 }] }] }), 'pass'],
    ['no port of the host', pod({ containers: [ports({ hostPort: 0 })] }), 'pass'],
  ])('%s', (_name, object, expected) => {
    expect(meet([object, OWN], '192.0.2.10:9000/TCP', outside, OPEN)).toBe(expected);
  });

  test('they are served only where the configuration says so', () => {
    expect(meet([pod(), OWN], '192.0.2.10:9000/TCP', outside)).toBe('pass');
  });
});

describe('where they are served', () => {
  const all = ['192.0.2.10', '192.0.2.12', '198.51.100.7', '127.0.0.1', '[fd00:88::a]', '[2001:db8::7]'];
  test.each([
    ['nothing said', undefined, '192.0.2.10 [fd00:88::a]'],
    ['an empty text', '', '192.0.2.10 [fd00:88::a]'],
    ['everywhere in IPv4', '0.0.0.0', '192.0.2.10'],
    ['everywhere in IPv6', '::', '[fd00:88::a]'],
    ['A8 everywhere, with zeros', '000.0.0.0', '192.0.2.10'],
    ['one address', '192.0.2.12', '192.0.2.12'],
    ['an address that the node does not name', '198.51.100.7', '198.51.100.7'],
    ['an address of the other family', '2001:db8::7', '[2001:db8::7]'],
    ['B8 loopback', '127.0.0.1', ''],
    ['what cannot be read', 'nonsense', ''],
  ])('%s', (_name, hostIP, expected) => {
    const object = pod({ containers: [ports(hostIP === undefined ? {} : { hostIP })] });
    const served = all.filter((ip) => meet([object, OWN], `${ip}:9000/TCP`, 'pod', OPEN) !== 'pass');
    expect(served.join(' ')).toBe(expected);
  });

  test('the port is that of the container, the name that of the pod', () => {
    expect(ask([pod(), OWN], '192.0.2.10:9000/TCP', OPEN)).toBe('permitted shop/cache:hostPort:9000 10.0.0.9:8080');
    expect(ask([pod(), OWN], '[fd00:88::a]:9000/TCP', OPEN)).toBe(
      'permitted shop/cache:hostPort:9000 [fd00:1::9]:8080',
    );
  });
});

describe('whom the pod sees', () => {
  test.each([
    ['pod 10.0.5.5', SERVED],
    ['foreign-pod 10.0.6.6', SERVED],
    [outside, SERVED],
    ['process 192.0.2.10', '10.0.0.9 sees node'],
    ['pod 10.0.0.9', '10.0.0.9 sees node'],
  ])('%s', (from, expected) => {
    for (const masqueradeAll of [false, true])
      expect(meet([pod(), OWN], '192.0.2.10:9000/TCP', from, { ...OPEN, masqueradeAll })).toBe(expected);
  });
});

test('a host port follows its pod', () => {
  const oracle = createOracle(OPEN);
  oracle.apply({ type: 'ADDED', object: OWN });
  const said = (object: PodObject): string => {
    oracle.apply({ type: 'MODIFIED', object });
    const asked = question('192.0.2.10:9000/TCP', 'outside');
    return meetingText(oracle.answer(asked), asked);
  };
  expect(said({ ...pod(), status: { phase: 'Pending' } })).toBe('pass');
  expect(said(pod())).toBe(SERVED);
  expect(said(pod({}, { podIPs: [{ ip: '10.0.0.10' }] }))).toBe('10.0.0.10 sees client');
  expect(said(pod({}, { phase: 'Succeeded' }))).toBe('pass');
});
