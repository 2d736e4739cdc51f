// SPDX-License-Identifier: Apache-2.0
/** Kinds of traffic that tell of other packets: ICMP errors from either end, or from a router between. */
import { ipv6, type HostAddress } from './address.ts';
import { open, withConnection } from './conversations.ts';
import { ACK, headerLength, isIPv6, packetOf, segment, UDP, type IcmpKind, type Segment } from './frame.ts';
import { messageFrame, paddedQuote, QUOTE_PADDED, type IcmpMessage } from './icmp.ts';
import type { NamedKind, Scene } from './scene.ts';
import {
  backendHook,
  dress,
  fromBackend,
  nearMiss,
  NOTHING,
  vanishing,
  type Connection,
  type Planned,
} from './segments.ts';
import type { Stream } from '../../core/random.ts';

/** Mostly those that are translated: unreachable, time exceeded, parameter problem; and some that are not errors. */
const KINDS: readonly IcmpKind[] = [
  [3, 3],
  [3, 4],
  [3, 1],
  [11, 0],
  [12, 0],
  [11, 1],
  [0, 0],
  [8, 0],
  [5, 1],
  [4, 0],
];
const KINDS_SIX: readonly IcmpKind[] = [
  [1, 4],
  [1, 0],
  [2, 0],
  [3, 0],
  [4, 1],
  [4, 2],
  [0, 0],
  [5, 0],
  [128, 0],
  [135, 0],
];

function router(stream: Stream, isSix: boolean): HostAddress {
  return isSix ? ipv6(0xfd0000cc, 0, 0, 1 + stream.below(4)) : 0xc0000201 + stream.below(4);
}

/** As much of a packet as somebody quotes: eight bytes of its transport, sixty, all, too few, or padded. */
function drawQuote(stream: Stream, it: Segment): { readonly quote: Uint8Array; readonly words: number } {
  const packet = packetOf(it);
  const header = headerLength(it);
  const more = stream.pick([8, 8, 8, 12, 17, 18, 19, 20, 28, 60, 200, stream.below(20)]);
  const quote = packet.slice(0, header + more);
  // A quote that is no packet of the family, by its version.
  if (stream.chance(0.03)) quote.set([(quote[0] ?? 0) ^ 0x20]);
  if (stream.chance(0.15)) return { quote: paddedQuote(quote, stream.pick([0, 4, 8])), words: QUOTE_PADDED };
  return { quote, words: 0 };
}

function drawMessage(stream: Stream, quoted: Segment, from: HostAddress, to: HostAddress): IcmpMessage {
  const isSix = isIPv6(quoted);
  const kind = stream.chance(0.85)
    ? stream.pick((isSix ? KINDS_SIX : KINDS).slice(0, 6))
    : stream.pick(isSix ? KINDS_SIX : KINDS);
  const { quote, words } = drawQuote(stream, quoted);
  const lengthField = isSix ? (words / 8) << 24 : (words / 4) << 16;
  return {
    source: from,
    destination: to,
    kind,
    word: words > 0 ? lengthField >>> 0 : stream.pick([0, 1280, stream.word()]),
    quote,
    timeToLive: stream.pick([64, 64, 255, 1, 2]),
    ipOptions: stream.chance(0.1) ? new Uint8Array(4 * (1 + stream.below(10))).fill(1) : NOTHING,
    checksum: stream.chance(0.05) ? 'partial' : 'full',
  };
}

/** What is quoted: as it was sent, one hop older, or a packet that misses the connection by a little. */
function drawQuoted(stream: Stream, connection: Connection): Partial<Segment> {
  return {
    ...dress(stream, connection.protocol),
    extensions: stream.chance(0.05) ? [60] : [],
    fragment: stream.pick([0x4000, 0x4000, 0, 0x2000, stream.chance(0.2) ? 0x2001 : 0]),
    checksum: connection.protocol === UDP && stream.chance(0.2) ? 'none' : 'full',
  };
}

/** To whoever sent what is quoted; now and then with bytes behind that belong to no packet. */
function drawFrame({ stream, isComplete }: Scene, quoted: Segment, from: HostAddress): Uint8Array {
  const frame = messageFrame(drawMessage(stream, quoted, from, quoted.source));
  if (isComplete || stream.chance(0.8)) return frame;
  const padded = new Uint8Array(frame.length + 1 + stream.below(24)).fill(stream.below(256));
  padded.set(frame);
  return padded;
}

/** About what the backend was sent: from it, or from a router on the way to it. */
function aboutForward(scene: Scene, connection: Connection): Planned {
  const { stream } = scene;
  const dressed = drawQuoted(stream, connection);
  const isRouter = stream.chance(0.5);
  const sent = segment(connection.client, connection.service, ACK, dressed);
  // Of the packet as it was sent the quoted checksum may be zero.
  const payload = stream.chance(0.1) ? vanishing(sent) : sent.payload;
  const quoted = (): Segment => {
    const { seenAs = connection.client, backend = connection.service } = connection;
    const it = segment(seenAs, backend, ACK, { ...dressed, payload });
    return isMiss ? { ...it, ...nearMiss(stream, it) } : it;
  };
  const isMiss = stream.chance(0.1);
  return {
    get hook() {
      return backendHook(connection);
    },
    get segment() {
      return quoted();
    },
    frame: () => {
      const it = quoted();
      const from = isRouter ? router(stream, isIPv6(it)) : it.destination;
      return drawFrame(scene, it, from);
    },
  };
}

/** About an answer that the client got: from it, or from a router before it. */
function aboutReply(scene: Scene, connection: Connection): Planned {
  const { stream } = scene;
  const whole = segment(connection.service, connection.client, ACK, drawQuoted(stream, connection));
  const it = stream.chance(0.1) ? { ...whole, ...nearMiss(stream, whole) } : whole;
  const from = stream.chance(0.4) ? router(stream, isIPv6(it)) : it.destination;
  return { hook: 'from-pod', segment: it, frame: () => drawFrame(scene, it, from) };
}

function error(scene: Scene, connection: Connection): void {
  for (let i = 0; i < 1 + scene.stream.below(2); i++)
    scene.add((scene.stream.chance(0.6) ? aboutForward : aboutReply)(scene, connection));
  // Neither ends a flow nor keeps it alive.
  if (scene.stream.chance(0.3)) scene.add(fromBackend(scene.stream, connection, ACK));
}

/** Errors in the middle of a conversation that just began, when everything about it is known. */
function early(scene: Scene): void {
  open(scene);
  const [connection] = scene.latest(1);
  if (connection === undefined) return;
  scene.add(aboutForward(scene, connection), aboutReply(scene, connection));
}

export const errorKinds: readonly NamedKind[] = [
  ['error', withConnection(error)],
  ['earlyError', early],
];
