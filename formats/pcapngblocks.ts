// SPDX-License-Identifier: Apache-2.0
/** Blocks of pcapng: their types, their common frame, and the sections and interfaces they describe. */
import { ok, type Failure, type Result } from '../core/result.ts';

import { failAt, type OwnedRecord } from './capture.ts';
import type { InputWindow } from './input.ts';
import {
  OPTION_INTERFACE_NAME,
  OPTION_TIME_OFFSET,
  OPTION_TIME_RESOLUTION,
  problemOfOptions,
  textOf,
  valuesOf,
  type OptionBytes,
  type OptionLengths,
} from './pcapngoptions.ts';
import { clockOf, RESOLUTION_DEFAULT, SECONDS_MAX, type Clock } from './pcapngtime.ts';

/** The same in both byte orders; it begins a file, and each further section. */
export const BLOCK_SECTION: number = 0x0a0d0d0a;
export const BLOCK_INTERFACE: number = 1;
/** Obsolete, but old files have it. */
export const BLOCK_PACKET: number = 2;
export const BLOCK_SIMPLE_PACKET: number = 3;
export const BLOCK_ENHANCED_PACKET: number = 6;

/** The second word of a section's body, in the section's byte order. */
export const BYTE_ORDER_MAGIC: number = 0x1a2b3c4d;

/** Type, length, length again. */
export const BLOCK_BYTES_MIN: number = 12;

/** A block that we read is held whole, comments and all; Wireshark has the same limit. Others are skipped unheld. */
export const BLOCK_BYTES_MAX: number = 16 * 1024 * 1024;

/** More than any machine has devices; it bounds our memory. */
export const INTERFACES_MAX: number = 4096;

/** IFNAMSIZ is 16, names of other systems are longer; it bounds our memory. */
export const INTERFACE_NAME_BYTES_MAX: number = 1024;

const SECTION_BYTES_MIN = 28;
const INTERFACE_BYTES_MIN = 20;
const INTERFACE_OPTIONS: OptionLengths = new Map([
  [OPTION_TIME_RESOLUTION, 1],
  [OPTION_TIME_OFFSET, 8],
]);
const NO_OPTION_LENGTHS: OptionLengths = new Map();

/** An interface of the section that is being read. */
export type Interface = {
  readonly name: string;
  readonly linkType: number;
  /** Longest frame that the capture was to keep; 0: no limit. */
  readonly snapLength: number;
  readonly clock: Clock;
};

/** What a failure is about: a frame by its number, of which a text is made only then, or something else by its name. */
type Subject = number | string;

function subjectText(subject: Subject): string {
  return typeof subject === 'number' ? `frame ${subject}` : subject;
}

/** A file that is being read. The record holds the byte order of the section. */
export type PcapngFile = {
  readonly input: InputWindow;
  readonly record: OwnedRecord;
  /** Of this section. */
  interfaces: Interface[];
  /** Where this section begins and must end, in bytes from the beginning of the file; Infinity: it doesn't say. */
  sectionStart: number;
  sectionEnd: number;
};

/** Steps into the next section: from here on its byte order and its interfaces hold. */
export function readSection(file: PcapngFile): Failure | undefined {
  const { input, record } = file;
  const at = input.offset();
  if (at < file.sectionEnd && Number.isFinite(file.sectionEnd)) return sectionTooLong(file, at);
  const have = input.ensure(SECTION_BYTES_MIN);
  if (have < 12) return cut(file, 'a section header', have, SECTION_BYTES_MIN);
  const magic = input.view.getUint32(input.start + 8, true);
  const isLittleEndian = magic === BYTE_ORDER_MAGIC;
  if (!isLittleEndian && input.view.getUint32(input.start + 8, false) !== BYTE_ORDER_MAGIC) {
    const bytes = Buffer.from(input.bytes.subarray(input.start + 8, input.start + 12)).toString('hex');
    return failAt(input, at + 8, `the section header has ${bytes} in place of the byte order`).error;
  }
  if (have < SECTION_BYTES_MIN) return cut(file, 'a section header', have, SECTION_BYTES_MIN);
  record.isLittleEndian = isLittleEndian;
  const length = input.view.getUint32(input.start + 4, isLittleEndian);
  const held = holdBlock(file, 'a section header', length, SECTION_BYTES_MIN);
  if (held !== undefined) return held;
  const { view, start } = input;
  const version = `${view.getUint16(start + 12, isLittleEndian)}.${view.getUint16(start + 14, isLittleEndian)}`;
  // 1.2 was never defined, but written, and is no other format.
  if (version !== '1.0' && version !== '1.2') {
    return failAt(input, at + 12, `pcapng version ${version} is not known, only 1.0`).error;
  }
  const sectionLength = view.getBigInt64(start + 16, isLittleEndian);
  if (sectionLength < -1n) return failAt(input, at + 16, `the section claims ${sectionLength} bytes`).error;
  const wrong = checkOptions(file, optionsOf(file, 24, length), 'the section header', NO_OPTION_LENGTHS);
  if (wrong !== undefined) return wrong;
  file.interfaces = [];
  file.sectionStart = at;
  file.sectionEnd = sectionLength === -1n ? Infinity : at + length + Number(sectionLength);
  input.start += length;
  return undefined;
}

/** Adds an interface to the section. */
export function readInterface(file: PcapngFile, length: number): Failure | undefined {
  const number = file.interfaces.length;
  const held = holdBlock(file, `the description of interface ${number}`, length, INTERFACE_BYTES_MIN);
  if (held !== undefined) return held;
  const { input } = file;
  if (number === INTERFACES_MAX) {
    return failAt(input, input.offset(), `the section describes more than ${INTERFACES_MAX} interfaces`).error;
  }
  const { view, start } = input;
  const { isLittleEndian } = file.record;
  const linkType = view.getUint16(start + 8, isLittleEndian);
  const snapLength = view.getUint32(start + 12, isLittleEndian);
  const options = optionsOf(file, 16, length);
  const wrong = checkOptions(file, options, `interface ${number}`, INTERFACE_OPTIONS);
  if (wrong !== undefined) return wrong;
  const told = interfaceOptions(file, options, number);
  if (!told.ok) return told.error;
  file.interfaces.push({ ...told.value, linkType, snapLength });
  input.start += length;
  return undefined;
}

function interfaceOptions(
  { input, record }: PcapngFile,
  options: OptionBytes,
  number: number,
): Result<{ readonly name: string; readonly clock: Clock }> {
  let name = '';
  let resolution = RESOLUTION_DEFAULT;
  let offsetSeconds = 0;
  for (const value of valuesOf(options)) {
    const at = input.offset() + value.start - input.start;
    if (value.code === OPTION_INTERFACE_NAME) {
      if (value.length > INTERFACE_NAME_BYTES_MAX) {
        const limit = `more than ${INTERFACE_NAME_BYTES_MAX}`;
        return failAt(input, at - 2, `interface ${number} has a name of ${value.length} bytes, ${limit}`);
      }
      name = textOf(options, value).replace(/\0+$/, '');
    } else if (value.code === OPTION_TIME_RESOLUTION) {
      resolution = input.view.getUint8(value.start);
    } else if (value.code === OPTION_TIME_OFFSET) {
      offsetSeconds = Number(input.view.getBigInt64(value.start, record.isLittleEndian));
      if (Math.abs(offsetSeconds) > SECONDS_MAX) {
        return failAt(input, at, `interface ${number} has a time offset of ${offsetSeconds} seconds`);
      }
    }
  }
  return ok({ name, clock: clockOf(resolution, offsetSeconds) });
}

/** The length of the block at `start`, of which twelve bytes are there; a length that cannot be is a failure. */
export function blockLength(file: PcapngFile): number | Failure {
  const { input } = file;
  const length = input.view.getUint32(input.start + 4, file.record.isLittleEndian);
  if (length < BLOCK_BYTES_MIN || length % 4 !== 0) return impossibleLength(file, length);
  if (input.offset() + length > file.sectionEnd) return sectionTooShort(file, length);
  return length;
}

/** Brings the whole block into the window, and finds both of its lengths equal. */
export function holdBlock(file: PcapngFile, what: Subject, length: number, least: number): Failure | undefined {
  const { input } = file;
  if (length < least || length % 4 !== 0) return impossibleLength(file, length);
  if (length > BLOCK_BYTES_MAX) {
    const limit = `more than ${BLOCK_BYTES_MAX}`;
    return failAt(input, input.offset() + 4, `${subjectText(what)} claims ${length} bytes, ${limit}`).error;
  }
  const have = input.ensure(length);
  if (have < length) return cut(file, what, have, length);
  const again = input.view.getUint32(input.start + length - 4, file.record.isLittleEndian);
  return again === length ? undefined : otherLength(file, input.offset() + length - 4, what, length, again);
}

/** Steps over a block of which nothing is needed, without holding it. */
export function skipBlock(file: PcapngFile, type: number, length: number): Failure | undefined {
  const { input } = file;
  const at = input.offset();
  const what = `a block of type ${type}`;
  const before = input.skip(length - 4);
  const have = before < length - 4 ? 0 : input.ensure(4);
  if (have < 4) return cutAt(file, at, what, before + have, length);
  const again = input.view.getUint32(input.start, file.record.isLittleEndian);
  if (again !== length) return otherLength(file, input.offset(), what, length, again);
  input.start += 4;
  return undefined;
}

/** The options of the block at `start`: from its byte `from` to its second length. */
export function optionsOf({ input, record }: PcapngFile, from: number, length: number): OptionBytes {
  return {
    buffer: input.bytes,
    optionsStart: input.start + from,
    optionsEnd: input.start + length - 4,
    isLittleEndian: record.isLittleEndian,
  };
}

export function checkOptions(
  { input }: PcapngFile,
  options: OptionBytes,
  what: Subject,
  lengths: OptionLengths,
): Failure | undefined {
  const problem = problemOfOptions(options, lengths);
  if (problem === undefined) return undefined;
  return failAt(input, input.offset() + problem.at - input.start, `${subjectText(what)}: ${problem.message}`).error;
}

/** The end of the file: a good one is after a block, and after the section. */
export function endOfFile(file: PcapngFile, have: number): Failure | undefined {
  const { input } = file;
  if (have > 0 || input.failure() !== undefined) return cut(file, 'a block', have, BLOCK_BYTES_MIN);
  const at = input.offset();
  return at < file.sectionEnd && Number.isFinite(file.sectionEnd) ? sectionTooLong(file, at) : undefined;
}

/** The input ended inside a block, or could not be read further. */
export function cut(file: PcapngFile, what: Subject, have: number, wanted: number): Failure {
  return cutAt(file, file.input.offset(), what, have, wanted);
}

function cutAt({ input }: PcapngFile, at: number, what: Subject, have: number, wanted: number): Failure {
  const failure = input.failure();
  if (failure !== undefined) return failAt(input, at + have, failure.message).error;
  return failAt(input, at, `the file is cut inside ${subjectText(what)}: ${have} of ${wanted} bytes are there`).error;
}

function impossibleLength({ input }: PcapngFile, length: number): Failure {
  return failAt(input, input.offset() + 4, `a block claims ${length} bytes, which no such block has`).error;
}

function otherLength({ input }: PcapngFile, at: number, what: Subject, length: number, again: number): Failure {
  return failAt(input, at, `${subjectText(what)} has ${length} bytes by its beginning, but ${again} by its end`).error;
}

function sectionTooShort(file: PcapngFile, length: number): Failure {
  const { input, sectionEnd, sectionStart } = file;
  const end = input.offset() + length;
  const message = `the section ends at ${sectionEnd} by its header, but the block at ${input.offset()} at ${end}`;
  return failAt(input, sectionStart + 16, message).error;
}

function sectionTooLong({ input, sectionEnd, sectionStart }: PcapngFile, at: number): Failure {
  return failAt(input, sectionStart + 16, `the section ends at ${sectionEnd} by its header, but at ${at} in the file`)
    .error;
}
