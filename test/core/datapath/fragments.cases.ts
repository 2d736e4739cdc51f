// SPDX-License-Identifier: Apache-2.0
/** Fragments of both families: what follows a first one, and what comes without; for one twin or both. */
import { expect } from 'vitest';
import {
  atomic,
  cutsOf,
  datagram,
  fragmentableLength,
  paddingOptions,
  refusalOf,
  tcp,
  withDestination,
  withSource,
  type Cut,
  type Wire,
} from './bytes.ts';
import { expectUntouched } from './cases.ts';
import { client, empty, fate, mirror, web, webBackend, type Answer, type PacketCase, type Stage } from './stage.ts';

const payload = Uint8Array.from({ length: 301 }, (_, index) => index & 255);
const toWeb = datagram(client, web, { payload });
const toClient = datagram(webBackend, client, { payload });

/** A datagram in pieces of 64, 128 and what remains. */
function pieces(stage: Stage, it: Wire): readonly [Cut, Cut, Cut] {
  const [first, second, third] = cutsOf(fragmentableLength(stage.wire(it)), [64, 128]);
  if (first === undefined || second === undefined || third === undefined) throw new Error('three fragments');
  return [first, second, third];
}

/** Sends one fragment to web and expects the same fragment of the translated datagram. */
function expectForwarded(stage: Stage, it: Wire, cut: Cut, wanted: string): void {
  const answer = stage.send('from-pod', it, cut);
  expect(fate(answer)).toBe(wanted);
  expect(answer.frame).toEqual(stage.bytes(withDestination(it, webBackend), cut));
}

function expectMissing(stage: Stage, it: Wire, cut: Cut): void {
  const answer = stage.send('from-pod', it, cut);
  expect(fate(answer)).toBe('drop first-missing');
  expect(answer.frame).toEqual(stage.bytes(it, cut));
}

const toNobody = datagram(client, empty, { payload });
const refused: readonly (readonly [string, Wire, ('IPv4' | 'IPv6')?])[] = [
  ['a datagram', toNobody],
  ['a datagram without a checksum', { ...toNobody, checksum: 'none' }],
  ['a segment', tcp(client, empty, { payload })],
  ['a datagram with IPv4 options', { ...toNobody, ipOptions: new Uint8Array(12).fill(1) }, 'IPv4'],
  ['a datagram behind hop-by-hop options', { ...toNobody, extensions: [paddingOptions(0, 16)] }, 'IPv6'],
];

const dresses: readonly (readonly [string, Wire, ('IPv4' | 'IPv6')?])[] = [
  ['a datagram', toWeb],
  ['a datagram without a checksum', { ...toWeb, checksum: 'none' }],
  ['a datagram with a wrong checksum', { ...toWeb, checksum: 7 }],
  ['a segment', tcp(client, web, { payload })],
  ["a datagram with don't fragment set", { ...toWeb, dontFragment: true }, 'IPv4'],
  ['a datagram with IPv4 options', { ...toWeb, ipOptions: new Uint8Array(8).fill(1) }, 'IPv4'],
  ['a datagram behind hop-by-hop options', { ...toWeb, extensions: [paddingOptions(0)] }, 'IPv6'],
  ['a datagram with destination options in the first fragment', { ...toWeb, inner: [paddingOptions(60)] }, 'IPv6'],
  ['a datagram with both', { ...toWeb, extensions: [paddingOptions(0, 16)], inner: [paddingOptions(60, 16)] }, 'IPv6'],
];

const orders: readonly PacketCase[] = dresses.flatMap(([what, it, only]): PacketCase[] => [
  {
    title: `packets H81: the fragments of ${what} are those of the translated one, to the byte`,
    ...(only === undefined ? {} : { only }),
    play: (stage) => {
      const [first, second, third] = pieces(stage, it);
      expectForwarded(stage, it, first, 'forward new-flow');
      expectForwarded(stage, it, second, 'forward fragmented');
      expectForwarded(stage, it, third, 'forward fragmented');
    },
  },
  {
    title: `packets H82: the later fragments of ${what} come in any order, and twice`,
    ...(only === undefined ? {} : { only }),
    play: (stage) => {
      const [first, second, third] = pieces(stage, it);
      expectForwarded(stage, it, first, 'forward new-flow');
      for (const cut of [third, second, third, second]) expectForwarded(stage, it, cut, 'forward fragmented');
    },
  },
  {
    title: `packets H83: a later fragment of ${what} before the first one is dropped by name, and follows after it`,
    ...(only === undefined ? {} : { only }),
    play: (stage) => {
      const [first, second, third] = pieces(stage, it);
      expectMissing(stage, it, second);
      expectMissing(stage, it, third);
      expectForwarded(stage, it, first, 'forward new-flow');
      expectForwarded(stage, it, third, 'forward fragmented');
    },
  },
]);

function answerOf(stage: Stage, it: Wire, cut: Cut): Answer {
  return stage.send('to-pod', it, cut);
}

const answers: readonly PacketCase[] = [
  {
    title: 'packets E46: the fragments of an answer all come from the Service',
    play: (stage) => {
      stage.send('from-pod', datagram(client, web));
      const [first, second, third] = pieces(stage, toClient);
      for (const [cut, wanted] of [
        [first, 'reply reply'],
        [third, 'reply fragmented'],
        [second, 'reply fragmented'],
      ] as const) {
        const answer = answerOf(stage, toClient, cut);
        expect(fate(answer)).toBe(wanted);
        expect(answer.frame).toEqual(stage.bytes(withSource(toClient, web), cut));
      }
    },
  },
  {
    title: 'a later fragment to a pod whose first is unknown passes: it may be anybody’s',
    play: (stage) => {
      stage.send('from-pod', datagram(client, web));
      const [, second] = pieces(stage, toClient);
      expectUntouched(answerOf(stage, toClient, second), stage.bytes(toClient, second), 'not-service');
    },
  },
  {
    title: 'fragments between two who are not a Service pass, first and later',
    play: (stage) => {
      const it = datagram(client, { address: 0x08080808, port: 53 }, { payload });
      const [first, second] = pieces(stage, it);
      for (const cut of [first, second]) {
        const answer = stage.send('from-pod', it, cut);
        expect([answer.verdict, answer.frame]).toEqual(['pass', stage.bytes(it, cut)]);
      }
    },
  },
];

const strangers: readonly (readonly [string, Wire, ('IPv4' | 'IPv6')?])[] = [
  ['another identification', { ...toWeb, id: toWeb.id ^ 1 }],
  ['the other byte of the identification', { ...toWeb, id: toWeb.id ^ 0x100 }],
  ['another sender', { ...toWeb, source: client.address + 1 }],
  ['another Service', { ...toWeb, destination: mirror.address }],
  ['another protocol', tcp(client, web, { payload }), 'IPv4'],
];

const identities: readonly PacketCase[] = [
  ...strangers.map(([what, it, only]): PacketCase => ({
    title: `a later fragment of ${what} does not follow somebody else’s first`,
    ...(only === undefined ? {} : { only }),
    play: (stage) => {
      const [first, second] = pieces(stage, toWeb);
      expectForwarded(stage, toWeb, first, 'forward new-flow');
      expectMissing(stage, it, second);
    },
  })),
  {
    title: 'the fragments of two datagrams to two Services, one between another, each follow their own',
    play: (stage) => {
      const other: Wire = { ...datagram(client, mirror, { payload }), id: toWeb.id + 1, sourcePort: 40001 };
      const [first, second, third] = pieces(stage, toWeb);
      for (const [cut, it] of [first, second, third].flatMap((one) => [[one, toWeb] as const, [one, other] as const])) {
        const answer = stage.send('from-pod', it, cut);
        expect(answer.frame).toEqual(stage.bytes(withDestination(it, webBackend), cut));
      }
    },
  },
  {
    title: 'packets H84: a first fragment is forgotten, and what comes then is dropped by name',
    play: (stage) => {
      const [first, second] = pieces(stage, toWeb);
      expectForwarded(stage, toWeb, first, 'forward new-flow');
      stage.wait(60_000);
      expectMissing(stage, toWeb, second);
    },
  },
];

const odd: readonly PacketCase[] = [
  {
    title: 'a fragment that overlaps the first one is moved as it is: its payload is never read as ports',
    play: (stage) => {
      const overlapping: Cut = { at: 8, length: 64, isLast: false };
      const [first] = pieces(stage, toWeb);
      expectForwarded(stage, toWeb, first, 'forward new-flow');
      expectForwarded(stage, toWeb, overlapping, 'forward fragmented');
    },
  },
  {
    title: 'a later fragment that looks like a SYN to a Service opens nothing',
    play: (stage) => {
      // TCP ports and flags of a SYN to web, eight bytes into a datagram to nobody in particular.
      const disguised = [client.port >>> 8, client.port & 255, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xfa, 0xf0];
      const it = tcp(client, web, { payload: Uint8Array.from([0, 0, 0, 0, ...disguised, 0, 0, 0, 0]) });
      expectMissing(stage, it, { at: 24, length: 20, isLast: true });
      expect(fate(stage.send('from-pod', tcp(client, web, { flags: 16 })))).toBe('forward new-flow');
    },
  },
  {
    title: 'a first fragment without its whole TCP header counts as a later one and is not remembered',
    play: (stage) => {
      const it = tcp(client, web, { payload });
      const tiny: Cut = { at: 0, length: 8, isLast: false };
      expectMissing(stage, it, tiny);
      expectMissing(stage, it, { at: 8, length: 64, isLast: false });
      expect(fate(stage.send('from-pod', it, { at: 0, length: 16, isLast: false }))).toBe('drop first-missing');
      expectForwarded(stage, it, { at: 0, length: 24, isLast: false }, 'forward new-flow');
    },
  },
  {
    title: 'a first fragment of eight bytes holds all of a UDP header and is translated',
    play: (stage) => {
      expectForwarded(stage, toWeb, { at: 0, length: 8, isLast: false }, 'forward new-flow');
      expectForwarded(stage, toWeb, { at: 8, length: 64, isLast: false }, 'forward fragmented');
    },
  },
  ...refused.map(([what, it, only]): PacketCase => ({
    title: `the first fragment of ${what} to a Service without endpoints is refused, those that follow are dropped by name`,
    ...(only === undefined ? {} : { only }),
    play: (stage) => {
      const [first, second] = pieces(stage, it);
      const answer = stage.send('from-pod', it, first);
      expect(fate(answer)).toBe('refuse no-endpoints');
      expect(answer.frame).toEqual(refusalOf(stage.wire(it), 'port', first));
      expectMissing(stage, it, second);
    },
  })),
  {
    title: 'fragments of ICMP and of other protocols to a Service pass untouched',
    play: (stage) => {
      for (const protocol of [stage.family === 'IPv6' ? 58 : 1, 50, 132]) {
        const it: Wire = { ...toWeb, protocol };
        const answer = stage.send('from-pod', it, { at: 0, length: 64, isLast: false });
        expect([answer.verdict, answer.frame]).toEqual(['pass', stage.bytes(it, { at: 0, length: 64, isLast: false })]);
      }
    },
  },
  ...[toWeb, tcp(client, web)].map((it): PacketCase => ({
    title: `${it.protocol === 6 ? 'a segment' : 'a datagram'} in one fragment is as good as whole, and keeps its header`,
    only: 'IPv6',
    play: (stage) => {
      const whole = atomic(stage.wire(it));
      expectForwarded(stage, it, whole, 'forward new-flow');
      const back = withSource(withDestination({ ...it, flags: 18 }, client), webBackend);
      const answer = stage.send('to-pod', back, whole);
      expect(fate(answer)).toBe('reply reply');
      expect(answer.frame).toEqual(stage.bytes(withSource(back, web), whole));
    },
  })),
  {
    title: 'a refusal of a datagram in one fragment quotes the fragment header too',
    only: 'IPv6',
    play: (stage) => {
      const it = stage.wire(datagram(client, empty));
      const header = { kind: 44, size: 8, fill: [0, 0, 0xfe, 0xdc, it.id >>> 8, it.id & 255] };
      expect(stage.send('from-pod', it, atomic(it)).frame).toEqual(refusalOf({ ...it, extensions: [header] }));
    },
  },
];

export const fragmentCases: readonly PacketCase[] = [...orders, ...answers, ...identities, ...odd];
