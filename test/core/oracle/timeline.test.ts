// SPDX-License-Identifier: Apache-2.0
/** Judgements over time: what was permitted within a window, what ended it, and how much is remembered. */
import { describe, expect, test } from 'vitest';
import { port } from '../../../core/address.ts';
import type { ClusterEvent, ClusterObject, EndpointObject } from '../../../core/objects.ts';
import { createOracleTimeline, type OracleTimeline } from '../../../core/oracle.ts';
import {
  answerText,
  judgeBackend,
  judgeOutcome,
  permits,
  permittedBackends,
  type Answer,
  type Verdict,
} from '../../../core/oracle/answer.ts';
import {
  address,
  elsewhere,
  endpoint,
  node,
  NODE,
  ONLY_CLUSTER_IP,
  OPTIONS,
  podWithHostPort,
  question,
  service,
  slice,
  web,
  WEB,
} from './world.ts';

const modified = (object: ClusterObject): ClusterEvent => ({ type: 'MODIFIED', object });
const deleted = (object: ClusterObject): ClusterEvent => ({ type: 'DELETED', object });
const backends = (...numbers: number[]): ClusterEvent =>
  modified(
    slice(
      'a',
      numbers.map((number) => endpoint(`10.0.0.${number}`)),
    ),
  );

function timeline(...events: [number, ClusterEvent][]): OracleTimeline {
  const made = createOracleTimeline(OPTIONS);
  for (const [timeNs, event] of events) made.apply(timeNs, event);
  return made;
}

/** A rollout from 10.0.0.1 over both to 10.0.0.2, with news of others in between. */
const rollout = (): OracleTimeline =>
  timeline(
    [0, modified(web())],
    [100, backends(1)],
    [200, backends(1, 2)],
    [250, modified(service('shop/other', { clusterIP: '10.96.0.2' }))],
    [300, backends(2)],
    [400, backends()],
  );

const reached = (made: OracleTimeline, number: number, timeNs: number, windowNs: number, leadNs = 0): Verdict =>
  judgeBackend(made.judge(timeNs, windowNs, question(WEB), leadNs), address(`10.0.0.${number}`), port(8080));

describe('judgement of a backend', () => {
  test('a backend that was taken away is stale by the time since the event that did it', () => {
    const made = rollout();
    expect(reached(made, 1, 299, 0)).toEqual({ kind: 'permitted' });
    expect(reached(made, 1, 312, 50)).toEqual({ kind: 'stale', staleNs: 12, endedNs: 300, endedBy: 4 });
    expect(reached(made, 1, 450, 200)).toEqual({ kind: 'stale', staleNs: 150, endedNs: 300, endedBy: 4 });
    expect(reached(made, 2, 450, 200)).toEqual({ kind: 'stale', staleNs: 50, endedNs: 400, endedBy: 5 });
  });

  test.each([
    ['at the time of an event the event has happened', 300, 0, 'never'],
    ['the window holds what was in force at its beginning', 312, 13, 'stale'],
    ['what ended with the beginning of the window is outside', 312, 12, 'never'],
  ])('%s', (_name, timeNs, windowNs, expected) => {
    expect(reached(rollout(), 1, timeNs, windowNs).kind).toBe(expected);
  });

  test('a backend that was never listed is never permitted, nor a listed one at another port', () => {
    expect(reached(rollout(), 9, 312, 1000).kind).toBe('never');
    const judgement = rollout().judge(250, 1000, question(WEB));
    expect(judgeBackend(judgement, address('10.0.0.1'), port(8081)).kind).toBe('never');
  });

  test('a backend used shortly before its event is early, if a lead is allowed', () => {
    const made = rollout();
    expect(reached(made, 2, 190, 1000)).toEqual({ kind: 'never' });
    expect(reached(made, 2, 190, 1000, 10)).toEqual({ kind: 'early', earlyNs: 10, beganNs: 200, beganBy: 2 });
    expect(reached(made, 2, 190, 1000, 9)).toEqual({ kind: 'never' });
  });

  test('a backend that came back is stale since it left for the last time', () => {
    const made = timeline(
      [0, modified(web())],
      [10, backends(1)],
      [20, backends()],
      [30, backends(1)],
      [40, backends(2)],
    );
    expect(reached(made, 1, 45, 100)).toEqual({ kind: 'stale', staleNs: 5, endedNs: 40, endedBy: 4 });
    expect(reached(made, 1, 25, 100)).toEqual({ kind: 'stale', staleNs: 5, endedNs: 20, endedBy: 2 });
  });

  test('what several events of one moment pass through was permitted at no time', () => {
    const made = timeline(
      [0, modified(web())],
      [10, backends(1)],
      [20, backends(2)],
      [20, backends(3)],
      [20, backends(4)],
    );
    expect(reached(made, 2, 25, 100)).toEqual({ kind: 'never' });
    expect(reached(made, 1, 25, 100)).toEqual({ kind: 'stale', staleNs: 5, endedNs: 20, endedBy: 2 });
    expect(reached(made, 4, 20, 0)).toEqual({ kind: 'permitted' });
    expect(made.judge(25, 5, question(WEB)).earlier).toEqual([]);
  });

  test('the loss of the Service or of its address ends the permission too', () => {
    const gone = timeline([0, modified(web())], [10, backends(1)], [20, deleted(web())]);
    expect(reached(gone, 1, 25, 10)).toEqual({ kind: 'stale', staleNs: 5, endedNs: 20, endedBy: 2 });
    const moved = timeline([0, modified(web())], [10, backends(1)], [20, modified(web({ clusterIP: '10.96.0.9' }))]);
    expect(reached(moved, 1, 25, 10)).toEqual({ kind: 'stale', staleNs: 5, endedNs: 20, endedBy: 2 });
  });

  test('the zone of the own node is part of the history', () => {
    const zoned = (number: number, name: string): EndpointObject =>
      elsewhere(`10.0.0.${number}`, { hints: { forZones: [{ name }] } });
    const made = timeline(
      [0, modified(node(NODE, [], 'z1'))],
      [10, modified(web())],
      [20, modified(slice('a', [zoned(1, 'z1'), zoned(2, 'z2')]))],
      [30, modified(node(NODE, [], 'z2'))],
    );
    expect(reached(made, 1, 35, 10)).toEqual({ kind: 'stale', staleNs: 5, endedNs: 30, endedBy: 3 });
    expect(reached(made, 2, 35, 0)).toEqual({ kind: 'permitted' });
  });

  test('an event without effect on the answer ends nothing', () => {
    const relabelled = web({}, { team: 'shop' });
    const made = timeline(
      [0, modified(web())],
      [10, backends(1)],
      [20, backends(1)],
      [30, modified(relabelled)],
      [40, backends(2)],
    );
    const { earlier } = made.judge(50, 100, question(WEB));
    expect(earlier.map((episode) => [answerText(episode.answer), episode.endedNs, episode.endedBy])).toEqual([
      ['permitted shop/web:http 10.0.0.1:8080', 40, 4],
      ['refuse shop/web:http no-endpoints', 10, 1],
      ['drop-unallocated', 0, 0],
    ]);
  });

  test('a change of another port of the Service ends nothing', () => {
    const http = { name: 'http', port: 80 };
    const admin = { name: 'admin', port: 81 };
    const serving = (...numbers: number[]): ClusterEvent => {
      const endpoints = numbers.map((number) => endpoint(`10.0.0.${number}`));
      return modified(slice('b', endpoints, { ports: [{ name: 'admin', port: 9090, protocol: 'TCP' }] }));
    };
    const made = timeline(
      [0, modified(web({ ports: [http, admin] }))],
      [10, backends(1)],
      [20, serving(5)],
      [30, serving(6)],
    );
    expect(made.judge(40, 25, question(WEB), 0).earlier).toEqual([]);
    expect(made.judge(40, 25, question('10.96.0.1:81/TCP'), 0).earlier).toHaveLength(2);
    expect(made.judge(15, 0, question(WEB), 25).later).toEqual([]);
  });

  test('the loss of the own Node brings back the zone of the configuration', () => {
    const zoned = (number: number, name: string): EndpointObject =>
      elsewhere(`10.0.0.${number}`, { hints: { forZones: [{ name }] } });
    const made = createOracleTimeline({ ...OPTIONS, zone: 'z2' });
    const events = [
      modified(web()),
      modified(slice('a', [zoned(1, 'z1'), zoned(2, 'z2')])),
      modified(node(NODE, [], 'z1')),
      deleted(node(NODE, [])),
    ];
    for (const [index, event] of events.entries()) made.apply(index * 10, event);
    expect(reached(made, 1, 25, 0)).toEqual({ kind: 'permitted' });
    expect(reached(made, 1, 35, 10)).toEqual({ kind: 'stale', staleNs: 5, endedNs: 30, endedBy: 3 });
    expect(reached(made, 2, 35, 0)).toEqual({ kind: 'permitted' });
  });
});

describe('judgement of other outcomes', () => {
  test('refusals are judged like backends: permitted, stale, never', () => {
    const made = timeline([0, modified(web())], [10, backends(1)], [20, backends()], [30, backends(1)]);
    const refused = (timeNs: number, windowNs: number): Verdict =>
      judgeOutcome(made.judge(timeNs, windowNs, question(WEB)), { kind: 'refused' });
    expect(refused(25, 0)).toEqual({ kind: 'permitted' });
    expect(refused(33, 5)).toEqual({ kind: 'stale', staleNs: 3, endedNs: 30, endedBy: 3 });
    expect(refused(40, 5)).toEqual({ kind: 'never' });
  });

  const backend = { address: address('10.0.0.1'), port: port(8080) };
  const permitted = { kind: 'permitted', service: 'shop/web:http', backends: [backend], source: 'client' } as const;
  const refuse = { kind: 'refuse', service: 'shop/web:http', reason: 'no-endpoints' } as const;
  const drop = { kind: 'drop', service: 'shop/web:http', reason: 'no-local-endpoints' } as const;
  test.each<[Answer, string]>([
    [permitted, 'backend'],
    [refuse, 'refused'],
    [drop, 'dropped'],
    [{ kind: 'contested', services: ['shop/web:http'], outcomes: [permitted, refuse] }, 'backend refused'],
    [{ kind: 'not-a-service' }, 'untouched'],
    [{ kind: 'refuse-unknown-port', service: 'shop/web' }, 'refused'],
    [{ kind: 'drop-unallocated' }, 'dropped'],
    [{ kind: 'unsupported', reason: 'NodePort', object: 'shop/web:http' }, ''],
  ])('%j permits: %s', (answer, expected) => {
    const seen = [
      { kind: 'backend', ...backend },
      { kind: 'refused' },
      { kind: 'dropped' },
      { kind: 'untouched' },
    ] as const;
    expect(
      seen
        .filter((observed) => permits(answer, observed))
        .map((observed) => observed.kind)
        .join(' '),
    ).toBe(expected);
  });

  test('the backends of a contested answer are those of all its outcomes, each once', () => {
    const second = { address: address('10.0.0.2'), port: port(8080) };
    const outcomes = [permitted, refuse, { ...permitted, backends: [backend, second] }];
    expect(permittedBackends({ kind: 'contested', services: ['shop/web:http'], outcomes })).toEqual([backend, second]);
  });

  test('what is not judged is said to be so, now and where it was so within the window', () => {
    const made = createOracleTimeline(ONLY_CLUSTER_IP);
    made.apply(0, modified(podWithHostPort(9000)));
    made.apply(10, modified(node(NODE, ['192.0.2.10'])));
    made.apply(20, deleted(node(NODE, [])));
    const hostPort = (timeNs: number, windowNs: number): Verdict =>
      judgeOutcome(made.judge(timeNs, windowNs, question('192.0.2.10:9000/TCP')), { kind: 'refused' });
    expect(hostPort(15, 0)).toEqual({ kind: 'unsupported', reason: 'HostPort', object: 'pod shop/cache' });
    expect(hostPort(25, 10)).toEqual({ kind: 'unsupported', reason: 'HostPort', object: 'pod shop/cache' });
    expect(hostPort(25, 2)).toEqual({ kind: 'never' });
  });
});

describe('what is remembered', () => {
  test('only changes of a Service are kept, and only for that Service', () => {
    const made = timeline([0, modified(web())], [0, modified(service('shop/other', { clusterIP: '10.96.0.2' }))]);
    const before = made.versionCount();
    for (let round = 0; round < 100; round++) made.apply(1 + round, backends(1));
    expect(made.versionCount()).toBe(before + 1);
    for (let round = 0; round < 100; round++) made.apply(200 + round, backends(round % 2));
    expect(made.versionCount()).toBe(before + 101);
  });

  test('new addresses of the node are one version, however many Services have NodePorts there', () => {
    const ports = [{ name: 'http', port: 80, nodePort: 30080 }];
    const made = timeline([0, modified(web({ ports }))], [1, backends(1)], [2, modified(node(NODE, ['192.0.2.10']))]);
    const before = made.versionCount();
    made.apply(10, modified(node(NODE, ['192.0.2.12'])));
    expect(made.versionCount()).toBe(before + 1);
    const served = (timeNs: number): string[] =>
      ['192.0.2.10:30080/TCP', '192.0.2.12:30080/TCP'].map((text) => made.answerAt(timeNs, question(text)).kind);
    expect(served(9)).toEqual(['permitted', 'not-a-service']);
    expect(served(10)).toEqual(['not-a-service', 'permitted']);
    const { earlier } = made.judge(15, 10, question('192.0.2.10:30080/TCP'));
    expect(earlier.map(({ answer, endedBy }) => [answerText(answer), endedBy])).toEqual([
      ['permitted shop/web:http 10.0.0.1:8080', 3],
    ]);
  });

  test('forgetting keeps the answers from that time on, and frees the rest', () => {
    const made = timeline([0, modified(web())], [0, modified(service('shop/brief', { clusterIP: '10.96.0.3' }))]);
    made.apply(1, deleted(service('shop/brief')));
    for (let round = 0; round < 100; round++) made.apply(10 + round, backends(round % 2));
    const before = made.judge(100, 10, question(WEB), 9);
    made.forgetBefore(90);
    expect(made.judge(100, 10, question(WEB), 9)).toEqual(before);
    // The version in force at 90 and those of 91 to 109.
    expect(made.versionCount()).toBe(20);
    expect(made.judge(90, 0, question('10.96.0.3:80/TCP')).answer).toEqual({ kind: 'drop-unallocated' });
    expect(() => made.judge(99, 10, question(WEB))).toThrow('still kept');
  });

  test('a timeline does not run backwards', () => {
    const made = timeline([10, modified(web())]);
    expect(() => made.apply(9, backends(1))).toThrow('order of time');
  });
});
