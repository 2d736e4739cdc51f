// SPDX-License-Identifier: Apache-2.0
/** One time line of a connection: what was heard of its Service, what was written into maps, and its packets. */
import { endpointText } from '../core/address.ts';
import type { TimedEvent } from '../formats/events.ts';
import { instantText, nanosecondsBetween, type Instant } from '../formats/instant.ts';
import { isAbout } from './clusterat.ts';
import type { Connection } from './connections.ts';
import { FLAG_ACK, FLAG_FIN, FLAG_RST, FLAG_SYN, type Headers } from './headers.ts';
import { eventText } from './judge.ts';
import { momentOf } from './lines.ts';
import type { Passage, Path } from './path.ts';
import { newStream, noteSegment } from './stream.ts';

export type Moment = { readonly at: string; readonly what: 'event' | 'maps' | 'packet'; readonly text: string };

type Timed = Moment & { readonly timeNs: number };

export type MomentsInput = {
  readonly connection: Connection;
  readonly path: Path;
  readonly events: readonly TimedEvent[];
  readonly origin: Instant;
  readonly writes: ReadonlyMap<TimedEvent, number>;
};

/** One screen: the events before it, the packets it began and ended with. */
const EVENTS_BEFORE = 3;
const EVENTS_AFTER = 2;
const PACKETS_FIRST = 6;
const PACKETS_LAST = 2;
const FLAGS = [
  [FLAG_SYN, 'SYN'],
  [FLAG_ACK, 'ACK'],
  [FLAG_FIN, 'FIN'],
  [FLAG_RST, 'RST'],
] as const;

export function timelineOf(input: MomentsInput, service: string): readonly Moment[] {
  const { path } = input;
  const { passages } = path;
  const shown =
    passages.length <= PACKETS_FIRST + PACKETS_LAST
      ? passages
      : [...passages.slice(0, PACKETS_FIRST), ...passages.slice(-PACKETS_LAST)];
  const repeated = repeatedOf(passages);
  const moments = [
    ...eventMoments(input, service),
    ...shown.flatMap((passage) => packetMoments(passage, input, repeated.has(passage))),
  ];
  const sorted = moments.sort((left, right) => left.timeNs - right.timeNs);
  const hidden = passages.length - shown.length + path.left;
  const last = shown[PACKETS_FIRST - 1];
  const lastAt = last === undefined ? -1 : sorted.findLastIndex(({ timeNs }) => timeNs <= last.packet.first.timeNs);
  return sorted.flatMap(({ at, text, what }, index): Moment[] => {
    const one = { at, what, text };
    if (index !== lastAt || hidden <= 0) return [one];
    return [one, { at: '', what: 'packet', text: `${hidden} more packets` }];
  });
}

function eventMoments({ connection, events, origin, path, writes }: MomentsInput, service: string): Timed[] {
  const { verdict } = connection;
  const decidedNs = (connection.judged ?? connection.decided ?? connection.opened).timeNs;
  const endNs = Math.max(decidedNs, path.passages.at(-1)?.packet.first.timeNs ?? 0);
  const about = events
    .map((timed, index) => ({ timed, index, timeNs: nanosecondsBetween(origin, timed) }))
    .filter(({ timed }) => isAbout(timed.event, service));
  const before = about.filter(({ timeNs }) => timeNs <= decidedNs);
  const named = verdict?.kind === 'stale' ? verdict.endedBy : verdict?.kind === 'early' ? verdict.beganBy : -1;
  const during = about.filter(({ timeNs }) => timeNs > decidedNs && timeNs <= endNs);
  const after = about.filter(({ timeNs }) => timeNs > endNs);
  const kept = new Set([
    ...before.slice(-EVENTS_BEFORE),
    ...about.filter(({ index }) => index === named),
    ...during.slice(0, EVENTS_AFTER),
    ...after.slice(0, 1),
  ]);
  return [...kept].flatMap(({ timed, timeNs }): Timed[] => {
    const at = instantText(momentOf(origin, timeNs));
    const count = writes.get(timed) ?? 0;
    const maps: Timed[] =
      count === 0 ? [] : [{ timeNs, at, what: 'maps', text: `${count} writes bring the model's maps to it` }];
    return [{ timeNs, at, what: 'event', text: `heard: ${eventText(timed)}` }, ...maps];
  });
}

/** Those that repeat bytes which had been sent before. */
function repeatedOf(passages: readonly Passage[]): ReadonlySet<Passage> {
  const streams = { request: newStream(), reply: newStream() };
  return new Set(
    passages.filter(({ direction, packet }) => {
      return direction !== 'error' && noteSegment(streams[direction], packet.first.headers);
    }),
  );
}

function packetMoments(
  { direction, packet, sightings }: Passage,
  { origin }: MomentsInput,
  isRepeated: boolean,
): Timed[] {
  const { first } = packet;
  const last = sightings.at(-1) ?? first;
  const way = sightings.length < 2 ? 'seen once' : `to ${endText(last.headers)} on ${last.place.device}`;
  const later =
    sightings.length < 2 ? '' : `, frame ${last.frame} after ${((last.timeNs - first.timeNs) / 1e3).toFixed(0)} µs`;
  const again = isRepeated ? ' AGAIN' : '';
  const text = `frame ${first.frame} ${direction} ${flagsText(first.headers)}${again} on ${first.place.device}, ${way}${later}`;
  return [{ timeNs: first.timeNs, at: instantText(momentOf(origin, first.timeNs)), what: 'packet', text }];
}

function endText({ destination, destinationPort }: Headers): string {
  return endpointText(destination, destinationPort);
}

function flagsText({ error, flags, payloadLength }: Headers): string {
  if (error !== undefined) return `ICMP ${error.type}/${error.code}`;
  const names = FLAGS.filter(([bit]) => (flags & bit) !== 0).map(([, name]) => name);
  return [...(names.length > 0 ? [names.join('+')] : []), `${payloadLength} bytes`].join(' ');
}
