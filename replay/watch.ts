// SPDX-License-Identifier: Apache-2.0
/** What somebody who looks over a replay's shoulder is told, as it goes along. */
import type { Outside } from '../core/twin.ts';
import type { CaptureRecord } from '../formats/capture.ts';
import type { TimedEvent } from '../formats/events.ts';
import type { Sighted, Sighting } from './attribute.ts';
import type { PacketPlace } from './tally.ts';
import type { Ran } from './twins.ts';

/** A frame as the twins got it, and their answer: valid during the call only. */
export type Asked = {
  readonly place: PacketPlace;
  readonly bytes: Uint8Array;
  readonly outside: Outside;
  readonly ran: Ran;
};

export type Watch = {
  /** A frame of a capture, whatever it is; the record is valid during the call only. */
  readonly record?: (file: string, record: CaptureRecord, timeNs: number) => void;
  /** An event, once both twins know of it, and how many map writes that took the model's control plane. */
  readonly event?: (timed: TimedEvent, writes: number) => void;
  /** A frame whose place is known, and the packet that it shows. */
  readonly frame?: (sighting: Sighting, packet: Sighted) => void;
  readonly asked?: (asked: Asked) => void;
  /** A packet of which nothing more will be seen. */
  readonly settled?: (packet: Sighted) => void;
};

/** All of them are told, in order. */
export function watchAll(watches: readonly Watch[]): Watch {
  return {
    record: (...what) => watches.forEach((watch) => watch.record?.(...what)),
    event: (...what) => watches.forEach((watch) => watch.event?.(...what)),
    frame: (...what) => watches.forEach((watch) => watch.frame?.(...what)),
    asked: (...what) => watches.forEach((watch) => watch.asked?.(...what)),
    settled: (...what) => watches.forEach((watch) => watch.settled?.(...what)),
  };
}
