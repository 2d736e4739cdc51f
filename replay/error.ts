// SPDX-License-Identifier: Apache-2.0
/** An ICMP error to a client as it was before a proxy translated it: about the packet that the backend got. */
import { addressEquals, TCP, UDP } from '../core/address.ts';
import { ETHERNET_BYTES, mend, mendUdp, putAddress, replaceHalf, type AnswerEnds, type PosedFrame } from './frame.ts';
import { readHeaders, type Headers } from './headers.ts';

const ICMP_BYTES = 8;
const CHECKSUM_IN_ICMP = 2;
/** Where a quoted TCP header has its checksum; a quote may end before it. */
const CHECKSUM_IN_TCP = 16;
const CHECKSUM_IN_UDP = 6;

/** Undefined where the quote shows no ports. */
export function withQuotedBackend(frame: PosedFrame, headers: Headers, ends: AnswerEnds): Uint8Array | undefined {
  const { error, family, transportOffset } = headers;
  if (error?.about === undefined) return undefined;
  const bytes = frame.bytes.slice();
  const ip = ETHERNET_BYTES;
  const icmp = ip + transportOffset;
  const quoteAt = icmp + ICMP_BYTES;
  const quoted = readHeaders(bytes.subarray(quoteAt));
  if (quoted === undefined || quoteAt + quoted.transportOffset + 4 > bytes.length) return undefined;
  let delta = 0;
  // A router on the way keeps its own address.
  if (addressEquals(headers.source, quoted.destination)) {
    const moved = putAddress(bytes, ip + (family === 'IPv4' ? 12 : 8), ends.address);
    if (family === 'IPv4') mend(bytes, ip + 10, moved);
    else delta += moved;
  }
  delta += mendQuote(bytes, quoteAt, quoted, ends);
  mend(bytes, icmp + CHECKSUM_IN_ICMP, delta);
  return bytes;
}

/** Returns by how much the sum of the quote has grown. */
function mendQuote(bytes: Uint8Array, at: number, quoted: Headers, ends: AnswerEnds): number {
  const { family, protocol, transportOffset } = quoted;
  const transport = at + transportOffset;
  const before = sumOf(bytes, at);
  const addressDelta = putAddress(bytes, at + (family === 'IPv4' ? 16 : 24), ends.address);
  if (family === 'IPv4') mend(bytes, at + 10, addressDelta);
  const ports = replaceHalf(bytes, transport, ends.clientPort) + replaceHalf(bytes, transport + 2, ends.port);
  const check = transport + (protocol === TCP ? CHECKSUM_IN_TCP : CHECKSUM_IN_UDP);
  if (check + 2 <= bytes.length && protocol === TCP) mend(bytes, check, addressDelta + ports);
  if (check + 2 <= bytes.length && protocol === UDP) mendUdp(bytes, check, addressDelta + ports);
  // In ones' complement 0xffff is zero.
  return ((sumOf(bytes, at) - before) % 0xffff) + 0xffff;
}

function sumOf(bytes: Uint8Array, from: number): number {
  let total = 0;
  for (let at = from; at < bytes.length; at += 2) total += ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
  return total;
}
