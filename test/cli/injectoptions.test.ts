// SPDX-License-Identifier: Apache-2.0
/** When a replay is an injection, and what does not go with one. */
import { expect, test } from 'vitest';

import { injectionOf } from '../../cli/injectoptions.ts';
import { failureText } from '../../core/result.ts';

function said(options: Parameters<typeof injectionOf>[0]): string | boolean {
  const judged = injectionOf(options);
  return judged.ok ? judged.value : failureText(judged.error);
}

test('only a replay that is asked to is an injection', () => {
  expect(said({})).toBe(false);
  expect(said({ inject: true })).toBe(true);
  expect(said({ inject: true, pace: 'fast', service: 'shop/web' })).toBe(true);
});

test('a pace without an injection is told what is missing', () => {
  expect(said({ pace: 'fast' })).toBe('--pace: is the pace of an injection; add --inject');
});

test.each([
  ['--without-event', { withoutEvent: ['3'] }],
  ['--delay', { delay: ['3=5'] }],
  ['--as-node', { asNode: 'node2' }],
  ['--algorithm', { algorithm: 'maglev' }],
  ['--emit-case', { emitCase: 'case.json' }],
])('%s speaks of a recording as it is, not as it is sent anew', (flag, options) => {
  expect(said({ inject: true, ...options })).toBe(`${flag}: does not go with --inject; leave one of them out`);
});
