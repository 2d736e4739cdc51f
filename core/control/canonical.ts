// SPDX-License-Identifier: Apache-2.0
/** What maps mean, as text: equal for equal meaning, whatever the ids, rows, slots and generations are. */
import { addressText, endpointText, prefixText } from '../address.ts';
import {
  algorithmNames,
  BACKEND_ACTIVE,
  BACKEND_IN_EXTERNAL,
  BACKEND_IN_INTERNAL,
  BACKEND_STATE,
  BACKEND_TERMINATING,
  frontendKindNames,
  maps,
  NODE_ADDRESS_LOCAL,
  NODE_ADDRESS_NODE_PORT,
  NODE_ADDRESS_PRIMARY,
  type BackendRecord,
  type ServiceRecord,
  type SlotPairRecord,
  type SourceRangeKeyRecord,
  type ViewRecord,
} from '../layout.gen.ts';
import { ok, type Result } from '../result.ts';
import type { MapStore } from '../store.ts';
import { frontendText, hashHex } from './names.ts';
import { compareRanges, rangeOfKey } from './ranges.ts';

const STATE_NAMES: readonly string[] = ['free', 'active', 'terminating', 'reused'];

/** More slots than any map has; a row that says so is broken, and must not keep us for ever. */
const SLOTS_MAX = 1 << 24;

type Rows = {
  readonly slots: ReadonlyMap<number, SlotPairRecord>;
  readonly backends: ReadonlyMap<number, BackendRecord>;
  /** Texts of the ranges of each set. */
  readonly ranges: ReadonlyMap<number, readonly string[]>;
};

/**
 * One line per frontend, sorted: its kind, flags and views with the backends they resolve to; one per backend that only
 * serves on. The classifier is left out (a superset is as good), and so is what no frontend reaches. What doesn't fit
 * together reads `broken`.
 */
export function canonical(store: MapStore): Result<string> {
  const frontends = store.entries(maps.frontends);
  if (!frontends.ok) return frontends;
  const services = store.entries(maps.services);
  if (!services.ok) return services;
  const slots = store.entries(maps.slots);
  if (!slots.ok) return slots;
  const backends = store.entries(maps.backends);
  if (!backends.ok) return backends;
  const ranges = store.entries(maps.sourceRanges);
  if (!ranges.ok) return ranges;
  const nodeAddresses = store.entries(maps.nodeAddresses);
  if (!nodeAddresses.ok) return nodeAddresses;
  const rows: Rows = {
    slots: new Map(slots.value),
    backends: new Map(backends.value),
    ranges: rangesBySet(ranges.value.map(([key]) => key)),
  };
  const records = new Map(services.value);
  const lines = frontends.value.map(([key, row]) => {
    const text = frontendText(key.address, key.port, key.protocol);
    const record = records.get(row);
    const isOwn =
      record !== undefined && text === frontendText(record.key.address, record.key.port, record.key.protocol);
    return isOwn ? `${text} ${recordText(rows, record)}` : `${text} broken row`;
  });
  return ok(
    [
      ...lines,
      ...servingLines(
        rows,
        frontends.value.map(([, row]) => records.get(row)),
      ),
      ...nodeAddresses.value.map(([{ address }, flags]) => `node ${addressText(address)}${flagsText(flags)}`),
    ]
      .toSorted()
      .join('\n'),
  );
}

function rangesBySet(keys: readonly SourceRangeKeyRecord[]): Map<number, readonly string[]> {
  const texts = new Map<number, string[]>();
  for (const key of keys.toSorted((left, right) => compareRanges(rangeOfKey(left), rangeOfKey(right)))) {
    const text = prefixText(rangeOfKey(key));
    const same = texts.get(key.set);
    if (same === undefined) texts.set(key.set, [text]);
    else same.push(text);
  }
  return texts;
}

const NODE_FLAGS: readonly (readonly [flag: number, name: string])[] = [
  [NODE_ADDRESS_LOCAL, 'local'],
  [NODE_ADDRESS_NODE_PORT, 'node-port'],
  [NODE_ADDRESS_PRIMARY, 'primary'],
];

function flagsText(flags: number): string {
  return NODE_FLAGS.map(([flag, name]) => ((flags & flag) === 0 ? '' : ` ${name}`)).join('');
}

/** Backends that are in no view and live all the same: conversations of datagrams go on there. A line for each owner. */
function servingLines(rows: Rows, records: readonly (ServiceRecord | undefined)[]): string[] {
  const owners = new Map<number, Map<string, ServiceRecord>>();
  for (const record of records) {
    if (record === undefined) continue;
    const names = owners.get(record.servicePort) ?? new Map<string, ServiceRecord>();
    owners.set(record.servicePort, names.set(hashHex(record.nameHash), record));
  }
  return [...rows.backends.values()].flatMap((backend) => {
    const state = backend.live & BACKEND_STATE;
    const isServing = state === BACKEND_ACTIVE || state === BACKEND_TERMINATING;
    const isInView = (backend.live & (BACKEND_IN_INTERNAL | BACKEND_IN_EXTERNAL)) !== 0;
    if (!isServing || isInView) return [];
    const names = owners.get(backend.servicePort) ?? new Map<string, ServiceRecord>();
    return [...names].map(([name, record]) => `serving ${name} ${backendText(record, backend)}`);
  });
}

function recordText(rows: Rows, record: ServiceRecord): string {
  const [internal, external] = record.views.map((view) => viewText(rows, record, view));
  const kind = frontendKindNames[record.kind] ?? String(record.kind);
  const head = `${kind} ${hashHex(record.nameHash)} flags=${record.flags} affinity=${record.affinitySeconds}`;
  const ranges = record.sourceRanges === 0 ? '-' : `[${(rows.ranges.get(record.sourceRanges) ?? []).join(' ')}]`;
  return `${head} ranges=${ranges} internal=${internal} external=${external}`;
}

function viewText(rows: Rows, record: ServiceRecord, { firstSlot, count, tableSize, algorithm }: ViewRecord): string {
  if (count === 0) return '[]';
  if (tableSize > SLOTS_MAX) return '[broken view]';
  const backends: string[] = [];
  for (let slot = firstSlot; slot < firstSlot + tableSize; slot += 1) {
    const id = rows.slots.get(slot >> 1)?.backends[(slot & 1) === 0 ? 0 : 1] ?? 0;
    backends.push(backendText(record, rows.backends.get(id)));
  }
  const name = algorithm === 0 ? '' : ` ${algorithmNames[algorithm] ?? algorithm}`;
  return `[${backends.join(', ')}]${name}`;
}

function backendText(service: ServiceRecord, backend: BackendRecord | undefined): string {
  if (backend === undefined || backend.servicePort !== service.servicePort) return 'broken backend';
  const state = STATE_NAMES[backend.live & BACKEND_STATE] ?? '';
  const views = `${(backend.live & BACKEND_IN_INTERNAL) !== 0 ? 'i' : ''}${(backend.live & BACKEND_IN_EXTERNAL) !== 0 ? 'e' : ''}`;
  return `${endpointText(backend.address, backend.port)}/${backend.protocol} ${state} ${views} ${hashHex(backend.identity)}`;
}
