// SPDX-License-Identifier: Apache-2.0
/** What a capture file of any format gives its reader: one record after the other, then the end or a failure. */
import { fail, type Failure } from '../core/result.ts';

import type { InputWindow } from './input.ts';
import { commentsOf, directionOf, packetIdOf, type PacketDirection } from './pcapngoptions.ts';

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
  /** False in simple packet blocks of pcapng, which have none: then it is the time of the frame before. */
  readonly hasTime: boolean;
  /** LINKTYPE_ number of the interface; in pcapng possibly one that link.ts does not know, as `parseLink` then says. */
  readonly linkType: number;
  /** Number of the interface in its section of a pcapng file, from 0; always 0 in a pcap file. */
  readonly interfaceId: number;
  /** Such as `eth0`; empty where the file does not tell it. */
  readonly interfaceName: string;
  /** The frame is `capturedLength` bytes of `buffer` from `start`: the way without garbage. */
  readonly buffer: Uint8Array;
  readonly start: number;
  /** The same as a view, made anew at each access. */
  readonly bytes: Uint8Array;
  /** What pcapng files tell of a frame by options; read anew at each access. */
  readonly comments: readonly string[];
  /** As the capturing machine saw it (epb_flags). */
  readonly direction: PacketDirection | undefined;
  /** The same packet on several interfaces of one machine has one number (epb_packetid). */
  readonly packetId: bigint | undefined;
};

/** A capture that is being read. */
export type Capture = {
  readonly name: string;
  readonly format: 'pcap' | 'pcapng';
  /** The next frame, or undefined at the end; then `failure` tells whether it was a good end. */
  readonly next: () => CaptureRecord | undefined;
  /** Why nothing more can be read; undefined before the end and after a good one. */
  readonly failure: () => Failure | undefined;
  /** Releases the file; reading to the end does it as well. */
  readonly close: () => void;
};

/** No frame is longer, in any capture. It is libpcap's own limit (MAXIMUM_SNAPLEN), and it bounds our memory. */
export const FRAME_BYTES_MAX: number = 262_144;

/**
 * The record as its reader sees it; options are those bytes of `buffer`, already found well-formed. A class, because V8
 * looks up each field of the second object with getters of its own in a table.
 */
export class OwnedRecord implements CaptureRecord {
  frame = 0;
  offset = 0;
  seconds = 0;
  nanoseconds = 0;
  originalLength = 0;
  capturedLength = 0;
  hasTime = true;
  linkType: number;
  interfaceId = 0;
  interfaceName = '';
  buffer: Uint8Array = new Uint8Array(0);
  start = 0;
  optionsStart = 0;
  optionsEnd = 0;
  isLittleEndian = true;

  /** Empty, to be filled again and again. */
  constructor(linkType: number) {
    this.linkType = linkType;
  }

  get bytes(): Uint8Array {
    return this.buffer.subarray(this.start, this.start + this.capturedLength);
  }
  get comments(): readonly string[] {
    return commentsOf(this);
  }
  get direction(): PacketDirection | undefined {
    return directionOf(this);
  }
  get packetId(): bigint | undefined {
    return packetIdOf(this);
  }
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

/** A capture over a window, which it closes at the end. `read` fills the record with the next frame. */
export function captureOf(
  input: InputWindow,
  format: Capture['format'],
  record: OwnedRecord,
  read: () => 'frame' | 'end' | Failure,
): Capture {
  let failure: Failure | undefined;
  let ended = false;
  const close = (): void => {
    ended = true;
    input.close();
  };
  const next = (): CaptureRecord | undefined => {
    if (ended) return undefined;
    const met = read();
    if (met === 'frame') return record;
    if (met !== 'end') failure = met;
    close();
    return undefined;
  };
  return { name: input.name, format, next, failure: () => failure, close };
}
