// SPDX-License-Identifier: Apache-2.0
/** pcapng: every kind of block is read or skipped, and no length that lies goes unnamed. */
import { expect, test } from 'vitest';

import { fail, failureText } from '../../core/result.ts';
import { FRAME_BYTES_MAX } from '../../formats/capture.ts';
import type { InputReader } from '../../formats/input.ts';
import { INTERFACES_MAX } from '../../formats/pcapngblocks.ts';

import { readAll, type ReadCapture } from './captures.ts';
import {
  block,
  bytesOf,
  enhancedPacket,
  interfaceDescription,
  obsoletePacket,
  optionsOf,
  sectionHeader,
  simplePacket,
  type ByteOrder,
  type Option,
} from './pcapngbytes.ts';

const DATA = Uint8Array.of(0x45, 1, 2, 3, 4);
const NAME: Option = [2, Buffer.from('eth0')];

function read(...blocks: readonly Uint8Array[]): ReadCapture {
  return readAll({ name: 'made.pcapng', bytes: Buffer.concat(blocks) });
}

function failureOf({ failure }: ReadCapture): string {
  return failure === undefined ? 'read' : failureText(failure);
}

test('the bytes of the draft give the frame they stand for', () => {
  const hex = `
    0a0d0d0a 0000001c 1a2b3c4d 0001 0000 ffffffffffffffff 0000001c
    00000001 00000014 0114 0000 00040000 00000014
    00000006 00000038 00000000 0006496e 5d7e3b1f 00000003 00000064 aabbcc00
    0001 0005 68656c6c 6f000000 0000 0000 00000000 00000038`.replaceAll(/\s/g, '');
  // One word too many before the end: what follows the mark of the end is nobody's.
  const { frames, failure } = readAll({ name: 'made.pcapng', bytes: Buffer.from(hex, 'hex') });
  expect(failure).toBeUndefined();
  expect(frames).toEqual([
    {
      frame: 1,
      offset: 48,
      linkType: 276,
      interfaceId: 0,
      interfaceName: '',
      seconds: 1769588224,
      nanoseconds: 47903000,
      hasTime: true,
      originalLength: 100,
      capturedLength: 3,
      comments: ['hello'],
      direction: undefined,
      packetId: undefined,
      bytes: [0xaa, 0xbb, 0xcc],
    },
  ]);
});

test.each<ByteOrder>(['little', 'big'])('all kinds of packet blocks, %s endian', (order) => {
  const told: readonly Option[] = [
    [1, Buffer.from('one')],
    [1, Buffer.from('zwölf')],
    [2, bytesOf(order, [4, 2])],
    [5, bytesOf(order, [8, 77n])],
  ];
  const { frames, failure } = read(
    sectionHeader(order, -1n, [[4, Buffer.from('somebody')]]),
    interfaceDescription(order, 1, 64, [NAME, [9, Uint8Array.of(9)]]),
    interfaceDescription(order, 101),
    enhancedPacket(order, { id: 1, units: 5_000_001n, data: DATA, original: 60, options: told }),
    obsoletePacket(order, { id: 0, units: 7n, data: DATA, options: [[2, bytesOf(order, [4, 1])]] }),
    simplePacket(order, 5, DATA),
    simplePacket(order, 65, new Uint8Array(64)),
  );
  expect(failure).toBeUndefined();
  expect(frames).toMatchObject([
    {
      frame: 1,
      interfaceId: 1,
      interfaceName: '',
      linkType: 101,
      seconds: 5,
      nanoseconds: 1000,
      originalLength: 60,
      comments: ['one', 'zwölf'],
      direction: 'outgoing',
      packetId: 77n,
      bytes: [...DATA],
    },
    { frame: 2, interfaceName: 'eth0', linkType: 1, seconds: 0, nanoseconds: 7, comments: [], direction: 'incoming' },
    { frame: 3, interfaceName: 'eth0', nanoseconds: 7, hasTime: false, originalLength: 5, bytes: [...DATA] },
    { frame: 4, hasTime: false, originalLength: 65, capturedLength: 64, direction: undefined, packetId: undefined },
  ]);
});

test('each section has its own byte order and interfaces, frames are counted through', () => {
  const { frames, failure } = read(
    sectionHeader('big'),
    interfaceDescription('big', 1, 0, [NAME]),
    enhancedPacket('big', { data: DATA }),
    sectionHeader('little'),
    interfaceDescription('little', 276, 0, [[2, Buffer.from('any\0\0')]]),
    enhancedPacket('little', { data: DATA }),
    sectionHeader('big'),
    sectionHeader('little'),
  );
  expect(failure).toBeUndefined();
  expect(frames.map(({ frame, interfaceName, linkType }) => `${frame} ${interfaceName} ${linkType}`)).toEqual([
    '1 eth0 1',
    '2 any 276',
  ]);
});

test.each<ByteOrder>(['little', 'big'])('what is no packet is skipped, %s endian', (order) => {
  const { frames, failure } = read(
    sectionHeader(order),
    block(order, 5, [4, 0], [8, 1n]),
    block(order, 4, [2, 1], [2, 6], new Uint8Array(8), [4, 0]),
    block(order, 0x0a, [4, 0x544c534b], [4, 4], Buffer.from('KEYS')),
    block(order, 9, new Uint8Array(40)),
    block(order, 0xbad, [4, 32473], Buffer.from('ours')),
    block(order, 0x40000bad, [4, 32473]),
    block(order, 0x7fffffff),
    interfaceDescription(order, 1),
    block(order, 0x0a, [4, 0], new Uint8Array(100_000)),
    enhancedPacket(order, { data: DATA, options: [[2988, bytesOf(order, [4, 32473], Buffer.from('mine'))]] }),
    block(order, 0x0a, [4, 0], new Uint8Array(100_000)),
  );
  expect(failure).toBeUndefined();
  expect(frames.length).toBe(1);
});

// Units, resolution, offset; seconds and nanoseconds counted by hand.
test.each([
  ['microseconds without a word', 1_795_358_567_895_139n, undefined, undefined, 1_795_358_567, 895_139_000],
  ['nanoseconds', 1_795_358_567_895_139_308n, 9, undefined, 1_795_358_567, 895_139_308],
  ['nanoseconds, one before a second', 1_795_358_567_999_999_999n, 9, undefined, 1_795_358_567, 999_999_999],
  ['nanoseconds, the last of 64 bits', 18_446_744_073_709_551_615n, 9, undefined, 18_446_744_073, 709_551_615],
  ['seconds', 1_795_358_567n, 0, undefined, 1_795_358_567, 0],
  ['picoseconds', 12_345_678_901_999n, 12, undefined, 12, 345_678_901],
  ['units of 2^-10', 1025n, 0x8a, undefined, 1, 976_562],
  ['units of 2^-32', (7n << 32n) + (1n << 31n), 0xa0, undefined, 7, 500_000_000],
  ['units of 2^-63', 3n << 62n, 0xbf, undefined, 1, 500_000_000],
  ['units of 10^-127', 5n, 127, undefined, 0, 0],
  ['an offset', 5_000_001n, 6, 1_795_358_567n, 1_795_358_572, 1000],
  ['an offset backwards', 5_000_001n, 6, -5n, 0, 1000],
])('time: %s', (_, units, resolution, offset, seconds, nanoseconds) => {
  const options: Option[] = [];
  if (resolution !== undefined) options.push([9, Uint8Array.of(resolution)]);
  if (offset !== undefined) options.push([14, bytesOf('big', [8, offset])]);
  const result = read(
    sectionHeader('big'),
    interfaceDescription('big', 1, 0, options),
    enhancedPacket('big', { units, data: DATA }),
  );
  expect(result.failure).toBeUndefined();
  expect(result.frames[0]).toMatchObject({ seconds, nanoseconds });
});

test.each([
  ['nanoseconds that are said to be microseconds', 1_795_358_567_895_139_308n, [], 48 + 12],
  ['before 1970', 4_999_999n, [[14, bytesOf('big', [8, -5n])] as const], 64 + 12],
])('time: %s are refused', (_, units, options, at) => {
  const file = [sectionHeader('big'), interfaceDescription('big', 1, 0, options)];
  const result = read(...file, enhancedPacket('big', { units, data: DATA }));
  expect(failureOf(result)).toBe(`made.pcapng offset ${at}: frame 1 has a time that is not between 1970 and 9999`);
});

test('a frame of a link type that nobody knows is given: it is counted, the others are still read', () => {
  const { frames, failure } = read(
    sectionHeader('big'),
    interfaceDescription('big', 147),
    enhancedPacket('big', { data: DATA }),
  );
  expect([frames[0]?.linkType, failure]).toEqual([147, undefined]);
});

test('a section may say how long it is, and must be', () => {
  const inside = [interfaceDescription('big', 1), enhancedPacket('big', { data: DATA })];
  const length = BigInt(Buffer.concat(inside).length);
  const again = [sectionHeader('big', length), ...inside, sectionHeader('big', 0n)];
  expect(read(...again)).toMatchObject({ frames: [{ frame: 1 }], failure: undefined });
  // 28 + 20 + 40 = 88.
  expect(failureOf(read(sectionHeader('big', length + 4n), ...inside))).toBe(
    'made.pcapng offset 16: the section ends at 92 by its header, but at 88 in the file',
  );
  const tooLong = read(sectionHeader('big', length + 4n), ...inside, sectionHeader('big'));
  expect([tooLong.frames.length, failureOf(tooLong)]).toEqual([
    1,
    'made.pcapng offset 16: the section ends at 92 by its header, but at 88 in the file',
  ]);
  expect(failureOf(read(sectionHeader('big', length - 4n), ...inside))).toBe(
    'made.pcapng offset 16: the section ends at 84 by its header, but the block at 48 at 88',
  );
  expect(failureOf(read(sectionHeader('big', -2n), ...inside))).toBe(
    'made.pcapng offset 16: the section claims -2 bytes',
  );
});

/** A section at 0, its interface at 28, frames at 60 and 100; the end at 156. */
const BEFORE: readonly Uint8Array[] = [
  sectionHeader('big'),
  interfaceDescription('big', 1, 100, [[9, Uint8Array.of(9)]]),
  enhancedPacket('big', { data: DATA }),
  enhancedPacket('big', { data: DATA, options: [[1, Buffer.from('comments')]] }),
];

/** The second frame with some of its 32-bit words, by their offset in the block, replaced. */
function withWords(words: Readonly<Record<number, number>>): Uint8Array {
  const bytes = Buffer.concat(BEFORE);
  for (const [at, value] of Object.entries(words)) bytes.writeUInt32BE(value, 100 + Number(at));
  return bytes;
}

test.each([
  ['no length', { 4: 0 }, 'offset 104: a block claims 0 bytes, which no such block has'],
  ['no whole words', { 4: 58 }, 'offset 104: a block claims 58 bytes, which no such block has'],
  ['less than a packet has', { 4: 28 }, 'offset 104: a block claims 28 bytes, which no such block has'],
  ['more than the file has', { 4: 0x1000 }, 'offset 100: the file is cut inside frame 2: 56 of 4096 bytes are there'],
  ['four gigabytes', { 4: 0xfffffff0 }, 'offset 104: frame 2 claims 4294967280 bytes, more than 16777216'],
  ['less than it has', { 4: 52 }, 'offset 148: frame 2 has 52 bytes by its beginning, but 0 by its end'],
  ['another length at its end', { 52: 60 }, 'offset 152: frame 2 has 56 bytes by its beginning, but 60 by its end'],
  ['an unknown interface', { 8: 1 }, 'offset 108: frame 2 is of interface 1, but the section has described 1'],
  [
    'a captured length beyond its block',
    { 20: 25, 24: 25 },
    'offset 120: frame 2 claims 25 bytes, but its block has room for 24',
  ],
  [
    'a captured length that no frame has',
    { 20: 262_145 },
    'offset 120: frame 2 claims 262145 bytes, more than any frame has (262144)',
  ],
  ['more than was on the wire', { 24: 4 }, 'offset 120: frame 2 claims 5 bytes, but it had 4 on the wire'],
  [
    'more than its interface keeps',
    { 20: 101, 24: 101 },
    'offset 120: frame 2 claims 101 bytes, but its interface keeps at most 100 of each',
  ],
  [
    'an option beyond its block',
    { 36: 0x0001_000d },
    'offset 138: frame 2: its option 1 claims 13 bytes, but the block has 12 left',
  ],
  ['flags of another size', { 36: 0x0002_0008 }, 'offset 138: frame 2: its option 2 claims 8 bytes, but always has 4'],
  ['an end with a length', { 36: 0x0000_0008 }, 'offset 138: frame 2: the end of its options claims 8 bytes'],
])('a frame with %s ends the reading after the frame before it', (_, words, text) => {
  const result = readAll({ name: 'made.pcapng', bytes: withWords(words) });
  expect(failureOf(result)).toBe(`made.pcapng ${text}`);
  expect(result.frames.length).toBe(1);
});

test.each([
  [
    'a section header that is cut',
    [sectionHeader('big').subarray(0, 27)],
    'offset 0: the file is cut inside a section header: 27 of 28 bytes are there',
  ],
  [
    'no byte order',
    [Buffer.from('0a0d0d0a0000001c1a2b3c4c', 'hex'), new Uint8Array(16)],
    'offset 8: the section header has 1a2b3c4c in place of the byte order',
  ],
  [
    'version 2',
    [block('big', 0x0a0d0d0a, [4, 0x1a2b3c4d], [2, 2], [2, 0], [8, -1n])],
    'offset 12: pcapng version 2.0 is not known, only 1.0',
  ],
  [
    'a packet before its interface',
    [sectionHeader('big'), enhancedPacket('big', { data: DATA })],
    'offset 36: frame 1 is of interface 0, but the section has described 0',
  ],
  [
    'a simple packet before its interface',
    [sectionHeader('big'), simplePacket('big', 5, DATA)],
    'offset 36: frame 1 is of interface 0, but the section has described 0',
  ],
  [
    'a simple packet that claims less than its block',
    [sectionHeader('big'), interfaceDescription('big', 1), simplePacket('big', 4, DATA)],
    'offset 56: frame 1 claims 4 bytes, but its block has room for 8',
  ],
  [
    'a simple packet that claims more than its block',
    [sectionHeader('big'), interfaceDescription('big', 1), simplePacket('big', 9, DATA)],
    'offset 56: frame 1 claims 9 bytes, but its block has room for 8',
  ],
  [
    'a resolution of two bytes',
    [sectionHeader('big'), interfaceDescription('big', 1, 0, [[9, new Uint8Array(2)]])],
    'offset 46: interface 0: its option 9 claims 2 bytes, but always has 1',
  ],
  [
    'a time offset of a million years',
    [sectionHeader('big'), interfaceDescription('big', 1, 0, [[14, bytesOf('big', [8, 1n << 45n])]])],
    'offset 48: interface 0 has a time offset of 35184372088832 seconds',
  ],
  [
    'a name of a novel',
    [sectionHeader('big'), interfaceDescription('big', 1, 0, [[2, Buffer.alloc(1025, 'x')]])],
    'offset 46: interface 0 has a name of 1025 bytes, more than 1024',
  ],
  [
    'a skipped block that is cut',
    [sectionHeader('big'), block('big', 5, [4, 0], [8, 0n]).subarray(0, 21)],
    'offset 28: the file is cut inside a block of type 5: 21 of 24 bytes are there',
  ],
  [
    'a skipped block with two lengths',
    [sectionHeader('big'), bytesOf('big', [4, 5], [4, 12], [4, 16])],
    'offset 36: a block of type 5 has 12 bytes by its beginning, but 16 by its end',
  ],
  [
    'a few bytes at the end',
    [sectionHeader('big'), new Uint8Array(5)],
    'offset 28: the file is cut inside a block: 5 of 12 bytes are there',
  ],
  [
    'a skipped block without whole words',
    [sectionHeader('big'), bytesOf('big', [4, 5], [4, 13], [1, 0], [4, 13])],
    'offset 32: a block claims 13 bytes, which no such block has',
  ],
  [
    'a frame that its interface would have cut',
    [sectionHeader('big'), interfaceDescription('big', 1, 4), enhancedPacket('big', { data: DATA })],
    'offset 68: frame 1 claims 5 bytes, but its interface keeps at most 4 of each',
  ],
  [
    'a frame longer than any',
    [
      sectionHeader('big'),
      interfaceDescription('big', 1),
      enhancedPacket('big', { data: new Uint8Array(FRAME_BYTES_MAX + 1) }),
    ],
    'offset 68: frame 1 claims 262145 bytes, more than any frame has (262144)',
  ],
])('%s is named with its place', (_, blocks, text) => {
  expect(failureOf(read(...blocks))).toBe(`made.pcapng ${text}`);
});

test('a section without end of interfaces is a limit with a name', () => {
  const many = Array.from({ length: INTERFACES_MAX + 1 }, () => interfaceDescription('little', 1));
  expect(failureOf(read(sectionHeader('little'), ...many))).toBe(
    `made.pcapng offset ${28 + 20 * INTERFACES_MAX}: the section describes more than 4096 interfaces`,
  );
});

test('options may end with their block, and comments need not be text', () => {
  const comment = optionsOf('big', [[1, Uint8Array.of(0x61, 0xff)]], false);
  const body = block('big', 6, [4, 0], [8, 0n], [4, 5], [4, 5], DATA, new Uint8Array(3), comment);
  const { frames } = read(sectionHeader('big'), interfaceDescription('big', 1), body);
  expect(frames[0]?.comments).toEqual(['a\ufffd']);
});

test('what follows the end of options is nobody’s', () => {
  const options = Buffer.concat([optionsOf('big', [[1, Buffer.from('told')]]), optionsOf('big', [[1, DATA]])]);
  const body = block('big', 6, [4, 0], [8, 0n], [4, 5], [4, 5], DATA, new Uint8Array(3), options);
  const { frames, failure } = read(sectionHeader('big'), interfaceDescription('big', 1), body);
  expect([frames[0]?.comments, failure]).toEqual([['told'], undefined]);
});

test('a disk that fails between two blocks is no end of the file', () => {
  const pieces = [Buffer.concat([sectionHeader('big'), interfaceDescription('big', 1)])];
  const reader: InputReader = {
    read: (target) => {
      const piece = pieces.shift();
      if (piece === undefined) return fail('input', 'made.pcapng', 'cannot be read: EIO').error;
      target.set(piece);
      return piece.length;
    },
  };
  expect(failureOf(readAll({ name: 'made.pcapng', open: () => reader }))).toBe(
    'made.pcapng offset 48: cannot be read: EIO',
  );
});

test('three of four bytes of the magic are another kind of file', () => {
  expect(failureOf(read(Buffer.from('0a0d0d0b', 'hex'), sectionHeader('big')))).toBe(
    'made.pcapng offset 0: not a pcap file: it begins with 0x0a0d0d0b',
  );
});

test('the longest frame is read, across the borders of chunks', () => {
  const data = new Uint8Array(FRAME_BYTES_MAX).fill(7);
  const packets = Array.from({ length: 9 }, () => enhancedPacket('little', { data }));
  const { frames, failure } = read(sectionHeader('little'), interfaceDescription('little', 1), ...packets);
  expect(failure).toBeUndefined();
  expect(frames.map(({ bytes }) => bytes.length)).toEqual(Array(9).fill(FRAME_BYTES_MAX));
});
