// SPDX-License-Identifier: Apache-2.0
/** Kinds of traffic that both protocols have: conversations that open, live and end, and what misses them by a little. */
import { ACK, FIN, PSH, RST, segment, SYN } from './frame.ts';
import { drawFrontend, drawMartian } from './hosts.ts';
import type { Kind, NamedKind, Scene } from './scene.ts';
import { fromBackend, fromClient, nearAck, nearMiss, NOTHING, type Connection, type Planned } from './segments.ts';

const KEPT_ALIVE = 24;
const SURVEYED = 16;
/** What opens nothing and continues nothing, or says two things at once. */
const ODD_FLAGS = [0, SYN | FIN, SYN | RST, FIN, 0xff, 41, SYN | FIN | ACK, PSH] as const;

/** Plans with a connection where there is one, else opens one. */
export function withConnection(plan: (scene: Scene, connection: Connection) => void): Kind {
  return (scene) => {
    const connection = scene.someConnection();
    if (connection === undefined) open(scene);
    else plan(scene, connection);
  };
}

export function open(scene: Scene): void {
  const { stream } = scene;
  const connection = scene.connect(...scene.meeting());
  // 0xc0: a SYN that asks for ECN. Payload: fast open.
  const flags = stream.chance(0.1) ? SYN | 0xc0 : SYN;
  const payload = stream.chance(0.05) ? new Uint8Array(8).fill(0x61) : NOTHING;
  const { clientSequence: sequence } = connection;
  scene.add(fromClient(stream, connection, flags, { sequence, acknowledgement: 0, payload }));
}

/** What opens a connection that is known already, or opens it anew. */
export function again({ stream }: Scene, connection: Connection): Planned {
  return fromClient(stream, connection, SYN, { acknowledgement: 0 });
}

function data({ stream }: Scene, connection: Connection): Planned {
  return fromClient(stream, connection, stream.pick([ACK, ACK | PSH]));
}

/** What establishes a connection: SYN, SYN-ACK and ACK, or three datagrams. */
export function handshakeOf(scene: Scene, connection: Connection): readonly Planned[] {
  return [
    again(scene, connection),
    fromBackend(scene.stream, connection, SYN | ACK),
    fromClient(scene.stream, connection, ACK),
  ];
}

/** A connection whose third packet is not quite the one that completes it. */
function halfOpen(scene: Scene): void {
  const { stream } = scene;
  const connection = scene.connect(...scene.meeting());
  scene.add(again(scene, connection));
  if (stream.chance(0.9)) scene.add(fromBackend(stream, connection, SYN | ACK));
  if (stream.chance(0.2)) scene.add(again(scene, connection));
  const flags = stream.pick([ACK, ACK, ACK, RST | ACK, SYN | ACK, FIN | ACK, RST]);
  const acknowledgement = flags === ACK ? nearAck(stream, connection) : connection.serverSequence + 1;
  scene.add(fromClient(stream, connection, flags, { acknowledgement: acknowledgement >>> 0 }));
}

/** Many that open at once: tables fill up, half-open ones are recycled, full buckets refuse, shares are used up. */
function flood(scene: Scene): void {
  const { stream } = scene;
  const asked = drawFrontend(stream, scene.world);
  const completes = stream.chance(0.6);
  const port = 1024 + stream.below(60000);
  const one = stream.chance(0.4) ? scene.client(asked.address).address : undefined;
  for (let i = 0; i < 8 + stream.below(56); i++) {
    const client = { address: one ?? scene.client(asked.address).address, port: port + i };
    const planned = handshakeOf(scene, scene.connect(client, asked));
    scene.add(...(completes ? planned : planned.slice(0, 1)));
  }
}

/** Connections that live longer than they were given at first: when they end stands in the table as it was then. */
function keepAlive(scene: Scene): void {
  const { stream } = scene;
  if (stream.chance(0.8)) return open(scene);
  flood(scene);
  const kept = scene.latest(KEPT_ALIVE);
  for (let i = 0; i < 2; i++) {
    scene.pause(Math.floor(stream.pick(scene.lifetimes) * 0.6));
    for (const connection of kept) scene.add(data(scene, connection));
  }
  flood(scene);
}

function finish(scene: Scene, connection: Connection): void {
  const { stream } = scene;
  const both: Planned[] = [fromClient(stream, connection, FIN | ACK), fromBackend(stream, connection, FIN | ACK)];
  if (stream.chance(0.5)) both.reverse();
  const last = stream.chance(0.5) ? [data(scene, connection)] : [];
  const anew = stream.chance(0.3) ? [again(scene, connection)] : [];
  scene.add(...(stream.chance(0.5) ? [...both, ...last, ...anew] : both.slice(0, 1)));
}

function reset(scene: Scene, connection: Connection): void {
  const { stream } = scene;
  const from = stream.chance(0.5) ? fromClient : fromBackend;
  scene.add(from(stream, connection, stream.pick([RST, RST | ACK])));
  // A reset that was not meant: data go on.
  if (stream.chance(0.4))
    scene.add(stream.chance(0.5) ? data(scene, connection) : fromBackend(stream, connection, ACK));
}

/** Whatever flags on many connections in a row: their backends may be others' meanwhile. */
export function survey(scene: Scene): void {
  const { stream } = scene;
  for (const connection of scene.latest(SURVEYED)) {
    scene.add(fromClient(stream, connection, stream.pick([ACK, ACK, RST | ACK, FIN | ACK])));
    if (stream.chance(0.4)) scene.add(data(scene, connection));
  }
  if (scene.isIdle) open(scene);
}

function miss(scene: Scene, connection: Connection): void {
  const { stream } = scene;
  const near = stream.chance(0.7) ? data(scene, connection) : fromBackend(stream, connection, ACK);
  scene.add({ hook: near.hook, segment: { ...near.segment, ...nearMiss(stream, near.segment) } });
}

function odd(scene: Scene): void {
  const { stream } = scene;
  const connection = scene.someConnection();
  const flags = stream.pick([...ODD_FLAGS, stream.below(256)]);
  if (connection === undefined || stream.chance(0.5))
    return scene.add({ hook: 'from-pod', segment: segment(...scene.meeting(), flags) });
  scene.add((stream.chance(0.7) ? fromClient : fromBackend)(stream, connection, flags));
}

function martian(scene: Scene): void {
  const [client, asked] = scene.meeting();
  const [address, to] = drawMartian(scene.stream, asked);
  const { protocol } = asked;
  scene.add({ hook: 'from-pod', segment: segment({ address, port: client.port }, to, SYN, { protocol }) });
}

function retransmit(scene: Scene, connection: Connection): void {
  const { last } = connection;
  scene.add(last !== undefined && scene.stream.chance(0.6) ? last : again(scene, connection));
}

function reply({ stream }: Scene, connection: Connection): Planned {
  return fromBackend(stream, connection, stream.pick([ACK, ACK | PSH]));
}

function synAck({ stream }: Scene, connection: Connection): Planned {
  return fromBackend(stream, connection, SYN | ACK, { sequence: connection.serverSequence });
}

export const conversationKinds: readonly NamedKind[] = [
  ['open', open],
  ['handshake', (scene) => scene.add(...handshakeOf(scene, scene.connect(...scene.meeting())))],
  ['data', withConnection((scene, connection) => scene.add(data(scene, connection)))],
  ['reply', withConnection((scene, connection) => scene.add(reply(scene, connection)))],
  ['synAck', withConnection((scene, connection) => scene.add(synAck(scene, connection)))],
  ['finish', withConnection(finish)],
  ['reset', withConnection(reset)],
  ['halfOpen', halfOpen],
  ['survey', survey],
  ['retransmit', withConnection(retransmit)],
  ['nearMiss', withConnection(miss)],
  ['flood', flood],
  ['keepAlive', keepAlive],
  ['oddFlags', odd],
  ['martian', martian],
  [
    'distorted',
    (scene) => (scene.stream.chance(0.5) ? open(scene) : withConnection((it, known) => it.add(data(it, known)))(scene)),
  ],
];
