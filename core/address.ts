// SPDX-License-Identifier: Apache-2.0
/** Addresses, ports and protocols: parse, format, compare. An IPv4 address is kept v4-mapped (RFC 4291 2.5.5.2). */
import { fail, ok, type Result } from './result.ts';

declare const brand: unique symbol;

/** A transport port, 0 to 65535, in the order people write it. */
export type Port = number & { readonly [brand]: 'Port' };

/** An IP protocol number as in the IPv4 header (RFC 5237); 0 stands for "the whole address". */
export type Protocol = number & { readonly [brand]: 'Protocol' };

export const TCP: Protocol = 6 as Protocol;
export const UDP: Protocol = 17 as Protocol;
export const SCTP: Protocol = 132 as Protocol;

/**
 * An IPv4 or IPv6 address as four 32-bit words, most significant first: 10.0.0.1 is {0, 0, 0xffff, 0x0a000001}.
 * Words are unsigned numbers; the order of bytes in memory is the codec's business.
 */
export type Address = {
  readonly a: number;
  readonly b: number;
  readonly c: number;
  readonly d: number;
  readonly [brand]: 'Address';
};

/** Four words to an address; each word is taken modulo 2^32. */
export function address(a: number, b: number, c: number, d: number): Address {
  return { a: a >>> 0, b: b >>> 0, c: c >>> 0, d: d >>> 0 } as Address;
}

/** The IPv4 address of one 32-bit word, 0x0a000001 for 10.0.0.1. */
export function addressFromIPv4(word: number): Address {
  return address(0, 0, 0xffff, word);
}

/** Whether the address is an IPv4 one (v4-mapped). */
export function isIPv4(value: Address): boolean {
  return value.a === 0 && value.b === 0 && value.c === 0xffff;
}

export function addressEquals(left: Address, right: Address): boolean {
  return left.d === right.d && left.c === right.c && left.b === right.b && left.a === right.a;
}

/** Order of the sixteen bytes: negative, zero or positive. */
export function compareAddresses(left: Address, right: Address): number {
  return left.a - right.a || left.b - right.b || left.c - right.c || left.d - right.d;
}

/** Numbers 0 to 65535 become a Port, everything else is a broken promise. */
export function port(value: number): Port {
  if (!Number.isInteger(value) || value < 0 || value > 0xffff) throw new Error(`not a port: ${value}`);
  return value as Port;
}

/** `TCP`, `UDP` or `SCTP` as Kubernetes writes them. */
export function parseProtocol(text: string): Result<Protocol> {
  switch (text) {
    case 'TCP':
      return ok(TCP);
    case 'UDP':
      return ok(UDP);
    case 'SCTP':
      return ok(SCTP);
    default:
      return fail('input', `protocol "${text}"`, 'not one of TCP, UDP, SCTP');
  }
}

export function protocolText(protocol: Protocol): string {
  switch (protocol) {
    case TCP:
      return 'TCP';
    case UDP:
      return 'UDP';
    case SCTP:
      return 'SCTP';
    default:
      return String(protocol);
  }
}

function notAnAddress(text: string): Result<never> {
  return fail('input', `address "${text}"`, 'not an IP address');
}

/** Leading zeros are decimal, as kube-proxy reads them (services A8). */
function parseIPv4Word(text: string): number | undefined {
  const parts = text.split('.');
  if (parts.length !== 4) return undefined;
  let word = 0;
  for (const part of parts) {
    if (!/^\d{1,10}$/.test(part)) return undefined;
    const byte = Number(part);
    if (byte > 255) return undefined;
    word = word * 256 + byte;
  }
  return word;
}

/** The 16-bit groups of one side of `::`; an IPv4 tail counts as two. */
function parseGroups(text: string): number[] | undefined {
  if (text === '') return [];
  const groups: number[] = [];
  const parts = text.split(':');
  for (const [index, part] of parts.entries()) {
    if (part.includes('.')) {
      const word = index === parts.length - 1 ? parseIPv4Word(part) : undefined;
      if (word === undefined) return undefined;
      groups.push(word >>> 16, word & 0xffff);
    } else {
      if (!/^[0-9a-fA-F]{1,4}$/.test(part)) return undefined;
      groups.push(Number.parseInt(part, 16));
    }
  }
  return groups;
}

/** Text of either family to an address. Zones (`%eth0`) and prefixes are refused. */
export function parseAddress(text: string): Result<Address> {
  if (!text.includes(':')) {
    const word = parseIPv4Word(text);
    return word === undefined ? notAnAddress(text) : ok(addressFromIPv4(word));
  }
  const sides = text.split('::');
  if (sides.length > 2) return notAnAddress(text);
  const head = parseGroups(sides[0] ?? '');
  const tail = sides.length === 2 ? parseGroups(sides[1] ?? '') : [];
  if (head === undefined || tail === undefined) return notAnAddress(text);
  const missing = 8 - head.length - tail.length;
  if (sides.length === 2 ? missing < 1 : missing !== 0) return notAnAddress(text);
  const groups = [...head, ...Array.from({ length: missing }, () => 0), ...tail];
  const word = (index: number): number => (groups[index] ?? 0) * 0x10000 + (groups[index + 1] ?? 0);
  return ok(address(word(0), word(2), word(4), word(6)));
}

/** Dotted quad for one IPv4 word. */
export function ipv4Text(word: number): string {
  return `${word >>> 24}.${(word >>> 16) & 255}.${(word >>> 8) & 255}.${word & 255}`;
}

/** Canonical text: dotted quad, or IPv6 as in RFC 5952. */
export function addressText(value: Address): string {
  if (isIPv4(value)) return ipv4Text(value.d);
  const run = longestZeroRun(value);
  if (run.length < 2) return groupsText(value, 0, 8);
  return `${groupsText(value, 0, run.start)}::${groupsText(value, run.start + run.length, 8)}`;
}

/** 16 bits of the address, from 0 to 7. */
function groupOf({ a, b, c, d }: Address, index: number): number {
  const word = index < 4 ? (index < 2 ? a : b) : index < 6 ? c : d;
  return index % 2 === 0 ? word >>> 16 : word & 0xffff;
}

/** No arrays: a pass over all Services of a node writes thousands of addresses. */
function groupsText(value: Address, from: number, to: number): string {
  let text = from < to ? groupOf(value, from).toString(16) : '';
  for (let index = from + 1; index < to; index += 1) text += `:${groupOf(value, index).toString(16)}`;
  return text;
}

function longestZeroRun(value: Address): { start: number; length: number } {
  let best = { start: 0, length: 0 };
  let start = -1;
  for (let index = 0; index < 8; index += 1) {
    if (groupOf(value, index) !== 0) start = -1;
    else {
      if (start < 0) start = index;
      if (index - start + 1 > best.length) best = { start, length: index - start + 1 };
    }
  }
  return best;
}

/** The text of an address as it stands before a port: `10.0.0.1` or `[fd00::1]`. */
export function hostText(text: string): string {
  return text.includes(':') ? `[${text}]` : text;
}

/** `10.0.0.1:80` or `[fd00::1]:80`. */
export function endpointText(value: Address, number: number): string {
  return isIPv4(value) ? `${addressText(value)}:${number}` : `[${addressText(value)}]:${number}`;
}

/** An address range: the first `length` bits (0 to 128, IPv4 ranges counted in the mapped form) of `address`. */
export type Prefix = { readonly address: Address; readonly length: number };

/** `10.0.0.0/8` or `fd00::/8`; a bare address is a range of one. Bits after the prefix are ignored. */
export function parsePrefix(text: string): Result<Prefix> {
  const [head = '', tail, ...rest] = text.trim().split('/');
  const base = parseAddress(head);
  if (!base.ok || rest.length > 0) return fail('input', `range "${text}"`, 'not an IP address range');
  const bits = isIPv4(base.value) && !head.includes(':') ? 32 : 128;
  const given = tail === undefined ? bits : /^\d{1,3}$/.test(tail) ? Number(tail) : -1;
  if (given < 0 || given > bits) return fail('input', `range "${text}"`, 'not an IP address range');
  const length = given + 128 - bits;
  const { a, b, c, d } = base.value;
  return ok({
    address: address(a & mask(length), b & mask(length - 32), c & mask(length - 64), d & mask(length - 96)),
    length,
  });
}

/** The other way of parsePrefix. */
export function prefixText({ address: base, length }: Prefix): string {
  const bits = isIPv4(base) && length >= 96 ? length - 96 : length;
  return `${addressText(base)}/${bits}`;
}

function mask(bits: number): number {
  return bits <= 0 ? 0 : bits >= 32 ? 0xffffffff : (0xffffffff << (32 - bits)) >>> 0;
}

export function prefixContains(prefix: Prefix, value: Address): boolean {
  const { length, address: base } = prefix;
  return (
    ((value.a ^ base.a) & mask(length)) === 0 &&
    ((value.b ^ base.b) & mask(length - 32)) === 0 &&
    ((value.c ^ base.c) & mask(length - 64)) === 0 &&
    ((value.d ^ base.d) & mask(length - 96)) === 0
  );
}
