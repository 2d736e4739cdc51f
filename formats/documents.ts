// SPDX-License-Identifier: Apache-2.0
/** JSON objects one after the other in a text, each on a line of its own or spread over many as kubectl prints them. */
import { ok, type Failure, type Result } from '../core/result.ts';

import { openInput, type InputSource } from './input.ts';
import { LINE_BYTES_MAX, openLines, type Line } from './lines.ts';

/** Enough to see past empty lines. */
const LOOK_BYTES = 64;

/** A piece of text that should be one JSON value. */
export type JsonDocument = {
  /** Of its first line, from 1. */
  readonly line: number;
  /** Undefined where the bytes are not UTF-8. */
  readonly text: string | undefined;
};

export type DocumentReader = {
  readonly name: string;
  readonly next: () => JsonDocument | undefined;
  /** Why reading ended early. */
  readonly failure: () => Failure | undefined;
  readonly close: () => void;
};

/**
 * A document goes on while lines are indented, and ends with a brace in the first column: so a document that was cut,
 * or garbage between two of them, costs only itself. Empty lines count for nothing.
 */
export function openDocuments(source: InputSource): Result<DocumentReader> {
  const opened = openLines(source);
  if (!opened.ok) return opened;
  const lines = opened.value;
  let pending: Line | undefined;

  function take(): Line | undefined {
    const line = pending ?? lines.next();
    pending = undefined;
    return line;
  }

  function next(): JsonDocument | undefined {
    let first = take();
    while (first?.text?.trim() === '') first = take();
    if (first === undefined) return undefined;
    if (first.text === undefined || isWhole(first.text)) return { line: first.number, text: first.text };
    return { line: first.number, text: withRest(first.text) };
  }

  /** All that belongs to a document whose first line is not the whole of it. */
  function withRest(first: string): string | undefined {
    const texts = [first];
    let length = first.length;
    for (let line = take(); line !== undefined; line = take()) {
      const text = line.text ?? '';
      const isEnd = text.startsWith('}');
      if (line.text === undefined || length > LINE_BYTES_MAX || !(isEnd || isWithin(text))) {
        pending = line;
        break;
      }
      texts.push(text);
      length += text.length + 1;
      if (isEnd) break;
    }
    return texts.join('\n');
  }

  return ok({ name: lines.name, next, failure: lines.failure, close: lines.close });
}

/** Whether a file begins with a JSON object, as event streams do and no capture does. What can't be read does not. */
export function beginsWithObject(source: InputSource): boolean {
  const opened = openInput(source);
  if (!opened.ok) return false;
  const input = opened.value;
  const have = input.ensure(LOOK_BYTES);
  const text = new TextDecoder('latin1').decode(
    input.bytes.subarray(input.start, input.start + Math.min(have, LOOK_BYTES)),
  );
  input.close();
  return text.trimStart().startsWith('{');
}

function isWhole(text: string): boolean {
  return text.trimEnd().endsWith('}') && text.trimStart().startsWith('{');
}

function isWithin(text: string): boolean {
  return text.startsWith(' ') || text.startsWith('\t') || text.trim() === '';
}
