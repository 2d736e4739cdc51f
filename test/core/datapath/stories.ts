// SPDX-License-Identifier: Apache-2.0
/** Connections from their first packet to the end of their state, and tables that are full; for one twin or both. */
import { expect } from 'vitest';
import { ACK, FIN, RST, segment, SYN } from '../../../proof/traffic/frame.ts';
import type { World } from '../../../proof/world.ts';
import {
  client,
  cluster,
  fate,
  lifetimes,
  many,
  web,
  webBackend,
  type Host,
  type PacketCase,
  type Stage,
} from './stage.ts';

/** The cluster in which web's backend was replaced by another pod. */
function moved(last: number): World {
  const endpoint = { address: 0x0a010000 + last, state: 'ready', isLocal: true, pod: `pod-${last}` } as const;
  return { services: cluster.services.map((it) => (it.name === 'web' ? { ...it, endpoints: [endpoint] } : it)) };
}

/** As many as the stage's flow table holds. */
const CONNECTIONS_MAX = 8;

function finish(stage: Stage, to: Host): void {
  stage.fromPod(segment(client, to, FIN | ACK));
  stage.toPod(segment(webBackend, client, FIN | ACK));
}

/** Opens connections to web, each from a client of its own; their verdicts. */
function flood(stage: Stage, count: number, completes: boolean): string[] {
  return Array.from({ length: count }, (_, index) => {
    const from = { ...client, address: 0x0a020100 + index };
    if (!completes) return fate(stage.fromPod(segment(from, web, SYN)));
    const opened = stage.fromPod(segment(from, web, SYN, { sequence: 100 }));
    stage.toPod(segment(webBackend, from, SYN | ACK, { sequence: 500, acknowledgement: 101 }));
    stage.fromPod(segment(from, web, ACK, { sequence: 101, acknowledgement: 501 }));
    return fate(opened);
  });
}

const answers: readonly PacketCase[] = [
  {
    title: 'an answer carries the address that the client used',
    play: (stage) => {
      stage.fromPod(segment(client, web, SYN));
      const it = segment(webBackend, client, SYN | ACK, { sequence: 500 });
      const answer = stage.toPod(it);
      expect(fate(answer)).toBe('reply reply');
      expect(answer.frame).toEqual(stage.frameOf({ ...it, source: web.address, sourcePort: web.port }));
    },
  },
  {
    title: 'an answer from another port, or to another client, is nobody’s and passes',
    play: (stage) => {
      stage.fromPod(segment(client, web, SYN));
      const strangers = [
        segment({ ...webBackend, port: 8081 }, client, ACK),
        segment(webBackend, { ...client, port: 40001 }, ACK),
        segment(webBackend, { ...client, address: client.address + 1 }, ACK),
      ];
      for (const it of strangers) expect(fate(stage.toPod(it))).toBe('pass not-service');
    },
  },
  {
    title: 'a SYN sent again goes to the same backend',
    play: (stage) => {
      const first = stage.fromPod(segment(client, many, SYN));
      stage.wait(lifetimes.pending - 1);
      const second = stage.fromPod(segment(client, many, SYN));
      expect([fate(first), fate(second)]).toEqual(['forward new-flow', 'forward known-flow']);
      expect(second.to).toEqual(first.to);
    },
  },
];

const establishing: readonly (readonly [string, number, number, boolean])[] = [
  ["the ACK of the backend's initial sequence number", ACK, 501, true],
  ['an ACK that covers data sent with the SYN-ACK', ACK, 501 + 65535, true],
  ['an ACK one too low', ACK, 500, false],
  ['an ACK just outside the window', ACK, 501 + 65536, false],
  ['a reset with the right number', RST | ACK, 501, false],
  ['a SYN-ACK with the right number', SYN | ACK, 501, false],
];

/** Whether the flow outlives a pending one. */
function isEstablished(stage: Stage): boolean {
  stage.wait(lifetimes.pending + 1);
  return stage.fromPod(segment(client, web, ACK)).reason === 'known-flow';
}

const life: readonly PacketCase[] = [
  ...establishing.map(([what, flags, acknowledgement, wanted]): PacketCase => ({
    title: `${what} ${wanted ? 'establishes' : 'does not establish'} a connection`,
    play: (stage) => {
      stage.fromPod(segment(client, web, SYN));
      stage.toPod(segment(webBackend, client, SYN | ACK, { sequence: 500 }));
      stage.fromPod(segment(client, web, flags, { acknowledgement }));
      if ((flags & RST) !== 0) stage.fromPod(segment(client, web, ACK, { acknowledgement: 1 }));
      expect(isEstablished(stage)).toBe(wanted);
    },
  })),
  {
    title: 'a SYN-ACK alone does not establish a connection',
    play: (stage) => {
      stage.fromPod(segment(client, web, SYN));
      stage.toPod(segment(webBackend, client, SYN | ACK, { sequence: 500 }));
      expect(isEstablished(stage)).toBe(false);
    },
  },
  {
    title: 'an established connection lives exactly its time, counted from its last packet',
    play: (stage) => {
      stage.handshake(client, web);
      stage.wait(lifetimes.established - 1);
      expect(stage.fromPod(segment(client, web, ACK)).reason).toBe('known-flow');
      stage.wait(lifetimes.established - 1);
      expect(stage.fromPod(segment(client, web, ACK)).reason).toBe('known-flow');
      stage.wait(lifetimes.established);
      expect(stage.fromPod(segment(client, web, ACK)).reason).toBe('new-flow');
    },
  },
  {
    title: 'after FIN from both sides a SYN chooses anew, and data of the old connection still pass before it',
    play: (stage) => {
      stage.handshake(client, web);
      finish(stage, web);
      expect(stage.fromPod(segment(client, web, ACK)).to).toEqual(webBackend);
      stage.become(moved(6));
      const again = stage.fromPod(segment(client, web, SYN));
      expect([fate(again), again.to.address]).toEqual(['forward new-flow', 0x0a010006]);
    },
  },
  {
    title: 'FIN from one side keeps the backend for what follows, a SYN included',
    play: (stage) => {
      stage.handshake(client, web);
      stage.fromPod(segment(client, web, FIN | ACK));
      expect(fate(stage.toPod(segment(webBackend, client, ACK)))).toBe('reply reply');
      expect(fate(stage.fromPod(segment(client, web, SYN)))).toBe('forward known-flow');
    },
  },
  {
    title: 'an established connection keeps its backend when the Service has another one; a SYN does not',
    play: (stage) => {
      stage.handshake(client, web);
      stage.become(moved(6));
      expect(stage.fromPod(segment(client, web, ACK)).to).toEqual(webBackend);
      expect(fate(stage.toPod(segment(webBackend, client, ACK)))).toBe('reply reply');
      expect(stage.fromPod(segment(client, web, SYN)).to.address).toBe(0x0a010006);
    },
  },
  {
    title: 'a reset ends a connection soon, unless data follow',
    play: (stage) => {
      stage.handshake(client, web);
      stage.fromPod(segment(client, web, RST));
      stage.fromPod(segment(client, web, ACK));
      stage.wait(lifetimes.closing + 1);
      expect(stage.fromPod(segment(client, web, ACK)).reason).toBe('known-flow');
      stage.toPod(segment(webBackend, client, RST));
      stage.wait(lifetimes.closing + 1);
      expect(stage.fromPod(segment(client, web, ACK)).reason).toBe('new-flow');
    },
  },
];

const full: readonly PacketCase[] = [
  {
    title: 'half-open connections make room for newcomers, for ever',
    play: (stage) => expect(new Set(flood(stage, 100, false))).toEqual(new Set(['forward new-flow'])),
  },
  {
    title: 'a half-open connection is recycled before an established one is touched',
    play: (stage) => {
      stage.handshake(client, web);
      flood(stage, 100, false);
      expect(stage.fromPod(segment(client, web, ACK)).reason).toBe('known-flow');
      expect(fate(stage.toPod(segment(webBackend, client, ACK)))).toBe('reply reply');
    },
  },
  {
    title: 'when every slot holds an established connection the newcomer is refused by name, and only until one ends',
    play: (stage) => {
      const fates = flood(stage, CONNECTIONS_MAX, true);
      expect(new Set(fates)).toEqual(new Set(['forward new-flow']));
      expect(fate(stage.fromPod(segment(client, web, SYN)))).toBe('drop flows-full');
      stage.fromPod(segment({ ...client, address: 0x0a020100 }, web, RST));
      expect(fate(stage.fromPod(segment(client, web, SYN)))).toBe('forward new-flow');
    },
  },
];

/** Every case that needs a connection. */
export const stories: readonly PacketCase[] = [...answers, ...life, ...full];
