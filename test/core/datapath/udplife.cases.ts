// SPDX-License-Identifier: Apache-2.0
/** How long UDP flows live, who may take their place, and when they move to another backend; for one twin or both. */
import { expect } from 'vitest';
import type { World } from '../../../proof/world.ts';
import { datagram, withSource } from './bytes.ts';
import { expectUntouched } from './cases.ts';
import {
  client,
  cluster,
  fate,
  lifetimes,
  many,
  pod,
  service,
  web,
  webBackend,
  type Answer,
  type Host,
  type PacketCase,
  type Stage,
} from './stage.ts';

const toWeb = datagram(client, web);
const toClient = datagram(webBackend, client);
/** Review item 23: 30 s, in ticks of 2^20 ns. */
const ONE_WAY = 28_610;
const SECOND = 1 << 10;
const CONNECTIONS_MAX = 8;

function ask(stage: Stage, from: Host = client, to: Host = web): Answer {
  return stage.send('from-pod', datagram(from, to));
}

/** Question, answer and another question. */
function converse(stage: Stage, from: Host): string {
  const first = ask(stage, from);
  stage.send('to-pod', datagram(webBackend, from));
  ask(stage, from);
  return fate(first);
}

function someone(index: number): Host {
  return { ...client, address: 0x0a020100 + index };
}

/** A flow that was never answered and has lasted 30 s. */
function lastOneWay(stage: Stage): void {
  for (const ticks of [0, SECOND, SECOND, ONE_WAY - SECOND]) {
    stage.wait(ticks);
    ask(stage);
  }
}

const lives: readonly PacketCase[] = [
  {
    title: 'a question without an answer is known for its time and not a tick longer',
    play: (stage) => {
      ask(stage);
      stage.wait(lifetimes.datagramPending - 1);
      expect(fate(ask(stage))).toBe('forward known-flow');
      stage.wait(lifetimes.datagramPending);
      expect(fate(ask(stage))).toBe('forward new-flow');
    },
  },
  {
    title: 'an answer alone does not establish a flow, the client’s next datagram does',
    play: (stage) => {
      ask(stage);
      stage.send('to-pod', toClient);
      stage.wait(lifetimes.datagramPending);
      expect(fate(ask(stage))).toBe('forward new-flow');
      stage.send('to-pod', toClient);
      ask(stage);
      stage.wait(lifetimes.datagramEstablished - 1);
      expect(fate(ask(stage))).toBe('forward known-flow');
      stage.wait(lifetimes.datagramEstablished);
      expect(fate(ask(stage))).toBe('forward new-flow');
    },
  },
  {
    title: 'an answer after the flow has ended is nobody’s and passes',
    play: (stage) => {
      ask(stage);
      stage.wait(lifetimes.datagramPending);
      const frame = stage.bytes(toClient);
      expectUntouched(stage.frame('to-pod', frame), frame, 'not-service');
    },
  },
  {
    title: 'a server that streams keeps its flow alive alone, and so does a client that does',
    play: (stage) => {
      converse(stage, client);
      for (const send of [(): Answer => stage.send('to-pod', toClient), (): Answer => ask(stage)])
        for (let step = 0; step < 12; step++) {
          stage.wait(5000);
          expect(['reply reply', 'forward known-flow']).toContain(fate(send()));
        }
      expect(stage.send('to-pod', toClient).from).toEqual(web);
    },
  },
];

const oneWay: readonly PacketCase[] = [
  {
    title:
      'review 23: a flow that nobody answers is established 30 s after its second datagram, with others in two more seconds',
    play: (stage) => {
      lastOneWay(stage);
      stage.wait(lifetimes.datagramPending + 1);
      expect(fate(ask(stage))).toBe('forward known-flow');
    },
  },
  {
    title: 'review 23: and not a tick before',
    play: (stage) => {
      for (const ticks of [0, SECOND, SECOND, ONE_WAY - SECOND - 1]) {
        stage.wait(ticks);
        ask(stage);
      }
      stage.wait(lifetimes.datagramPending);
      expect(fate(ask(stage))).toBe('forward new-flow');
    },
  },
  {
    title: 'review 23: one-way flows give way to a newcomer, but only where nothing pending is left',
    play: (stage) => {
      lastOneWay(stage);
      for (let index = 0; index < 100; index++) expect(fate(ask(stage, someone(index)))).toBe('forward new-flow');
      expect(fate(ask(stage))).toBe('forward known-flow');
      for (let index = 0; index < CONNECTIONS_MAX - 1; index++) converse(stage, someone(200 + index));
      expect(fate(ask(stage))).toBe('forward known-flow');
      expect(fate(ask(stage, someone(300)))).toBe('forward new-flow');
      for (let index = 0; index < CONNECTIONS_MAX - 1; index++)
        expect(fate(ask(stage, someone(200 + index)))).toBe('forward known-flow');
    },
  },
];

const full: readonly PacketCase[] = [
  {
    title: 'questions without answers make room for newcomers, and no conversation ends for them',
    play: (stage) => {
      converse(stage, client);
      for (let index = 0; index < 100; index++) expect(fate(ask(stage, someone(index)))).toBe('forward new-flow');
      expect(fate(ask(stage))).toBe('forward known-flow');
      expect(fate(stage.send('to-pod', toClient))).toBe('reply reply');
    },
  },
  {
    title: 'a newcomer is refused by name only where every slot holds a conversation',
    play: (stage) => {
      for (let index = 0; index < CONNECTIONS_MAX; index++) converse(stage, someone(index));
      expect(fate(ask(stage))).toBe('drop flows-full');
      stage.wait(lifetimes.datagramEstablished);
      expect(fate(ask(stage))).toBe('forward new-flow');
    },
  },
  {
    title: 'a client with more conversations than its share gives way to others, down to its share',
    play: (stage) => {
      const ports = Array.from({ length: CONNECTIONS_MAX }, (_, index) => ({ ...client, port: 1000 + index }));
      for (const from of ports) converse(stage, from);
      expect(converse(stage, someone(0))).toBe('forward new-flow');
      expect(converse(stage, someone(1))).toBe('forward new-flow');
      for (const index of [0, 1]) expect(fate(ask(stage, someone(index)))).toBe('forward known-flow');
      for (const from of ports.slice(0, 4)) expect(fate(ask(stage, from))).toBe('forward known-flow');
    },
  },
];

/** The cluster in which web has other endpoints. */
function withWeb(endpoints: readonly ReturnType<typeof pod>[], port = web): World {
  return {
    services: cluster.services.map((it) => (it.name === 'web' ? service('web', port, endpoints) : it)),
  };
}

const moving: readonly PacketCase[] = [
  {
    title: 'services G1: a conversation moves when its backend goes, and answers come from the new one',
    play: (stage) => {
      converse(stage, client);
      stage.become(withWeb([pod(6)]));
      const moved = { ...webBackend, address: 0x0a010006 };
      const answer = ask(stage);
      expect([answer.verdict, answer.to]).toEqual(['forward', moved]);
      const back = datagram(moved, client);
      const returned = stage.send('to-pod', back);
      expect(returned.frame).toEqual(stage.bytes(withSource(back, web)));
      // And it stays there.
      expect([fate(ask(stage)), ask(stage).to]).toEqual(['forward known-flow', moved]);
    },
  },
  {
    title: 'a conversation whose last backend goes is refused, and served again when one comes',
    play: (stage) => {
      converse(stage, client);
      stage.become(withWeb([]));
      expect(fate(ask(stage))).toBe('refuse no-endpoints');
      stage.become(withWeb([pod(7)]));
      expect(ask(stage).to.address).toBe(0x0a010007);
    },
  },
  {
    title: 'a conversation stays where its backend still is, however the others change',
    play: (stage) => {
      const chosen = ask(stage, client, many).to;
      const last = Number(chosen.address) & 255;
      const kept = [5, 6, 7, 8, 9, 10, 11, 12].filter((it) => it === last || it % 2 === 0);
      const services = cluster.services.map((it) =>
        it.name === 'many'
          ? service(
              'many',
              many,
              [...kept, 40, 41, 42].map((it2) => pod(it2)),
            )
          : it,
      );
      stage.become({ services });
      const again = ask(stage, client, many);
      expect([fate(again), again.to]).toEqual(['forward known-flow', chosen]);
    },
  },
  {
    title: 'services G1: a backend that ends but serves keeps its conversations where nothing else is left',
    play: (stage) => {
      converse(stage, client);
      stage.become(withWeb([pod(5, { state: 'terminating' })]));
      const answer = ask(stage);
      expect([fate(answer), answer.to]).toEqual(['forward known-flow', webBackend]);
    },
  },
  {
    title: 'services G1: a backend that ends but serves keeps its conversations beside a ready one',
    play: (stage) => {
      converse(stage, client);
      stage.become(withWeb([pod(5, { state: 'terminating' }), pod(6)]));
      const answer = ask(stage);
      expect([fate(answer), answer.to]).toEqual(['forward known-flow', webBackend]);
      expect(ask(stage, someone(1)).to.address).toBe(0x0a010006);
    },
  },
  {
    title: 'the address of a backend passes to another pod: datagrams are a choice anew',
    play: (stage) => {
      converse(stage, client);
      stage.become(withWeb([pod(5, { pod: 'another' })]));
      const answer = ask(stage);
      expect([answer.verdict, answer.to]).toEqual(['forward', webBackend]);
      expect(answer.trace).toContain('selected');
    },
  },
  {
    title: 'review 37: an address that passes to another Service takes no conversation along',
    play: (stage) => {
      converse(stage, client);
      const others = cluster.services.filter((it) => it.name !== 'web' && it.name !== 'many');
      stage.become({ services: [...others, service('many', many, [pod(5), pod(6)]), service('heir', web, [pod(9)])] });
      expect(ask(stage).to.address).toBe(0x0a010009);
    },
  },
  {
    title: 'services G3: a Service made anew with another address leaves nothing at the old one',
    play: (stage) => {
      converse(stage, client);
      const moved = { address: 0x0a600044, port: 80 };
      stage.become(withWeb([pod(5)], moved));
      const frame = stage.bytes(toWeb);
      expectUntouched(stage.frame('from-pod', frame), frame, 'not-service');
      const other = { ...client, port: 40077 };
      expect(fate(ask(stage, other, moved))).toBe('forward new-flow');
      expect(stage.send('to-pod', datagram(webBackend, other)).from).toEqual(moved);
    },
  },
];

export const udpLifeCases: readonly PacketCase[] = [...lives, ...oneWay, ...full, ...moving];
