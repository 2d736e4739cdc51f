// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from 'vitest';
import {
  MARK_FLOW_MISS,
  MARK_FRONTEND,
  REASON_NEW_FLOW,
  VERDICT_FORWARD,
  WRITE_INSERT,
} from '../../core/layout.gen.ts';
import { emptyOutcome, type Outcome } from '../../core/twin.ts';
import { compareOutcomes } from '../../replay/compare.ts';

function outcome(more: Partial<Outcome> = {}): Outcome {
  const base = emptyOutcome();
  base.bytes.set([1, 2, 3, 4]);
  base.trace.set([MARK_FRONTEND, MARK_FLOW_MISS]);
  base.writes.set([WRITE_INSERT, 7, 3, 9]);
  const common = { verdict: VERDICT_FORWARD, reason: REASON_NEW_FLOW, servicePort: 1, backend: 2 };
  return Object.assign(base, { ...common, length: 4, traceLength: 2, writesLength: 1, ...more });
}

function withBytes(...bytes: readonly number[]): Outcome {
  const changed = outcome();
  changed.bytes.set(bytes);
  return changed;
}

describe('two outcomes', () => {
  test('that are alike have no difference, whatever lies behind their ends', () => {
    const other = outcome();
    other.bytes[4] = 99;
    other.trace[2] = 9;
    other.writes[4] = 9;
    expect(compareOutcomes(outcome(), other)).toBeUndefined();
  });

  test.each([
    ['verdict', outcome({ verdict: 3 }), 'forward', 'drop'],
    ['reason', outcome({ reason: 7 }), 'new-flow', 'known-flow'],
    ['service port', outcome({ servicePort: 5 }), '1', '5'],
    ['backend', outcome({ backend: 3 }), '2', '3'],
    ['length', outcome({ length: 3 }), '4', '3'],
    ['byte 2', withBytes(1, 2, 9, 4), '01020304', '01020904'],
    ['trace', outcome({ traceLength: 1 }), 'frontend flow-miss', 'frontend'],
    ['writes', outcome({ writesLength: 0 }), 'insert(7.3=9)', ''],
  ])('differ first in %s', (field, kernel, model, other) => {
    expect(compareOutcomes(outcome(), kernel)).toEqual({ field, model, kernel: other });
  });
});
