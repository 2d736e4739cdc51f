// SPDX-License-Identifier: Apache-2.0
/**
 * Traffic that knows what it is doing: connections that open, live and end in every order, what misses them by a
 * little, and what no honest host would send. It learns from the answers which backend a connection got.
 */
import { CHECKSUM_MODE_COMPLETE, CHECKSUM_MODE_PARTIAL, VERDICT_FORWARD } from '../../core/layout.gen.ts';
import { quietOutside, type Outcome, type Outside, type PacketHook } from '../../core/twin.ts';
import { readHost } from './address.ts';
import { collisionKinds } from './collisions.ts';
import { conversationKinds, open, survey } from './conversations.ts';
import { datagramKinds } from './datagrams.ts';
import { layersOf } from '../describe.ts';
import { distort, garbage } from './distort.ts';
import { errorKinds } from './errors.ts';
import { frameOf, type Checksum, type Segment } from './frame.ts';
import { pieceKinds } from './pieces.ts';
import { Scene, type NamedKind } from './scene.ts';
import { NOTHING, type Planned } from './segments.ts';
import type { Stream } from '../../core/random.ts';
import type { World } from '../world.ts';

/** One packet and everything that it is posed. */
export type PacketStep = { readonly hook: PacketHook; readonly frame: Uint8Array; readonly outside: Outside };

/** Relative weights of the kinds of packets; each seed draws its own and switches some off. */
const KINDS: readonly NamedKind[] = [
  ...conversationKinds,
  ...datagramKinds,
  ...collisionKinds,
  ...errorKinds,
  ...pieceKinds,
  ['garbage', open],
];
const BARE = { payload: NOTHING, tcpOptions: NOTHING, padding: NOTHING } as const;
const LATENCY_TICKS_MAX = 3;
/** What ended longest ago is on the other side of the clock's sign bit. */
const AGES_TICKS = 2 ** 31;

export type TrafficOptions = {
  readonly stream: Stream;
  readonly world: World;
  /** Where the clock begins, in ticks. */
  readonly now: number;
  /** Ticks after which something of a flow ends: the clock sometimes jumps just before, to and behind them. */
  readonly lifetimes: readonly number[];
  /**
   * All packets are posed as CHECKSUM_COMPLETE, because they are. They are bare headers then: a trimmed one loses that
   * mode, as it should, but the kernel's check of the sum doesn't look at the mode.
   */
  readonly isComplete: boolean;
};

function bare(it: Segment): Segment {
  return { ...it, ...BARE, checksum: it.checksum === 'partial' ? 'full' : it.checksum };
}

/** Packets of one episode; `learn` must be told what became of each before the next is asked for. */
export class Traffic {
  private readonly stream: Stream;
  private readonly isComplete: boolean;
  private readonly scene: Scene;
  private readonly weights: readonly (readonly [...NamedKind, weight: number])[];
  private readonly total: number;
  private planned: Planned | undefined;
  private now: number;

  constructor({ stream, world, now, lifetimes, isComplete }: TrafficOptions) {
    this.stream = stream;
    this.isComplete = isComplete;
    this.now = now;
    this.scene = new Scene({ stream, world, lifetimes, isComplete });
    this.weights = KINDS.map(([name, kind]) => [name, kind, stream.chance(0.2) ? 0 : 1 + stream.below(8)] as const);
    this.total = this.weights.reduce((sum, [, , weight]) => sum + weight, 0);
  }

  get world(): World {
    return this.scene.world;
  }

  /** The cluster becomes this one. Often those who talk go on at once: the change may concern their backends. */
  change(world: World): void {
    this.scene.world = world;
    if (this.stream.chance(0.5)) survey(this.scene);
  }

  /** The next packet. */
  next(): PacketStep {
    this.tick();
    const [name, kind] = this.draw();
    if (name === 'garbage' && this.scene.isIdle && !this.isComplete) {
      this.planned = undefined;
      const hook = this.stream.pick(['from-pod', 'to-pod'] as const);
      return { hook, frame: garbage(this.stream), outside: this.outside('full') };
    }
    if (this.scene.isIdle) kind(this.scene);
    if (this.scene.isIdle) open(this.scene);
    const waiting = this.scene.shift();
    if (waiting === undefined) throw new Error('assertion failed: every kind of traffic plans a packet');
    const { planned, pauseTicks } = waiting;
    this.planned = planned;
    this.now = (this.now + pauseTicks) >>> 0;
    const { segment } = planned;
    const frame = planned.frame?.() ?? frameOf(this.isComplete ? bare(segment) : segment);
    const isBent = !this.isComplete && (name === 'distorted' || this.stream.chance(0.01));
    const sent = isBent ? distort(this.stream, frame) : frame;
    const { hook } = planned;
    // The answers of the wrong side: never translated, and must say so alike.
    const turned = hook === 'from-pod' ? 'to-pod' : 'from-pod';
    return {
      hook: this.stream.chance(0.01) ? turned : hook,
      frame: sent,
      outside: this.outside(segment.checksum),
    };
  }

  /** Reads from the answer to the last packet where its connection goes, and how its backend sees the client. */
  learn({ verdict, bytes, length }: Outcome): void {
    const { planned } = this;
    const connection = planned?.connection;
    if (planned === undefined || connection === undefined) return;
    connection.last = planned;
    if (
      verdict !== VERDICT_FORWARD ||
      planned.hook !== 'from-pod' ||
      planned.segment.source !== connection.client.address
    )
      return;
    const layers = layersOf(bytes.subarray(0, length));
    if (layers === undefined || layers.isLater || layers.protocol !== connection.protocol) return;
    const { family, network, transport } = layers;
    const half = (at: number): number => (bytes[at] ?? 0) * 256 + (bytes[at + 1] ?? 0);
    const [source, destination] = family === 6 ? [network + 8, network + 24] : [network + 12, network + 16];
    connection.seenAs = { address: readHost(bytes, source, family), port: half(transport) };
    connection.backend = { address: readHost(bytes, destination, family), port: half(transport + 2) };
  }

  private tick(): void {
    const { stream } = this;
    if (stream.chance(0.3)) this.now += stream.below(LATENCY_TICKS_MAX + 1);
    if (stream.chance(0.002)) this.now += Math.max(0, stream.pick(this.scene.lifetimes) - 2 + stream.below(5));
    if (stream.chance(0.0005)) this.now += 1 + stream.below(stream.chance(0.2) ? AGES_TICKS : 2000);
    // Another CPU's clock may be a tick behind.
    if (stream.chance(0.005)) this.now -= 1;
    this.now >>>= 0;
  }

  private outside(checksum: Checksum): Outside {
    const { stream } = this;
    const outside = quietOutside(this.now);
    outside.checksumMode = checksum === 'partial' ? CHECKSUM_MODE_PARTIAL : stream.pick([0, 0, 0, 1, 2]);
    if (stream.chance(0.02)) outside.checksumMode = stream.below(4);
    if (this.isComplete) outside.checksumMode = CHECKSUM_MODE_COMPLETE;
    if (stream.chance(0.02)) outside.gsoSize = 1 + stream.below(1460);
    if (stream.chance(0.004)) outside.pullResult = -12;
    if (stream.chance(0.01)) outside.roomResult = -22;
    if (stream.chance(0.01)) outside.tailResult = -12;
    return outside;
  }

  private draw(): NamedKind {
    let left = this.stream.below(this.total);
    for (const [name, kind, weight] of this.weights) {
      left -= weight;
      if (left < 0) return [name, kind];
    }
    return ['open', open];
  }
}
