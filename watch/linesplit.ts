// SPDX-License-Identifier: Apache-2.0
/** Bytes as they arrive to whole lines: a line, or a character, may be cut anywhere. */

/** Lines in order; `rest` is how many bytes wait for the end of their line. */
export type LineSplitter = {
  /** Undefined: a line is longer than the limit, and nothing after it can be trusted. */
  readonly take: (bytes: Uint8Array) => readonly string[] | undefined;
  readonly restBytes: () => number;
};

/** etcd stores objects of at most 1.5 MiB; JSON with escapes may be some times that. */
export const LINE_BYTES_MAX: number = 16 * 1024 * 1024;

const NEWLINE = 0x0a;

/** Invalid UTF-8 becomes replacement characters, and so invalid JSON or a visible change; the API sends none. */
export function splitLines(): LineSplitter {
  let pieces: Uint8Array[] = [];
  let restBytes = 0;

  function take(bytes: Uint8Array): readonly string[] | undefined {
    const lines: string[] = [];
    let from = 0;
    for (let end = bytes.indexOf(NEWLINE); end >= 0; end = bytes.indexOf(NEWLINE, from)) {
      pieces.push(bytes.subarray(from, end));
      lines.push(Buffer.concat(pieces).toString('utf8'));
      pieces = [];
      restBytes = 0;
      from = end + 1;
    }
    if (from < bytes.length) {
      pieces.push(bytes.subarray(from));
      restBytes += bytes.length - from;
    }
    return restBytes > LINE_BYTES_MAX ? undefined : lines;
  }

  return { take, restBytes: () => restBytes };
}
