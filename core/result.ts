// SPDX-License-Identifier: Apache-2.0
/** Results as values: what a correct program can meet is returned, only broken promises throw. */

/** Either a value or the reason why there is none. */
export type Result<T, E = Failure> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly error: E };

/**
 * Something a correct program can meet. One line of text: `object: message; remedy`.
 * `usage` and `input` end a command with exit code 2, `environment` and `limit` with 4.
 */
export type Failure = {
  readonly kind: 'usage' | 'input' | 'environment' | 'limit';
  /** What it concerns: a file with its offset or line, a map, a Service, a device. */
  readonly object: string;
  readonly message: string;
  /** What the reader can do about it; empty where nothing can be said. */
  readonly remedy: string;
};

/** The value form of success. */
export function ok<T>(value: T): { readonly ok: true; readonly value: T } {
  return { ok: true, value };
}

/** The value form of failure. */
export function fail(
  kind: Failure['kind'],
  object: string,
  message: string,
  remedy = '',
): { readonly ok: false; readonly error: Failure } {
  return { ok: false, error: { kind, object, message, remedy } };
}

/** One line for people: what it concerns, what happened, what to do. */
export function failureText(failure: Failure): string {
  const remedy = failure.remedy === '' ? '' : `; ${failure.remedy}`;
  return `${failure.object}: ${failure.message}${remedy}`;
}

/** Dies on a broken promise of our own code; stays on in production. */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new Error(`assertion failed: ${message}`);
}
