// SPDX-License-Identifier: Apache-2.0
/** Event streams: what watches of a cluster told and when, from one file or several, as one list in order of time. */
import { kindOf, objectsOf, type ClusterEvent, type ClusterObject, type ObjectKind } from '../core/objects.ts';
import { fail, type Failure } from '../core/result.ts';

import { openDocuments, type DocumentReader, type JsonDocument } from './documents.ts';
import {
  parseEventLine,
  TRIGGER_TIME,
  triggerTime,
  triggerTimeOf,
  type EventLine,
  type StreamHeader,
} from './eventline.ts';
import { createUntimedLists, gatherLists, nameOf, type UntimedLists } from './eventlists.ts';
import type { InputSource } from './input.ts';
import { addNanoseconds, compareInstants, nanosecondsBetween, type Instant } from './instant.ts';

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
  /** Objects without a word on what happened to them; deletions can't be among them. */
  readonly untyped: number;
  /** After this moment events may be missing because a file could not be read to its end, or tells no times; undefined: none is. */
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
  return { ...gathered, events: gatherLists(ordered, (place, message) => note(gathered, place, message)) };
}

type Gathering = {
  readonly events: TimedEvent[];
  readonly failures: Failure[];
  badLines: number;
  readonly problems: Failure[];
  readonly skipped: Map<string, number>;
  readonly headers: { readonly file: string; readonly header: StreamHeader }[];
  readonly times: { exact: number; trigger: number; arrival: number };
  untyped: number;
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
    untyped: 0,
    completeUntil: undefined,
  };
}

/** State of one file while it is read. */
type Stream = {
  readonly file: string;
  readonly lists: UntimedLists;
  readonly kinds: Set<ObjectKind>;
  /** Names of objects that were told without a word on what happened to them. */
  readonly untyped: Set<string>;
  /** To be added to the recorder's times. */
  offsetNs: number;
  last: Instant;
  hasGoneBack: boolean;
  hasUntimed: boolean;
};

function newStream(file: string): Stream {
  return {
    file,
    lists: createUntimedLists(),
    kinds: new Set(),
    untyped: new Set(),
    offsetNs: 0,
    last: DAWN,
    hasGoneBack: false,
    hasUntimed: false,
  };
}

function readStream(source: InputSource, onBad: 'stop' | 'skip', into: Gathering): void {
  const opened = openDocuments(source);
  if (!opened.ok) return stopReading(into, DAWN, opened.error);
  const documents = opened.value;
  const stream = newStream(documents.name);
  const failure = readDocuments(documents, stream, onBad, into) ?? documents.failure();
  documents.close();
  if (failure !== undefined) stopReading(into, stream.last, failure);
}

/** Returns what ends the reading early. */
function readDocuments(
  documents: DocumentReader,
  stream: Stream,
  onBad: 'stop' | 'skip',
  into: Gathering,
): Failure | undefined {
  for (let document = documents.next(); document !== undefined; document = documents.next()) {
    const { line } = document;
    if (countOf(into) >= EVENTS_MAX) {
      return fail('limit', placeOf(stream, line), `more than ${EVENTS_MAX} events`, 'give fewer or shorter streams')
        .error;
    }
    const parsed = parse(document);
    if (parsed.is !== 'bad') take(parsed, line, stream, into);
    const problem = parsed.is === 'bad' ? parsed : misplaced(parsed, line);
    if (problem === undefined) continue;
    const { error } = fail('input', placeOf(stream, line + (problem.lineOffset ?? 0)), problem.message);
    if (onBad === 'stop') return error;
    noteFailure(into, error);
  }
  return undefined;
}

function countOf({ times }: Gathering): number {
  return times.exact + times.trigger + times.arrival;
}

function parse({ text }: JsonDocument): EventLine {
  return text === undefined ? { is: 'bad', message: 'not UTF-8' } : parseEventLine(text);
}

function misplaced(parsed: EventLine, line: number): Extract<EventLine, { is: 'bad' }> | undefined {
  if (parsed.is !== 'header' || line === 1) return undefined;
  return { is: 'bad', message: 'a STREAM line that is not the first' };
}

function placeOf(stream: Stream, line: number): string {
  return `${stream.file} line ${line}`;
}

function noteFailure(into: Gathering, failure: Failure): void {
  into.badLines += 1;
  if (into.failures.length < FAILURES_MAX) into.failures.push(failure);
}

function stopReading(into: Gathering, last: Instant, failure: Failure): void {
  noteFailure(into, failure);
  if (into.completeUntil === undefined || compareInstants(last, into.completeUntil) < 0) into.completeUntil = last;
}

function take(parsed: Exclude<EventLine, { is: 'bad' }>, line: number, stream: Stream, into: Gathering): void {
  switch (parsed.is) {
    case 'header':
      if (line !== 1) return;
      stream.offsetNs = parsed.header.clock?.offsetNs ?? 0;
      into.headers.push({ file: stream.file, header: parsed.header });
      return;
    case 'unknown':
      return skip(parsed.kind, 1, line, stream, into);
    case 'list':
      for (const list of parsed.lists) takeEvent(list, undefined, line, stream, into);
      for (const [kind, count] of parsed.unknown) skip(kind, count, line, stream, into);
      return;
    case 'state':
      return takeState(parsed.object, line, stream, into);
    case 'lost':
      note(into, placeOf(stream, line), `the API server ended the watch: ${parsed.reason}`);
      for (const kind of stream.kinds)
        takeEvent({ type: 'DISCONNECTED', kind, reason: parsed.reason }, undefined, line, stream, into);
      return;
    case 'event':
      return takeEvent(parsed.event, parsed.at, line, stream, into);
  }
}

function skip(kind: string, objects: number, line: number, stream: Stream, into: Gathering): void {
  const count = into.skipped.get(kind) ?? 0;
  if (count === 0) note(into, placeOf(stream, line), `objects of kind ${kind} are skipped`);
  into.skipped.set(kind, count + objects);
}

function takeState(object: ClusterObject, line: number, stream: Stream, into: Gathering): void {
  if (stream.untyped.size === 0) {
    const message = 'nothing says what happened to these objects, so deletions are not seen';
    into.problems.push(fail('input', placeOf(stream, line), message, 'give kubectl --output-watch-events').error);
  }
  const name = `${object.kind} ${nameOf(object)}`;
  const type = stream.untyped.has(name) ? 'MODIFIED' : 'ADDED';
  stream.untyped.add(name);
  into.untyped += 1;
  takeEvent({ type, object }, undefined, line, stream, into);
}

function takeEvent(event: ClusterEvent, at: Instant | undefined, line: number, stream: Stream, into: Gathering): void {
  const { file, kinds, lists } = stream;
  const { seconds, nanoseconds } = timeOf(event, at, line, stream, into);
  const timed = { seconds, nanoseconds, file, line };
  kinds.add(kindOf(event));
  if (at === undefined && event.type === 'ADDED') {
    const taken = lists.take(timed, event.object);
    if (taken === 'taken') return;
    if (taken === 'later' && !hasTime(event)) noteUntimed(line, stream, into);
    into.events.push(taken === 'later' ? { ...timed, event } : taken);
    return;
  }
  if (at === undefined && !hasTime(event)) noteUntimed(line, stream, into);
  lists.end(kindOf(event));
  into.events.push({ ...timed, event });
}

function note(into: Gathering, place: string, message: string): void {
  if (into.problems.length < FAILURES_MAX) into.problems.push(fail('input', place, message).error);
}

function hasTime(event: ClusterEvent): boolean {
  return !('object' in event) || triggerTime(event) !== undefined;
}

/** A change that may have happened long after the moment that it counts from must not make anybody look wrong. */
function noteUntimed(line: number, stream: Stream, into: Gathering): void {
  if (compareInstants(stream.last, DAWN) > 0) {
    if (stream.hasUntimed) return;
    stream.hasUntimed = true;
    const message = 'nothing says when this change happened: it counts from the one before it, and so do others below';
    return note(into, placeOf(stream, line), message);
  }
  if (into.completeUntil === undefined || compareInstants(DAWN, into.completeUntil) < 0) {
    const message =
      'nothing says when this change happened, nor those before it: what came after the list is not judged';
    note(into, placeOf(stream, line), message);
    into.completeUntil = DAWN;
  }
}

/**
 * The order of lines is what the watch told, so time never goes back within a file: a line that claims an earlier
 * moment than the one before gets that one's.
 */
function timeOf(event: ClusterEvent, at: Instant | undefined, line: number, stream: Stream, into: Gathering): Instant {
  const known = at === undefined ? triggerOf(event) : addNanoseconds(at, stream.offsetNs);
  if (at !== undefined) into.times.exact += 1;
  else if (known !== undefined) into.times.trigger += 1;
  else into.times.arrival += 1;
  const goesBack = known !== undefined && compareInstants(known, stream.last) < 0;
  if (goesBack && at !== undefined && !stream.hasGoneBack) {
    stream.hasGoneBack = true;
    const byMs = (nanosecondsBetween(known, stream.last) / 1e6).toFixed(3);
    note(into, placeOf(stream, line), `time goes back by ${byMs} ms; from here on the order of lines counts`);
  }
  if (known !== undefined && !goesBack) stream.last = known;
  return stream.last;
}

/** Of a list the latest: it was read after that. */
function triggerOf(event: ClusterEvent): Instant | undefined {
  let latest: Instant | undefined;
  for (const object of objectsOf(event)) {
    const known = triggerTimeOf(object);
    if (known !== undefined && (latest === undefined || compareInstants(known, latest) > 0)) latest = known;
  }
  return latest;
}

/** How exact the times of the events are, and what was done to them: a line each, for people. */
export function timesText({ headers, times, untyped }: EventStreams): readonly string[] {
  const { arrival, exact, trigger } = times;
  const lines = [`${exact} events with the time of their arrival`];
  if (trigger > 0) lines.push(`${trigger} with the time of the change behind them, to the second (${TRIGGER_TIME})`);
  if (arrival > 0) lines.push(`${arrival} without a time: they count from the one before them in their file`);
  if (untyped > 0) lines.push(`${untyped} objects without a type: deletions are not seen`);
  for (const { file, header } of headers) {
    if (header.clock === undefined) continue;
    const { errorNs, offsetNs } = header.clock;
    lines.push(`${file}: ${offsetNs / 1e6} ms added to its clock, which may still be off by ${errorNs / 1e6} ms`);
  }
  return lines;
}

function compareTimed(left: TimedEvent, right: TimedEvent, files: ReadonlyMap<string, number>): number {
  return (
    compareInstants(left, right) ||
    RANKS[kindOf(left.event)] - RANKS[kindOf(right.event)] ||
    (files.get(left.file) ?? 0) - (files.get(right.file) ?? 0) ||
    left.line - right.line
  );
}
