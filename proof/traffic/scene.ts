// SPDX-License-Identifier: Apache-2.0
/** What the kinds of traffic share: the cluster, the connections so far, and the packets that wait to be sent. */
import type { HostAddress } from './address.ts';
import { drawClient, drawFrontend, type Asked } from './hosts.ts';
import type { Connection, Planned, Socket } from './segments.ts';
import type { Stream } from '../../core/random.ts';
import type { World } from '../world.ts';

const CONNECTIONS_MAX = 200;

/** One kind of traffic: plans packets, now and later. */
export type Kind = (scene: Scene) => void;
export type NamedKind = readonly [name: string, kind: Kind];

/** A packet, and how long nothing happens before it. */
export type Waiting = { readonly planned: Planned; readonly pauseTicks: number };

type SceneOptions = {
  readonly stream: Stream;
  readonly world: World;
  readonly lifetimes: readonly number[];
  readonly isComplete: boolean;
};

export class Scene {
  readonly stream: Stream;
  /** Ticks after which something of a flow ends. */
  readonly lifetimes: readonly number[];
  /** Nothing may be trimmed: see TrafficOptions. */
  readonly isComplete: boolean;
  /** Changes with the cluster. */
  world: World;
  private readonly connections: Connection[] = [];
  private readonly queue: Waiting[] = [];
  private pauseTicks = 0;

  constructor({ stream, world, lifetimes, isComplete }: SceneOptions) {
    this.stream = stream;
    this.world = world;
    this.lifetimes = lifetimes;
    this.isComplete = isComplete;
  }

  get isIdle(): boolean {
    return this.queue.length === 0;
  }

  add(...planned: readonly Planned[]): void {
    for (const one of planned) {
      this.queue.push({ planned: one, pauseTicks: this.pauseTicks });
      this.pauseTicks = 0;
    }
  }

  /** Before the packet that is added next. */
  pause(ticks: number): void {
    this.pauseTicks += ticks;
  }

  shift(): Waiting | undefined {
    return this.queue.shift();
  }

  someConnection(): Connection | undefined {
    const { connections, stream } = this;
    if (connections.length === 0) return undefined;
    // Mostly the latest ones: hot flows, and now and then one long forgotten.
    const back = stream.chance(0.7) ? stream.below(Math.min(12, connections.length)) : stream.below(connections.length);
    return connections[connections.length - 1 - back];
  }

  latest(count: number): readonly Connection[] {
    return this.connections.slice(-count);
  }

  /** Somebody and the Service that they ask. */
  meeting(): readonly [client: Socket, asked: Asked] {
    const asked = drawFrontend(this.stream, this.world);
    return [this.client(asked.address), asked];
  }

  client(asked: HostAddress): Socket {
    return drawClient(this.stream, asked);
  }

  connect(client: Socket, { address, port, protocol }: Asked): Connection {
    const { stream, connections } = this;
    const connection: Connection = {
      client,
      service: { address, port },
      protocol,
      backend: undefined,
      seenAs: undefined,
      clientSequence: stream.word(),
      serverSequence: stream.chance(0.1) ? 0xffffffff - stream.below(2) : stream.word(),
      last: undefined,
    };
    connections.push(connection);
    if (connections.length > CONNECTIONS_MAX) connections.shift();
    return connection;
  }
}
