// SPDX-License-Identifier: Apache-2.0
/** Times as text: to the nanosecond, and only what RFC 3339 permits. */
import * as fc from 'fast-check';
import { expect, test } from 'vitest';

import { compareInstants, instantText, nanosecondsBetween, parseInstant } from '../../formats/instant.ts';

test.each([
  ['2026-01-02T03:04:05.678901234Z', 1_767_323_045, 678_901_234],
  ['2026-01-02T03:04:05.6Z', 1_767_323_045, 600_000_000],
  ['2026-01-02T03:04:05Z', 1_767_323_045, 0],
  ['2026-01-02t03:04:05.000000001z', 1_767_323_045, 1],
  ['2026-01-02T05:04:05.5+02:00', 1_767_323_045, 500_000_000],
  ['2026-01-01T21:34:05-05:30', 1_767_323_045, 0],
  ['1970-01-01T00:00:00Z', 0, 0],
  ['1969-12-31T23:59:59.25Z', -1, 250_000_000],
  ['2000-02-29T00:00:00Z', 951_782_400, 0],
  ['0001-01-01T00:00:00Z', -62_135_596_800, 0],
])('%s', (text, seconds, nanoseconds) => {
  expect(parseInstant(text)).toEqual({ ok: true, value: { seconds, nanoseconds } });
});

test.each([
  '2026-01-02',
  '2026-01-02 03:04:05Z',
  '2026-01-02T03:04:05',
  '2026-01-02T03:04:05.Z',
  '2026-01-02T03:04:05.1234567890Z',
  '2026-13-02T03:04:05Z',
  '2026-02-29T03:04:05Z',
  '1900-02-29T03:04:05Z',
  '2026-04-31T03:04:05Z',
  '2026-01-00T03:04:05Z',
  '2026-01-02T24:04:05Z',
  '2026-01-02T03:60:05Z',
  '2026-12-31T23:59:60Z',
  '2026-01-02T03:04:05+24:00',
  '2026-01-02T03:04:05Z\n',
  '',
])('%j is not a time', (text) => {
  expect(parseInstant(text)).toMatchObject({ ok: false, error: { kind: 'input', object: `time "${text}"` } });
});

test('text and instant are the same, for each nanosecond of 10,000 years', () => {
  const seconds = fc.integer({ min: -62_167_219_200, max: 253_402_300_799 });
  fc.assert(
    fc.property(seconds, fc.nat(999_999_999), (whole, nanoseconds) => {
      const instant = { seconds: whole, nanoseconds };
      const text = instantText(instant);
      expect(parseInstant(text)).toEqual({ ok: true, value: instant });
      expect(text.slice(0, 19)).toBe(new Date(whole * 1000).toISOString().slice(0, 19));
    }),
  );
});

test('order and distance count nanoseconds', () => {
  const early = { seconds: 1_795_358_567, nanoseconds: 999_999_999 };
  const late = { seconds: 1_795_358_568, nanoseconds: 0 };
  expect(compareInstants(early, late)).toBeLessThan(0);
  expect(compareInstants(late, early)).toBeGreaterThan(0);
  expect(compareInstants(late, { ...late })).toBe(0);
  expect(nanosecondsBetween(early, late)).toBe(1);
  expect(nanosecondsBetween(late, early)).toBe(-1);
});
