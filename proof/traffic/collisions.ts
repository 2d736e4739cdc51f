// SPDX-License-Identifier: Apache-2.0
/** Kinds of traffic whose answers could belong to two flows, or to the pod that asked. */
import { sameFamily } from './address.ts';
import { again, handshakeOf, open } from './conversations.ts';
import { ACK, RST, segment, SYN, TCP, UDP } from './frame.ts';
import type { Asked } from './hosts.ts';
import type { NamedKind, Scene } from './scene.ts';
import { fromBackend, fromClient, type Connection, type Socket } from './segments.ts';

/** Ports of Services that may choose this backend, few enough endpoints to make it likely. */
function askedFor({ world }: Scene, backend: Socket, protocol: number): readonly Asked[] {
  return world.services.flatMap(({ addresses, ports, endpoints }) => {
    const address = addresses.find((candidate) => sameFamily(candidate, backend.address));
    if (address === undefined || endpoints.length >= 6) return [];
    if (!endpoints.some((endpoint) => endpoint.address === backend.address)) return [];
    return ports
      .filter((it) => it.targetPort === backend.port && (it.protocol === 'UDP' ? UDP : TCP) === protocol)
      .map(({ port }) => ({ address, port, protocol }));
  });
}

/** A conversation with a backend itself. */
function straight(scene: Scene, client: Socket, backend: Socket, protocol: number): Connection {
  const connection = scene.connect(client, { ...backend, protocol });
  connection.backend = backend;
  return connection;
}

/** A client talks to a backend without the Service; afterwards or before, through it. */
function direct(scene: Scene): void {
  const { stream } = scene;
  const known = scene.someConnection();
  const backend = known?.backend;
  if (known === undefined || backend === undefined) return open(scene);
  const { client, protocol } = known;
  // What is over gives its answers' tuple away, and then goes on as if it were not.
  const isOver = stream.chance(0.3);
  if (isOver) scene.add(fromBackend(stream, known, RST));
  if (stream.chance(0.2)) {
    const sequence = stream.word();
    return scene.add({ hook: 'from-pod', segment: segment(client, backend, SYN, { sequence, protocol }) });
  }
  const one = straight(scene, stream.chance(0.5) ? client : scene.client(backend.address), backend, protocol);
  const planned = handshakeOf(scene, one);
  scene.add(...planned.slice(0, 1 + stream.below(3)));
  if (stream.chance(0.3)) scene.add(fromBackend(stream, one, stream.pick([ACK, RST, RST | ACK, 17])));
  if (stream.chance(0.3)) scene.add(again(scene, one));
  if (isOver) scene.add(fromClient(stream, known, ACK));
  const asked = askedFor(scene, backend, protocol);
  if (asked.length === 0 || stream.chance(0.3)) return;
  const other = scene.connect(one.client, stream.pick(asked));
  scene.add(...handshakeOf(scene, other).slice(0, 1 + stream.below(3)));
  // And back to the first, which may have been moved, or be over.
  if (stream.chance(0.5)) scene.add(again(scene, one));
}

/** Conversations of one source port with every Service that has the same backend: all but one are moved aside. */
function collide(scene: Scene): void {
  const { stream } = scene;
  const known = scene.someConnection();
  const backend = known?.backend;
  if (known === undefined || backend === undefined) return open(scene);
  const { client, protocol } = known;
  const asked = askedFor(scene, backend, protocol);
  if (asked.length === 0) return open(scene);
  // One that is over before it was completed, and is not: its tuple is another's meanwhile.
  if (stream.chance(0.3)) scene.add(again(scene, known), fromBackend(stream, known, RST | ACK));
  const isEach = stream.chance(0.5);
  const some = Array.from({ length: 1 + stream.below(stream.pick([2, 4, 12])) }, () => stream.pick(asked));
  for (const one of isEach ? asked : some) {
    const connection = scene.connect(client, one);
    scene.add(...handshakeOf(scene, connection).slice(0, 1 + stream.below(3)));
  }
  if (stream.chance(0.5)) scene.add(fromClient(stream, known, ACK));
  if (stream.chance(0.3)) scene.add(fromBackend(stream, known, ACK));
}

/** A pod that asks a Service whose backend it is. */
function hairpin(scene: Scene): void {
  const { stream, world } = scene;
  const own = world.services.flatMap(({ addresses, ports, endpoints }) =>
    endpoints.length > 3
      ? []
      : endpoints.flatMap(({ address: pod }) =>
          addresses
            .filter((address) => sameFamily(address, pod))
            .flatMap((address) =>
              ports.map(({ port, protocol }) => ({
                pod,
                asked: { address, port, protocol: protocol === 'UDP' ? UDP : TCP },
              })),
            ),
        ),
  );
  if (own.length === 0) return open(scene);
  const { pod, asked } = stream.pick(own);
  const connection = scene.connect({ address: pod, port: 40000 + stream.below(400) }, asked);
  scene.add(...handshakeOf(scene, connection));
  for (let i = 0; i < stream.below(4); i++)
    scene.add((stream.chance(0.5) ? fromClient : fromBackend)(stream, connection, stream.pick([ACK, ACK, 17, RST])));
}

export const collisionKinds: readonly NamedKind[] = [
  ['direct', direct],
  ['collide', collide],
  ['hairpin', hairpin],
];
