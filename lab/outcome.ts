// SPDX-License-Identifier: Apache-2.0
/** What a client makes of errors, addresses and first lines. */
import type { Identity, Outcome } from './wire.ts';

export const outcomes: Readonly<Record<string, Outcome>> = {
  ECONNREFUSED: 'refused',
  ECONNRESET: 'reset',
  EPIPE: 'reset',
  ETIMEDOUT: 'timeout',
  EHOSTUNREACH: 'unreachable',
  ENETUNREACH: 'unreachable',
  EPERM: 'forbidden',
  EACCES: 'forbidden',
};

export function endpoint(host: string | undefined, port: number | undefined): string | null {
  if (host === undefined || port === undefined) return null;
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** The identity in the first line; undefined if somebody else answered. */
export function readIdentity(line: string): Identity | undefined {
  if (!line.startsWith('{"pod":')) return undefined;
  return JSON.parse(line) as Identity;
}
