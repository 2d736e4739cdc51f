// SPDX-License-Identifier: Apache-2.0
/** Classic pcap: what is written comes back, and no damage to a file goes unnoticed or unnamed. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import * as fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';

import { failureText, type Failure } from '../../core/result.ts';
import { FRAME_BYTES_MAX, type Capture } from '../../formats/capture.ts';
import type { InputSource } from '../../formats/input.ts';
import { LINK_ETHERNET, LINK_LINUX_COOKED_V2 } from '../../formats/link.ts';
import { openCapture } from '../../formats/open.ts';
import { memoryOutput, openFileOutput } from '../../formats/output.ts';
import { createPcapWriter, type PcapWriterOptions, type WritableFrame } from '../../formats/pcap.ts';

type Frame = {
  readonly frame: number;
  readonly offset: number;
  readonly seconds: number;
  readonly nanoseconds: number;
  readonly originalLength: number;
  readonly bytes: readonly number[];
};

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'tandem-pcap-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

function framesOf(capture: Capture): Frame[] {
  const frames: Frame[] = [];
  for (let record = capture.next(); record !== undefined; record = capture.next()) {
    const { frame, offset, seconds, nanoseconds, originalLength, bytes } = record;
    frames.push({ frame, offset, seconds, nanoseconds, originalLength, bytes: [...bytes] });
  }
  return frames;
}

/** Everything a reader can learn of a source. */
function readAll(source: InputSource): { readonly frames: readonly Frame[]; readonly failure: Failure | undefined } {
  const opened = openCapture(source);
  if (!opened.ok) return { frames: [], failure: opened.error };
  return { frames: framesOf(opened.value), failure: opened.value.failure() };
}

function capture(frames: readonly WritableFrame[], options: Partial<PcapWriterOptions> = {}): Uint8Array {
  const output = memoryOutput('made.pcap');
  const writer = createPcapWriter(output, { linkType: LINK_ETHERNET, ...options });
  for (const frame of frames) writer.write(frame);
  expect(writer.finish()).toEqual({ ok: true, value: frames.length });
  return output.bytes();
}

function frame(length: number, more: Partial<WritableFrame> = {}): WritableFrame {
  const bytes = Uint8Array.from({ length }, (_, index) => index & 0xff);
  return { seconds: 1_795_358_567, nanoseconds: 895_139_308, bytes, ...more };
}

/** Two frames: file header at 0, records at 24 and 24 + 16 + 20 = 60, end at 60 + 16 + 7 = 83. */
const SMALL: Uint8Array = capture([frame(20), frame(7)], { resolution: 'nanoseconds' });
const RECORDS = [24, 60, 83];

/** SMALL with some of its 32-bit words, little endian, replaced. */
function withWords(words: Readonly<Record<number, number>>): Uint8Array {
  const bytes = SMALL.slice();
  for (const [at, word] of Object.entries(words)) new DataView(bytes.buffer).setUint32(Number(at), word, true);
  return bytes;
}

function readBytes(bytes: Uint8Array): ReturnType<typeof readAll> {
  return readAll({ name: 'made.pcap', bytes });
}

test('the writer writes the bytes that libpcap documents', () => {
  const bytes = capture([{ seconds: 1, nanoseconds: 2, bytes: Uint8Array.of(0xaa, 0xbb), originalLength: 60 }], {
    linkType: LINK_LINUX_COOKED_V2,
    byteOrder: 'big',
  });
  expect(Buffer.from(bytes).toString('hex')).toBe(
    'a1b23c4d 00020004 00000000 00000000 00040000 00000114 00000001 00000002 00000002 0000003c aabb'.replaceAll(
      ' ',
      '',
    ),
  );
});

test('what is written is read back, in all four kinds of file', () => {
  const frames = fc.array(
    fc.record({
      seconds: fc.nat(0xffffffff),
      nanoseconds: fc.nat(999_999_999),
      bytes: fc.uint8Array({ maxLength: 300 }),
      cut: fc.nat(2000),
    }),
    { maxLength: 20 },
  );
  const kind = fc.record({
    resolution: fc.constantFrom('microseconds' as const, 'nanoseconds' as const),
    byteOrder: fc.constantFrom('little' as const, 'big' as const),
  });
  fc.assert(
    fc.property(frames, kind, (made, options) => {
      const unit = options.resolution === 'microseconds' ? 1000 : 1;
      const written = made.map((one) => ({ ...one, originalLength: one.bytes.length + one.cut }));
      const read = readBytes(capture(written, options));
      expect(read.failure).toBeUndefined();
      expect(read.frames).toMatchObject(
        written.map(({ seconds, nanoseconds, bytes, originalLength }, index) => ({
          frame: index + 1,
          seconds,
          nanoseconds: Math.trunc(nanoseconds / unit) * unit,
          originalLength,
          bytes: [...bytes],
        })),
      );
    }),
  );
});

test('a file is read like its bytes, across the borders of chunks', () => {
  const frames = Array.from({ length: 3000 }, (_, index) => frame((index * 7919) % 1400));
  const bytes = capture([frame(FRAME_BYTES_MAX), ...frames, frame(FRAME_BYTES_MAX)]);
  const path = join(folder, 'large.pcap');
  writeFileSync(path, bytes);
  const fromFile = readAll(path);
  expect(fromFile.failure).toBeUndefined();
  expect(fromFile.frames.length).toBe(3002);
  expect(fromFile.frames).toEqual(readBytes(bytes).frames);
});

test('reading from bytes leaves them as they are', () => {
  const bytes = SMALL.slice();
  readBytes(bytes);
  expect(bytes).toEqual(SMALL);
});

test('a slice of a frame is a copy, also of a capture in a Buffer', () => {
  const opened = openCapture({ name: 'made.pcap', bytes: Buffer.from(SMALL) });
  if (!opened.ok) throw new Error(failureText(opened.error));
  const kept = opened.value.next()?.bytes.slice();
  kept?.fill(0xee);
  expect(opened.value.next()?.buffer.slice(0, 83)).toEqual(SMALL);
});

test('a file of 64 MiB is read in a few MiB of memory', () => {
  const path = join(folder, 'huge.pcap');
  const output = openFileOutput(path);
  if (!output.ok) throw new Error(failureText(output.error));
  const writer = createPcapWriter(output.value, { linkType: LINK_ETHERNET });
  const large = frame(64 * 1024 - 16);
  for (let count = 0; count < 1024; count += 1) writer.write(large);
  expect(writer.finish()).toEqual({ ok: true, value: 1024 });
  const opened = openCapture(path);
  if (!opened.ok) throw new Error(failureText(opened.error));
  const before = process.memoryUsage().arrayBuffers;
  let frames = 0;
  while (opened.value.next() !== undefined) frames += 1;
  expect(frames).toBe(1024);
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(8 * 1024 * 1024);
});

test('a file that is cut at any byte gives the whole frames before the cut and names where the rest begins', () => {
  const path = join(folder, 'cut.pcap');
  for (let length = 0; length < SMALL.length; length += 1) {
    const bytes = SMALL.subarray(0, length);
    writeFileSync(path, bytes);
    const read = readAll({ name: path, bytes });
    expect(readAll(path), `cut at ${length}, from a file`).toEqual(read);
    const whole = RECORDS.filter((end) => end <= length).length - 1;
    expect(read.frames.length, `cut at ${length}`).toBe(Math.max(0, whole));
    if (RECORDS.includes(length)) {
      expect(read.failure, `cut at ${length}`).toBeUndefined();
      continue;
    }
    expect(read.failure?.kind).toBe('input');
    expect(read.failure?.object, `cut at ${length}`).toBe(`${path} offset ${whole < 0 ? 0 : RECORDS[whole]}`);
  }
});

test('a file with any byte changed never crashes, and the frames before that byte stay as they were', () => {
  const good = readBytes(SMALL).frames;
  for (let at = 0; at < SMALL.length; at += 1) {
    for (const flip of [0x01, 0x80, 0xff]) {
      const bytes = SMALL.slice();
      bytes[at] = (bytes[at] ?? 0) ^ flip;
      const read = readBytes(bytes);
      const untouched = Math.max(0, RECORDS.filter((end) => end <= at).length - 1);
      expect(read.frames.slice(0, untouched), `byte ${at}`).toEqual(good.slice(0, untouched));
      expect(read.frames.length).toBeLessThanOrEqual(good.length);
      if (read.frames.length < good.length)
        expect(read.failure?.object, `byte ${at}`).toMatch(/^made\.pcap offset \d+$/);
    }
  }
});

test('bytes of any kind are refused or read, never a crash', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(23), (garbage, keep) => {
      const read = readBytes(Buffer.concat([SMALL.subarray(0, keep === 0 ? 24 : keep), garbage]));
      if (read.failure !== undefined) expect(read.failure.object).toMatch(/^made\.pcap offset \d+$/);
    }),
  );
});

test.each([
  ['an empty file', new Uint8Array(0), 'made.pcap offset 0: the file is empty'],
  [
    'three bytes',
    SMALL.subarray(0, 3),
    'made.pcap offset 0: the file is cut inside its header: 3 of 24 bytes are there',
  ],
  [
    'a file of another kind',
    Buffer.from('{"at":"2026"}'),
    'made.pcap offset 0: not a pcap file: it begins with 0x7b226174',
  ],
  ['a gzip file', Buffer.from('1f8b0800', 'hex'), 'made.pcap offset 0: this is a gzip file; unpack it first'],
  ['a version of 1998', withWords({ 4: 0x0001_0002 }), 'made.pcap offset 4: pcap version 2.1 is not known, only 2.4'],
  [
    'an unknown link type',
    withWords({ 20: 147 }),
    'made.pcap offset 20: unknown link type 147; known are Ethernet (1), raw IP (101, 228, 229), loopback (0, 108), Linux cooked v1 (113) and v2 (276)',
  ],
])('%s is refused before the first frame', (_, bytes, text) => {
  const opened = openCapture({ name: 'made.pcap', bytes });
  expect(opened.ok ? 'opened' : failureText(opened.error)).toBe(text);
});

test.each([
  [
    'four gigabytes',
    { 68: 0xffffffff },
    'offset 68: frame 2 claims 4294967295 bytes, more than any frame has (262144)',
  ],
  [
    'more than any frame',
    { 16: 0, 68: 262_145, 72: 262_145 },
    'offset 68: frame 2 claims 262145 bytes, more than any frame has (262144)',
  ],
  ['more than was on the wire', { 68: 8 }, 'offset 68: frame 2 claims 8 bytes, but it had 7 on the wire'],
  [
    'more than the capture was to keep',
    { 16: 20, 68: 21, 72: 21 },
    'offset 68: frame 2 claims 21 bytes, but the file keeps at most 20 of each',
  ],
  ['more than the file has', { 68: 8, 72: 8 }, 'offset 60: the file is cut inside frame 2: 23 of 24 bytes are there'],
  ['a second and more', { 64: 1_000_000_000 }, 'offset 64: frame 2 has 1000000000 nanoseconds in its second'],
])('a frame that claims %s ends the reading after the frames before it', (_, words, text) => {
  const read = readBytes(withWords(words));
  expect(read.frames.length).toBe(1);
  expect(read.failure === undefined ? 'read' : failureText(read.failure)).toBe(`made.pcap ${text}`);
});

test('a capture without a snap length keeps its frames', () => {
  expect(readBytes(withWords({ 16: 0 }))).toEqual(readBytes(SMALL));
});

test.each([
  ['no such file', 'missing.pcap', /missing\.pcap: cannot be opened: ENOENT$/],
  ['a folder', '.', /offset 0: cannot be read: EISDIR$/],
])('%s is a failure, not a crash', (_, name, text) => {
  const opened = openCapture(join(folder, name));
  expect(opened.ok ? 'opened' : failureText(opened.error)).toMatch(text);
});

test('a full disk is told when the writer finishes', () => {
  const output = openFileOutput('/dev/full');
  if (!output.ok) throw new Error(failureText(output.error));
  const writer = createPcapWriter(output.value, { linkType: LINK_ETHERNET });
  for (let count = 0; count < 10; count += 1) writer.write(frame(FRAME_BYTES_MAX));
  const finished = writer.finish();
  expect(finished.ok ? 'written' : failureText(finished.error)).toBe('/dev/full: cannot be written: ENOSPC');
});

test('a record that is not impossible but wrong is a bug of the caller', () => {
  const writer = createPcapWriter(memoryOutput('made.pcap'), { linkType: LINK_ETHERNET });
  expect(() => writer.write(frame(1, { nanoseconds: 1e9 }))).toThrow('nanoseconds of a second');
  expect(() => writer.write(frame(1, { seconds: -1 }))).toThrow('seconds fit');
  expect(() => writer.write(frame(3, { originalLength: 2 }))).toThrow('possible length');
});
