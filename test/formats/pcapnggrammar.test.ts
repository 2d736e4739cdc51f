// SPDX-License-Identifier: Apache-2.0
/** Any sequence of blocks that the draft allows gives exactly the frames that it was made of. */
import * as fc from 'fast-check';
import { expect, test } from 'vitest';

import { readAll, type Frame } from './captures.ts';
import {
  block,
  bytesOf,
  enhancedPacket,
  interfaceDescription,
  obsoletePacket,
  sectionHeader,
  simplePacket,
  type ByteOrder,
  type Option,
} from './pcapngbytes.ts';

type Device = {
  readonly name: string;
  readonly linkType: number;
  readonly snapLength: number;
  /** if_tsresol; undefined: not told. */
  readonly resolution: number | undefined;
  readonly offset: number | undefined;
};

type Packet = {
  readonly kind: 'enhanced' | 'obsolete' | 'simple';
  readonly device: number;
  readonly units: bigint;
  readonly bytes: Uint8Array;
  readonly cut: number;
  readonly comments: readonly string[];
};

type Item = { readonly is: 'packet'; readonly packet: Packet } | { readonly is: 'other'; readonly type: number };

type Section = {
  readonly order: ByteOrder;
  readonly tellsLength: boolean;
  readonly devices: readonly Device[];
  readonly items: readonly Item[];
};

type Expected = Pick<
  Frame,
  'seconds' | 'nanoseconds' | 'hasTime' | 'originalLength' | 'comments' | 'linkType' | 'interfaceName' | 'bytes'
>;

const device: fc.Arbitrary<Device> = fc.record({
  name: fc.string({ unit: 'grapheme-ascii', maxLength: 8 }),
  linkType: fc.nat(0xffff),
  snapLength: fc.constantFrom(0, 60, 65_536),
  resolution: fc.constantFrom(undefined, 0, 3, 6, 9, 12, 15, 0x80, 0x8a, 0xa0),
  offset: fc.constantFrom(undefined, 0, 1_000_000_000),
});

const packet: fc.Arbitrary<Packet> = fc.record({
  kind: fc.constantFrom('enhanced', 'enhanced', 'obsolete', 'simple'),
  device: fc.nat(2),
  units: fc.oneof(fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }), fc.bigInt({ min: 0n, max: 2_000_000_000_000_000n })),
  bytes: fc.uint8Array({ maxLength: 60 }),
  cut: fc.constantFrom(0, 0, 1, 1000),
  comments: fc.array(fc.string({ unit: 'grapheme', maxLength: 12 }), { maxLength: 2 }),
});

const item: fc.Arbitrary<Item> = fc.oneof(
  { weight: 4, arbitrary: packet.map((one): Item => ({ is: 'packet', packet: one })) },
  { weight: 1, arbitrary: fc.constantFrom(4, 5, 9, 0x0a, 0xbad).map((type): Item => ({ is: 'other', type })) },
);

const section: fc.Arbitrary<Section> = fc.record({
  order: fc.constantFrom('little', 'big'),
  tellsLength: fc.boolean(),
  devices: fc.array(device, { minLength: 1, maxLength: 3 }),
  items: fc.array(item, { maxLength: 10 }),
});

/** By integers of any size, from the words of the draft. */
function timeOf({ resolution = 6, offset = 0 }: Device, units: bigint): { seconds: number; nanoseconds: number } {
  const perSecond = resolution >= 0x80 ? 2n ** BigInt(resolution - 0x80) : 10n ** BigInt(resolution);
  const nanoseconds = (units * 1_000_000_000n) / perSecond;
  return {
    seconds: Number(nanoseconds / 1_000_000_000n) + offset,
    nanoseconds: Number(nanoseconds % 1_000_000_000n),
  };
}

/** Bytes of a file and what must be read of it; packets whose time no capture has are left out. */
function fileOf(sections: readonly Section[]): { readonly bytes: Uint8Array; readonly expected: readonly Expected[] } {
  const expected: Expected[] = [];
  let last = { seconds: 0, nanoseconds: 0 };
  const pieces = sections.map(({ order, tellsLength, devices, items }) => {
    const blocks = devices.map((one) => deviceBlock(order, one));
    for (const one of items) {
      if (one.is === 'other') {
        blocks.push(block(order, one.type, new Uint8Array(one.type * 4)));
        continue;
      }
      const made = packetBlock(order, devices, one.packet, last);
      if (made === undefined) continue;
      const { seconds, nanoseconds } = made.expected;
      last = { seconds, nanoseconds };
      blocks.push(made.bytes);
      expected.push(made.expected);
    }
    const inside = Buffer.concat(blocks);
    return Buffer.concat([sectionHeader(order, tellsLength ? BigInt(inside.length) : -1n), inside]);
  });
  return { bytes: Uint8Array.from(Buffer.concat(pieces)), expected };
}

function deviceBlock(order: ByteOrder, { name, linkType, snapLength, resolution, offset }: Device): Uint8Array {
  const options: Option[] = [];
  if (offset !== undefined) options.push([14, bytesOf(order, [8, offset])]);
  if (resolution !== undefined) options.push([9, Uint8Array.of(resolution)]);
  if (name !== '') options.push([2, Buffer.from(name)]);
  return interfaceDescription(order, linkType, snapLength, options);
}

function packetBlock(
  order: ByteOrder,
  devices: readonly Device[],
  { kind, device: wanted, units, bytes, cut, comments }: Packet,
  last: { readonly seconds: number; readonly nanoseconds: number },
): { readonly bytes: Uint8Array; readonly expected: Expected } | undefined {
  const id = kind === 'simple' ? 0 : wanted % devices.length;
  const from = devices[id];
  if (from === undefined) return undefined;
  const place = { linkType: from.linkType, interfaceName: from.name, bytes: [...bytes] };
  if (kind === 'simple') {
    // Only a frame as long as its interface keeps can be cut.
    const isCut = from.snapLength > 0 && bytes.length === from.snapLength;
    const original = isCut ? bytes.length + cut : bytes.length;
    const told = { ...place, ...last, hasTime: false, originalLength: original, comments: [] };
    return { bytes: simplePacket(order, original, bytes), expected: told };
  }
  const time = timeOf(from, units);
  if (time.seconds > 253_402_300_799) return undefined;
  const original = bytes.length + cut;
  const options = comments.map((comment): Option => [1, Buffer.from(comment)]);
  const make = kind === 'enhanced' ? enhancedPacket : obsoletePacket;
  return {
    bytes: make(order, { id, units, data: bytes, original, options }),
    expected: { ...place, ...time, hasTime: true, originalLength: original, comments },
  };
}

test('any sequence of blocks gives exactly its frames', () => {
  let frames = 0;
  fc.assert(
    fc.property(fc.array(section, { minLength: 1, maxLength: 3 }), (sections) => {
      const { bytes, expected } = fileOf(sections);
      const read = readAll({ name: 'made.pcapng', bytes });
      expect(read.failure).toBeUndefined();
      expect(read.frames).toMatchObject(expected);
      expect(read.frames.length).toBe(expected.length);
      frames += expected.length;
    }),
    { numRuns: 500 },
  );
  expect(frames).toBeGreaterThan(500);
});
