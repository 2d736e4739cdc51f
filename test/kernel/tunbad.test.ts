// SPDX-License-Identifier: Apache-2.0
/** Malformed and random frames on real devices pass as they are or are dropped by name; devices vanish and return. */
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { buildMutant } from '../../cli/mutant.ts';
import { createStream } from '../../core/random.ts';
import { failureText } from '../../core/result.ts';
import { deviceIndex } from '../../kernel/libc.ts';
import type { Tap } from '../../kernel/tun.ts';
import { families } from '../lab/cluster.ts';
import { badFrames, extended, goodSpec } from './badframes.ts';
import { at, backend, TunRig } from './tunrig.ts';
import { Talk } from './tuntalk.ts';
import { ETHERNET, fragmentsOf, frameOf, placeText, readPacket } from './wire.ts';

const object = readFileSync(new URL('../../bpf/tandem.bpf.o', import.meta.url));
const protocols = ['TCP', 'UDP'] as const;
const randomMs = 1_000;
const seed = 4;

let rig: TunRig;
let pod: Tap;
let other: Tap;

beforeAll(() => {
  rig = new TunRig(object);
  ({ pod, other } = rig.bridge());
});
afterAll(() => rig[Symbol.dispose]());

/** What comes out of one end when a frame goes into the other. */
function across(from: Tap, to: Tap, frame: Uint8Array): Buffer | undefined {
  while (from.receive() !== undefined);
  while (to.receive() !== undefined);
  const sent = from.send(frame);
  expect(sent.ok || frame.length < ETHERNET).toBe(true);
  const left = to.receive();
  return left === undefined ? undefined : Buffer.from(left.bytes);
}

/** Wrong checksums; a later fragment has but that of its header. */
function wrongOf(frame: Buffer): readonly string[] {
  const isLater = frame.readUInt8(ETHERNET) >> 4 === 4 && (frame.readUInt16BE(ETHERNET + 6) & 0x1fff) !== 0;
  return readPacket(frame.subarray(ETHERNET)).wrong.filter((name) => !isLater || name === 'IP');
}

function hex(bytes: Uint8Array | undefined): string {
  return bytes === undefined ? 'nothing' : Buffer.from(bytes).toString('hex');
}

describe('from a pod', () => {
  test.each(families.flatMap((family) => protocols.map((protocol) => ({ family, protocol }))))(
    'a good $protocol frame over $family crosses the bridge translated, so that what follows means something',
    ({ family, protocol }) => {
      const left = across(pod, other, frameOf(goodSpec(family, protocol)));
      const to = protocol === 'TCP' ? at(backend, family, 8080) : at(backend, family, 5353);
      expect(readPacket(left?.subarray(ETHERNET) ?? Buffer.alloc(0))).toMatchObject({
        destination: placeText(to),
        wrong: [],
      });
    },
  );

  /** Names of the malformed frames that did not leave as they came. */
  const changedFrames = (from: Tap, to: Tap): readonly string[] =>
    badFrames.filter(({ frame }) => hex(across(from, to, frame)) !== hex(frame)).map(({ name }) => name);

  test(`each of ${badFrames.length} malformed frames leaves as it came`, () => {
    expect(changedFrames(pod, other)).toEqual([]);
  });

  test('programs that believe the length of a datagram are found out by frames that lie about it', () => {
    const built = buildMutant({
      name: 'udp-length-believed',
      file: 'parse.h',
      find: 'if (length < UDP_LENGTH || (packet->kind == PACKET_WHOLE && length > room))',
      replace: 'if (length == 1)',
      meaning: '',
      shows: /./,
      road: 'packets',
    });
    if (!built.ok) throw new Error(failureText(built.error));
    using wrong = new TunRig(built.value, { name: 'wrong' });
    const ends = wrong.bridge();
    const names = changedFrames(ends.pod, ends.other);
    expect(names).toContain('UDP over IPv4 of length 7');
    expect(names).toContain('UDP over IPv6 of length 255');
    expect(names.filter((name) => !name.startsWith('UDP'))).toEqual([]);
  });

  test('a frame with one tag is translated below it', () => {
    const frame = frameOf(goodSpec('IPv4', 'TCP', 1_001));
    const tag = Buffer.from([0x81, 0, 0, 7]);
    const left = across(pod, other, Buffer.concat([frame.subarray(0, 12), tag, frame.subarray(12)]));
    expect(left?.subarray(12, 16)).toEqual(tag);
    expect(readPacket(left?.subarray(18) ?? Buffer.alloc(0))).toMatchObject({
      destination: '10.2.0.2:8080',
      wrong: [],
    });
  });

  test.each([[60], [0, 60], [60, 60, 135, 43]])(
    'IPv6 headers %s in front of the transport are walked',
    (...numbers) => {
      const frame = extended(frameOf(goodSpec('IPv6', 'UDP', 1_002)), numbers, [0, 1, 0]);
      const left = across(pod, other, frame);
      const end = ETHERNET + 40 + 8 * numbers.length;
      expect(hex(left?.subarray(ETHERNET + 40, end))).toBe(hex(frame.subarray(ETHERNET + 40, end)));
      expect(left?.readUInt16BE(end + 2)).toBe(5_353);
    },
  );

  test.each(families)('a later fragment for a Service over %s without its first is dropped by name', (family) => {
    const [, later] = fragmentsOf(frameOf({ ...goodSpec(family, 'UDP'), payload: Buffer.alloc(100) }), 64, 77);
    const before = rig.count('first-missing');
    expect(hex(across(pod, other, later ?? Buffer.alloc(0)))).toBe('nothing');
    expect(rig.count('first-missing') - before).toBe(1);
  });

  test.each([0, 1, 3, 6, 0x29, 0x3f])('TCP flags %i open nothing and are counted', (flags) => {
    const before = rig.count('tcp-flags');
    const frame = frameOf({ ...goodSpec('IPv4', 'TCP', 1_100 + flags), flags });
    expect(hex(across(pod, other, frame))).toBe('nothing');
    expect(rig.count('tcp-flags') - before).toBe(1);
  });
});

describe(`random bytes (seed ${seed})`, () => {
  const directions = ['from', 'to'] as const;
  const ends = (direction: 'from' | 'to'): readonly [Tap, Tap] => (direction === 'from' ? [pod, other] : [other, pod]);

  test.each(directions)('%s a pod pass as they are', (direction) => {
    const stream = createStream(seed, 1);
    const [into, out] = ends(direction);
    const head = frameOf(goodSpec('IPv4', 'TCP')).subarray(0, 12);
    const endsAtMs = performance.now() + randomMs;
    let frames = 0;
    for (; performance.now() < endsAtMs; frames++) {
      const type = stream.pick([0x0800, 0x86dd, 0x0806, 0x88b5]);
      const body = Buffer.from(Array.from({ length: stream.below(200) }, () => stream.below(256)));
      const frame = Buffer.concat([head, Buffer.from([type >> 8, type & 0xff]), body]);
      expect(hex(across(into, out, frame))).toBe(hex(frame));
    }
    expect(frames).toBeGreaterThan(500);
  });

  test.each(directions)('in good frames %s a pod leave no checksum worse or better than it was', (direction) => {
    const stream = createStream(seed, 2);
    const [into, out] = ends(direction);
    const endsAtMs = performance.now() + randomMs;
    const fates = { same: 0, translated: 0, gone: 0 };
    while (performance.now() < endsAtMs) {
      const frame = frameOf(goodSpec(stream.pick(families), stream.pick(protocols), 2_000 + stream.below(50)));
      for (let flips = stream.below(4); flips > 0; flips--) {
        const place = ETHERNET + stream.below(frame.length - ETHERNET);
        frame.writeUInt8(stream.below(256), place);
      }
      const left = across(into, out, frame);
      if (left === undefined) fates.gone++;
      else if (left.equals(frame)) fates.same++;
      else {
        fates.translated++;
        expect({ frame: hex(frame), wrong: wrongOf(left) }).toEqual({ frame: hex(frame), wrong: wrongOf(frame) });
      }
    }
    expect(fates.same).toBeGreaterThan(20);
    if (direction === 'from') expect(Math.min(fates.translated, fates.gone)).toBeGreaterThan(20);
  });
});

test('a device that vanishes and returns under another index serves its flows on', async () => {
  const shape = { name: 'plain', checksum: 'whole', payloadBytes: 33 } as const;
  const talk = (): Promise<readonly string[]> => new Talk(rig, 'IPv4', 'TCP', shape, 3_000).whole();
  const index = (): unknown => rig.inside(() => deviceIndex('pod'));
  expect(await talk()).toEqual([]);
  const before = index();
  rig.unplug('pod');
  expect(index()).toMatchObject({ ok: false });
  rig.plug('pod');
  expect(index()).not.toEqual(before);
  const known = rig.count('known-flow');
  expect(await talk()).toEqual([]);
  expect(rig.count('known-flow') - known).toBe(2);
});
