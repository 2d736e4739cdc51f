// SPDX-License-Identifier: Apache-2.0
/** Timestamps of pcapng: 64 bits that count units of any size (if_tsresol) from any second (if_tsoffset). */

/** What an interface says of its clock. */
export type Clock = {
  /** Decimal units no finer than a nanosecond are divided without BigInt; 0 marks all others. */
  readonly unitsPerSecond: number;
  readonly nanosecondsPerUnit: number;
  /** For all units. */
  readonly exactUnitsPerSecond: bigint;
  /** Seconds to be added. */
  readonly offsetSeconds: number;
};

/** A moment that is filled in: seconds since 1970 UTC, and 0 to 999,999,999. */
export type Moment = { seconds: number; nanoseconds: number };

/** Last second of the year 9999; what is later is no time of a capture, and was most likely counted in other units. */
export const SECONDS_MAX: number = 253_402_300_799;

/** Without if_tsresol: microseconds. */
export const RESOLUTION_DEFAULT: number = 6;

/** The value of if_tsresol: highest bit 0, a power of ten; 1, a power of two. */
export function clockOf(resolution: number, offsetSeconds: number): Clock {
  const exponent = resolution & 0x7f;
  const isBinary = (resolution & 0x80) !== 0;
  const exactUnitsPerSecond = (isBinary ? 2n : 10n) ** BigInt(exponent);
  const isPlain = !isBinary && exponent <= 9;
  return {
    unitsPerSecond: isPlain ? 10 ** exponent : 0,
    nanosecondsPerUnit: isPlain ? 10 ** (9 - exponent) : 0,
    exactUnitsPerSecond,
    offsetSeconds,
  };
}

/** Fills `into` from both halves of a timestamp, finer units cut off; false: no time between 1970 and 9999. */
export function readMoment(clock: Clock, high: number, low: number, into: Moment): boolean {
  const units = clock.unitsPerSecond;
  if (units === 0) readExact(clock, high, low, into);
  else {
    // Three steps of long division: no product is above 2^53, so each is exact.
    const first = Math.floor(high / units);
    const middle = (high - first * units) * 0x10000 + (low >>> 16);
    const second = Math.floor(middle / units);
    const rest = (middle - second * units) * 0x10000 + (low & 0xffff);
    const third = Math.floor(rest / units);
    into.seconds = first * 0x1_0000_0000 + second * 0x10000 + third + clock.offsetSeconds;
    into.nanoseconds = (rest - third * units) * clock.nanosecondsPerUnit;
  }
  return into.seconds >= 0 && into.seconds <= SECONDS_MAX;
}

function readExact({ exactUnitsPerSecond, offsetSeconds }: Clock, high: number, low: number, into: Moment): void {
  const units = (BigInt(high) << 32n) | BigInt(low);
  into.seconds = Number(units / exactUnitsPerSecond) + offsetSeconds;
  into.nanoseconds = Number(((units % exactUnitsPerSecond) * 1_000_000_000n) / exactUnitsPerSecond);
}
