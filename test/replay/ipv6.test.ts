// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from 'vitest';
import { endpointText } from '../../core/address.ts';
import { flowText, readHeaders } from '../../replay/headers.ts';
import { summarize } from '../../replay/summary.ts';
import { icmpError, tcp, withOptions, withRouting } from './packets.ts';
import {
  captureOf,
  CLIENT,
  CLIENT_DEVICE,
  CLIENT_V6,
  cluster,
  connection,
  eventLine,
  LOCAL,
  LOCAL_DEVICE,
  LOCAL_V6,
  modelTwin,
  on,
  REMOTE_V6,
  replayed,
  replayFrames,
  setting,
  SERVICE,
  SERVICE_V6,
  slice,
  UPLINK,
  type Replay,
} from './recording.ts';

const client = `[${CLIENT_V6}]:4242`;
const front = `[${SERVICE_V6}]:80`;
const opening = tcp({ from: client, to: front, flags: 'S', sequence: 5 });

describe('a connection over IPv6', () => {
  test.each([
    ['on this node', LOCAL_V6],
    ['on another node', REMOTE_V6],
  ])('to a backend %s is permitted, and its replies are reproduced byte for byte', (_where, backend) => {
    const { tally, lines } = replayFrames(connection(100, 4242, backend), cluster([LOCAL_V6, REMOTE_V6]));
    expect(tally.connections).toHaveLength(1);
    expect(tally.connections[0]).toMatchObject({ verdict: { kind: 'permitted' }, reply: 'answered' });
    expect(tally.replies).toEqual({ reproduced: 3, differing: 0, withoutFlow: 0 });
    expect(tally.modelNotPermitted).toEqual([]);
    const [first] = lines;
    expect(first).toMatchObject({ hook: 'from-pod', service: 'shop/web:http', permitted: true });
    expect(first?.flow).toBe(`${client}>${front}/TCP`);
    expect(first?.observed).toMatchObject({ frame: 2, verdict: 'forward', backend: `[${backend}]:8080` });
    expect([LOCAL_V6, REMOTE_V6].map((address) => `[${address}]:8080`)).toContain(first?.model.backend);
    expect(lines.filter(({ model }) => model.verdict === 'reply')).toHaveLength(3);
  });

  test('to an address that was never a backend is never permitted', () => {
    const { tally } = replayFrames(connection(100, 4242, REMOTE_V6));
    expect(tally.connections[0]?.verdict).toEqual({ kind: 'never' });
  });

  test('to a backend that was taken away is stale, whatever the Service has over IPv4', () => {
    const other = eventLine(10, 'ADDED', slice([LOCAL], 'web-v4'));
    const gone = eventLine(500, 'MODIFIED', slice([REMOTE_V6]));
    const { tally } = replayFrames(connection(750, 4242, LOCAL_V6), cluster([LOCAL_V6, REMOTE_V6], other, gone));
    expect(tally.connections[0]?.verdict).toMatchObject({ kind: 'stale', staleNs: 250_000_000 });
  });

  test('is compared packet by packet, and the tables at the end', () => {
    const streams = cluster([LOCAL_V6, REMOTE_V6, 'fd00:10:244:2::8', 'fd00:10:244:2::9']);
    const frames = [...connection(100, 4242, LOCAL_V6), ...connection(200, 4243, REMOTE_V6)];
    expect(replayed([captureOf(frames)], streams, modelTwin()).tally.differences).toBe(0);
    const { tally } = replayed([captureOf(frames)], streams, modelTwin({ selectionKey: [3, 4] }));
    expect(tally.firstDifference).toMatchObject({ field: 'backend', flow: `${client}>${front}/TCP`, frame: 1 });
  });
});

describe('an ICMPv6 error', () => {
  const refusedBy = (type: number, code: number): Replay => {
    const error = icmpError(SERVICE_V6, opening, type, code);
    const frames = [on(100, CLIENT_DEVICE, 'incoming', opening), on(100.1, CLIENT_DEVICE, 'outgoing', error)];
    return replayFrames(frames, cluster([]));
  };

  test.each([
    ['administratively prohibited', 1, 1],
    ['port unreachable', 1, 4],
    ['source address failed policy', 1, 5],
    ['reject route', 1, 6],
  ])('%s is a refusal, and permitted while there is no backend', (_what, type, code) => {
    const { tally, lines } = refusedBy(type, code);
    expect(tally.connections[0]).toMatchObject({ reply: 'refused', verdict: { kind: 'permitted' } });
    expect(lines[0]?.observed).toMatchObject({ frame: 2, verdict: 'refuse' });
  });

  test.each([
    ['no route', 1, 0],
    ['address unreachable', 1, 3],
    ['packet too big', 2, 0],
    ['hop limit exceeded', 3, 0],
    ['of the type that means unreachable in ICMP', 3, 3],
  ])('%s is not a refusal', (_what, type, code) => {
    expect(refusedBy(type, code).tally.connections[0]?.reply).toBe('unreachable');
  });

  test('is what the model answers with where it refuses, from the Service and about this connection', () => {
    const [line] = refusedBy(1, 4).lines;
    expect(line?.model).toMatchObject({ verdict: 'refuse', reason: 'no-endpoints' });
    const answer = readHeaders(Uint8Array.from(Buffer.from(line?.model.bytes ?? '', 'hex')).subarray(14));
    expect(answer?.error).toMatchObject({ type: 1, code: 4, sequence: 5 });
    expect(answer?.error?.about && flowText(answer.error.about)).toBe(`${client}>${front}/TCP`);
    expect(answer && endpointText(answer.source, 0)).toBe(`[${SERVICE_V6}]:0`);
  });

  test('of one Service to two pods at once is two packets, although nothing numbers them', () => {
    const other = tcp({ from: `[${LOCAL_V6}]:4242`, to: front, flags: 'S', sequence: 6 });
    const frames = [
      on(100, CLIENT_DEVICE, 'incoming', opening),
      on(100, LOCAL_DEVICE, 'incoming', other),
      on(100.1, CLIENT_DEVICE, 'outgoing', icmpError(SERVICE_V6, opening, 1, 4)),
      on(100.1, LOCAL_DEVICE, 'outgoing', icmpError(SERVICE_V6, other, 1, 4)),
    ];
    const { tally } = replayFrames(frames, cluster([]));
    expect(tally.inputs).toEqual(
      new Map([
        ['from-pod', 2],
        ['to-pod', 2],
      ]),
    );
    expect(tally.connections.map(({ reply }) => reply)).toEqual(['refused', 'refused']);
  });
});

describe('behind extension headers', () => {
  const answer = { flags: 'S.', sequence: 9, acknowledgement: 6 };

  test('a connection is judged, and its answers are reproduced byte for byte', () => {
    const frames = [
      on(100, CLIENT_DEVICE, 'incoming', withOptions(opening)),
      on(
        100.02,
        UPLINK,
        'outgoing',
        withOptions(tcp({ from: client, to: `[${REMOTE_V6}]:8080`, flags: 'S', sequence: 5, hops: 63 })),
      ),
      on(100.1, UPLINK, 'incoming', withOptions(tcp({ ...answer, from: `[${REMOTE_V6}]:8080`, to: client }))),
      on(100.2, CLIENT_DEVICE, 'outgoing', withOptions(tcp({ ...answer, from: front, to: client, hops: 63 }))),
    ];
    const { tally, lines } = replayFrames(frames, cluster([REMOTE_V6]));
    expect(tally.connections[0]).toMatchObject({ verdict: { kind: 'permitted' }, reply: 'answered' });
    expect(lines[0]).toMatchObject({
      model: { verdict: 'forward', backend: `[${REMOTE_V6}]:8080` },
      observed: { verdict: 'forward', backend: `[${REMOTE_V6}]:8080` },
    });
    expect(tally.replies).toEqual({ reproduced: 1, differing: 0, withoutFlow: 0 });
    expect(summarize(tally, setting).unsupported).toEqual({});
  });

  test('of routing that is not done a connection is not judged, and no twin touches it', () => {
    const { tally, lines } = replayFrames([on(100, CLIENT_DEVICE, 'incoming', withRouting(opening))]);
    expect(summarize(tally, setting).unsupported).toEqual({ extensions: { connections: 1, packets: 1 } });
    expect(lines[0]?.model).toMatchObject({ verdict: 'pass', reason: 'extensions' });
    expect(tally.modelNotPermitted).toEqual([]);
  });

  test('of routing that is not done packets of a connection that is judged are counted', () => {
    const later = withRouting(tcp({ from: client, to: front, flags: '.', sequence: 9 }));
    const frames = [
      ...connection(100, 4242, REMOTE_V6),
      on(200, CLIENT_DEVICE, 'incoming', later),
      on(300, CLIENT_DEVICE, 'outgoing', withRouting(tcp({ ...answer, from: front, to: client, hops: 63 }))),
    ];
    const { tally } = replayFrames(frames, cluster([REMOTE_V6]));
    expect(tally.connections[0]?.verdict).toEqual({ kind: 'permitted' });
    expect(tally.replies).toEqual({ reproduced: 3, differing: 0, withoutFlow: 0 });
    expect(summarize(tally, setting).unsupported).toEqual({ extensions: { connections: 0, packets: 2 } });
    expect(tally.inputs.get('to-pod')).toBe(4);
  });
});

describe('addresses on the wire that stand for IPv4 ones', () => {
  const stand = { client: [10, 244, 1, 4], service: [10, 96, 0, 10] };
  const mapped = (packet: Uint8Array, from: readonly number[], to: readonly number[]): Uint8Array => {
    const bytes = packet.slice();
    bytes.set([...Array.from({ length: 10 }, () => 0), 255, 255, ...from], 8);
    bytes.set([...Array.from({ length: 10 }, () => 0), 255, 255, ...to], 24);
    return bytes;
  };
  const asking = mapped(opening, stand.client, stand.service);
  const answer = tcp({ from: front, to: client, flags: 'S.', sequence: 9, acknowledgement: 6 });

  test('belong to no IPv4 Service', () => {
    const { tally, lines } = replayFrames([on(100, CLIENT_DEVICE, 'incoming', asking)], cluster([LOCAL]));
    expect(tally.connections).toEqual([]);
    expect(lines[0]).toMatchObject({ service: null, model: { verdict: 'pass', reason: 'martian' } });
  });

  test.each([
    ['an answer from', mapped(answer, stand.service, stand.client)],
    ['an error about', icmpError(SERVICE_V6, asking, 1, 4)],
  ])('%s them is nothing to the IPv4 connection with the same ends', (_what, packet) => {
    const real = tcp({ from: `${CLIENT}:4242`, to: `${SERVICE}:80`, flags: 'S', sequence: 5 });
    const late = on(100.1, CLIENT_DEVICE, 'outgoing', packet);
    const { tally, lines } = replayFrames([on(100, CLIENT_DEVICE, 'incoming', real), late], cluster([LOCAL]));
    expect(tally.connections.map(({ reply, flow }) => ({ reply, flow }))).toEqual([
      { reply: 'none', flow: `${CLIENT}:4242>${SERVICE}:80/TCP` },
    ]);
    expect(lines.map(({ service }) => service)).toEqual(['shop/web:http', null]);
  });
});
