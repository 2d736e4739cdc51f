// SPDX-License-Identifier: Apache-2.0
/** Cuts the packet of a frame into fragments (RFC 791 3.2, RFC 8200 4.5), in whatever pieces somebody asks for. */
import { ETHERNET, framed, sumOf } from './frame.ts';

const FRAGMENT = 44;

/** A piece of what is fragmented: bytes from `from`, a multiple of eight, to before `to`. */
export type Piece = { readonly from: number; readonly to: number };

/** The pieces between these places, which are made multiples of eight, and the last one up to the end. */
export function piecesOf(length: number, cuts: readonly number[]): readonly Piece[] {
  const places = [...new Set([0, ...cuts.map((cut) => cut & ~7)])].filter((cut) => cut < length);
  const sorted = places.toSorted((left, right) => left - right);
  return sorted.map((from, index) => ({ from, to: sorted[index + 1] ?? length }));
}

/** Where what is cut begins: behind the IPv4 header; in IPv6 behind what every router reads. */
export function fragmentableAt(frame: Uint8Array): number {
  if ((frame[ETHERNET] ?? 0) >>> 4 === 4) return ETHERNET + ((frame[ETHERNET] ?? 0) & 15) * 4;
  let at = ETHERNET + 40;
  for (let next = frame[ETHERNET + 6] ?? 0; next === 0 || next === 43;) {
    next = frame[at] ?? 0;
    at += ((frame[at + 1] ?? 0) + 1) * 8;
  }
  return at;
}

/** The frame of one piece of another frame's packet, which has no padding behind it. */
export function fragmentOf(frame: Uint8Array, { from, to }: Piece, identification: number): Uint8Array {
  const at = fragmentableAt(frame);
  const hasMore = to < frame.length - at;
  const payload = frame.subarray(at + from, at + to);
  const header = frame.slice(ETHERNET, at);
  const packet =
    (header[0] ?? 0) >>> 4 === 6
      ? ipv6Fragment(header, payload, from + (hasMore ? 1 : 0), identification)
      : ipv4Fragment(header, payload, from / 8 + (hasMore ? 0x2000 : 0), identification);
  return framed(packet);
}

function ipv4Fragment(header: Uint8Array, payload: Uint8Array, field: number, identification: number): Uint8Array {
  const view = new DataView(header.buffer);
  view.setUint16(2, header.length + payload.length);
  view.setUint16(4, identification & 0xffff);
  view.setUint16(6, field);
  view.setUint16(10, 0);
  view.setUint16(10, 0xffff - sumOf(header));
  return Uint8Array.from([...header, ...payload]);
}

function ipv6Fragment(header: Uint8Array, payload: Uint8Array, field: number, identification: number): Uint8Array {
  // The last next header that every router reads now names the fragment header, which names what it named.
  let named = 6;
  for (let at = 40; at < header.length; at += ((header[at + 1] ?? 0) + 1) * 8) named = at;
  const fragment = new Uint8Array(8);
  const view = new DataView(fragment.buffer);
  view.setUint8(0, header[named] ?? 0);
  view.setUint16(2, field);
  view.setUint32(4, identification);
  header[named] = FRAGMENT;
  new DataView(header.buffer).setUint16(4, header.length - 40 + fragment.length + payload.length);
  return Uint8Array.from([...header, ...fragment, ...payload]);
}
