// SPDX-License-Identifier: Apache-2.0
/** The model's maps as a MapStore: what test/kernel/store.test.ts asks of the kernel's. */
import { expect, test } from 'vitest';
import { createMaps, defaultSizes, storeOf } from '../../../core/datapath/maps.ts';
import { configOf } from '../../../core/datapath/datapath.ts';
import { maps } from '../../../core/layout.gen.ts';
import { rowsAsSets, rowsOperation } from '../../../core/store.ts';

test('takes rows at once, and none where the last has no room', () => {
  const store = storeOf(createMaps(configOf(), { ...defaultSizes, slotPairs: 8 }));
  const last = store.capacity(maps.slots) - 1;
  const operation = rowsOperation(maps.slots, last - 1, [1, 2, 3, 4]);
  expect(store.apply(operation)).toEqual({ ok: true, value: undefined });
  const written = [
    [last - 1, { backends: [1, 2] }],
    [last, { backends: [3, 4] }],
  ];
  expect(store.entries(maps.slots)).toEqual({ ok: true, value: written });
  expect(store.apply(rowsOperation(maps.slots, last, [5, 6, 7, 8]))).toMatchObject({ error: { kind: 'limit' } });
  expect(store.entries(maps.slots)).toEqual({ ok: true, value: written });
  expect(operation.op === 'rows' && rowsAsSets(operation)).toMatchObject([
    { op: 'set', key: last - 1, value: { backends: [1, 2] } },
    { op: 'set', key: last, value: { backends: [3, 4] } },
  ]);
});
