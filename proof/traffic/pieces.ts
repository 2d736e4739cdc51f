// SPDX-License-Identifier: Apache-2.0
/** Kinds of traffic in fragments: of both protocols and directions, in any order, some twice, some overlapping. */
import { withConnection } from './conversations.ts';
import { fragmentableAt, fragmentOf, piecesOf, type Piece } from './fragments.ts';
import { ACK, ETHERNET, frameOf, isIPv6, segment, SYN, UDP, type Segment } from './frame.ts';
import { messageFrame } from './icmp.ts';
import type { NamedKind, Scene } from './scene.ts';
import { fromBackend, fromClient, NOTHING, type Connection, type Planned } from './segments.ts';
import type { Stream } from '../../core/random.ts';

const LENGTH_MAX = 160;

/** Where to cut, transport header included: tiny, in the middle of a header, or in good order. */
function drawCuts(stream: Stream, isComplete: boolean): readonly number[] {
  // Of a first fragment that is refused nothing may be trimmed: see TrafficOptions.
  if (isComplete) return [8, 24, 48];
  return stream.pick([[8], [16], [24], [32, 64], [8, 16, 24, 32], [40, 80, 120], []]);
}

/** Another order than that of sending, one twice, one missing, one that covers its neighbour. */
function disorder(stream: Stream, pieces: readonly Piece[]): readonly Piece[] {
  const order = [...pieces];
  if (stream.chance(0.25)) order.reverse();
  if (stream.chance(0.15)) order.push(stream.pick(pieces));
  if (stream.chance(0.1)) order.splice(stream.below(order.length), 1);
  const last = pieces.at(-1);
  if (stream.chance(0.1) && last !== undefined && last.from >= 8) order.push({ from: last.from - 8, to: last.to });
  return order;
}

/** The pieces of one packet; its frame is made when the first of them is sent, and is the same for all. */
function inPieces(scene: Scene, whole: Planned): readonly Planned[] {
  const { stream, isComplete } = scene;
  const identification = stream.chance(0.5) ? stream.below(8) : stream.word();
  const cuts = drawCuts(stream, isComplete);
  const extra = stream.chance(0.1) ? stream.below(8) : identification;
  let kept: Uint8Array | undefined;
  const frame = (): Uint8Array => (kept ??= whole.frame?.() ?? frameOf(whole.segment));
  const places = disorder(stream, piecesOf(LENGTH_MAX, cuts));
  return places.map((place, index) => ({
    get hook() {
      return whole.hook;
    },
    get segment() {
      return whole.segment;
    },
    frame: () => {
      const bytes = frame();
      const end = bytes.length - fragmentableAt(bytes);
      const piece = {
        from: Math.min(place.from, end & ~7),
        to: place.to === LENGTH_MAX ? end : Math.min(place.to, end),
      };
      return fragmentOf(bytes, piece, index === 3 ? extra : identification);
    },
    ...(whole.connection === undefined ? {} : { connection: whole.connection }),
  }));
}

/** A payload that makes the packet's transport part as long as the cuts think it is. */
function payloadFor(stream: Stream, connection: Connection): Partial<Segment> {
  // Options end behind the first fragment now and then.
  const tcpOptions = stream.chance(0.3) ? new Uint8Array(4 * (1 + stream.below(10))).fill(1) : NOTHING;
  const header = connection.protocol === UDP ? 8 : 20 + tcpOptions.length;
  return { payload: new Uint8Array(LENGTH_MAX - header).fill(0x5a), tcpOptions, padding: NOTHING };
}

function fragments(scene: Scene, known: Connection): void {
  const { stream } = scene;
  const connection = stream.chance(0.3) ? scene.connect(...scene.meeting()) : known;
  const more = payloadFor(stream, connection);
  // Only of UDP is a first fragment no longer than its headers.
  if (scene.isComplete && connection.protocol !== UDP) return scene.add(fromClient(stream, connection, ACK));
  const opens = connection === known ? ACK : SYN;
  const asked = fromClient(stream, connection, opens, more);
  const answered = fromBackend(stream, connection, ACK, more);
  const planned = [...inPieces(scene, asked), ...inPieces(scene, answered)];
  if (connection === known && stream.chance(0.5)) planned.splice(0, planned.length >> 1);
  scene.add(...planned);
}

/** An error in fragments, which nobody translates. */
function brokenError(scene: Scene): void {
  const { stream } = scene;
  const [client, { address, port }] = scene.meeting();
  const it = segment({ address, port }, client, ACK, { payload: new Uint8Array(64) });
  const message = messageFrame({
    source: client.address,
    destination: address,
    kind: isIPv6(it) ? [1, 4] : [3, 3],
    word: 0,
    quote: frameOf(it).slice(ETHERNET),
    timeToLive: 64,
    ipOptions: NOTHING,
    checksum: 'full',
  });
  const planned = inPieces(scene, { hook: 'from-pod', segment: it, frame: () => message });
  scene.add(...planned.slice(0, 1 + stream.below(3)));
}

export const pieceKinds: readonly NamedKind[] = [
  ['fragments', withConnection(fragments)],
  ['brokenError', brokenError],
];
