// SPDX-License-Identifier: Apache-2.0
/** What the demo concludes from what it saw: its judge, its report, its exit codes; nothing here needs root. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { countAsked, type Asked } from '../../cli/demo/askers.ts';
import { createJudge, type Judge } from '../../cli/demo/judge.ts';
import type { Played } from '../../cli/demo/play.ts';
import type { Replayed } from '../../cli/demo/replay.ts';
import { makeReport, reportText, type DemoReport, type Findings } from '../../cli/demo/report.ts';
import {
  families,
  readSchedule,
  splitSchedule,
  streamPath,
  targetsOf,
  type Applied,
  type Family,
  type Target,
} from '../../cli/demo/stream.ts';
import type { Call, Road, Visit } from '../../cli/demo/visitors.ts';
import { failureText, type Result } from '../../core/result.ts';
import { twoNodes } from '../../lab/twonodes.ts';
import type { ConnectionReport } from '../../lab/wire.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const millisecond = 1_000_000n;

function value<T>(result: Result<T>): T {
  if (!result.ok) throw new Error(failureText(result.error));
  return result.value;
}

const schedule = value(readSchedule(streamPath));
const targets = value(targetsOf(schedule));
const spec = twoNodes('x', { ipv6: true });

function target(name: string, family: Family = 'IPv4'): Target {
  return targets.find((one) => one.name === name && one.family === family) ?? expect.unreachable(`no target ${name}`);
}

/** Both nodes hear of each event when it is due and take 10 ms for it. */
const applied: readonly Applied[] = schedule.flatMap(({ dueMs, event }) => {
  const beganNs = BigInt(Math.round(dueMs * 1e6));
  return ['node1', 'node2'].map((node) => ({ node, event, beganNs, doneNs: beganNs + 10n * millisecond }));
});

const judge: Judge = createJudge(spec, applied, { originNs: 0n, inFlightNs: 10_000_000 });

const pods: Readonly<Record<Family, Readonly<Record<string, string>>>> = {
  IPv4: {
    web1: '10.244.1.4:8080',
    web2: '10.244.1.5:8080',
    web3: '10.244.2.4:8080',
    web4: '10.244.2.5:8080',
  },
  IPv6: {
    web1: '[fd00:10:244:1::4]:8080',
    web2: '[fd00:10:244:1::5]:8080',
    web3: '[fd00:10:244:2::4]:8080',
    web4: '[fd00:10:244:2::5]:8080',
  },
};

const client1: Readonly<Record<Family, string>> = { IPv4: '10.244.1.6', IPv6: 'fd00:10:244:1::6' };

type VisitOptions = {
  readonly to?: string;
  readonly family?: Family;
  readonly by?: string;
  readonly atMs?: number;
  readonly road?: Road;
  readonly report?: Partial<ConnectionReport>;
};

type DatagramOptions = VisitOptions & {
  readonly kept?: string;
  readonly call?: Call;
  readonly isEnded?: boolean;
};

/** A connection of client1 that took a millisecond; `by`: the pod that answered, or how else it ended. */
function visitOf(options: VisitOptions): Visit {
  const { to = 'shop/web:http', family = 'IPv4', by = 'web1', atMs = 300, road = 'packet', report = {} } = options;
  const startedNs = BigInt(Math.round(atMs * 1e6));
  const { text } = target(to, family);
  const answered: ConnectionReport = {
    id: 1,
    result: 'answered',
    errno: null,
    by,
    answeredAs: pods[family][by] ?? null,
    peerSeen: family === 'IPv4' ? '10.244.1.6:20000' : '[fd00:10:244:1::6]:20000',
    peerName: text,
    localPort: 20_000,
    startedNs: String(startedNs),
    connectedNs: String(startedNs + millisecond),
    endedNs: String(startedNs + 2n * millisecond),
  };
  const refused = { by: null, answeredAs: null, peerSeen: null, peerName: null, connectedNs: null } as const;
  const ended = by in pods[family] ? answered : { ...answered, ...refused, result: by as ConnectionReport['result'] };
  const from = { pod: 'client1', address: client1[family], node: 'node1', road };
  const rest = { call: 'stream', isHeld: false, before: null, isEnded: false } as const;
  return { from, target: target(to, family), report: { ...ended, ...report }, ...rest };
}

describe('the stream of the demo', () => {
  test('begins with lists, so that nodes may program, and holds every kind of change', () => {
    const { start, rest } = splitSchedule(schedule);
    expect(start.map(({ event }) => `${event.type} ${'kind' in event ? event.kind : ''}`)).toEqual([
      'LISTED Node',
      'LISTED Service',
      'LISTED EndpointSlice',
    ]);
    expect(rest.length).toBeGreaterThan(10);
    expect(rest.every(({ event }) => event.type === 'MODIFIED')).toBe(true);
    expect((schedule.at(-1)?.dueMs ?? 0) / 1000).toBeLessThan(10);
  });

  test('rolls every backend of a Service over, and names a port that no Service has', () => {
    for (const family of families) {
      const web = target('shop/web:http', family);
      expect(judge.podsAt(300e6, web)).toEqual(['web1', 'web3']);
      expect(judge.podsAt(10e9, web)).toEqual(['web2', 'web4']);
      expect(judge.podsAt(4e9, web)).toEqual([]);
    }
    expect(targets.map(({ text }) => text)).toEqual([
      '10.96.0.10:80',
      '[fd00:10:96::10]:80',
      '10.96.0.20:4000',
      '[fd00:10:96::20]:4000',
      '10.96.0.30:80',
      '[fd00:10:96::30]:80',
      '10.96.0.40:80',
      '10.96.0.50:80',
      '[fd00:10:96::50]:80',
      '10.96.0.53:53',
      '[fd00:10:96::53]:53',
      '10.96.0.10:81',
      '[fd00:10:96::10]:81',
    ]);
  });
});

describe('the judge', () => {
  // web: web2 comes at 1000 ms, web1 goes at 1300 ms; nightly has no endpoint from 1500 to 3100 ms.
  test.each([
    { what: 'a backend of the moment', by: 'web1', atMs: 300, verdict: 'permitted' },
    { what: 'a backend that comes later', by: 'web2', atMs: 900, verdict: 'wrong' },
    { what: 'a backend that has just come', by: 'web2', atMs: 1_001, verdict: 'permitted' },
    { what: 'a backend that is just going', by: 'web1', atMs: 1_305, verdict: 'in-flight' },
    { what: 'a backend that went before the window', by: 'web1', atMs: 1_320, verdict: 'wrong' },
    { what: 'another Service’s backend', to: 'shop/near:http', by: 'web1', verdict: 'wrong' },
    { what: 'the backend of this node', to: 'shop/near:http', by: 'web2', verdict: 'permitted' },
    { what: 'the backend of the other node', to: 'shop/near:http', by: 'web4', verdict: 'wrong' },
    { what: 'a refusal without endpoints', to: 'shop/empty:http', by: 'refused', verdict: 'permitted' },
    { what: 'a refusal with endpoints', by: 'refused', verdict: 'wrong' },
    { what: 'a refusal of a port that is nobody’s', to: 'shop/web, no such port', by: 'refused', verdict: 'permitted' },
    { what: 'silence in place of a refusal', to: 'shop/empty:http', by: 'timeout', verdict: 'wrong' },
    { what: 'a reset', by: 'reset', verdict: 'wrong' },
    { what: 'a lost client', by: 'lost', verdict: 'wrong' },
    { what: 'an IPv6 backend of the moment', family: 'IPv6', by: 'web1', atMs: 300, verdict: 'permitted' },
    { what: 'an IPv6 backend that comes 5 ms later', family: 'IPv6', by: 'web2', atMs: 980, verdict: 'wrong' },
    { what: 'an IPv6 backend that is just going', family: 'IPv6', by: 'web1', atMs: 1_310, verdict: 'in-flight' },
    { what: 'an IPv6 backend that went', family: 'IPv6', by: 'web1', atMs: 1_325, verdict: 'wrong' },
    {
      what: 'an IPv6 refusal without endpoints',
      to: 'shop/empty:http',
      family: 'IPv6',
      by: 'refused',
      verdict: 'permitted',
    },
    { what: 'an IPv6 refusal with endpoints', family: 'IPv6', by: 'refused', verdict: 'wrong' },
    {
      what: 'a refusal while there are no endpoints',
      to: 'shop/nightly:http',
      by: 'refused',
      atMs: 2_000,
      verdict: 'permitted',
    },
    {
      what: 'an answer while there are no endpoints',
      to: 'shop/nightly:http',
      by: 'web1',
      atMs: 2_000,
      verdict: 'wrong',
    },
  ] as const)('calls $what $verdict', ({ verdict, what, ...options }) => {
    expect(judge.judge(visitOf(options)).verdict, what).toBe(verdict);
  });

  test.each([
    { report: { peerName: '10.244.1.4:8080' }, why: 'getpeername says 10.244.1.4:8080, not 10.96.0.10:80' },
    { report: { peerSeen: '10.244.1.1:20000' }, why: 'the server saw 10.244.1.1:20000, not 10.244.1.6:20000' },
    { report: { by: 'web2' }, why: 'web2 has not 10.244.1.4:8080' },
    { report: { result: 'reset' }, why: 'connection ended as reset' },
    {
      family: 'IPv6',
      report: { peerName: '[fd00:10:244:1::4]:8080' },
      why: 'getpeername says [fd00:10:244:1::4]:8080, not [fd00:10:96::10]:80',
    },
    {
      family: 'IPv6',
      report: { peerSeen: '[fd00:88::11]:20000' },
      why: 'the server saw [fd00:88::11]:20000, not [fd00:10:244:1::6]:20000',
    },
    { family: 'IPv6', report: { by: 'web2' }, why: 'web2 has not [fd00:10:244:1::4]:8080' },
  ] as const)('does not let pass: $why', ({ why, ...options }) => {
    expect(judge.judge(visitOf(options))).toMatchObject({ verdict: 'wrong', why });
  });
});

describe('the judge of datagrams', () => {
  // dns: web1 terminates from 1150 ms, is gone at 1600 ms; web2 comes at 1150 ms; web4 comes at 2000 ms; web2 goes at 4200 ms without terminating.
  const datagram = (options: DatagramOptions): Visit => {
    const { kept, call = 'unconnected', isEnded = false, family = 'IPv4', report = {}, ...rest } = options;
    const one = visitOf({ to: 'shop/dns:dns', family, ...rest });
    const as = (pod: string): string => `${pods[family][pod]?.replace(/8080$/, '')}8053`;
    const answeredAs = one.report.by === null ? null : as(one.report.by);
    const before = kept === undefined ? null : { ...one.report, by: kept, answeredAs: as(kept) };
    const ended = isEnded ? ({ result: 'error', errno: 'ECONNABORTED', by: null, answeredAs: null } as const) : {};
    return {
      ...one,
      call,
      before,
      isEnded,
      report: { ...one.report, answeredAs, connectedNs: null, ...ended, ...report },
    };
  };

  test.each<DatagramOptions & { what: string; verdict: string }>([
    { what: 'the first to a backend of the moment', by: 'web1', atMs: 300, verdict: 'permitted' },
    { what: 'the next one to the same', by: 'web1', kept: 'web1', atMs: 300, verdict: 'permitted' },
    { what: 'the next one to another though the first serves', by: 'web3', kept: 'web1', atMs: 300, verdict: 'wrong' },
    { what: 'the first to one that terminates', by: 'web1', atMs: 1_300, verdict: 'wrong' },
    { what: 'the next to one that terminates', by: 'web1', kept: 'web1', atMs: 1_300, verdict: 'permitted' },
    { what: 'the next to one that is just going', by: 'web1', kept: 'web1', atMs: 1_605, verdict: 'in-flight' },
    { what: 'the next to one that is gone', by: 'web1', kept: 'web1', atMs: 1_700, verdict: 'wrong' },
    { what: 'the next to a live one', by: 'web3', kept: 'web1', atMs: 1_700, verdict: 'permitted' },
    { what: 'silence', by: 'timeout', kept: 'web1', atMs: 1_700, verdict: 'wrong' },
    {
      what: 'the end of a socket whose backend is gone',
      isEnded: true,
      kept: 'web1',
      atMs: 1_700,
      verdict: 'permitted',
    },
    { what: 'the end of one whose backend terminates', isEnded: true, kept: 'web1', atMs: 1_300, verdict: 'wrong' },
    { what: 'the end of one that serves', isEnded: true, kept: 'web3', atMs: 1_700, verdict: 'wrong' },
    { what: 'the end of a new one while a backend goes', isEnded: true, atMs: 4_202, verdict: 'in-flight' },
    { what: 'the end of a new one while nothing happens', isEnded: true, atMs: 1_900, verdict: 'wrong' },
  ])('calls $what $verdict, in both families', ({ verdict, what, ...options }) => {
    for (const family of families) {
      const atMs = (options.atMs ?? 0) + (family === 'IPv6' ? 5 : 0);
      expect(judge.judge(datagram({ ...options, call: 'connected', family, atMs })).verdict, what).toBe(verdict);
    }
  });

  test('does not let pass an answer that shows the backend', () => {
    const shown = datagram({ by: 'web1', report: { peerName: '10.244.1.4:8053' } });
    const why = 'recvfrom says 10.244.1.4:8053, not 10.96.0.53:53';
    expect(judge.judge(shown)).toMatchObject({ verdict: 'wrong', why });
  });

  test('counts who was ended, who reconnected, and who moved in silence', () => {
    const connected = [
      datagram({ by: 'web1', call: 'connected' }),
      datagram({ kept: 'web1', isEnded: true, call: 'connected' }),
      datagram({ by: 'web3', call: 'connected' }),
    ];
    const unconnected = [datagram({ by: 'web1' }), datagram({ by: 'web1', kept: 'web1' }), datagram({ by: 'web3' })];
    const asked: readonly Asked[] = [
      { call: 'connected', visits: connected },
      { call: 'unconnected', visits: unconnected },
    ];
    expect(countAsked(asked)).toEqual({ sockets: 2, datagrams: 6, ended: 1, reconnected: 1, moved: 1 });
  });
});

describe('the report', () => {
  const replayed: Replayed = {
    name: 'capture of node1',
    frames: 100,
    comparedWithKernel: 60,
    differences: 0,
    firstDifference: null,
    unattributed: 0,
    connections: { permitted: 1, inFlight: 0, stale: 0, never: 0, notJudged: 0 },
    notPermitted: [],
    repliesReproduced: 5,
    repliesDiffering: 0,
    choices: { same: 1, of: 1 },
  };
  const echoed = { ...visitOf({}).report, result: 'echoed' } as const;
  const counts = { captured: 100, received: 100, dropped: 0 };
  const recording = { node: 'node1', capture: '', events: '', facts: '', counts };
  const visits = [
    visitOf({}),
    visitOf({ road: 'socket', to: 'shop/empty:http', by: 'refused' }),
    visitOf({ road: 'socket', family: 'IPv6', by: 'web3' }),
  ];
  const played: Played = {
    originNs: 0n,
    endNs: 6_000n * millisecond,
    applied,
    targets,
    visits,
    held: [{ visit: visitOf({}), echo: echoed }],
    asked: [],
    checksumErrors: new Map(),
    reasons: new Map([['new-flow', 1]]),
    recordings: [recording],
  };
  const good: Findings = {
    seed: 7,
    durationMs: 8_123,
    played,
    judge,
    judged: visits.map((visit) => judge.judge(visit)),
    replays: [replayed],
    recordings: [{ ...replayed, name: 'recording of node1', connections: { ...replayed.connections, stale: 5 } }],
  };
  const reportOf = (changes: Partial<Findings>): DemoReport => makeReport({ ...good, ...changes });

  test('says nothing is wrong where nothing is, whatever another proxy did in its recording', () => {
    const report = reportOf({});
    expect(report).toMatchObject({ exitCode: 0, problems: [], comparison: { packets: 120, differences: 0 } });
    expect(report.held).toEqual({ total: 1, alive: 1, moved: 1 });
    expect(reportText(report)).toMatchInlineSnapshot(`
      "
      SERVICE          ADDRESS              BACKENDS                ANSWER   SOCKET v4  v6  PACKET v4  v6
      shop/web:http    10.96.0.10:80        web1 web3 -> web2 web4  web1             0   0          1   0
                       [fd00:10:96::10]:80                          web3             0   1          0   0
      shop/empty:http  10.96.0.50:80        none                    refused          1   0          0   0
                       [fd00:10:96::50]:80
      SOCKET: translated as the client connects or sends; PACKET: packet by packet at the device of its pod

      judged       3 connections, 0 datagrams (0 by send(), 0 by sendto()): 3 as permitted at their moment, 0 while a change was in flight (at most 13 ms), 0 wrong
      comparison   120 packets through model and kernel, 0 differences
      8.1 s; again with the same clients: ./tandem demo --seed 7"
    `);
  });

  const wrong = visitOf({ by: 'web4' });
  const silent: Visit = { ...visitOf({ to: 'shop/dns:dns', by: 'timeout' }), call: 'connected' };
  const withVisit = [...good.judged, judge.judge(wrong)];
  const stale = { ...replayed, notPermitted: ['shop/web:http frame 9: stale'] };
  test.each<{ what: string; changes: Partial<Findings>; code: number; problem: string }>([
    {
      what: 'the twins differ',
      changes: { recordings: [{ ...replayed, differences: 1, firstDifference: 'frame 3: verdict' }] },
      code: 1,
      problem: 'capture of node1: 1 differences, first: frame 3: verdict',
    },
    {
      what: 'a reply is not what the pod received',
      changes: { replays: [{ ...replayed, repliesDiffering: 2 }] },
      code: 1,
      problem: 'capture of node1: 2 replies are not what the pod received',
    },
    {
      what: 'nothing was compared',
      changes: { replays: [{ ...replayed, comparedWithKernel: 0 }], recordings: [] },
      code: 4,
      problem: 'capture of node1: no packet was compared with the kernel',
    },
    {
      what: 'a connection went wrong',
      changes: {
        judged: withVisit,
        replays: [{ ...replayed, connections: { ...replayed.connections, permitted: 2 } }],
      },
      code: 3,
      problem:
        'client1 to shop/web:http 10.96.0.10:80 on the packet road: answered by web4 10.244.2.5:8080; ' +
        'the oracle says: permitted shop/web:http 10.244.1.4:8080 10.244.2.4:8080',
    },
    {
      what: 'a held connection was lost',
      changes: { played: { ...played, held: [{ visit: visitOf({}), echo: { ...echoed, result: 'reset' } }] } },
      code: 3,
      problem: 'held connection of client1 to web1: reset',
    },
    {
      what: 'a UDP socket is left without an answer',
      changes: { played: { ...played, asked: [{ call: 'connected', visits: [silent] }] } },
      code: 3,
      problem: 'connected UDP socket of client1 to 10.96.0.53:53 on the packet road is left with: timeout',
    },
    {
      what: 'a pod counted a wrong checksum',
      changes: { played: { ...played, checksumErrors: new Map([['web1', 2]]) } },
      code: 3,
      problem: 'web1 refused 2 packets for a wrong checksum',
    },
    {
      what: 'a capture lost packets',
      changes: { played: { ...played, recordings: [{ ...recording, counts: { ...counts, dropped: 4 } }] } },
      code: 3,
      problem: 'the capture of node1 is not whole: 4 packets were dropped',
    },
    {
      what: 'the captures lack a connection',
      changes: { replays: [{ ...replayed, connections: { ...replayed.connections, permitted: 0 } }] },
      code: 3,
      problem: 'the captures show 0 of 1 connections of the packet road',
    },
    {
      what: 'the replay finds a stale choice',
      changes: { replays: [stale] },
      code: 3,
      problem: 'capture of node1: shop/web:http frame 9: stale',
    },
  ])('ends with $code when $what', ({ changes, code, problem }) => {
    const report = reportOf(changes);
    expect({ code: report.exitCode, problems: report.problems }).toEqual({ code, problems: [problem] });
    expect(reportText(report)).toContain(`WRONG  ${problem}`);
  });
});

test('without root the demo ends with exit code 4 and one line', () => {
  // Imported before root is given up: a checkout need not be readable for nobody.
  const code = `
    const { run } = await import('./cli/demo.ts');
    if (process.geteuid() === 0) process.seteuid(65534);
    process.exit(await run([], {}));`;
  const options = { cwd: root, encoding: 'utf8' } as const;
  const { status, stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', code], options);
  expect({ status, stdout }).toEqual({ status: 4, stdout: '' });
  expect(stderr).toBe('tandem: demo: needs root (network namespaces); run it with sudo\n');
});
