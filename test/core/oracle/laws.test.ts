// SPDX-License-Identifier: Apache-2.0
/** Laws of the oracle over random clusters: its answers depend on the last state of each object and on nothing else. */
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import type { ClusterEvent, ClusterObject, ObjectKind } from '../../../core/objects.ts';
import { createOracle, createOracleTimeline, type Oracle, type OracleOptions } from '../../../core/oracle.ts';
import { answerText, type Answer, type Question } from '../../../core/oracle/answer.ts';
import {
  address,
  conditions,
  endpoint,
  meetingText,
  node,
  NODE,
  OPTIONS as PLAIN,
  podWithHostPort,
  prefix,
  question,
  service,
  slice,
} from './world.ts';

const OPTIONS: OracleOptions = { ...PLAIN, hostPort: true, clusterCIDRs: [prefix('10.0.0.0/16')] };

/** A client on the node that may be a backend, and one from outside that source ranges may or may not let in. */
const CLIENTS: readonly Pick<Question, 'client' | 'clientAddress'>[] = [
  { client: 'pod', clientAddress: address('10.0.0.1') },
  { client: 'outside', clientAddress: address('203.0.113.9') },
];

const EXTERNAL = ['192.0.2.10:30080/TCP', '192.0.2.12:30080/TCP', '192.0.2.10:9000/TCP', '198.51.100.8:80/TCP'];

const QUESTIONS: readonly Question[] = [
  ...['10.96.0.1', '10.96.0.2', '10.96.0.3', '192.0.2.10'].flatMap((ip) => [
    `${ip}:80/TCP`,
    `${ip}:80/UDP`,
    `${ip}:81/TCP`,
  ]),
  ...['[fd00:96::1]:80/TCP', '198.51.100.7:80/TCP'],
  ...EXTERNAL,
].flatMap((text) => {
  const asked = question(text);
  return EXTERNAL.includes(text) ? CLIENTS.map((client) => ({ ...asked, ...client })) : [asked];
});

const textOf = (answer: Answer, asked: Question): string => `${answerText(answer)}; ${meetingText(answer, asked)}`;

function answers(oracle: Pick<Oracle, 'answer'>): string[] {
  return QUESTIONS.map((asked) => textOf(oracle.answer(asked), asked));
}

const serviceName = fc.constantFrom('web', 'zoo', 'api');
const policy = fc.constantFrom('Cluster', 'Local');

const anyService: fc.Arbitrary<ClusterObject> = fc
  .record({
    name: serviceName,
    type: fc.constantFrom('ClusterIP', 'NodePort', 'ExternalName'),
    clusterIP: fc.constantFrom('10.96.0.1', '10.96.0.2', '10.96.0.3', 'None'),
    dual: fc.boolean(),
    internalTrafficPolicy: policy,
    externalTrafficPolicy: policy,
    external: fc.constantFrom('198.51.100.7', '192.0.2.10', undefined, undefined),
    balanced: fc.constantFrom('198.51.100.8', '198.51.100.7', '10.96.0.2', undefined),
    loadBalancerSourceRanges: fc.constantFrom([], ['192.0.2.0/24'], ['203.0.113.0/24']),
    foreign: fc.integer({ min: 0, max: 9 }).map((number) => number === 0),
    protocol: fc.constantFrom('TCP', 'UDP'),
    number: fc.constantFrom(80, 81),
  })
  .map(({ name, balanced, clusterIP, dual, external, foreign, protocol, number, ...spec }) => ({
    ...service(
      `shop/${name}`,
      {
        ...spec,
        clusterIP,
        ...(dual ? { clusterIPs: [clusterIP, 'fd00:96::1'], ipFamilies: ['IPv4', 'IPv6'] } : {}),
        externalIPs: external === undefined ? [] : [external],
        ports: [{ name: 'http', port: number, protocol, ...(spec.type === 'NodePort' ? { nodePort: 30080 } : {}) }],
      },
      foreign ? { 'service.kubernetes.io/service-proxy-name': 'other' } : {},
    ),
    status: { loadBalancer: { ingress: balanced === undefined ? [] : [{ ip: balanced }] } },
  }));

const anyEndpoint = fc
  .record({
    number: fc.integer({ min: 1, max: 4 }),
    flags: fc.constantFrom('TTF', 'TTF', 'TTF', 'FTT', 'FTF', 'FFT', 'TFT', '---'),
    nodeName: fc.constantFrom(NODE, 'node-b'),
    zone: fc.constantFrom('z1', 'z2'),
  })
  .map(({ number, flags, nodeName, zone }) => ({
    plain: endpoint(`10.0.0.${number}`, { nodeName, conditions: conditions(flags) }),
    hints: { forZones: [{ name: zone }] },
    both: { forZones: [{ name: zone }], forNodes: [{ name: nodeName }] },
  }));

/** Hints are all or nothing, so they are drawn for a slice as a whole; some slices mix. */
const anyEndpoints = fc
  .record({
    drawn: fc.array(anyEndpoint, { maxLength: 4 }),
    mode: fc.constantFrom('plain', 'zones', 'zones', 'both', 'mixed'),
  })
  .map(({ drawn, mode }) =>
    drawn.map(({ plain, hints, both }, index) => {
      if (mode === 'plain' || (mode === 'mixed' && index === 0)) return plain;
      return { ...plain, hints: mode === 'both' ? both : hints };
    }),
  );

const anySlice: fc.Arbitrary<ClusterObject> = fc
  .record({
    name: fc.constantFrom('a', 'b', 'c'),
    owner: serviceName,
    headless: fc.integer({ min: 0, max: 9 }).map((number) => number === 0),
    protocol: fc.constantFrom('TCP', 'TCP', 'UDP'),
    endpoints: anyEndpoints,
  })
  .map(({ name, owner, headless, protocol, endpoints }) =>
    slice(name, endpoints, {
      service: owner,
      labels: headless ? { 'service.kubernetes.io/headless': '' } : {},
      ports: [{ name: 'http', port: 8080, protocol }],
    }),
  );

const anyNode: fc.Arbitrary<ClusterObject> = fc
  .record({
    name: fc.constantFrom(NODE, 'node-b'),
    zone: fc.constantFrom('z1', 'z2', undefined),
    own: fc.constantFrom(['192.0.2.10'], ['192.0.2.12', '192.0.2.10'], ['192.0.2.12'], ['203.0.113.1'], []),
  })
  .map(({ name, zone, own }) => node(name, name === NODE ? own : ['192.0.2.11'], zone));

const anyPod: fc.Arbitrary<ClusterObject> = fc
  .record({ hostPort: fc.constantFrom(9000, 80), ip: fc.constantFrom('10.0.0.1', '10.0.0.5', undefined) })
  .map(({ hostPort, ip }) => ({ ...podWithHostPort(hostPort), status: ip === undefined ? {} : { podIP: ip } }));

const anyObject = fc.oneof(
  { weight: 4, arbitrary: anyService },
  { weight: 6, arbitrary: anySlice },
  { weight: 2, arbitrary: anyNode },
  { weight: 1, arbitrary: anyPod },
);

const anyEvent: fc.Arbitrary<ClusterEvent> = fc.record({
  type: fc.constantFrom('ADDED' as const, 'MODIFIED' as const, 'MODIFIED' as const, 'DELETED' as const),
  object: anyObject,
});

const anyStream = fc.array(anyEvent, { maxLength: 25 });

const identity = (object: ClusterObject): string =>
  `${object.kind} ${object.metadata?.namespace ?? ''}/${object.metadata?.name ?? ''}`;

function oracleAfter(events: readonly ClusterEvent[]): Oracle {
  const oracle = createOracle(OPTIONS);
  for (const event of events) oracle.apply(event);
  return oracle;
}

/** What exists after the stream, computed here and not by the oracle. */
function survivors(events: readonly ClusterEvent[]): ClusterObject[] {
  const last = new Map<string, ClusterObject>();
  for (const event of events) {
    if (event.type === 'DELETED') last.delete(identity(event.object));
    else if (event.type === 'ADDED' || event.type === 'MODIFIED') last.set(identity(event.object), event.object);
  }
  return [...last.values()];
}

/** The same events, each object's in their order, the objects' interleaved anew, each event up to three times in a row. */
function reshuffled(events: readonly ClusterEvent[], choices: readonly number[]): ClusterEvent[] {
  const queues = new Map<string, ClusterEvent[]>();
  for (const event of events) {
    if (!('object' in event)) continue;
    const key = identity(event.object);
    queues.set(key, [...(queues.get(key) ?? []), event]);
  }
  const shuffled: ClusterEvent[] = [];
  for (let step = 0; queues.size > 0; step++) {
    const choice = choices[step % choices.length] ?? 0;
    const [key = '', queue = []] = [...queues][choice % queues.size] ?? [];
    const event = queue.shift();
    if (event !== undefined) for (let copy = 0; copy <= choice % 3; copy++) shuffled.push(event);
    if (queue.length === 0) queues.delete(key);
  }
  return shuffled;
}

const anyChoices = fc.array(fc.nat(60), { minLength: 1, maxLength: 60 });

test('law: any interleaving and duplication that keeps each object in order gives the same answers', () => {
  fc.assert(
    fc.property(anyStream, anyChoices, (events, choices) => {
      expect(answers(oracleAfter(reshuffled(events, choices)))).toEqual(answers(oracleAfter(events)));
    }),
    { numRuns: 1500 },
  );
});

test('law: a stream, its survivors alone, and a list of its survivors are the same cluster', () => {
  fc.assert(
    fc.property(anyStream, anyStream, (events, noise) => {
      const left = survivors(events);
      const kinds: ObjectKind[] = ['Pod', 'EndpointSlice', 'Service', 'Node'];
      const lists = kinds.map((kind): ClusterEvent => ({
        type: 'LISTED',
        kind,
        items: left.filter((it) => it.kind === kind),
      }));
      const expected = answers(oracleAfter(events));
      expect(answers(oracleAfter(left.map((object) => ({ type: 'ADDED', object }))))).toEqual(expected);
      expect(answers(oracleAfter([...noise, ...lists]))).toEqual(expected);
    }),
    { numRuns: 1500 },
  );
});

test('law: deletion of what never was, a lost watch and bookmarks change nothing', () => {
  fc.assert(
    fc.property(anyStream, fc.array(anyObject, { maxLength: 5 }), (events, strangers) => {
      const idle: ClusterEvent[] = [
        ...strangers.map((object): ClusterEvent => ({ type: 'DELETED', object })),
        { type: 'DISCONNECTED', kind: 'Service', reason: 'gone' },
        { type: 'BOOKMARK', kind: 'EndpointSlice' },
      ];
      expect(answers(oracleAfter([...idle, ...events, ...idle.slice(strangers.length)]))).toEqual(
        answers(oracleAfter(events)),
      );
    }),
    { numRuns: 500 },
  );
});

test('law: a timeline answers for each moment what an oracle that heard only the events up to it answers', () => {
  fc.assert(
    fc.property(
      anyStream,
      fc.array(fc.nat(3), { minLength: 25, maxLength: 25 }),
      fc.nat(20),
      (events, gaps, windowNs) => {
        const timeline = createOracleTimeline(OPTIONS);
        let nowNs = 0;
        const times = events.map((event, index) => {
          nowNs += gaps[index] ?? 0;
          timeline.apply(nowNs, event);
          return nowNs;
        });
        for (const [at, timeNs] of times.entries()) {
          const until = times.lastIndexOf(timeNs);
          const oracle = oracleAfter(events.slice(0, until + 1));
          expect(answers({ answer: (asked) => timeline.answerAt(timeNs, asked) })).toEqual(answers(oracle));
          expect(answers({ answer: (asked) => timeline.judge(timeNs, windowNs, asked, at % 4).answer })).toEqual(
            answers(oracle),
          );
        }
      },
    ),
    { numRuns: 300 },
  );
});

test('law: a window holds exactly the answers that were in force at some moment of it', () => {
  fc.assert(
    fc.property(
      anyStream,
      fc.array(fc.nat(2), { minLength: 25, maxLength: 25 }),
      fc.nat(12),
      fc.nat(30),
      (events, gaps, windowNs, atNs) => {
        const timeline = createOracleTimeline(OPTIONS);
        let nowNs = 0;
        for (const [index, event] of events.entries()) timeline.apply((nowNs += gaps[index] ?? 0), event);
        for (const asked of QUESTIONS) {
          const { answer, earlier } = timeline.judge(atNs, windowNs, asked);
          const said = (one: Answer): string => textOf(one, asked);
          const found = new Set([answer, ...earlier.map((episode) => episode.answer)].map(said));
          // Times are whole numbers here, so every state that lasted is met at one of them.
          const moments = Array.from({ length: windowNs + 1 }, (_, back) => timeline.answerAt(atNs - back, asked));
          expect([...found].sort()).toEqual([...new Set(moments.map(said))].sort());
        }
      },
    ),
    { numRuns: 500 },
  );
});
