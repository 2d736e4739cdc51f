// SPDX-License-Identifier: Apache-2.0
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { LINE_BYTES_MAX, splitLines } from '../../watch/linesplit.ts';

test('however the bytes are cut, in a line or in a character, the lines are the same', () => {
  const texts = fc.array(fc.string({ unit: 'grapheme' }).map((text) => text.replaceAll('\n', ' ')));
  fc.assert(
    fc.property(texts, fc.array(fc.nat(40)), (lines, cuts) => {
      const bytes = Buffer.from(lines.map((text) => `${text}\n`).join(''));
      const splitter = splitLines();
      const found: string[] = [];
      let from = 0;
      for (const length of [...cuts, bytes.length]) {
        found.push(...(splitter.take(bytes.subarray(from, from + length)) ?? ['too long']));
        from += length;
      }
      expect(found).toEqual(Buffer.from(lines.join('\n')).toString('utf8').split('\n').slice(0, lines.length));
      expect(splitter.restBytes()).toBe(0);
    }),
  );
});

test('what has no newline yet is no line, and is counted', () => {
  const splitter = splitLines();
  expect(splitter.take(Buffer.from('one\ntw'))).toEqual(['one']);
  expect(splitter.restBytes()).toBe(2);
  expect(splitter.take(Buffer.from('o\n'))).toEqual(['two']);
});

test('a line without end is given up instead of filling memory', () => {
  const splitter = splitLines();
  const piece = Buffer.alloc(LINE_BYTES_MAX / 2 + 1, 0x20);
  expect(splitter.take(piece)).toEqual([]);
  expect(splitter.take(piece)).toBeUndefined();
});
