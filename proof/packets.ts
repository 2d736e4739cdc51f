// SPDX-License-Identifier: Apache-2.0
/**
 * Traffic that knows what it is doing: connections that open, live and end in every order, what misses them by a
 * little, and what no honest host would send. It learns from the answers which backend a connection got.
 */
import { CHECKSUM_MODE_COMPLETE, VERDICT_FORWARD } from '../core/layout.gen.ts';
import { quietOutside, type Outcome, type Outside, type PacketHook } from '../core/twin.ts';
import { distort, garbage } from './distort.ts';
import { readHost, sameFamily } from './address.ts';
import { ACK, FIN, frameOf, PSH, RST, segment, SYN } from './frame.ts';
import { drawClient, drawFrontend, drawMartian } from './hosts.ts';
import {
  fromBackend,
  fromClient,
  nearAck,
  nearMiss,
  NOTHING,
  type Connection,
  type Planned,
  type Socket,
} from './segments.ts';
import type { Stream } from '../core/random.ts';
import type { World } from './world.ts';

/** One packet and everything that it is posed. */
export type PacketStep = { readonly hook: PacketHook; readonly frame: Uint8Array; readonly outside: Outside };

/** Relative weights of the kinds of packets; each seed draws its own and switches some off. */
const KINDS = [
  'open',
  'handshake',
  'data',
  'reply',
  'synAck',
  'finish',
  'reset',
  'halfOpen',
  'retransmit',
  'nearMiss',
  'direct',
  'flood',
  'keepAlive',
  'oddFlags',
  'martian',
  'distorted',
  'garbage',
] as const;
type Kind = (typeof KINDS)[number];
const BARE = { payload: NOTHING, tcpOptions: NOTHING, padding: NOTHING, extensions: [], checksum: 'full' } as const;
/** What opens nothing and continues nothing, or says two things at once. */
const ODD_FLAGS = [0, SYN | FIN, SYN | RST, FIN, 0xff, 41, SYN | FIN | ACK, PSH] as const;
const CONNECTIONS_MAX = 200;
const LATENCY_TICKS_MAX = 3;
const KEPT_ALIVE = 24;
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

/** Packets of one episode; `learn` must be told what became of each before the next is asked for. */
export class Traffic {
  private readonly stream: Stream;
  private readonly lifetimes: readonly number[];
  private readonly isComplete: boolean;
  private readonly weights: readonly (readonly [Kind, number])[];
  private readonly total: number;
  private readonly connections: Connection[] = [];
  /** A number: ticks that pass. */
  private readonly queue: (Planned | number)[] = [];
  private planned: Planned | undefined;
  private now: number;
  /** Changes with the cluster. */
  world: World;

  constructor({ stream, world, now, lifetimes, isComplete }: TrafficOptions) {
    this.isComplete = isComplete;
    this.stream = stream;
    this.world = world;
    this.now = now;
    this.lifetimes = lifetimes;
    this.weights = KINDS.map((kind) => [kind, stream.chance(0.2) ? 0 : 1 + stream.below(8)] as const);
    this.total = this.weights.reduce((sum, [, weight]) => sum + weight, 0);
  }

  /** The next packet. */
  next(): PacketStep {
    this.tick();
    const kind = this.draw();
    if (kind === 'garbage' && this.queue.length === 0 && !this.isComplete) {
      this.planned = undefined;
      const hook = this.stream.pick(['from-pod', 'to-pod'] as const);
      return { hook, frame: garbage(this.stream), outside: this.outside('full') };
    }
    if (this.queue.length === 0) this.plan(kind);
    const planned = this.shift();
    this.planned = planned;
    const frame = frameOf(this.isComplete ? { ...planned.segment, ...BARE } : planned.segment);
    const isBent = !this.isComplete && (kind === 'distorted' || this.stream.chance(0.01));
    const bent = isBent ? distort(this.stream, frame) : frame;
    const outside = this.outside(planned.segment.checksum);
    // The answers of the wrong side: never translated, and must say so alike.
    const turned = planned.hook === 'from-pod' ? 'to-pod' : 'from-pod';
    return { hook: this.stream.chance(0.01) ? turned : planned.hook, frame: bent, outside };
  }

  /** Reads from the answer to the last packet where its connection goes. */
  learn(outcome: Outcome): void {
    const { planned } = this;
    if (planned?.connection === undefined) return;
    planned.connection.last = planned;
    if (outcome.verdict !== VERDICT_FORWARD || planned.hook !== 'from-pod') return;
    const { bytes } = outcome;
    const isSix = bytes[12] === 0x86;
    const at = isSix ? 56 : 14 + ((bytes[14] ?? 0) & 15) * 4 + 2;
    const address = isSix ? readHost(bytes, 38, 6) : readHost(bytes, 30, 4);
    planned.connection.backend = { address, port: (bytes[at] ?? 0) * 256 + (bytes[at + 1] ?? 0) };
  }

  private shift(): Planned {
    for (let first = this.queue.shift(); first !== undefined; first = this.queue.shift()) {
      if (typeof first !== 'number') return first;
      this.now = (this.now + first) >>> 0;
    }
    return this.open();
  }

  private tick(): void {
    const { stream } = this;
    if (stream.chance(0.3)) this.now += stream.below(LATENCY_TICKS_MAX + 1);
    if (stream.chance(0.002)) this.now += Math.max(0, stream.pick(this.lifetimes) - 2 + stream.below(5));
    if (stream.chance(0.0005)) this.now += 1 + stream.below(stream.chance(0.2) ? AGES_TICKS : 2000);
    // Another CPU's clock may be a tick behind.
    if (stream.chance(0.005)) this.now -= 1;
    this.now >>>= 0;
  }

  private outside(checksum: 'full' | 'partial'): Outside {
    const { stream } = this;
    const outside = quietOutside(this.now);
    outside.checksumMode = checksum === 'partial' ? 3 : stream.pick([0, 0, 0, 1, 2]);
    if (stream.chance(0.02)) outside.checksumMode = stream.below(4);
    if (this.isComplete) outside.checksumMode = CHECKSUM_MODE_COMPLETE;
    if (stream.chance(0.02)) outside.gsoSize = 1 + stream.below(1460);
    if (stream.chance(0.004)) outside.pullResult = -12;
    if (stream.chance(0.01)) outside.roomResult = -22;
    if (stream.chance(0.01)) outside.tailResult = -12;
    return outside;
  }

  private draw(): Kind {
    let left = this.stream.below(this.total);
    for (const [kind, weight] of this.weights) {
      left -= weight;
      if (left < 0) return kind;
    }
    return 'open';
  }

  private plan(kind: Kind): void {
    const connection = this.someConnection();
    switch (kind) {
      case 'open':
      case 'distorted':
      case 'garbage':
        return this.add(this.stream.chance(0.5) || connection === undefined ? this.open() : this.data(connection));
      case 'handshake':
        return this.handshake();
      case 'halfOpen':
        return this.halfOpen();
      case 'flood':
        return this.flood();
      case 'keepAlive':
        return this.keepAlive();
      case 'direct':
        return this.direct();
      case 'oddFlags':
        return this.add(this.odd());
      case 'martian':
        return this.add(this.martian());
      default:
        return connection === undefined ? this.add(this.open()) : this.proceed(kind, connection);
    }
  }

  private proceed(kind: Kind, connection: Connection): void {
    switch (kind) {
      case 'data':
        return this.add(this.data(connection));
      case 'reply':
        return this.add(fromBackend(this.stream, connection, this.stream.pick([ACK, ACK | PSH])));
      case 'synAck':
        return this.add(fromBackend(this.stream, connection, SYN | ACK, { sequence: connection.serverSequence }));
      case 'finish':
        return this.finish(connection);
      case 'reset':
        return this.reset(connection);
      case 'retransmit':
        return this.add(
          connection.last !== undefined && this.stream.chance(0.6) ? connection.last : this.again(connection),
        );
      default:
        return this.add(this.nearMiss(connection));
    }
  }

  private add(planned: Planned): void {
    this.queue.push(planned);
  }

  private someConnection(): Connection | undefined {
    const { connections, stream } = this;
    if (connections.length === 0) return undefined;
    // Mostly the latest ones: hot flows, and now and then one long forgotten.
    const back = stream.chance(0.7) ? stream.below(Math.min(12, connections.length)) : stream.below(connections.length);
    return connections[connections.length - 1 - back];
  }

  /** Somebody and the Service that they ask. */
  private meeting(): readonly [client: Socket, service: Socket] {
    const service = drawFrontend(this.stream, this.world);
    return [drawClient(this.stream, service.address), service];
  }

  private connect(client: Socket, service: Socket): Connection {
    const { stream, connections } = this;
    const connection: Connection = {
      client,
      service,
      backend: undefined,
      clientSequence: stream.word(),
      serverSequence: stream.chance(0.1) ? 0xffffffff - stream.below(2) : stream.word(),
      last: undefined,
    };
    connections.push(connection);
    if (connections.length > CONNECTIONS_MAX) connections.shift();
    return connection;
  }

  private open(): Planned {
    const { stream } = this;
    const connection = this.connect(...this.meeting());
    // 0xc0: a SYN that asks for ECN. Payload: fast open.
    const flags = stream.chance(0.1) ? SYN | 0xc0 : SYN;
    const payload = stream.chance(0.05) ? new Uint8Array(8).fill(0x61) : NOTHING;
    return fromClient(this.stream, connection, flags, {
      sequence: connection.clientSequence,
      acknowledgement: 0,
      payload,
    });
  }

  private handshake(): void {
    const connection = this.connect(...this.meeting());
    this.add(fromClient(this.stream, connection, SYN, { acknowledgement: 0 }));
    this.add(fromBackend(this.stream, connection, SYN | ACK));
    this.add(fromClient(this.stream, connection, ACK));
  }

  /** A connection whose third packet is not quite the one that completes it. */
  private halfOpen(): void {
    const { stream } = this;
    const connection = this.connect(...this.meeting());
    this.add(fromClient(this.stream, connection, SYN, { acknowledgement: 0 }));
    if (stream.chance(0.9)) this.add(fromBackend(this.stream, connection, SYN | ACK));
    if (stream.chance(0.2)) this.add(fromClient(this.stream, connection, SYN, { acknowledgement: 0 }));
    const flags = stream.pick([ACK, ACK, ACK, RST | ACK, SYN | ACK, FIN | ACK, RST]);
    const acknowledgement = flags === ACK ? nearAck(stream, connection) : connection.serverSequence + 1;
    this.add(fromClient(this.stream, connection, flags, { acknowledgement: acknowledgement >>> 0 }));
  }

  /** Many that open at once: tables fill up, half-open ones are recycled, full buckets refuse. */
  private flood(): void {
    const { stream } = this;
    const service = drawFrontend(stream, this.world);
    const completes = stream.chance(0.6);
    const port = 1024 + stream.below(60000);
    for (let i = 0; i < 8 + stream.below(56); i++) {
      const connection = this.connect(
        { address: drawClient(stream, service.address).address, port: port + i },
        service,
      );
      this.add(fromClient(this.stream, connection, SYN, { acknowledgement: 0 }));
      if (!completes) continue;
      this.add(fromBackend(this.stream, connection, SYN | ACK));
      this.add(fromClient(this.stream, connection, ACK));
    }
  }

  /** Connections that live longer than they were given at first: when they end stands in the table as it was then. */
  private keepAlive(): void {
    const { stream, connections, lifetimes } = this;
    if (stream.chance(0.8)) return this.add(this.open());
    this.flood();
    const kept = connections.slice(-KEPT_ALIVE);
    for (let i = 0; i < 2; i++) {
      this.queue.push(Math.floor(Math.max(...lifetimes) * 0.6));
      for (const connection of kept) this.add(this.data(connection));
    }
    this.flood();
  }

  /**
   * The client talks to a backend without the Service, or through another Service that has the same backend: the same
   * answers would belong to both.
   */
  private direct(): void {
    const { stream } = this;
    const known = this.someConnection();
    const backend = known?.backend;
    if (known === undefined || backend === undefined) return this.add(this.open());
    if (stream.chance(0.2)) {
      return this.add({ hook: 'from-pod', segment: segment(known.client, backend, SYN, { sequence: stream.word() }) });
    }
    const others = this.world.services.flatMap(({ addresses, ports, endpoints }) => {
      const address = addresses.find((candidate) => sameFamily(candidate, backend.address));
      return address !== undefined &&
        endpoints.length < 6 &&
        endpoints.some((endpoint) => endpoint.address === backend.address)
        ? ports.filter(({ targetPort }) => targetPort === backend.port).map(({ port }) => ({ address, port }))
        : [];
    });
    if (others.length === 0) return this.add(this.open());
    const service = stream.pick(others);
    // What is over gives its answers' tuple to the newcomer, and then goes on as if it were not.
    const isOver = stream.chance(0.3);
    if (isOver) this.add(fromBackend(stream, known, RST));
    this.add(fromClient(stream, this.connect(known.client, service), SYN, { acknowledgement: 0 }));
    if (isOver) this.add(this.data(known));
  }

  private data(connection: Connection): Planned {
    return fromClient(this.stream, connection, this.stream.pick([ACK, ACK | PSH]));
  }

  /** A SYN where there may be a flow already: its backend may be gone meanwhile, or the flow closed. */
  private again(connection: Connection): Planned {
    return fromClient(this.stream, connection, SYN, { acknowledgement: 0 });
  }

  private finish(connection: Connection): void {
    const { stream } = this;
    const both: Planned[] = [
      fromClient(this.stream, connection, FIN | ACK),
      fromBackend(this.stream, connection, FIN | ACK),
    ];
    if (stream.chance(0.5)) both.reverse();
    const last = stream.chance(0.5) ? [this.data(connection)] : [];
    const again = stream.chance(0.3) ? [this.again(connection)] : [];
    for (const planned of stream.chance(0.5) ? [...both, ...last, ...again] : both.slice(0, 1)) this.add(planned);
  }

  private reset(connection: Connection): void {
    const { stream } = this;
    const flags = stream.pick([RST, RST | ACK]);
    this.add(
      stream.chance(0.5) ? fromClient(this.stream, connection, flags) : fromBackend(this.stream, connection, flags),
    );
    // A reset that was not meant: data go on.
    if (stream.chance(0.4))
      this.add(stream.chance(0.5) ? this.data(connection) : fromBackend(this.stream, connection, ACK));
  }

  private nearMiss(connection: Connection): Planned {
    const { stream } = this;
    const near = stream.chance(0.7) ? this.data(connection) : fromBackend(this.stream, connection, ACK);
    return { hook: near.hook, segment: { ...near.segment, ...nearMiss(stream, near.segment) } };
  }

  private odd(): Planned {
    const connection = this.someConnection();
    const flags = this.stream.pick([...ODD_FLAGS, this.stream.below(256)]);
    if (connection === undefined || this.stream.chance(0.5)) {
      return { hook: 'from-pod', segment: segment(...this.meeting(), flags) };
    }
    return this.stream.chance(0.7)
      ? fromClient(this.stream, connection, flags)
      : fromBackend(this.stream, connection, flags);
  }

  private martian(): Planned {
    const [client, service] = this.meeting();
    const [address, to] = drawMartian(this.stream, service);
    return { hook: 'from-pod', segment: segment({ address, port: client.port }, to, SYN) };
  }
}
