// SPDX-License-Identifier: Apache-2.0
/** Many clients at once on one twin: segments patched into one frame, and the stories that must end well in a crowd. */
import { expect } from 'vitest';
import { configOf } from '../../../core/datapath/datapath.ts';
import {
  REASON_FLOWS_FULL,
  VERDICT_DROP,
  VERDICT_FORWARD,
  VERDICT_REPLY,
  type ConfigRecord,
} from '../../../core/layout.gen.ts';
import { createStream } from '../../../core/random.ts';
import { failureText } from '../../../core/result.ts';
import { emptyOutcome, quietOutside, type PacketHook } from '../../../core/twin.ts';
import { ACK, FIN, frameOf, RST, segment, SYN } from '../../../proof/traffic/frame.ts';
import type { Settings } from '../../../proof/settings.ts';
import type { Side } from '../../../proof/side.ts';
import { worldEvents, type World } from '../../../proof/world.ts';

export type Socket = { readonly address: number; readonly port: number };

/** An established connection and its next expectation. */
export type Call = { readonly client: Socket; readonly service: Socket; readonly backend: Socket };

export const busy: Socket = { address: 0x0a600001, port: 80 };
export const quiet: Socket = { address: 0x0a600002, port: 80 };
const BUSY_BACKEND: Socket = { address: 0x0a010005, port: 8080 };
const QUIET_BACKEND: Socket = { address: 0x0a010006, port: 8080 };
const IPV4_AT = 14;
const TCP_AT = 34;
const SERVER_SEQUENCE = 500;

function service(name: string, { address, port }: Socket, backend: number): World['services'][number] {
  const endpoint = { address: backend, state: 'ready', isLocal: true, pod: `pod-${name}` } as const;
  const ports = [{ name: 'http', port, targetPort: 8080 }];
  return { name, addresses: [address], isLocal: false, ports, endpoints: [endpoint] };
}

const crowded: World = {
  services: [service('busy', busy, BUSY_BACKEND.address), service('quiet', quiet, QUIET_BACKEND.address)],
};

/** The product's own lifetimes and shares; a table of this many buckets of 16. */
export function crowdSettings(flowBuckets: number, more: Partial<ConfigRecord> = {}): Settings {
  return {
    config: configOf({
      testMode: 1,
      flowBucketMask: flowBuckets - 1,
      classifierMask: 1023,
      flowSecret: [11, 22, 33, 44, 55, 66, 77, 88, 99, 110, 121, 132],
      selectionKey: [0x01234567, 0x89abcdef],
      ...more,
    }),
    sizes: {
      classifierWords: 1024,
      frontends: 64,
      services: 64,
      sourceRanges: 256,
      nodeAddresses: 16,
      slotPairs: 64,
      backends: 64,
      flowBuckets,
      peers: 64,
      affinity: 64,
      netns: 8,
    },
    lifetimes: [],
    isComplete: false,
  };
}

export class Crowd {
  private readonly side: Side;
  private readonly frame = frameOf(segment(busy, quiet, SYN));
  private readonly view = new DataView(this.frame.buffer);
  private readonly outcome = emptyOutcome();
  private readonly outside = quietOutside(1000);
  /** Packets dropped because the table was full. */
  full = 0;

  constructor(side: Side) {
    this.side = side;
    const told = side.tell(worldEvents(crowded));
    expect(told.ok ? '' : failureText(told.error)).toBe('');
  }

  wait(ticks: number): void {
    this.outside.now = (this.outside.now + ticks) >>> 0;
  }

  /** The verdict; the translated frame is read with `source` and `destination`. */
  packet(hook: PacketHook, from: Socket, to: Socket, flags: number, sequence: number, acknowledgement = 0): number {
    const { view, outcome } = this;
    view.setUint32(IPV4_AT + 12, from.address);
    view.setUint32(IPV4_AT + 16, to.address);
    view.setUint16(TCP_AT, from.port);
    view.setUint16(TCP_AT + 2, to.port);
    view.setUint32(TCP_AT + 4, sequence);
    view.setUint32(TCP_AT + 8, acknowledgement);
    view.setUint8(TCP_AT + 13, flags);
    const done = this.side.twin.packet(hook, this.frame, this.outside, outcome);
    if (!done.ok) throw new Error(failureText(done.error));
    if (outcome.verdict === VERDICT_DROP && outcome.reason === REASON_FLOWS_FULL) this.full++;
    return outcome.verdict;
  }

  private place(addressAt: number, portAt: number): Socket {
    const view = new DataView(this.outcome.bytes.buffer);
    return { address: view.getUint32(addressAt), port: view.getUint16(portAt) };
  }

  /** SYN, SYN-ACK and ACK; undefined where one of them was not let through. */
  open(client: Socket, to: Socket): Call | undefined {
    if (this.packet('from-pod', client, to, SYN, 100) !== VERDICT_FORWARD) return undefined;
    const backend = this.place(IPV4_AT + 16, TCP_AT + 2);
    if (this.packet('to-pod', backend, client, SYN | ACK, SERVER_SEQUENCE, 101) !== VERDICT_REPLY) return undefined;
    if (this.packet('from-pod', client, to, ACK, 101, SERVER_SEQUENCE + 1) !== VERDICT_FORWARD) return undefined;
    return { client, service: to, backend };
  }

  /** 0: without a word; 1: by a reset; else both sides say so. */
  end({ client, service: to, backend }: Call, how: number): void {
    if (how === 0) return;
    this.packet('from-pod', client, to, how === 1 ? RST | ACK : FIN | ACK, 200, 600);
    if (how > 1) this.packet('to-pod', backend, client, FIN | ACK, 600, 201);
  }

  /** Whether a segment each way still gets where it should. */
  works({ client, service: to, backend }: Call): boolean {
    if (this.packet('from-pod', client, to, ACK, 200, 600) !== VERDICT_FORWARD) return false;
    const there = this.place(IPV4_AT + 16, TCP_AT + 2);
    if (there.address !== backend.address || there.port !== backend.port) return false;
    if (this.packet('to-pod', backend, client, ACK, 600, 200) !== VERDICT_REPLY) return false;
    const seen = this.place(IPV4_AT + 12, TCP_AT);
    return seen.address === to.address && seen.port === to.port;
  }
}

function pod(index: number): number {
  return 0x0a020000 + index;
}

/** Calls of an honest client that are established before it starts. */
function callsOf(crowd: Crowd, count: number, to: Socket): readonly Call[] {
  const calls = Array.from({ length: count }, (_, index) => {
    const client = { address: pod(1 + (index % 50)), port: 20_000 + index };
    return crowd.open(client, to);
  });
  return calls.filter((call) => call !== undefined);
}

export type FloodReport = {
  readonly established: number;
  readonly broken: number;
  readonly honest: number;
  readonly honestOpened: number;
  /** Newcomers refused because the table was full. */
  readonly full: number;
};

/**
 * SYNs from random sources, to a backend that answers each with a SYN-ACK or with a reset; an honest client opens a
 * connection after every hundred of them.
 */
export function synFlood(side: Side, syns: number, port: 'open' | 'closed'): FloodReport {
  const crowd = new Crowd(side);
  const stream = createStream(7, 1);
  const calls = callsOf(crowd, 400, quiet);
  const answer = port === 'open' ? SYN | ACK : RST | ACK;
  let honest = 0;
  let honestOpened = 0;
  for (let at = 0; at < syns; at++) {
    const client = { address: 0x64000000 + stream.below(0x1000000), port: 1024 + stream.below(60_000) };
    if (crowd.packet('from-pod', client, busy, SYN, stream.word()) === VERDICT_FORWARD)
      crowd.packet('to-pod', BUSY_BACKEND, client, answer, stream.word(), 1);
    // A million in some 10 s.
    if (at % 100 === 0) crowd.wait(1);
    if (at % 100 !== 50) continue;
    honest++;
    if (crowd.open({ address: pod(200), port: 1024 + (honest % 60_000) }, busy) !== undefined) honestOpened++;
  }
  const broken = calls.filter((call) => !crowd.works(call)).length;
  return { established: calls.length, broken, honest, honestOpened, full: crowd.full };
}

export type GreedReport = {
  readonly greedy: number;
  readonly greedyOpened: number;
  readonly others: number;
  readonly othersOpened: number;
  readonly othersWork: number;
  readonly full: number;
};

/** One client holds established connections for twice the table's entries; then many others come. */
export function greedyClient(side: Side, entries: number): GreedReport {
  const crowd = new Crowd(side);
  const greedy = entries; // a connection has two entries
  let greedyOpened = 0;
  for (let at = 0; at < greedy; at++) {
    // To both Services: the ports of one address don't suffice.
    const client = { address: pod(1), port: 1024 + (at >> 1) };
    if (crowd.open(client, at % 2 === 0 ? busy : quiet) !== undefined) greedyOpened++;
    if (at % 10 === 0) crowd.wait(1);
  }
  const others = entries / 16;
  const calls: Call[] = [];
  for (let at = 0; at < others; at++) {
    const call = crowd.open({ address: pod(1000 + at), port: 40_000 }, quiet);
    if (call !== undefined) calls.push(call);
    if (at % 10 === 0) crowd.wait(1);
  }
  const othersWork = calls.filter((call) => crowd.works(call)).length;
  return { greedy, greedyOpened, others, othersOpened: calls.length, othersWork, full: crowd.full };
}

export type ChurnReport = { readonly opened: number; readonly refused: number; readonly full: number };

/**
 * Nobody looks after the table: for twice the longest lifetime connections come, in all three times as many as it has
 * room for. Most end as connections should, every eighth without a word, and every eighth by a reset.
 */
export function churn(side: Side, entries: number, longestTicks: number): ChurnReport {
  const crowd = new Crowd(side);
  const connections = Math.ceil((entries * 3) / 2);
  const pause = (2 * longestTicks) / connections;
  let elapsed = 0;
  let refused = 0;
  for (let at = 0; at < connections; at++) {
    const call = crowd.open({ address: pod(at % 997), port: 1024 + (at % 60_013) }, at % 2 === 0 ? busy : quiet);
    if (call === undefined) refused++;
    else crowd.end(call, at % 8);
    const ticks = Math.floor((at + 1) * pause) - elapsed;
    elapsed += ticks;
    crowd.wait(ticks);
  }
  return { opened: connections, refused, full: crowd.full };
}
