// SPDX-License-Identifier: Apache-2.0
/** Frames as they were captured in the lab, for comparison with what the model would have sent. */
import { TCP, UDP } from '../../core/address.ts';
import type { CaptureRecord } from '../../formats/capture.ts';
import { newLinkHeader, parseLink } from '../../formats/link.ts';
import { compareBytes } from '../../replay/compare.ts';
import { ETHERNET_BYTES, poseFrame } from '../../replay/frame.ts';
import { isFollowed, readHeaders, type Headers } from '../../replay/headers.ts';

export type Wires = {
  readonly keep: (record: CaptureRecord, timeNs: number) => void;
  /** A frame that the node itself has made for a pod. */
  readonly noteOwn: (frame: number) => void;
  /** Whether the node has made this one; each is found once. */
  readonly takeOwn: (modelFrame: Uint8Array) => boolean;
  /** In words; undefined: the frame is what the model sends, one hop later. */
  readonly differenceAt: (frame: number, modelFrame: Uint8Array) => string | undefined;
};

/** Longer than a packet is looked for. */
const KEPT_NS = 5_000_000_000;

const ICMP_BYTES = 8;
const ICMP_CHECKSUM_AT = 2;
/** From the beginning of their header. */
const CHECKSUM_AT: Readonly<Record<number, number>> = { [TCP]: 16, [UDP]: 6 };

type Kept = { readonly frame: number; readonly timeNs: number; readonly network: Uint8Array };

export function createWires(): Wires {
  const frames = new Map<number, Kept>();
  const own = new Map<string, number>();
  const link = newLinkHeader();

  function keep({ buffer, capturedLength, frame, linkType, start }: CaptureRecord, timeNs: number): void {
    for (const [key, kept] of frames) {
      if (kept.timeNs >= timeNs - KEPT_NS) break;
      frames.delete(key);
    }
    if (parseLink(linkType, buffer, start, capturedLength, link) !== undefined) return;
    frames.set(frame, {
      frame,
      timeNs,
      network: Uint8Array.from(buffer.subarray(start + link.networkOffset, start + capturedLength)),
    });
  }

  function count(network: Uint8Array, delta: 1 | -1): boolean {
    const key = Buffer.from(masked(network)).toString('base64');
    const left = (own.get(key) ?? 0) + delta;
    if (left < 0) return false;
    if (left === 0) own.delete(key);
    else own.set(key, left);
    return true;
  }

  return {
    keep,
    noteOwn: (frame) => {
      const kept = frames.get(frame);
      if (kept !== undefined) count(kept.network, 1);
    },
    takeOwn: (modelFrame) => count(modelFrame.subarray(ETHERNET_BYTES), -1),
    differenceAt: (frame, modelFrame) => {
      const kept = frames.get(frame);
      return kept === undefined
        ? `frame ${frame} of the lab's capture is gone`
        : difference(modelFrame.subarray(ETHERNET_BYTES), kept.network);
    },
  };
}

/** Routing takes a hop and mends the checksum; a checksum that was left to a device has been written, or is still left. */
function difference(model: Uint8Array, wire: Uint8Array): string | undefined {
  if (model.length !== wire.length) return `length: model ${model.length}, kernel ${wire.length}`;
  const found = compareBytes(masked(model), masked(wire));
  if (found !== undefined) return `${found.field} of the IP packet: model ${found.model}, kernel ${found.kernel}`;
  const [before, after] = [readHeaders(model), readHeaders(wire)];
  if (before === undefined || after === undefined) return undefined;
  const hops = before.hops - after.hops;
  if (hops !== 0 && hops !== 1) return `hops left: model ${before.hops}, kernel ${after.hops}`;
  if (after.family === 'IPv4' && !isHeaderRight(wire)) return 'the checksum of the IP header is wrong';
  const [wanted, got] = [checksumOf(model, before), checksumOf(wire, after)];
  return got === 'wrong' && wanted !== 'wrong'
    ? `the checksum behind the IP header is wrong, in the model ${wanted}`
    : undefined;
}

function checksumOf(network: Uint8Array, headers: Headers): string {
  const whole = { buffer: network, start: 0, end: network.length, isCut: false };
  return poseFrame({ ...whole, headers, ethernetAt: undefined, ethertype: 0, mtu: network.length }).checksum;
}

/** A copy without hops and checksums, which are judged by what they mean. */
function masked(network: Uint8Array): Uint8Array {
  const bytes = Uint8Array.from(network);
  const headers = readHeaders(bytes);
  if (headers === undefined) return bytes;
  if (headers.family === 'IPv4') {
    bytes.fill(0, 8, 9);
    bytes.fill(0, 10, 12);
  } else bytes.fill(0, 7, 8);
  maskChecksum(bytes, 0, headers);
  if (headers.error === undefined) return bytes;
  // The kernel completes the checksum of a packet before its beginning goes into an error about it.
  const quoteAt = headers.transportOffset + ICMP_BYTES;
  const quoted = readHeaders(bytes, quoteAt);
  if (quoted !== undefined) maskChecksum(bytes, quoteAt, quoted);
  return bytes;
}

function maskChecksum(bytes: Uint8Array, start: number, headers: Headers): void {
  if (headers.part === 'later' || !isFollowed(headers)) return;
  const at = start + headers.transportOffset + (CHECKSUM_AT[headers.protocol] ?? ICMP_CHECKSUM_AT);
  if (at + 2 <= bytes.length) bytes.fill(0, at, at + 2);
}

function isHeaderRight(network: Uint8Array): boolean {
  let sum = 0;
  const end = ((network[0] ?? 0) & 15) * 4;
  for (let at = 0; at < end; at += 2) sum += ((network[at] ?? 0) << 8) | (network[at + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return sum === 0xffff;
}
