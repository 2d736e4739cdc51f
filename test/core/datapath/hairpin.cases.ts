// SPDX-License-Identifier: Apache-2.0
/** A pod that reaches itself through its Service (services D2): there, and back; for one twin or both. */
import { expect } from 'vitest';
import {
  datagram,
  fragmentableLength,
  cutsOf,
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

/** Opens and completes. */
function handshake(stage: Stage): void {
  stage.send('from-pod', tcp(self, web, { sequence: 100 }));
  stage.send('from-pod', tcp(webBackend, node, { flags: 18, sequence: 500, acknowledgement: 101 }));
  stage.send('from-pod', tcp(self, web, { flags: 16, sequence: 101, acknowledgement: 501 }));
}

export const hairpinCases: readonly PacketCase[] = [
  ...served,
  fragments,
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
