// SPDX-License-Identifier: Apache-2.0
/** Kinds of traffic that only UDP has: answers that complete, streams that get none, and one side that is silent. */
import { segment, UDP, type Segment } from './frame.ts';
import type { PacketHook } from '../../core/twin.ts';
import { handshakeOf } from './conversations.ts';
import type { NamedKind, Scene } from './scene.ts';
import { dress, fromBackend, fromClient, vanishing, type Connection, type Planned } from './segments.ts';

/** How long a flow without an answer must last, and how often a flow's other half is refreshed, in ticks. */
const ONE_WAY_TICKS = 28_610;
const KEEP_TICKS = 4_096;
const SECOND_TICKS = 1_024;

/** Somebody who asks a Service's UDP port; where none is known, a port that may be none. */
function asking(scene: Scene): Connection {
  const { stream, world } = scene;
  const asked = world.services.flatMap(({ addresses, ports }) =>
    ports.filter(({ protocol }) => protocol === 'UDP').map(({ port }) => ({ address: stream.pick(addresses), port })),
  );
  const [client, other] = scene.meeting();
  if (asked.length === 0) return scene.connect(client, { ...other, protocol: UDP });
  const service = stream.pick(asked);
  return scene.connect(scene.client(service.address), { ...service, protocol: UDP });
}

/** Question, answer, question in some order, now and then with one of them twice or missing. */
function exchange(scene: Scene): void {
  const { stream } = scene;
  const connection = asking(scene);
  scene.add(fromClient(stream, connection, 0));
  for (let i = 0; i < 1 + stream.below(5); i++)
    scene.add((stream.chance(0.5) ? fromClient : fromBackend)(stream, connection, 0));
}

/** A datagram and an answer whose checksums come out as zero once they are translated. */
function zero(scene: Scene): void {
  const { stream } = scene;
  const connection = asking(scene);
  const { client, service } = connection;
  const more = dress(stream, UDP);
  const tuned = (hook: PacketHook, sent: () => Segment, becomes: () => Segment): Planned => ({
    hook,
    get segment() {
      return { ...sent(), payload: vanishing(becomes()) };
    },
    connection,
  });
  const forward = (): Segment =>
    segment(connection.seenAs ?? client, connection.backend ?? service, 0, { ...more, checksum: 'full' });
  const sent = (): Segment => segment(client, service, 0, { ...more, checksum: 'full' });
  const turned = (it: Segment): Segment => ({
    ...it,
    source: it.destination,
    destination: it.source,
    sourcePort: it.destinationPort,
    destinationPort: it.sourcePort,
  });
  scene.add(
    fromClient(stream, connection, 0),
    tuned('from-pod', sent, forward),
    tuned(
      'to-pod',
      () => turned(forward()),
      () => turned(sent()),
    ),
  );
}

/** A stream of datagrams without an answer, at the time or a little before it is taken for established. */
function oneWay(scene: Scene): void {
  const { stream } = scene;
  if (stream.chance(0.5)) return exchange(scene);
  const connection = asking(scene);
  const send = (pauseTicks: number): void => {
    scene.pause(pauseTicks);
    scene.add(fromClient(stream, connection, 0));
  };
  send(0);
  send(stream.pick([0, 1, SECOND_TICKS]));
  const middle = stream.pick([0, 1, 1, 2, 3]);
  const sent = Array.from({ length: middle }, () =>
    stream.pick([1, SECOND_TICKS, SECOND_TICKS + 1, KEEP_TICKS, stream.below(ONE_WAY_TICKS / 4)]),
  );
  for (const ticks of sent) send(ticks);
  const left = ONE_WAY_TICKS - sent.reduce((sum, ticks) => sum + ticks, 0);
  send(Math.max(0, left + stream.pick([-1, 0, 0, 1, -SECOND_TICKS])));
  for (let i = 0; i < stream.below(3); i++) send(stream.pick([0, 1, SECOND_TICKS]));
  if (stream.chance(0.4)) scene.add(fromBackend(stream, connection, 0));
  if (stream.chance(0.3)) scene.add(fromClient(stream, connection, 0));
}

/** One side of an established flow is silent for longer than the flow would live; then it speaks. */
function silence(scene: Scene): void {
  const { stream } = scene;
  if (stream.chance(0.5)) return exchange(scene);
  const connection = asking(scene);
  scene.add(...handshakeOf(scene, connection));
  const [speaker, silent] = stream.chance(0.5) ? [fromClient, fromBackend] : [fromBackend, fromClient];
  const lifetime = Math.max(...scene.lifetimes);
  for (let i = 0; i < 2 + stream.below(4); i++) {
    scene.pause(stream.pick([0, 1, KEEP_TICKS - 1, KEEP_TICKS, stream.below(lifetime), Math.floor(lifetime / 2)]));
    scene.add(speaker(stream, connection, 0));
  }
  scene.add(silent(stream, connection, 0), speaker(stream, connection, 0));
}

export const datagramKinds: readonly NamedKind[] = [
  ['exchange', exchange],
  ['zero', zero],
  ['oneWay', oneWay],
  ['silence', silence],
];
