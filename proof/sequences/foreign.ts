// SPDX-License-Identifier: Apache-2.0
/** Rows in the maps that the agent did not write, or no longer finds as it wrote them: left until it looks. */
import { addressFromIPv4, type Port, type Protocol } from '../../core/address.ts';
import { BACKEND_ACTIVE, BACKEND_GENERATION_SHIFT, BACKEND_IN_INTERNAL, maps } from '../../core/layout.gen.ts';
import type { Result } from '../../core/result.ts';
import { setOperation, type MapStore } from '../../core/store.ts';
import { faultKinds, plantFault, type Fault } from '../faults.ts';

type ForeignKind = 'stranger' | Fault['kind'];

/** `stranger`: a frontend that nobody wants, with a row and a live backend of its own; else see Fault. */
export const foreignKinds: readonly ForeignKind[] = ['stranger', ...faultKinds];

/** `pick` chooses where. */
export type Foreign = { readonly kind: ForeignKind; readonly pick: number };

const STRANGERS = 0x0a600100; // 10.96.1.0, beside the Services of every world
const PORT = 80 as Port;
const TCP = 6 as Protocol;

/** Writes it; nothing takes it out again but the agent. */
export function plantForeign(store: MapStore, { kind, pick }: Foreign): Result<void> {
  if (kind === 'stranger') return plantStranger(store, pick);
  const fault: Fault = { kind, pick };
  const planted = plantFault(store, fault);
  return planted.ok ? { ok: true, value: undefined } : planted;
}

/** At the end of each array, where the agent comes last; the frontend's row names itself, as a valid one does. */
function plantStranger(store: MapStore, pick: number): Result<void> {
  const row = store.capacity(maps.services) - 1 - (pick % 3);
  const id = store.capacity(maps.backends) - 1 - (pick % 5);
  const pair = store.capacity(maps.slots) - 1 - (pick % 2);
  const address = addressFromIPv4(STRANGERS + (pick % 7));
  const view = { firstSlot: pair * 2, count: 1, tableSize: 1, algorithm: 0 };
  const key = { address, port: PORT, protocol: TCP };
  const operations = [
    setOperation(maps.backends, id, {
      address,
      port: PORT,
      protocol: TCP,
      servicePort: row,
      identity: [pick, pick],
      live: (1 << BACKEND_GENERATION_SHIFT) | BACKEND_ACTIVE | BACKEND_IN_INTERNAL,
    }),
    setOperation(maps.slots, pair, { backends: [id, 0] }),
    setOperation(maps.services, row, {
      key,
      servicePort: row,
      nameHash: [pick, 0x5eed],
      flags: 0,
      affinitySeconds: 0,
      sourceRanges: 0,
      kind: 0,
      views: [view, { ...view, count: 0 }],
    }),
    setOperation(maps.frontends, key, row),
  ];
  return store.batch(operations).result;
}
