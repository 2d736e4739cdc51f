// SPDX-License-Identifier: Apache-2.0
/** Reader of pcapng files: frames of all sections and interfaces, everything else skipped. draft-ietf-opsawg-pcapng */
import { ok, type Failure, type Result } from '../core/result.ts';

import { captureOf, failAt, FRAME_BYTES_MAX, OwnedRecord, type Capture } from './capture.ts';
import type { InputWindow } from './input.ts';
import {
  BLOCK_BYTES_MIN,
  BLOCK_ENHANCED_PACKET,
  BLOCK_INTERFACE,
  BLOCK_PACKET,
  BLOCK_SECTION,
  BLOCK_SIMPLE_PACKET,
  blockLength,
  checkOptions,
  endOfFile,
  holdBlock,
  readInterface,
  readSection,
  skipBlock,
  type Interface,
  type PcapngFile,
} from './pcapngblocks.ts';
import { OPTION_PACKET_FLAGS, OPTION_PACKET_ID, padded, type OptionLengths } from './pcapngoptions.ts';
import { readMoment } from './pcapngtime.ts';

/** Of enhanced and of obsolete packet blocks, all before the data; and of simple ones. */
const PACKET_HEADER_BYTES = 28;
const SIMPLE_HEADER_BYTES = 12;

const PACKET_OPTIONS: OptionLengths = new Map([
  [OPTION_PACKET_FLAGS, 4],
  [OPTION_PACKET_ID, 8],
]);
const OBSOLETE_PACKET_OPTIONS: OptionLengths = new Map([[OPTION_PACKET_FLAGS, 4]]);

/** Reads a file that begins with a section header; takes over the window and closes it at the end. */
export function readPcapng(input: InputWindow): Result<Capture> {
  const record = new OwnedRecord(0);
  const file: PcapngFile = { input, record, interfaces: [], sectionStart: 0, sectionEnd: Infinity };
  const refused = readSection(file);
  if (refused !== undefined) {
    input.close();
    return { ok: false, error: refused };
  }
  return ok(captureOf(input, 'pcapng', record, () => nextFrame(file)));
}

/** Reads blocks up to the next frame, which is in the record then. */
function nextFrame(file: PcapngFile): 'frame' | 'end' | Failure {
  const { input } = file;
  for (;;) {
    const have = input.ensure(BLOCK_BYTES_MIN);
    if (have < BLOCK_BYTES_MIN) return endOfFile(file, have) ?? 'end';
    const type = input.view.getUint32(input.start, file.record.isLittleEndian);
    const failure = type === BLOCK_SECTION ? readSection(file) : readBlock(file, type);
    if (failure === 'frame' || failure !== undefined) return failure;
  }
}

function readBlock(file: PcapngFile, type: number): 'frame' | undefined | Failure {
  const length = blockLength(file);
  if (typeof length !== 'number') return length;
  switch (type) {
    case BLOCK_ENHANCED_PACKET:
    case BLOCK_PACKET:
      return readPacket(file, type, length) ?? 'frame';
    case BLOCK_SIMPLE_PACKET:
      return readSimplePacket(file, length) ?? 'frame';
    case BLOCK_INTERFACE:
      return readInterface(file, length);
    default:
      return skipBlock(file, type, length);
  }
}

/** Enhanced: interface 4, time 8, captured 4, original 4, data, options; the obsolete one: interface 2, drops 2, the same. */
function readPacket(file: PcapngFile, type: number, length: number): Failure | undefined {
  const { input, record } = file;
  const frame = record.frame + 1;
  const held = holdBlock(file, frame, length, PACKET_HEADER_BYTES + 4);
  if (held !== undefined) return held;
  const { view, start } = input;
  const { isLittleEndian } = record;
  const id =
    type === BLOCK_PACKET ? view.getUint16(start + 8, isLittleEndian) : view.getUint32(start + 8, isLittleEndian);
  const from = file.interfaces[id];
  if (from === undefined) return noInterface(file, id);
  const captured = view.getUint32(start + 20, isLittleEndian);
  const original = view.getUint32(start + 24, isLittleEndian);
  const optionsAt = PACKET_HEADER_BYTES + padded(captured);
  if (captured > FRAME_BYTES_MAX || captured > original || isOver(from, captured) || optionsAt > length - 4) {
    return absurdLength(file, from, { at: 20, captured, original, room: length - PACKET_HEADER_BYTES - 4 });
  }
  const high = view.getUint32(start + 12, isLittleEndian);
  if (!readMoment(from.clock, high, view.getUint32(start + 16, isLittleEndian), record)) return absurdTime(file);
  record.hasTime = true;
  record.buffer = input.bytes;
  record.optionsStart = start + optionsAt;
  record.optionsEnd = start + length - 4;
  if (record.optionsStart < record.optionsEnd) {
    const lengths = type === BLOCK_PACKET ? OBSOLETE_PACKET_OPTIONS : PACKET_OPTIONS;
    const wrong = checkOptions(file, record, frame, lengths);
    if (wrong !== undefined) return wrong;
  }
  take(file, { id, from, captured, original, dataAt: PACKET_HEADER_BYTES, length });
  return undefined;
}

/** Original length 4, then data, as much as the first interface keeps. No time, no options. */
function readSimplePacket(file: PcapngFile, length: number): Failure | undefined {
  const { input, record } = file;
  const held = holdBlock(file, record.frame + 1, length, SIMPLE_HEADER_BYTES + 4);
  if (held !== undefined) return held;
  const [from] = file.interfaces;
  if (from === undefined) return noInterface(file, 0);
  const original = input.view.getUint32(input.start + 8, record.isLittleEndian);
  const captured = isOver(from, original) ? from.snapLength : original;
  const room = length - SIMPLE_HEADER_BYTES - 4;
  // There are no options: data of another length than the block is a length that lies.
  if (captured > FRAME_BYTES_MAX || padded(captured) !== room) {
    return absurdLength(file, from, { at: 8, captured, original, room });
  }
  record.hasTime = false;
  record.buffer = input.bytes;
  record.optionsStart = 0;
  record.optionsEnd = 0;
  take(file, { id: 0, from, captured, original, dataAt: SIMPLE_HEADER_BYTES, length });
  return undefined;
}

/** What both kinds of packets have in common goes into the record; the window steps over the block. */
function take(
  { input, record }: PcapngFile,
  packet: {
    readonly id: number;
    readonly from: Interface;
    readonly captured: number;
    readonly original: number;
    readonly dataAt: number;
    readonly length: number;
  },
): void {
  record.frame += 1;
  record.offset = input.offset();
  record.interfaceId = packet.id;
  record.interfaceName = packet.from.name;
  record.linkType = packet.from.linkType;
  record.capturedLength = packet.captured;
  record.originalLength = packet.original;
  record.start = input.start + packet.dataAt;
  input.start += packet.length;
}

function isOver({ snapLength }: Interface, length: number): boolean {
  return snapLength !== 0 && length > snapLength;
}

function noInterface({ input, interfaces, record }: PcapngFile, id: number): Failure {
  const described = `the section has described ${interfaces.length}`;
  return failAt(input, input.offset() + 8, `frame ${record.frame + 1} is of interface ${id}, but ${described}`).error;
}

function absurdTime({ input, record }: PcapngFile): Failure {
  return failAt(input, input.offset() + 12, `frame ${record.frame + 1} has a time that is not between 1970 and 9999`)
    .error;
}

/** Says which length of a packet cannot be. */
function absurdLength(
  { input, record }: PcapngFile,
  from: Interface,
  claim: { readonly at: number; readonly captured: number; readonly original: number; readonly room: number },
): Failure {
  const { at, captured, original, room } = claim;
  const claims = `frame ${record.frame + 1} claims ${captured} bytes,`;
  const why = (reason: string): Failure => failAt(input, input.offset() + at, `${claims} ${reason}`).error;
  if (captured > FRAME_BYTES_MAX) return why(`more than any frame has (${FRAME_BYTES_MAX})`);
  if (captured > original) return why(`but it had ${original} on the wire`);
  if (isOver(from, captured)) return why(`but its interface keeps at most ${from.snapLength} of each`);
  return why(`but its block has room for ${room}`);
}
