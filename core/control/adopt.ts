// SPDX-License-Identifier: Apache-2.0
/** The maps of an earlier run, or of a failed batch, to the image that says what they hold and what is free in them. */
import { BACKEND_ACTIVE, BACKEND_STATE, BACKEND_TERMINATING, FRONTEND_WHOLE_ADDRESS } from '../layout.gen.ts';
import type { BackendRecord, FrontendKeyRecord, ServiceRecord, ViewRecord } from '../layout.gen.ts';
import { addressText, endpointText } from '../address.ts';
import { ok, type Result } from '../result.ts';
import type { MapStore } from '../store.ts';
import { addKnown, readClassifier } from './classifier.ts';
import { heldFrom, NONE_HELD, type BackendEntry } from './backends.ts';
import { readContents, type MapContents } from './contents.ts';
import { emptyImage, retire, type Block, type MapImage, type PortEntry } from './image.ts';
import { frontendText, hashHex } from './names.ts';
import { compareRanges, rangeOfKey, rangesText, type RangeSet } from './ranges.ts';
import { claimBlock, returnId, type IdPool } from './space.ts';

type Held = MapContents & {
  /** Sets of ranges that a row was found to name. */
  readonly named: Map<number, RangeSet>;
  /** Backends of each Service port by `address:port`. */
  readonly found: Map<PortEntry, Map<string, BackendEntry>>;
};

/**
 * Rebuilds the image from what the maps hold. Whatever doesn't fit together is kept as not to be trusted: it is
 * written again if it is wanted and removed if not.
 */
export function adopt(store: MapStore): Result<MapImage> {
  const classifier = readClassifier(store);
  if (!classifier.ok) return classifier;
  const contents = readContents(store);
  if (!contents.ok) return contents;
  const held: Held = { ...contents.value, named: new Map(), found: new Map() };
  const image: MapImage = { ...emptyImage(store), classifier: classifier.value };
  const owners = new Map<number, PortEntry>();
  for (const [key, row] of held.frontends) adoptFrontend(image, owners, held, key, row);
  adoptBackends(image, owners, held);
  adoptRanges(image, held);
  for (const [{ address }, flags] of held.nodeAddresses)
    image.nodeAddresses.set(addressText(address), { address, flags });
  fillPool(image.rows, new Set(held.frontends.map(([, row]) => row)));
  fillPool(image.portIds, new Set(owners.keys()));
  const isEmpty = held.frontends.length === 0 && held.backends.size === 0 && held.services.size === 0;
  image.needsBarrier = !isEmpty;
  return ok(image);
}

function adoptFrontend(
  image: MapImage,
  owners: Map<number, PortEntry>,
  held: Held,
  key: FrontendKeyRecord,
  row: number,
): void {
  const text = frontendText(key.address, key.port, key.protocol);
  addKnown(image.classifier, key.address, key.port, key.protocol);
  const record = held.services.get(row);
  const isOwn = record !== undefined && text === frontendText(record.key.address, record.key.port, record.key.protocol);
  if (isOwn && record.kind === FRONTEND_WHOLE_ADDRESS) {
    image.frontends.set(text, { key, row, record, port: undefined, blocks: [], ranges: undefined });
    return;
  }
  const port = isOwn ? adoptPort(image, owners, record) : undefined;
  const { blocks, isTrusted } = adoptBlocks(image, held, port, isOwn ? record.views : []);
  for (const block of blocks) block.references += 1;
  if (port === undefined || !isTrusted) {
    image.frontends.set(text, { key, row, record: undefined, port: undefined, blocks, ranges: undefined });
    return;
  }
  port.frontends.add(text);
  image.frontends.set(text, { key, row, record, port, blocks, ranges: adoptSet(image, held, record) });
}

/** The set that a row names, with all that the map holds of it. */
function adoptSet(image: MapImage, held: Held, record: ServiceRecord | undefined): RangeSet | undefined {
  const id = record?.sourceRanges ?? 0;
  if (id === 0) return undefined;
  const known = held.named.get(id);
  if (known !== undefined) {
    known.references += 1;
    return known;
  }
  const keys = held.ranges.get(id) ?? [];
  const ranges = rangesText(keys.map(rangeOfKey).sort(compareRanges));
  // Of two sets with equal ranges, which somebody else must have made, the second is nobody's and goes with its rows.
  const text = image.rangeSets.has(ranges) ? `${ranges} set ${id}` : ranges;
  const set: RangeSet = { id, keys, text, references: 1, isWritten: true };
  image.rangeSets.set(text, set);
  held.named.set(id, set);
  return set;
}

/** After the frontends: sets that no row names can't be reached, and go first. */
function adoptRanges(image: MapImage, { named, ranges }: Held): void {
  for (const [id, keys] of ranges) if (!named.has(id)) image.orphanRanges.push(...keys);
  image.rangesHeld = [...ranges.values()].reduce((sum, keys) => sum + keys.length, 0);
  fillPool(image.rangeIds, new Set(named.keys()), highestOf(ranges.keys()));
}

/** undefined: its id is another port's. */
function adoptPort(image: MapImage, owners: Map<number, PortEntry>, record: ServiceRecord): PortEntry | undefined {
  const hex = hashHex(record.nameHash);
  const known = image.ports.get(hex);
  if (known !== undefined) return known.id === record.servicePort ? known : undefined;
  if (record.servicePort === 0 || record.servicePort >= image.portIds.limit || owners.has(record.servicePort))
    return undefined;
  const port: PortEntry = {
    id: record.servicePort,
    hash: record.nameHash,
    name: '',
    held: NONE_HELD,
    frontends: new Set(),
    blocks: new Set(),
  };
  image.ports.set(hex, port);
  owners.set(port.id, port);
  return port;
}

type AdoptedBlocks = { readonly blocks: readonly Block[]; readonly isTrusted: boolean };

/** Slots of a row that can't be trusted are kept from others too: packets read them until the row is replaced. */
function adoptBlocks(
  image: MapImage,
  held: Held,
  port: PortEntry | undefined,
  views: readonly ViewRecord[],
): AdoptedBlocks {
  const blocks: Block[] = [];
  let isTrusted = true;
  for (const { firstSlot, tableSize } of views) {
    if (tableSize === 0) continue;
    const known = [...(port?.blocks ?? [])].find(
      (block) => block.pair * 2 === firstSlot && block.ids.length === tableSize,
    );
    const block = known ?? claimSlots(image, held, firstSlot, tableSize);
    if (block === undefined) {
      isTrusted = false;
      continue;
    }
    blocks.push(block);
    if (block === known) continue;
    if (port !== undefined && ownsSlots(held, port, block)) {
      port.blocks.add(block);
      for (const id of block.ids) adoptBackend(held, port, id, held.backends.get(id));
    } else isTrusted = false;
  }
  return { blocks, isTrusted };
}

/** undefined: another block lies there, or it isn't a place for one. */
function claimSlots(image: MapImage, held: Held, firstSlot: number, count: number): Block | undefined {
  const pair = firstSlot >> 1;
  if ((firstSlot & 1) !== 0 || !claimBlock(image.pairs, pair, (count + 1) >> 1)) return undefined;
  const ids: number[] = [];
  for (let slot = firstSlot; slot < firstSlot + count; slot += 1) {
    const halves = held.slots.get(slot >> 1)?.backends;
    ids.push((slot & 1) === 0 ? (halves?.[0] ?? 0) : (halves?.[1] ?? 0));
  }
  return { pair, ids, references: 0 };
}

function ownsSlots(held: Held, port: PortEntry, { ids }: Block): boolean {
  return ids.every((id) => {
    const backend = held.backends.get(id);
    return backend !== undefined && backend.servicePort === port.id && isLive(backend);
  });
}

function isLive({ live }: BackendRecord): boolean {
  const state = live & BACKEND_STATE;
  return state === BACKEND_ACTIVE || state === BACKEND_TERMINATING;
}

/** The first entry for an address wins; a second one is an orphan. */
function adoptBackend({ found }: Held, port: PortEntry, id: number, record: BackendRecord | undefined): boolean {
  if (record === undefined) return false;
  const text = endpointText(record.address, record.port);
  const own = found.get(port) ?? new Map<string, BackendEntry>();
  if (!own.has(text)) own.set(text, { id, record });
  found.set(port, own);
  return own.get(text)?.id === id;
}

/** After the slots, so that a backend which packets reach goes before one that a crash left behind. */
function adoptBackends(image: MapImage, owners: ReadonlyMap<number, PortEntry>, held: Held): void {
  const used = new Set<number>();
  for (const [id, record] of held.backends) {
    if (id === 0) continue;
    addKnown(image.classifier, record.address, record.port, record.protocol);
    if (!isLive(record)) {
      retire(image, id, record);
      continue;
    }
    used.add(id);
    const port = owners.get(record.servicePort);
    const entry: BackendEntry = { id, record };
    if (port === undefined || !adoptBackend(held, port, id, record)) image.orphans.push(entry);
  }
  for (const [port, entries] of held.found) port.held = heldFrom(entries);
  fillPool(image.backendIds, used, highestOf(image.retired.keys()));
}

/** Everything up to the highest number in use was given out once; what is not in use waits. */
function fillPool(pool: IdPool, used: ReadonlySet<number>, atLeast = 0): void {
  const highest = Math.max(atLeast, highestOf(used));
  pool.next = Math.min(highest + 1, pool.limit);
  for (let id = 1; id < pool.next; id += 1) if (!used.has(id)) returnId(pool, id);
}

function highestOf(ids: Iterable<number>): number {
  let highest = 0;
  for (const id of ids) highest = Math.max(highest, id);
  return highest;
}
