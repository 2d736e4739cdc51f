// SPDX-License-Identifier: Apache-2.0
/** Worlds and commands for fast-check, small enough to shrink well, and what each command becomes on the wire. */
import * as fc from 'fast-check';
import { quietOutside } from '../../core/twin.ts';
import { acceptable } from '../../proof/traffic/distort.ts';
import { ipv6, type HostAddress } from '../../proof/traffic/address.ts';
import { frameOf, packetOf, segment, TCP, UDP, type Segment } from '../../proof/traffic/frame.ts';
import { fragmentableAt, fragmentOf, piecesOf } from '../../proof/traffic/fragments.ts';
import { messageFrame } from '../../proof/traffic/icmp.ts';
import type { Step } from '../../proof/steps.ts';
import type { World, WorldEndpoint, WorldService } from '../../proof/world.ts';

type Host = { readonly address: HostAddress; readonly port: number };

/** A packet of one side; `piece`: all of it, or its first fragment, or what is left. */
type Sent = {
  readonly kind: 'client' | 'backend';
  readonly protocol: typeof TCP | typeof UDP;
  readonly connection: number;
  readonly flags: number;
  readonly away: number;
  readonly piece: 'whole' | 'first' | 'later';
};
/** An ICMP error of the side that got a packet, or of a router, about the packet, of which it quotes so much. */
type Told = {
  readonly kind: 'about-client' | 'about-backend';
  readonly protocol: typeof TCP | typeof UDP;
  readonly connection: number;
  readonly byRouter: boolean;
  readonly quoted: number;
};

export type Command =
  | Sent
  | Told
  | { readonly kind: 'wait'; readonly ticks: number }
  | { readonly kind: 'become'; readonly world: World }
  | { readonly kind: 'bytes'; readonly hook: 'from-pod' | 'to-pod'; readonly bytes: Uint8Array };

/** The IPv6 address that stands for an IPv4 one: no word of theirs is the same for a client, a Service and a pod. */
function six(word: number): string {
  return ipv6(0xfd000000 + (word >>> 16), word, word >>> 8, word);
}

const pod = fc.integer({ min: 0x0a010001, max: 0x0a010004 });
const endpoint: fc.Arbitrary<WorldEndpoint> = fc.record({
  address: fc.oneof(pod, pod.map(six)),
  state: fc.constantFrom('ready', 'ready', 'terminating', 'not-ready'),
  isLocal: fc.boolean(),
  pod: fc.constantFrom('a', 'b'),
});

const endpoints = fc.uniqueArray(endpoint, { maxLength: 4, selector: ({ address }) => address });

function service(index: number): fc.Arbitrary<WorldService> {
  return fc.record({
    name: fc.constant(`service-${index}`),
    addresses: fc.constantFrom([0x0a600001 + index], [0x0a600001 + index, six(0x0a600001 + index)]),
    isLocal: fc.boolean(),
    ports: fc.constant([
      { name: 'http', port: 80, targetPort: 8080 },
      { name: 'datagrams', port: 80, targetPort: 8080, protocol: 'UDP' as const },
    ]),
    endpoints,
  });
}

/** Three Services at most, with four pods between them. */
export const world: fc.Arbitrary<World> = fc.record({
  services: fc.tuple(service(0), service(1), service(2)).map((all) => all),
});

const protocol = fc.constantFrom<(typeof TCP | typeof UDP)[]>(TCP, TCP, UDP);
/** Often one of two, so that a list holds all that a connection needs. */
const connection = fc.oneof(fc.constantFrom(0, 12), fc.nat({ max: 23 }));

const side: fc.Arbitrary<Sent> = fc.record({
  kind: fc.constantFrom('client' as const, 'backend' as const),
  protocol,
  connection,
  flags: fc.constantFrom(2, 16, 18, 17, 4, 20, 24, 0, 3, 255),
  away: fc.constantFrom(0, 0, 0, 1, -1, 65535, 65536),
  piece: fc.constantFrom('whole' as const, 'whole' as const, 'whole' as const, 'first' as const, 'later' as const),
});

const told: fc.Arbitrary<Told> = fc.record({
  kind: fc.constantFrom('about-client' as const, 'about-backend' as const),
  protocol,
  connection,
  byRouter: fc.boolean(),
  quoted: fc.constantFrom(8, 20, 7),
});

export const command: fc.Arbitrary<Command> = fc.oneof(
  { weight: 15, arbitrary: side },
  { weight: 3, arbitrary: told },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('wait' as const),
      ticks: fc.constantFrom(1, 29, 30, 59, 60, 240, 800, 3200, 4096, 28_610, 40_000, 50_000),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('become' as const), world }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('bytes' as const),
      hook: fc.constantFrom('from-pod' as const, 'to-pod' as const),
      bytes: fc.uint8Array({ minLength: 14, maxLength: 80 }),
    }),
  },
);

/** Connection number n: two clients with two ports each, to three Services, of two families; a backend is the n-th pod. */
function hosts(connection: number): { readonly client: Host; readonly service: Host; readonly backend: Host } {
  const number = connection % 12;
  const family = (word: number): HostAddress => (connection < 12 ? word : six(word));
  return {
    client: { address: family(0x0a020001 + (number & 1)), port: 40000 + ((number >> 1) & 1) },
    service: { address: family(0x0a600001 + (number % 3)), port: 80 },
    backend: { address: family(0x0a010001 + (number >> 2)), port: 8080 },
  };
}

const NOTHING = new Uint8Array();
/** Where a packet is cut: behind its transport header. */
const CUT = 24;
const IDENTIFICATION = 7;
const ROUTER = 0x0a0900fe;

function frameSent(sent: Segment, piece: Sent['piece']): Uint8Array {
  if (piece === 'whole') return frameOf(sent);
  const frame = frameOf({ ...sent, payload: new Uint8Array(32).fill(0x61), fragment: 0 });
  const [first, later] = piecesOf(frame.length - fragmentableAt(frame), [CUT]);
  const cut = piece === 'first' ? first : later;
  return cut === undefined ? frame : fragmentOf(frame, cut, IDENTIFICATION);
}

function sentStep(it: Sent, now: number): Step {
  const { client, service: to, backend } = hosts(it.connection);
  const more = { sequence: 500, acknowledgement: (501 + it.away) >>> 0, protocol: it.protocol };
  const [hook, sent] =
    it.kind === 'client'
      ? (['from-pod', segment(client, to, it.flags, more)] as const)
      : (['to-pod', segment(backend, client, it.flags, more)] as const);
  return { hook, frame: frameSent(sent, it.piece), outside: quietOutside(now) };
}

/** About the client's packet as its backend got it, and about the backend's as the client did. */
function toldStep(it: Told, now: number): Step {
  const { client, service: asked, backend } = hosts(it.connection);
  const isClients = it.kind === 'about-client';
  const about = isClients
    ? segment(client, backend, 16, { protocol: it.protocol })
    : segment(asked, client, 16, { protocol: it.protocol });
  const isSix = typeof about.source === 'string';
  const frame = messageFrame({
    source: it.byRouter ? (isSix ? six(ROUTER) : ROUTER) : about.destination,
    destination: about.source,
    kind: isSix ? [1, 4] : [3, 3],
    word: 0,
    quote: packetOf(about).slice(0, (isSix ? 40 : 20) + it.quoted),
    timeToLive: 64,
    ipOptions: NOTHING,
    checksum: 'full',
  });
  return { hook: isClients ? 'to-pod' : 'from-pod', frame, outside: quietOutside(now) };
}

function stepOf(it: Exclude<Command, { readonly kind: 'wait' }>, now: number): Step {
  switch (it.kind) {
    case 'become':
      return { world: it.world };
    case 'bytes':
      return { hook: it.hook, frame: acceptable(it.bytes), outside: quietOutside(now) };
    case 'about-client':
    case 'about-backend':
      return toldStep(it, now);
    default:
      return sentStep(it, now);
  }
}

/** The steps that a world and commands are. */
export function stepsOf(first: World, commands: readonly Command[]): Step[] {
  const steps: Step[] = [{ world: first }];
  let now = 1000;
  for (const it of commands) {
    if (it.kind === 'wait') now += it.ticks;
    else steps.push(stepOf(it, now));
  }
  return steps;
}
