// SPDX-License-Identifier: Apache-2.0
/** Frames that no honest host sends: cut, lying about their lengths, with flipped bits, or noise from the first byte. */
import type { Stream } from '../../core/random.ts';

/** What a test run takes at least, in bytes: an IPv4 frame with its header, an IPv6 frame with its, anything else. */
const IPV4_MIN = 34;
const IPV6_MIN = 54;
const FRAME_MIN = 14;
const FRAME_MAX = 3712;

function typeOf(frame: Uint8Array): number {
  return (frame[12] ?? 0) * 256 + (frame[13] ?? 0);
}

/** Makes a frame acceptable to a test run of the kernel, which refuses short ones. */
export function acceptable(frame: Uint8Array): Uint8Array {
  const type = typeOf(frame);
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

const HEADERS = [0, 1, 6, 17, 43, 44, 50, 51, 58, 59, 60, 135, 139] as const;

function lie(stream: Stream, frame: Uint8Array): Uint8Array {
  const isSix = typeOf(frame) === 0x86dd && frame.length >= IPV6_MIN;
  return isSix ? lieIPv6(stream, frame) : lieIPv4(stream, frame);
}

function lieIPv6(stream: Stream, frame: Uint8Array): Uint8Array {
  const view = new DataView(frame.buffer);
  switch (stream.below(5)) {
    case 4:
      // Where a header without extensions has the length of a datagram.
      if (frame.length > 59) view.setUint16(58, stream.pick([0, 7, 8, frame.length - 54, frame.length - 53]));
      break;
    case 0:
      view.setUint16(18, stream.pick([0, 1, 19, 20, 39, frame.length - 54, frame.length - 53, 65535]));
      break;
    case 1:
      view.setUint8(14, stream.below(16) * 16);
      break;
    case 2:
      view.setUint8(20, stream.pick(HEADERS));
      break;
    default:
      if (frame.length > 66) view.setUint8(66, stream.below(16) * 16);
  }
  return frame;
}

function lieIPv4(stream: Stream, frame: Uint8Array): Uint8Array {
  const view = new DataView(frame.buffer);
  switch (stream.below(6)) {
    case 5:
      if (frame.length > 39) view.setUint16(38, stream.pick([0, 7, 8, frame.length - 34, frame.length - 33]));
      break;
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

/** A packet that ends with its IP header and says so, whatever it claims to carry. */
function bare(stream: Stream, frame: Uint8Array): Uint8Array {
  const isSix = typeOf(frame) === 0x86dd;
  const header = acceptable(frame.slice(0, isSix ? IPV6_MIN : IPV4_MIN));
  const view = new DataView(header.buffer);
  if (isSix) view.setUint16(18, 0);
  else view.setUint16(16, IPV4_MIN - FRAME_MIN);
  view.setUint8(isSix ? 20 : 23, stream.pick(HEADERS));
  return header;
}

/** A damaged copy of a frame; still long enough for a test run. */
export function distort(stream: Stream, frame: Uint8Array): Uint8Array {
  const copy = frame.slice();
  switch (stream.below(6)) {
    case 0:
      return acceptable(copy.slice(0, IPV4_MIN + stream.below(Math.max(1, copy.length - IPV4_MIN))));
    case 1:
      return lie(stream, copy);
    case 2: {
      copy.set(
        stream.pick([
          [0x86, 0xdd],
          [0x08, 0x00],
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
    case 4:
      return bare(stream, copy);
    default:
      return acceptable(flip(stream, copy));
  }
}

const CLAIMS = ['IPv4', 'IPv4', 'IPv6', 'nothing'] as const;

/** Noise; three quarters of it claim to be IPv4 or IPv6, and TCP. */
export function garbage(stream: Stream): Uint8Array {
  const frame = Uint8Array.from({ length: FRAME_MIN + stream.below(120) }, () => stream.below(256));
  const claim = frame.length > 24 ? stream.pick(CLAIMS) : 'nothing';
  if (claim === 'IPv4') {
    frame.set([0x08, 0x00, 0x40 + stream.below(16)], 12);
    frame.set([6], 23);
  }
  if (claim === 'IPv6') {
    frame.set([0x86, 0xdd, 0x60 + stream.below(16)], 12);
    frame.set([0, stream.below(80), 6], 18);
  }
  return acceptable(frame);
}
