// SPDX-License-Identifier: Apache-2.0
import { expect, test } from 'vitest';
import { checkPinned, takeOver, type Epoch } from '../../agent/takeover.ts';
import { addressFromIPv4 } from '../../core/address.ts';
import { wholeAddressRecord } from '../../core/control/wanted.ts';
import { configOf } from '../../core/datapath/datapath.ts';
import { createMaps, storeOf } from '../../core/datapath/maps.ts';
import { LAYOUT_HASH, maps } from '../../core/layout.gen.ts';
import { setOperation } from '../../core/store.ts';

function epochOf(start: number): Epoch {
  let epoch = start;
  return { current: () => epoch, take: () => (epoch += 1) };
}

test('pinned maps of another layout are refused, and both layouts named', () => {
  expect(checkPinned(LAYOUT_HASH).ok).toBe(true);
  const refused = checkPinned('0123');
  expect(refused).toMatchObject({ ok: false, error: { kind: 'environment', object: 'pinned maps' } });
  if (!refused.ok) expect(refused.error.message).toBe(`layout 0123, this agent speaks ${LAYOUT_HASH}`);
});

test('an agent whose maps were taken over reads on, and writes nothing', () => {
  const store = storeOf(createMaps(configOf()));
  const epoch = epochOf(4);
  const first = takeOver(store, epoch);
  const write = setOperation(maps.services, 1, wholeAddressRecord(addressFromIPv4(0x0a600001)));
  expect(first.apply(write).ok).toBe(true);
  const second = takeOver(store, epoch);
  const late = setOperation(maps.services, 2, wholeAddressRecord(addressFromIPv4(0x0a600002)));
  const message = 'another agent took them over (epoch 6, ours was 5)';
  expect(first.apply(late)).toMatchObject({ ok: false, error: { object: 'maps', message } });
  expect(first.batch([late])).toMatchObject({ done: 0, result: { ok: false, error: { message } } });
  expect(first.entries(maps.services)).toMatchObject({ ok: true, value: [[1, {}]] });
  expect(second.batch([late])).toMatchObject({ done: 1, result: { ok: true } });
});
