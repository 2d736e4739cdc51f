// SPDX-License-Identifier: Apache-2.0
/** No damage to a capture crashes its reader, hangs it or makes it tell what is not in the file. */
import * as fc from 'fast-check';
import { expect, test } from 'vitest';

import { memoryOutput } from '../../formats/output.ts';
import { createPcapWriter } from '../../formats/pcap.ts';

import { readAll, type Frame, type ReadCapture } from './captures.ts';
import {
  block,
  bytesOf,
  enhancedPacket,
  interfaceDescription,
  obsoletePacket,
  sectionHeader,
  simplePacket,
  type ByteOrder,
} from './pcapngbytes.ts';

const NAME = 'made.capture';
const DATA = Uint8Array.of(0x45, 0, 0, 7, 9);

/** A small file: its bytes, where its blocks or records end, and those of them that are frames. */
type Small = { readonly bytes: Uint8Array; readonly ends: readonly number[]; readonly frameEnds: readonly number[] };

function pcapFile(byteOrder: ByteOrder): Small {
  const output = memoryOutput(NAME);
  const writer = createPcapWriter(output, { linkType: 1, byteOrder, resolution: 'microseconds' });
  writer.write({ seconds: 1_795_358_567, nanoseconds: 895_139_000, bytes: DATA, originalLength: 60 });
  writer.write({ seconds: 1_795_358_567, nanoseconds: 895_140_000, bytes: DATA });
  writer.write({ seconds: 1_795_358_568, nanoseconds: 0, bytes: new Uint8Array(20) });
  writer.finish();
  return { bytes: output.bytes(), ends: [24, 45, 66, 102], frameEnds: [45, 66, 102] };
}

/** Every kind of block that is read, options, and a second section in the other byte order. */
function pcapngFile(order: ByteOrder, other: ByteOrder): Small {
  const frames = new Set<Uint8Array>();
  const frame = (bytes: Uint8Array): Uint8Array => {
    frames.add(bytes);
    return bytes;
  };
  const name = [2, Buffer.from('eth0')] as const;
  const units = 1_795_358_567_895_139_308n;
  const inside = [
    interfaceDescription(order, 1, 64, [name, [9, Uint8Array.of(9)], [14, bytesOf(order, [8, 3n])]]),
    frame(enhancedPacket(order, { units, data: DATA, original: 60, options: [[1, Buffer.from('why')]] })),
    block(order, 5, [4, 0], [8, units]),
    frame(enhancedPacket(order, { units, data: DATA, options: [[2, bytesOf(order, [4, 1])]] })),
  ];
  const blocks = [
    sectionHeader(order, BigInt(Buffer.concat(inside).length), [[1, Buffer.from('a file')]]),
    ...inside,
    sectionHeader(other),
    interfaceDescription(other, 101),
    frame(obsoletePacket(other, { units: 5n, data: DATA })),
    frame(simplePacket(other, 5, DATA)),
    block(other, 0x0a, [4, 0x544c534b], [4, 4], Buffer.from('KEYS')),
    frame(enhancedPacket(other, { data: DATA, options: [[5, bytesOf(other, [8, 5n])]] })),
  ];
  const ends = blocks.map((_, index) => Buffer.concat(blocks.slice(0, index + 1)).length);
  const frameEnds = ends.filter((_, index) => frames.has(blocks[index] ?? DATA));
  return { bytes: Uint8Array.from(Buffer.concat(blocks)), ends, frameEnds };
}

const FILES: readonly (readonly [string, Small])[] = [
  ['pcap, little endian', pcapFile('little')],
  ['pcap, big endian', pcapFile('big')],
  ['pcapng, little endian first', pcapngFile('little', 'big')],
  ['pcapng, big endian first', pcapngFile('big', 'little')],
];

function read(bytes: Uint8Array): ReadCapture {
  return readAll({ name: NAME, bytes });
}

/** Frames lie in the file one after the other, and are its bytes; what is wrong is named with a place in it. */
function checkTruth(bytes: Uint8Array, { frames, failure }: ReadCapture): void {
  let end = 0;
  for (const [index, frame] of frames.entries()) {
    expect(frame.frame).toBe(index + 1);
    expect(frame.offset).toBeGreaterThanOrEqual(end);
    expect(frame.capturedLength).toBe(frame.bytes.length);
    expect(frame.originalLength).toBeGreaterThanOrEqual(frame.capturedLength);
    expect(frame.nanoseconds).toBeLessThan(1e9);
    end = frame.offset + dataAt(bytes, frame) + frame.capturedLength;
    expect(frame.bytes).toEqual([...bytes.subarray(end - frame.capturedLength, end)]);
  }
  if (failure === undefined) return;
  const place = /^made\.capture offset (\d+)$/.exec(failure.object);
  expect(failure.kind).toBe('input');
  expect(Number(place?.[1] ?? -1)).toBeGreaterThanOrEqual(0);
  expect(Number(place?.[1])).toBeLessThanOrEqual(bytes.length);
}

function dataAt(bytes: Uint8Array, frame: Frame): number {
  if (bytes[0] !== 0x0a) return 16;
  return frame.hasTime ? 28 : 12;
}

function countUpTo(ends: readonly number[], at: number): number {
  return ends.filter((end) => end <= at).length;
}

/** The same bytes, a few at a time: each block meets the end of the window in each of its bytes. */
function dribble(bytes: Uint8Array, step: number): ReadCapture {
  let at = 0;
  let closed = 0;
  const read = (target: Uint8Array): number => {
    const piece = bytes.subarray(at, at + Math.min(step, target.length));
    target.set(piece);
    at += piece.length;
    return piece.length;
  };
  const close = (): void => {
    closed += 1;
  };
  const result = readAll({ name: NAME, open: () => ({ read, close }) });
  expect(closed).toBe(1);
  return result;
}

test.each(FILES)('%s: the file itself is good', (_, { bytes, frameEnds }) => {
  const good = read(bytes);
  expect(good.failure).toBeUndefined();
  expect(good.frames.length).toBe(frameEnds.length);
  checkTruth(bytes, good);
  for (const step of [1, 3, 16]) expect(dribble(bytes, step)).toEqual(good);
});

test.each(FILES)('%s: cut at any byte, the whole frames before it are given', (_, small) => {
  const good = read(small.bytes);
  for (let length = 0; length < small.bytes.length; length += 1) {
    const bytes = small.bytes.subarray(0, length);
    const result = read(bytes);
    const whole = countUpTo(small.frameEnds, length);
    expect(result.frames, `cut at ${length}`).toEqual(good.frames.slice(0, whole));
    expect(dribble(bytes, 5), `cut at ${length}, dribbling`).toEqual(result);
    // A first section of known length cannot be cut unseen, nor can any block.
    const mayEnd = small.ends.includes(length) && (bytes[0] !== 0x0a || length >= firstSectionEnd(small));
    expect(result.failure === undefined, `cut at ${length}`).toBe(mayEnd);
    checkTruth(bytes, result);
  }
});

/** After the section header and the four blocks that it counts. */
function firstSectionEnd({ ends }: Small): number {
  return ends[4] ?? 0;
}

test.each(FILES)('%s: with any bit of any byte changed, the frames before it stay', (_, small) => {
  const good = read(small.bytes);
  let refused = 0;
  for (let at = 0; at < small.bytes.length; at += 1) {
    for (const flip of [0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0xff]) {
      const bytes = small.bytes.slice();
      bytes[at] = (bytes[at] ?? 0) ^ flip;
      const result = read(bytes);
      const untouched = countUpTo(small.frameEnds, at);
      // The header of a section tells when it must end: a lie in it may be noticed before the first frame.
      const told = bytes[0] === 0x0a && at < (small.ends[0] ?? 0) ? 0 : untouched;
      expect(result.frames.slice(0, told), `byte ${at} ^ ${flip}`).toEqual(good.frames.slice(0, told));
      checkTruth(bytes, result);
      if (result.failure !== undefined) refused += 1;
    }
  }
  // Payload, times and comments may be anything; that something is refused at all is the point.
  expect(refused).toBeGreaterThan(small.bytes.length);
});

test('several changes, cuts and repetitions at once are survived', () => {
  const file = fc.constantFrom(...FILES.map(([, small]) => small.bytes));
  const change = fc.tuple(fc.nat(), fc.nat(255));
  fc.assert(
    fc.property(file, fc.array(change, { maxLength: 6 }), fc.nat(), fc.nat(), (original, changes, from, count) => {
      const start = from % original.length;
      const again = original.subarray(start, start + (count % 80));
      const bytes = Uint8Array.from(Buffer.concat([original.subarray(0, start + (count % 7)), again]));
      for (const [at, value] of changes) bytes[at % bytes.length] = value;
      const result = read(bytes);
      checkTruth(bytes, result);
      expect(dribble(bytes, 7)).toEqual(result);
    }),
    { numRuns: 3000 },
  );
});

test('the check of truth sees a frame that is not in the file', () => {
  const [, small] = FILES[2] ?? ['', pcapngFile('little', 'big')];
  const { frames } = read(small.bytes);
  const [first] = frames;
  if (first === undefined) throw new Error('no frame');
  const wrong = { ...first, bytes: first.bytes.map((byte) => byte ^ 1) };
  expect(() => checkTruth(small.bytes, { frames: [wrong], failure: undefined })).toThrow();
});
