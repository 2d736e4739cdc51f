// SPDX-License-Identifier: Apache-2.0
/** How fast captures of both formats are read, and in how much memory; the captures are generated, not stored. */
import { assert, failureText } from '../core/result.ts';
import type { Capture } from '../formats/capture.ts';
import type { InputReader, InputStream } from '../formats/input.ts';
import { LINK_ETHERNET } from '../formats/link.ts';
import { openCapture } from '../formats/open.ts';
import { memoryOutput } from '../formats/output.ts';
import { createPcapWriter } from '../formats/pcap.ts';
import { createPcapngWriter } from '../formats/pcapngwriter.ts';
import { spreadOf, type Spread } from './statistics.ts';

export type CaptureFormat = Capture['format'];

export const captureFormats: readonly CaptureFormat[] = ['pcap', 'pcapng'];

export type ReaderFigure = {
  readonly format: CaptureFormat;
  readonly packetsPerSecond: Spread;
  readonly large: LargeFigure;
};

/** A capture that no memory holds. */
export type LargeFigure = {
  readonly bytes: number;
  readonly packets: number;
  readonly seconds: number;
  /** Of the whole process, at its highest. */
  readonly residentBytesMax: number;
};

const FRAME_BYTES = 100;
/** Of one piece, which is repeated: about a megabyte, no whole number of chunks. */
const PIECE_FRAMES = 8192;
/** In a large pcapng each so manieth frame has a comment. */
const COMMENT_EVERY = 16;
const SAMPLE_EVERY = 1_000_000;

/** A capture of at least so many bytes, and at most a piece more. Each piece of a pcapng is a section of its own. */
export function generatedCapture(format: CaptureFormat, bytesWanted: number, comments = false): InputStream {
  const piece = pieceOf(format, comments);
  // A pcap has one header, at its beginning.
  const repeatFrom = format === 'pcap' ? 24 : 0;
  return { name: `generated.${format}`, open: () => repeated(piece, repeatFrom, bytesWanted) };
}

function repeated(piece: Uint8Array, repeatFrom: number, bytesWanted: number): InputReader {
  let at = 0;
  let given = 0;
  return {
    read: (target) => {
      if (at === piece.length) {
        if (given >= bytesWanted) return 0;
        at = repeatFrom;
      }
      const count = Math.min(target.length, piece.length - at);
      target.set(piece.subarray(at, at + count));
      at += count;
      given += count;
      return count;
    },
  };
}

function pieceOf(format: CaptureFormat, comments: boolean): Uint8Array {
  const output = memoryOutput(`piece.${format}`);
  const frame = (index: number): { seconds: number; nanoseconds: number; bytes: Uint8Array } => ({
    seconds: 1_795_358_567,
    nanoseconds: index * 1000 + 7,
    bytes: new Uint8Array(FRAME_BYTES).fill(index),
  });
  if (format === 'pcap') {
    const writer = createPcapWriter(output, { linkType: LINK_ETHERNET });
    for (let index = 0; index < PIECE_FRAMES; index += 1) writer.write(frame(index));
    writer.finish();
    return output.bytes();
  }
  const writer = createPcapngWriter(output);
  const interfaceId = writer.addInterface({ linkType: LINK_ETHERNET, name: 'eth0' });
  for (let index = 0; index < PIECE_FRAMES; index += 1) {
    const told = comments && index % COMMENT_EVERY === 0 ? [`packet ${index}`] : [];
    writer.write({ ...frame(index), interfaceId, comments: told });
  }
  writer.finish();
  return output.bytes();
}

/** Reads to the end and looks at what a replay looks at of each frame; returns the count of frames. */
export function readCapture(source: InputStream, onSample?: (frames: number) => void): number {
  const opened = openCapture(source);
  assert(opened.ok, opened.ok ? '' : failureText(opened.error));
  const capture = opened.value;
  let frames = 0;
  let seen = 0;
  for (let record = capture.next(); record !== undefined; record = capture.next()) {
    const { buffer, start, capturedLength, seconds, nanoseconds, linkType } = record;
    seen = (seen + (buffer[start] ?? 0) + capturedLength + seconds + nanoseconds + linkType) | 0;
    frames += 1;
    if (frames % COMMENT_EVERY === 1) seen = (seen + record.comments.length) | 0;
    if (frames % SAMPLE_EVERY === 0) onSample?.(frames);
  }
  const failure = capture.failure();
  assert(failure === undefined, failure === undefined ? '' : failureText(failure));
  assert(seen !== 0.5, 'what was read is used');
  return frames;
}

/** Rounds of both formats in turn, so that both meet the same neighbours; the first round is not counted. */
export function benchReaders(options: {
  readonly rounds: number;
  readonly roundBytes: number;
  readonly largeBytes: number;
  readonly onStep: (line: string) => void;
}): readonly ReaderFigure[] {
  const { rounds, roundBytes, largeBytes, onStep } = options;
  const rates = new Map<CaptureFormat, number[]>(captureFormats.map((format) => [format, []]));
  for (let round = -1; round < rounds; round += 1) {
    for (const format of captureFormats) {
      onStep(`reading ${format}, round ${round + 1} of ${rounds}`);
      const beganMs = performance.now();
      const frames = readCapture(generatedCapture(format, roundBytes));
      if (round >= 0) rates.get(format)?.push((frames / (performance.now() - beganMs)) * 1000);
    }
  }
  return captureFormats.map((format) => ({
    format,
    packetsPerSecond: spreadOf(rates.get(format) ?? []),
    large: benchLarge(format, largeBytes, onStep),
  }));
}

function benchLarge(format: CaptureFormat, bytes: number, onStep: (line: string) => void): LargeFigure {
  let residentBytesMax = process.memoryUsage.rss();
  const beganMs = performance.now();
  const packets = readCapture(generatedCapture(format, bytes, true), (frames) => {
    residentBytesMax = Math.max(residentBytesMax, process.memoryUsage.rss());
    onStep(`a large ${format}: ${frames} packets`);
  });
  return { bytes, packets, seconds: (performance.now() - beganMs) / 1000, residentBytesMax };
}
