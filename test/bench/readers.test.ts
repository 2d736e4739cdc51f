// SPDX-License-Identifier: Apache-2.0
/** What the bench of readers generates is a capture of the size that was asked for, and is read to its end. */
import { expect, test } from 'vitest';
import { benchReaders, captureFormats, generatedCapture, readCapture } from '../../bench/readers.ts';
import { failureText } from '../../core/result.ts';
import { openCapture } from '../../formats/open.ts';

test.each(captureFormats)(
  'a generated %s has pieces of 8192 frames of 100 bytes until it is large enough',
  (format) => {
    const bytes = 5_000_000;
    const frames = readCapture(generatedCapture(format, bytes));
    expect(frames % 8192).toBe(0);
    const frameBytes = { pcap: 116, pcapng: 132 }[format];
    expect(frames * frameBytes).toBeGreaterThan(bytes * 0.99);
    expect(frames * frameBytes).toBeLessThan(bytes + 8192 * frameBytes);
  },
);

test('a large pcapng has comments and many sections', () => {
  const opened = openCapture(generatedCapture('pcapng', 3_000_000, true));
  if (!opened.ok) throw new Error(failureText(opened.error));
  const comments: string[] = [];
  for (let record = opened.value.next(); record !== undefined; record = opened.value.next()) {
    expect(record.interfaceName).toBe('eth0');
    comments.push(...record.comments);
  }
  expect(opened.value.failure()).toBeUndefined();
  expect(comments.length).toBe((3 * 8192) / 16);
  expect(comments[1]).toBe('packet 16');
});

test('a damaged capture ends the bench loudly', () => {
  const stream = generatedCapture('pcap', 2_000_000).open();
  const read = (target: Uint8Array): number => {
    const count = stream.read(target);
    if (typeof count !== 'number') throw new Error(failureText(count));
    target.fill(0xff, count >>> 1, count);
    return count;
  };
  expect(() => readCapture({ name: 'damaged', open: () => ({ read }) })).toThrow('damaged offset');
});

test('figures are of both formats', () => {
  const figures = benchReaders({ rounds: 1, roundBytes: 1_000_000, largeBytes: 2_000_000, onStep: () => {} });
  expect(figures.map(({ format }) => format)).toEqual(['pcap', 'pcapng']);
  for (const { large, packetsPerSecond } of figures) {
    expect(packetsPerSecond.median).toBeGreaterThan(0);
    expect(large.packets).toBeGreaterThan(8192);
    expect(large.residentBytesMax).toBeGreaterThan(1_000_000);
  }
});
