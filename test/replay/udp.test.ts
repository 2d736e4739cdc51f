// SPDX-License-Identifier: Apache-2.0
/** UDP: each datagram is judged by where the one before it went, errors find theirs, and answers are reproduced. */
import { describe, expect, test } from 'vitest';
import { eventText, verdictText } from '../../replay/judge.ts';
import { reportText } from '../../replay/report.ts';
import { endOf, summarize } from '../../replay/summary.ts';
import { icmpError, udp, type Datagram } from './packets.ts';
import {
  captureOf,
  CLIENT,
  CLIENT_DEVICE,
  CLIENT_V6,
  cluster,
  eventLine,
  exchange,
  LOCAL,
  LOCAL_DEVICE,
  LOCAL_V6,
  modelTwin,
  on,
  REMOTE,
  REMOTE_V6,
  replayed,
  replayFrames,
  SERVICE,
  SERVICE_V6,
  service,
  setting,
  slice,
  UPLINK,
  type Frame,
} from './recording.ts';

const MODIFIED = 'MODIFIED';
const families = [
  ['IPv4', { client: CLIENT, local: LOCAL, remote: REMOTE, front: SERVICE }],
  ['IPv6', { client: `[${CLIENT_V6}]`, local: LOCAL_V6, remote: REMOTE_V6, front: `[${SERVICE_V6}]` }],
] as const;

const bracketed = (address: string): string => (address.includes(':') ? `[${address}]` : address);

/** A slice in which the first backend has these conditions and the other is ready. */
function conditioned(first: string, conditions: object, others: readonly string[]): unknown {
  const endpoints = [
    { addresses: [first], conditions },
    ...others.map((address) => ({ addresses: [address], conditions: { ready: true } })),
  ];
  return { ...(slice([first]) as object), endpoints };
}

describe.each(families)('a flow over %s', (_family, { client, front, local, remote }) => {
  const asking = (more: Partial<Datagram> = {}): Uint8Array =>
    udp({ from: `${client}:5555`, to: `${front}:53`, ...more });

  test.each([
    ['on this node', local],
    ['on another node', remote],
  ])('to a backend %s is permitted, and its answers are reproduced byte for byte', (_where, backend) => {
    const frames = [100, 400, 700].flatMap((atMs) => exchange(atMs, backend));
    const { tally, lines } = replayFrames(frames, cluster([local, remote]));
    expect(tally.connections).toHaveLength(1);
    expect(tally.connections[0]).toMatchObject({
      service: 'shop/web:dns',
      verdict: { kind: 'permitted' },
      reply: 'answered',
      datagrams: { sent: 3, answers: 3, judged: 3, notPermitted: 0, moves: 0, modelChanges: [] },
    });
    expect(tally.replies).toEqual({ reproduced: 3, differing: 0, withoutFlow: 0 });
    expect(tally.modelNotPermitted).toEqual([]);
    expect(summarize(tally, setting).datagrams).toEqual({ flows: 1, sent: 3, judged: 3, notPermitted: 0 });
    const asked = lines.filter(({ hook, service: name }) => hook === 'from-pod' && name !== null);
    expect(asked.map(({ permitted, observed }) => [permitted, observed?.backend])).toEqual(
      [1, 2, 3].map(() => [true, `${bracketed(backend)}:8053`]),
    );
    expect(endOf(tally, setting)).toBe('agreed');
  });

  test('whose datagrams go on to a backend that is gone is stale, and the model has chosen anew', () => {
    const gone = eventLine(500, MODIFIED, slice([remote]));
    const times = [100, 400, 600, 1500];
    const streams = cluster([local], gone);
    const { tally, lines } = replayFrames(
      times.flatMap((atMs) => exchange(atMs, local, { isSilent: atMs > 1000 })),
      streams,
    );
    const [only] = tally.connections;
    expect(only?.datagrams).toMatchObject({
      judged: 4,
      notPermitted: 2,
      modelChanges: [{ verdict: 'forward', backend: `${bracketed(remote)}:8053` }],
    });
    expect(only?.verdict).toMatchObject({ kind: 'stale', staleNs: 1_000_000_000 });
    expect(only && verdictText(only, streams.events)).toBe(
      'stale: 1000.0 ms after EndpointSlice shop/web-1 MODIFIED (line 3)',
    );
    expect(lines.flatMap(({ verdict }) => verdict ?? []).map((text) => text.slice(0, 13))).toEqual([
      'permitted',
      'permitted',
      'stale: 100.0 ',
      'stale: 1000.0',
    ]);
    expect(tally.modelNotPermitted).toEqual([]);
    expect(endOf(tally, setting)).toBe('not-permitted');
  });

  test('whose last backend is gone must be refused, as the model does', () => {
    const gone = eventLine(500, MODIFIED, slice([], 'web-1'));
    const refusal = icmpError(local.includes(':') ? SERVICE_V6 : '10.244.1.1', asking({ identification: 701 }), 3, 3);
    if (local.includes(':')) refusal.set([1, 4], 40);
    const streams = cluster([local], gone);
    const frames = [
      ...exchange(100, local),
      ...exchange(600, local, { isSilent: true }),
      on(700, CLIENT_DEVICE, 'incoming', asking({ identification: 701 })),
      on(700.1, CLIENT_DEVICE, 'outgoing', refusal),
    ];
    const { tally, lines } = replayFrames(frames, streams);
    expect(tally.connections[0]).toMatchObject({
      verdict: { kind: 'stale', staleNs: 100_000_000 },
      datagrams: {
        judged: 3,
        notPermitted: 1,
        refused: 1,
        modelChanges: [{ verdict: 'refuse', reason: 'no-endpoints' }],
      },
    });
    const last = lines.findLast(({ hook, service: name }) => hook === 'from-pod' && name !== null);
    expect(last).toMatchObject({
      permitted: true,
      model: { verdict: 'refuse' },
      observed: { frame: 8, verdict: 'refuse' },
    });
    expect(tally.modelNotPermitted).toEqual([]);
  });

  test('leaves its backend only where that serves no more', () => {
    const frames = [...exchange(100, local), ...exchange(400, remote)];
    const kept = replayFrames(frames, cluster([local, remote])).tally.connections[0];
    expect(kept).toMatchObject({ verdict: { kind: 'never' }, datagrams: { moves: 1, notPermitted: 1 } });
    const gone = eventLine(300, MODIFIED, slice([remote]));
    const left = replayFrames(frames, cluster([local, remote], gone)).tally.connections[0];
    expect(left).toMatchObject({ verdict: { kind: 'permitted' }, datagrams: { moves: 1, notPermitted: 0 } });
  });

  describe.each([
    ['ends', { ready: false, serving: true, terminating: true }],
    ['is not ready', { ready: false, serving: true, terminating: false }],
  ])('whose backend %s but serves', (_how, conditions) => {
    const streams = cluster([local], eventLine(300, MODIFIED, conditioned(local, conditions, [remote])));
    const { tally } = replayFrames([...exchange(100, local), ...exchange(400, local)], streams);

    test('keeps it, and that is permitted', () => {
      expect(tally.connections[0]).toMatchObject({ verdict: { kind: 'permitted' }, datagrams: { notPermitted: 0 } });
    });

    // The compiler gives rows to backends of new flows only, so the model moves the flow, which G1 does not permit.
    test('keeps it in the model too', () => {
      expect(tally.modelNotPermitted).toEqual([]);
    });
  });

  test('may begin anew after a silence', () => {
    const frames = [...exchange(100, local), ...exchange(29_000, remote), ...exchange(60_000, local)];
    const { tally } = replayFrames(frames, cluster([local, remote]));
    expect(tally.connections[0]?.datagrams).toMatchObject({ judged: 3, moves: 2, notPermitted: 1 });
  });

  test('to a Service that is deleted is forwarded no more', () => {
    const deleted = eventLine(300, 'DELETED', service);
    const untouched = (atMs: number): Frame[] => [
      on(atMs, CLIENT_DEVICE, 'incoming', asking({ identification: atMs })),
      on(atMs + 0.1, UPLINK, 'outgoing', asking({ identification: atMs, hops: 63 })),
    ];
    const passed = replayFrames([...exchange(100, local), ...untouched(400)], cluster([local], deleted));
    expect(passed.tally.connections[0]?.verdict).toEqual({ kind: 'permitted' });
    const stuck = replayFrames([...exchange(100, local), ...exchange(400, local)], cluster([local], deleted));
    expect(stuck.tally.connections[0]?.verdict).toMatchObject({ kind: 'stale', staleNs: 100_000_000 });
  });

  test('that passes by a Service which is there by now is stale', () => {
    const streams = cluster([local], eventLine(10, 'DELETED', service), eventLine(300, 'ADDED', service));
    const { tally } = replayFrames(
      [on(400, CLIENT_DEVICE, 'incoming', asking()), on(400.1, UPLINK, 'outgoing', asking({ hops: 63 }))],
      streams,
    );
    expect(tally.connections[0]?.verdict).toMatchObject({ kind: 'stale', staleNs: 100_000_000 });
  });

  test('of which a datagram is not seen again is judged by the others', () => {
    const frames = [...exchange(100, local), on(400, CLIENT_DEVICE, 'incoming', asking({ identification: 401 }))];
    const { tally } = replayFrames(frames, cluster([local]));
    expect(tally.connections[0]?.verdict).toEqual({ kind: 'permitted' });
    expect(summarize(tally, setting).unsupported).toEqual({ 'not-seen-again': { connections: 0, packets: 1 } });
  });

  test('is told from another pod that says the same at the same time', () => {
    const other = udp({ from: `${bracketed(local)}:5555`, to: `${front}:53`, payload: Uint8Array.of(104, 105) });
    const there = { from: `${bracketed(local)}:5555`, to: `${bracketed(remote)}:8053` };
    const [first, ...rest] = exchange(100, remote, { identification: 1 });
    if (first === undefined) throw new Error('an exchange begins with a datagram');
    const frames = [
      first,
      on(100.01, LOCAL_DEVICE, 'incoming', other),
      ...rest.slice(0, 1),
      on(100.03, UPLINK, 'outgoing', udp({ ...there, hops: 63 })),
      ...rest.slice(1),
    ];
    const { tally } = replayFrames(frames, cluster([remote]));
    expect(tally.connections.map(({ backend, verdict }) => [backend?.port, verdict?.kind])).toEqual([
      [8053, 'permitted'],
      [8053, 'permitted'],
    ]);
  });

  test('is compared datagram by datagram, and the tables at the end', () => {
    const streams = cluster([local, remote], eventLine(300, MODIFIED, slice([remote])));
    const frames = [100, 200, 400].flatMap((atMs) => exchange(atMs, local));
    expect(replayed([captureOf(frames)], streams, modelTwin()).tally).toMatchObject({
      differences: 0,
      comparedWithKernel: 9,
    });
  });
});

describe('events that could be read only up to some time', () => {
  test('leave the datagrams after it unjudged, by name', () => {
    const more = eventLine(150, MODIFIED, slice([LOCAL, REMOTE]));
    const { tally } = replayFrames(
      [...exchange(100, LOCAL), ...exchange(400, LOCAL)],
      cluster([LOCAL], more, '{"at":'),
    );
    expect(tally.connections[0]?.datagrams).toMatchObject({ sent: 2, judged: 1, pending: [] });
    expect(summarize(tally, setting).unsupported).toEqual({ 'events-incomplete': { connections: 0, packets: 1 } });
  });
});

test('a report tells what became of the datagrams, and what the model chose one after another', () => {
  const streams = cluster([LOCAL], eventLine(500, MODIFIED, slice([REMOTE])), eventLine(700, MODIFIED, slice([])));
  const frames = [100, 600, 800].flatMap((atMs) => exchange(atMs, LOCAL));
  const { tally } = replayFrames(frames, streams);
  const summary = summarize(tally, setting);
  const text = reportText({ tally, summary, setting, events: streams.events, command: 'x' });
  expect(streams.events.map(eventText)).toContain('EndpointSlice shop/web-1 MODIFIED (line 3)');
  expect(text).toContain('  datagrams                   3  3 judged: 2 not permitted\n');
  expect(text).toContain(
    '    3 datagrams, 3 judged: answers 3, refused 0, unreachable 0, moved to another backend 0, not permitted 2\n',
  );
  expect(text).toContain(
    `    model: forward ${LOCAL}:8053 (new-flow), then forward ${REMOTE}:8053 (new-flow), then refuse (no-endpoints)\n`,
  );
});
