// SPDX-License-Identifier: Apache-2.0
/** The small stand-in for the test framework by which mutants are judged: whatever it lets pass must be so. */
import { describe, expect, test } from 'vitest';
import { expect as judged, Unmet } from '../../proof/control/matchers.ts';
import { describe as group, takeCollected, test as one } from '../../proof/control/runner.ts';

type Call = (...wanted: readonly unknown[]) => void;

/** Name of the matcher, what is found, what is wanted, and whether that is met. */
const CASES: readonly (readonly [string, unknown, unknown, boolean])[] = [
  ['toBe', 1, 1, true],
  ['toBe', Number.NaN, Number.NaN, true],
  ['toBe', {}, {}, false],
  ['toEqual', { a: [1, { b: undefined }] }, { a: [1, {}] }, true],
  ['toEqual', { a: 1 }, { a: 1, b: 2 }, false],
  ['toEqual', { a: 1, b: 2 }, { a: 1 }, false],
  ['toEqual', [1, 2], [1], false],
  ['toEqual', [1], { 0: 1 }, false],
  ['toEqual', new Map([['a', { b: 1 }]]), new Map([['a', { b: 1, c: undefined }]]), true],
  ['toEqual', new Map([['a', 1]]), new Map([['a', 2]]), false],
  ['toEqual', new Set([1]), new Set([1, 2]), false],
  ['toEqual', [['a', 'a text']], [['a', judged.stringContaining('text')]], true],
  ['toEqual', ['a text'], [judged.stringContaining('word')], false],
  ['toEqual', [{ a: 1, b: 2 }], [judged.objectContaining({ a: 1 })], true],
  ['toEqual', [{ a: 1, b: 2 }], [judged.objectContaining({ a: 2 })], false],
  ['toContainEqual', [{ a: 1 }], { a: 1 }, true],
  ['toContainEqual', [{ a: 1 }], { a: 2 }, false],
  ['toMatchObject', { a: 1, b: { c: 2, d: 3 } }, { b: { c: 2 } }, true],
  ['toMatchObject', { a: 1 }, { b: 1 }, false],
  ['toMatchObject', { a: 1 }, { b: undefined }, false],
  ['toMatchObject', [{ a: 1, b: 2 }], [{ a: 1 }], true],
  ['toMatchObject', [{ a: 1 }, { a: 2 }], [{ a: 1 }], false],
  ['toMatchObject', undefined, {}, false],
  ['toContain', 'abc', 'b', true],
  ['toContain', ['abc'], 'b', false],
  ['toHaveLength', [1, 2], 2, true],
  ['toHaveLength', new Set([1]), 2, false],
  ['toBeGreaterThan', 2, 2, false],
  ['toBeGreaterThanOrEqual', 2, 2, true],
  ['toBeLessThan', 2, 2, false],
  ['toBeLessThanOrEqual', 3, 2, false],
  ['toBeNull', undefined, undefined, false],
  ['toBeUndefined', null, undefined, false],
  ['toBeDefined', undefined, undefined, false],
  ['toMatch', 'abc', /^b/, false],
  ['toMatch', 'abc', 'bc', true],
  ['toThrow', () => structuredClone(() => 1), undefined, true],
  ['toThrow', () => 1, undefined, false],
];

test.each(CASES)('%s of %j and %j: %s', (name, found, wanted, isMet) => {
  const plain = judged(found)[name] as Call;
  const turned = (judged(found)['not'] as Readonly<Record<string, Call>>)[name] ?? (() => undefined);
  if (isMet) {
    plain(wanted);
    expect(() => turned(wanted)).toThrow(Unmet);
  } else {
    expect(() => plain(wanted)).toThrow(Unmet);
    turned(wanted);
  }
});

test('an unmet expectation says what was found and wanted', () => {
  expect(() => (judged([1], 'numbers')['toEqual'] as Call)([2])).toThrow('numbers: [1] toEqual [2]');
});

describe('tests are collected', () => {
  test('in their order, with the names of their groups and cases filled in, and with options or without', () => {
    const ran: unknown[] = [];
    group('g', () => {
      one('a', () => ran.push('a'));
      one('b', { timeout: 1 }, () => ran.push('b'));
      one.each([[1, { c: 2 }]])('%s of %j', (first: unknown, second: unknown) => ran.push([first, second]));
    });
    group.each([{ name: 'h' }])('$name', ({ name }: { readonly name: string }) => one('c', () => ran.push(name)));
    const taken = takeCollected();
    expect(taken.map(({ name }) => name)).toEqual(['g › a', 'g › b', 'g › 1 of {"c":2}', 'h › c']);
    for (const { body } of taken) body();
    expect(ran).toEqual(['a', 'b', [1, { c: 2 }], 'h']);
    expect(takeCollected()).toEqual([]);
  });

  test('a group that throws is a test that fails', () => {
    group('g', () => {
      throw new Error('broken');
    });
    const [first] = takeCollected();
    expect(first?.name).toBe('g');
    expect(() => first?.body()).toThrow('broken');
  });
});
