// SPDX-License-Identifier: Apache-2.0
/** Two flows that would have one answer (review item 11, packets E59): the newcomer gets another source port. */
import { expect } from 'vitest';
import { datagram, tcp, withDestination, withSource, type Wire } from './bytes.ts';
import {
  client,
  echo,
  fate,
  mirror,
  web,
  webBackend,
  type Answer,
  type Host,
  type PacketCase,
  type Stage,
} from './stage.ts';

const PORT_FIRST = 61_000;

const ways = [
  ['TCP', tcp],
  ['UDP', datagram],
] as const;

type Make = typeof tcp;

/** The packet comes out at the backend with this source port. */
function expectAt(stage: Stage, answer: Answer, it: Wire, port: number): void {
  expect(answer.verdict).toBe('forward');
  expect(answer.frame).toEqual(stage.bytes({ ...withDestination(it, webBackend), sourcePort: port }));
}

/** The backend's answer to a port reaches the client from the address that was asked. */
function expectAnswered(stage: Stage, make: Make, port: number, asked: Host): void {
  const it = make(webBackend, { ...client, port }, { flags: 18, sequence: 500 });
  const answer = stage.send('to-pod', it);
  expect(answer.frame).toEqual(stage.bytes(withSource({ ...it, destinationPort: client.port }, asked)));
}

const services: readonly PacketCase[] = ways.flatMap(([name, make]): PacketCase[] => [
  {
    title: `packets E59: two Services, one backend, one client port with ${name}: the second gets another, answers know`,
    play: (stage) => {
      const [one, two] = [make(client, web), make(client, mirror)];
      expectAt(stage, stage.send('from-pod', one), one, client.port);
      const moved = stage.send('from-pod', two);
      expect(fate(moved)).toBe('forward new-flow');
      const { port } = moved.from;
      expect(port).toBeGreaterThanOrEqual(PORT_FIRST);
      expectAt(stage, moved, two, port);
      expectAnswered(stage, make, port, mirror);
      expectAnswered(stage, make, client.port, web);
      // And they stay: the next packet of each is known.
      expectAt(stage, stage.send('from-pod', { ...two, flags: 16 }), { ...two, flags: 16 }, port);
      expectAt(stage, stage.send('from-pod', { ...one, flags: 16 }), { ...one, flags: 16 }, client.port);
    },
  },
  {
    title: `three Services with ${name}: three ports`,
    play: (stage) => {
      const asked = [web, mirror, echo];
      const ports = asked.map((to) => stage.send('from-pod', make(client, to)).from.port);
      expect(new Set(ports).size).toBe(3);
      for (const [index, to] of asked.entries()) expectAnswered(stage, make, ports[index] ?? 0, to);
    },
  },
  {
    title: `another client with the same port keeps it with ${name}`,
    play: (stage) => {
      const other = { ...client, address: client.address + 1 };
      stage.send('from-pod', make(client, web));
      expect(stage.send('from-pod', make(other, mirror)).from).toEqual(other);
    },
  },
]);

const straight: readonly PacketCase[] = [
  {
    title: 'review 11: a SYN straight to the backend of a live connection is moved aside, both are answered',
    play: (stage) => {
      stage.handshake(client, web);
      const it = tcp(client, webBackend);
      const aside = stage.send('from-pod', it);
      expect(fate(aside)).toBe('forward direct');
      const { port } = aside.from;
      expect(port).toBeGreaterThanOrEqual(PORT_FIRST);
      expectAt(stage, aside, it, port);
      expectAnswered(stage, tcp, port, webBackend);
      expectAnswered(stage, tcp, client.port, web);
      const data = tcp(client, webBackend, { flags: 16 });
      expectAt(stage, stage.send('from-pod', data), data, port);
    },
  },
  ...ways.map(([name, make]): PacketCase => ({
    title: `review 11: a Service flow after a straight one with ${name} gets another port, both are answered`,
    play: (stage) => {
      const plain = make(client, webBackend);
      const first = stage.send('from-pod', plain);
      expect([first.verdict, first.frame]).toEqual(['pass', stage.bytes(plain)]);
      const it = make(client, web);
      const moved = stage.send('from-pod', it);
      expect(fate(moved)).toBe('forward new-flow');
      const { port } = moved.from;
      expect(port).toBeGreaterThanOrEqual(PORT_FIRST);
      expectAt(stage, moved, it, port);
      expectAnswered(stage, make, port, web);
      const answer = make(webBackend, client, { flags: 18 });
      expect(stage.send('to-pod', answer).frame).toEqual(stage.bytes(answer));
    },
  })),
  {
    title: 'a datagram straight to the backend of a live flow passes untouched',
    play: (stage) => {
      stage.send('from-pod', datagram(client, web));
      const it = datagram(client, webBackend);
      const answer = stage.send('from-pod', it);
      expect([answer.verdict, answer.frame]).toEqual(['pass', stage.bytes(it)]);
      expectAnswered(stage, datagram, client.port, web);
    },
  },
  {
    title: 'a SYN straight to the backend of a closed connection has its port for itself',
    play: (stage) => {
      stage.handshake(client, web);
      stage.send('from-pod', tcp(client, web, { flags: 17 }));
      stage.send('to-pod', tcp(webBackend, client, { flags: 17 }));
      const it = tcp(client, webBackend);
      const answer = stage.send('from-pod', it);
      expect([answer.verdict, answer.frame]).toEqual(['pass', stage.bytes(it)]);
      const back = tcp(webBackend, client, { flags: 18 });
      expect(stage.send('to-pod', back).frame).toEqual(stage.bytes(back));
    },
  },
  {
    title: 'a connection that is over gives its tuple to another Service, which keeps it from the first',
    play: (stage) => {
      stage.handshake(client, mirror);
      stage.send('from-pod', tcp(client, mirror, { flags: 17 }));
      stage.send('to-pod', tcp(webBackend, client, { flags: 17 }));
      stage.handshake(client, web);
      const { port } = stage.send('from-pod', tcp(client, mirror)).from;
      expect(port).toBeGreaterThanOrEqual(PORT_FIRST);
      expectAnswered(stage, tcp, client.port, web);
      expectAnswered(stage, tcp, port, mirror);
    },
  },
];

export const collisionCases: readonly PacketCase[] = [...services, ...straight];
