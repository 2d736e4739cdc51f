// SPDX-License-Identifier: Apache-2.0
/** Everything a command prints: text, JSON, NDJSON to standard output; failures and progress to standard error. */
import { writeSync } from 'node:fs';
import { failureText, type Failure } from '../core/result.ts';

const retriesMax = 1000;

/** Exit codes of every command; what they mean is part of the interface. */
export const exitCode = {
  agreed: 0,
  twinsDiffer: 1,
  usage: 2,
  notPermitted: 3,
  environment: 4,
  invariantBroken: 10,
  noConvergence: 11,
  harnessBroken: 12,
  crash: 70,
} as const;

/** Prints text as it is; a missing end of line is added. */
export function printText(text: string): void {
  writeAll(1, text.endsWith('\n') ? text : `${text}\n`);
}

/** Prints one JSON document, indented for people. */
export function printJson(value: unknown): void {
  writeAll(1, `${JSON.stringify(value, undefined, 2)}\n`);
}

/** Text is gathered up to this before it is written. */
const pieceLength = 1024 * 1024;

/** The same as printJson, for documents whose lists may be larger than the longest text that there can be. */
export function printLargeJson(document: object): void {
  let piece = '{';
  const put = (text: string): void => {
    piece += text;
    if (piece.length < pieceLength) return;
    writeAll(1, piece);
    piece = '';
  };
  for (const [index, [name, value]] of Object.entries(document).entries()) {
    put(`${index === 0 ? '' : ','}\n  ${JSON.stringify(name)}: `);
    if (!Array.isArray(value) || value.length === 0) {
      put(indented(value, '  '));
      continue;
    }
    for (const [place, item] of value.entries()) put(`${place === 0 ? '[' : ','}\n    ${indented(item, '    ')}`);
    put('\n  ]');
  }
  writeAll(1, `${piece}\n}\n`);
}

/** Texts in JSON have no line of their own, so every line is one of the layout. */
function indented(value: unknown, indent: string): string {
  return JSON.stringify(value, undefined, 2).replaceAll('\n', `\n${indent}`);
}

/** Prints one line of NDJSON. */
export function printNdjson(value: unknown): void {
  writeAll(1, `${JSON.stringify(value)}\n`);
}

/** Prints one line on standard error. */
export function printNote(line: string): void {
  writeAll(2, `${line}\n`);
}

/** Prints an expected failure in one line and tells the exit code it stands for. */
export function reportFailure(failure: Failure): number {
  printNote(`tandem: ${failureText(failure).replaceAll('\n', ' ')}`);
  return failure.kind === 'usage' || failure.kind === 'input' ? exitCode.usage : exitCode.environment;
}

/** A line that is overwritten while long work runs; silent where standard error is no terminal. */
export type Progress = { update(line: string): void; done(): void };

/** Starts a progress line; at most ten updates a second reach the terminal. */
export function startProgress(): Progress {
  const terminal = process.stderr.isTTY;
  const intervalMs = 100;
  let shownAtMs = Number.NEGATIVE_INFINITY;
  let shown = false;
  return {
    update(line: string): void {
      const nowMs = performance.now();
      if (!terminal || nowMs - shownAtMs < intervalMs) return;
      shownAtMs = nowMs;
      shown = true;
      writeAll(2, `\r\u001b[K${line.slice(0, (process.stderr.columns ?? 80) - 1)}`);
    },
    done(): void {
      if (shown) writeAll(2, '\r\u001b[K');
      shown = false;
    },
  };
}

/** Synchronous, so that nothing is lost when the process ends; a reader that went away ends the command quietly. */
function writeAll(descriptor: 1 | 2, text: string): void {
  let rest = Buffer.from(text);
  let retries = 0;
  while (rest.length > 0) {
    try {
      rest = rest.subarray(writeSync(descriptor, rest));
      retries = 0;
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? error.code : undefined;
      // `tandem replay … | head`: the reader has seen enough.
      if (code === 'EPIPE') process.exit(exitCode.agreed);
      retries += 1;
      if (code !== 'EAGAIN' || retries > retriesMax) throw error;
      // A pipe somebody made non-blocking: wait until the reader has taken some.
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
    }
  }
}
