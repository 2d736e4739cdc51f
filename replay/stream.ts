// SPDX-License-Identifier: Apache-2.0
/** One direction of a TCP connection as it was sent: which packets repeat bytes that had been sent before. */
import { TCP } from '../core/address.ts';
import { FLAG_ACK, FLAG_FIN, FLAG_RST, FLAG_SYN, type Headers } from './headers.ts';

/** Sequence numbers are signed words, as in the headers. */
export type Stream = {
  /** The first that has not been sent yet. */
  next: number;
  hasBegun: boolean;
  /** The last gap that was left, up to its end; equal: there is none. */
  gap: number;
  gapEnd: number;
  /** Packets that repeated something. */
  repeated: number;
};

export function newStream(): Stream {
  return { next: 0, hasBegun: false, gap: 0, gapEnd: 0, repeated: 0 };
}

/**
 * Whether a packet that was sent now repeats what had been sent. A SYN that asks is none: `openings` counts these. What
 * fills a gap came late, and for the first time.
 */
export function noteSegment(stream: Stream, headers: Headers): boolean {
  const { flags, part, payloadLength, protocol, sequence } = headers;
  if (protocol !== TCP || part !== 'whole' || (flags & FLAG_RST) !== 0) return false;
  // RFC 9293 section 3.4: SYN and FIN take a number each.
  const length = payloadLength + ((flags & FLAG_SYN) === 0 ? 0 : 1) + ((flags & FLAG_FIN) === 0 ? 0 : 1);
  if (length === 0) return false;
  const from = sequence;
  const end = (from + length) | 0;
  if (!stream.hasBegun) {
    stream.hasBegun = true;
    stream.next = end;
    return false;
  }
  const isNew = isAfter(end, stream.next);
  const ahead = (from - stream.next) | 0;
  if (ahead > 0) {
    stream.gap = stream.next;
    stream.gapEnd = from;
  }
  const isLate = !isNew && fillsGap(stream, from, end);
  if (isNew) stream.next = end;
  if (ahead >= 0 || isLate || (flags & (FLAG_SYN | FLAG_ACK)) === FLAG_SYN) return false;
  stream.repeated += 1;
  return true;
}

/** Takes it out of the gap; of what it leaves on both sides the later part is kept. */
function fillsGap(stream: Stream, from: number, end: number): boolean {
  const { gap, gapEnd } = stream;
  if (gap === gapEnd || isAfter(gap, from) || isAfter(end, gapEnd)) return false;
  if (end === gapEnd) stream.gapEnd = from;
  else stream.gap = end;
  return true;
}

/** RFC 1982: as far as half of all numbers apart. */
function isAfter(left: number, right: number): boolean {
  return ((left - right) | 0) > 0;
}
