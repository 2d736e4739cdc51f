// SPDX-License-Identifier: Apache-2.0
/** Frames with IPv4 and TCP as simulated stacks write and check them, with checksums summed whole. */

/** What a stack says or hears; addresses as words, 0x0a000001 for 10.0.0.1. */
export type Segment = {
  readonly source: number;
  readonly destination: number;
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly flags: number;
  readonly sequence: number;
  readonly acknowledgement: number;
  /** Bytes of payload, even. */
  readonly payloadLength: number;
};

export const FIN = 1;
export const SYN = 2;
export const RST = 4;
export const PSH = 8;
export const ACK = 16;

const IP = 14;
const TCP = 34;
const PAYLOAD = 54;
const MACS = [0x02, 0, 0, 0, 0, 2, 0x02, 0, 0, 0, 0, 1, 0x08, 0x00];

/** One's-complement sum (RFC 1071) of 16-bit words from `start` up to `end`, folded. */
function sumOf(view: DataView, start: number, end: number, initial: number): number {
  let sum = initial;
  for (let at = start; at + 1 < end; at += 2) sum += view.getUint16(at);
  if ((end - start) % 2 === 1) sum += view.getUint8(end - 1) << 8;
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 0x10000);
  return sum;
}

function pseudoSum(view: DataView, length: number): number {
  return sumOf(view, IP + 12, IP + 20, 6 + length);
}

/** The frame of a segment, in fresh memory. */
export function frameOf(it: Segment): Uint8Array {
  const frame = new Uint8Array(PAYLOAD + it.payloadLength);
  const view = new DataView(frame.buffer);
  frame.set(MACS);
  const length = 20 + it.payloadLength;
  view.setUint16(IP, 0x4500);
  view.setUint16(IP + 2, 20 + length);
  view.setUint16(IP + 6, 0x4000);
  view.setUint16(IP + 8, 0x4006);
  view.setUint32(IP + 12, it.source);
  view.setUint32(IP + 16, it.destination);
  view.setUint16(IP + 10, 0xffff - sumOf(view, IP, IP + 20, 0));
  view.setUint16(TCP, it.sourcePort);
  view.setUint16(TCP + 2, it.destinationPort);
  view.setUint32(TCP + 4, it.sequence);
  view.setUint32(TCP + 8, it.acknowledgement);
  view.setUint16(TCP + 12, 0x5000 | it.flags);
  view.setUint16(TCP + 14, 0xfaf0);
  frame.fill(0x61, PAYLOAD);
  view.setUint16(TCP + 16, 0xffff - sumOf(view, TCP, frame.length, pseudoSum(view, length)));
  return frame;
}

/** What a stack hears of a frame; undefined where it would not take it: another protocol, or a checksum that is wrong. */
export function segmentOf(frame: Uint8Array, frameLength: number): Segment | undefined {
  const view = new DataView(frame.buffer, frame.byteOffset, frameLength);
  if (frameLength < PAYLOAD || view.getUint8(IP) !== 0x45 || view.getUint8(IP + 9) !== 6) return undefined;
  const length = view.getUint16(IP + 2) - 20;
  if (IP + 20 + length > frameLength || sumOf(view, IP, IP + 20, 0) !== 0xffff) return undefined;
  if (sumOf(view, TCP, TCP + length, pseudoSum(view, length)) !== 0xffff) return undefined;
  return {
    source: view.getUint32(IP + 12),
    destination: view.getUint32(IP + 16),
    sourcePort: view.getUint16(TCP),
    destinationPort: view.getUint16(TCP + 2),
    sequence: view.getUint32(TCP + 4),
    acknowledgement: view.getUint32(TCP + 8),
    flags: view.getUint8(TCP + 13),
    payloadLength: length - 20,
  };
}
