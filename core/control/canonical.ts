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
  NODE_ADDRESS_LOCAL,
  NODE_ADDRESS_NODE_PORT,
  NODE_ADDRESS_PRIMARY,
  type BackendRecord,
  type ServiceRecord,
  type SourceRangeKeyRecord,
  type ViewRecord,
} from '../layout.gen.ts';
import { ok, type Result } from '../result.ts';
import type { MapStore } from '../store.ts';
import { readContents, type MapContents } from './contents.ts';
import { frontendText, hashHex } from './names.ts';
import { compareRanges, rangeOfKey } from './ranges.ts';

const STATE_NAMES: readonly string[] = ['free', 'active', 'terminating', 'reused'];

/** More slots than any map has; a row that says so is broken, and must not keep us for ever. */
const SLOTS_MAX = 1 << 24;

/**
 * One line per frontend, sorted: its kind, flags and views with the backends they resolve to; one per backend that only
 * serves on. The classifier is left out (a superset is as good), and so is what no frontend reaches. What doesn't fit
 * together reads `broken`.
 */
export function canonical(store: MapStore): Result<string> {
  const read = readContents(store);
  if (!read.ok) return read;
  const contents = read.value;
  const lines = contents.frontends.map(([key, row]) => {
    const text = frontendText(key.address, key.port, key.protocol);
    const record = contents.services.get(row);
    const isOwn =
      record !== undefined && text === frontendText(record.key.address, record.key.port, record.key.protocol);
    return isOwn ? `${text} ${recordText(contents, record)}` : `${text} broken row`;
  });
  return ok(
    [
      ...lines,
      ...servingLines(
        contents,
        contents.frontends.map(([, row]) => contents.services.get(row)),
      ),
      ...contents.nodeAddresses.map(([{ address }, flags]) => `node ${addressText(address)}${flagsText(flags)}`),
    ]
      .toSorted()
      .join('\n'),
  );
}

function setText(keys: readonly SourceRangeKeyRecord[]): string {
  const ranges = keys.map(rangeOfKey).toSorted(compareRanges);
  return `[${ranges.map(prefixText).join(' ')}]`;
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
function servingLines(contents: MapContents, records: readonly (ServiceRecord | undefined)[]): string[] {
  const owners = new Map<number, Map<string, ServiceRecord>>();
  for (const record of records) {
    if (record === undefined) continue;
    const names = owners.get(record.servicePort) ?? new Map<string, ServiceRecord>();
    owners.set(record.servicePort, names.set(hashHex(record.nameHash), record));
  }
  return [...contents.backends.values()].flatMap((backend) => {
    const state = backend.live & BACKEND_STATE;
    const isServing = state === BACKEND_ACTIVE || state === BACKEND_TERMINATING;
    const isInView = (backend.live & (BACKEND_IN_INTERNAL | BACKEND_IN_EXTERNAL)) !== 0;
    if (!isServing || isInView) return [];
    const names = owners.get(backend.servicePort) ?? new Map<string, ServiceRecord>();
    return [...names].map(([name, record]) => `serving ${name} ${backendText(record, backend)}`);
  });
}

function recordText(contents: MapContents, record: ServiceRecord): string {
  const [internal, external] = record.views.map((view) => viewText(contents, record, view));
  const kind = frontendKindNames[record.kind] ?? String(record.kind);
  const head = `${kind} ${hashHex(record.nameHash)} flags=${record.flags} affinity=${record.affinitySeconds}`;
  const ranges = record.sourceRanges === 0 ? '-' : setText(contents.ranges.get(record.sourceRanges) ?? []);
  return `${head} ranges=${ranges} internal=${internal} external=${external}`;
}

function viewText(
  contents: MapContents,
  record: ServiceRecord,
  { firstSlot, count, tableSize, algorithm }: ViewRecord,
): string {
  if (count === 0) return '[]';
  if (tableSize > SLOTS_MAX) return '[broken view]';
  const backends: string[] = [];
  for (let slot = firstSlot; slot < firstSlot + tableSize; slot += 1) {
    const id = contents.slots.get(slot >> 1)?.backends[(slot & 1) === 0 ? 0 : 1] ?? 0;
    backends.push(backendText(record, contents.backends.get(id)));
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
