// SPDX-License-Identifier: Apache-2.0
/** A client's record: found while it lives and its backend serves, begun anew by each new connection. */
import { describe, expect, test } from 'vitest';
import { affinityFind, affinityKeep, affinityLifetime } from '../../../core/datapath/affinity.ts';
import { configOf } from '../../../core/datapath/datapath.ts';
import { createLog, type Log } from '../../../core/datapath/log.ts';
import { SERVICE_WORDS } from '../../../core/datapath/lookup.ts';
import { createMaps, defaultSizes, type Maps } from '../../../core/datapath/maps.ts';
import { BACKEND_WORDS, LIVE, selectInputClient } from '../../../core/datapath/select.ts';
import {
  BACKEND_ACTIVE,
  BACKEND_GENERATION_SHIFT,
  BACKEND_IN_INTERNAL,
  BACKEND_REUSED,
  BACKEND_SERVICE_PORT_AT,
  BACKEND_TERMINATING,
  markNames,
  SERVICE_AFFINITY_SECONDS_AT,
  SERVICE_NAME_HASH_AT,
  SERVICE_SERVICE_PORT_AT,
  VIEW_INTERNAL,
} from '../../../core/layout.gen.ts';
import { quietOutside, type Outside } from '../../../core/twin.ts';

const PORT = 5;
const GENERATION = 0x12345;
const client = Uint32Array.of(0, 0, 0xffff0000, 0x0900020a);
const other = client.with(3, 0x0a00020a);
const service = SERVICE_WORDS;
const live = (GENERATION << BACKEND_GENERATION_SHIFT) | BACKEND_ACTIVE | BACKEND_IN_INTERNAL;

function stage(seconds = 10): { readonly maps: Maps; readonly log: Log } {
  const sizes = { ...defaultSizes, services: 8, backends: 262_144, flowBuckets: 2, affinity: 4, netns: 1 };
  const maps = createMaps(configOf(), sizes);
  maps.services[service + SERVICE_SERVICE_PORT_AT / 4] = PORT;
  maps.services[service + SERVICE_AFFINITY_SECONDS_AT / 4] = seconds;
  for (const id of [1, 262_143]) {
    maps.backends[id * BACKEND_WORDS + BACKEND_SERVICE_PORT_AT / 4] = PORT;
    maps.backends.set(client, id * BACKEND_WORDS);
    maps.backends[id * BACKEND_WORDS + LIVE] = live;
  }
  return { maps, log: createLog() };
}

function find(maps: Maps, log: Log, now: number, from: Uint32Array = client): number {
  return affinityFind(log, maps, service, VIEW_INTERNAL, from, 0, now);
}

function keep(maps: Maps, log: Log, id: number, outside: Outside): void {
  affinityKeep(log, maps, service, client, 0, id, live, outside);
}

function last(log: Log): string | undefined {
  return markNames[log.trace[log.traceLength - 1] ?? 0];
}

describe('a kept client', () => {
  test.each([1, 262_143])('returns to its backend %i, and another client does not', (id) => {
    const { maps, log } = stage();
    keep(maps, log, id, quietOutside(100));
    expect(find(maps, log, 100)).toBe(id);
    expect(find(maps, log, 101, other)).toBe(0);
    expect(last(log)).toBe('affinity-miss');
  });

  test.each([0, 2 ** 32 - 500, 2 ** 32 - 1])(
    'is kept for its seconds from tick %i on, and each keeping begins anew',
    (begin) => {
      const { maps, log } = stage();
      const at = (ticks: number): number => (begin + ticks) >>> 0;
      expect(affinityLifetime(maps, service)).toBe(9536);
      keep(maps, log, 1, quietOutside(begin));
      expect(find(maps, log, at(9535))).toBe(1);
      expect(find(maps, log, at(9536))).toBe(0);
      expect(last(log)).toBe('affinity-old');
      keep(maps, log, 1, quietOutside(at(9535)));
      expect(find(maps, log, at(9535 + 9535))).toBe(1);
    },
  );

  test('is kept for a day at most, and the longest time is computed exactly', () => {
    const { maps } = stage(86_400);
    expect(affinityLifetime(maps, service)).toBe(Number((86_400n * 1_000_000_000n) >> 20n));
  });

  const changes: readonly (readonly [string, number, boolean])[] = [
    [
      'serves on while terminating',
      (GENERATION << BACKEND_GENERATION_SHIFT) | BACKEND_TERMINATING | BACKEND_IN_INTERNAL,
      true,
    ],
    ['left the view', (GENERATION << BACKEND_GENERATION_SHIFT) | BACKEND_ACTIVE, false],
    ['is gone', 0, false],
    ['is another pod now', (GENERATION << BACKEND_GENERATION_SHIFT) | BACKEND_REUSED | BACKEND_IN_INTERNAL, false],
    [
      'came back as another',
      ((GENERATION + 1) << BACKEND_GENERATION_SHIFT) | BACKEND_ACTIVE | BACKEND_IN_INTERNAL,
      false,
    ],
  ];
  test.each(changes)('whose backend %s', (_, now, isKept) => {
    const { maps, log } = stage();
    keep(maps, log, 1, quietOutside(1));
    maps.backends[BACKEND_WORDS + LIVE] = now;
    expect(find(maps, log, 2)).toBe(isKept ? 1 : 0);
    expect(last(log)).toBe(isKept ? 'affinity-hit' : 'affinity-gone');
  });

  test('whose backend id passed to another Service port starts clean', () => {
    const { maps, log } = stage();
    keep(maps, log, 1, quietOutside(1));
    maps.backends[BACKEND_WORDS + BACKEND_SERVICE_PORT_AT / 4] = PORT + 1;
    expect(find(maps, log, 2)).toBe(0);
  });

  test('that can not be remembered is nobody’s failure', () => {
    const { maps, log } = stage();
    keep(maps, log, 1, { ...quietOutside(1), affinityResult: -12 });
    expect(last(log)).toBe('affinity-failed');
    expect(find(maps, log, 2)).toBe(0);
    expect(log.writesLength).toBe(0);
  });
});

test('without a record the client alone chooses: no port, no socket, no node', () => {
  const { maps } = stage();
  maps.services[service + SERVICE_NAME_HASH_AT / 4] = 7;
  maps.services[service + SERVICE_NAME_HASH_AT / 4 + 1] = 8;
  const input = new Uint32Array(8).fill(99);
  selectInputClient(maps, input, service, client, 0, 17);
  expect([...input]).toEqual([0, 0, 0xffff0000, 0x0900020a, 17 << 16, 7, 8, 2]);
});
