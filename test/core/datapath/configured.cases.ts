// SPDX-License-Identifier: Apache-2.0
/** Cases that need settings of their own: no hairpin address, one or two ports to replace with, small shares. */
import { expect } from 'vitest';
import { address } from '../../../core/address.ts';
import { flowLifetimes } from '../../../core/datapath/datapath.ts';
import type { ConfigRecord } from '../../../core/layout.gen.ts';
import { addressOf } from '../../../proof/traffic/address.ts';
import type { Settings } from '../../../proof/settings.ts';
import { cutsOf, datagram, fragmentableLength, tcp, withDestination, withSource } from './bytes.ts';
import { expectUntouched } from './cases.ts';
import {
  client,
  echo,
  fate,
  mirror,
  NODE,
  settings,
  web,
  webBackend,
  type Answer,
  type Host,
  type PacketCase,
  type Stage,
} from './stage.ts';

/** Settings, what they are in words, and the cases that are played with them. */
export type Configured = { readonly what: string; readonly settings: Settings; readonly cases: readonly PacketCase[] };

function configured(more: Partial<ConfigRecord>): Settings {
  return { ...settings, config: { ...settings.config, ...more } };
}

const NOWHERE = address(0, 0, 0, 0);
const ways = [
  ['a segment', tcp],
  ['a datagram', datagram],
] as const;
type Make = typeof tcp;

const self: Host = { address: webBackend.address, port: 40_000 };
const node: Host = { address: NODE, port: 40_000 };

/** Without an address of the node a pod cannot hear itself: it is told by name, and nothing is kept. */
function withoutSource(only?: 'IPv4' | 'IPv6'): readonly PacketCase[] {
  const own = only === undefined ? {} : { only };
  return [
    ...ways.map(([what, make]): PacketCase => ({
      title: `services D2: ${what} of a pod to itself is dropped by name, and nothing is remembered`,
      ...own,
      play: (stage) => {
        const it = make(self, web);
        for (let time = 0; time < 2; time++) {
          const sent = stage.send('from-pod', it);
          expect(fate(sent)).toBe('drop hairpin');
          expect(sent.frame).toEqual(stage.bytes(it));
        }
        const answer = stage.bytes(make(webBackend, node, { flags: 18 }));
        expectUntouched(stage.frame('from-pod', answer), answer, 'not-service');
      },
    })),
    {
      title: 'other clients of that pod are served, before and after',
      ...own,
      play: (stage) => {
        stage.handshake(client, web);
        expect(fate(stage.send('from-pod', tcp(self, web)))).toBe('drop hairpin');
        expect(fate(stage.send('from-pod', tcp(client, web, { flags: 16 })))).toBe('forward known-flow');
        expect(stage.send('from-pod', datagram({ ...client, port: 41_000 }, web)).verdict).toBe('forward');
      },
    },
    {
      title: 'of a datagram of a pod to itself no fragment comes through',
      ...own,
      play: (stage) => {
        const it = datagram(self, web, { payload: new Uint8Array(200).fill(0x42) });
        const [first, second] = cutsOf(fragmentableLength(stage.wire(it)), [64]);
        expect(fate(stage.send('from-pod', it, first))).toBe('drop hairpin');
        expect(fate(stage.send('from-pod', it, second))).toBe('drop first-missing');
      },
    },
    {
      title: 'what a pod sends to the address of all zeros is nobody\u2019s',
      ...own,
      play: (stage) => {
        stage.send('from-pod', datagram(self, web));
        const zero: Host = { address: 0, port: 40_000 };
        const it = stage.family === 'IPv6' ? datagram(webBackend, zero) : datagram(webBackend, zero);
        const wire = { ...stage.wire(it), destination: stage.family === 'IPv6' ? '::' : 0 };
        const answer = stage.send('from-pod', wire);
        expect([answer.verdict, answer.frame]).toEqual(['pass', stage.bytes(wire)]);
      },
    },
  ];
}

const hairpins: readonly PacketCase[] = ways.map(([what, make]) => ({
  title: `services D2: ${what} of a pod to itself goes by the address of its own family`,
  only: 'IPv4',
  play: (stage) => {
    const it = make(self, web);
    const sent = stage.send('from-pod', it);
    expect(fate(sent)).toBe('forward hairpin');
    expect(sent.from).toEqual(node);
  },
}));

const PORT = 22_222;
const asking: Host = { ...client, port: 50_555 };

/** The packet comes out at the backend, with this source port. */
function expectAt(stage: Stage, answer: Answer, it: ReturnType<Make>, port: number): void {
  expect(answer.verdict).toBe('forward');
  expect(answer.frame).toEqual(stage.bytes({ ...withDestination(it, webBackend), sourcePort: port }));
}

/** The backend's answer to a port comes to the client's own, from whom it asked. */
function expectAnswered(stage: Stage, make: Make, port: number, asked: Host): void {
  const it = make(webBackend, { ...asking, port }, { flags: 18, sequence: 500 });
  const answer = stage.send('to-pod', it);
  expect(answer.verdict).toBe('reply');
  expect(answer.frame).toEqual(stage.bytes(withSource({ ...it, destinationPort: asking.port }, asked)));
}

const onePort: readonly PacketCase[] = ways.flatMap(([what, make]): PacketCase[] => [
  {
    title: `packets E59: ${what} whose tuple is taken leaves from port 22222, answers come to 50555, the next keeps it`,
    play: (stage) => {
      stage.send('from-pod', make(asking, web));
      const it = make(asking, mirror);
      expectAt(stage, stage.send('from-pod', it), it, PORT);
      expectAnswered(stage, make, PORT, mirror);
      const next = make(asking, mirror, { flags: 16 });
      expectAt(stage, stage.send('from-pod', next), next, PORT);
      expectAnswered(stage, make, asking.port, web);
    },
  },
  {
    title: `packets E60: ${what} for which no port is left is dropped by name, untouched, and both others live`,
    play: (stage) => {
      stage.send('from-pod', make(asking, web));
      stage.send('from-pod', make(asking, mirror));
      const it = make(asking, echo);
      const answer = stage.send('from-pod', it);
      expect(fate(answer)).toBe('drop tuple-taken');
      expect(answer.frame).toEqual(stage.bytes(it));
      expectAnswered(stage, make, asking.port, web);
      expectAnswered(stage, make, PORT, mirror);
    },
  },
  {
    title: `packets E60: ${what} of another client has the port for itself`,
    play: (stage) => {
      const other = { ...asking, address: client.address + 1 };
      stage.send('from-pod', make(asking, web));
      stage.send('from-pod', make(asking, mirror));
      stage.send('from-pod', make(other, web));
      expect(stage.send('from-pod', make(other, mirror)).from).toEqual({ ...other, port: PORT });
    },
  },
]);

const straight: readonly PacketCase[] = [
  {
    title: 'packets E61: a SYN straight to the backend of a live connection leaves from port 22222, and answers know',
    play: (stage) => {
      stage.handshake(asking, web);
      const it = tcp(asking, webBackend);
      const aside = stage.send('from-pod', it);
      expect(fate(aside)).toBe('forward direct');
      expectAt(stage, aside, it, PORT);
      const data = tcp(asking, webBackend, { flags: 16 });
      expectAt(stage, stage.send('from-pod', data), data, PORT);
      expectAnswered(stage, tcp, PORT, webBackend);
      expectAnswered(stage, tcp, asking.port, web);
    },
  },
  {
    title: 'packets E60: a SYN straight to the backend for which no port is left is dropped by name',
    play: (stage) => {
      stage.handshake(asking, web);
      stage.handshake(asking, mirror);
      const it = tcp(asking, webBackend);
      const answer = stage.send('from-pod', it);
      expect(fate(answer)).toBe('drop tuple-taken');
      expect(answer.frame).toEqual(stage.bytes(it));
    },
  },
];

const twoPorts: readonly PacketCase[] = ways.map(([what, make]) => ({
  title: `packets E60: ${what} that finds one of two ports taken gets the other`,
  play: (stage) => {
    stage.send('from-pod', make(asking, web));
    const moved = [mirror, echo].map((to) => stage.send('from-pod', make(asking, to)).from.port);
    expect(new Set(moved)).toEqual(new Set([PORT, PORT + 1]));
    expectAnswered(stage, make, moved[0] ?? 0, mirror);
    expectAnswered(stage, make, moved[1] ?? 0, echo);
    expectAnswered(stage, make, asking.port, web);
  },
}));

/** A table of one bucket has room for eight connections; half of it is held by four. */
const ROOM = 8;
const HALF = 4;

function someone(index: number): Host {
  return { ...client, address: 0x0a020100 + index };
}

/** Connections of as many clients, each due a while after the one before. */
function crowd(stage: Stage, make: Make, to: Host, first: number, count: number): readonly Host[] {
  return Array.from({ length: count }, (_, index) => {
    const from = someone(first + index);
    stage.wait(4);
    expect(stage.send('from-pod', make(from, to, { sequence: 100 })).verdict).toBe('forward');
    stage.send('to-pod', make(webBackend, from, { flags: 18, sequence: 500, acknowledgement: 101 }));
    stage.send('from-pod', make(from, to, { flags: 16, sequence: 101, acknowledgement: 501 }));
    return from;
  });
}

/** Which of them are still answered as whom they asked; an answer alone leaves nothing behind where there is no flow. */
function living(stage: Stage, make: Make, clients: readonly Host[]): readonly boolean[] {
  return clients.map((to) => stage.send('to-pod', make(webBackend, to, { flags: 16 })).verdict === 'reply');
}

const yes = (count: number): readonly boolean[] => Array.from({ length: count }, () => true);
const no = (count: number): readonly boolean[] => Array.from({ length: count }, () => false);

const shares: readonly PacketCase[] = [
  ...ways.map(([what, make]): PacketCase => ({
    title: `adr 6: a Service port beyond its share of half a table gives way to another, the oldest first: ${what}`,
    play: (stage) => {
      const early = crowd(stage, make, web, 0, HALF);
      const late = crowd(stage, make, web, HALF, ROOM - HALF);
      // Not asked before: an answer would make its entry younger than the client's, and halves go one by one.
      const other = crowd(stage, make, mirror, 20, 1);
      expect(living(stage, make, early)).toEqual(yes(HALF));
      expect(living(stage, make, other)).toEqual(yes(1));
      expect(living(stage, make, late)).toEqual([...no(1), ...yes(ROOM - HALF - 1)]);
    },
  })),
  {
    title: 'adr 6: within its share a Service port gives way to nobody, and nobody within theirs is refused for it',
    play: (stage) => {
      const busy = crowd(stage, tcp, web, 0, ROOM);
      const others = [crowd(stage, tcp, mirror, 20, 2), crowd(stage, tcp, echo, 30, 2)].flat();
      expect(living(stage, tcp, busy)).toEqual([...yes(HALF), ...no(ROOM - HALF)]);
      expect(living(stage, tcp, others)).toEqual(yes(HALF));
      // Everybody is within a share now: the table is full.
      expect(fate(stage.send('from-pod', tcp(someone(40), web)))).toBe('drop flows-full');
    },
  },
  {
    title: 'adr 6: two ports of one Service have a share each',
    play: (stage) => {
      const streams = crowd(stage, tcp, web, 0, ROOM);
      // Its UDP port holds nothing yet: two conversations are kept, the third may go again.
      const datagrams = crowd(stage, datagram, web, 20, 3);
      const newcomers = crowd(stage, tcp, mirror, 30, 2);
      expect(living(stage, tcp, streams)).toEqual([...yes(HALF), ...no(ROOM - HALF)]);
      expect(living(stage, datagram, datagrams)).toEqual([true, true, false]);
      expect(living(stage, tcp, newcomers)).toEqual(yes(2));
    },
  },
  {
    title: 'adr 6: connections that ended count for no share',
    play: (stage) => {
      const ended = crowd(stage, tcp, web, 0, HALF);
      for (const from of ended) {
        stage.send('from-pod', tcp(from, web, { flags: 17 }));
        stage.send('to-pod', tcp(webBackend, from, { flags: 17 }));
      }
      const kept = crowd(stage, tcp, web, 10, HALF);
      crowd(stage, tcp, mirror, 20, HALF);
      expect(living(stage, tcp, kept)).toEqual(yes(HALF));
    },
  },
];

const noShares: readonly PacketCase[] = [
  {
    title: 'a Service port that fills the table keeps others out: the check can fail',
    play: (stage) => {
      const busy = crowd(stage, tcp, web, 0, ROOM);
      expect(fate(stage.send('from-pod', tcp(someone(20), mirror)))).toBe('drop flows-full');
      expect(living(stage, tcp, busy)).toEqual(yes(ROOM));
    },
  },
];

const FEW = 2;

/** Each with a stage of its own. */
export const configurations: readonly Configured[] = [
  {
    what: 'without an address from which a pod hears itself',
    settings: configured({ hairpinSource: [NOWHERE, NOWHERE] }),
    cases: withoutSource(),
  },
  {
    what: 'with such an address for IPv4 alone',
    settings: configured({ hairpinSource: [addressOf(NODE), NOWHERE] }),
    cases: [...hairpins, ...withoutSource('IPv6')],
  },
  {
    what: 'with one port to replace others',
    settings: configured({ portFirst: PORT, portCount: 1 }),
    cases: [...onePort, ...straight],
  },
  {
    what: 'with two ports to replace others',
    settings: configured({ portFirst: PORT, portCount: 2 }),
    cases: twoPorts,
  },
  {
    what: 'with a share of two for a Service port',
    settings: configured({ shareClient: 99, shareService: FEW, ...lasting() }),
    cases: shares,
  },
  { what: 'without shares', settings: configured({ shareClient: 99, shareService: 99 }), cases: noShares },
];

/** Nothing that is established ends while a case lasts. */
function lasting(): Partial<ConfigRecord> {
  const ms = 10_000_000;
  return {
    flowLifetimes: flowLifetimes({
      pendingMs: 1_000,
      establishedMs: ms,
      halfClosedMs: ms,
      closingMs: 1_000,
      datagramPendingMs: 1_000,
      datagramEstablishedMs: ms,
    }),
  };
}
