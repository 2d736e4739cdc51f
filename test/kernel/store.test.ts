// SPDX-License-Identifier: Apache-2.0
/** The kernel's maps behave as MapStore promises: the same answers as a Map in memory, and failures that say which. */
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import * as fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { addressFromIPv4, port, TCP } from '../../core/address.ts';
import {
  BACKEND_ACTIVE,
  BACKEND_LIVE_AT,
  maps,
  type BackendRecord,
  type FrontendKeyRecord,
} from '../../core/layout.gen.ts';
import { failureText } from '../../core/result.ts';
import { deleteOperation, rowsOperation, setOperation, wordOperation } from '../../core/store.ts';
import { barrierByMap } from '../../kernel/barrier.ts';
import { loadObject, type LoadedObject } from '../../kernel/object.ts';
import { KernelStore } from '../../kernel/store.ts';

const object = readFileSync(resolve(import.meta.dirname, '../../bpf/tandem.bpf.o'));
const FRONTENDS = 300;
let loaded: LoadedObject;
let store: KernelStore;

beforeAll(() => {
  const maxEntries = { frontends: FRONTENDS, backends: 64, services: 64, service_counters: 64 };
  const result = loadObject({ object, name: 'tandem.bpf.o', maxEntries, programs: ['sock_getpeername4'] });
  if (!result.ok) throw new Error(failureText(result.error));
  loaded = result.value;
  store = new KernelStore(loaded);
});

afterAll(() => loaded[Symbol.dispose]());

function unwrap<T>(
  result: { readonly ok: true; readonly value: T } | { readonly ok: false; readonly error: unknown },
): T {
  if (!result.ok) throw new Error(JSON.stringify(result.error));
  return result.value;
}

function frontend(number: number): FrontendKeyRecord {
  return { address: addressFromIPv4(0x0a000000 + number), port: port(8080), protocol: TCP };
}

function backend(live: number): BackendRecord {
  return {
    address: addressFromIPv4(0x0a000107),
    port: port(80),
    protocol: TCP,
    servicePort: 9,
    identity: [1, 2],
    live,
  };
}

function clearFrontends(): void {
  for (const [key] of unwrap(store.entries(maps.frontends))) unwrap(store.apply(deleteOperation(maps.frontends, key)));
}

describe('a hash', () => {
  test('answers like a Map after any steps, one by one or in batches', () => {
    const step = fc.record({ set: fc.boolean(), number: fc.nat(40), row: fc.nat(1000) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), fc.boolean(), (steps, batched) => {
        clearFrontends();
        const expected = new Map<string, number>();
        const operations = steps.map(({ set, number, row }) => {
          const key = frontend(number);
          if (set) expected.set(maps.frontends.key.text(key), row);
          else expected.delete(maps.frontends.key.text(key));
          return set ? setOperation(maps.frontends, key, row) : deleteOperation(maps.frontends, key);
        });
        if (batched)
          expect(store.batch(operations)).toEqual({ done: steps.length, result: { ok: true, value: undefined } });
        else for (const operation of operations) unwrap(store.apply(operation));
        const found = unwrap(store.entries(maps.frontends)).map(
          ([key, row]) => [maps.frontends.key.text(key), row] as const,
        );
        expect(new Map(found)).toEqual(expected);
        expect(found).toHaveLength(expected.size);
        for (let number = 0; number <= 40; number++) {
          const row = unwrap(store.get(maps.frontends, frontend(number)));
          expect(row).toBe(expected.get(maps.frontends.key.text(frontend(number))));
        }
      }),
      { numRuns: 40 },
    );
  });

  test('that is full names itself, its limit and the key, and keeps what it has', () => {
    clearFrontends();
    const operations = Array.from({ length: FRONTENDS + 5 }, (_, row) =>
      setOperation(maps.frontends, frontend(row), row),
    );
    const { done, result } = store.batch(operations);
    expect(done).toBe(FRONTENDS);
    expect(result.ok ? '' : failureText(result.error)).toBe(
      `map-full: frontends (${FRONTENDS}) while adding 10.0.1.44:8080/TCP; load with more entries for frontends`,
    );
    expect(store.apply(setOperation(maps.frontends, frontend(FRONTENDS), 1))).toMatchObject({
      error: { kind: 'limit' },
    });
    expect(unwrap(store.entries(maps.frontends))).toHaveLength(FRONTENDS);
    clearFrontends();
    expect(unwrap(store.entries(maps.frontends))).toHaveLength(0);
  });
});

describe('a mapped array', () => {
  test('holds in the kernel what was written to its memory', () => {
    const row = backend(BACKEND_ACTIVE | (3 << 8));
    unwrap(store.apply(setOperation(maps.backends, 7, row)));
    expect(unwrap(store.get(maps.backends, 7))).toEqual(row);
    // By system call, past the mapping.
    expect(unwrap(unwrap(store.map(maps.backends)).get(7))).toEqual(row);
    expect(unwrap(store.entries(maps.backends))).toEqual([[7, row]]);
  });

  test('publishes and withdraws a row by one word', () => {
    unwrap(store.apply(setOperation(maps.backends, 3, backend(0))));
    unwrap(store.apply(wordOperation(maps.backends, 3, BACKEND_LIVE_AT, 0xffffff01)));
    expect(unwrap(unwrap(store.map(maps.backends)).get(3))).toEqual(backend(0xffffff01));
    unwrap(store.apply(wordOperation(maps.backends, 3, BACKEND_LIVE_AT, 0)));
    expect(unwrap(store.get(maps.backends, 3))).toEqual(backend(0));
  });

  test('ends at its last row', () => {
    expect(store.capacity(maps.backends)).toBe(64);
    expect(store.apply(setOperation(maps.backends, 64, backend(1)))).toMatchObject({
      ok: false,
      error: { kind: 'limit', object: 'map-full', message: 'backends (64) while adding row 64' },
    });
    expect(unwrap(store.get(maps.backends, 64))).toBeUndefined();
  });

  test('takes rows at once, and none where the last has no room', () => {
    const last = store.capacity(maps.slots) - 1;
    unwrap(store.apply(rowsOperation(maps.slots, last - 1, [1, 2, 3, 4])));
    const slots = unwrap(store.map(maps.slots));
    expect([last - 1, last].map((row) => unwrap(slots.get(row)))).toEqual([{ backends: [1, 2] }, { backends: [3, 4] }]);
    expect(store.apply(rowsOperation(maps.slots, last, [5, 6, 7, 8]))).toMatchObject({ error: { kind: 'limit' } });
    expect(unwrap(slots.get(last))).toEqual({ backends: [3, 4] });
    expect(() => rowsOperation(maps.slots, 0, [1])).toThrow('whole rows of slots');
  });

  test('refuses a word that is not one as a broken promise', () => {
    expect(() => store.apply(wordOperation(maps.backends, 3, 2, 0))).toThrow('an aligned word of a row');
    expect(() => store.apply(wordOperation(maps.frontends, frontend(1), 0, 0))).toThrow(
      'rows and words are for mapped arrays',
    );
  });
});

describe('a per-CPU array', () => {
  test('is read as the sum over all CPUs', () => {
    unwrap(store.apply(setOperation(maps.serviceCounters, 5, { packets: 2n ** 40n, bytes: 77n })));
    expect(unwrap(store.get(maps.serviceCounters, 5))).toEqual({ packets: 2n ** 40n, bytes: 77n });
    expect(unwrap(store.entries(maps.serviceCounters))).toEqual([[5, { packets: 2n ** 40n, bytes: 77n }]]);
  });
});

describe('a batch', () => {
  test('stops at the first step that fails and says how many were done', () => {
    clearFrontends();
    const { done, result } = store.batch([
      setOperation(maps.frontends, frontend(1), 1),
      setOperation(maps.frontends, frontend(2), 2),
      { op: 'barrier' },
      setOperation(maps.backends, 1000, backend(1)),
      setOperation(maps.frontends, frontend(3), 3),
    ]);
    expect(done).toBe(3);
    expect(result).toMatchObject({ ok: false, error: { kind: 'limit' } });
    expect(unwrap(store.entries(maps.frontends))).toHaveLength(2);
  });
});

describe('the barrier', () => {
  test('takes a grace period by either way', () => {
    expect(store.apply({ op: 'barrier' })).toEqual({ ok: true, value: undefined });
    expect(barrierByMap()).toEqual({ ok: true, value: undefined });
    expect(barrierByMap()).toEqual({ ok: true, value: undefined });
  });
});

describe('a map that was not created', () => {
  test('is named', () => {
    expect(store.get(maps.testControl, 0)).toMatchObject({ ok: false, error: { object: 'map test_control' } });
  });
});
