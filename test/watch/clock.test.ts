// SPDX-License-Identifier: Apache-2.0
import { expect, test } from 'vitest';
import { anchorClock, type Clocks } from '../../watch/clock.ts';

/** Reading either clock takes 300 ns; the wall clock shows whole milliseconds of the true time. */
function machine(
  startNs: bigint,
): Clocks & { readonly true: () => bigint; pass: (ns: bigint) => void; set: (ns: bigint) => void } {
  let nowNs = startNs;
  let setNs = 0n;
  const bootNs = startNs - 5_000_000_000n;
  return {
    wallMs: () => {
      nowNs += 300n;
      return Number((nowNs + setNs) / 1_000_000n);
    },
    monotonicNs: () => {
      nowNs += 300n;
      return nowNs - bootNs;
    },
    true: () => nowNs,
    pass: (ns) => {
      nowNs += ns;
    },
    set: (ns) => {
      setNs += ns;
    },
  };
}

test('time is known to the nanosecond within the error that is told, though the wall clock shows milliseconds', () => {
  const clocks = machine(1_800_000_000_123_456_789n);
  const clock = anchorClock(clocks);
  clocks.pass(3_600_000_000_123n);
  const { seconds, nanoseconds } = clock.now();
  const offNs = Number(BigInt(seconds) * 1_000_000_000n + BigInt(nanoseconds) - clocks.true());
  expect(Math.abs(offNs)).toBeLessThanOrEqual(clock.errorNs);
  expect(clock.errorNs).toBeLessThan(2000);
});

test('a wall clock that is set back does not take time back, and it is told by how much it was set', () => {
  const clocks = machine(1_800_000_000_000_000_000n);
  const clock = anchorClock(clocks);
  const before = clock.now();
  clocks.set(-5_000_000_000n);
  const after = clock.now();
  expect(after.seconds * 1e9 + after.nanoseconds).toBeGreaterThan(before.seconds * 1e9 + before.nanoseconds);
  expect(Math.abs(clock.steppedNs() + 5_000_000_000)).toBeLessThan(2000);
});

test('on this machine the anchor is better than a millisecond', () => {
  const clock = anchorClock();
  expect(clock.errorNs).toBeLessThan(1_000_000);
  expect(Math.abs(clock.now().seconds - Date.now() / 1000)).toBeLessThan(2);
});
