// SPDX-License-Identifier: Apache-2.0
/** The wall clock in nanoseconds, to put connections beside captured packets. */

/** A step of the wall clock that is more than rounding: Date.now() is whole milliseconds. */
const stepMs = 3;
let correctionMs = 0;

/**
 * CLOCK_REALTIME in ns, good to some microseconds. Node gives the wall clock in whole ms only, but its time origin in
 * microseconds; the monotonic clock on top is slewed like the wall clock, so only steps of the latter are corrected.
 */
export function realtimeNs(): bigint {
  const elapsedMs = performance.now();
  const estimateMs = performance.timeOrigin + elapsedMs + correctionMs;
  const differenceMs = Date.now() - estimateMs;
  if (Math.abs(differenceMs) > stepMs) correctionMs += differenceMs;
  // Two parts: one double of 2^60 ns would have steps of 256 ns.
  const wholeMs = Math.trunc(performance.timeOrigin + correctionMs);
  const restMs = performance.timeOrigin + correctionMs - wholeMs + elapsedMs;
  return BigInt(wholeMs) * 1_000_000n + BigInt(Math.round(restMs * 1e6));
}
