// SPDX-License-Identifier: Apache-2.0
/** Where writers put their bytes: a file or memory, gathered into large pieces. */
import { closeSync, openSync, writeSync } from 'node:fs';

import { fail, ok, type Failure, type Result } from '../core/result.ts';

import { errorName } from './input.ts';

/** Takes bytes in order. `failure` is set by the first write that fails; later writes do nothing. */
export type Output = {
  readonly name: string;
  /** Copies what it is given. */
  readonly write: (bytes: Uint8Array) => void;
  /** Writes what is left and closes; the number of bytes written in all, or the first failure. */
  readonly finish: () => Result<number>;
  readonly failure: () => Failure | undefined;
};

/** One write to the operating system. */
const PIECE_BYTES: number = 1024 * 1024;

/** A new file, or an old one emptied. */
export function openFileOutput(path: string): Result<Output> {
  let file: number;
  try {
    file = openSync(path, 'w');
  } catch (error) {
    return fail('input', path, `cannot be written: ${errorName(error)}`);
  }
  const put = (bytes: Uint8Array): Failure | undefined => {
    try {
      for (let done = 0; done < bytes.length;) done += writeSync(file, bytes, done);
      return undefined;
    } catch (error) {
      return fail('environment', path, `cannot be written: ${errorName(error)}`).error;
    }
  };
  return ok(gather(path, put, () => closeSync(file)));
}

/** Bytes kept in memory; `bytes` is all of them, in one piece, after `finish`. */
export function memoryOutput(name: string): Output & { readonly bytes: () => Uint8Array } {
  const pieces: Uint8Array[] = [];
  const put = (piece: Uint8Array): undefined => {
    pieces.push(piece.slice());
  };
  const output = gather(name, put, () => {});
  return { ...output, bytes: () => Uint8Array.from(Buffer.concat(pieces)) };
}

function gather(name: string, put: (bytes: Uint8Array) => Failure | undefined, close: () => void): Output {
  const piece = new Uint8Array(PIECE_BYTES);
  let filled = 0;
  let total = 0;
  let failure: Failure | undefined;

  function flush(): void {
    if (filled > 0 && failure === undefined) failure = put(piece.subarray(0, filled));
    filled = 0;
  }

  function write(bytes: Uint8Array): void {
    for (let from = 0; from < bytes.length;) {
      const count = Math.min(bytes.length - from, piece.length - filled);
      piece.set(count === bytes.length ? bytes : bytes.subarray(from, from + count), filled);
      filled += count;
      from += count;
      if (filled === piece.length) flush();
    }
    total += bytes.length;
  }

  function finish(): Result<number> {
    flush();
    close();
    return failure === undefined ? ok(total) : { ok: false, error: failure };
  }

  return { name, write, finish, failure: () => failure };
}
