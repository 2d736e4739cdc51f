// SPDX-License-Identifier: Apache-2.0
/** Text files line by line, with bounded memory. */
import { isUtf8 } from 'node:buffer';

import { ok, type Failure, type Result } from '../core/result.ts';

import { failAt } from './capture.ts';
import { openInput, type InputSource, type InputWindow } from './input.ts';

/** A list of 10,000 Services in one line has about 20 MB. */
export const LINE_BYTES_MAX: number = 128 * 1024 * 1024;

export type Line = {
  /** From 1. */
  readonly number: number;
  /** Without the end of line; undefined where the bytes are not UTF-8. */
  readonly text: string | undefined;
};

export type LineReader = {
  readonly name: string;
  readonly next: () => Line | undefined;
  /** Why reading ended early. */
  readonly failure: () => Failure | undefined;
  readonly close: () => void;
};

/** A last line without an end of line counts as one. */
export function openLines(source: InputSource): Result<LineReader> {
  const opened = openInput(source);
  if (!opened.ok) return opened;
  const input = opened.value;
  const decoder = new TextDecoder();
  let failure: Failure | undefined;
  let number = 0;

  function next(): Line | undefined {
    const length = lengthOfLine(input);
    failure = input.failure();
    if (failure === undefined && length > LINE_BYTES_MAX) {
      failure = failAt(input, input.offset(), `line ${number + 1} is longer than ${LINE_BYTES_MAX} bytes`).error;
    }
    if (failure !== undefined || input.end === input.start) {
      input.close();
      return undefined;
    }
    const bytes = input.bytes.subarray(input.start, input.start + length);
    input.start = Math.min(input.end, input.start + length + 1);
    number += 1;
    return { number, text: isUtf8(bytes) ? decoder.decode(bytes) : undefined };
  }

  return ok({ name: input.name, next, failure: () => failure, close: input.close });
}

/** Bytes before the next end of line or end of input; all of them are in the window then. */
function lengthOfLine(input: InputWindow): number {
  let searched = 0;
  while (searched <= LINE_BYTES_MAX) {
    const at = input.bytes.subarray(input.start + searched, input.end).indexOf(0x0a);
    if (at >= 0) return searched + at;
    searched = input.end - input.start;
    if (input.ensure(searched + 1) === searched) return searched;
  }
  return searched;
}
