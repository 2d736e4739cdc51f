// SPDX-License-Identifier: Apache-2.0
/** Wall-clock time to the nanosecond that never goes back: the monotonic clock, anchored to the wall clock once. */
import type { Instant } from '../formats/instant.ts';

export type AnchoredClock = {
  readonly now: () => Instant;
  /** How far the anchor itself may be off: within so many nanoseconds the wall clock was caught ticking. */
  readonly errorNs: number;
  /** By how much the wall clock has been set, or has drifted away, since the anchor: positive when it is ahead. */
  readonly steppedNs: () => number;
};

/** The two clocks of the machine: milliseconds since 1970 without fractions, and nanoseconds that only grow. */
export type Clocks = { readonly wallMs: () => number; readonly monotonicNs: () => bigint };

export const machineClocks: Clocks = { wallMs: () => Date.now(), monotonicNs: () => process.hrtime.bigint() };

const ANCHOR_TRIES = 3;
const NS_IN_MS = 1_000_000n;
const NS_IN_S = 1_000_000_000n;

/** Takes some milliseconds: the wall clock shows no fractions, so its ticks are waited for. */
export function anchorClock(clocks: Clocks = machineClocks): AnchoredClock {
  const anchor = bestAnchor(clocks);
  const nowNs = (): bigint => anchor.wallNs + (clocks.monotonicNs() - anchor.monotonicNs);
  return {
    now: () => instantOf(nowNs()),
    errorNs: anchor.errorNs,
    steppedNs: () => {
      const later = bestAnchor(clocks);
      return Number(later.wallNs - later.monotonicNs - (anchor.wallNs - anchor.monotonicNs));
    },
  };
}

type Anchor = { readonly wallNs: bigint; readonly monotonicNs: bigint; readonly errorNs: number };

function bestAnchor(clocks: Clocks): Anchor {
  const anchors = Array.from({ length: ANCHOR_TRIES }, () => catchTick(clocks));
  return anchors.reduce((best, next) => (next.errorNs < best.errorNs ? next : best));
}

/** The tick fell between the last reading that showed the old millisecond and the first that showed the new one. */
function catchTick({ wallMs, monotonicNs }: Clocks): Anchor {
  const startMs = wallMs();
  let beforeNs = monotonicNs();
  let ms = wallMs();
  while (ms === startMs) {
    beforeNs = monotonicNs();
    ms = wallMs();
  }
  const afterNs = monotonicNs();
  const halfNs = (afterNs - beforeNs) / 2n;
  return { wallNs: BigInt(ms) * NS_IN_MS, monotonicNs: beforeNs + halfNs, errorNs: Number(halfNs) + 1 };
}

function instantOf(ns: bigint): Instant {
  return { seconds: Number(ns / NS_IN_S), nanoseconds: Number(ns % NS_IN_S) };
}
