// SPDX-License-Identifier: Apache-2.0
/** Errors about datagrams and their fragments: whose they are, and that the model translates them as the pods got them. */
import { describe, expect, test } from 'vitest';
import { readHeaders } from '../../replay/headers.ts';
import { summarize } from '../../replay/summary.ts';
import { fragmentsOf, icmpError, udp } from './packets.ts';
import {
  CLIENT,
  CLIENT_DEVICE,
  CLIENT_V6,
  cluster,
  eventLine,
  exchange,
  on,
  REMOTE,
  REMOTE_V6,
  replayFrames,
  SERVICE,
  SERVICE_V6,
  service,
  setting,
  slice,
  UPLINK,
  type Frame,
} from './recording.ts';

const families = [
  [
    'IPv4',
    {
      client: CLIENT,
      remote: REMOTE,
      front: SERVICE,
      router: '10.88.0.12',
      unreachable: [3, 3] as const,
      exceeded: [11, 0],
    },
  ],
  [
    'IPv6',
    {
      client: CLIENT_V6,
      remote: REMOTE_V6,
      front: SERVICE_V6,
      router: 'fd00:88::12',
      unreachable: [1, 4],
      exceeded: [3, 0],
    },
  ],
] as const;

const at = (address: string, port: number): string =>
  address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;

describe.each(families)('over %s', (_family, { client, exceeded, front, remote, router, unreachable }) => {
  const ends = {
    asked: { from: at(client, 5555), to: at(front, 53) },
    sent: { from: at(client, 5555), to: at(remote, 8053) },
    answered: { from: at(remote, 8053), to: at(client, 5555) },
    shown: { from: at(front, 53), to: at(client, 5555) },
  };
  const streams = cluster([remote]);

  /** A datagram that goes on, and an error about it as it comes in and as its client gets it. */
  function failing(
    sender: string,
    shownSender: string,
    kind: readonly [number, number],
    checksum: 'none' | 'right',
  ): Frame[] {
    const common = { identification: 9, checksum };
    const [type, code] = kind;
    return [
      on(100, CLIENT_DEVICE, 'incoming', udp({ ...common, ...ends.asked })),
      on(100.1, UPLINK, 'outgoing', udp({ ...common, ...ends.sent, hops: 63 })),
      on(100.2, UPLINK, 'incoming', icmpError(sender, udp({ ...common, ...ends.sent, hops: 63 }), type, code)),
      on(
        100.3,
        CLIENT_DEVICE,
        'outgoing',
        icmpError(shownSender, udp({ ...common, ...ends.asked, hops: 63 }), type, code),
      ),
    ];
  }

  test.each([
    ['of the backend shows the Service as its sender', remote, front, unreachable],
    ['of a router keeps its sender', router, router, exceeded],
  ] as const)('an error %s, and what it quotes is translated byte for byte', (_whose, sender, shown, kind) => {
    for (const checksum of ['right', 'none'] as const) {
      if (checksum === 'none' && client.includes(':')) continue;
      const { tally, lines } = replayFrames(failing(sender, shown, kind, checksum), streams);
      expect(tally.replies).toEqual({ reproduced: 1, differing: 0, withoutFlow: 0 });
      expect(tally.connections[0]).toMatchObject({
        reply: 'unreachable',
        verdict: { kind: 'permitted' },
        datagrams: { refused: 0, unreachable: 1 },
      });
      expect(lines.find(({ model }) => model.reason === 'related')).toMatchObject({
        hook: 'to-pod',
        frame: 3,
        observed: { verdict: 'reply', frame: 4 },
      });
    }
  });

  test('an error that shows its client the backend as its sender is found', () => {
    const { tally } = replayFrames(failing(remote, remote, unreachable, 'right'), streams);
    expect(tally.replies).toEqual({ reproduced: 0, differing: 1, withoutFlow: 0 });
    expect(tally.firstReply).toMatchObject({ frame: 4, service: 'shop/web:dns' });
  });

  test('an error that a client sends about an answer opens no connection', () => {
    const answer = udp({ ...ends.shown, hops: 63 });
    const [type, code] = unreachable;
    const error = icmpError(client, answer, type, code);
    // It goes back to the Service, from which the answer seemed to come.
    error.copyWithin(
      client.includes(':') ? 24 : 16,
      client.includes(':') ? 48 + 8 : 28 + 12,
      client.includes(':') ? 48 + 24 : 28 + 16,
    );
    const { tally, lines } = replayFrames(
      [...exchange(100, remote), on(200, CLIENT_DEVICE, 'incoming', error)],
      streams,
    );
    expect(tally.connections).toHaveLength(1);
    expect(summarize(tally, setting).unsupported).toEqual({});
    expect(lines.at(-1)).toMatchObject({ service: 'shop/web:dns', model: { verdict: 'forward', reason: 'related' } });
  });

  test('a datagram in fragments is one, and so is its answer, byte for byte', () => {
    const payload = new Uint8Array(100).map((_byte, index) => index);
    const common = { identification: 9, payload };
    const parts = (step: keyof typeof ends, hops = 64): readonly Uint8Array[] =>
      fragmentsOf(udp({ ...common, ...ends[step], hops }), 48);
    const frames = [
      ...parts('asked').map((part, index) => on(100 + index / 100, CLIENT_DEVICE, 'incoming', part)),
      ...parts('sent', 63).map((part, index) => on(100.1 + index / 100, UPLINK, 'outgoing', part)),
      ...parts('answered').map((part, index) => on(100.2 + index / 100, UPLINK, 'incoming', part)),
      ...parts('shown', 63).map((part, index) => on(100.3 + index / 100, CLIENT_DEVICE, 'outgoing', part)),
    ];
    const { tally, lines } = replayFrames(frames, streams);
    expect(tally.connections).toHaveLength(1);
    expect(tally.connections[0]).toMatchObject({
      verdict: { kind: 'permitted' },
      packets: 6,
      datagrams: { sent: 1, answers: 1, judged: 1 },
    });
    expect(tally.replies).toEqual({ reproduced: 3, differing: 0, withoutFlow: 0 });
    expect(summarize(tally, setting).unsupported).toEqual({});
    expect(lines.map(({ model }) => `${model.verdict} ${model.reason}`)).toEqual([
      'forward new-flow',
      'forward fragmented',
      'forward fragmented',
      'reply reply',
      'reply fragmented',
      'reply fragmented',
    ]);
    const translated = lines
      .slice(0, 3)
      .map(({ model }) => Uint8Array.from(Buffer.from(model.bytes, 'hex')).subarray(14));
    expect(translated).toEqual(parts('sent'));
  });

  test('a later fragment whose first one was not seen is counted by name', () => {
    const [, later] = fragmentsOf(udp({ ...ends.asked, payload: new Uint8Array(40) }), 16);
    if (later === undefined) throw new Error('three fragments');
    const { tally, lines } = replayFrames([on(100, CLIENT_DEVICE, 'incoming', later)], streams);
    expect(summarize(tally, setting).unsupported).toEqual({ fragment: { connections: 1, packets: 1 } });
    expect(lines[0]?.model).toMatchObject({ verdict: 'drop', reason: 'first-missing' });
  });

  test('answers come to the port that the model gave a client whose own was taken', () => {
    const second = { ...service, metadata: { namespace: 'shop', name: 'zoo', uid: 'uid-zoo' } };
    const fronts = ['10.96.0.20', 'fd00:10:96::20'];
    const zoo = { ...second, spec: { ...service.spec, clusterIP: fronts[0], clusterIPs: fronts } };
    const more = [eventLine(1, 'ADDED', zoo), eventLine(1, 'ADDED', slice([remote], 'zoo-1', 'zoo'))];
    const zooFront = fronts[client.includes(':') ? 1 : 0] ?? '';
    const there = udp({ from: at(client, 5555), to: at(zooFront, 53), identification: 77 });
    const frames = [
      ...exchange(100, remote),
      on(200, CLIENT_DEVICE, 'incoming', there),
      on(
        200.1,
        UPLINK,
        'outgoing',
        udp({ from: at(client, 61_234), to: at(remote, 8053), identification: 77, hops: 63 }),
      ),
      on(200.2, UPLINK, 'incoming', udp({ from: at(remote, 8053), to: at(client, 61_234), identification: 78 })),
      on(
        200.3,
        CLIENT_DEVICE,
        'outgoing',
        udp({ from: at(zooFront, 53), to: at(client, 5555), identification: 78, hops: 63 }),
      ),
    ];
    const { tally, lines } = replayFrames(frames, cluster([remote], ...more));
    expect(tally.replies).toEqual({ reproduced: 2, differing: 0, withoutFlow: 0 });
    const asked = lines.find(({ service: name, hook }) => name === 'shop/zoo:dns' && hook === 'from-pod');
    const sent = readHeaders(Uint8Array.from(Buffer.from(asked?.model.bytes ?? '', 'hex')).subarray(14));
    expect(sent?.sourcePort).toBeGreaterThan(61_000);
    expect(tally.connections.map(({ verdict }) => verdict?.kind)).toEqual(['permitted', 'permitted']);
  });
});
