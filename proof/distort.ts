// SPDX-License-Identifier: Apache-2.0
/** Frames that no honest host sends: cut, lying about their lengths, with flipped bits, or noise from the first byte. */
import type { Stream } from './stream.ts';

/** What a test run takes at least, in bytes: an IPv4 frame with its header, an IPv6 frame with its, anything else. */
const IPV4_MIN = 34;
const IPV6_MIN = 54;
const FRAME_MIN = 14;
const FRAME_MAX = 3712;

/** Makes a frame acceptable to a test run of the kernel, which refuses short ones. */
export function acceptable(frame: Uint8Array): Uint8Array {
  const type = (frame[12] ?? 0) * 256 + (frame[13] ?? 0);
  const least = type === 0x0800 ? IPV4_MIN : type === 0x86dd ? IPV6_MIN : FRAME_MIN;
  if (frame.length >= least && frame.length <= FRAME_MAX) return frame;
  const padded = new Uint8Array(Math.max(least, Math.min(frame.length, FRAME_MAX)));
  padded.set(frame.subarray(0, padded.length));
  return padded;
}

function flip(stream: Stream, frame: Uint8Array): Uint8Array {
  for (let i = 0; i <= stream.below(3); i++) {
    const at = stream.below(frame.length);
    frame[at] = (frame[at] ?? 0) ^ (1 << stream.below(8));
  }
  return frame;
}

function lie(stream: Stream, frame: Uint8Array): Uint8Array {
  const view = new DataView(frame.buffer);
  switch (stream.below(5)) {
    case 0:
      view.setUint16(16, stream.pick([0, 19, 20, 39, 40, frame.length - 14, frame.length - 13, 65535]));
      break;
    case 1:
      view.setUint8(14, 0x40 + stream.below(16));
      break;
    case 2:
      view.setUint8(14, stream.below(16) * 16 + 5);
      break;
    case 3:
      // Where a header without options has its TCP data offset.
      if (frame.length > 46) view.setUint8(46, stream.below(16) * 16);
      break;
    default:
      view.setUint16(20, stream.below(65536));
  }
  return frame;
}

/** A damaged copy of an IPv4 frame; still long enough for a test run. */
export function distort(stream: Stream, frame: Uint8Array): Uint8Array {
  const copy = frame.slice();
  switch (stream.below(5)) {
    case 0:
      return acceptable(copy.slice(0, IPV4_MIN + stream.below(Math.max(1, copy.length - IPV4_MIN))));
    case 1:
      return lie(stream, copy);
    case 2: {
      copy.set(
        stream.pick([
          [0x86, 0xdd],
          [0x08, 0x06],
          [0x81, 0x00],
          [0x88, 0x47],
        ]),
        12,
      );
      return acceptable(copy);
    }
    case 3: {
      const long = new Uint8Array(Math.min(FRAME_MAX, copy.length + stream.below(200)));
      long.set(copy);
      return long;
    }
    default:
      return acceptable(flip(stream, copy));
  }
}

/** Noise; half of it claims to be IPv4 and TCP. */
export function garbage(stream: Stream): Uint8Array {
  const frame = Uint8Array.from({ length: FRAME_MIN + stream.below(120) }, () => stream.below(256));
  if (stream.chance(0.5) && frame.length > 24) {
    frame.set([0x08, 0x00, 0x40 + stream.below(16)], 12);
    frame.set([6], 23);
  }
  return acceptable(frame);
}
