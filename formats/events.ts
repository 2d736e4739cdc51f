// SPDX-License-Identifier: Apache-2.0
/** Event streams: what watches of a cluster told and when, from one file or several, as one list in order of time. */
import type { ClusterEvent, ClusterObject, ObjectKind } from '../core/objects.ts';
import { fail, type Failure } from '../core/result.ts';

import { parseEventLine, triggerTime, type EventLine, type StreamHeader } from './eventline.ts';
import type { InputSource } from './input.ts';
import { compareInstants, nanosecondsBetween, type Instant } from './instant.ts';
import { openLines, type Line, type LineReader } from './lines.ts';

/** An event, when it was heard of, and where it stands. */
export type TimedEvent = {
  readonly seconds: number;
  readonly nanoseconds: number;
  readonly event: ClusterEvent;
  readonly file: string;
  /** From 1; of a list that was gathered from several lines, the last one. */
  readonly line: number;
};

export type EventStreams = {
  /** In order of time; ties: Node, Service, EndpointSlice, Pod, then order of files, then of lines. */
  readonly events: readonly TimedEvent[];
  /** What could not be read: with `stop` at most one of each file. At most FAILURES_MAX of them. */
  readonly failures: readonly Failure[];
  /** All lines that could not be read, told in `failures` or not. */
  readonly badLines: number;
  /** Odd but readable: unknown kinds, times that go back, kinds without a list. */
  readonly problems: readonly Failure[];
  /** Unknown kind to lines that were skipped for it. */
  readonly skipped: ReadonlyMap<string, number>;
  readonly headers: readonly { readonly file: string; readonly header: StreamHeader }[];
  /** How each time is known: written by the recorder, by the controller, or only in order of arrival. */
  readonly times: { readonly exact: number; readonly trigger: number; readonly arrival: number };
  /** After this moment events may be missing because a file could not be read to its end; undefined: none is. */
  readonly completeUntil: Instant | undefined;
};

export type EventOptions = {
  /** What a line that cannot be read does: ends the reading of its file (the default), or is left out. */
  readonly onBad?: 'stop' | 'skip';
};

/** Told one by one up to here; a file of garbage must not fill memory with complaints. */
export const FAILURES_MAX: number = 100;

/** Events in memory at once; at about 2 KB each this is what a process of Node can hold. */
export const EVENTS_MAX: number = 1_000_000;

/** ADDED lines of a kind that follow each other faster than this are the list that a watch begins with. */
const LIST_GAP_NS = 1_000_000_000;

const RANKS: Readonly<Record<ObjectKind, number>> = { Node: 0, Service: 1, EndpointSlice: 2, Pod: 3 };

const DAWN: Instant = { seconds: 0, nanoseconds: 0 };

/** Whether a file is an event stream by its name, rather than manifests. */
export function isEventStreamName(name: string): boolean {
  return name.endsWith('.ndjson');
}

/** Never throws for what a file holds: what could be read is in the result, and so is what could not. */
export function readEventStreams(sources: readonly InputSource[], options: EventOptions = {}): EventStreams {
  const gathered = newGathering();
  for (const source of sources) readStream(source, options.onBad ?? 'stop', gathered);
  const files = new Map(sources.map((source, index) => [typeof source === 'string' ? source : source.name, index]));
  const ordered = gathered.events.sort((left, right) => compareTimed(left, right, files));
  return { ...gathered, events: gatherLists(ordered, gathered) };
}

type Gathering = {
  readonly events: TimedEvent[];
  readonly failures: Failure[];
  badLines: number;
  readonly problems: Failure[];
  readonly skipped: Map<string, number>;
  readonly headers: { readonly file: string; readonly header: StreamHeader }[];
  readonly times: { exact: number; trigger: number; arrival: number };
  completeUntil: Instant | undefined;
};

function newGathering(): Gathering {
  return {
    events: [],
    failures: [],
    badLines: 0,
    problems: [],
    skipped: new Map(),
    headers: [],
    times: { exact: 0, trigger: 0, arrival: 0 },
    completeUntil: undefined,
  };
}

/** State of one file while it is read. */
type Stream = { readonly file: string; last: Instant; hasGoneBack: boolean };

function readStream(source: InputSource, onBad: 'stop' | 'skip', into: Gathering): void {
  const opened = openLines(source);
  if (!opened.ok) return stopReading(into, DAWN, opened.error);
  const lines = opened.value;
  const stream: Stream = { file: lines.name, last: DAWN, hasGoneBack: false };
  const failure = readLines(lines, stream, onBad, into) ?? lines.failure();
  lines.close();
  if (failure !== undefined) stopReading(into, stream.last, failure);
}

/** Returns what ends the reading early. */
function readLines(lines: LineReader, stream: Stream, onBad: 'stop' | 'skip', into: Gathering): Failure | undefined {
  for (let line = lines.next(); line !== undefined; line = lines.next()) {
    if (line.text !== undefined && line.text.trim() === '') continue;
    if (into.events.length >= EVENTS_MAX) {
      return fail('limit', placeOf(stream, line), `more than ${EVENTS_MAX} events`, 'give fewer or shorter streams')
        .error;
    }
    const problem = takeLine(parseLine(line), line, stream, into);
    if (problem === undefined) continue;
    const { error } = fail('input', placeOf(stream, line), problem);
    if (onBad === 'stop') return error;
    noteFailure(into, error);
  }
  return undefined;
}

function parseLine(line: Line): EventLine {
  return line.text === undefined ? { is: 'bad', message: 'not UTF-8' } : parseEventLine(line.text);
}

function placeOf(stream: Stream, line: Line): string {
  return `${stream.file} line ${line.number}`;
}

function noteFailure(into: Gathering, failure: Failure): void {
  into.badLines += 1;
  if (into.failures.length < FAILURES_MAX) into.failures.push(failure);
}

function stopReading(into: Gathering, last: Instant, failure: Failure): void {
  noteFailure(into, failure);
  if (into.completeUntil === undefined || compareInstants(last, into.completeUntil) < 0) into.completeUntil = last;
}

/** Returns why the line is bad. */
function takeLine(parsed: EventLine, line: Line, stream: Stream, into: Gathering): string | undefined {
  switch (parsed.is) {
    case 'bad':
      return parsed.message;
    case 'header':
      if (line.number !== 1) return 'a STREAM line that is not the first';
      into.headers.push({ file: stream.file, header: parsed.header });
      return undefined;
    case 'unknown': {
      const count = into.skipped.get(parsed.kind) ?? 0;
      if (count === 0) note(into, placeOf(stream, line), `objects of kind ${parsed.kind} are skipped`);
      into.skipped.set(parsed.kind, count + 1);
      return undefined;
    }
    case 'event': {
      const { seconds, nanoseconds } = timeOf(parsed, line, stream, into);
      into.events.push({ seconds, nanoseconds, event: parsed.event, file: stream.file, line: line.number });
      return undefined;
    }
  }
}

function note(into: Gathering, place: string, message: string): void {
  if (into.problems.length < FAILURES_MAX) into.problems.push(fail('input', place, message).error);
}

/**
 * The order of lines is what the watch told, so time never goes back within a file: a line that claims an earlier
 * moment than the one before gets that one's.
 */
function timeOf(parsed: Extract<EventLine, { is: 'event' }>, line: Line, stream: Stream, into: Gathering): Instant {
  const known = parsed.at ?? triggerTime(parsed.event);
  if (parsed.at !== undefined) into.times.exact += 1;
  else if (known !== undefined) into.times.trigger += 1;
  else into.times.arrival += 1;
  const goesBack = known !== undefined && compareInstants(known, stream.last) < 0;
  if (goesBack && parsed.at !== undefined && !stream.hasGoneBack) {
    stream.hasGoneBack = true;
    const byMs = (nanosecondsBetween(known, stream.last) / 1e6).toFixed(3);
    note(into, placeOf(stream, line), `time goes back by ${byMs} ms; from here on the order of lines counts`);
  }
  if (known !== undefined && !goesBack) stream.last = known;
  return stream.last;
}

function kindOf(event: ClusterEvent): ObjectKind {
  return 'object' in event ? event.object.kind : event.kind;
}

function compareTimed(left: TimedEvent, right: TimedEvent, files: ReadonlyMap<string, number>): number {
  return (
    compareInstants(left, right) ||
    RANKS[kindOf(left.event)] - RANKS[kindOf(right.event)] ||
    (files.get(left.file) ?? 0) - (files.get(right.file) ?? 0) ||
    left.line - right.line
  );
}

/** The leading ADDED events of a kind, as far as they have been seen. */
type Leading = {
  last: TimedEvent;
  readonly members: Set<TimedEvent>;
  readonly items: Map<string, ClusterObject>;
  isOpen: boolean;
};

/** They become one LISTED, in the place of the last of them: only then was the list whole. */
function gatherLists(events: readonly TimedEvent[], into: Gathering): TimedEvent[] {
  const lists = new Map<ObjectKind, Leading>();
  for (const timed of events) {
    const kind = kindOf(timed.event);
    const list = lists.get(kind) ?? { last: timed, members: new Set(), items: new Map(), isOpen: true };
    if (!lists.has(kind) && (timed.event.type === 'MODIFIED' || timed.event.type === 'DELETED')) {
      note(into, `${timed.file} line ${timed.line}`, `no list of ${kind} stands before its first ${timed.event.type}`);
    }
    lists.set(kind, list);
    list.isOpen &&= timed.event.type === 'ADDED' && nanosecondsBetween(list.last, timed) < LIST_GAP_NS;
    if (!list.isOpen || timed.event.type !== 'ADDED') continue;
    list.items.set(nameOf(timed.event.object), timed.event.object);
    list.members.add(timed);
    list.last = timed;
  }
  return events.flatMap((timed) => {
    const kind = kindOf(timed.event);
    const list = lists.get(kind);
    if (list === undefined || !list.members.has(timed)) return [timed];
    if (timed !== list.last) return [];
    return [{ ...timed, event: { type: 'LISTED', kind, items: [...list.items.values()] } }];
  });
}

function nameOf(object: ClusterObject): string {
  return `${object.metadata?.namespace ?? ''}/${object.metadata?.name ?? ''}`;
}
