// SPDX-License-Identifier: Apache-2.0
/**
 * An address and port to its Service row; twin of bpf/lookup.h. `frontends` holds one word, the number of a row that
 * carries its own key: an element recycled under the reader shows as a mismatch.
 */
import { MARK_FRONTEND, MARK_NO_FRONTEND, MARK_ROW_MISMATCH, MARK_WHOLE_ADDRESS, SERVICE_SIZE } from '../layout.gen.ts';
import { mark, type Log } from './log.ts';
import type { Maps } from './maps.ts';
import { tableFind } from './table.ts';

export const SERVICE_WORDS: number = SERVICE_SIZE / 4;

/** `service`: where the row begins in `maps.services`, in words. */
export function sameFrontend(maps: Maps, service: number, key: Uint32Array): boolean {
  const rows = maps.services;
  return (
    rows[service] === key[0] &&
    rows[service + 1] === key[1] &&
    rows[service + 2] === key[2] &&
    rows[service + 3] === key[3] &&
    rows[service + 4] === key[4]
  );
}

/** Where the row of exactly this key begins, -1: none; looks twice where a row was recycled meanwhile. */
export function lookupRow(log: Log, maps: Maps, key: Uint32Array): number {
  for (let attempt = 0; attempt < 2; attempt++) {
    const place = tableFind(maps.frontends, key);
    if (place < 0) return -1;
    const service = maps.frontends.values[place]! * SERVICE_WORDS;
    if (service < maps.services.length && sameFrontend(maps, service, key)) return service;
    mark(log, MARK_ROW_MISMATCH);
  }
  return -1;
}

/**
 * The frontend of address, port and protocol, else the row of the whole address, else -1; `key` is left changed then.
 * Before the whole address answers, the frontend is looked for once more: a hash can miss an element that is replaced
 * while its chain is walked, and it may have come since.
 */
export function lookupFrontend(log: Log, maps: Maps, key: Uint32Array): number {
  const ends = key[4]!;
  let service = lookupRow(log, maps, key);
  if (service >= 0) {
    mark(log, MARK_FRONTEND);
    return service;
  }
  key[4] = 0;
  const whole = lookupRow(log, maps, key);
  if (whole < 0) {
    mark(log, MARK_NO_FRONTEND);
    return -1;
  }
  key[4] = ends;
  service = lookupRow(log, maps, key);
  if (service >= 0) {
    mark(log, MARK_FRONTEND);
    return service;
  }
  mark(log, MARK_WHOLE_ADDRESS);
  return whole;
}
