// SPDX-License-Identifier: Apache-2.0
/** Fields of raw objects as values: what is of a wrong kind or cannot be parsed is left out, not fatal (services A8). */
import {
  isIPv4,
  parseAddress,
  parsePrefix,
  parseProtocol,
  port,
  TCP,
  type Address,
  type Port,
  type Prefix,
  type Protocol,
} from '../address.ts';
import type { ObjectMeta } from '../objects.ts';

export type Family = 'IPv4' | 'IPv6';

export const FAMILIES: readonly Family[] = ['IPv4', 'IPv6'];

export function familyOf(address: Address): Family {
  return isIPv4(address) ? 'IPv4' : 'IPv6';
}

/** A range of the mapped form is IPv4's as long as it holds nothing else. */
export function familyOfRange({ address, length }: Prefix): Family {
  return isIPv4(address) && length >= 96 ? 'IPv4' : 'IPv6';
}

/** `namespace/name`, the identity of an object within its kind; undefined where it has no name. */
export function readName(object: { readonly metadata?: ObjectMeta }): string | undefined {
  const name = object.metadata?.name;
  return name === undefined ? undefined : `${object.metadata?.namespace ?? ''}/${name}`;
}

/** As the API server writes it: always UTC and whole seconds, so texts stand in the order of time. Empty: none. */
export function readCreation(object: { readonly metadata?: ObjectMeta }): string {
  const created: unknown = object.metadata?.creationTimestamp;
  return typeof created === 'string' ? created : '';
}

/** Valid addresses without repetition, in order. */
export function readAddresses(list: readonly (string | undefined)[]): Address[] {
  const found = new Map<string, Address>();
  for (const text of list) {
    const parsed = typeof text === 'string' ? parseAddress(text) : undefined;
    if (parsed?.ok === true) found.set(addressKey(parsed.value), parsed.value);
  }
  return [...found.values()];
}

/** Valid ranges, in order. */
export function readRanges(list: readonly string[]): Prefix[] {
  return list.flatMap((text) => {
    const parsed = parsePrefix(text.trim());
    return parsed.ok && text.includes('/') ? [parsed.value] : [];
  });
}

export function readPort(value: unknown): Port | undefined {
  const valid = typeof value === 'number' && Number.isInteger(value) && value > 0 && value <= 0xffff;
  return valid ? port(value) : undefined;
}

/** The API's default for a missing protocol is TCP. */
export function readProtocol(value: string | null | undefined): Protocol | undefined {
  if (value === undefined || value === null) return TCP;
  const parsed = parseProtocol(value);
  return parsed.ok ? parsed.value : undefined;
}

/** Text that is equal for equal addresses and cheap to make. */
export function addressKey(address: Address): string {
  return isIPv4(address) ? `${address.d}` : `${address.a},${address.b},${address.c},${address.d}`;
}

export function objects<T extends object>(list: readonly T[] | null | undefined): readonly T[] {
  const entries: readonly (T | null)[] = Array.isArray(list) ? list : [];
  return entries.filter((entry) => typeof entry === 'object' && entry !== null);
}

export function texts(list: readonly string[] | null | undefined): readonly string[] {
  return Array.isArray(list) ? list.map((item: unknown) => (typeof item === 'string' ? item : '')) : [];
}
