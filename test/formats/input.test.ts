// SPDX-License-Identifier: Apache-2.0
/** The window over a file: large pieces, whole lines, and the offset that errors name. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, beforeAll, expect, test } from 'vitest';

import { fail, failureText, type Result } from '../../core/result.ts';
import { openInput, readText, type InputReader } from '../../formats/input.ts';
import { openLines } from '../../formats/lines.ts';

const MIB = 1024 * 1024;

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'tandem-input-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

function fileOf(bytes: Uint8Array | string): string {
  const path = join(folder, 'input');
  writeFileSync(path, bytes);
  return path;
}

function valueOf<T>(result: Result<T>): T {
  if (!result.ok) throw new Error(failureText(result.error));
  return result.value;
}

test('more than a chunk can be asked for, and the window still knows where it is', () => {
  const bytes = Uint8Array.from({ length: 5 * MIB }, (_, index) => (index * 31) >>> 8);
  const input = valueOf(openInput(fileOf(bytes)));
  expect(input.ensure(10)).toBeGreaterThanOrEqual(10);
  input.start += 10;
  expect(input.ensure(3 * MIB)).toBeGreaterThanOrEqual(3 * MIB);
  expect(input.offset()).toBe(10);
  const last = input.start + 3 * MIB - 1;
  expect(input.view.getUint8(last)).toBe(bytes[10 + 3 * MIB - 1]);
  expect(input.bytes[last]).toBe(bytes[10 + 3 * MIB - 1]);
  input.start += 3 * MIB;
  expect(input.ensure(100 * MIB)).toBe(2 * MIB - 10);
  expect(input.offset()).toBe(3 * MIB + 10);
  expect(input.failure()).toBeUndefined();
  input.close();
  input.close();
});

test('lines longer than a chunk are whole', () => {
  const texts = ['short', 'x'.repeat(3 * MIB), '', 'é'.repeat(MIB), 'end'];
  const lines = valueOf(openLines(fileOf(texts.join('\n'))));
  for (const [index, text] of texts.entries()) {
    const line = lines.next();
    expect(line?.number).toBe(index + 1);
    expect(line?.text === text, `line ${index + 1}`).toBe(true);
  }
  expect(lines.next()).toBeUndefined();
  expect(lines.failure()).toBeUndefined();
});

test('a text that is too large is refused', () => {
  expect(valueOf(readText(fileOf('12345'), 5))).toBe('12345');
  const refused = readText(fileOf('123456'), 5);
  expect(refused.ok ? 'read' : failureText(refused.error)).toMatch(/input: larger than 5 bytes$/);
});

test('a folder cannot be read as text or lines', () => {
  const text = readText(folder, 5);
  expect(text.ok ? 'read' : failureText(text.error)).toBe(`${folder}: cannot be read: EISDIR`);
  const lines = valueOf(openLines(folder));
  expect(lines.next()).toBeUndefined();
  expect(lines.failure()?.message).toBe('cannot be read: EISDIR');
});

test('what is skipped is not held, however much it is', () => {
  const bytes = Uint8Array.from({ length: 5 * MIB }, (_, index) => (index * 31) >>> 8);
  const input = valueOf(openInput(fileOf(bytes)));
  expect(input.skip(4 * MIB + 7)).toBe(4 * MIB + 7);
  expect(input.bytes.length).toBe(MIB);
  expect(input.offset()).toBe(4 * MIB + 7);
  input.ensure(1);
  expect(input.view.getUint8(input.start)).toBe(bytes[4 * MIB + 7]);
  expect(input.skip(0)).toBe(0);
  expect(input.skip(2 * MIB)).toBe(MIB - 7);
  expect(input.offset()).toBe(5 * MIB);
  expect(input.failure()).toBeUndefined();
  input.close();
});

test('a stream is read like a file, again and again, and its failure is told after what came before it', () => {
  let closed = 0;
  const open = (): InputReader => {
    const pieces = ['one\ntw', 'o\nthr', 'ee'];
    const read: InputReader['read'] = (target) => {
      const piece = pieces.shift();
      if (piece === undefined) return fail('input', 'made', 'the archive is damaged').error;
      target.set(Buffer.from(piece));
      return piece.length;
    };
    return { read, close: () => (closed += 1) };
  };
  for (const opened of [1, 2]) {
    const lines = valueOf(openLines({ name: 'made', open }));
    const texts: string[] = [];
    for (let line = lines.next(); line !== undefined; line = lines.next()) texts.push(line.text ?? '');
    expect(texts.slice(0, 2)).toEqual(['one', 'two']);
    expect(lines.failure()?.message).toBe('the archive is damaged');
    lines.close();
    lines.close();
    expect(closed).toBe(opened);
  }
});

test.each([
  ['a byte that begins no character', [0x61, 0xff, 0x62], 1],
  ['a character that is cut', [0x61, 0xe2, 0x82], 1],
  ['a character with a wrong byte', [0xe2, 0x82, 0xac, 0xf0, 0x9f, 0x98, 0x20, 0x20], 3],
  ['half of a surrogate pair', [0xc3, 0xa9, 0xed, 0xa0, 0x80], 2],
])('text with %s is refused at that byte', (_what, bytes, offset) => {
  const refused = readText({ name: 'a', bytes: Uint8Array.from(bytes) }, 100);
  expect(refused.ok ? '' : failureText(refused.error)).toBe(`a offset ${offset}: not text in UTF-8`);
});
