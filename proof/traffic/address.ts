// SPDX-License-Identifier: Apache-2.0
/** Addresses as a proof writes them: IPv4 ones are numbers, IPv6 ones text, so that both compare, and go into a file. */
import {
  address,
  addressFromIPv4,
  addressText,
  ipv4Text,
  isIPv4,
  parseAddress,
  type Address,
} from '../../core/address.ts';

/** 0x0a000001 for 10.0.0.1; text as RFC 5952 has it for IPv6, where v4-mapped text stands for such an IPv6 address. */
export type HostAddress = number | string;

const KNOWN_MAX = 4096;
const known = new Map<string, Address>();

/** The four words; a number's are v4-mapped. */
export function addressOf(host: HostAddress): Address {
  if (typeof host === 'number') return addressFromIPv4(host);
  const found = known.get(host);
  if (found !== undefined) return found;
  const parsed = parseAddress(host);
  if (!parsed.ok) throw new Error(`assertion failed: ${parsed.error.message}: ${host}`);
  if (known.size >= KNOWN_MAX) known.clear();
  known.set(host, parsed.value);
  return parsed.value;
}

/** An address of the control plane or of a flow, in which v4-mapped means IPv4. */
export function hostOf(value: Address): HostAddress {
  return isIPv4(value) ? value.d : addressText(value);
}

/** The text of an IPv6 address by its words, v4-mapped ones included. */
export function ipv6(a: number, b: number, c: number, d: number): string {
  const words = address(a, b, c, d);
  return isIPv4(words) ? `::ffff:${ipv4Text(d >>> 0)}` : addressText(words);
}

/** An address in a packet or in a message: dotted, or in brackets. */
export function hostText(host: HostAddress): string {
  return typeof host === 'number' ? ipv4Text(host) : `[${host}]`;
}

/** The address that stands in a header. */
export function readHost(bytes: Uint8Array, at: number, family: 4 | 6): HostAddress {
  const word = (index: number): number =>
    [0, 1, 2, 3].reduce((sum, byte) => sum * 256 + (bytes[at + index * 4 + byte] ?? 0), 0);
  return family === 4 ? word(0) : ipv6(word(0), word(1), word(2), word(3));
}

/** The address that many further, in its last word. */
export function neighbour(host: HostAddress, by: number): HostAddress {
  if (typeof host === 'number') return (host + by) >>> 0;
  const { a, b, c, d } = addressOf(host);
  return ipv6(a, b, c, d + by);
}

/** The address with one bit turned over, 0 to 31 for IPv4, 0 to 127 for IPv6. */
export function flippedBit(host: HostAddress, bit: number): HostAddress {
  if (typeof host === 'number') return (host ^ (1 << (bit & 31))) >>> 0;
  const { a, b, c, d } = addressOf(host);
  const words = [d, c, b, a].map((word, index) => (index === bit >> 5 ? word ^ (1 << (bit & 31)) : word) >>> 0);
  return ipv6(words[3] ?? 0, words[2] ?? 0, words[1] ?? 0, words[0] ?? 0);
}

/** Whether two hosts can talk to each other. */
export function sameFamily(left: HostAddress, right: HostAddress): boolean {
  return typeof left === typeof right;
}
