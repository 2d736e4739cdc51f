// SPDX-License-Identifier: Apache-2.0
import { expect, test } from 'vitest';
import { parseSeed, streamOf } from '../../sim/seed.ts';

const COMMIT = '0123456789abcdef0123456789abcdef01234567';

test.each([
  ['7', '7'],
  ['0', '0'],
  ['007', '7'],
  [COMMIT, COMMIT],
  [COMMIT.toUpperCase(), COMMIT],
])('%s is a seed', (text, kept) => {
  expect(parseSeed(text)).toMatchObject({ ok: true, value: { text: kept } });
});

test.each(['', '-1', '1.5', 'seven', COMMIT.slice(1), `${COMMIT}0`, '99999999999999999'])('"%s" is no seed', (text) => {
  expect(parseSeed(text)).toMatchObject({ ok: false, error: { kind: 'usage' } });
});

test('commits that differ in one digit have other streams, and so have the paths of one seed', () => {
  const first = (text: string, path: number): number => {
    const seed = parseSeed(text);
    return seed.ok ? streamOf(seed.value, path).word() : -1;
  };
  const words = [COMMIT, `${COMMIT.slice(0, 39)}8`, `1${COMMIT.slice(1)}`].flatMap((text) => [
    first(text, 1),
    first(text, 2),
  ]);
  expect(new Set(words).size).toBe(6);
  expect(first(COMMIT, 1)).toBe(first(COMMIT, 1));
});
