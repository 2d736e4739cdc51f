// SPDX-License-Identifier: Apache-2.0
/** A pod that reaches itself through its Service (services D2): there, and back; for one twin or both. */
import { expect } from 'vitest';
import {
  datagram,
  fragmentableLength,
  cutsOf,
  icmpFrame,
  packetOf,
  refusalOf,
  tcp,
  withDestination,
  withSource,
  type Wire,
} from './bytes.ts';
import { expectUntouched } from './cases.ts';
import { fate, lifetimes, mirror, NODE, web, webBackend, type Host, type PacketCase, type Stage } from './stage.ts';

const self: Host = { address: webBackend.address, port: 40000 };
const node: Host = { address: NODE, port: 40000 };

/** What leaves again by the device it came from: a hop further, the frame turned around. */
function turned(it: Wire): Wire {
  return { ...it, timeToLive: it.timeToLive - 1, isTurned: true };
}

function there(it: Wire, from: Host = node): Wire {
  return turned(withSource(withDestination(it, webBackend), from));
}

function back(it: Wire, from: Host = web, to: Host = self): Wire {
  return turned(withSource(withDestination(it, to), from));
}

const ways = [
  ['a segment', tcp],
  ['a datagram', datagram],
] as const;

const served: readonly PacketCase[] = ways.flatMap(([what, make]): PacketCase[] => [
  {
    title: `services D2: ${what} of a pod to its own Service comes back to it from the node, and so does the answer`,
    play: (stage) => {
      const it = make(self, web);
      const sent = stage.send('from-pod', it);
      expect(fate(sent)).toBe('forward hairpin');
      expect(sent.frame).toEqual(stage.bytes(there(it)));
      const answer = make(webBackend, node, { flags: 18 });
      const returned = stage.send('from-pod', answer);
      expect(fate(returned)).toBe('reply hairpin');
      expect(returned.frame).toEqual(stage.bytes(back(answer)));
      expect(fate(stage.send('from-pod', it))).toBe('forward hairpin');
    },
  },
  {
    title: `packets D35: ${what} of a pod to itself with TTL or hop limit 1 is refused by the Service: time exceeded`,
    play: (stage) => {
      const it = make(self, web, { timeToLive: 1 });
      const sent = stage.send('from-pod', it);
      expect(fate(sent)).toBe('refuse time-to-live');
      expect(sent.frame).toEqual(refusalOf(stage.wire(it), 'time'));
      expect(fate(stage.send('from-pod', { ...it, timeToLive: 2 }))).toBe('forward hairpin');
      const answer = make(webBackend, node, { flags: 18, timeToLive: 1 });
      const returned = stage.send('from-pod', answer);
      expect(fate(returned)).toBe('refuse time-to-live');
      expect(returned.frame).toEqual(refusalOf(stage.wire(answer), 'time'));
    },
  },
  {
    title: `${what} of a pod to itself with TTL or hop limit 0 goes nowhere`,
    play: (stage) => {
      const sent = stage.send('from-pod', make(self, web, { timeToLive: 0 }));
      expect(['drop', 'refuse']).toContain(sent.verdict);
    },
  },
  {
    title: `two Services through which a pod reaches itself do not share a source port: ${what}`,
    play: (stage) => {
      expect(fate(stage.send('from-pod', make(self, web)))).toBe('forward hairpin');
      const it = make(self, mirror);
      const sent = stage.send('from-pod', it);
      expect(fate(sent)).toBe('forward hairpin');
      const { port } = sent.from;
      expect(port).toBeGreaterThanOrEqual(61_000);
      expect(sent.frame).toEqual(stage.bytes(there(it, { ...node, port })));
      const answers = [
        [{ ...node, port }, mirror],
        [node, web],
      ] as const;
      for (const [to, asked] of answers) {
        const answer = make(webBackend, to, { flags: 18 });
        expect(stage.send('from-pod', answer).frame).toEqual(stage.bytes(back(answer, asked)));
      }
    },
  },
]);

const fragments: PacketCase = {
  title: 'the fragments of a datagram of a pod to itself go the same way, and those of the answer',
  play: (stage) => {
    const payload = new Uint8Array(200).fill(0x42);
    const it = datagram(self, web, { payload });
    const answer = datagram(webBackend, node, { payload });
    const cuts = cutsOf(fragmentableLength(stage.wire(it)), [64, 64]);
    for (const cut of cuts) expect(stage.send('from-pod', it, cut).frame).toEqual(stage.bytes(there(it), cut));
    for (const cut of cuts) expect(stage.send('from-pod', answer, cut).frame).toEqual(stage.bytes(back(answer), cut));
  },
};

type Message = { readonly from: Host; readonly to: Host; readonly about: Wire; readonly timeToLive: number };

/** Port unreachable, as one end sends it about a packet that it got, or as it comes back to the pod. */
function errorFrame(stage: Stage, { from, to, about, timeToLive }: Message, isTurned = false): Uint8Array {
  const isSix = stage.family === 'IPv6';
  const quote = packetOf(stage.wire(about));
  const [type, code] = isSix ? [1, 4] : [3, 3];
  const [source, destination] = [stage.host(from.address), stage.host(to.address)];
  const frame = icmpFrame({
    from: source,
    to: destination,
    type,
    code,
    word: 0,
    quote,
    timeToLive,
    error: 0,
    padding: new Uint8Array(),
  });
  if (!isTurned) return frame;
  const macs = [...frame.subarray(6, 12), ...frame.subarray(0, 6)];
  frame.set(macs);
  return frame;
}

/** What each end of a hairpin is told, and what the other end must hear: it is the same pod. */
function toldBy(end: 'as backend' | 'as client', make: typeof tcp): readonly [sent: Message, heard: Message] {
  const payload = new Uint8Array(21).fill(0x33);
  const asked = make(self, web, { payload });
  const answered = make(webBackend, node, { payload, flags: 18 });
  const as = (from: Host, to: Host, about: Wire, timeToLive: number): Message => ({ from, to, about, timeToLive });
  return end === 'as backend'
    ? [as(webBackend, node, withSource(withDestination(asked, webBackend), node), 61), as(web, self, asked, 60)]
    : [as(self, web, withSource(withDestination(answered, self), web), 61), as(node, webBackend, answered, 60)];
}

const errors: readonly PacketCase[] = ways.flatMap(([what, make]): PacketCase[] =>
  (['as backend', 'as client'] as const).flatMap((end): PacketCase[] => [
    {
      title: `packets G76, G80: an error of a pod ${end} about ${what} of a hairpin comes back to it and names what it knows`,
      play: (stage) => {
        stage.send('from-pod', make(self, web));
        stage.send('from-pod', make(webBackend, node, { flags: 18 }));
        const [sent, heard] = toldBy(end, make);
        const answer = stage.frame('from-pod', errorFrame(stage, sent));
        expect(answer.verdict).toBe(end === 'as backend' ? 'reply' : 'forward');
        expect(answer.frame).toEqual(errorFrame(stage, heard, true));
      },
    },
    {
      title: `an error of a pod ${end} about ${what} of a hairpin whose time is over is dropped: no error is told of an error`,
      play: (stage) => {
        stage.send('from-pod', make(self, web));
        stage.send('from-pod', make(webBackend, node, { flags: 18 }));
        const [sent] = toldBy(end, make);
        const frame = errorFrame(stage, { ...sent, timeToLive: 1 });
        const answer = stage.frame('from-pod', frame);
        expect([answer.verdict, answer.frame]).toEqual(['drop', frame]);
      },
    },
    {
      title: `an error of a pod ${end} about ${what} of no hairpin passes untouched, or is dropped by name`,
      play: (stage) => {
        const [sent] = toldBy(end, make);
        const frame = errorFrame(stage, sent);
        const answer = stage.frame('from-pod', frame);
        expect(['pass', 'drop']).toContain(answer.verdict);
        expect(answer.frame).toEqual(frame);
      },
    },
  ]),
);

const expiredFragment: PacketCase = {
  title: 'a later fragment of a datagram of a pod to itself whose time is over is dropped: only first ones are told of',
  play: (stage) => {
    const it = datagram(self, web, { payload: new Uint8Array(200).fill(0x42) });
    const [first, second] = cutsOf(fragmentableLength(stage.wire(it)), [64]);
    if (first === undefined || second === undefined) throw new Error('two fragments');
    const old = { ...it, timeToLive: 1 };
    const told = stage.send('from-pod', old, first);
    expect(fate(told)).toBe('refuse time-to-live');
    expect(told.frame).toEqual(refusalOf(stage.wire(old), 'time', first));
    expect(fate(stage.send('from-pod', it, first))).toBe('forward hairpin');
    const late = stage.send('from-pod', old, second);
    expect([late.verdict, late.frame]).toEqual(['drop', stage.bytes(old, second)]);
  },
};

/** Opens and completes. */
function handshake(stage: Stage): void {
  stage.send('from-pod', tcp(self, web, { sequence: 100 }));
  stage.send('from-pod', tcp(webBackend, node, { flags: 18, sequence: 500, acknowledgement: 101 }));
  stage.send('from-pod', tcp(self, web, { flags: 16, sequence: 101, acknowledgement: 501 }));
}

export const hairpinCases: readonly PacketCase[] = [
  ...served,
  ...errors,
  fragments,
  expiredFragment,
  {
    title: 'a connection of a pod to itself is established like any other',
    play: (stage) => {
      handshake(stage);
      stage.wait(lifetimes.pending + 1);
      const data = tcp(self, web, { flags: 24, payload: new Uint8Array(5).fill(1) });
      const sent = stage.send('from-pod', data);
      expect(fate(sent)).toBe('forward hairpin');
      expect(sent.frame).toEqual(stage.bytes(there(data)));
    },
  },
  {
    title: 'what a pod sends to the node without a connection to itself passes untouched',
    play: (stage) => {
      const frame = stage.bytes(tcp(webBackend, node, { flags: 18 }));
      expectUntouched(stage.frame('from-pod', frame), frame, 'not-service');
      handshake(stage);
      for (const port of [8081, 8079]) {
        const other = stage.bytes(tcp({ ...webBackend, port }, node, { flags: 16 }));
        expectUntouched(stage.frame('from-pod', other), other, 'not-service');
      }
    },
  },
];
