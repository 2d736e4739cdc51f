// SPDX-License-Identifier: Apache-2.0
/** Maps that can't be read are not taken for empty ones: whatever is behind a failure may be in use. */
import { expect, test } from 'vitest';
import { createReconciler } from '../../../agent/reconcile.ts';
import { adopt } from '../../../core/control/adopt.ts';
import { maps } from '../../../core/layout.gen.ts';
import { fail } from '../../../core/result.ts';
import type { MapStore } from '../../../core/store.ts';
import { MemoryStore } from './memory.ts';

const READ = [
  maps.classifier,
  maps.frontends,
  maps.services,
  maps.slots,
  maps.backends,
  maps.sourceRanges,
  maps.nodeAddresses,
].map(({ name }) => name);

/** All as in an empty store, but one map. */
function unreadable(name: string): MapStore {
  const store = new MemoryStore();
  return {
    capacity: (map) => store.capacity(map),
    get: (map, key) => store.get(map, key),
    entries: (map) => (map.name === name ? fail('environment', name, 'no such map') : store.entries(map)),
    apply: (operation) => store.apply(operation),
    batch: (operations) => store.batch(operations),
  };
}

test.each(READ)('where %s cannot be read nothing is adopted, and nothing written', (name) => {
  const failure = { kind: 'environment', object: name, message: 'no such map' };
  expect(adopt(unreadable(name))).toMatchObject({ ok: false, error: failure });
  const reconciler = createReconciler(unreadable(name), () => ({ ports: [], addresses: [], nodeAddresses: [] }));
  expect(reconciler.commit()).toMatchObject({ done: 0, planned: 0, failures: [failure] });
});
