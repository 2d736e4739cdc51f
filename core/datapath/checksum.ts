// SPDX-License-Identifier: Apache-2.0
/**
 * Ones' complement arithmetic (RFC 1071, RFC 1624); twin of bpf/checksum.h. Sums are of 16-bit memory words: with
 * end-around carry the order of bytes does not matter, so the results are memory words as well.
 */
import {
  CHECKSUM_MODE_COMPLETE,
  CHECKSUM_MODE_PARTIAL,
  MARK_CHECKSUM_COMPLETE,
  MARK_CHECKSUM_NONE,
  MARK_CHECKSUM_PARTIAL,
  MARK_UDP_UNCHECKED,
} from '../layout.gen.ts';
import { mark, type Log } from './log.ts';

export function checksumFold(sum: number): number {
  const once = (sum & 0xffff) + (sum >>> 16);
  return (once & 0xffff) + (once >>> 16);
}

/** What changes in a sum when one address word takes the place of another: ~old + new, not folded. */
export function checksumAddressDelta(old: number, address: number): number {
  const gone = ~old;
  return (gone & 0xffff) + (gone >>> 16) + (address & 0xffff) + (address >>> 16);
}

export function checksumPortDelta(old: number, port: number): number {
  return (~old & 0xffff) + port;
}

/** A complemented checksum after its data have changed by delta (RFC 1624, equation 3). */
export function checksumReplace(check: number, delta: number): number {
  return ~checksumFold((~check & 0xffff) + delta) & 0xffff;
}

/**
 * The transport checksum after address and port have changed. In a CHECKSUM_PARTIAL packet the field holds the sum of
 * the pseudo-header, not complemented, and whoever completes it will add the port: the address alone counts.
 */
export function checksumTransport(
  log: Log,
  check: number,
  addressDelta: number,
  portDelta: number,
  mode: number,
): number {
  if (mode === CHECKSUM_MODE_PARTIAL) {
    mark(log, MARK_CHECKSUM_PARTIAL);
    return checksumFold(check + addressDelta);
  }
  if (mode === CHECKSUM_MODE_COMPLETE) mark(log, MARK_CHECKSUM_COMPLETE);
  else mark(log, MARK_CHECKSUM_NONE);
  return checksumReplace(check, addressDelta + portDelta);
}

/** The same for UDP, where 0 says that there is none, and what comes out as 0 is written as its other form (RFC 768). */
export function checksumDatagram(
  log: Log,
  check: number,
  addressDelta: number,
  portDelta: number,
  mode: number,
): number {
  if (check === 0 && mode !== CHECKSUM_MODE_PARTIAL) {
    mark(log, MARK_UDP_UNCHECKED);
    return 0;
  }
  const sum = checksumTransport(log, check, addressDelta, portDelta, mode);
  return sum !== 0 || mode === CHECKSUM_MODE_PARTIAL ? sum : 0xffff;
}
