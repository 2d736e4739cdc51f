// SPDX-License-Identifier: Apache-2.0
/** One Service port, or one owned address, to the steps that bring the maps to what is wanted; all or nothing. */
import { addressText, type Address, type Protocol } from '../address.ts';
import {
  BACKEND_IN_EXTERNAL,
  BACKEND_IN_INTERNAL,
  BACKEND_LIVE_AT,
  BACKEND_REUSED,
  BACKEND_STATE,
  maps,
  type BackendRecord,
} from '../layout.gen.ts';
import { assert, fail, ok, type Result } from '../result.ts';
import type { Backend } from '../service.ts';
import { deleteOperation, rowsOperation, setOperation, wordOperation, type Operation } from '../store.ts';
import { bitsOf, liveBits, NONE_HELD, type BackendEntry, type HeldBackends } from './backends.ts';
import { addKnown } from './classifier.ts';
import {
  generationOf,
  liveWord,
  nextGeneration,
  recordText,
  retire,
  unretire,
  type Block,
  type FrontendEntry,
  type MapImage,
  type PortEntry,
} from './image.ts';
import { frontendText, hashHex, isOtherPod, keyText, type Hash } from './names.ts';
import type { WantedNodeAddress } from './nodes.ts';
import { fillRanges, leaveRanges } from './ranges.ts';
import { keysLeft, lessOf, mapFull, pairsOf, reserve, rowsMax, takeRow, type Reservation } from './reserve.ts';
import { releaseBlock, releaseId } from './space.ts';
import { frontendKey, sameService, wholeAddressKey, wholeAddressRecord, type WantedPort } from './wanted.ts';

/**
 * Steps in the order of their lists. `prepare` writes what no packet can reach; `publish` and `remove` flip one word
 * of `frontends` each; after a barrier, when no packet is under way that saw the old rows, `withdraw` ends backends.
 */
export type Segment = {
  readonly prepare: Operation[];
  readonly publish: Operation[];
  /** Whole addresses come last and go first: in between, an exact row answers as before. */
  readonly publishWhole: Operation[];
  readonly removeWhole: Operation[];
  readonly remove: Operation[];
  readonly withdraw: Operation[];
  /** Frontends that a Service port gave up; another may have taken them by the end of the segment. */
  readonly givenUp: { readonly text: string; readonly port: PortEntry }[];
  /** Service ports that may have nothing left by then. */
  readonly planned: PortEntry[];
  /** Backends that nothing names any more; their last state is known at the end of the segment. */
  readonly ended: BackendEntry[];
  /** Backends that hold their address from this segment on. */
  readonly created: BackendRecord[];
  /** Whether rows or slots that packets may have read were freed. */
  freed: boolean;
};

export function emptySegment(): Segment {
  return {
    prepare: [],
    publish: [],
    publishWhole: [],
    removeWhole: [],
    remove: [],
    withdraw: [],
    givenUp: [],
    planned: [],
    ended: [],
    created: [],
    freed: false,
  };
}

/** Their flows and counters could not be told apart; of 2^64 hashes two are hardly ever equal. */
export function sameHashFailure(name: string, other: string): Result<never> {
  return fail('input', `Service port ${name}`, `has the name hash of ${other}`, 'rename one of the two');
}

/** What has room and can be published. */
export type PlannedPort = {
  readonly wanted: WantedPort;
  readonly known: PortEntry | undefined;
  readonly reservation: Reservation;
};

/**
 * Takes the room for what is wanted of one Service port; undefined: there is nothing to do. A failure takes none.
 * `hash`: of its name; `known`: the port as it is.
 */
export function preparePort(
  image: MapImage,
  wanted: WantedPort,
  hash: Hash,
  known: PortEntry | undefined,
): Result<PlannedPort | undefined> {
  if (known !== undefined && known.name !== '' && known.name !== wanted.name) {
    return sameHashFailure(wanted.name, known.name);
  }
  if (known === undefined && wanted.frontends.length === 0) return ok(undefined);
  const reservation = reserve(image, wanted, hash, known);
  return reservation.ok ? ok({ wanted, known, reservation: reservation.value }) : reservation;
}

/**
 * Where a Service port doesn't fit beside its old self, but would alone: what of it fits, and what ends makes room for
 * the rest. If it wouldn't fit even then, it stays as it is.
 */
export function prepareLess(
  image: MapImage,
  wanted: WantedPort,
  hash: Hash,
  known: PortEntry | undefined,
): Result<PlannedPort | undefined> {
  const less = known === undefined ? undefined : lessOf(image, known, wanted);
  return less === undefined ? ok(undefined) : preparePort(image, less, hash, known);
}

/** Frontends that the port has and no longer wants. */
export function frontendsLeft({ known, wanted }: PlannedPort): readonly string[] {
  if (known === undefined) return [];
  const kept = new Set(wanted.frontends.map(keyText));
  return [...known.frontends].filter((text) => !kept.has(text));
}

/** Brings a Service port to what there is room for. */
export function publishPort(image: MapImage, segment: Segment, planned: PlannedPort): void {
  const { known, reservation, wanted } = planned;
  const port = known ?? createPort(image, reservation.port);
  port.name = wanted.name;
  publishBackends(image, segment, port, wanted, reservation);
  publishBlocks(segment, port, reservation.blocks);
  publishRows(image, segment, port, reservation);
  giveUpFrontends(segment, port, wanted);
}

function createPort(image: MapImage, { id, hash }: { readonly id: number; readonly hash: Hash }): PortEntry {
  const port: PortEntry = { id, hash, name: '', held: NONE_HELD, frontends: new Set(), blocks: new Set() };
  image.ports.set(hashHex(hash), port);
  return port;
}

/** New backends are complete before anything names them; bits are added before and taken away after the flip. */
function publishBackends(
  image: MapImage,
  segment: Segment,
  port: PortEntry,
  { frontends }: WantedPort,
  { difference, ids, list }: Reservation,
): void {
  const { backends, views } = list;
  const { held } = port;
  for (const { held: place, wanted } of difference.changed) {
    const [entry, backend] = [held.entries[place], backends[wanted]];
    if (entry !== undefined && backend !== undefined)
      changeBackend(segment, entry, liveBits(backend, views[wanted] ?? 0));
  }
  for (const place of difference.gone) endHeld(segment, held, place);
  const protocol = frontends[0]?.protocol;
  const entries = difference.kept.slice();
  for (const wanted of difference.missing) {
    const [backend, id = 0] = [backends[wanted], ids[wanted]];
    assert(backend !== undefined && protocol !== undefined, 'who wants a backend wants a frontend');
    const bits = liveBits(backend, views[wanted] ?? 0);
    entries[wanted] = createBackend(image, segment, port, id, { backend, protocol, bits });
  }
  assert(isComplete(entries), 'what is not kept is missing');
  port.held = { backends, views, ids, entries };
}

function isComplete(entries: (BackendEntry | undefined)[]): entries is BackendEntry[] {
  return !entries.includes(undefined);
}

function endHeld(segment: Segment, { entries }: HeldBackends, place: number): void {
  const entry = entries[place];
  if (entry !== undefined) endBackend(segment, entry);
}

/** `bits`: state and views, the low bits of `live`. */
type WantedBackend = { readonly backend: Backend; readonly protocol: Protocol; readonly bits: number };

function createBackend(
  image: MapImage,
  segment: Segment,
  port: PortEntry,
  id: number,
  wanted: WantedBackend,
): BackendEntry {
  const { address, identity, port: number } = wanted.backend;
  const { protocol } = wanted;
  const live = liveWord(nextGeneration(unretire(image, id)), wanted.bits);
  const record: BackendRecord = {
    address,
    port: number,
    protocol,
    servicePort: port.id,
    identity,
    live,
  };
  if (image.retired.size > 0) markReused(image, segment, record);
  segment.created.push(record);
  addKnown(image.classifier, address, number, protocol);
  segment.prepare.push(setOperation(maps.backends, id, record));
  return { id, record };
}

/** Whoever had this address before and is another pod: its connections are answered with a reset from now on. */
function markReused(image: MapImage, segment: Segment, record: BackendRecord): void {
  for (const id of image.retiredAt.get(recordText(record)) ?? []) {
    const retired = image.retired.get(id);
    if (retired === undefined || !isOtherPod(retired.record.identity, record.identity)) continue;
    const live = liveWord(generationOf(retired.record.live), BACKEND_REUSED);
    if (live === retired.record.live) continue;
    image.retired.set(id, { ...retired, record: { ...retired.record, live } });
    segment.prepare.push(wordOperation(maps.backends, id, BACKEND_LIVE_AT, live));
  }
}

function changeBackend(segment: Segment, entry: BackendEntry, bits: number): void {
  const before = bitsOf(entry.record.live);
  if (before === bits) return;
  const generation = generationOf(entry.record.live);
  const views = (before | bits) & (BACKEND_IN_INTERNAL | BACKEND_IN_EXTERNAL);
  const between = (bits & BACKEND_STATE) | views;
  if (between !== before)
    segment.prepare.push(wordOperation(maps.backends, entry.id, BACKEND_LIVE_AT, liveWord(generation, between)));
  if (bits !== between)
    segment.withdraw.push(wordOperation(maps.backends, entry.id, BACKEND_LIVE_AT, liveWord(generation, bits)));
  entry.record = { ...entry.record, live: liveWord(generation, bits) };
}

/** Has a backend ended after the barrier. */
export function endBackend(segment: Segment, entry: BackendEntry): void {
  segment.ended.push(entry);
}

/** What ends backends; their generation stays with the id for its next user. */
export function withdrawEnded(image: MapImage, segment: Segment): void {
  if (segment.ended.length === 0) return;
  const holders = new Map(segment.created.map((record) => [recordText(record), record.identity]));
  for (const { id, record } of segment.ended) {
    const successor = holders.get(recordText(record));
    const isReused = successor !== undefined && isOtherPod(record.identity, successor);
    const live = liveWord(generationOf(record.live), isReused ? BACKEND_REUSED : 0);
    segment.withdraw.push(wordOperation(maps.backends, id, BACKEND_LIVE_AT, live));
    retire(image, id, { ...record, live });
  }
}

function publishBlocks(segment: Segment, port: PortEntry, blocks: readonly Block[]): void {
  for (const block of blocks) {
    port.blocks.add(block);
    const words = block.ids.length % 2 === 0 ? block.ids : [...block.ids, 0];
    segment.prepare.push(rowsOperation(maps.slots, block.pair, words));
  }
}

function publishRows(image: MapImage, segment: Segment, port: PortEntry, { rows }: Reservation): void {
  for (const { frontend, text, row, record, isNew, blocks, ranges } of rows) {
    if (isNew) image.frontendsReserved -= 1;
    if (ranges !== undefined) segment.prepare.push(...fillRanges(ranges));
    segment.prepare.push(setOperation(maps.services, row, record));
    segment.publish.push(setOperation(maps.frontends, frontendKey(frontend), row));
    addKnown(image.classifier, frontend.address, frontend.port, frontend.protocol);
    const before = image.frontends.get(text);
    if (before !== undefined) freeFrontend(image, segment, before);
    image.frontends.set(text, { key: record.key, row, record, port, blocks, ranges });
    port.frontends.add(text);
  }
}

/** Gives back the row and, with its last reader, the slots of an entry that `frontends` no longer names. */
function freeFrontend(image: MapImage, segment: Segment, { row, port, blocks, ranges, record }: FrontendEntry): void {
  segment.freed = true;
  if (ranges !== undefined) segment.withdraw.push(...leaveRanges(image, ranges));
  // A row that can't be trusted may be somebody else's too.
  if (record !== undefined) releaseId(image.rows, row);
  for (const block of blocks) {
    block.references -= 1;
    if (block.references > 0) continue;
    port?.blocks.delete(block);
    releaseBlock(image.pairs, block.pair, pairsOf(block.ids));
  }
}

function giveUpFrontends(segment: Segment, port: PortEntry, wanted: WantedPort): void {
  const kept = new Set(wanted.frontends.map(keyText));
  for (const text of port.frontends) if (!kept.has(text)) segment.givenUp.push({ text, port });
  segment.planned.push(port);
}

/** Takes everything of a Service port out of the maps, whatever its name was. */
export function planNothing(segment: Segment, port: PortEntry): void {
  giveUpFrontends(segment, port, { name: port.name, frontends: [] });
  for (const entry of port.held.entries) endBackend(segment, entry);
  port.held = NONE_HELD;
}

/** Deletes what was given up and nobody took, and forgets Service ports that have nothing left. */
export function removeGivenUp(image: MapImage, segment: Segment): void {
  for (const { text, port } of segment.givenUp) {
    port.frontends.delete(text);
    const entry = image.frontends.get(text);
    if (entry !== undefined && entry.port === port) removeFrontend(image, segment, text, entry);
  }
  for (const port of segment.planned) {
    if (port.frontends.size > 0 || port.held.entries.length > 0) continue;
    image.ports.delete(hashHex(port.hash));
    releaseId(image.portIds, port.id);
  }
}

/** Takes one key out of `frontends`. */
export function removeFrontend(image: MapImage, segment: Segment, text: string, entry: FrontendEntry): void {
  const isWhole = entry.key.port === 0 && entry.key.protocol === 0;
  (isWhole ? segment.removeWhole : segment.remove).push(deleteOperation(maps.frontends, entry.key));
  freeFrontend(image, segment, entry);
  image.frontends.delete(text);
}

/** Brings the addresses of this node to those that are wanted, each by one word. */
export function planNodeAddresses(
  image: MapImage,
  segment: Segment,
  wanted: readonly WantedNodeAddress[],
): Result<void> {
  const { nodeAddresses, nodeAddressesMax } = image;
  if (wanted.length > nodeAddressesMax) {
    return mapFull(maps.nodeAddresses, 'this node', wanted.length, nodeAddressesMax, nodeAddressesMax);
  }
  const kept = new Set(wanted.map(({ address }) => addressText(address)));
  for (const [text, { address }] of nodeAddresses) {
    if (kept.has(text)) continue;
    // First, so that the map never holds more than its size.
    segment.prepare.push(deleteOperation(maps.nodeAddresses, { address }));
    nodeAddresses.delete(text);
  }
  for (const { address, flags } of wanted) {
    const text = addressText(address);
    if (nodeAddresses.get(text)?.flags === flags) continue;
    segment.prepare.push(setOperation(maps.nodeAddresses, { address }, flags));
    nodeAddresses.set(text, { address, flags });
  }
  return ok(undefined);
}

/** Publishes or removes the row that answers for the rest of an address. */
export function planAddress(image: MapImage, segment: Segment, address: Address, isOwned: boolean): Result<void> {
  const key = wholeAddressKey(address);
  const text = frontendText(address, key.port, key.protocol);
  const entry = image.frontends.get(text);
  if (!isOwned) {
    if (entry !== undefined) removeFrontend(image, segment, text, entry);
    return ok(undefined);
  }
  const record = wholeAddressRecord(address);
  if (entry?.record !== undefined && sameService(entry.record, record)) return ok(undefined);
  if (entry === undefined && keysLeft(image) < 1) {
    return mapFull(maps.frontends, `address ${text}`, 1, 0, image.frontendsMax);
  }
  const row = takeRow(image, entry);
  if (row === undefined) return mapFull(maps.services, `address ${text}`, 1, 0, rowsMax(image));
  segment.prepare.push(setOperation(maps.services, row, record));
  segment.publishWhole.push(setOperation(maps.frontends, key, row));
  addKnown(image.classifier, address, 0, 0);
  if (entry !== undefined) freeFrontend(image, segment, entry);
  image.frontends.set(text, { key, row, record, port: undefined, blocks: [], ranges: undefined });
  return ok(undefined);
}
