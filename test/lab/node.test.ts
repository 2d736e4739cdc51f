// SPDX-License-Identifier: Apache-2.0
/** tandem attached to the nodes of a lab: real connections on both roads, judged from their two ends. */
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createJudge } from '../../cli/demo/judge.ts';
import { startNode, type RunningNode } from '../../cli/demo/node.ts';
import {
  applyEvent,
  longestInFlightNs,
  readSchedule,
  splitSchedule,
  streamPath,
  targetsOf,
  type Applied,
  type Scheduled,
  type Target,
} from '../../cli/demo/stream.ts';
import {
  hold,
  startCrowd,
  startVisitors,
  stopVisitors,
  visit,
  type Road,
  type Visit,
  type Visitor,
} from '../../cli/demo/visitors.ts';
import type { EndpointSliceObject, ServiceObject } from '../../core/objects.ts';
import { failureText, type Result } from '../../core/result.ts';
import { realtimeNs } from '../../lab/clock.ts';
import { readCounters } from '../../lab/counters.ts';
import { startLab, type Lab } from '../../lab/lab.ts';
import { twoNodes } from '../../lab/twonodes.ts';
import { buildObject } from '../../tools/build.ts';

const selectionKey = [11, 12] as const;
/** A SYN is sent again after a second: what is faster was answered at once. */
const atOnceMs = 500;
const webs = { web1: '10.244.1.4', web2: '10.244.1.5', web3: '10.244.2.4', web4: '10.244.2.5' } as const;

function value<T>(result: Result<T>): T {
  if (!result.ok) throw new Error(failureText(result.error));
  return result.value;
}

const schedule: readonly Scheduled[] = value(readSchedule(streamPath));
const targets: readonly Target[] = value(targetsOf(schedule));

function target(name: string): Target {
  return targets.find((one) => one.name === name) ?? expect.unreachable(`no target ${name}`);
}

function slice(name: string, port: number, pods: readonly (keyof typeof webs)[]): EndpointSliceObject {
  const portName = port === 9090 ? 'chat' : 'http';
  return {
    kind: 'EndpointSlice',
    addressType: 'IPv4',
    metadata: { name: `${name}-demo1`, namespace: 'shop', labels: { 'kubernetes.io/service-name': name } },
    endpoints: pods.map((pod) => {
      const nodeName = pod === 'web1' || pod === 'web2' ? 'node1' : 'node2';
      return { addresses: [webs[pod]], conditions: { ready: true }, nodeName, targetRef: { kind: 'Pod', name: pod } };
    }),
    ports: [{ name: portName, port, protocol: 'TCP' }],
  };
}

function programStart(nodes: readonly RunningNode[]): Applied[] {
  const { start } = splitSchedule(schedule);
  return start.flatMap(({ event }) => nodes.map((node) => value(applyEvent(node, event))));
}

function wrongChecksums(lab: Lab): Record<string, number> {
  const counts = lab.spec.pods.map(({ name }) => [name, value(readCounters(lab.pod(name).namespacePath)).tcp] as const);
  return Object.fromEntries(counts.filter(([, count]) => count > 0));
}

/** BPF links that this process holds, one line each as the kernel shows them. */
function heldLinks(): readonly string[] {
  return readdirSync('/proc/self/fdinfo').flatMap((fd) => {
    try {
      return readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8').includes('link_type:') ? [fd] : [];
    } catch (error) {
      // The descriptor of this very listing is gone by now.
      void error;
      return [];
    }
  });
}

async function repeat(times: number, action: () => Promise<Visit>): Promise<readonly Visit[]> {
  return Promise.all(Array.from({ length: times }, action));
}

function durationMs({ report: { startedNs, endedNs } }: Visit): number {
  return Number(BigInt(endedNs) - BigInt(startedNs)) / 1e6;
}

describe('two nodes with tandem', () => {
  let lab: Lab;
  let nodes: RunningNode[] = [];
  let visitors: Visitor[] = [];
  const visitor = (pod: string, road: Road): Visitor =>
    visitors.find((one) => one.pod.spec.name === pod && one.road === road) ?? expect.unreachable(`${pod} ${road}`);
  const node = (name: string): RunningNode => nodes.find((one) => one.name === name) ?? expect.unreachable(name);
  const count = (name: string, reason: string): number => value(node(name).counters()).reasons.get(reason) ?? 0;

  beforeAll(async () => {
    lab = value(await startLab(twoNodes('labnode')));
    nodes = ['node1', 'node2'].map((name) => value(startNode(lab, name, { selectionKey })));
    visitors = value(await startVisitors(lab, ['client1', 'client2'], 1));
    programStart(nodes);
  });
  afterAll(async () => {
    await stopVisitors(visitors);
    for (const one of nodes) one[Symbol.dispose]();
    expect(await lab.stop()).toEqual({ ok: true, value: null });
  });

  const everyone = [
    { pod: 'client1', road: 'socket' },
    { pod: 'client1', road: 'packet' },
    { pod: 'client2', road: 'socket' },
    { pod: 'client2', road: 'packet' },
  ] as const;

  test.each(everyone)(
    '$pod reaches every backend of a Service on the $road road and is seen as itself',
    async (who) => {
      const from = visitor(who.pod, who.road);
      const visits = await repeat(24, () => visit(from, target('shop/web:http')));
      expect(new Set(visits.map(({ report }) => `${report.result} ${report.by} ${report.answeredAs}`))).toEqual(
        new Set(['answered web1 10.244.1.4:8080', 'answered web3 10.244.2.4:8080']),
      );
      for (const { report } of visits) {
        expect(report.peerName).toBe('10.96.0.10:80');
        expect(report.peerSeen).toBe(`${from.pod.spec.address}:${report.localPort}`);
      }
    },
  );

  test.each(everyone)(
    '$pod gets the backend of its own node on the $road road where the Service says so',
    async (who) => {
      const visits = await repeat(8, () => visit(visitor(who.pod, who.road), target('shop/near:http')));
      const own = who.pod === 'client1' ? 'web2' : 'web4';
      expect(new Set(visits.map(({ report }) => report.by))).toEqual(new Set([own]));
    },
  );

  test.each(
    everyone.flatMap((who) => [
      { ...who, what: 'a Service without endpoints', to: 'shop/empty:http', reason: 'no-endpoints' },
      { ...who, what: 'a port that no Service has', to: 'shop/web, no such port', reason: 'unknown-port' },
    ]),
  )('$pod is refused at once on the $road road by $what', async ({ pod, road, to, reason }) => {
    const from = visitor(pod, road);
    const before = count(from.pod.spec.node, reason);
    const refused = await visit(from, target(to));
    expect(refused.report).toMatchObject({ result: 'refused', errno: 'ECONNREFUSED' });
    expect(durationMs(refused)).toBeLessThan(atOnceMs);
    // One SYN or one connect(), not the fifth retransmission.
    expect(count(from.pod.spec.node, reason) - before).toBe(1);
  });

  test('each road leaves its own traces in the counters', async () => {
    const reasons = ['translated', 'new-flow', 'reply'];
    const read = (): readonly number[] => reasons.map((reason) => count('node1', reason));
    const start = read();
    await visit(visitor('client1', 'socket'), target('shop/web:http'));
    const socket = read();
    expect(socket.map((number, at) => number - (start[at] ?? 0))).toEqual([1, 0, 0]);
    await visit(visitor('client1', 'packet'), target('shop/web:http'));
    const packet = read().map((number, at) => number - (socket[at] ?? 0));
    expect(packet.slice(0, 2)).toEqual([0, 1]);
    expect(packet[2]).toBeGreaterThanOrEqual(3);
  });

  test('connections stay with their backends when these are no longer endpoints, and new ones go elsewhere', async () => {
    const chat = target('shop/chat:chat');
    const held = await Promise.all(
      visitors.flatMap((from) => [1, 2, 3, 4].map(async () => ({ from, kept: await hold(from, chat) }))),
    );
    expect(new Set(held.map(({ kept }) => kept.report.by))).toEqual(new Set(['web1', 'web3']));
    for (const one of nodes)
      value(applyEvent(one, { type: 'MODIFIED', object: slice('chat', 9090, ['web2', 'web4']) }));
    const fresh = await Promise.all(visitors.flatMap((from) => [1, 2, 3, 4].map(() => visit(from, chat))));
    expect(new Set(fresh.map(({ report }) => report.by))).toEqual(new Set(['web2', 'web4']));
    for (const { from, kept } of held) {
      const echo = await from.client.echo(kept.report.id, 'still there', 2_000);
      expect({ by: kept.report.by, result: echo.result }).toEqual({ by: kept.report.by, result: 'echoed' });
    }
    await Promise.all(held.map(({ from, kept }) => from.client.close(kept.report.id, 2_000)));
  });

  test('backends change in the middle of connections and every connection reaches one that was permitted', async () => {
    const web = target('shop/web:http');
    const originNs = realtimeNs();
    const { start } = splitSchedule(schedule);
    // The oracle begins with the same cluster as the nodes; a moment before, because nothing is in flight yet.
    const applied: Applied[] = nodes.flatMap(({ name }) =>
      start.map(({ event }) => ({ node: name, event, beganNs: originNs - 1n, doneNs: originNs })),
    );
    const crowd = startCrowd(visitors, [web], 10);
    const rounds = [
      ['web1', 'web2', 'web3'],
      ['web2', 'web3'],
      [],
      ['web2', 'web4'],
      ['web4'],
      ['web1', 'web3'],
    ] as const;
    for (const pods of rounds) {
      await new Promise((resolve) => setTimeout(resolve, 100));
      crowd.burst(4);
      await new Promise((resolve) => setImmediate(resolve));
      for (const one of nodes) {
        applied.push(value(applyEvent(one, { type: 'MODIFIED', object: slice('web', 8080, pods) })));
      }
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
    const visits = await crowd.settle();
    const judge = createJudge(lab.spec, applied, { originNs, inFlightNs: longestInFlightNs(applied) });
    const judged = visits.map((one) => judge.judge(one));
    expect(judged.filter(({ verdict }) => verdict === 'wrong').map(({ why }) => why)).toEqual([]);
    expect(visits.length).toBeGreaterThan(150);
    expect(new Set(visits.map(({ report }) => report.by ?? report.result))).toEqual(
      new Set(['refused', 'web1', 'web2', 'web3', 'web4']),
    );
    // The oracle is not so generous that it would accept anything: a second later every old answer is wrong.
    const late = visits.filter(({ report }) => report.result === 'refused').map((one) => shifted(one, 1_000_000_000n));
    expect(late.map((one) => judge.judge(one).verdict)).toEqual(late.map(() => 'wrong'));
  });

  test('a Service that one node has heard of is served to that node’s sockets and packets only', async () => {
    const alone: ServiceObject = {
      kind: 'Service',
      metadata: { name: 'alone', namespace: 'shop' },
      spec: {
        clusterIP: '10.96.0.60',
        clusterIPs: ['10.96.0.60'],
        ports: [{ name: 'http', port: 80, protocol: 'TCP' }],
      },
    };
    value(applyEvent(node('node1'), { type: 'ADDED', object: alone }));
    value(applyEvent(node('node1'), { type: 'ADDED', object: slice('alone', 8080, ['web3']) }));
    const to = { ...target('shop/web:http'), name: 'shop/alone:http', text: '10.96.0.60:80' };
    const address = { ...to, address: { ...to.address, d: 0x0a60003c } } as Target;
    const before = count('node2', 'translated') + count('node2', 'new-flow');
    const [own, ownPacket, other, otherPacket] = await Promise.all(
      everyone.map(({ pod, road }) => visit(visitor(pod, road), address)),
    );
    expect([own, ownPacket].map((one) => one?.report.by)).toEqual(['web3', 'web3']);
    expect([other, otherPacket].map((one) => one?.report.result)).toEqual(['timeout', 'timeout']);
    expect(count('node2', 'translated') + count('node2', 'new-flow')).toBe(before);
  });

  test('a node that can be attached only in part is left as it was', () => {
    const before = heldLinks();
    const nowhere: Lab = { ...lab, node: (name) => ({ ...lab.node(name), cgroup: `${lab.node(name).cgroup}/absent` }) };
    const refused = startNode(nowhere, 'node1', { selectionKey });
    expect(refused.ok ? '' : failureText(refused.error)).toContain('/absent: not in a cgroup v2 hierarchy');
    expect(heldLinks()).toEqual(before);
    expect(before).toHaveLength(nodes.flatMap(({ attachments }) => attachments).length);
  });

  test('nobody has counted a wrong checksum in all of that', () => {
    expect(wrongChecksums(lab)).toEqual({});
  });

  test('a node that is disposed of serves nobody any more', async () => {
    node('node2')[Symbol.dispose]();
    const [other, own] = await Promise.all([
      visit(visitor('client2', 'socket'), target('shop/near:http')),
      visit(visitor('client1', 'socket'), target('shop/near:http')),
    ]);
    expect([other.report.result, own.report.result]).toEqual(['timeout', 'answered']);
  });
});

/** The same visit, had it been made later. */
function shifted(one: Visit, byNs: bigint): Visit {
  const { report } = one;
  const later = (text: string): string => String(BigInt(text) + byNs);
  return { ...one, report: { ...report, startedNs: later(report.startedNs), endedNs: later(report.endedNs) } };
}

/** Faults of the C, each as a text of one file and what stands in its place. */
const faults = [
  {
    what: 'a pending checksum is mended as if it were complete',
    file: 'checksum.h',
    text: 'return checksum_fold((__u32)check + address_delta);',
    instead: 'return checksum_replace(check, address_delta + port_delta);',
    from: 'packet',
    result: 'timeout',
    counted: true,
  },
  {
    what: 'answers keep the address of the backend',
    file: 'verdict.h',
    text: 'ip->source = new_address;',
    instead: 'ip->source = old_address;',
    from: 'packet',
    result: 'timeout',
    // The header's own checksum is wrong then, and that is not the transport's to count.
    counted: false,
  },
  {
    what: 'a socket is sent to the right port of the wrong address',
    file: 'hook_sock.h',
    text: 'context->user_ip4 = connection->address.address.words[3];',
    instead: '',
    from: 'socket',
    result: 'refused',
    counted: false,
  },
] as const;

describe('a datapath with a planted fault', () => {
  let folder = '';
  let lab: Lab;
  let visitors: Visitor[] = [];

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'tandem-node-test-'));
    lab = value(await startLab(twoNodes('labfault')));
    visitors = value(await startVisitors(lab, ['client1'], 1));
  });
  afterAll(async () => {
    rmSync(folder, { recursive: true });
    expect(await lab.stop()).toEqual({ ok: true, value: null });
  });

  function build(index: number, { file, text, instead }: (typeof faults)[number]): Uint8Array {
    const copy = join(folder, String(index));
    cpSync(join(import.meta.dirname, '../../bpf'), copy, { recursive: true });
    const source = readFileSync(join(copy, file), 'utf8');
    expect(source.split(text)).toHaveLength(2);
    writeFileSync(join(copy, file), source.replace(text, instead));
    return value(buildObject({ defines: [], output: join(copy, 'fault.o'), source: join(copy, 'tandem.bpf.c') }));
  }

  test.each(faults.map((fault, index) => ({ ...fault, index })))('is found where $what', async (fault) => {
    using node = value(startNode(lab, 'node1', { selectionKey, object: build(fault.index, fault) }));
    const counted = (): number => Object.values(wrongChecksums(lab)).reduce((sum, packets) => sum + packets, 0);
    const before = counted();
    programStart([node]);
    const from = visitors.find(({ road }) => road === fault.from) ?? expect.unreachable(fault.from);
    const { report } = await visit(from, target('shop/near:http'));
    expect(report.result).toBe(fault.result);
    expect(counted() > before).toBe(fault.counted);
  });
});
