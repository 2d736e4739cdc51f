// SPDX-License-Identifier: Apache-2.0
/** What the node's settings mean in a replay: addresses of no Service, and pods that are their own backends. */
import { describe, expect, test } from 'vitest';
import { nodeSettings } from '../../core/control/settings.ts';
import type { ConfigRecord } from '../../core/layout.gen.ts';
import { reportText } from '../../replay/report.ts';
import { endOf, summarize } from '../../replay/summary.ts';
import { addressOf, icmpError, tcp, udp } from './packets.ts';
import {
  captureOf,
  CLIENT,
  CLIENT_DEVICE,
  cluster,
  eventLine,
  LOCAL,
  LOCAL_DEVICE,
  LOCAL_V6,
  modelTwin,
  on,
  prefixOf,
  replayed,
  REMOTE,
  SERVICE,
  SERVICE_V6,
  service,
  setting,
  slice,
  UPLINK,
  type Frame,
  type Replay,
} from './recording.ts';

const NODE = '10.88.0.11';
const NODE_V6 = 'fd00:10:88::11';
const RANGE = '10.96.0.0/16';
const NOBODYS = '10.96.7.7';

function settingsOf(ranges: readonly string[], addresses: readonly string[]): Partial<ConfigRecord> {
  const built = nodeSettings(ranges.map(prefixOf), addresses.map(addressOf));
  if (!built.ok) throw new Error(built.error.message);
  return built.value;
}

const known = settingsOf([RANGE], [NODE, NODE_V6]);

/** Both twins get the same settings; a Service with backends for both families is there. */
function replayBoth(frames: readonly Frame[], settings: Partial<ConfigRecord> = known, streams = both()): Replay {
  const how = { model: modelTwin(settings), serviceRanges: [prefixOf(RANGE)] };
  return replayed([captureOf(frames)], streams, modelTwin(settings), how);
}

function both(...more: readonly string[]): ReturnType<typeof cluster> {
  return cluster([LOCAL], eventLine(0, 'ADDED', slice([LOCAL_V6], 'web-v6')), ...more);
}

describe('a packet to an address of no Service in a range of Services', () => {
  const opening = tcp({ from: `${CLIENT}:4242`, to: `${NOBODYS}:80`, flags: 'S', sequence: 5, identification: 10 });
  const datagram = udp({ from: `${CLIENT}:4242`, to: `${NOBODYS}:53`, identification: 10 });

  test.each([
    ['TCP', opening],
    ['UDP', datagram],
  ])('of %s is dropped by the twins, and permitted where nothing more was seen of it', (_protocol, packet) => {
    const { tally, lines } = replayBoth([on(100, CLIENT_DEVICE, 'incoming', packet)]);
    expect(lines[0]).toMatchObject({
      model: { verdict: 'drop', reason: 'unallocated' },
      kernel: { verdict: 'drop', reason: 'unallocated' },
    });
    expect(tally.connections[0]).toMatchObject({
      service: 'no Service',
      verdict: { kind: 'permitted' },
      reply: 'none',
    });
    expect(tally.modelNotPermitted).toEqual([]);
    expect(summarize(tally, setting)).toMatchObject({ services: 0, unsupported: {} });
    expect(endOf(tally, setting)).toBe('agreed');
  });

  test('is let go by twins that do not know the range, which is found', () => {
    const { tally } = replayBoth([on(100, CLIENT_DEVICE, 'incoming', opening)], {});
    expect(tally.connections[0]?.model).toMatchObject({ verdict: 'pass' });
    expect(tally.modelNotPermitted).toHaveLength(1);
    expect(endOf(tally, setting)).toBe('not-permitted');
  });

  test.each([
    [
      'TCP',
      opening,
      tcp({ from: `${CLIENT}:4242`, to: `${NOBODYS}:80`, flags: 'S', sequence: 5, identification: 10, hops: 63 }),
    ],
    ['UDP', datagram, udp({ from: `${CLIENT}:4242`, to: `${NOBODYS}:53`, identification: 10, hops: 63 })],
  ])('of %s that left the node is not judged, since kube-proxy may let it go', (_protocol, packet, left) => {
    const { tally } = replayBoth([on(100, CLIENT_DEVICE, 'incoming', packet), on(100.1, UPLINK, 'outgoing', left)]);
    expect(summarize(tally, setting)).toMatchObject({
      unsupported: { 'unallocated-address': { connections: 1 } },
      modelNotPermitted: 0,
    });
    expect(endOf(tally, setting)).toBe('agreed');
  });

  test('that is translated still, after its Service is gone, is stale', () => {
    const old = { kind: 'Service', metadata: { namespace: 'shop', name: 'old', uid: 'uid-old' } };
    const spec = { ...service.spec, clusterIP: NOBODYS, clusterIPs: [NOBODYS] };
    const streams = both(
      eventLine(0, 'ADDED', { ...old, spec }),
      eventLine(0, 'ADDED', slice([REMOTE], 'old-1', 'old')),
      eventLine(500, 'DELETED', { ...old, spec }),
    );
    const there = {
      from: `${CLIENT}:4242`,
      to: `${REMOTE}:8080`,
      flags: 'S',
      sequence: 5,
      identification: 10,
      hops: 63,
    };
    const frames = [on(700, CLIENT_DEVICE, 'incoming', opening), on(700.1, UPLINK, 'outgoing', tcp(there))];
    const { tally } = replayBoth(frames, known, streams);
    expect(tally.connections[0]?.verdict).toMatchObject({ kind: 'stale', staleNs: 200_000_000 });
  });

  test('that is refused is never permitted: only a Service refuses', () => {
    const refusal = icmpError('10.244.1.1', opening, 3, 3);
    const { tally } = replayBoth([
      on(100, CLIENT_DEVICE, 'incoming', opening),
      on(100.1, CLIENT_DEVICE, 'outgoing', refusal),
    ]);
    expect(tally.connections[0]).toMatchObject({ reply: 'refused', verdict: { kind: 'never' } });
  });
});

describe.each([
  ['IPv4', LOCAL, SERVICE, '10.244.1.1', NODE],
  ['IPv6', `[${LOCAL_V6}]`, `[${SERVICE_V6}]`, '[fd00:10:244:1::1]', `[${NODE_V6}]`],
])('a pod that is its own backend over %s', (_family, pod, front, router, node) => {
  const client = `${pod}:4242`;
  /** As kube-proxy carries it: the pod hears itself from `masked`. */
  function connection(masked: string): Frame[] {
    const there = (atMs: number, more: Omit<Parameters<typeof tcp>[0], 'from' | 'to'>): Frame[] => [
      on(atMs, LOCAL_DEVICE, 'incoming', tcp({ ...more, from: client, to: `${front}:80` })),
      on(atMs + 0.02, LOCAL_DEVICE, 'outgoing', tcp({ ...more, from: masked, to: `${pod}:8080`, hops: 63 })),
    ];
    const back = (atMs: number, more: Omit<Parameters<typeof tcp>[0], 'from' | 'to'>): Frame[] => [
      on(atMs, LOCAL_DEVICE, 'incoming', tcp({ ...more, from: `${pod}:8080`, to: masked })),
      on(atMs + 0.02, LOCAL_DEVICE, 'outgoing', tcp({ ...more, from: `${front}:80`, to: client, hops: 63 })),
    ];
    return [
      ...there(100, { flags: 'S', sequence: 5, identification: 10 }),
      ...back(100.1, { flags: 'S.', sequence: 9, acknowledgement: 6, identification: 0 }),
      ...there(100.2, { flags: '.', sequence: 6, acknowledgement: 10, identification: 11 }),
      ...back(100.3, {
        flags: 'P.',
        sequence: 10,
        acknowledgement: 6,
        identification: 1,
        payload: Uint8Array.of(1, 2),
      }),
    ];
  }

  test.each([
    ['a router and another port', `${router}:61001`],
    ['the node and its own port, as the twins do', `${node}:4242`],
    ['a router and its own port', `${router}:4242`],
  ])('and hears itself from %s is judged, and its answers are reproduced byte for byte', (_what, masked) => {
    const { lines, tally } = replayBoth(connection(masked));
    expect(tally.connections).toHaveLength(1);
    expect(tally.connections[0]).toMatchObject({
      notJudged: undefined,
      verdict: { kind: 'permitted' },
      reply: 'answered',
      model: { verdict: 'forward', reason: 'hairpin', backend: `${pod}:8080` },
    });
    expect(tally).toMatchObject({
      replies: { reproduced: 2, differing: 0, withoutFlow: 0 },
      modelNotPermitted: [],
      differences: 0,
    });
    expect(lines[0]?.observed).toMatchObject({ frame: 2, verdict: 'forward', backend: `${pod}:8080` });
    const reply = lines.find(({ observed }) => observed?.verdict === 'reply');
    expect(reply).toMatchObject({ hook: 'from-pod', model: { verdict: 'reply', reason: 'hairpin' } });
    expect(summarize(tally, setting)).toMatchObject({ unsupported: {}, unattributed: 0 });
    expect(endOf(tally, setting)).toBe('agreed');
  });

  test('on a node without an address of the family is not judged, and dropped by name', () => {
    const { tally } = replayBoth(connection(`${router}:61001`), settingsOf([RANGE], []));
    expect(tally.connections[0]).toMatchObject({ model: { verdict: 'drop', reason: 'hairpin' }, notJudged: 'hairpin' });
  });

  test('and that is told in the report', () => {
    const { tally } = replayBoth(connection(`${router}:61001`));
    const summary = summarize(tally, setting);
    const text = reportText({ tally, summary, setting, events: both().events, command: 'x' });
    expect(text).toMatch(new RegExp(`shop/web:http +${pod.replaceAll('[', '\\[').replaceAll(']', '\\]')}:8080 +1\n`));
  });
});

test('an answer of the node that says what was asked is no datagram that was sent back', () => {
  const frames = [
    on(100, LOCAL_DEVICE, 'incoming', udp({ from: `[${LOCAL_V6}]:4242`, to: `[${NODE_V6}]:8053` })),
    on(100.4, LOCAL_DEVICE, 'outgoing', udp({ from: `[${NODE_V6}]:8053`, to: `[${LOCAL_V6}]:4242` })),
  ];
  const { tally } = replayBoth(frames);
  expect(Object.fromEntries(tally.inputs)).toEqual({ 'from-pod': 1, 'to-pod': 1 });
});

test('datagrams of a pod to itself are judged, and their answers reproduced', () => {
  const [client, there, masked] = [`${LOCAL}:4242`, `${LOCAL}:8053`, '10.244.1.1:61001'];
  const frames = [100, 400].flatMap((atMs, index) => [
    on(atMs, LOCAL_DEVICE, 'incoming', udp({ from: client, to: `${SERVICE}:53`, identification: 10 + index })),
    on(atMs + 0.1, LOCAL_DEVICE, 'outgoing', udp({ from: masked, to: there, identification: 10 + index, hops: 63 })),
    on(atMs + 0.2, LOCAL_DEVICE, 'incoming', udp({ from: there, to: masked, identification: 20 + index })),
    on(
      atMs + 0.3,
      LOCAL_DEVICE,
      'outgoing',
      udp({ from: `${SERVICE}:53`, to: client, identification: 20 + index, hops: 63 }),
    ),
  ]);
  const { tally } = replayBoth(frames);
  expect(tally.connections[0]).toMatchObject({
    verdict: { kind: 'permitted' },
    model: { reason: 'hairpin' },
    datagrams: { sent: 2, judged: 2, answers: 2, notPermitted: 0 },
  });
  expect(tally).toMatchObject({ replies: { reproduced: 2, differing: 0 }, modelNotPermitted: [], differences: 0 });
});
