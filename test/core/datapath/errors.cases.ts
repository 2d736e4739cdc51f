// SPDX-License-Identifier: Apache-2.0
/** ICMP errors about translated packets, both ways (RFC 792, RFC 4443, RFC 5508); for one twin or both. */
import { expect } from 'vitest';
import {
  datagram,
  icmpFrame,
  packetOf,
  paddingOptions,
  tcp,
  withDestination,
  withSource,
  type Cut,
  type IcmpError,
  type Wire,
} from './bytes.ts';
import { expectUntouched } from './cases.ts';
import {
  client,
  fate,
  lifetimes,
  mirror,
  web,
  webBackend,
  type Answer,
  type Family,
  type Host,
  type PacketCase,
  type Stage,
} from './stage.ts';

/** Somebody on the way who forwards and complains. */
const router: Host = { address: 0x0a0900fe, port: 0 };

type Message = {
  /** ICMP's type, code and word, and those of ICMPv6. */
  readonly four: readonly [number, number, number];
  readonly six: readonly [number, number, number];
};

const unreachable: Message = { four: [3, 3, 0], six: [1, 4, 0] };
const messages: readonly (readonly [string, Message])[] = [
  ['port unreachable', unreachable],
  ['host unreachable', { four: [3, 1, 0], six: [1, 3, 0] }],
  ['too big', { four: [3, 4, 1400], six: [2, 0, 1280] }],
  ['time exceeded', { four: [11, 0, 0], six: [3, 0, 0] }],
  ['reassembly time exceeded', { four: [11, 1, 0], six: [3, 1, 0] }],
  ['parameter problem', { four: [12, 0, 0x14000000], six: [4, 1, 6] }],
];

type Shape = { readonly length?: number; readonly cut?: Cut; readonly more?: Partial<IcmpError> };

/** The frame of an error from somebody to somebody, about a packet as the sender of the error saw it. */
function errorFrame(stage: Stage, about: Wire, from: Host, to: Host, message: Message, shape: Shape = {}): Uint8Array {
  const [type, code, word] = stage.family === 'IPv6' ? message.six : message.four;
  const packet = packetOf(stage.wire(about), shape.cut);
  return icmpFrame({
    from: stage.host(from.address),
    to: stage.host(to.address),
    type,
    code,
    word,
    quote: packet.subarray(0, shape.length ?? packet.length),
    timeToLive: 61,
    error: 0,
    padding: new Uint8Array(),
    ...shape.more,
  });
}

const payload = new Uint8Array(40).fill(0x77);

/** A packet of a client to web as its backend gets it, and one of the backend's as it sends it. */
type Talk = { readonly asked: Wire; readonly answered: Wire };

const streams: Talk = {
  asked: tcp(client, web, { payload, flags: 24 }),
  answered: tcp(webBackend, client, { payload, flags: 24 }),
};
const datagrams: Talk = {
  asked: datagram(client, web, { payload }),
  answered: datagram(webBackend, client, { payload }),
};

function open(stage: Stage, { asked }: Talk): void {
  expect(stage.send('from-pod', { ...asked, flags: 2, payload: new Uint8Array() }).verdict).toBe('forward');
}

/** About the client's packet, to the client; then about the backend's answer, to the backend. */
function expectBothWays(stage: Stage, talk: Talk, message: Message, shape: Shape): void {
  const { asked, answered } = talk;
  for (const [from, seenFrom] of [
    [webBackend, web],
    [router, router],
  ] as const) {
    const there = stage.frame(
      'to-pod',
      errorFrame(stage, withDestination(asked, webBackend), from, client, message, shape),
    );
    expect(fate(there)).toBe('reply related');
    expect(there.frame).toEqual(errorFrame(stage, asked, seenFrom, client, message, shape));
  }
  for (const from of [client, router]) {
    const back = stage.frame('from-pod', errorFrame(stage, withSource(answered, web), from, web, message, shape));
    expect(fate(back)).toBe('forward related');
    expect(back.frame).toEqual(errorFrame(stage, answered, from, webBackend, message, shape));
  }
}

const kinds: readonly PacketCase[] = messages.flatMap(([what, message]) =>
  [streams, datagrams].map((talk): PacketCase => ({
    title: `packets G76, G80: ${what} about ${talk === streams ? 'a segment' : 'a datagram'} names what its reader knows, both ways`,
    play: (stage) => {
      open(stage, talk);
      expectBothWays(stage, talk, message, {});
    },
  })),
);

/** Both packets of a talk, dressed alike. */
function dressed(talk: Talk, more: Partial<Wire>): Talk {
  return { asked: { ...talk.asked, ...more }, answered: { ...talk.answered, ...more } };
}

function headerOf(family: Family): number {
  return family === 'IPv6' ? 40 : 20;
}

const first: Cut = { at: 0, length: 24, isLast: false };
const shapes: readonly (readonly [string, Talk, (family: Family) => Shape, Family?, string?])[] = [
  ['eight bytes of TCP', streams, (family) => ({ length: headerOf(family) + 8 })],
  ['16 bytes of TCP, up to the checksum', streams, (family) => ({ length: headerOf(family) + 16 })],
  ['18 bytes of TCP', streams, (family) => ({ length: headerOf(family) + 18 })],
  ['20 bytes of TCP', streams, (family) => ({ length: headerOf(family) + 20 })],
  ['eight bytes of UDP', datagrams, (family) => ({ length: headerOf(family) + 8 })],
  ['nine bytes of UDP', datagrams, (family) => ({ length: headerOf(family) + 9 })],
  ['a datagram without a checksum', dressed(datagrams, { checksum: 'none' }), () => ({})],
  ['a datagram whose checksum is wrong', dressed(datagrams, { checksum: 0x1234 }), () => ({})],
  ['a segment whose checksum is wrong', dressed(streams, { checksum: 0x1234 }), () => ({})],
  ['a packet whose TTL or hop limit has gone', dressed(streams, { timeToLive: 0 }), () => ({})],
  ['a first fragment', datagrams, () => ({ cut: first }), 'IPv4'],
  ['a first fragment of IPv6', datagrams, () => ({ cut: first }), 'IPv6'],
  ['a packet, itself padded by Ethernet', datagrams, () => ({ more: { padding: new Uint8Array(9).fill(4) } })],
  ['a packet, with TTL or hop limit 1', datagrams, () => ({ more: { timeToLive: 1 } })],
  ['a packet with IPv4 options', dressed(datagrams, { ipOptions: new Uint8Array(12).fill(1) }), () => ({}), 'IPv4'],
  [
    'eight bytes of TCP behind the longest options',
    dressed(streams, { ipOptions: new Uint8Array(40).fill(1) }),
    () => ({ length: 68 }),
    'IPv4',
  ],
  ['a packet with extension headers', dressed(streams, { extensions: [paddingOptions(0, 16)] }), () => ({}), 'IPv6'],
];

const quotes = shapes.map(([what, talk, shape, only]): PacketCase => ({
  title: `an error that quotes ${what} is translated both ways`,
  ...(only === undefined ? {} : { only }),
  play: (stage) => {
    open(stage, { ...talk, asked: { ...talk.asked, extensions: [], ipOptions: new Uint8Array(), timeToLive: 64 } });
    expectBothWays(stage, talk, unreachable, shape(stage.family));
  },
}));

/** Errors about the client's packet that nobody may touch. */
const unread: readonly (readonly [string, (stage: Stage) => Uint8Array])[] = [
  ...[0, 1, 4, 7].map((length): readonly [string, (stage: Stage) => Uint8Array] => [
    `${length} bytes of the transport`,
    (stage) => aboutAsked(stage, datagrams.asked, { length: headerOf(stage.family) + length }),
  ]),
  ['half an IP header', (stage) => aboutAsked(stage, datagrams.asked, { length: 10 })],
  ['nothing', (stage) => aboutAsked(stage, datagrams.asked, { length: 0 })],
  ['a later fragment', (stage) => aboutAsked(stage, datagrams.asked, { cut: { at: 24, length: 16, isLast: true } })],
  [
    'an error',
    (stage) => {
      const inner = errorFrame(stage, datagrams.asked, client, webBackend, unreachable).slice(14);
      return quoting(stage, inner);
    },
  ],
  [
    'an echo',
    (stage) => quoting(stage, packetOf(stage.wire({ ...datagrams.asked, protocol: stage.family === 'IPv6' ? 58 : 1 }))),
  ],
  [
    'ESP',
    (stage) => quoting(stage, packetOf(stage.wire({ ...withDestination(datagrams.asked, webBackend), protocol: 50 }))),
  ],
  [
    'a packet of the other family',
    (stage) =>
      quoting(stage, packetOf(stage.family === 'IPv6' ? datagrams.asked : { ...datagrams.asked, source: 'fd00::1' })),
  ],
];

function aboutAsked(stage: Stage, asked: Wire, shape: Shape): Uint8Array {
  return errorFrame(stage, withDestination(asked, webBackend), webBackend, client, unreachable, shape);
}

function quoting(stage: Stage, quote: Uint8Array): Uint8Array {
  return errorFrame(stage, datagrams.asked, webBackend, client, unreachable, { more: { quote } });
}

const passed = unread.map(([what, make]): PacketCase => ({
  title: `an error that quotes ${what} passes untouched`,
  play: (stage) => {
    open(stage, datagrams);
    const frame = make(stage);
    const answer = stage.frame('to-pod', frame);
    expect([answer.verdict, answer.frame]).toEqual(['pass', frame]);
  },
}));

const strangers: readonly PacketCase[] = [
  {
    title: 'packets G74: an error about a packet of no flow passes untouched',
    play: (stage) => {
      const frame = aboutAsked(stage, datagrams.asked, {});
      expectUntouched(stage.frame('to-pod', frame), frame, 'not-service');
      open(stage, datagrams);
      for (const more of [{ sourcePort: 40001 }, { destinationPort: 8081 }, { source: client.address + 1 }]) {
        const about = { ...withDestination(datagrams.asked, webBackend), ...more };
        const strange = errorFrame(stage, about, webBackend, client, unreachable);
        expectUntouched(stage.frame('to-pod', strange), strange, 'not-service');
      }
    },
  },
  {
    title: 'an error about the other protocol’s flow passes untouched',
    play: (stage) => {
      open(stage, datagrams);
      const frame = errorFrame(stage, withDestination(streams.asked, webBackend), webBackend, client, unreachable);
      expectUntouched(stage.frame('to-pod', frame), frame, 'not-service');
    },
  },
  ...[4, 5, 8, 0, 13].map((type): PacketCase => ({
    title: `packets G75: an ICMP message of type ${type} is no error, whatever it holds, and passes untouched`,
    only: 'IPv4',
    play: (stage) => {
      open(stage, datagrams);
      const frame = aboutAsked(stage, datagrams.asked, { more: { type } });
      expectUntouched(stage.frame('to-pod', frame), frame, 'other-protocol');
    },
  })),
  ...[0, 5, 127, 128, 129, 135, 137].map((type): PacketCase => ({
    title: `packets G75: an ICMPv6 message of type ${type} is no error we know, and passes untouched`,
    only: 'IPv6',
    play: (stage) => {
      open(stage, datagrams);
      const frame = aboutAsked(stage, datagrams.asked, { more: { type } });
      expectUntouched(stage.frame('to-pod', frame), frame, 'other-protocol');
    },
  })),
];

function bad(stage: Stage, about: Wire, from: Host): Uint8Array {
  return errorFrame(stage, about, from, client, unreachable, { more: { error: 0x0301 } });
}

const lasting: readonly PacketCase[] = [
  {
    title: 'the wrong checksum of an error stays exactly as wrong',
    play: (stage) => {
      open(stage, datagrams);
      const answer = stage.frame('to-pod', bad(stage, withDestination(datagrams.asked, webBackend), webBackend));
      expect(answer.frame).toEqual(bad(stage, datagrams.asked, web));
    },
  },
  {
    title: 'an error does not keep a flow alive',
    play: (stage) => {
      open(stage, datagrams);
      stage.wait(lifetimes.datagramPending - 1);
      expect(fate(stage.frame('to-pod', aboutAsked(stage, datagrams.asked, {})))).toBe('reply related');
      stage.wait(1);
      expect(fate(stage.frame('to-pod', aboutAsked(stage, datagrams.asked, {})))).toBe('pass not-service');
    },
  },
  {
    title: 'an error about a packet whose source port was replaced names the client’s own',
    play: (stage) => {
      open(stage, datagrams);
      const asked = datagram(client, mirror, { payload });
      const moved: Answer = stage.send('from-pod', asked);
      expect(moved.from.port).not.toBe(client.port);
      const about = { ...withDestination(asked, webBackend), sourcePort: moved.from.port };
      const answer = stage.frame('to-pod', errorFrame(stage, about, webBackend, client, unreachable));
      expect(fate(answer)).toBe('reply related');
      expect(answer.frame).toEqual(errorFrame(stage, asked, mirror, client, unreachable));
    },
  },
  {
    title: 'an error about an answer to a replaced source port goes to the backend that knows that port',
    play: (stage) => {
      open(stage, datagrams);
      const asked = datagram(client, mirror, { payload });
      const { port } = stage.send('from-pod', asked).from;
      const answered = datagram(mirror, client, { payload });
      const frame = errorFrame(stage, answered, client, mirror, unreachable);
      const answer = stage.frame('from-pod', frame);
      expect(fate(answer)).toBe('forward related');
      const sent = datagram(webBackend, { ...client, port }, { payload });
      expect(answer.frame).toEqual(errorFrame(stage, sent, client, webBackend, unreachable));
    },
  },
];

export const errorCases: readonly PacketCase[] = [...kinds, ...quotes, ...passed, ...strangers, ...lasting];
