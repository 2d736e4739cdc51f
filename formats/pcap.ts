// SPDX-License-Identifier: Apache-2.0
/** Classic pcap files: a strict reader of all four kinds, and a writer. draft-ietf-opsawg-pcap */
import { assert, ok, type Failure, type Result } from '../core/result.ts';

import { captureOf, failAt, FRAME_BYTES_MAX, OwnedRecord, type Capture } from './capture.ts';
import type { InputWindow } from './input.ts';
import { isKnownLinkType, KNOWN_LINK_TYPES } from './link.ts';
import type { Output } from './output.ts';

/** The first word, read in the byte order of the file. */
export const MAGIC_MICROSECONDS: number = 0xa1b2c3d4;
export const MAGIC_NANOSECONDS: number = 0xa1b23c4d;

const FILE_HEADER_BYTES = 24;
const RECORD_HEADER_BYTES = 16;

type PcapHeader = {
  readonly isLittleEndian: boolean;
  /** 1 or 1000. */
  readonly nanosecondsPerUnit: number;
  /** Longest frame that the capture was to keep; 0 where the writer did not say. */
  readonly snapLength: number;
  readonly linkType: number;
};

/** Reads a file whose first word is one of the magics; takes over the window and closes it at the end. */
export function readPcap(input: InputWindow): Result<Capture> {
  const header = readHeader(input);
  if (!header.ok) {
    input.close();
    return header;
  }
  const record = new OwnedRecord(header.value.linkType);
  return ok(
    captureOf(input, 'pcap', record, () => {
      const failure = readRecord(input, header.value, record);
      return failure ?? (record.frame > 0 ? 'frame' : 'end');
    }),
  );
}

function readHeader(input: InputWindow): Result<PcapHeader> {
  const have = input.ensure(FILE_HEADER_BYTES);
  const { view } = input;
  const isLittleEndian = have >= 4 && isMagic(view.getUint32(0, true));
  const magic = have < 4 ? undefined : view.getUint32(0, isLittleEndian);
  if (magic !== undefined && !isMagic(magic)) return failAt(input, 0, `not a pcap file: it begins with ${hex(magic)}`);
  if (have < FILE_HEADER_BYTES) {
    return failAt(input, 0, `the file is cut inside its header: ${have} of ${FILE_HEADER_BYTES} bytes are there`);
  }
  const version = `${view.getUint16(4, isLittleEndian)}.${view.getUint16(6, isLittleEndian)}`;
  if (version !== '2.4') return failAt(input, 4, `pcap version ${version} is not known, only 2.4`);
  const linkType = view.getUint32(20, isLittleEndian);
  if (!isKnownLinkType(linkType)) {
    return failAt(input, 20, `unknown link type ${linkType}`, `known are ${KNOWN_LINK_TYPES}`);
  }
  input.start += FILE_HEADER_BYTES;
  const nanosecondsPerUnit = magic === MAGIC_NANOSECONDS ? 1 : 1000;
  return ok({ isLittleEndian, nanosecondsPerUnit, snapLength: view.getUint32(16, isLittleEndian), linkType });
}

function isMagic(word: number): boolean {
  return word === MAGIC_MICROSECONDS || word === MAGIC_NANOSECONDS;
}

function hex(word: number): string {
  return `0x${word.toString(16).padStart(8, '0')}`;
}

/** Fills the record from the next bytes. At the end of the file `frame` becomes 0. */
function readRecord(input: InputWindow, header: PcapHeader, record: OwnedRecord): Failure | undefined {
  const have = input.ensure(RECORD_HEADER_BYTES);
  if (have < RECORD_HEADER_BYTES) return endOfFile(input, record, have);
  const { isLittleEndian } = header;
  const { view, start } = input;
  const fraction = view.getUint32(start + 4, isLittleEndian);
  const capturedLength = view.getUint32(start + 8, isLittleEndian);
  const originalLength = view.getUint32(start + 12, isLittleEndian);
  const nanoseconds = fraction * header.nanosecondsPerUnit;
  if (nanoseconds > 999_999_999 || isAbsurd(header, capturedLength, originalLength)) {
    return absurd(input, header, record.frame + 1);
  }
  record.offset = input.offset();
  record.seconds = view.getUint32(start, isLittleEndian);
  record.nanoseconds = nanoseconds;
  record.capturedLength = capturedLength;
  record.originalLength = originalLength;
  const wanted = RECORD_HEADER_BYTES + capturedLength;
  const there = input.ensure(wanted);
  if (there < wanted) return endOfFile(input, record, there, wanted);
  record.frame += 1;
  record.buffer = input.bytes;
  record.start = input.start + RECORD_HEADER_BYTES;
  input.start += wanted;
  return undefined;
}

/** A good end is one between two records. */
function endOfFile(
  input: InputWindow,
  record: OwnedRecord,
  have: number,
  wanted: number = RECORD_HEADER_BYTES,
): Failure | undefined {
  const frame = record.frame + 1;
  record.frame = 0;
  const failure = input.failure();
  if (failure !== undefined) return failAt(input, input.offset() + have, failure.message).error;
  if (have === 0) return undefined;
  const where = wanted === RECORD_HEADER_BYTES ? `the header of frame ${frame}` : `frame ${frame}`;
  return failAt(input, input.offset(), `the file is cut inside ${where}: ${have} of ${wanted} bytes are there`).error;
}

function isAbsurd(header: PcapHeader, capturedLength: number, originalLength: number): boolean {
  return (
    capturedLength > FRAME_BYTES_MAX ||
    capturedLength > originalLength ||
    (header.snapLength !== 0 && capturedLength > header.snapLength)
  );
}

/** Says which number of a record header cannot be, and where it stands. */
function absurd(input: InputWindow, header: PcapHeader, frame: number): Failure {
  const { view, start } = input;
  const fraction = view.getUint32(start + 4, header.isLittleEndian);
  const capturedLength = view.getUint32(start + 8, header.isLittleEndian);
  const originalLength = view.getUint32(start + 12, header.isLittleEndian);
  const at = input.offset();
  if (fraction * header.nanosecondsPerUnit > 999_999_999) {
    const unit = header.nanosecondsPerUnit === 1 ? 'nanoseconds' : 'microseconds';
    return failAt(input, at + 4, `frame ${frame} has ${fraction} ${unit} in its second`).error;
  }
  if (capturedLength > FRAME_BYTES_MAX) {
    const limit = `more than any frame has (${FRAME_BYTES_MAX})`;
    return failAt(input, at + 8, `frame ${frame} claims ${capturedLength} bytes, ${limit}`).error;
  }
  if (capturedLength > originalLength) {
    const wire = `it had ${originalLength} on the wire`;
    return failAt(input, at + 8, `frame ${frame} claims ${capturedLength} bytes, but ${wire}`).error;
  }
  const limit = `the file keeps at most ${header.snapLength} of each`;
  return failAt(input, at + 8, `frame ${frame} claims ${capturedLength} bytes, but ${limit}`).error;
}

/** How a file is written; without options: nanoseconds, little endian. */
export type PcapWriterOptions = {
  readonly linkType: number;
  readonly resolution?: 'microseconds' | 'nanoseconds';
  readonly byteOrder?: 'little' | 'big';
};

/** What a writer needs of a frame; a CaptureRecord will do. */
export type WritableFrame = {
  readonly seconds: number;
  /** Below a thousandth of the unit it is cut off in files of microseconds. */
  readonly nanoseconds: number;
  readonly bytes: Uint8Array;
  /** Without it the frame is whole. */
  readonly originalLength?: number;
};

/** A capture that is being written. Errors of the disk are kept and told by `finish`. */
export type CaptureWriter = {
  readonly write: (frame: WritableFrame) => void;
  /** Closes the output; the number of frames, or the first failure. */
  readonly finish: () => Result<number>;
};

export function createPcapWriter(output: Output, options: PcapWriterOptions): CaptureWriter {
  const isLittleEndian = options.byteOrder !== 'big';
  const nanosecondsPerUnit = options.resolution === 'microseconds' ? 1000 : 1;
  const scratch = new Uint8Array(FILE_HEADER_BYTES);
  const view = new DataView(scratch.buffer);
  const recordHeader = scratch.subarray(0, RECORD_HEADER_BYTES);
  let frames = 0;
  view.setUint32(0, nanosecondsPerUnit === 1 ? MAGIC_NANOSECONDS : MAGIC_MICROSECONDS, isLittleEndian);
  view.setUint16(4, 2, isLittleEndian);
  view.setUint16(6, 4, isLittleEndian);
  view.setUint32(16, FRAME_BYTES_MAX, isLittleEndian);
  view.setUint32(20, options.linkType, isLittleEndian);
  output.write(scratch);

  function write({ seconds, nanoseconds, bytes, originalLength = bytes.length }: WritableFrame): void {
    assert(Number.isInteger(seconds) && seconds >= 0 && seconds <= 0xffffffff, 'seconds fit a pcap record');
    assert(Number.isInteger(nanoseconds) && nanoseconds >= 0 && nanoseconds <= 999_999_999, 'nanoseconds of a second');
    assert(bytes.length <= FRAME_BYTES_MAX && bytes.length <= originalLength, 'a frame of possible length');
    view.setUint32(0, seconds, isLittleEndian);
    view.setUint32(4, Math.trunc(nanoseconds / nanosecondsPerUnit), isLittleEndian);
    view.setUint32(8, bytes.length, isLittleEndian);
    view.setUint32(12, originalLength, isLittleEndian);
    output.write(recordHeader);
    output.write(bytes);
    frames += 1;
  }

  function finish(): Result<number> {
    const written = output.finish();
    return written.ok ? ok(frames) : written;
  }

  return { write, finish };
}
