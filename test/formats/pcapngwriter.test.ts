// SPDX-License-Identifier: Apache-2.0
/** pcapng is written as the draft draws it, and comes back as it was. */
import * as fc from 'fast-check';
import { expect, test } from 'vitest';

import { failureText } from '../../core/result.ts';
import { FRAME_BYTES_MAX } from '../../formats/capture.ts';
import { LINK_ETHERNET } from '../../formats/link.ts';
import { memoryOutput, openFileOutput } from '../../formats/output.ts';
import {
  COMMENT_BYTES_MAX,
  createPcapngWriter,
  type PcapngInterface,
  type PcapngWriterOptions,
  type WritablePcapngFrame,
} from '../../formats/pcapngwriter.ts';

import { readAll, type ReadCapture } from './captures.ts';
import { enhancedPacket, interfaceDescription, sectionHeader, type ByteOrder } from './pcapngbytes.ts';

type Section = {
  readonly options: PcapngWriterOptions;
  readonly interfaces: readonly PcapngInterface[];
  readonly frames: readonly WritablePcapngFrame[];
};

const NAME = 'made.pcapng';
const FRAME: WritablePcapngFrame = { interfaceId: 0, seconds: 1, nanoseconds: 2, bytes: Uint8Array.of(1, 2, 3) };

function written(sections: readonly Section[]): Uint8Array {
  const output = memoryOutput(NAME);
  const [first, ...rest] = sections;
  const writer = createPcapngWriter(output, first?.options);
  const fill = ({ interfaces, frames }: Section): void => {
    for (const [index, one] of interfaces.entries()) expect(writer.addInterface(one)).toBe(index);
    for (const frame of frames) writer.write(frame);
  };
  if (first !== undefined) fill(first);
  for (const section of rest) {
    writer.beginSection(section.options);
    fill(section);
  }
  expect(writer.finish()).toEqual({ ok: true, value: sections.flatMap(({ frames }) => frames).length });
  return output.bytes();
}

function readOne(frame: WritablePcapngFrame): ReadCapture {
  const section: Section = { options: {}, interfaces: [{ linkType: LINK_ETHERNET }], frames: [frame] };
  return readAll({ name: NAME, bytes: written([section]) });
}

test.each<ByteOrder>(['little', 'big'])('the bytes are those of the draft, %s endian', (byteOrder) => {
  const data = Uint8Array.of(0xaa, 0xbb, 0xcc);
  const id = Buffer.alloc(8);
  if (byteOrder === 'little') id.writeBigUInt64LE(9n);
  else id.writeBigUInt64BE(9n);
  const flags = byteOrder === 'little' ? Uint8Array.of(2, 0, 0, 0) : Uint8Array.of(0, 0, 0, 2);
  const bytes = written([
    {
      options: { byteOrder, comments: ['of a test'] },
      interfaces: [{ linkType: 276, name: 'any', snapLength: 128 }],
      frames: [
        { ...FRAME, bytes: data, originalLength: 60, comments: ['é'], direction: 'outgoing', packetId: 9n },
        { ...FRAME, bytes: data },
      ],
    },
  ]);
  const options = [[1, Buffer.from('é')] as const, [2, flags] as const, [5, id] as const];
  const expected = Buffer.concat([
    sectionHeader(byteOrder, -1n, [
      [1, Buffer.from('of a test')],
      [4, Buffer.from('tandem')],
    ]),
    interfaceDescription(byteOrder, 276, 128, [
      [2, Buffer.from('any')],
      [9, Uint8Array.of(9)],
    ]),
    enhancedPacket(byteOrder, { units: 1_000_000_002n, data, original: 60, options }),
    enhancedPacket(byteOrder, { units: 1_000_000_002n, data }),
  ]);
  expect(Buffer.from(bytes).toString('hex')).toBe(expected.toString('hex'));
});

const someFrame = (interfaces: number): fc.Arbitrary<WritablePcapngFrame> =>
  fc
    .record({
      interfaceId: fc.nat(interfaces - 1),
      seconds: fc.oneof(fc.nat(0xffffffff), fc.nat(18_446_744_072)),
      nanoseconds: fc.nat(999_999_999),
      bytes: fc.uint8Array({ maxLength: 100 }),
      cut: fc.nat(2000),
      comments: fc.array(fc.string({ unit: 'grapheme', maxLength: 40 }), { maxLength: 3 }),
      direction: fc.constantFrom(undefined, 'incoming' as const, 'outgoing' as const),
      packetId: fc.option(fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }), { nil: undefined }),
    })
    .map(({ cut, ...frame }) => ({ ...frame, originalLength: frame.bytes.length + cut }));

const someSection: fc.Arbitrary<Section> = fc
  .array(
    fc.record({
      linkType: fc.nat(0xffff),
      name: fc.string({ unit: 'grapheme', maxLength: 20 }).filter((name) => !name.endsWith('\0')),
      snapLength: fc.constantFrom(0, 100, 262_144),
    }),
    { minLength: 1, maxLength: 4 },
  )
  .chain((interfaces) =>
    fc.record({
      options: fc.record({
        byteOrder: fc.constantFrom<ByteOrder>('little', 'big'),
        comments: fc.array(fc.string(), { maxLength: 2 }),
      }),
      interfaces: fc.constant(interfaces),
      frames: fc.array(someFrame(interfaces.length), { maxLength: 8 }),
    }),
  );

test('what is written is read back, whatever the sections, interfaces, frames and comments', () => {
  fc.assert(
    fc.property(fc.array(someSection, { minLength: 1, maxLength: 3 }), (sections) => {
      const { frames, failure } = readAll({ name: NAME, bytes: written(sections) });
      expect(failure).toBeUndefined();
      const expected = sections.flatMap(({ interfaces, frames: own }) =>
        own.map(({ bytes, ...frame }) => ({
          ...frame,
          linkType: interfaces[frame.interfaceId]?.linkType,
          interfaceName: interfaces[frame.interfaceId]?.name,
          hasTime: true,
          bytes: [...bytes],
        })),
      );
      expect(frames.length).toBe(expected.length);
      expect(frames).toMatchObject(expected.map((frame, index) => ({ ...frame, frame: index + 1 })));
    }),
  );
});

test('a comment that no option holds is cut between two characters', () => {
  const { frames, failure } = readOne({ ...FRAME, comments: [`x${'ü'.repeat(40_000)}`, 'next'] });
  expect(failure).toBeUndefined();
  const [long = '', next] = frames[0]?.comments ?? [];
  expect(Buffer.from(long).length).toBe(COMMENT_BYTES_MAX);
  expect(long).toBe(`x${'ü'.repeat(32_767)}`);
  expect(next).toBe('next');
  expect(readOne({ ...FRAME, comments: ['ü'.repeat(32_768)] }).frames[0]?.comments[0]?.length).toBe(32_767);
});

test('a full disk is told when the writer finishes', () => {
  const output = openFileOutput('/dev/full');
  if (!output.ok) throw new Error(failureText(output.error));
  const writer = createPcapngWriter(output.value);
  writer.addInterface({ linkType: LINK_ETHERNET });
  for (let count = 0; count < 10; count += 1) writer.write({ ...FRAME, bytes: new Uint8Array(FRAME_BYTES_MAX) });
  const finished = writer.finish();
  expect(finished.ok ? 'written' : failureText(finished.error)).toBe('/dev/full: cannot be written: ENOSPC');
});

test.each([
  ['an interface of the section before', { interfaceId: 1 }, 'added in this section'],
  ['half a second', { seconds: 0.5 }, 'seconds fit'],
  ['the year 2555', { seconds: 18_446_744_073 }, 'seconds fit'],
  ['a billion nanoseconds', { nanoseconds: 1e9 }, 'nanoseconds of a second'],
  ['less on the wire than captured', { originalLength: 2 }, 'possible length'],
  ['more than the interface keeps', { bytes: new Uint8Array(101) }, 'no longer than its interface keeps'],
  ['more comments than a block holds', { comments: Array<string>(65).fill('') }, 'no more comments'],
])('%s is a bug of the caller', (_, wrong, text) => {
  const writer = createPcapngWriter(memoryOutput(NAME));
  writer.addInterface({ linkType: LINK_ETHERNET });
  writer.addInterface({ linkType: LINK_ETHERNET });
  writer.beginSection();
  writer.addInterface({ linkType: LINK_ETHERNET, snapLength: 100 });
  expect(() => writer.write({ ...FRAME, ...wrong })).toThrow(text);
});
