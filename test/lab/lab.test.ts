// SPDX-License-Identifier: Apache-2.0
/** A lab carries real connections between pods, checksums are verified at its last hops, and labs don't see each other. */
import { existsSync, readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { addressFromIPv4, port } from '../../core/address.ts';
import { failureText, type Result } from '../../core/result.ts';
import { readOffload, writeOffload } from '../../kernel/ethtool.ts';
import { insideNamespace, namespaceCookie } from '../../kernel/netns.ts';
import { readCounters, type ChecksumErrors } from '../../lab/counters.ts';
import type { Client } from '../../lab/driver.ts';
import { takeNodeFacts } from '../../lab/facts.ts';
import { sendFrame, sendPacket, synPacket, tcpChecksum } from '../../lab/inject.ts';
import { startLab, type Lab } from '../../lab/lab.ts';
import type { LabSpec } from '../../lab/spec.ts';
import { twoNodes } from '../../lab/twonodes.ts';

const timeoutMs = 3_000;
const noErrors: ChecksumErrors = { tcp: 0, udp: 0, udpIPv6: 0, icmp: 0, icmpIPv6: 0 };

function value<T>(result: Result<T>): T {
  if (!result.ok) throw new Error(failureText(result.error));
  return result.value;
}

async function useLab(spec: LabSpec): Promise<Lab> {
  return value(await startLab(spec));
}

function checksumErrors(lab: Lab): Record<string, ChecksumErrors> {
  const places = [
    ...lab.spec.nodes.map(({ name }) => lab.node(name)),
    ...lab.spec.pods.map(({ name }) => lab.pod(name)),
  ];
  return Object.fromEntries(
    places.map(({ namespace, namespacePath }) => [namespace, value(readCounters(namespacePath))]),
  );
}

describe('a lab of two nodes and six pods', () => {
  let lab: Lab;
  const clients = new Map<string, Client>();
  const client = (name: string): Client => clients.get(name) ?? expect.unreachable(`no client ${name}`);

  beforeAll(async () => {
    lab = await useLab(twoNodes('laba', { ipv6: true }));
    const started = await Promise.all(
      ['client1', 'client2', 'node1'].map(async (name) => [name, value(await lab.startClient(name))] as const),
    );
    for (const [name, one] of started) clients.set(name, one);
  });
  afterAll(async () => {
    expect(await lab.stop()).toEqual({ ok: true, value: null });
  });

  test.each([
    { from: 'client1', to: '10.244.1.4', by: 'web1', seen: '10.244.1.6' },
    { from: 'client1', to: '10.244.2.4', by: 'web3', seen: '10.244.1.6' },
    { from: 'client2', to: '10.244.1.5', by: 'web2', seen: '10.244.2.6' },
    { from: 'client2', to: '10.244.2.5', by: 'web4', seen: '10.244.2.6' },
    { from: 'node1', to: '10.244.1.4', by: 'web1', seen: '10.244.1.1' },
    { from: 'node1', to: '10.244.2.5', by: 'web4', seen: '10.88.0.11' },
    { from: 'client1', to: 'fd00:10:244:2::4', by: 'web3', seen: '[fd00:10:244:1::6]' },
    { from: 'client2', to: 'fd00:10:244:1::4', by: 'web1', seen: '[fd00:10:244:2::6]' },
  ])('$from reaches $by at $to and is seen as $seen', async ({ from, to, by, seen }) => {
    const report = await client(from).connect({ address: to, port: 8080, timeoutMs });
    const asked = to.includes(':') ? `[${to}]:8080` : `${to}:8080`;
    expect(report).toMatchObject({ result: 'answered', errno: null, by, answeredAs: asked, peerName: asked });
    expect(report.peerSeen).toBe(`${seen}:${report.localPort}`);
    expect(BigInt(report.startedNs) < BigInt(report.endedNs)).toBe(true);
    expect(Math.abs(Date.now() - Number(BigInt(report.endedNs) / 1_000_000n))).toBeLessThan(5_000);
  });

  test.each([
    {
      what: 'a port where nobody listens',
      address: '10.244.1.4',
      port: 8081,
      result: 'refused',
      errno: 'ECONNREFUSED',
    },
    { what: 'an address that no node has', address: '10.96.0.1', port: 80, result: 'timeout', errno: null },
  ])('a connection to $what ends as $result', async ({ address, port: number, result, errno }) => {
    const report = await client('client1').connect({ address, port: number, timeoutMs: 300 });
    expect(report).toMatchObject({ result, errno, by: null });
  });

  test('a client opens hundreds of connections in a second and keeps the source port it was told', async () => {
    const one = client('client1');
    const startedMs = performance.now();
    const reports = await Promise.all(
      Array.from({ length: 400 }, (_, index) =>
        one.connect({ address: '10.244.2.4', port: 8080, timeoutMs, sourcePort: 20_000 + index }),
      ),
    );
    // Ten times what it takes on an idle machine.
    expect(performance.now() - startedMs).toBeLessThan(2_000);
    expect(new Set(reports.map(({ result, by }) => `${result} ${by}`))).toEqual(new Set(['answered web3']));
    expect(reports.map(({ peerSeen }) => peerSeen)).toEqual(reports.map((_, index) => `10.244.1.6:${20_000 + index}`));
  });

  test('an open connection echoes until its server is stopped', async () => {
    const one = client('client2');
    const { id, by } = await one.open({ address: '10.244.1.5', port: 9090, timeoutMs });
    expect(by).toBe('web2');
    expect((await one.echo(id, 'still there', timeoutMs)).result).toBe('echoed');
    await lab.server('web2')?.stop();
    expect((await one.echo(id, 'and now', timeoutMs)).result).toMatch(/closed|reset/);
    const again = value(await lab.startServer('web2', [{ port: 9090, protocol: 'TCP', behaviour: 'hold' }]));
    expect(await one.connect({ address: '10.244.1.5', port: 9090, timeoutMs, holdMs: 50 })).toMatchObject({
      result: 'answered',
      by: 'web2',
    });
    await again.stop();
  });

  test('every process of a pod is in its own cgroup below its node and in its own namespace', () => {
    const server = lab.server('web3') ?? expect.unreachable('web3 has a server');
    const { place } = lab.pod('web3');
    expect(place.cgroup.startsWith(`${lab.node('node2').cgroup}/`)).toBe(true);
    expect(readFileSync(`${place.cgroup}/cgroup.procs`, 'utf8').trim()).toBe(String(server.pid));
    const cookies = [place.namespacePath, `/proc/${server.pid}/ns/net`].map((path) => value(namespaceCookie(path)));
    expect(cookies[0]).toBe(cookies[1]);
    expect(value(namespaceCookie('/proc/thread-self/ns/net'))).not.toBe(cookies[0]);
  });

  test('each node has a bpffs of its own', () => {
    const mounts = readFileSync('/proc/mounts', 'utf8').split('\n');
    for (const name of ['node1', 'node2']) {
      expect(mounts.filter((line) => line.startsWith(`bpf ${lab.node(name).bpffs} bpf `))).toHaveLength(1);
    }
  });

  test('transmit checksums are off where a device hands packets to a pod, and on where a pod sends', () => {
    for (const { name, node } of lab.spec.pods) {
      const { device, namespacePath } = lab.pod(name);
      const last = insideNamespace(lab.node(node).namespacePath, () => readOffload(device, 'transmit-checksum'));
      const first = insideNamespace(namespacePath, () => readOffload('eth0', 'transmit-checksum'));
      expect({ name, last: value(value(last)), first: value(value(first)) }).toEqual({
        name,
        last: false,
        first: true,
      });
    }
  });

  /** A SYN to web1; its checksum is off by `error`. */
  const synToWeb1 = (source: number, checksum: 'complete' | 'partial', error: number): Uint8Array =>
    synPacket({
      source: addressFromIPv4(source),
      sourcePort: port(1_234),
      destination: addressFromIPv4(0x0af40104),
      destinationPort: port(8080),
      sequence: 7,
      checksum,
      checksumError: error,
    });

  /** How many wrong checksums web1 counts while `send` runs. */
  const countedByWeb1 = async (from: string, send: () => Result<number> | Promise<Result<number>>): Promise<number> => {
    const { namespacePath } = lab.pod('web1');
    const before = value(readCounters(namespacePath));
    value(await send());
    // A real connection behind it: once that is answered, the packet before it was judged.
    expect((await client(from).connect({ address: '10.244.1.4', port: 8080, timeoutMs })).result).toBe('answered');
    return value(readCounters(namespacePath)).tcp - before.tcp;
  };

  test.each([
    { from: 'client1', source: 0x0af40106, error: 0, counted: 0 },
    { from: 'client1', source: 0x0af40106, error: 1, counted: 1 },
    { from: 'client2', source: 0x0af40206, error: 1, counted: 1 },
  ])('web1 counts $counted wrong checksums for a SYN of $from that is off by $error', async (row) => {
    const { namespacePath } = lab.pod(row.from);
    const packet = synToWeb1(row.source, 'complete', row.error);
    expect(await countedByWeb1(row.from, () => sendPacket(namespacePath, packet))).toBe(row.counted);
  });

  test.each([
    { offload: false, error: 0, counted: 0 },
    { offload: false, error: 1, counted: 1 },
    // What a lab would hide that left the offload on: the same fault, and nobody verifies.
    { offload: true, error: 1, counted: 0 },
  ])('a partial checksum off by $error is counted $counted times with the last offload on: $offload', async (row) => {
    const node = lab.node('node1');
    const setOffload = (on: boolean): boolean =>
      value(
        value(insideNamespace(node.namespacePath, () => writeOffload(lab.pod('web1').device, 'transmit-checksum', on))),
      );
    const facts = value(await takeNodeFacts(lab, 'node1', 'none'));
    const gateway = facts.links.find(({ ifname }) => ifname === lab.pod('client1').device)?.address ?? '';
    const macs = Buffer.from(`${gateway.replaceAll(':', '')}020000000001`, 'hex');
    const frame = Buffer.concat([macs, Buffer.from('0800', 'hex'), synToWeb1(0x0af40106, 'partial', row.error)]);
    try {
      expect(setOffload(row.offload)).toBe(row.offload);
      const { namespacePath } = lab.pod('client1');
      const counted = await countedByWeb1('client1', () => sendFrame(namespacePath, 'eth0', frame, tcpChecksum));
      expect(counted).toBe(row.counted);
    } finally {
      setOffload(false);
    }
  });

  test('nobody else counted a wrong checksum in all of that', () => {
    const { 'tandem-laba-web1': planted, ...rest } = checksumErrors(lab);
    expect(planted).toEqual({ ...noErrors, tcp: 3 });
    expect(rest).toEqual(Object.fromEntries(Object.keys(rest).map((name) => [name, noErrors])));
  });

  test('a second lab of the same name is refused with the command that removes the first', async () => {
    const second = await startLab(twoNodes('laba'));
    expect(second.ok ? '' : failureText(second.error)).toBe('lab laba: is up already; ./tandem lab down laba');
    expect((await client('client1').connect({ address: '10.244.2.4', port: 8080, timeoutMs })).by).toBe('web3');
  });
});

test('two labs with the same addresses stand side by side, and one ends without the other', async () => {
  const [left, right] = await Promise.all([useLab(twoNodes('lableft')), useLab(twoNodes('labright'))]);
  try {
    const [leftClient, rightClient] = await Promise.all([left.startClient('client1'), right.startClient('client1')]);
    const request = { address: '10.244.2.4', port: 8080, timeoutMs };
    await left.server('web3')?.stop();
    expect((await value(leftClient).connect(request)).result).toBe('refused');
    expect((await value(rightClient).connect(request)).by).toBe('web3');
    expect(await left.stop()).toEqual({ ok: true, value: null });
    expect((await value(leftClient).connect(request)).result).toBe('lost');
    expect((await value(rightClient).connect(request)).by).toBe('web3');
    expect(checksumErrors(right)['tandem-labright-web3']).toEqual(noErrors);
  } finally {
    await Promise.all([left.stop(), right.stop()]);
  }
  expect([left, right].map(({ cgroup }) => existsSync(cgroup))).toEqual([false, false]);
});

test('with checksums written in the stack a pod sends none that its node would have to complete', async () => {
  const lab = await useLab({ ...twoNodes('labstack'), podChecksums: 'stack' });
  try {
    const offloads = lab.spec.pods.map(({ name }) =>
      value(value(insideNamespace(lab.pod(name).namespacePath, () => readOffload('eth0', 'transmit-checksum')))),
    );
    expect(new Set(offloads)).toEqual(new Set([false]));
    const one = value(await lab.startClient('client1'));
    expect((await one.connect({ address: '10.244.2.4', port: 8080, timeoutMs })).by).toBe('web3');
    expect(Object.values(checksumErrors(lab))).toEqual(Object.values(checksumErrors(lab)).map(() => noErrors));
  } finally {
    await lab.stop();
  }
});
