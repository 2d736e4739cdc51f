// SPDX-License-Identifier: Apache-2.0
/** What came out of a lab beside what the model sends: what is as it should be, and each way in which it may not be. */
import { expect, test } from 'vitest';

import { createBench, type InjectedPacket } from '../../cli/inject/judge.ts';
import { createScribe } from '../../cli/inject/script.ts';
import type { EventStreams } from '../../formats/events.ts';
import {
  captureOf,
  CLIENT_DEVICE,
  cluster,
  connection,
  eventLine,
  exchange,
  LOCAL,
  LOCAL_DEVICE,
  LOCAL_V6,
  REMOTE,
  replayed,
  slice,
  type Frame,
} from '../replay/recording.ts';

const served = cluster([LOCAL], eventLine(0, 'ADDED', slice([LOCAL_V6], 'web-v6')));

/** What was recorded, sent again, and came out as `lab`. */
function judged(
  recorded: readonly Frame[],
  lab: readonly Frame[],
  streams: EventStreams = served,
): readonly InjectedPacket[] {
  const scribe = createScribe({ service: undefined, flow: undefined, from: undefined, to: undefined });
  replayed([captureOf(recorded)], streams, undefined, { watch: scribe.watch });
  const script = scribe.finish(['node1.pcap']);
  if (!script.ok) return expect.unreachable();
  const bench = createBench(script.value.shots);
  const { lines } = replayed([captureOf(lab)], streams, undefined, { watch: bench.watch });
  for (const line of lines) bench.line(line);
  return bench.finish();
}

/** The first frame of these with other bytes. */
function changed(
  frames: readonly Frame[],
  which: (frame: Frame) => boolean,
  change: (bytes: Uint8Array) => void,
): Frame[] {
  const index = frames.findIndex(which);
  return frames.map((frame, at) => {
    if (at !== index) return frame;
    const packet = Uint8Array.from(frame.packet);
    change(packet);
    return { ...frame, packet };
  });
}

function flip(at: number): (bytes: Uint8Array) => void {
  return (bytes) => {
    bytes[at] = (bytes[at] ?? 0) ^ 0x40;
  };
}

const isSent = ({ direction, ifindex }: Frame): boolean => ifindex === LOCAL_DEVICE && direction === 'outgoing';
const isAnswer = ({ direction, ifindex }: Frame): boolean => ifindex === CLIENT_DEVICE && direction === 'outgoing';

const conversations = [
  ['a connection', connection(100, 4000, LOCAL), 7],
  ['a connection of IPv6', connection(100, 4000, LOCAL_V6), 7],
  ['a datagram', exchange(100, LOCAL), 2],
] as const;

test.each(conversations)(
  '%s that comes out as the model sends it is equal, answers and all',
  (_name, frames, count) => {
    const packets = judged(frames, frames);
    expect(packets.length).toBe(count);
    expect(packets.filter(({ equal }) => equal !== true)).toEqual([]);
    expect(packets[0]).toMatchObject({ is: 'request', permitted: true });
    expect(packets[0]?.service).toMatch(/^shop\/web:(http|dns)$/);
  },
);

test.each(conversations)('in %s each byte that came out otherwise is found', (_name, frames) => {
  for (const which of [isSent, isAnswer]) {
    const length = frames.find(which)?.packet.length ?? 0;
    for (let at = 0; at < length; at += 1) {
      const packets = judged(frames, changed(frames, which, flip(at)));
      const found = packets.filter(({ difference, equal }) => equal !== true && difference !== null);
      expect(found.length, `byte ${at}`).toBeGreaterThan(0);
    }
  }
});

test('another backend than the model chooses is named with both', () => {
  const [first] = judged(connection(100, 4000, LOCAL), connection(100, 4000, REMOTE));
  expect(first).toMatchObject({
    equal: false,
    permitted: false,
    difference: `the model sends it to ${LOCAL}:8080, the kernel to ${REMOTE}:8080`,
  });
});

test('a packet of which nothing came out, and one that was never seen, are told apart', () => {
  const frames = connection(100, 4000, LOCAL);
  const swallowed = judged(frames, frames.toSpliced(1, 1));
  expect(swallowed[0]).toMatchObject({ equal: false, wire: null });
  expect(swallowed[0]?.difference).toBe('the model makes it forward, nothing came out of the kernel');
  const unseen = judged(frames, frames.slice(0, -2));
  expect(unseen.at(-1)).toMatchObject({ model: null, equal: null, difference: 'not seen on any device of the lab' });
});

test('a refusal that does not come is found', () => {
  const [frame] = connection(100, 4000, LOCAL);
  if (frame === undefined) expect.unreachable();
  const [packet] = judged([frame], [frame], cluster([]));
  expect(packet).toMatchObject({ equal: false, difference: 'the model refuses, the kernel sends no such refusal' });
});

test('a hop too many is found', () => {
  const frames = connection(100, 4000, LOCAL);
  const [first] = judged(
    frames,
    changed(frames, isSent, (bytes) => {
      // One hop less in the high half of a word is one more in its checksum's (RFC 1624).
      bytes[8] = (bytes[8] ?? 0) - 1;
      const sum = ((bytes[10] ?? 0) << 8) + (bytes[11] ?? 0) + 0x100;
      const folded = (sum & 0xffff) + (sum >>> 16);
      bytes[10] = folded >>> 8;
      bytes[11] = folded & 0xff;
    }),
  );
  expect(first).toMatchObject({ equal: false, difference: 'hops left: model 64, kernel 62' });
});
