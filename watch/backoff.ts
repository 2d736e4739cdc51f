// SPDX-License-Identifier: Apache-2.0
/** How long to wait before an API server is asked again, so that a thousand nodes do not ask at once. */

const FIRST_MS = 500;
const MAX_MS = 30_000;
/** A server may ask for more than our own longest wait, but not for ever. */
const RETRY_AFTER_MS_MAX = 300_000;

/**
 * Milliseconds to wait after `failures` failures in a row (from 1), doubled each time, of which half is by chance:
 * `random` is from 0 up to 1. What the server asked for is the least.
 */
export function backoffMs(
  failures: number,
  { random, retryAfterMs }: { random: number; retryAfterMs: number },
): number {
  const wholeMs = Math.min(MAX_MS, FIRST_MS * 2 ** Math.min(failures - 1, 16));
  const waitMs = wholeMs / 2 + (wholeMs / 2) * random;
  const askedMs = Math.min(retryAfterMs, RETRY_AFTER_MS_MAX);
  // What everybody is told alike must not become the moment at which everybody returns.
  return askedMs === 0 ? waitMs : askedMs + (waitMs / 2) * random;
}
