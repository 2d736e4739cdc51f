// SPDX-License-Identifier: Apache-2.0
/** What the demo concludes from what it saw: its stream, its report, its exit codes; nothing here needs root. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import type { Played } from '../../cli/demo/play.ts';
import type { Replayed } from '../../cli/demo/replay.ts';
import { makeReport, reportText, type DemoReport, type Findings } from '../../cli/demo/report.ts';
import { families, splitSchedule } from '../../cli/demo/stream.ts';
import type { Visit } from '../../cli/demo/visitors.ts';
import { applied, judge, millisecond, schedule, target, targets, visitOf } from './demovisits.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));

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
