// SPDX-License-Identifier: Apache-2.0
/**
 * A client returns to the backend it had, for as long as it keeps coming; twin of bpf/affinity.h. Called for new
 * connections only, by packets and sockets alike, so that both mean the same record. A lost record, or one that can't
 * be written, means the pure choice.
 */
import {
  AFFINITY_BACKEND_SHIFT,
  AFFINITY_GENERATION,
  AFFINITY_KEY_SERVICE_PORT_AT,
  AFFINITY_KEY_SIZE,
  BACKEND_GENERATION_SHIFT,
  BACKEND_SERVICE_PORT_AT,
  MARK_AFFINITY_FAILED,
  MARK_AFFINITY_GONE,
  MARK_AFFINITY_HIT,
  MARK_AFFINITY_MISS,
  MARK_AFFINITY_OLD,
  SERVICE_AFFINITY_SECONDS_AT,
  SERVICE_SERVICE_PORT_AT,
  WRITE_AFFINITY,
} from '../layout.gen.ts';
import type { Outside } from '../twin.ts';
import { logWrite, mark, type Log } from './log.ts';
import type { Maps } from './maps.ts';
import { isMapped } from './packet.ts';
import { BACKEND_WORDS, backendServes, LIVE } from './select.ts';
import { tableFind, tableSet } from './table.ts';

const keyScratch = new Uint32Array(AFFINITY_KEY_SIZE / 4); // scratch: written before it is read in every call
const wordScratch = new Uint32Array(2);

/** How long a Service port keeps a client, in ticks. */
export function affinityLifetime(maps: Maps, service: number): number {
  return Math.floor((maps.services[service + SERVICE_AFFINITY_SECONDS_AT / 4]! * 1953125) / 2048); // 10^9 / 2^20
}

/**
 * The backend that a client had, 0: none that may get a new connection of this view. `client`: memory words, the
 * address begins at `at`.
 */
export function affinityFind(
  log: Log,
  maps: Maps,
  service: number,
  view: number,
  client: Uint32Array,
  at: number,
  now: number,
): number {
  keyScratch.set(client.subarray(at, at + 4));
  keyScratch[AFFINITY_KEY_SERVICE_PORT_AT / 4] = maps.services[service + SERVICE_SERVICE_PORT_AT / 4]!;
  const place = tableFind(maps.affinity, keyScratch);
  if (place < 0) {
    mark(log, MARK_AFFINITY_MISS);
    return 0;
  }
  const low = maps.affinity.values[place * 2]!;
  if ((now - maps.affinity.values[place * 2 + 1]!) >>> 0 >= affinityLifetime(maps, service)) {
    mark(log, MARK_AFFINITY_OLD);
    return 0;
  }
  const id = low >>> AFFINITY_BACKEND_SHIFT;
  const backend = id * BACKEND_WORDS;
  if (
    backend >= maps.backends.length ||
    maps.backends[backend + BACKEND_SERVICE_PORT_AT / 4] !== maps.services[service + SERVICE_SERVICE_PORT_AT / 4] ||
    isMapped(maps.backends, backend) !== isMapped(client, at) ||
    !backendServes(maps.backends[backend + LIVE]!, view) ||
    (((maps.backends[backend + LIVE]! >>> BACKEND_GENERATION_SHIFT) ^ low) & AFFINITY_GENERATION) !== 0
  ) {
    mark(log, MARK_AFFINITY_GONE);
    return 0;
  }
  mark(log, MARK_AFFINITY_HIT);
  return id;
}

/** Begins the client's time anew: each new connection does. `live`: the backend's, as it was chosen. */
export function affinityKeep(
  log: Log,
  maps: Maps,
  service: number,
  client: Uint32Array,
  at: number,
  id: number,
  live: number,
  outside: Outside,
): void {
  const servicePort = maps.services[service + SERVICE_SERVICE_PORT_AT / 4]!;
  const low = ((id << AFFINITY_BACKEND_SHIFT) | ((live >>> BACKEND_GENERATION_SHIFT) & AFFINITY_GENERATION)) >>> 0;
  keyScratch.set(client.subarray(at, at + 4));
  keyScratch[AFFINITY_KEY_SERVICE_PORT_AT / 4] = servicePort;
  wordScratch[0] = low;
  wordScratch[1] = outside.now;
  if (outside.affinityResult !== 0 || !tableSet(maps.affinity, keyScratch, wordScratch)) {
    mark(log, MARK_AFFINITY_FAILED);
    return;
  }
  logWrite(log, WRITE_AFFINITY, servicePort, outside.now, low);
}
