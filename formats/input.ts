// SPDX-License-Identifier: Apache-2.0
/** A sliding window over a file or over bytes in memory: the readers pull, memory stays bounded. */
import { isUtf8 } from 'node:buffer';
import { closeSync, openSync, readSync } from 'node:fs';

import { fail, ok, type Failure, type Result } from '../core/result.ts';

/** What a reader reads: a file by its path, or bytes or a stream under the name that error messages shall use. */
export type InputSource = string | { readonly name: string; readonly bytes: Uint8Array } | InputStream;

/** Bytes that come from elsewhere than a file, such as an archive. It may be opened again, and begins anew then. */
export type InputStream = { readonly name: string; readonly open: () => InputReader };

/** A stream that is being read. */
export type InputReader = {
  /** Fills `target` from its beginning and returns the count of bytes, 0 at the end, or why there are no more. */
  readonly read: (target: Uint8Array) => number | Failure;
  /** Called once, when the window is closed. */
  readonly close?: () => void;
};

/** One read from the operating system. Large enough that the call costs nothing beside the parsing. */
const CHUNK_BYTES: number = 1024 * 1024;

/**
 * The bytes from `start` to `end` of `bytes` are the next ones of the input; a reader advances `start` itself.
 * `bytes` and `view` are replaced or moved by `ensure`: take them again after each call.
 */
export type InputWindow = {
  readonly name: string;
  readonly bytes: Uint8Array;
  readonly view: DataView;
  start: number;
  readonly end: number;
  /** Where `start` is in the input, in bytes from its beginning. */
  readonly offset: () => number;
  /** Reads until `count` bytes are there or the input ends; returns how many are there, at least `count` unless it ended. */
  readonly ensure: (count: number) => number;
  /** Advances `start` by `count` and holds none of it; returns how many bytes there were, less if the input ended. */
  readonly skip: (count: number) => number;
  /** Why reading ended early; undefined at a plain end of input. */
  readonly failure: () => Failure | undefined;
  /** Releases the file; may be called again. */
  readonly close: () => void;
};

/** Fills `target` from `at`, returns the count of bytes, 0 at the end of the input, or what went wrong. */
type Read = (target: Uint8Array, at: number) => number | Failure;

/** Opens for reading; a file that cannot be opened is a failure of kind `input`. */
export function openInput(source: InputSource): Result<InputWindow> {
  if (typeof source !== 'string') return ok(windowOverSource(source));
  let file: number;
  try {
    file = openSync(source, 'r');
  } catch (error) {
    return fail('input', source, `cannot be opened: ${errorName(error)}`);
  }
  return ok(
    windowOver(
      source,
      new Uint8Array(CHUNK_BYTES),
      readFrom(source, file),
      once(() => closeSync(file)),
    ),
  );
}

function windowOverSource(source: Exclude<InputSource, string>): InputWindow {
  if ('bytes' in source) return windowOver(source.name, plain(source.bytes));
  const reader = source.open();
  const read: Read = (target, at) => reader.read(target.subarray(at));
  return windowOver(source.name, new Uint8Array(CHUNK_BYTES), read, once(reader.close ?? (() => {})));
}

/** The same bytes, never as a Buffer: its `slice` does not copy, which readers who keep a frame would not expect. */
function plain(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function once(close: () => void): () => void {
  let isOpen = true;
  return () => {
    if (isOpen) close();
    isOpen = false;
  };
}

function readFrom(name: string, file: number): Read {
  return (target, at) => {
    try {
      return readSync(file, target, at, target.length - at, null);
    } catch (error) {
      return fail('input', name, `cannot be read: ${errorName(error)}`).error;
    }
  };
}

/** The errno name of a system error, which people can look up; other errors are bugs and stay loud. */
export function errorName(error: unknown): string {
  if (error instanceof Error && 'code' in error && typeof error.code === 'string') return error.code;
  throw error;
}

/** Without `read`, `initial` is the whole input and stays untouched; with it, `initial` is an empty buffer. */
function windowOver(name: string, initial: Uint8Array, read?: Read, close: () => void = () => {}): InputWindow {
  let moved = 0;
  let failure: Failure | undefined;
  let next = read;
  const end = read === undefined ? initial.length : 0;
  const offset = (): number => moved + window.start;
  const window = {
    name,
    bytes: initial,
    view: viewOf(initial),
    start: 0,
    end,
    offset,
    ensure,
    skip,
    failure: () => failure,
    close,
  };

  /** Moves what is left to the front, into a larger buffer if `count` asks for it. */
  function makeRoom(count: number): void {
    if (count > window.bytes.length) {
      const larger = new Uint8Array(roomFor(count));
      larger.set(window.bytes.subarray(window.start, window.end));
      window.bytes = larger;
      window.view = viewOf(larger);
    } else {
      window.bytes.copyWithin(0, window.start, window.end);
    }
    moved += window.start;
    window.end -= window.start;
    window.start = 0;
  }

  function ensure(count: number): number {
    if (window.end - window.start >= count || next === undefined) return window.end - window.start;
    if (window.start + count > window.bytes.length) makeRoom(count);
    while (window.end - window.start < count && next !== undefined) {
      const got = next(window.bytes, window.end);
      if (typeof got !== 'number') failure = got;
      else window.end += got;
      if (typeof got !== 'number' || got === 0) next = undefined;
    }
    return window.end - window.start;
  }

  function skip(count: number): number {
    let left = count;
    while (left > 0) {
      const step = Math.min(left, ensure(1));
      if (step === 0) break;
      window.start += step;
      left -= step;
    }
    return count - left;
  }

  return window;
}

/** Doubling keeps the copying of a line or record that keeps growing linear. */
function roomFor(count: number): number {
  let room = CHUNK_BYTES;
  while (room < count) room *= 2;
  return room;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** The whole input as text, for formats that are small by nature. More than `bytesMax` is refused. */
export function readText(source: InputSource, bytesMax: number): Result<string> {
  const opened = openInput(source);
  if (!opened.ok) return opened;
  const input = opened.value;
  const have = input.ensure(bytesMax + 1);
  const bytes = input.bytes.subarray(input.start, input.start + have);
  const failure = input.failure();
  input.close();
  if (failure !== undefined) return { ok: false, error: failure };
  if (have > bytesMax) return fail('input', input.name, `larger than ${bytesMax} bytes`);
  if (!isUtf8(bytes)) return fail('input', `${input.name} offset ${firstBroken(bytes)}`, 'not text in UTF-8');
  return ok(new TextDecoder().decode(bytes));
}

/** Where the first character begins that is none. */
function firstBroken(bytes: Uint8Array): number {
  let at = 0;
  while (at < bytes.length) {
    const lead = bytes[at] ?? 0;
    const length = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    if (at + length > bytes.length || !isUtf8(bytes.subarray(at, at + length))) break;
    at += length;
  }
  return at;
}
