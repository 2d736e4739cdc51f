// SPDX-License-Identifier: Apache-2.0
/** One time line of everything that was recorded: frames of all captures and events of all streams, merged by time. */
import { fail, ok, type Failure, type Result } from '../core/result.ts';
import type { Capture, CaptureRecord } from '../formats/capture.ts';
import type { EventStreams, TimedEvent } from '../formats/events.ts';
import type { InputSource } from '../formats/input.ts';
import { addNanoseconds, compareInstants, nanosecondsBetween, type Instant } from '../formats/instant.ts';
import { openCapture } from '../formats/open.ts';

/** Times are nanoseconds from the first moment of the recording, exact to 104 days. */
export type TimelineItem =
  | { readonly is: 'event'; readonly timeNs: number; readonly timed: TimedEvent }
  | Readonly<TimedFrame>;

type TimedFrame = { readonly is: 'frame'; timeNs: number; file: string; record: CaptureRecord };

export type Timeline = {
  /** The first moment. */
  readonly origin: Instant;
  /** The next item; a frame is valid until the next call. At equal times events come before frames. */
  readonly next: () => TimelineItem | undefined;
  /** Captures that could not be read, or not to their end. */
  readonly failures: () => readonly Failure[];
  /** Frames whose time was before that of the frame before them in the file; they count as simultaneous with it. */
  readonly backwards: () => number;
  /** Frames that tell no time; they count as simultaneous with the one before them. */
  readonly untimed: () => number;
  readonly close: () => void;
};

/** A capture with the record that it stands at. */
type Reader = {
  readonly capture: Capture;
  /** Its clock is so much ahead. */
  readonly offsetNs: number;
  record: CaptureRecord | undefined;
  timeNs: number;
};

/** A capture whose clock is ahead by so much. */
export type TimedSource = { readonly source: InputSource; readonly offsetNs: number };

/** Opens all captures; those that can't be opened are in `failures`, the others are read. */
export function openTimeline(sources: readonly TimedSource[], streams: EventStreams): Timeline {
  const failures: Failure[] = [];
  const readers: Reader[] = [];
  for (const timed of sources) {
    const opened = openReader(timed, failures);
    if (opened.ok) readers.push(opened.value);
    else failures.push(opened.error);
  }
  const origin = firstMoment(readers, streams);
  let backwards = 0;
  let untimed = 0;
  let eventIndex = 0;
  let eventNs = timeOfEvent(streams, 0, origin);
  let current: Reader | undefined;
  let frame: TimedFrame | undefined;
  for (const reader of readers) reader.timeNs = timeOf(reader.record, origin) - reader.offsetNs;

  /** Moves on only when the next item is asked for: the record handed out last must stay valid until then. */
  function advance(reader: Reader): void {
    reader.record = reader.capture.next();
    if (reader.record === undefined) {
      const failure = reader.capture.failure();
      if (failure !== undefined) failures.push(failure);
      return;
    }
    if (!reader.record.hasTime) untimed += 1;
    const timeNs = timeOf(reader.record, origin) - reader.offsetNs;
    if (timeNs < reader.timeNs) backwards += 1;
    else reader.timeNs = timeNs;
  }

  /** The same object for all frames. */
  function frameOf({ capture: { name }, timeNs }: Reader, record: CaptureRecord): TimedFrame {
    frame ??= { is: 'frame', timeNs, file: name, record };
    frame.timeNs = timeNs;
    frame.file = name;
    frame.record = record;
    return frame;
  }

  function next(): TimelineItem | undefined {
    if (current !== undefined) advance(current);
    current = undefined;
    let earliest: Reader | undefined;
    for (const reader of readers) {
      if (reader.record !== undefined && (earliest === undefined || reader.timeNs < earliest.timeNs)) earliest = reader;
    }
    const timed = streams.events[eventIndex];
    if (timed !== undefined && (earliest === undefined || eventNs <= earliest.timeNs)) {
      const timeNs = eventNs;
      eventIndex += 1;
      eventNs = timeOfEvent(streams, eventIndex, origin);
      return { is: 'event', timeNs, timed };
    }
    if (earliest?.record === undefined) return undefined;
    current = earliest;
    return frameOf(earliest, earliest.record);
  }

  return {
    origin,
    next,
    failures: () => failures,
    backwards: () => backwards,
    untimed: () => untimed,
    close: () => readers.forEach(({ capture }) => capture.close()),
  };
}

function openReader({ offsetNs, source }: TimedSource, failures: Failure[]): Result<Reader> {
  const opened = openCapture(source);
  if (!opened.ok) return opened;
  const record = opened.value.next();
  const failure = opened.value.failure();
  if (record === undefined && failure !== undefined) failures.push(failure);
  if (record?.hasTime === false) {
    opened.value.close();
    const at = `${opened.value.name} offset ${record.offset}`;
    const message = 'frame 1 tells no time (simple packet block): it cannot be put beside events';
    return fail('input', at, message, 'capture with enhanced packet blocks, as dumpcap does');
  }
  return ok({ capture: opened.value, offsetNs, record, timeNs: 0 });
}

function timeOf(record: CaptureRecord | undefined, origin: Instant): number {
  return record === undefined ? 0 : nanosecondsBetween(origin, record);
}

function timeOfEvent({ events }: EventStreams, index: number, origin: Instant): number {
  const timed = events[index];
  return timed === undefined ? Infinity : Math.max(0, nanosecondsBetween(origin, timed));
}

/** Nobody asks what was further back; a double would not count it in nanoseconds either. */
const BEFORE_PACKETS_NS = 120_000_000_000;

/** Of the packets, or of what was heard shortly before them: what was heard earlier counts as heard then. */
function firstMoment(readers: readonly Reader[], streams: EventStreams): Instant {
  const records: Instant[] = readers.flatMap(({ offsetNs, record }) =>
    record === undefined ? [] : [addNanoseconds(record, -offsetNs)],
  );
  const packet = records.sort(compareInstants)[0];
  const event = streams.events[0];
  const earliest = packet && addNanoseconds(packet, -BEFORE_PACKETS_NS);
  const moments = [packet, event && earliest && compareInstants(event, earliest) < 0 ? earliest : event];
  const first = moments.filter((moment) => moment !== undefined).sort(compareInstants)[0] ?? {
    seconds: 0,
    nanoseconds: 0,
  };
  return { seconds: first.seconds, nanoseconds: first.nanoseconds };
}
