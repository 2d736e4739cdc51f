// SPDX-License-Identifier: Apache-2.0
/** What would have changed, had an event not been heard, or later: the stream as it would have been, and two tallies side by side. */
import { basename } from 'node:path';
import { kindOf } from '../core/objects.ts';
import { fail, ok, type Result } from '../core/result.ts';
import type { EventStreams, TimedEvent } from '../formats/events.ts';
import { compareInstants, instantText } from '../formats/instant.ts';
import type { Connection } from './connections.ts';
import { choiceText, eventText, verdictText } from './judge.ts';
import { momentOf } from './lines.ts';
import type { Tally } from './tally.ts';

/** Events that an error message names. */
const EVENTS_MAX = 4;

/** A stream as it would have been, and that in words. */
export type Altered = { readonly streams: EventStreams; readonly words: string };

/** The event at `LINE` or `FILE:LINE`, where FILE is how the file's name begins. */
function findEvent(events: readonly TimedEvent[], option: string, word: string): Result<number> {
  const [, name = '', digits = ''] = /^(?:(.+):)?(\d+)$/.exec(word) ?? [];
  if (digits === '')
    return fail('usage', `${option} ${word}`, 'no line of an event stream', 'write 16 or endpointslices:16');
  const line = Number(digits);
  const found = events.flatMap((timed, index) =>
    timed.line === line && basename(timed.file).startsWith(basename(name)) ? [index] : [],
  );
  const [only] = found;
  if (only !== undefined && found.length === 1) return ok(only);
  if (only !== undefined) {
    return fail('usage', `${option} ${word}`, 'several files have that line', `which: ${namesOf(events, found)}`);
  }
  const near = events
    .map((timed, index) => ({ index, distance: Math.abs(timed.line - line) }))
    .sort((left, right) => left.distance - right.distance)
    .slice(0, EVENTS_MAX);
  const there = near.map(({ index }) => index).sort((left, right) => left - right);
  return fail('usage', `${option} ${word}`, 'no event stands in that line', `there are ${namesOf(events, there)}`);
}

function namesOf(events: readonly TimedEvent[], indices: readonly number[]): string {
  const names = indices.slice(0, EVENTS_MAX).flatMap((index) => {
    const timed = events[index];
    return timed === undefined ? [] : [`${basename(timed.file).split('.')[0]}:${timed.line} ${eventText(timed)}`];
  });
  return names.join(', ');
}

export function withoutEvent(streams: EventStreams, word: string): Result<Altered> {
  const found = findEvent(streams.events, '--without-event', word);
  if (!found.ok) return found;
  const timed = streams.events[found.value];
  const events = streams.events.toSpliced(found.value, 1);
  return ok({
    streams: { ...streams, events },
    words: `${timed === undefined ? word : eventText(timed)} had not been heard`,
  });
}

/** `EVENT=MS`. A watch keeps its order: what it tells of this kind in the meantime waits as well. */
export function withDelay(streams: EventStreams, word: string): Result<Altered> {
  const [, event = '', digits = ''] = /^(.+)=(\d+)$/.exec(word) ?? [];
  if (digits === '')
    return fail('usage', `--delay ${word}`, 'no event and milliseconds', 'write 16=500 or endpointslices:16=500');
  const found = findEvent(streams.events, '--delay', event);
  if (!found.ok) return found;
  const late = streams.events[found.value];
  if (late === undefined) return fail('usage', `--delay ${word}`, 'no such event');
  const moment = momentOf(late, Number(digits) * 1e6);
  const kind = kindOf(late.event);
  const events = streams.events.map((timed, index) => {
    const waits = index >= found.value && kindOf(timed.event) === kind && compareInstants(timed, moment) < 0;
    return waits ? { ...timed, ...moment } : timed;
  });
  events.sort(compareInstants);
  return ok({ streams: { ...streams, events }, words: `${eventText(late)} had been heard ${digits} ms later` });
}

/** A connection of which something would have been otherwise. */
export type Otherwise = {
  readonly service: string;
  readonly flow: string;
  readonly at: string;
  readonly file: string;
  readonly frame: number;
  /** What the model chose and what was observed of it, then and as it was. */
  readonly choice: { readonly was: string; readonly wouldBe: string };
  readonly permission: { readonly was: string; readonly wouldBe: string };
};

/** Connections that would have been otherwise, in order of time. */
export function compareTallies(
  was: { readonly tally: Tally; readonly events: readonly TimedEvent[] },
  wouldBe: { readonly tally: Tally; readonly events: readonly TimedEvent[] },
): readonly Otherwise[] {
  const others = new Map(wouldBe.tally.connections.map((connection) => [keyOf(connection), connection]));
  return was.tally.connections.flatMap((connection): Otherwise[] => {
    const other = others.get(keyOf(connection));
    const choice = { was: choiceOf(connection), wouldBe: choiceOf(other) };
    const permission = { was: verdictText(connection, was.events), wouldBe: permissionOf(other, wouldBe.events) };
    if (choice.was === choice.wouldBe && sortOf(connection) === sortOf(other)) return [];
    const { flow, opened, service } = connection;
    const at = instantText(momentOf(was.tally.origin, opened.timeNs));
    return [{ service, flow, at, file: opened.file, frame: opened.frame, choice, permission }];
  });
}

function keyOf({ opened }: Connection): string {
  return `${opened.file} ${opened.frame}`;
}

/** In `verdictText` is how late it was, too: that alone is no other permission. */
function sortOf(connection: Connection | undefined): string {
  return connection?.verdict?.kind ?? connection?.notJudged ?? 'not-judged';
}

function choiceOf(connection: Connection | undefined): string {
  if (connection === undefined) return 'left alone: no Service';
  const { datagrams, model } = connection;
  return [model, ...(datagrams?.modelChanges ?? [])].map(choiceText).join(', then ');
}

function permissionOf(connection: Connection | undefined, events: readonly TimedEvent[]): string {
  return connection === undefined ? 'not judged: no connection to a Service' : verdictText(connection, events);
}
