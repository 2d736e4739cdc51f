// SPDX-License-Identifier: Apache-2.0
/** Writer of pcapng files: nanoseconds, any number of interfaces and sections, comments that Wireshark shows. */
import { assert, ok, type Result } from '../core/result.ts';

import { FRAME_BYTES_MAX } from './capture.ts';
import type { Output } from './output.ts';
import type { WritableFrame } from './pcap.ts';
import {
  BLOCK_ENHANCED_PACKET,
  BLOCK_INTERFACE,
  BLOCK_SECTION,
  BYTE_ORDER_MAGIC,
  INTERFACE_NAME_BYTES_MAX,
  INTERFACES_MAX,
} from './pcapngblocks.ts';
import {
  OPTION_APPLICATION,
  OPTION_COMMENT,
  OPTION_END,
  OPTION_INTERFACE_NAME,
  OPTION_PACKET_FLAGS,
  OPTION_PACKET_ID,
  OPTION_TIME_RESOLUTION,
  padded,
  type PacketDirection,
} from './pcapngoptions.ts';

/** The length of an option is 16 bits. A comment that is longer is cut between two characters. */
export const COMMENT_BYTES_MAX: number = 65_535;

/** So that any block stays below what readers hold. */
export const COMMENTS_MAX: number = 64;

const UNITS_PER_SECOND = 1_000_000_000n;
/** Nanoseconds in 64 bits end in the year 2554. */
const WRITABLE_SECONDS_MAX = 18_446_744_072;
const NANOSECONDS = 9;
const SECTION_LENGTH_UNKNOWN = -1n;
const PACKET_HEADER_BYTES = 28;
const NOTHING = new Uint8Array(0);
const PADDINGS: readonly Uint8Array[] = [NOTHING, new Uint8Array(1), new Uint8Array(2), new Uint8Array(3)];
const DIRECTIONS: { readonly [direction in PacketDirection]: number } = { incoming: 1, outgoing: 2 };

export type PcapngInterface = {
  readonly linkType: number;
  /** Such as `eth0`; empty or absent: not told. */
  readonly name?: string;
  /** Absent or 0: no limit. */
  readonly snapLength?: number;
};

/** A frame with what pcapng can say of it; a CaptureRecord will do, with its `interfaceId`. */
export type WritablePcapngFrame = WritableFrame & {
  /** What `addInterface` returned in this section. */
  readonly interfaceId: number;
  /** Each is a line of its own in Wireshark, above the frame. */
  readonly comments?: readonly string[];
  readonly direction?: PacketDirection | undefined;
  readonly packetId?: bigint | undefined;
};

export type PcapngWriterOptions = {
  readonly byteOrder?: 'little' | 'big';
  /** Comments of the first section: what the file as a whole is about. */
  readonly comments?: readonly string[];
};

/** A pcapng file that is being written. Errors of the disk are kept and told by `finish`. */
export type PcapngWriter = {
  /** Its number in this section, for `interfaceId`. */
  readonly addInterface: (described: PcapngInterface) => number;
  readonly write: (frame: WritablePcapngFrame) => void;
  /** Begins another section, without interfaces. */
  readonly beginSection: (options?: PcapngWriterOptions) => void;
  /** Closes the output; the number of frames, or the first failure. */
  readonly finish: () => Result<number>;
};

type Option = { readonly code: number; readonly value: Uint8Array };

/** Writes the header of the first section at once. */
export function createPcapngWriter(output: Output, options: PcapngWriterOptions = {}): PcapngWriter {
  let isLittleEndian = true;
  let interfaces: number[] = [];
  let frames = 0;
  const scratch = new Uint8Array(PACKET_HEADER_BYTES);
  const view = new DataView(scratch.buffer);

  function beginSection({ byteOrder, comments = [] }: PcapngWriterOptions = {}): void {
    isLittleEndian = byteOrder !== 'big';
    interfaces = [];
    const body = new DataView(new ArrayBuffer(16));
    body.setUint32(0, BYTE_ORDER_MAGIC, isLittleEndian);
    body.setUint16(4, 1, isLittleEndian);
    body.setBigInt64(8, SECTION_LENGTH_UNKNOWN, isLittleEndian);
    const told = [...commentOptions(comments), { code: OPTION_APPLICATION, value: Buffer.from('tandem') }];
    output.write(blockOf(BLOCK_SECTION, bytesOf(body), told, isLittleEndian));
  }

  function addInterface({ linkType, name = '', snapLength = 0 }: PcapngInterface): number {
    const nameBytes = Buffer.from(name);
    assert(interfaces.length < INTERFACES_MAX, 'a section of possible size');
    assert(nameBytes.length <= INTERFACE_NAME_BYTES_MAX, 'an interface name of possible length');
    assert(linkType >= 0 && linkType <= 0xffff, 'link types have 16 bits');
    const body = new DataView(new ArrayBuffer(8));
    body.setUint16(0, linkType, isLittleEndian);
    body.setUint32(4, snapLength, isLittleEndian);
    const told = name === '' ? [] : [{ code: OPTION_INTERFACE_NAME, value: nameBytes }];
    const resolution = { code: OPTION_TIME_RESOLUTION, value: Uint8Array.of(NANOSECONDS) };
    output.write(blockOf(BLOCK_INTERFACE, bytesOf(body), [...told, resolution], isLittleEndian));
    return interfaces.push(snapLength) - 1;
  }

  function write(frame: WritablePcapngFrame): void {
    const { seconds, nanoseconds, bytes, originalLength = bytes.length, interfaceId } = frame;
    const snapLength = interfaces[interfaceId];
    assert(snapLength !== undefined, 'a frame of an interface that was added in this section');
    assert(Number.isInteger(seconds) && seconds >= 0 && seconds <= WRITABLE_SECONDS_MAX, 'seconds fit 64 bits');
    assert(Number.isInteger(nanoseconds) && nanoseconds >= 0 && nanoseconds <= 999_999_999, 'nanoseconds of a second');
    assert(bytes.length <= FRAME_BYTES_MAX && bytes.length <= originalLength, 'a frame of possible length');
    assert(snapLength === 0 || bytes.length <= snapLength, 'a frame no longer than its interface keeps');
    const options = optionBytes(packetOptions(frame, isLittleEndian), isLittleEndian);
    const length = PACKET_HEADER_BYTES + padded(bytes.length) + options.length + 4;
    const time = BigInt(seconds) * UNITS_PER_SECOND + BigInt(nanoseconds);
    view.setUint32(0, BLOCK_ENHANCED_PACKET, isLittleEndian);
    view.setUint32(4, length, isLittleEndian);
    view.setUint32(8, interfaceId, isLittleEndian);
    view.setUint32(12, Number(time >> 32n), isLittleEndian);
    view.setUint32(16, Number(time & 0xffff_ffffn), isLittleEndian);
    view.setUint32(20, bytes.length, isLittleEndian);
    view.setUint32(24, originalLength, isLittleEndian);
    output.write(scratch);
    output.write(bytes);
    output.write(PADDINGS[padded(bytes.length) - bytes.length] ?? NOTHING);
    output.write(options);
    view.setUint32(0, length, isLittleEndian);
    output.write(scratch.subarray(0, 4));
    frames += 1;
  }

  function finish(): Result<number> {
    const written = output.finish();
    return written.ok ? ok(frames) : written;
  }

  beginSection(options);
  return { addInterface, write, beginSection, finish };
}

function packetOptions(frame: WritablePcapngFrame, isLittleEndian: boolean): readonly Option[] {
  const { comments = [], direction, packetId } = frame;
  const options = [...commentOptions(comments)];
  if (direction !== undefined) {
    const value = new DataView(new ArrayBuffer(4));
    value.setUint32(0, DIRECTIONS[direction], isLittleEndian);
    options.push({ code: OPTION_PACKET_FLAGS, value: bytesOf(value) });
  }
  if (packetId !== undefined) {
    const value = new DataView(new ArrayBuffer(8));
    value.setBigUint64(0, packetId, isLittleEndian);
    options.push({ code: OPTION_PACKET_ID, value: bytesOf(value) });
  }
  return options;
}

function commentOptions(comments: readonly string[]): readonly Option[] {
  assert(comments.length <= COMMENTS_MAX, 'no more comments than a block holds');
  return comments.map((comment) => ({ code: OPTION_COMMENT, value: cutText(comment) }));
}

/** At most COMMENT_BYTES_MAX bytes, whole characters. */
function cutText(text: string): Uint8Array {
  const bytes = Buffer.from(text);
  if (bytes.length <= COMMENT_BYTES_MAX) return bytes;
  let end = COMMENT_BYTES_MAX;
  // Bytes 10xxxxxx go on with a character.
  while (((bytes[end] ?? 0) & 0xc0) === 0x80) end -= 1;
  return bytes.subarray(0, end);
}

/** Type, length, body (a multiple of four bytes), options, length. */
function blockOf(type: number, body: Uint8Array, options: readonly Option[], isLittleEndian: boolean): Uint8Array {
  const told = optionBytes(options, isLittleEndian);
  const block = new Uint8Array(8 + body.length + told.length + 4);
  const view = new DataView(block.buffer);
  view.setUint32(0, type, isLittleEndian);
  view.setUint32(4, block.length, isLittleEndian);
  block.set(body, 8);
  block.set(told, 8 + body.length);
  view.setUint32(block.length - 4, block.length, isLittleEndian);
  return block;
}

/** Nothing at all where there is no option, else the options and the end mark. */
function optionBytes(options: readonly Option[], isLittleEndian: boolean): Uint8Array {
  if (options.length === 0) return NOTHING;
  const bytes = new Uint8Array(options.reduce((sum, { value }) => sum + 4 + padded(value.length), 4));
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const { code, value } of options) {
    view.setUint16(at, code, isLittleEndian);
    view.setUint16(at + 2, value.length, isLittleEndian);
    bytes.set(value, at + 4);
    at += 4 + padded(value.length);
  }
  view.setUint16(at, OPTION_END, isLittleEndian);
  return bytes;
}

function bytesOf(view: DataView): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}
