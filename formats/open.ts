// SPDX-License-Identifier: Apache-2.0
/** Opens a capture of any format that we read: the first bytes tell which. */
import type { Result } from '../core/result.ts';

import { failAt, type Capture } from './capture.ts';
import { openInput, type InputSource } from './input.ts';
import { readPcap } from './pcap.ts';
import { readPcapng } from './pcapng.ts';

/** A section header of pcapng, in both byte orders. */
const PCAPNG: readonly number[] = [0x0a, 0x0d, 0x0d, 0x0a];

/** First bytes of files that people hand over in place of a capture, and what to do with them. */
const OTHERS: readonly { readonly prefix: readonly number[]; readonly what: string; readonly remedy: string }[] = [
  { prefix: [0x1f, 0x8b], what: 'a gzip file', remedy: 'unpack it first' },
  { prefix: [0x28, 0xb5, 0x2f, 0xfd], what: 'a zstd file', remedy: 'unpack it first' },
];

/**
 * Reads the header and stands before the first frame. Memory stays bounded whatever the size of the file.
 * A header that can't be understood is a failure of kind `input` that names file and offset.
 */
export function openCapture(source: InputSource): Result<Capture> {
  const opened = openInput(source);
  if (!opened.ok) return opened;
  const input = opened.value;
  const have = input.ensure(4);
  const { bytes, start } = input;
  const beginsWith = (prefix: readonly number[]): boolean =>
    prefix.every((byte, index) => index < have && bytes[start + index] === byte);
  if (beginsWith(PCAPNG)) return readPcapng(input);
  const other = OTHERS.find(({ prefix }) => beginsWith(prefix));
  if (input.failure() === undefined && have > 0 && other === undefined) return readPcap(input);
  input.close();
  const failure = input.failure();
  if (failure !== undefined) return failAt(input, have, failure.message);
  return other === undefined
    ? failAt(input, 0, 'the file is empty')
    : failAt(input, 0, `this is ${other.what}`, other.remedy);
}
