// SPDX-License-Identifier: Apache-2.0
/** tandem attached to the nodes of a lab: real connections on both roads, judged from their two ends. */
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createJudge } from '../../cli/demo/judge.ts';
import { startNode, type RunningNode } from '../../cli/demo/node.ts';
import {
  applyEvent,
  families,
  longestInFlightNs,
  splitSchedule,
  type Applied,
  type Target,
} from '../../cli/demo/stream.ts';
import {
  hold,
  startCrowd,
  startVisitors,
  stopVisitors,
  visit,
  visitTimeoutMs,
  type Road,
  type Visit,
  type Visitor,
} from '../../cli/demo/visitors.ts';
import type { ServiceObject } from '../../core/objects.ts';
import { failureText } from '../../core/result.ts';
import { insideNamespace } from '../../kernel/netns.ts';
import { realtimeNs } from '../../lab/clock.ts';
import { snmpCounter } from '../../lab/counters.ts';
import { startLab, type Lab } from '../../lab/lab.ts';
import { twoNodes } from '../../lab/twonodes.ts';
import type { ConnectionReport } from '../../lab/wire.ts';
import {
  durationMs,
  programStart,
  repeat,
  schedule,
  selectionKey,
  slice,
  target,
  value,
  wrongChecksums,
} from './nodes.ts';

/** A SYN is sent again after a second: what is faster was answered at once. */
const atOnceMs = 500;
const secondSynMs = 1_000;

/**
 * ICMP errors that came while connect() still held its socket: on one CPU, that is any answer of the node. TCP keeps
 * such an error aside. An IPv4 socket's poll() tells it all the same (by its error queue), an IPv6 socket has no such
 * queue unless it asks for one, and hears of the answer to its second SYN. So it is with the kernel's own errors.
 */
function lostErrors(lab: Lab, pod: string): number {
  const read = (): string => readFileSync('/proc/thread-self/net/netstat', 'utf8');
  const text = value(insideNamespace(lab.pod(pod).namespacePath, read));
  return snmpCounter(text, 'TcpExt', 'LockDroppedIcmps') ?? expect.unreachable('LockDroppedIcmps is counted');
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

describe('two nodes with tandem', () => {
  let lab: Lab;
  let nodes: RunningNode[] = [];
  let visitors: Visitor[] = [];
  const visitor = (pod: string, road: Road): Visitor =>
    visitors.find((one) => one.pod.spec.name === pod && one.road === road) ?? expect.unreachable(`${pod} ${road}`);
  const node = (name: string): RunningNode => nodes.find((one) => one.name === name) ?? expect.unreachable(name);
  const count = (name: string, reason: string): number => value(node(name).counters()).reasons.get(reason) ?? 0;

  beforeAll(async () => {
    lab = value(await startLab(twoNodes('labnode', { ipv6: true })));
    nodes = ['node1', 'node2'].map((name) => value(startNode(lab, name, { selectionKey })));
    visitors = value(await startVisitors(lab, ['client1', 'client2'], 1));
    programStart(nodes);
  });
  afterAll(async () => {
    await stopVisitors(visitors);
    for (const one of nodes) one[Symbol.dispose]();
    expect(await lab.stop()).toEqual({ ok: true, value: null });
  });

  const clients = [
    { pod: 'client1', road: 'socket' },
    { pod: 'client1', road: 'packet' },
    { pod: 'client2', road: 'socket' },
    { pod: 'client2', road: 'packet' },
  ] as const;
  const everyone = families.flatMap((family) => clients.map((who) => ({ ...who, family })));

  const seen = {
    IPv4: {
      answers: ['answered web1 10.244.1.4:8080', 'answered web3 10.244.2.4:8080'],
      peerName: '10.96.0.10:80',
      client1: '10.244.1.6',
      client2: '10.244.2.6',
    },
    IPv6: {
      answers: ['answered web1 [fd00:10:244:1::4]:8080', 'answered web3 [fd00:10:244:2::4]:8080'],
      peerName: '[fd00:10:96::10]:80',
      client1: '[fd00:10:244:1::6]',
      client2: '[fd00:10:244:2::6]',
    },
  } as const;

  test.each(everyone)(
    '$pod reaches every backend of a Service over $family on the $road road and is seen as itself',
    async ({ pod, road, family }) => {
      const from = visitor(pod, road);
      const visits = await repeat(24, () => visit(from, target('shop/web:http', family)));
      expect(new Set(visits.map(({ report }) => `${report.result} ${report.by} ${report.answeredAs}`))).toEqual(
        new Set(seen[family].answers),
      );
      for (const { report } of visits) {
        expect(report.peerName).toBe(seen[family].peerName);
        expect(report.peerSeen).toBe(`${seen[family][pod]}:${report.localPort}`);
      }
    },
  );

  test.each(everyone)(
    '$pod gets the backend of its own node over $family on the $road road where the Service says so',
    async ({ pod, road, family }) => {
      const visits = await repeat(8, () => visit(visitor(pod, road), target('shop/near:http', family)));
      const own = pod === 'client1' ? 'web2' : 'web4';
      expect(new Set(visits.map(({ report }) => report.by))).toEqual(new Set([own]));
    },
  );

  test.each(
    everyone.flatMap((who) => [
      { ...who, what: 'a Service without endpoints', to: 'shop/empty:http', reason: 'no-endpoints' },
      { ...who, what: 'a port that no Service has', to: 'shop/web, no such port', reason: 'unknown-port' },
    ]),
  )('$pod is refused at once over $family on the $road road by $what', async ({ pod, road, family, to, reason }) => {
    const from = visitor(pod, road);
    const [before, lostBefore] = [count(from.pod.spec.node, reason), lostErrors(lab, pod)];
    const refused = await visit(from, target(to, family));
    expect(refused.report).toMatchObject({ result: 'refused', errno: 'ECONNREFUSED' });
    const lost = family === 'IPv6' ? lostErrors(lab, pod) - lostBefore : 0;
    expect(lost).toBeLessThanOrEqual(road === 'packet' ? 1 : 0);
    expect(durationMs(refused)).toBeLessThan(lost * secondSynMs + atOnceMs);
    // One SYN or one connect(), not the fifth retransmission.
    expect(count(from.pod.spec.node, reason) - before).toBe(1 + lost);
  });

  test('the kernel’s own ICMPv6 errors are heard as late as ours where connect() holds the socket', async () => {
    const { namespace } = lab.node('node1');
    const address = 'fd00:10:96::ff';
    execFileSync('ip', ['-n', namespace, 'route', 'add', 'prohibit', address]);
    const from = visitor('client1', 'packet');
    const before = lostErrors(lab, 'client1');
    const startedMs = performance.now();
    const report = await from.client.connect({ address, port: 80, timeoutMs: visitTimeoutMs });
    const tookMs = performance.now() - startedMs;
    execFileSync('ip', ['-n', namespace, 'route', 'del', 'prohibit', address]);
    expect(report).toMatchObject({ result: 'forbidden', errno: 'EACCES' });
    const lost = lostErrors(lab, 'client1') - before;
    expect(tookMs).toBeGreaterThanOrEqual(lost * secondSynMs * 0.9);
    expect(tookMs).toBeLessThan(lost * secondSynMs + atOnceMs);
  });

  test.each(clients)(
    '$pod reaches IPv4 Services on the $road road from an IPv6 socket, which sees them as v4-mapped',
    async ({ pod, road }) => {
      const from = visitor(pod, road);
      const connect = (last: number): Promise<ConnectionReport> => {
        const request = { address: `::ffff:10.96.0.${last}`, port: 80, timeoutMs: visitTimeoutMs };
        return from.client.connect({ ...request, sourcePort: from.nextPort++ });
      };
      const reason = road === 'socket' ? 'translated' : 'new-flow';
      const before = count(from.pod.spec.node, reason);
      const reports = await Promise.all(Array.from({ length: 12 }, () => connect(10)));
      expect(count(from.pod.spec.node, reason) - before).toBe(12);
      expect(new Set(reports.map(({ result, by, answeredAs }) => `${result} ${by} ${answeredAs}`))).toEqual(
        new Set(seen.IPv4.answers),
      );
      for (const report of reports) {
        expect(report.peerName).toBe('[::ffff:10.96.0.10]:80');
        expect(report.peerSeen).toBe(`${seen.IPv4[pod]}:${report.localPort}`);
      }
      expect(await connect(50)).toMatchObject({ result: 'refused', errno: 'ECONNREFUSED' });
    },
  );

  test.each(families)('each road leaves its own traces in the counters over %s', async (family) => {
    const reasons = ['translated', 'new-flow', 'reply'];
    const read = (): readonly number[] => reasons.map((reason) => count('node1', reason));
    const start = read();
    await visit(visitor('client1', 'socket'), target('shop/web:http', family));
    const socket = read();
    expect(socket.map((number, at) => number - (start[at] ?? 0))).toEqual([1, 0, 0]);
    await visit(visitor('client1', 'packet'), target('shop/web:http', family));
    const packet = read().map((number, at) => number - (socket[at] ?? 0));
    expect(packet.slice(0, 2)).toEqual([0, 1]);
    expect(packet[2]).toBeGreaterThanOrEqual(3);
  });

  test.each(families)(
    'connections over %s stay with backends that are gone, and new ones go elsewhere',
    async (family) => {
      const chat = target('shop/chat:chat', family);
      const held = await Promise.all(
        visitors.flatMap((from) => [1, 2, 3, 4].map(async () => ({ from, kept: await hold(from, chat) }))),
      );
      expect(new Set(held.map(({ kept }) => kept.report.by))).toEqual(new Set(['web1', 'web3']));
      for (const one of nodes)
        value(applyEvent(one, { type: 'MODIFIED', object: slice('chat', 9090, ['web2', 'web4'], family) }));
      const fresh = await Promise.all(visitors.flatMap((from) => [1, 2, 3, 4].map(() => visit(from, chat))));
      expect(new Set(fresh.map(({ report }) => report.by))).toEqual(new Set(['web2', 'web4']));
      for (const { from, kept } of held) {
        const echo = await from.client.echo(kept.report.id, 'still there', 2_000);
        expect({ by: kept.report.by, result: echo.result }).toEqual({ by: kept.report.by, result: 'echoed' });
      }
      await Promise.all(held.map(({ from, kept }) => from.client.close(kept.report.id, 2_000)));
    },
  );

  test('backends change in the middle of connections and every connection reaches one that was permitted', async () => {
    const both = families.map((family) => target('shop/web:http', family));
    const originNs = realtimeNs();
    const { start } = splitSchedule(schedule);
    // The oracle begins with the same cluster as the nodes; a moment before, because nothing is in flight yet.
    const applied: Applied[] = nodes.flatMap(({ name }) =>
      start.map(({ event }) => ({ node: name, event, beganNs: originNs - 1n, doneNs: originNs })),
    );
    const crowd = startCrowd(visitors, both, 10);
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
      for (const family of families) {
        const object = slice('web', 8080, pods, family);
        for (const one of nodes) applied.push(value(applyEvent(one, { type: 'MODIFIED', object })));
      }
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
    const visits = await crowd.settle();
    const judge = createJudge(lab.spec, applied, { originNs, inFlightNs: longestInFlightNs(applied) });
    const judged = visits.map((one) => judge.judge(one));
    expect(judged.filter(({ verdict }) => verdict === 'wrong').map(({ why }) => why)).toEqual([]);
    expect(visits.length).toBeGreaterThan(150);
    for (const one of both) {
      const answers = visits.filter((each) => each.target === one).map(({ report }) => report.by ?? report.result);
      expect(new Set(answers)).toEqual(new Set(['refused', 'web1', 'web2', 'web3', 'web4']));
    }
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
      clients.map(({ pod, road }) => visit(visitor(pod, road), address)),
    );
    expect([own, ownPacket].map((one) => one?.report.by)).toEqual(['web3', 'web3']);
    expect([other, otherPacket].map((one) => one?.report.result)).toEqual(['timeout', 'timeout']);
    expect(count('node2', 'translated') + count('node2', 'new-flow')).toBe(before);
  });

  test('programs for datagrams are attached while some Service has a UDP port, answers before questions', () => {
    const one = node('node1');
    const datagramHooks = (): readonly string[] =>
      one.attachments.flatMap((text) => /^((?:send|recv)msg[46]) of /.exec(text)?.[1] ?? []);
    const all = ['recvmsg4', 'recvmsg6', 'sendmsg4', 'sendmsg6'];
    expect(datagramHooks()).toEqual(all);
    const events = schedule.map(({ event }) => event);
    const services = events.flatMap((event) => (event.type === 'LISTED' ? event.items : []));
    const dns = services.find((object) => object.kind === 'Service' && object.metadata?.name === 'dns');
    if (dns === undefined) expect.unreachable('the schedule has a UDP Service');
    value(applyEvent(one, { type: 'DELETED', object: dns }));
    expect(datagramHooks()).toEqual([]);
    value(applyEvent(one, { type: 'ADDED', object: dns }));
    expect(datagramHooks()).toEqual(all);
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
