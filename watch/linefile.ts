// SPDX-License-Identifier: Apache-2.0
/** A file that grows by whole lines: a disk that is full leaves no half of one behind, and a process that ends none. */
import { closeSync, ftruncateSync, openSync, writeSync } from 'node:fs';

import { fail, ok, type Result } from '../core/result.ts';
import { errorName } from '../formats/input.ts';

export type LineFile = {
  /** `text` ends with its newline. After a failure the file holds what it held before. */
  readonly append: (text: string) => Result<void>;
  readonly close: () => void;
};

/** A file that must not be there yet: recordings are not made twice. */
export function createLineFile(path: string): Result<LineFile> {
  let file: number;
  try {
    file = openSync(path, 'ax');
  } catch (error) {
    const name = errorName(error);
    if (name === 'EEXIST') return fail('usage', path, 'is there already', 'name another file');
    return fail('usage', path, `cannot be written: ${name}`);
  }
  let wholeBytes = 0;

  function append(text: string): Result<void> {
    const bytes = Buffer.from(text);
    try {
      // One call for the whole line: only SIGKILL within it can cut it, at a page, and then it has no newline.
      for (let done = 0; done < bytes.length;) done += writeSync(file, bytes, done);
    } catch (error) {
      ftruncateSync(file, wholeBytes);
      return fail('environment', path, `cannot be written: ${errorName(error)}; it ends with a whole line`);
    }
    wholeBytes += bytes.length;
    return ok(undefined);
  }

  return ok({ append, close: () => closeSync(file) });
}
