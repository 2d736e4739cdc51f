// SPDX-License-Identifier: Apache-2.0
/** One Service port, or one owned address, to the steps that bring the maps to what is wanted; all or nothing. */
import type { Address } from '../address.ts';
import {
  BACKEND_GENERATION_SHIFT,
  BACKEND_IN_EXTERNAL,
  BACKEND_IN_INTERNAL,
  BACKEND_LIVE_AT,
  BACKEND_REUSED,
  BACKEND_STATE,
  maps,
  type BackendRecord,
  type ServiceRecord,
} from '../layout.gen.ts';
import { fail, ok, type Result } from '../result.ts';
import type { Frontend, View } from '../service.ts';
import { deleteOperation, setOperation, wordOperation, type Operation } from '../store.ts';
import { addKnown } from './classifier.ts';
import {
  generationOf,
  liveWord,
  nextGeneration,
  recordText,
  retire,
  unretire,
  type BackendEntry,
  type Block,
  type FrontendEntry,
  type MapImage,
  type PortEntry,
} from './image.ts';
import { frontendText, hashHex, nameHash, type Hash } from './names.ts';
import { freeElements, idsLeft, releaseBlock, releaseId, returnBlock, returnId, takeBlock, takeId } from './space.ts';
import {
  frontendKey,
  sameService,
  serviceRecord,
  wantedBackends,
  wholeAddressKey,
  wholeAddressRecord,
  type WantedBackend,
  type WantedPort,
} from './wanted.ts';

const LIVE_BITS = (1 << BACKEND_GENERATION_SHIFT) - 1;

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
  /** Whether something that packets may have read was freed. */
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

/** What a Service port needs in the maps that it doesn't have; taken from the pools, given back if anything is short. */
type Reservation = {
  readonly port: { readonly id: number; readonly hash: Hash };
  readonly backends: Map<string, number>;
  readonly blocks: Block[];
  readonly rows: {
    readonly frontend: Frontend;
    readonly text: string;
    readonly row: number;
    readonly record: ServiceRecord;
    readonly blocks: readonly Block[];
  }[];
};

function mapFull(
  map: { readonly name: string },
  name: string,
  need: number,
  left: number,
  limit: number,
): Result<never> {
  const message = `map-full: ${name} needs ${need} more, ${left} of ${limit} are left`;
  return fail('limit', map.name, message, `raise mapSizes.${map.name}; what is programmed stays`);
}

/** Brings one Service port to what is wanted; a failure leaves it as it was. */
export function planPort(image: MapImage, segment: Segment, wanted: WantedPort): Result<void> {
  const hash = nameHash(wanted.name);
  const known = image.ports.get(hashHex(hash));
  if (known !== undefined && known.name !== '' && known.name !== wanted.name) {
    return fail('input', `Service port ${wanted.name}`, `has the name hash of ${known.name}`, 'rename one of the two');
  }
  if (known === undefined && wanted.frontends.length === 0) return ok(undefined);
  const backends = wantedBackends(wanted.frontends);
  const reserved = reserve(image, wanted, hash, known, backends);
  if (!reserved.ok) return reserved;
  const port = known ?? createPort(image, reserved.value.port);
  port.name = wanted.name;
  publishBackends(image, segment, port, backends, reserved.value.backends);
  publishBlocks(segment, port, reserved.value.blocks);
  publishRows(image, segment, port, reserved.value);
  giveUpFrontends(segment, port, wanted);
  endUnwanted(segment, port, backends);
  return ok(undefined);
}

function createPort(image: MapImage, { id, hash }: { readonly id: number; readonly hash: Hash }): PortEntry {
  const port: PortEntry = { id, hash, name: '', backends: new Map(), frontends: new Set(), blocks: new Set() };
  image.ports.set(hashHex(hash), port);
  return port;
}

/** The published backend that is the wanted one: the same address held by the same pod. */
function sameBackend(port: PortEntry | undefined, text: string, { identity }: WantedBackend): BackendEntry | undefined {
  const known = port?.backends.get(text);
  return known !== undefined && sameHash(known.record.identity, identity) ? known : undefined;
}

function sameHash(left: Hash, right: Hash): boolean {
  return left[0] === right[0] && left[1] === right[1];
}

function reserve(
  image: MapImage,
  wanted: WantedPort,
  hash: Hash,
  known: PortEntry | undefined,
  backends: ReadonlyMap<string, WantedBackend>,
): Result<Reservation> {
  const id = known?.id ?? takeId(image.portIds);
  if (id === undefined) return mapFull(maps.serviceCounters, wanted.name, 1, 0, image.portIds.limit - 1);
  const reservation: Reservation = { port: { id, hash }, backends: new Map(), blocks: [], rows: [] };
  const taken =
    reserveBackends(image, wanted, known, backends, reservation) ?? reserveRows(image, wanted, known, reservation);
  if (taken === undefined) return ok(reservation);
  for (const backend of reservation.backends.values()) if (backend !== 0) returnId(image.backendIds, backend);
  for (const { pair, ids } of reservation.blocks) returnBlock(image.pairs, pair, pairsOf(ids));
  for (const { row } of reservation.rows) returnId(image.rows, row);
  if (known === undefined) returnId(image.portIds, id);
  return taken;
}

/** Fails with what is short, undefined if nothing is. */
function reserveBackends(
  image: MapImage,
  wanted: WantedPort,
  known: PortEntry | undefined,
  backends: ReadonlyMap<string, WantedBackend>,
  reservation: Reservation,
): Result<never> | undefined {
  const missing = [...backends].filter(([text, backend]) => sameBackend(known, text, backend) === undefined);
  const left = idsLeft(image.backendIds);
  if (missing.length > left)
    return mapFull(maps.backends, wanted.name, missing.length, left, image.backendIds.limit - 1);
  for (const [text] of missing) reservation.backends.set(text, takeId(image.backendIds) ?? 0);
  return undefined;
}

function pairsOf(ids: readonly number[]): number {
  return (ids.length + 1) >> 1;
}

function sameIds(left: readonly number[], right: readonly number[]): boolean {
  return left.length === right.length && left.every((id, index) => id === right[index]);
}

/** A block with exactly these slots: one the port has, one reserved a moment ago, or a new one. */
function blockFor(
  image: MapImage,
  known: PortEntry | undefined,
  reservation: Reservation,
  view: View | null,
): Block | 'none' | 'full' {
  if (view === null || view.backends.length === 0) return 'none';
  const ids = view.backends.map(({ text }) => reservation.backends.get(text) ?? known?.backends.get(text)?.id ?? 0);
  for (const block of [...(known?.blocks ?? []), ...reservation.blocks]) if (sameIds(block.ids, ids)) return block;
  const pair = takeBlock(image.pairs, pairsOf(ids));
  if (pair === undefined) return 'full';
  const block: Block = { pair, ids, references: 0 };
  reservation.blocks.push(block);
  return block;
}

function reserveRows(
  image: MapImage,
  wanted: WantedPort,
  known: PortEntry | undefined,
  reservation: Reservation,
): Result<never> | undefined {
  let keys = image.frontends.size;
  for (const frontend of wanted.frontends) {
    const text = frontendText(frontend.address, frontend.port, frontend.protocol);
    const internal = blockFor(image, known, reservation, frontend.internal);
    const external = blockFor(image, known, reservation, frontend.external);
    if (internal === 'full' || external === 'full') {
      const need = Math.max(frontend.internal?.backends.length ?? 0, frontend.external?.backends.length ?? 0);
      return mapFull(maps.slots, wanted.name, need, freeElements(image.pairs) * 2, image.pairs.limit * 2);
    }
    const blocks = [internal, external].filter((block) => block !== 'none');
    const record = serviceRecord(frontend, reservation.port, {
      internal: internal === 'none' ? undefined : internal,
      external: external === 'none' ? undefined : external,
    });
    const current = image.frontends.get(text);
    if (current === undefined) keys += 1;
    if (keys > image.frontendsMax) return mapFull(maps.frontends, wanted.name, 1, 0, image.frontendsMax);
    if (current?.record !== undefined && current.port === known && sameService(current.record, record)) continue;
    const row = takeId(image.rows);
    if (row === undefined) return mapFull(maps.services, wanted.name, 1, 0, image.rows.limit - 1);
    reservation.rows.push({ frontend, text, row, record, blocks });
  }
  return undefined;
}

/** New backends are complete before anything names them; bits are added before and taken away after the flip. */
function publishBackends(
  image: MapImage,
  segment: Segment,
  port: PortEntry,
  backends: ReadonlyMap<string, WantedBackend>,
  ids: ReadonlyMap<string, number>,
): void {
  for (const [text, wanted] of backends) {
    const id = ids.get(text);
    const known = port.backends.get(text);
    if (id !== undefined) {
      if (known !== undefined) endBackend(segment, known);
      port.backends.set(text, createBackend(image, segment, port, id, wanted));
    } else if (known !== undefined) changeBackend(segment, known, wanted.bits);
  }
}

function createBackend(
  image: MapImage,
  segment: Segment,
  port: PortEntry,
  id: number,
  wanted: WantedBackend,
): BackendEntry {
  const { address, port: number } = wanted.backend;
  const { protocol } = wanted;
  const live = liveWord(nextGeneration(unretire(image, id)), wanted.bits);
  const record: BackendRecord = {
    address,
    port: number,
    protocol,
    servicePort: port.id,
    identity: wanted.identity,
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

/** Unknown pods prove nothing. */
function isOtherPod(before: Hash, after: Hash): boolean {
  const isKnown = (hash: Hash): boolean => hash[0] !== 0 || hash[1] !== 0;
  return isKnown(before) && isKnown(after) && !sameHash(before, after);
}

function changeBackend(segment: Segment, entry: BackendEntry, bits: number): void {
  const before = entry.record.live & LIVE_BITS;
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
  segment.freed = true;
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
    for (let index = 0; index < block.ids.length; index += 2) {
      const pair = { backends: [block.ids[index] ?? 0, block.ids[index + 1] ?? 0] as const };
      segment.prepare.push(setOperation(maps.slots, block.pair + (index >> 1), pair));
    }
  }
}

function publishRows(image: MapImage, segment: Segment, port: PortEntry, { rows }: Reservation): void {
  // Counted before anything is freed: a block may pass from one frontend of the port to another.
  for (const { blocks } of rows) for (const block of blocks) block.references += 1;
  for (const { frontend, text, row, record, blocks } of rows) {
    segment.prepare.push(setOperation(maps.services, row, record));
    segment.publish.push(setOperation(maps.frontends, frontendKey(frontend), row));
    addKnown(image.classifier, frontend.address, frontend.port, frontend.protocol);
    const before = image.frontends.get(text);
    if (before !== undefined) freeFrontend(image, segment, before);
    image.frontends.set(text, { key: record.key, row, record, port, blocks });
    port.frontends.add(text);
  }
}

/** Gives back the row and, with its last reader, the slots of an entry that `frontends` no longer names. */
function freeFrontend(image: MapImage, segment: Segment, { row, port, blocks, record }: FrontendEntry): void {
  segment.freed = true;
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
  const kept = new Set(
    wanted.frontends.map(({ address, port: number, protocol }) => frontendText(address, number, protocol)),
  );
  for (const text of port.frontends) if (!kept.has(text)) segment.givenUp.push({ text, port });
  segment.planned.push(port);
}

function endUnwanted(segment: Segment, port: PortEntry, backends: ReadonlyMap<string, WantedBackend>): void {
  for (const [text, entry] of port.backends) {
    if (backends.has(text)) continue;
    port.backends.delete(text);
    endBackend(segment, entry);
  }
}

/** Takes everything of a Service port out of the maps, whatever its name was. */
export function planNothing(segment: Segment, port: PortEntry): void {
  giveUpFrontends(segment, port, { name: port.name, frontends: [] });
  endUnwanted(segment, port, new Map());
}

/** Deletes what was given up and nobody took, and forgets Service ports that have nothing left. */
export function removeGivenUp(image: MapImage, segment: Segment): void {
  for (const { text, port } of segment.givenUp) {
    port.frontends.delete(text);
    const entry = image.frontends.get(text);
    if (entry !== undefined && entry.port === port) removeFrontend(image, segment, text, entry);
  }
  for (const port of segment.planned) {
    if (port.frontends.size > 0 || port.backends.size > 0) continue;
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
  if (entry === undefined && image.frontends.size >= image.frontendsMax) {
    return mapFull(maps.frontends, `address ${text}`, 1, 0, image.frontendsMax);
  }
  const row = takeId(image.rows);
  if (row === undefined) return mapFull(maps.services, `address ${text}`, 1, 0, image.rows.limit - 1);
  segment.prepare.push(setOperation(maps.services, row, record));
  segment.publishWhole.push(setOperation(maps.frontends, key, row));
  addKnown(image.classifier, address, 0, 0);
  if (entry !== undefined) freeFrontend(image, segment, entry);
  image.frontends.set(text, { key, row, record, port: undefined, blocks: [] });
  return ok(undefined);
}
