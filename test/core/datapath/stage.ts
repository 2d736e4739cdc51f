// SPDX-License-Identifier: Apache-2.0
/** Where hand-written packets are played: a small cluster, a clock, and one twin or both, whose answers must be equal. */
import { expect } from 'vitest';
import { configOf, flowLifetimes } from '../../../core/datapath/datapath.ts';
import { address } from '../../../core/address.ts';
import { markNames, reasonNames, SERVICE_RANGES, verdictNames } from '../../../core/layout.gen.ts';
import type { ClusterEvent, ClusterObject } from '../../../core/objects.ts';
import { failureText } from '../../../core/result.ts';
import { emptyOutcome, quietOutside, type Outside, type PacketHook } from '../../../core/twin.ts';
import { addressOf, ipv6, readHost, type HostAddress } from '../../../proof/traffic/address.ts';
import { frameOf, refusalOf, segment, type Segment } from '../../../proof/traffic/frame.ts';
import { frameOf as wireFrame, type Cut, type Wire } from './bytes.ts';
import type { Settings } from '../../../proof/settings.ts';
import type { Side } from '../../../proof/side.ts';
import { worldEvents, type World, type WorldEndpoint, type WorldService } from '../../../proof/world.ts';

/** Hosts are written as IPv4 ones. On a stage for IPv6 each stands for the IPv6 address that `six` gives it. */
export type Host = { readonly address: number; readonly port: number };

/** Where a packet came from and where it goes: what is not an address of `six` is text. */
export type Place = { readonly address: HostAddress; readonly port: number };

/** No word of it is the same for a client, a Service and a pod; two pods differ in three words, and clients too. */
export function six(word: number): string {
  return ipv6(0xfd000000 + (word >>> 16), word, word >>> 4, word);
}

export type Family = 'IPv4' | 'IPv6';

/** Ticks after which flows end. */
export const lifetimes = {
  pending: 60,
  established: 800,
  halfClosed: 300,
  closing: 30,
  datagramPending: 40_000,
  datagramEstablished: 50_000,
};

const TICK_MS = 1.048576;
const ONES = 0xffffffff;

/** From where a pod hears itself. */
export const NODE = 0xc0000205;

const NO_RANGE = { base: address(0, 0, 0, 0), mask: address(0, 0, 0, 0) };
/** 10.99.0.0/16, and those addresses on a stage for IPv6. */
const ranges = new Map([
  [0, { base: addressOf(0x0a630000), mask: address(ONES, ONES, ONES, 0xffff0000) }],
  [SERVICE_RANGES, { base: address(0xfd000a63, 0, 0, 0), mask: address(ONES, 0, 0, 0) }],
]);

/** One bucket of sixteen entries, room for eight connections, so that a test can fill it. */
export const settings: Settings = {
  config: configOf({
    testMode: 1,
    flowBucketMask: 0,
    classifierMask: 1023,
    flowLifetimes: flowLifetimes({
      pendingMs: lifetimes.pending * TICK_MS,
      establishedMs: lifetimes.established * TICK_MS,
      halfClosedMs: lifetimes.halfClosed * TICK_MS,
      closingMs: lifetimes.closing * TICK_MS,
      datagramPendingMs: lifetimes.datagramPending * TICK_MS,
      datagramEstablishedMs: lifetimes.datagramEstablished * TICK_MS,
    }),
    flowSecret: [11, 22, 33, 44, 55, 66, 77, 88, 99, 110, 121, 132],
    selectionKey: [0x01234567, 0x89abcdef],
    hairpinSource: [addressOf(NODE), addressOf(six(NODE))],
    serviceRanges: Array.from({ length: 2 * SERVICE_RANGES }, (_, at) => ranges.get(at) ?? NO_RANGE),
  }),
  sizes: {
    classifierWords: 1024,
    frontends: 256,
    services: 256,
    sourceRanges: 256,
    nodeAddresses: 16,
    slotPairs: 1024,
    backends: 8192,
    flowBuckets: 1,
    peers: 1024,
    affinity: 1024,
    netns: 16,
  },
  lifetimes: Object.values(lifetimes),
  isComplete: false,
};

export const client: Host = { address: 0x0a020009, port: 40000 };
/** One backend. */
export const web: Host = { address: 0x0a600001, port: 80 };
export const webBackend: Host = { address: 0x0a010005, port: 8080 };
/** Eight backends, the first of them also web's. */
export const many: Host = { address: 0x0a600002, port: 80 };
/** No endpoints at all. */
export const empty: Host = { address: 0x0a600003, port: 80 };
/** internalTrafficPolicy Local, and the only endpoint is on another node. */
export const silent: Host = { address: 0x0a600004, port: 80 };
/** Another Service with web's backend. */
export const mirror: Host = { address: 0x0a600005, port: 80 };
/** A third one. */
export const echo: Host = { address: 0x0a600006, port: 80 };
/** TCP only. */
export const streams: Host = { address: 0x0a600007, port: 80 };
/** In a range that belongs to Services; its neighbours are nobody's. */
export const ranged: Host = { address: 0x0a630001, port: 80 };

export function pod(last: number, more: Partial<WorldEndpoint> = {}): WorldEndpoint {
  return { address: 0x0a010000 + last, state: 'ready', isLocal: true, pod: `pod-${last}`, ...more };
}

const DATAGRAMS = 'datagrams';

/** TCP and UDP at one port number. */
export function service(
  name: string,
  { address: at, port }: Host,
  endpoints: readonly WorldEndpoint[],
  isLocal = false,
): WorldService {
  const ports = ['http', DATAGRAMS].map((portName) => ({ name: portName, port, targetPort: 8080 }));
  return { name, addresses: [at], isLocal, ports, endpoints };
}

/** The events of a world in which ports called `datagrams` are UDP. */
function eventsOf(world: World): readonly ClusterEvent[] {
  const told = <T extends { readonly name?: string | null }>(port: T): T =>
    port.name === DATAGRAMS ? { ...port, protocol: 'UDP' } : port;
  const object = (it: ClusterObject): ClusterObject => {
    if (it.kind === 'Service') return { ...it, spec: { ...it.spec, ports: (it.spec?.ports ?? []).map(told) } };
    return it.kind === 'EndpointSlice' ? { ...it, ports: (it.ports ?? []).map(told) } : it;
  };
  return worldEvents(world).map((event) =>
    event.type === 'LISTED' ? { ...event, items: event.items.map(object) } : event,
  );
}

export const cluster: World = {
  services: [
    service('web', web, [pod(5)]),
    service(
      'many',
      many,
      [5, 6, 7, 8, 9, 10, 11, 12].map((last) => pod(last)),
    ),
    service('empty', empty, []),
    service('silent', silent, [pod(20, { isLocal: false })], true),
    service('mirror', mirror, [pod(5)]),
    service('echo', echo, [pod(5)]),
    { ...service('streams', streams, [pod(5)]), ports: [{ name: 'http', port: 80, targetPort: 8080 }] },
    service('ranged', ranged, [pod(5)]),
  ],
};

/** What became of a packet, in words; `to` is where it goes now. */
export type Answer = {
  readonly verdict: string;
  readonly reason: string;
  readonly frame: Uint8Array;
  readonly from: Place;
  readonly to: Place;
  readonly trace: readonly string[];
};

export type PacketCase = {
  readonly title: string;
  readonly play: (stage: Stage) => void;
  /** Where it isn't the same for both families. */
  readonly only?: Family;
};

/** The cases of a family. */
export function casesOf(family: Family, cases: readonly PacketCase[]): readonly PacketCase[] {
  return cases.filter(({ only }) => only === undefined || only === family);
}

export class Stage {
  private readonly sides: readonly Side[];
  readonly family: Family;
  private readonly usual: Partial<Outside>;
  private now = 1000;

  /** `usual`: what packets are posed of which nothing else is said. */
  constructor(sides: readonly Side[], family: Family = 'IPv4', usual: Partial<Outside> = {}) {
    this.sides = sides;
    this.family = family;
    this.usual = usual;
  }

  /** The address that a number stands for here. */
  host(given: HostAddress): HostAddress {
    return this.family === 'IPv6' && typeof given === 'number' ? six(given) : given;
  }

  /** A packet in the family of this stage. */
  wire(it: Wire): Wire {
    return { ...it, source: this.host(it.source), destination: this.host(it.destination) };
  }

  /** The frame of a packet of this stage, or of one of its fragments. */
  bytes(it: Wire, cut?: Cut): Uint8Array {
    return wireFrame(this.wire(it), cut);
  }

  /** A packet, or one fragment of it, met at a hook. */
  send(hook: PacketHook, it: Wire, cut?: Cut, outside: Partial<Outside> = {}): Answer {
    return this.frame(hook, this.bytes(it, cut), outside);
  }

  private segment(it: Segment): Segment {
    return { ...it, source: this.host(it.source), destination: this.host(it.destination) };
  }

  /** The frame of a segment, and that of the ICMP message that refuses it, in the family of this stage. */
  frameOf(it: Segment): Uint8Array {
    return frameOf(this.segment(it));
  }

  refusalOf(it: Segment): Uint8Array {
    return refusalOf(this.segment(it));
  }

  /** No flows, and this cluster. */
  begin(world: World = cluster): void {
    for (const { twin } of this.sides) twin.clearFlows();
    this.now = 1000;
    this.become(world);
  }

  become({ services }: World): void {
    const world = {
      services: services.map((it) => ({
        ...it,
        addresses: it.addresses.map((given) => this.host(given)),
        endpoints: it.endpoints.map((endpoint) => ({ ...endpoint, address: this.host(endpoint.address) })),
      })),
    };
    for (const side of this.sides) {
      const told = side.tell(eventsOf(world));
      expect(told.ok ? '' : failureText(told.error)).toBe('');
    }
  }

  wait(ticks: number): void {
    this.now += ticks;
  }

  fromPod(it: Segment, outside: Partial<Outside> = {}): Answer {
    return this.frame('from-pod', this.frameOf(it), outside);
  }

  toPod(it: Segment, outside: Partial<Outside> = {}): Answer {
    return this.frame('to-pod', this.frameOf(it), outside);
  }

  frame(hook: PacketHook, frame: Uint8Array, outside: Partial<Outside> = {}): Answer {
    const [first, ...others] = this.sides.map((side) => this.ask(side, hook, frame, outside));
    if (first === undefined) throw new Error('a stage has at least one twin');
    for (const other of others) expect(other, 'the kernel answers as the model does').toEqual(first);
    return first;
  }

  private ask({ twin }: Side, hook: PacketHook, frame: Uint8Array, outside: Partial<Outside>): Answer {
    const outcome = emptyOutcome();
    const done = twin.packet(hook, frame, { ...quietOutside(this.now), ...this.usual, ...outside }, outcome);
    expect(done.ok ? '' : failureText(done.error)).toBe('');
    const bytes = outcome.bytes.slice(0, outcome.length);
    return {
      verdict: verdictNames[outcome.verdict] ?? 'none',
      reason: reasonNames[outcome.reason] ?? 'none',
      frame: bytes,
      ...placesOf(bytes),
      trace: [...outcome.trace.subarray(0, outcome.traceLength)].map((mark) => markNames[mark] ?? String(mark)),
    };
  }

  /** SYN, SYN-ACK and the client's ACK; where the connection went. */
  handshake(from: Host, to: Host): Place {
    const opened = this.fromPod(segment(from, to, 2, { sequence: 100 }));
    expect(opened.verdict).toBe('forward');
    this.toPod(segment(opened.to, from, 18, { sequence: 500, acknowledgement: 101 }));
    this.fromPod(segment(from, to, 16, { sequence: 101, acknowledgement: 501 }));
    return opened.to;
  }
}

function placesOf(bytes: Uint8Array): { readonly from: Place; readonly to: Place } {
  const isSix = bytes[12] === 0x86 && bytes[13] === 0xdd;
  const transport = isSix ? 54 : 14 + ((bytes[14] ?? 0) & 15) * 4;
  const hosts = isSix
    ? [readHost(bytes, 22, 6), readHost(bytes, 38, 6)]
    : [readHost(bytes, 26, 4), readHost(bytes, 30, 4)];
  const place = (index: number): Place => ({
    address: written(hosts[index] ?? 0),
    port: (bytes[transport + index * 2] ?? 0) * 256 + (bytes[transport + index * 2 + 1] ?? 0),
  });
  return { from: place(0), to: place(1) };
}

/** The number that an IPv6 address stands for. */
function written(host: HostAddress): HostAddress {
  const { d } = addressOf(host);
  return host === six(d) ? d : host;
}

/** Verdict and reason in one line. */
export function fate({ verdict, reason }: Answer): string {
  return `${verdict} ${reason}`;
}
