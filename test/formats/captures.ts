// SPDX-License-Identifier: Apache-2.0
/** Everything a reader of captures can learn of a source, as plain values. */
import type { Failure } from '../../core/result.ts';
import type { CaptureRecord } from '../../formats/capture.ts';
import type { InputSource } from '../../formats/input.ts';
import { openCapture } from '../../formats/open.ts';

export type Frame = Omit<CaptureRecord, 'buffer' | 'start' | 'bytes'> & { readonly bytes: readonly number[] };

export type ReadCapture = { readonly frames: readonly Frame[]; readonly failure: Failure | undefined };

export function readAll(source: InputSource): ReadCapture {
  const opened = openCapture(source);
  if (!opened.ok) return { frames: [], failure: opened.error };
  const frames: Frame[] = [];
  const capture = opened.value;
  for (let record = capture.next(); record !== undefined; record = capture.next()) frames.push(frameOf(record));
  return { frames, failure: capture.failure() };
}

/** A copy that stays valid. */
function frameOf(record: CaptureRecord): Frame {
  const { frame, offset, seconds, nanoseconds, hasTime, originalLength, capturedLength, linkType } = record;
  const { interfaceId, interfaceName, comments, direction, packetId, bytes } = record;
  const place = { frame, offset, linkType, interfaceId, interfaceName };
  const time = { seconds, nanoseconds, hasTime };
  return { ...place, ...time, originalLength, capturedLength, comments, direction, packetId, bytes: [...bytes] };
}
