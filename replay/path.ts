// SPDX-License-Identifier: Apache-2.0
/** Everything that a recording shows of one connection: its packets with all their sightings, and what the twins said. */
import type { Sighted, Sighting } from './attribute.ts';
import type { Connection } from './connections.ts';
import { endsOf } from './frame.ts';
import { flowText, turned, type Headers } from './headers.ts';
import { reasonOf, verdictOf } from './twins.ts';
import type { Watch } from './watch.ts';

/** One packet on its way. */
export type Passage = {
  readonly packet: Sighted;
  /** In order of time; the first one is where it was met first. */
  readonly sightings: readonly Sighting[];
  /** `error`: an ICMP error to one of the two. */
  readonly direction: 'request' | 'reply' | 'error';
};

/** What the model made of a packet: copied, so that it lasts. */
export type Said = {
  readonly frame: number;
  readonly timeNs: number;
  readonly hook: string;
  readonly verdict: string;
  readonly reason: string;
  readonly before: Headers | undefined;
  readonly after: Headers | undefined;
  readonly checksumMode: number;
};

export type Path = {
  readonly passages: readonly Passage[];
  readonly said: readonly Said[];
  /** Packets of it that are not kept any more. */
  readonly left: number;
};

/** More packets than a person reads; the beginning tells what is asked. */
const PACKETS_MAX = 200;

/** A port is used again: what belongs to a connection ends where the next one of the same name begins. */
export type Span = { readonly flow: string; readonly fromNs: number; readonly toNs: number };

export function spanOf(connection: Connection, all: readonly Connection[]): Span {
  const fromNs = connection.opened.timeNs;
  const next = all.find((other) => other.flow === connection.flow && other.opened.timeNs > fromNs);
  return { flow: connection.flow, fromNs, toNs: next === undefined ? Infinity : next.opened.timeNs - 1 };
}

/** Gathers the path while the recording is replayed once more. */
export function followPath(span: Span): { readonly watch: Watch; readonly path: () => Path } {
  const underway = new Map<Sighted, Sighting[]>();
  const passages: Passage[] = [];
  const said: Said[] = [];
  let left = 0;
  const watch: Watch = {
    frame: (sighting, packet) => {
      const known = underway.get(packet);
      if (known === undefined) underway.set(packet, [sighting]);
      else known.push(sighting);
    },
    asked: ({ bytes, outside, place, ran: { model } }) => {
      if (place.flow !== span.flow || !isWithin(span, place.timeNs) || said.length >= PACKETS_MAX) return;
      said.push({
        frame: place.frame,
        timeNs: place.timeNs,
        hook: place.hook,
        verdict: verdictOf(model),
        reason: reasonOf(model),
        before: endsOf(bytes),
        after: endsOf(model.bytes.subarray(0, model.length)),
        checksumMode: outside.checksumMode,
      });
    },
    settled: (packet) => {
      const sightings = underway.get(packet) ?? [];
      underway.delete(packet);
      const direction = directionOf(sightings, span);
      if (direction === undefined) return;
      if (passages.length < PACKETS_MAX) passages.push({ packet, sightings, direction });
      else left += 1;
    },
  };
  return { watch, path: () => ({ passages, said, left }) };
}

function isWithin({ fromNs, toNs }: Span, timeNs: number): boolean {
  return timeNs >= fromNs && timeNs <= toNs;
}

function directionOf(sightings: readonly Sighting[], span: Span): Passage['direction'] | undefined {
  const [first] = sightings;
  if (first === undefined || !isWithin(span, first.timeNs)) return undefined;
  for (const { headers } of sightings) {
    const about = headers.error?.about;
    if (about !== undefined && [flowText(about), flowText(turned(about))].includes(span.flow)) return 'error';
    if (flowText(headers) === span.flow) return 'request';
    if (flowText(turned(headers)) === span.flow) return 'reply';
  }
  return undefined;
}
