// SPDX-License-Identifier: Apache-2.0
/** Options of pcapng blocks: code and length, a value, padding to four bytes. draft-ietf-opsawg-pcapng section 3.5 */

export const OPTION_END: number = 0;
export const OPTION_COMMENT: number = 1;
export const OPTION_INTERFACE_NAME: number = 2;
export const OPTION_PACKET_FLAGS: number = 2;
export const OPTION_APPLICATION: number = 4;
export const OPTION_PACKET_ID: number = 5;
export const OPTION_TIME_RESOLUTION: number = 9;
export const OPTION_TIME_OFFSET: number = 14;

/** Seen from the capturing machine. */
export type PacketDirection = 'incoming' | 'outgoing';

/** Where options stand: from `optionsStart` to `optionsEnd` of `buffer`. */
export type OptionBytes = {
  readonly buffer: Uint8Array;
  readonly optionsStart: number;
  readonly optionsEnd: number;
  readonly isLittleEndian: boolean;
};

/** One value: `length` bytes from `start`, without the padding. */
export type OptionValue = { readonly code: number; readonly start: number; readonly length: number };

/** What is wrong with options, and at which byte of the buffer. */
export type OptionProblem = { readonly at: number; readonly message: string };

/** Lengths that values of a block must have, by code; others are free. */
export type OptionLengths = ReadonlyMap<number, number>;

const TEXT = new TextDecoder();

/** The length with the padding to four bytes. */
export function padded(length: number): number {
  return (length + 3) & ~3;
}

/** Undefined when all options are well-formed. What follows the end mark is nobody's. */
export function problemOfOptions(options: OptionBytes, lengths: OptionLengths): OptionProblem | undefined {
  const { optionsEnd: end } = options;
  for (let at = options.optionsStart; at < end;) {
    const code = word16(options, at);
    const length = word16(options, at + 2);
    if (code === OPTION_END) {
      return length === 0 ? undefined : { at: at + 2, message: `the end of its options claims ${length} bytes` };
    }
    if (at + 4 + padded(length) > end) {
      const left = end - at - 4;
      return { at: at + 2, message: `its option ${code} claims ${length} bytes, but the block has ${left} left` };
    }
    const wanted = lengths.get(code);
    if (wanted !== undefined && wanted !== length) {
      return { at: at + 2, message: `its option ${code} claims ${length} bytes, but always has ${wanted}` };
    }
    at += 4 + padded(length);
  }
  return undefined;
}

/** The values of well-formed options, in their order. */
export function* valuesOf(options: OptionBytes): Generator<OptionValue> {
  for (let at = options.optionsStart; at < options.optionsEnd;) {
    const code = word16(options, at);
    if (code === OPTION_END) return;
    const length = word16(options, at + 2);
    yield { code, start: at + 4, length };
    at += 4 + padded(length);
  }
}

/** A value as text; bytes that are not UTF-8 show as U+FFFD. */
export function textOf({ buffer }: OptionBytes, { start, length }: OptionValue): string {
  return TEXT.decode(buffer.subarray(start, start + length));
}

/** All comments of a block, in their order. */
export function commentsOf(options: OptionBytes): readonly string[] {
  if (options.optionsStart === options.optionsEnd) return [];
  return [...valuesOf(options)].filter(({ code }) => code === OPTION_COMMENT).map((value) => textOf(options, value));
}

/** The lowest two bits of epb_flags. */
export function directionOf(options: OptionBytes): PacketDirection | undefined {
  const flags = valueOf(options, OPTION_PACKET_FLAGS);
  if (flags === undefined) return undefined;
  const lowest = options.buffer[flags.start + (options.isLittleEndian ? 0 : 3)] ?? 0;
  switch (lowest & 3) {
    case 1:
      return 'incoming';
    case 2:
      return 'outgoing';
    default:
      return undefined;
  }
}

/** The number that epb_packetid gives. */
export function packetIdOf(options: OptionBytes): bigint | undefined {
  const value = valueOf(options, OPTION_PACKET_ID);
  if (value === undefined) return undefined;
  const { buffer, isLittleEndian } = options;
  return new DataView(buffer.buffer, buffer.byteOffset + value.start, 8).getBigUint64(0, isLittleEndian);
}

function valueOf(options: OptionBytes, code: number): OptionValue | undefined {
  for (const value of valuesOf(options)) if (value.code === code) return value;
  return undefined;
}

function word16({ buffer, isLittleEndian }: OptionBytes, at: number): number {
  const first = buffer[at] ?? 0;
  const second = buffer[at + 1] ?? 0;
  return isLittleEndian ? first | (second << 8) : (first << 8) | second;
}
