// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from 'vitest';
import type { NotJudged } from '../../replay/connections.ts';
import { eventText, verdictText } from '../../replay/judge.ts';
import { summarize, endOf } from '../../replay/summary.ts';
import { totalOf } from '../../replay/tally.ts';
import { fragmentsOf, icmpError, tcp, udp } from './packets.ts';
import {
  captureOf,
  CLIENT,
  CLIENT_DEVICE,
  cluster,
  connection,
  eventLine,
  LOCAL,
  LOCAL_DEVICE,
  modelTwin,
  on,
  REMOTE,
  replayed,
  replayFrames,
  setting,
  SERVICE,
  slice,
  UPLINK,
  type Frame,
} from './recording.ts';

const opening = (clientPort: number, id = 10): Uint8Array =>
  tcp({ from: `${CLIENT}:${clientPort}`, to: `${SERVICE}:80`, flags: 'S', sequence: 5, identification: id });

describe('a connection', () => {
  test.each([
    ['on this node', LOCAL],
    ['on another node', REMOTE],
  ])('to a backend %s is permitted, and its replies are reproduced byte for byte', (_where, backend) => {
    const { tally, lines } = replayFrames(connection(100, 4242, backend), cluster([LOCAL, REMOTE]));
    const [only] = tally.connections;
    expect(tally.connections).toHaveLength(1);
    expect(only?.verdict).toEqual({ kind: 'permitted' });
    expect(only?.reply).toBe('answered');
    expect(tally.replies).toEqual({ reproduced: 3, differing: 0, withoutFlow: 0 });
    expect(tally.modelNotPermitted).toEqual([]);
    const [first] = lines;
    expect(first).toMatchObject({ frame: 1, hook: 'from-pod', service: 'shop/web:http', permitted: true, equal: null });
    expect(first?.observed).toMatchObject({ frame: 2, verdict: 'forward', backend: `${backend}:8080` });
    const reply = lines.find(({ hook, service }) => hook === 'to-pod' && service !== null);
    expect(reply).toMatchObject({ frame: 3, model: { verdict: 'reply' } });
    expect(reply?.observed).toEqual({ frame: 4, verdict: 'reply', backend: `${backend}:8080`, lagMs: 0.02 });
    expect(endOf(tally, setting)).toBe('agreed');
  });

  test('to a backend that was taken away is stale by the time since that event', () => {
    const gone = eventLine(500, 'MODIFIED', slice([REMOTE]));
    const { tally } = replayFrames(connection(750, 4242, LOCAL), cluster([LOCAL, REMOTE], gone));
    const [only] = tally.connections;
    expect(only?.verdict).toMatchObject({ kind: 'stale', staleNs: 250_000_000 });
    const { events } = cluster([LOCAL, REMOTE], gone);
    expect(only && verdictText(only, events)).toBe('stale: 250.0 ms after EndpointSlice shop/web-1 MODIFIED (line 3)');
    expect(endOf(tally, setting)).toBe('not-permitted');
  });

  test('to a backend that is listed a moment later is early, and permitted', () => {
    const late = eventLine(500, 'MODIFIED', slice([LOCAL, REMOTE]));
    const { tally, lines } = replayFrames(connection(497, 4242, REMOTE), cluster([LOCAL], late));
    expect(tally.connections[0]?.verdict).toMatchObject({ kind: 'early', earlyNs: 3_000_000 });
    expect(lines[0]?.permitted).toBe(true);
    expect(endOf(tally, setting)).toBe('agreed');
  });

  test('to an address that was never a backend is never permitted', () => {
    const { tally } = replayFrames(connection(100, 4242, REMOTE), cluster([LOCAL]));
    expect(tally.connections[0]?.verdict).toEqual({ kind: 'never' });
    expect(summarize(tally, setting).notPermitted).toBe(1);
  });

  test('that is refused while there is no backend is permitted', () => {
    const frames = [
      on(100, CLIENT_DEVICE, 'incoming', opening(4242)),
      on(100.1, CLIENT_DEVICE, 'outgoing', icmpError('10.244.1.1', opening(4242), 3, 3)),
    ];
    const { tally, lines } = replayFrames(frames, cluster([]));
    expect(tally.connections[0]).toMatchObject({ reply: 'refused', verdict: { kind: 'permitted' } });
    expect(lines[0]?.model).toMatchObject({ verdict: 'refuse', reason: 'no-endpoints' });
    expect(lines[0]?.observed).toMatchObject({ frame: 2, verdict: 'refuse' });
  });

  test('that is refused although there is a backend is stale by the time since the backend came', () => {
    const frames = [
      on(900, CLIENT_DEVICE, 'incoming', opening(4242)),
      on(900.1, CLIENT_DEVICE, 'outgoing', icmpError('10.244.1.1', opening(4242), 3, 3)),
    ];
    const come = eventLine(500, 'MODIFIED', slice([LOCAL]));
    const { tally } = replayFrames(frames, cluster([], come));
    expect(tally.connections[0]).toMatchObject({ reply: 'refused', verdict: { kind: 'stale', staleNs: 400_000_000 } });
  });

  test('that asks again is judged by the packet that was answered', () => {
    const frames = [
      on(100, CLIENT_DEVICE, 'incoming', opening(4242, 10)),
      on(1200, CLIENT_DEVICE, 'incoming', opening(4242, 11)),
      on(1200.1, CLIENT_DEVICE, 'outgoing', icmpError('10.244.1.1', opening(4242), 3, 3)),
    ];
    const come = eventLine(50, 'MODIFIED', slice([LOCAL]));
    const { tally, lines } = replayFrames(frames, cluster([], come));
    expect(tally.connections[0]).toMatchObject({ openings: 2, verdict: { kind: 'stale', staleNs: 1_150_000_000 } });
    expect(lines.map(({ permitted }) => permitted)).toEqual([null, false, null]);
  });

  test('that a backend resets was not refused by the proxy', () => {
    const reset = { flags: 'R.', sequence: 0, acknowledgement: 6, identification: 0 };
    const frames = [
      on(100, CLIENT_DEVICE, 'incoming', opening(4242)),
      on(
        100.1,
        LOCAL_DEVICE,
        'outgoing',
        tcp({ from: `${CLIENT}:4242`, to: `${LOCAL}:8080`, flags: 'S', sequence: 5, identification: 10, hops: 63 }),
      ),
      on(100.2, LOCAL_DEVICE, 'incoming', tcp({ ...reset, from: `${LOCAL}:8080`, to: `${CLIENT}:4242` })),
      on(100.3, CLIENT_DEVICE, 'outgoing', tcp({ ...reset, from: `${SERVICE}:80`, to: `${CLIENT}:4242`, hops: 63 })),
    ];
    const { tally } = replayFrames(frames);
    expect(tally.connections[0]).toMatchObject({ reply: 'reset', verdict: { kind: 'permitted' } });
    expect(tally.replies.reproduced).toBe(1);
  });

  test('of which nothing more is seen is not judged, and says so', () => {
    const { tally } = replayFrames([on(100, CLIENT_DEVICE, 'incoming', opening(4242))]);
    expect(summarize(tally, setting).unsupported).toEqual({ 'not-seen-again': { connections: 1, packets: 0 } });
  });

  test('whose port is used again is another connection', () => {
    const again = tcp({ from: `${CLIENT}:4242`, to: `${SERVICE}:80`, flags: 'S', sequence: 99, identification: 50 });
    const { tally } = replayFrames([...connection(100, 4242, LOCAL), on(3000, CLIENT_DEVICE, 'incoming', again)]);
    expect(tally.connections.map(({ openings }) => openings)).toEqual([1, 1]);
  });
});

describe('frames are accounted for', () => {
  const stranger = tcp({ from: '192.0.2.7:1', to: '192.0.2.8:2', flags: '.' });
  const looping = { from: `${CLIENT}:4242`, to: `${REMOTE}:8080`, flags: 'S', sequence: 5, identification: 10 };

  test('every frame is at a hook, another sighting of such a packet, or has a reason', () => {
    const frames = [
      ...connection(100, 4242, LOCAL),
      ...connection(200, 4243, REMOTE),
      on(300, UPLINK, 'incoming', stranger),
      on(301, UPLINK, 'incoming', tcp({ from: '10.88.0.12:1', to: '10.88.0.11:22', flags: '.' })),
      on(302, UPLINK, 'incoming', tcp({ from: '10.244.3.3:1', to: '10.244.1.77:2', flags: '.' })),
      on(303, UPLINK, 'incoming', tcp({ from: '10.244.3.3:1', to: '10.244.2.77:2', flags: '.' })),
      on(304, 1, 'incoming', tcp({ from: '127.0.0.1:1', to: '127.0.0.1:2', flags: '.' })),
    ];
    const { tally } = replayFrames(frames, cluster([LOCAL, REMOTE]));
    expect(Object.fromEntries(tally.noInput)).toEqual({
      loopback: 1,
      'node-itself': 1,
      'not-delivered': 1,
      transit: 1,
      unattributed: 1,
    });
    expect(totalOf(tally.inputs) + tally.sightings + totalOf(tally.noInput)).toBe(frames.length);
    expect(tally.packets).toBe(frames.length);
  });

  test('more than one in a hundred without an explanation ends with 3, unless that is allowed', () => {
    const frames = [...connection(100, 4242, LOCAL), on(300, UPLINK, 'incoming', stranger)];
    const { tally } = replayFrames(frames);
    expect(endOf(tally, setting)).toBe('not-permitted');
    expect(endOf(tally, { ...setting, allowUnattributed: true })).toBe('agreed');
  });

  test('a packet that is sent in circles is one packet, although each turn changes its port', () => {
    const frames = [
      on(100, CLIENT_DEVICE, 'incoming', opening(4242)),
      on(100.1, UPLINK, 'outgoing', tcp({ ...looping, hops: 63 })),
      on(100.2, UPLINK, 'incoming', tcp({ ...looping, hops: 62 })),
      on(100.3, UPLINK, 'outgoing', tcp({ ...looping, from: `${CLIENT}:999`, hops: 61 })),
    ];
    const { tally } = replayFrames(frames, cluster([REMOTE]));
    expect(tally.sightings).toBe(3);
    expect(tally.connections[0]).toMatchObject({ reply: 'none', verdict: { kind: 'permitted' } });
  });

  test('the same packet once more at the same place was sent again', () => {
    const answer = {
      flags: 'S.',
      sequence: 9,
      acknowledgement: 6,
      identification: 0,
      from: `${LOCAL}:8080`,
      to: `${CLIENT}:4242`,
    };
    const frames = [on(100, LOCAL_DEVICE, 'incoming', tcp(answer)), on(900, LOCAL_DEVICE, 'incoming', tcp(answer))];
    expect(replayFrames(frames).tally.inputs.get('from-pod')).toBe(2);
  });

  test('a packet seen again after two seconds is another one', () => {
    const frames = [
      on(100, LOCAL_DEVICE, 'incoming', tcp({ from: `${LOCAL}:1`, to: '192.0.2.1:2', flags: '.' })),
      on(2101, UPLINK, 'outgoing', tcp({ from: `${LOCAL}:1`, to: '192.0.2.1:2', flags: '.', hops: 63 })),
    ];
    const { tally } = replayFrames(frames);
    expect(tally.sightings).toBe(0);
    expect(tally.noInput.get('transit')).toBe(1);
  });
});

describe('what this build does not judge is counted by its reason', () => {
  const nodePort = eventLine(0, 'ADDED', {
    kind: 'Service',
    metadata: { namespace: 'shop', name: 'np', uid: 'uid-np' },
    spec: {
      type: 'NodePort',
      clusterIP: '10.96.0.11',
      clusterIPs: ['10.96.0.11'],
      ports: [{ port: 80, nodePort: 30080, protocol: 'TCP' }],
    },
  });
  const payload = new Uint8Array(40);
  const laterFragment = (packet: Uint8Array): Uint8Array => fragmentsOf(packet, 16)[1] ?? packet;
  /** The same ports under the number of another protocol. */
  const sctp = (packet: Uint8Array): Uint8Array => packet.with(9, 132);
  const cases: readonly (readonly [NotJudged, Frame, { connections: number; packets: number }])[] = [
    [
      'SCTP',
      on(100, CLIENT_DEVICE, 'incoming', sctp(udp({ from: `${CLIENT}:4242`, to: `${SERVICE}:99` }))),
      { connections: 1, packets: 1 },
    ],
    [
      'fragment',
      on(100, CLIENT_DEVICE, 'incoming', laterFragment(udp({ from: `${CLIENT}:4242`, to: `${SERVICE}:53`, payload }))),
      { connections: 1, packets: 1 },
    ],
    [
      'NodePort',
      on(100, UPLINK, 'incoming', tcp({ from: '192.0.2.7:1', to: '10.88.0.11:30080', flags: 'S' })),
      { connections: 0, packets: 1 },
    ],
    [
      'opened-before',
      on(
        100,
        CLIENT_DEVICE,
        'incoming',
        tcp({ from: `${CLIENT}:4242`, to: `${SERVICE}:80`, flags: '.', acknowledgement: 9 }),
      ),
      { connections: 1, packets: 1 },
    ],
    [
      'hairpin',
      on(100, LOCAL_DEVICE, 'incoming', tcp({ from: `${LOCAL}:4242`, to: `${SERVICE}:80`, flags: 'S' })),
      { connections: 1, packets: 1 },
    ],
  ];
  test.each(cases)('%s', (reason, frame, counts) => {
    const { tally } = replayFrames([frame], cluster([LOCAL], nodePort));
    expect(summarize(tally, setting).unsupported).toEqual({ [reason]: counts });
  });

  test('connections after the last event that could be read', () => {
    const more = eventLine(150, 'MODIFIED', slice([LOCAL, REMOTE]));
    const streams = cluster([LOCAL], more, '{"at":');
    const { tally } = replayFrames([...connection(100, 4242, LOCAL), ...connection(200, 4243, LOCAL)], streams);
    expect(tally.connections.map(({ verdict }) => verdict?.kind)).toEqual(['permitted', undefined]);
    expect(summarize(tally, setting).unsupported).toEqual({ 'events-incomplete': { connections: 1, packets: 7 } });
    expect(summarize(tally, setting).failures).toEqual([
      expect.stringContaining('cluster.events.ndjson line 4: not JSON'),
    ]);
    expect(endOf(tally, setting)).toBe('input-unreadable');
  });
});

test('a super-packet can not be refused, as the kernel can not either', () => {
  const payload = new Uint8Array(3000);
  const packet = tcp({ from: `${CLIENT}:4242`, to: `${SERVICE}:80`, flags: 'P.', payload });
  const { tally, lines } = replayFrames([on(100, CLIENT_DEVICE, 'incoming', packet)], cluster([]));
  expect(tally.superPackets).toBe(1);
  expect(lines[0]?.model).toMatchObject({ verdict: 'drop', reason: 'cannot-answer' });
});

describe('the answer of a long silence', () => {
  test('that the model no longer knows is not reproduced, and ends with 3', () => {
    const answer = { flags: 'S.', sequence: 9, acknowledgement: 6, identification: 0 };
    const frames = [
      on(100, CLIENT_DEVICE, 'incoming', opening(4242)),
      on(
        100.1,
        LOCAL_DEVICE,
        'outgoing',
        tcp({ from: `${CLIENT}:4242`, to: `${LOCAL}:8080`, flags: 'S', sequence: 5, identification: 10, hops: 63 }),
      ),
      on(60_100, LOCAL_DEVICE, 'incoming', tcp({ ...answer, from: `${LOCAL}:8080`, to: `${CLIENT}:4242` })),
      on(
        60_100.1,
        CLIENT_DEVICE,
        'outgoing',
        tcp({ ...answer, from: `${SERVICE}:80`, to: `${CLIENT}:4242`, hops: 63 }),
      ),
    ];
    const { tally } = replayFrames(frames);
    expect(tally.replies).toEqual({ reproduced: 0, differing: 1, withoutFlow: 0 });
    expect(tally.firstReply).toMatchObject({ frame: 4, service: 'shop/web:http', field: 'verdict', model: 'pass' });
    expect(endOf(tally, setting)).toBe('not-permitted');
  });
});

describe('two twins', () => {
  const frames = [...connection(100, 4242, LOCAL), ...connection(200, 4243, REMOTE)];

  test('that are alike agree on every packet and on their tables', () => {
    const { tally, lines } = replayed([captureOf(frames)], cluster([LOCAL, REMOTE]), modelTwin());
    expect(tally).toMatchObject({ comparedWithKernel: totalOf(tally.inputs), differences: 0 });
    expect(tally.firstDifference).toBeUndefined();
    expect(lines.every(({ equal, kernel }) => equal === true && kernel !== null)).toBe(true);
  });

  test('that choose by different keys differ at the first packet of a connection, by name', () => {
    const kernel = modelTwin({ selectionKey: [3, 4] });
    const { tally } = replayed([captureOf(frames)], cluster([LOCAL, REMOTE, '10.244.2.8', '10.244.2.9']), kernel);
    expect(tally.differences).toBeGreaterThan(0);
    expect(tally.firstDifference).toMatchObject({
      file: 'node1.pcap',
      frame: 1,
      service: 'shop/web:http',
      flow: `${CLIENT}:4242>${SERVICE}:80/TCP`,
      hook: 'from-pod',
      field: 'backend',
    });
    expect(endOf(tally, setting)).toBe('twins-differ');
  });

  test('whose tables alone differ are found at the end', () => {
    const other = modelTwin();
    const { tally } = replayed([captureOf(frames)], cluster([LOCAL, REMOTE]), {
      twin: {
        ...other.twin,
        flowMemory: () => other.twin.flowMemory().map((byte, index) => (index === 40_000 ? byte ^ 1 : byte)),
      },
      program: other.program,
    });
    expect(tally).toMatchObject({ differences: 1, firstDifference: undefined });
    expect(tally.tableDifference).toContain('flow table, byte 40000');
  });
});

test('an event is named by its object, its type and its line', () => {
  const { events } = cluster([LOCAL], eventLine(10, 'DELETED', slice([LOCAL])));
  expect(events.map(eventText)).toEqual([
    'Service LISTED (line 1)',
    'EndpointSlice LISTED (line 2)',
    'EndpointSlice shop/web-1 DELETED (line 3)',
  ]);
});
