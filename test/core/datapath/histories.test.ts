// SPDX-License-Identifier: Apache-2.0
/** Relations between two tellings of one history, which need no model of what is right: thousands of packets each. */
import { describe, expect, test } from 'vitest';
import type { Loop } from '../../../agent/loop.ts';
import { VERDICT_FORWARD, VERDICT_REPLY } from '../../../core/layout.gen.ts';
import type { ClusterEvent } from '../../../core/objects.ts';
import { createStream } from '../../../core/random.ts';
import type { Twin } from '../../../core/twin.ts';
import { ipv6, readHost, type HostAddress } from '../../../proof/traffic/address.ts';
import type { World, WorldEndpoint, WorldService } from '../../../proof/world.ts';
import { fates, historyOf, parting, type History, type Parts, type Retelling } from './histories.ts';

const PACKETS = 3_000;
const seeds = [1, 2, 3, 4, 5, 6];
const histories = new Map<number, History>();

function history(seed: number): History {
  const known = histories.get(seed) ?? historyOf(seed, PACKETS);
  histories.set(seed, known);
  return known;
}

function stranger(index: number): WorldService {
  const word = 0x0a610001 + index; // 10.97.0.1: beside the Services of every world
  const endpoint = (at: number): WorldEndpoint => ({
    address: 0x0a630000 + index * 16 + at,
    state: 'ready',
    isLocal: true,
    pod: `stranger-${index}-${at}`,
  });
  return {
    name: `other-${index}`,
    addresses: [word, ipv6(0xfd000097, 0, 0, word)],
    isLocal: false,
    ports: [{ name: 'http', port: 80, targetPort: 8080 }],
    endpoints: [endpoint(1), endpoint(2)],
  };
}

/** Strangers first or last, more or fewer of them each time that something else changes. */
function withStrangers({ services }: World): World {
  const count = services.reduce((sum, { endpoints }) => sum + endpoints.length, 0) % 4;
  const strangers = Array.from({ length: count }, (_, index) => stranger(index));
  return { services: count % 2 === 0 ? [...strangers, ...services] : [...services, ...strangers] };
}

function turned({ services }: World): World {
  return { services: services.map((it) => ({ ...it, endpoints: it.endpoints.toReversed() })).toReversed() };
}

/** Whole spans of 4,096 ticks: within one, entries of a conversation of datagrams are not refreshed again. */
const SHIFT = 0x9abc_d000;
const retellings: readonly (readonly [string, Retelling])[] = [
  ['other Services come and go', { world: withStrangers }],
  ['endpoints and Services are listed in another order', { world: turned }],
  [
    'the clock stands elsewhere',
    { packet: (it) => ({ ...it, outside: { ...it.outside, now: (it.outside.now + SHIFT) >>> 0 } }) },
  ],
  ['the agent ends and begins again at any moment', { restarts: (moment) => moment % 37 === 0 }],
];

function listening(change: (event: ClusterEvent, count: number) => ClusterEvent): (loop: Loop) => Loop {
  return (loop) => {
    let count = 0;
    return { ...loop, event: (event) => loop.event(change(event, count++)) };
  };
}

/** The first endpoint of each slice is never ready. */
function losesFirst(event: ClusterEvent): ClusterEvent {
  if (!('object' in event) || event.object.kind !== 'EndpointSlice') return event;
  const endpoints = event.object.endpoints?.map((it, at) => (at === 0 ? { ...it, conditions: { ready: false } } : it));
  return endpoints === undefined ? event : { ...event, object: { ...event.object, endpoints } };
}

/** One for each retelling, in its order. */
const planted: readonly Parts[] = [
  {
    // Every seventh event is heard as a deletion: which one depends on how much else there is.
    loop: listening((event, count) =>
      'object' in event && count % 7 === 6 ? { type: 'DELETED', object: event.object } : event,
    ),
  },
  { loop: listening(losesFirst) },
  {
    twin: (twin): Twin => ({
      ...twin,
      packet: (hook, frame, outside, outcome) =>
        twin.packet(hook, frame, { ...outside, now: Math.min(outside.now, 2 ** 31) }, outcome),
    }),
  },
  {
    loop: (loop, twin): Loop => {
      twin.clearFlows();
      return loop;
    },
  },
];

describe.each(retellings)('nothing changes for anybody when %s', (name, retelling) => {
  test.each(seeds)('in the history of seed %i', (seed) => {
    expect(parting(history(seed), retelling)).toBe('');
  });

  test('and where it does (planted fault), it is seen', () => {
    const parts = planted[retellings.findIndex(([other]) => other === name)] ?? {};
    expect(seeds.map((seed) => parting(history(seed), retelling, parts)).join('')).toMatch(/packet \d+: /);
  });
});

type End = { readonly address: HostAddress; readonly port: number };

const EXTENSIONS = new Set([0, 43, 44, 51, 60, 135]);

/** Where the transport header is, and what it is; undefined: behind a later fragment's header there is none. */
function transportOf(bytes: Uint8Array): readonly [at: number, protocol: number] | undefined {
  const half = (at: number): number => (bytes[at] ?? 0) * 256 + (bytes[at + 1] ?? 0);
  if (bytes[12] !== 0x86)
    return (half(20) & 0x1fff) === 0 ? [14 + ((bytes[14] ?? 0) & 15) * 4, bytes[23] ?? 0] : undefined;
  let at = 54;
  let next = bytes[20] ?? 0;
  while (at < bytes.length && EXTENSIONS.has(next)) {
    if (next === 44 && half(at + 2) >> 3 !== 0) return undefined;
    const units = next === 44 ? 8 : next === 51 ? ((bytes[at + 1] ?? 0) + 2) * 4 : ((bytes[at + 1] ?? 0) + 1) * 8;
    next = bytes[at] ?? 0;
    at += units;
  }
  return [at, next];
}

/** Both ends of a TCP or UDP packet that shows its ports; undefined: a later fragment, an error. */
function endsOf(bytes: Uint8Array): readonly [from: End, to: End] | undefined {
  const [at, protocol] = transportOf(bytes) ?? [0, 0];
  if (protocol !== 6 && protocol !== 17) return undefined;
  const half = (place: number): number => (bytes[place] ?? 0) * 256 + (bytes[place + 1] ?? 0);
  const [from, to] =
    bytes[12] === 0x86
      ? [readHost(bytes, 22, 6), readHost(bytes, 38, 6)]
      : [readHost(bytes, 26, 4), readHost(bytes, 30, 4)];
  return [
    { address: from, port: half(at) },
    { address: to, port: half(at + 2) },
  ];
}

/**
 * Watches a model: whatever a backend sees of a client, what it answers to that reaches the client where it asked
 * from, and from where it asked.
 */
class Clients {
  readonly complaints: string[] = [];
  replies = 0;
  /** Client and Service by the tuple that a backend answers to. */
  private readonly asked = new Map<string, string>();

  watch(twin: Twin): Twin {
    return {
      ...twin,
      packet: (hook, frame, outside, outcome) => {
        const done = twin.packet(hook, frame, outside, outcome);
        if (outcome.verdict === VERDICT_FORWARD || outcome.verdict === VERDICT_REPLY)
          this.judge(frame, outcome.bytes, outcome.verdict);
        return done;
      },
    };
  }

  private judge(frame: Uint8Array, bytes: Uint8Array, verdict: number): void {
    const [before, after] = [endsOf(frame), endsOf(bytes)];
    if (before === undefined || after === undefined) return;
    const turned = ([from, to]: readonly [End, End]): string => JSON.stringify([to, from]);
    if (verdict === VERDICT_FORWARD) {
      this.asked.set(turned(after), turned(before));
      return;
    }
    this.replies += 1;
    const expected = this.asked.get(JSON.stringify(before));
    if (expected !== JSON.stringify(after))
      this.complaints.push(`${JSON.stringify(before)} became ${JSON.stringify(after)}`);
  }
}

function clientsOf(seed: number, parts: Parts = {}): Clients {
  const clients = new Clients();
  fates(history(seed), {}, { ...parts, twin: (twin) => clients.watch(parts.twin?.(twin) ?? twin) });
  return clients;
}

describe('translation and its way back', () => {
  test.each(seeds)('are nothing to a client in the history of seed %i', (seed) => {
    const { complaints, replies } = clientsOf(seed);
    expect(complaints).toEqual([]);
    expect(replies).toBeGreaterThan(20);
  });

  test('that miss by one port (planted fault) are seen', () => {
    const stream = createStream(1);
    const off = (twin: Twin): Twin => ({
      ...twin,
      packet: (hook, frame, outside, outcome) => {
        const done = twin.packet(hook, frame, outside, outcome);
        if (outcome.verdict === VERDICT_REPLY && stream.chance(0.1))
          outcome.bytes[outcome.bytes[12] === 0x86 ? 55 : 35]! ^= 1;
        return done;
      },
    });
    expect(clientsOf(1, { twin: off }).complaints.length).toBeGreaterThan(0);
  });
});
