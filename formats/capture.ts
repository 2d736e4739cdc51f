// SPDX-License-Identifier: Apache-2.0
/** What a capture file of any format gives its reader: one record after the other, then the end or a failure. */
import { fail, type Failure } from '../core/result.ts';

import type { InputWindow } from './input.ts';

/**
 * One captured frame. The reader owns this object and its bytes and uses both again: they are valid until the next
 * call of `next` or `close`. Whoever keeps something copies it first.
 */
export type CaptureRecord = {
  /** As Wireshark counts: from 1, in the order of the file. */
  readonly frame: number;
  /** Where the record begins in the file, in bytes. */
  readonly offset: number;
  /** Time of capture: seconds since 1970 UTC, and 0 to 999,999,999. */
  readonly seconds: number;
  readonly nanoseconds: number;
  /** Length on the wire in bytes; larger than `capturedLength` where the capture kept only the beginning. */
  readonly originalLength: number;
  readonly capturedLength: number;
  /** LINKTYPE_ number of the interface, one that link.ts knows. */
  readonly linkType: number;
  /** The frame is `capturedLength` bytes of `buffer` from `start`: the way without garbage. */
  readonly buffer: Uint8Array;
  readonly start: number;
  /** The same as a view, made anew at each access. */
  readonly bytes: Uint8Array;
};

/** A capture that is being read. */
export type Capture = {
  readonly name: string;
  readonly format: 'pcap';
  /** The next frame, or undefined at the end; then `failure` tells whether it was a good end. */
  readonly next: () => CaptureRecord | undefined;
  /** Why nothing more can be read; undefined before the end and after a good one. */
  readonly failure: () => Failure | undefined;
  /** Releases the file; reading to the end does it as well. */
  readonly close: () => void;
};

/** No frame is longer, in any capture. It is libpcap's own limit (MAXIMUM_SNAPLEN), and it bounds our memory. */
export const FRAME_BYTES_MAX: number = 262_144;

/** The record as its reader sees it. */
export type OwnedRecord = { -readonly [Key in keyof CaptureRecord]: CaptureRecord[Key] };

/** An empty record, to be filled again and again. */
export function newRecord(linkType: number): OwnedRecord {
  return {
    frame: 0,
    offset: 0,
    seconds: 0,
    nanoseconds: 0,
    originalLength: 0,
    capturedLength: 0,
    linkType,
    buffer: new Uint8Array(0),
    start: 0,
    get bytes() {
      return this.buffer.subarray(this.start, this.start + this.capturedLength);
    },
  };
}

/** A failure at a place in a file, in bytes from its beginning. */
export function failAt(
  input: InputWindow,
  offset: number,
  message: string,
  remedy = '',
): { readonly ok: false; readonly error: Failure } {
  return fail('input', `${input.name} offset ${offset}`, message, remedy);
}
