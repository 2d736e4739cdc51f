// SPDX-License-Identifier: Apache-2.0
/** Host ports: whose pods, which addresses, which containers, what a client meets, and who wins an address. */
import { describe, expect, test } from 'vitest';
import type { CompiledServices } from '../../../core/control/tell/document.ts';
import type { ContainerObject, PodObject } from '../../../core/objects.ts';
import type { NodeConfig } from '../../../core/service.ts';
import { address } from './balancer.ts';
import { compile } from './compiled.ts';
import { added, deleted, node, pod, service } from './objects.ts';

const HOST: Partial<NodeConfig> = {
  hostPort: true,
  nodeIPs: ['192.0.2.10', '192.0.2.11', 'fd00:1::10'].map(address),
};
const IPS = ['10.0.0.1', 'fd00:a::1'];
const WEB = { hostPort: 8080, containerPort: 80 };

/** `address:port/protocol -> backends` of each row. */
function rows({ frontends }: CompiledServices): string[] {
  return frontends.map(({ address: at, internal, kind, port, protocol }) => {
    const backends = internal?.backends.map((backend) => `${backend.address}:${backend.port}`) ?? [];
    return `${kind} ${at}:${port}/${protocol} -> ${backends.join(' ')}`;
  });
}

function rowsOf(object: PodObject, config: Partial<NodeConfig> = {}): string[] {
  return rows(compile([added(object)], { ...HOST, ...config }));
}

function problemsOf(object: PodObject): string[] {
  return compile([added(object)], HOST).problems.map((each) => `${each.object} ${each.field}: ${each.message}`);
}

const BOTH = ['HostPort 192.0.2.10:8080/TCP -> 10.0.0.1:80', 'HostPort fd00:1::10:8080/TCP -> fd00:a::1:80'];

describe('whose pods', () => {
  test('those of this node, with an address, while they run', () => {
    expect(rowsOf(pod('p', IPS, [WEB]))).toEqual(BOTH);
    expect(rowsOf(pod('p', IPS, [WEB], { nodeName: 'node-b', containers: [{ ports: [WEB] }] }))).toEqual([]);
    expect(rowsOf(pod('p', IPS, [WEB], { nodeName: '', containers: [{ ports: [WEB] }] }))).toEqual([]);
    expect(rowsOf(pod('p', [], [WEB]))).toEqual([]);
  });

  test('not those of a node without a name, nor where host ports are not ours to serve', () => {
    const nowhere = pod('p', IPS, [WEB], { nodeName: '', containers: [{ ports: [WEB] }] });
    expect(rowsOf(nowhere, { nodeName: '' })).toEqual([]);
    expect(rowsOf(pod('p', IPS, [WEB]), { hostPort: false })).toEqual([]);
  });

  test('not those in the network of the node', () => {
    expect(
      rowsOf(pod('p', IPS, [], { nodeName: 'node-a', hostNetwork: true, containers: [{ ports: [WEB] }] })),
    ).toEqual([]);
  });

  test.each([
    ['Running', 2],
    ['Pending', 2],
    ['Unknown', 2],
    ['Succeeded', 0],
    ['Failed', 0],
  ])('phase %s: %i rows', (phase, count) => {
    const made = pod('p', IPS, [WEB]);
    expect(rowsOf({ ...made, status: { ...made.status, phase } })).toHaveLength(count);
  });

  test('podIP alone counts where podIPs are not told; of several addresses of a family the first', () => {
    const made = pod('p', [], [WEB]);
    expect(rowsOf({ ...made, status: { podIP: '10.0.0.9' } })).toEqual(['HostPort 192.0.2.10:8080/TCP -> 10.0.0.9:80']);
    const two = { ...made, status: { podIP: '10.0.0.9', podIPs: [{ ip: '10.0.0.1' }, { ip: '10.0.0.2' }] } };
    expect(rowsOf(two)).toEqual(['HostPort 192.0.2.10:8080/TCP -> 10.0.0.1:80']);
  });
});

describe('which addresses of the node', () => {
  const at = (hostIP: string, config: Partial<NodeConfig> = {}): string[] =>
    rowsOf(pod('p', IPS, [{ ...WEB, hostIP }]), config).map((row) => row.split(' ')[1] ?? '');

  test('without hostIP all that serve NodePorts, both families; with a wildcard those of its family', () => {
    expect(at('')).toEqual(['192.0.2.10:8080/TCP', 'fd00:1::10:8080/TCP']);
    expect(at('0.0.0.0')).toEqual(['192.0.2.10:8080/TCP']);
    expect(at('::')).toEqual(['fd00:1::10:8080/TCP']);
    expect(at('', { nodePortAddresses: [] })).toEqual([
      '192.0.2.10:8080/TCP',
      '192.0.2.11:8080/TCP',
      'fd00:1::10:8080/TCP',
    ]);
    expect(at('', { nodeIPs: [] })).toEqual([]);
  });

  test('one that is named alone, whether it serves NodePorts or not, if the pod has its family', () => {
    expect(at('192.0.2.11')).toEqual(['192.0.2.11:8080/TCP']);
    expect(at('198.51.100.7')).toEqual(['198.51.100.7:8080/TCP']);
    expect(at('192.0.2.011')).toEqual(['192.0.2.11:8080/TCP']);
    const four = pod('p', ['10.0.0.1'], [{ ...WEB, hostIP: 'fd00:1::10' }]);
    expect(rowsOf(four)).toEqual([]);
  });

  test('loopback is not served, and said so; what is no address is named', () => {
    expect(at('127.0.0.1')).toEqual([]);
    const fields = (hostIP: string): string[] => problemsOf(pod('p', IPS, [{ ...WEB, hostIP }]));
    expect(fields('127.0.0.1')).toEqual([
      'Pod shop/p spec.containers[0].ports[0].hostIP: 127.0.0.1 is not served: host ports on loopback addresses are not',
    ]);
    expect(fields('nonsense')).toEqual([
      'Pod shop/p spec.containers[0].ports[0].hostIP: not an IP address: "nonsense"',
    ]);
  });

  test('the addresses of the Node object, where none are configured', () => {
    const events = [added(pod('p', ['10.0.0.1'], [WEB])), added(node('node-a', 'z1', ['192.0.2.44']))];
    expect(rows(compile(events, { ...HOST, nodeIPs: [] }))).toEqual(['HostPort 192.0.2.44:8080/TCP -> 10.0.0.1:80']);
  });
});

describe('which containers and ports', () => {
  const containers = (init: readonly ContainerObject[], main: readonly ContainerObject[]): string[] =>
    rowsOf(pod('p', ['10.0.0.1'], [], { nodeName: 'node-a', initContainers: init, containers: main }));

  test('all containers, and of those before them the ones that keep running', () => {
    const port = (hostPort: number): ContainerObject => ({ ports: [{ hostPort, containerPort: 80 }] });
    expect(containers([{ ...port(1), restartPolicy: 'Always' }, port(2)], [port(3), port(4)])).toEqual(
      [1, 3, 4].map((number) => `HostPort 192.0.2.10:${number}/TCP -> 10.0.0.1:80`),
    );
  });

  test('TCP where nothing is said, UDP and SCTP where it is; without a host port nothing', () => {
    const ports = [
      { hostPort: 53, containerPort: 5353, protocol: 'UDP' },
      { hostPort: 53, containerPort: 5353 },
      { hostPort: 99, containerPort: 99, protocol: 'SCTP' },
      { containerPort: 80 },
      { hostPort: 0, containerPort: 80 },
    ];
    expect(containers([], [{ ports }])).toEqual([
      'HostPort 192.0.2.10:53/TCP -> 10.0.0.1:5353',
      'HostPort 192.0.2.10:53/UDP -> 10.0.0.1:5353',
      'HostPort 192.0.2.10:99/SCTP -> 10.0.0.1:99',
    ]);
  });

  test('what cannot be used is named, the rest is served', () => {
    const ports = [
      { hostPort: 70_000, containerPort: 80 },
      { hostPort: 8081 },
      { hostPort: 8082, containerPort: 80, protocol: 'ICMP' },
      WEB,
    ];
    const made = pod('p', ['10.0.0.1'], ports);
    expect(rowsOf(made)).toEqual(['HostPort 192.0.2.10:8080/TCP -> 10.0.0.1:80']);
    expect(problemsOf(made)).toEqual([
      'Pod shop/p spec.containers[0].ports[0].hostPort: not a port from 1 to 65535: 70000',
      'Pod shop/p spec.containers[0].ports[1].containerPort: not a port from 1 to 65535: undefined',
      'Pod shop/p spec.containers[0].ports[2].protocol: not one of TCP, UDP, SCTP: "ICMP"',
    ]);
  });

  test('one host port on two addresses may lead to two ports of the pod', () => {
    const ports = [
      { hostPort: 80, containerPort: 8080, hostIP: '192.0.2.10' },
      { hostPort: 80, containerPort: 9090, hostIP: '192.0.2.11' },
    ];
    expect(containers([], [{ ports }])).toEqual([
      'HostPort 192.0.2.10:80/TCP -> 10.0.0.1:8080',
      'HostPort 192.0.2.11:80/TCP -> 10.0.0.1:9090',
    ]);
  });
});

test('both views are the pod, whoever asks, and it sees who asks', () => {
  const [row] = compile([added(pod('p', ['10.0.0.1'], [WEB]))], { ...HOST, masqueradeAll: true }).frontends;
  const view = {
    backends: [{ address: '10.0.0.1', port: 80, state: 'active', node: 'node-a', zone: 'z1' }],
    whenEmpty: 'reject',
    topology: 'none',
    masquerade: 'never',
  };
  expect(row).toMatchObject({
    kind: 'HostPort',
    service: 'shop/p',
    portName: 'hostPort:8080',
    affinitySeconds: null,
    sourceRanges: null,
    internal: view,
    external: view,
    excluded: [],
  });
});

describe('who wins an address', () => {
  const created = (object: PodObject, time: string): PodObject => ({
    ...object,
    metadata: { ...object.metadata, creationTimestamp: time },
  });
  const nodePort = service('web', '10.96.0.1', { ports: [{ name: 'http', port: 80, nodePort: 8080 }] });

  test('a NodePort before a host port, which takes over when it goes', () => {
    const events = [added(pod('p', ['10.0.0.1'], [WEB])), added(nodePort)];
    const compiled = compile(events, HOST);
    expect(rows(compiled)).toContain('NodePort 192.0.2.10:8080/TCP -> ');
    expect(rows(compiled).some((row) => row.startsWith('HostPort'))).toBe(false);
    expect(compiled.problems.find(({ object }) => object === 'Pod shop/p')).toEqual({
      object: 'Pod shop/p',
      field: 'spec.containers',
      message:
        '192.0.2.10:8080/TCP belongs to NodePort of shop/web:http/TCP already: this HostPort is not served there',
    });
    expect(rows(compile([...events, deleted(nodePort)], HOST))).toEqual([
      'HostPort 192.0.2.10:8080/TCP -> 10.0.0.1:80',
    ]);
  });

  test('of two pods the older, whatever their names', () => {
    const events = [
      added(created(pod('a', ['10.0.0.1'], [WEB]), '2026-01-02T00:00:00Z')),
      added(created(pod('z', ['10.0.0.2'], [WEB]), '2026-01-01T00:00:00Z')),
    ];
    const winner = ['HostPort 192.0.2.10:8080/TCP -> 10.0.0.2:80'];
    expect(rows(compile(events, HOST))).toEqual(winner);
    expect(rows(compile(events.toReversed(), HOST))).toEqual(winner);
  });

  test('a pod that is named as a Service shares nothing with it', () => {
    const events = [added(service('web', '10.96.0.1')), added(pod('web', ['10.0.0.1'], [WEB]))];
    const { frontends, problems } = compile(events, HOST);
    expect(frontends.map(({ kind, portName, service: name }) => [kind, name, portName])).toEqual([
      ['HostPort', 'shop/web', 'hostPort:8080'],
      ['ClusterIP', 'shop/web', 'http'],
    ]);
    expect(problems).toEqual([]);
  });

  test('nor does one whose Service has a port with such a name: that is none', () => {
    const ports = [
      { name: 'hostPort:8080', port: 80 },
      { name: 'http', port: 81 },
    ];
    const events = [added(service('web', '10.96.0.1', { ports })), added(pod('web', ['10.0.0.1'], [WEB]))];
    for (const told of [events, events.toReversed()]) {
      const { frontends, problems } = compile(told, HOST);
      expect(frontends.map(({ kind, portName }) => [kind, portName])).toEqual([
        ['HostPort', 'hostPort:8080'],
        ['ClusterIP', 'http'],
      ]);
      expect(problems).toEqual([
        {
          object: 'Service shop/web',
          field: 'spec.ports[0].name',
          message: 'not a name of a port: "hostPort:8080"',
        },
      ]);
    }
  });
});
