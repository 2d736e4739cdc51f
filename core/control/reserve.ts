// SPDX-License-Identifier: Apache-2.0
/** Room for one Service port: ids, slots and rows that it needs and doesn't have, all of them or none. */
import { maps, type ServiceRecord } from '../layout.gen.ts';
import { fail, ok, type Result } from '../result.ts';
import type { Frontend, View } from '../service.ts';
import { backendList, compareLists, idsOf, NONE_HELD, type BackendDifference, type BackendList } from './backends.ts';
import type { Block, FrontendEntry, MapImage, PortEntry } from './image.ts';
import { maglevSize, tableOf } from './maglev.ts';
import { keyText, type Hash } from './names.ts';
import { createRanges, forgetUnused, leaveRanges, rangesText, type RangeSet } from './ranges.ts';
import { freeElements, idsLeft, returnBlock, returnId, takeBlock, takeId } from './space.ts';
import { sameService, serviceRecord, type WantedPort } from './wanted.ts';

/** As many as a Service port has frontends, so that it can change as a whole. */
const ROWS_FOR_CHANGES = 64;

/** What a Service port needs in the maps that it doesn't have; taken from the pools, given back if anything is short. */
export type Reservation = {
  readonly port: { readonly id: number; readonly hash: Hash };
  readonly list: BackendList;
  readonly difference: BackendDifference;
  /** Of each backend of the list; 0: not taken yet. */
  readonly ids: number[];
  readonly blocks: Block[];
  readonly rows: {
    readonly frontend: Frontend;
    readonly text: string;
    readonly row: number;
    readonly record: ServiceRecord;
    /** Whether it is another key. */
    readonly isNew: boolean;
    readonly blocks: readonly Block[];
    readonly ranges: RangeSet | undefined;
  }[];
};

/** The failure that names who needs how much of which map. */
export function mapFull(
  map: { readonly name: string },
  name: string,
  need: number,
  left: number,
  limit: number,
): Result<never> {
  const message = `map-full: ${name} needs ${need} more, ${left} of ${limit} are left`;
  return fail('limit', map.name, message, `raise mapSizes.${map.name}; what is programmed stays`);
}

/**
 * What of a Service port fits beside what it has now, such that the rest fits once its old backends and frontends have
 * ended: undefined if it never would. A view without backends for so long is silent, its clients try again.
 */
export function lessOf(image: MapImage, known: PortEntry, wanted: WantedPort): WantedPort | undefined {
  const list = backendList(wanted.frontends);
  const { gone, missing } = compareLists(known.held, list, wanted.frontends[0]?.protocol);
  const left = idsLeft(image.backendIds);
  if (missing.length > left + gone.length) return undefined;
  const had = wanted.frontends.filter((frontend) => known.frontends.has(keyText(frontend)));
  const givenUp = known.frontends.size - had.length;
  if (wanted.frontends.length - had.length > keysLeft(image) + givenUp) return undefined;
  const later = new Set(missing.slice(left).map((place) => list.backends[place]?.text ?? ''));
  const frontends = had.map((frontend) => ({
    ...frontend,
    internal: lessView(frontend.internal, later),
    external: lessView(frontend.external, later),
    serving: frontend.serving.filter(({ text }) => !later.has(text)),
  }));
  return { name: wanted.name, frontends };
}

function lessView(view: View | null, later: ReadonlySet<string>): View | null {
  if (view === null || view.backends.length === 0) return view;
  const backends = view.backends.filter(({ text }) => !later.has(text));
  return { ...view, backends, whenEmpty: backends.length === 0 ? 'drop' : view.whenEmpty };
}

/** How many more frontends have room for their keys. */
export function keysLeft({ frontends, frontendsMax, frontendsReserved }: MapImage): number {
  return frontendsMax - frontends.size - frontendsReserved;
}

/** So many rows are only for frontends that change: in a full map each can still be written anew, one after another. */
function rowsForChanges({ rows }: MapImage): number {
  return Math.min(ROWS_FOR_CHANGES, rows.limit >> 4);
}

/** How many frontends have room for their rows. */
export function rowsMax(image: MapImage): number {
  return image.rows.limit - 1 - rowsForChanges(image);
}

/** A row for a frontend, new or in place of `current`; undefined: none is left. */
export function takeRow(image: MapImage, current: FrontendEntry | undefined): number | undefined {
  const isNew = current === undefined;
  return isNew && idsLeft(image.rows) <= rowsForChanges(image) ? undefined : takeId(image.rows);
}

/** Fails with what is short; then nothing is taken. */
export function reserve(
  image: MapImage,
  wanted: WantedPort,
  hash: Hash,
  known: PortEntry | undefined,
): Result<Reservation> {
  const id = known?.id ?? takeId(image.portIds);
  if (id === undefined) return mapFull(maps.services, wanted.name, 1, 0, image.portIds.limit - 1);
  const held = known?.held ?? NONE_HELD;
  const list = backendList(wanted.frontends);
  const difference = compareLists(held, list, wanted.frontends[0]?.protocol);
  const ids = difference.kept.map((entry) => entry?.id ?? 0);
  const reservation: Reservation = { port: { id, hash }, list, difference, ids, blocks: [], rows: [] };
  const taken = reserveBackends(image, wanted, reservation) ?? reserveRows(image, wanted, known, reservation);
  if (taken === undefined) return ok(reservation);
  giveBack(image, known, reservation);
  forgetUnused(image);
  return taken;
}

/** What was reserved is not needed after all. */
export function giveBack(image: MapImage, known: PortEntry | undefined, reservation: Reservation): void {
  for (const place of reservation.difference.missing) {
    const id = reservation.ids[place] ?? 0;
    if (id !== 0) returnId(image.backendIds, id);
  }
  for (const { pair, ids } of reservation.blocks) returnBlock(image.pairs, pair, pairsOf(ids));
  for (const { blocks, isNew, ranges, row } of reservation.rows) {
    for (const block of blocks) block.references -= 1;
    if (ranges !== undefined) leaveRanges(image, ranges);
    returnId(image.rows, row);
    if (isNew) image.frontendsReserved -= 1;
  }
  if (known === undefined) returnId(image.portIds, reservation.port.id);
}

/** Fails with what is short, undefined if nothing is. */
function reserveBackends(
  image: MapImage,
  wanted: WantedPort,
  { difference: { missing }, ids }: Reservation,
): Result<never> | undefined {
  const left = idsLeft(image.backendIds);
  if (missing.length > left)
    return mapFull(maps.backends, wanted.name, missing.length, left, image.backendIds.limit - 1);
  for (const place of missing) ids[place] = takeId(image.backendIds) ?? 0;
  return undefined;
}

/** Pairs that hold so many slots. */
export function pairsOf(ids: readonly number[]): number {
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
  { algorithm, protocol }: Frontend,
): Block | 'none' | 'full' {
  if (view === null || view.backends.length === 0) return 'none';
  const each = idsOf(view.backends, reservation.list, reservation.ids);
  const ids = algorithm === 'maglev' ? tableOf(view.backends, protocol).map((index) => each[index] ?? 0) : each;
  for (const block of [...(known?.blocks ?? []), ...reservation.blocks]) if (sameIds(block.ids, ids)) return block;
  const pair = takeBlock(image.pairs, pairsOf(ids));
  if (pair === undefined) return 'full';
  const block: Block = { pair, ids, references: 0 };
  reservation.blocks.push(block);
  return block;
}

/** The set of a frontend's source ranges, one that other rows have or a new one; undefined: it has none. */
function rangesFor(image: MapImage, { sourceRanges }: Frontend): RangeSet | undefined | 'full' {
  if (sourceRanges === null) return undefined;
  return image.rangeSets.get(rangesText(sourceRanges)) ?? createRanges(image, sourceRanges) ?? 'full';
}

function rangesFull(image: MapImage, name: string, need: number): Result<never> {
  const { rangeIds, rangesHeld, rangesMax } = image;
  if (idsLeft(rangeIds) > 0) return mapFull(maps.sourceRanges, name, need, rangesMax - rangesHeld, rangesMax);
  const message = `map-full: ${name} needs a set of ranges of its own, all ${rangeIds.limit - 1} are taken`;
  return fail(
    'limit',
    maps.sourceRanges.name,
    message,
    'Services with equal ranges share one; what is programmed stays',
  );
}

/** Slots that the larger view of a frontend needs. */
function slotsNeeded({ algorithm, external, internal }: Frontend): number {
  const count = Math.max(internal?.backends.length ?? 0, external?.backends.length ?? 0);
  return algorithm === 'maglev' ? maglevSize(count) : count;
}

function reserveRows(
  image: MapImage,
  wanted: WantedPort,
  known: PortEntry | undefined,
  reservation: Reservation,
): Result<never> | undefined {
  for (const frontend of wanted.frontends) {
    const text = keyText(frontend);
    const internal = blockFor(image, known, reservation, frontend.internal, frontend);
    const external = blockFor(image, known, reservation, frontend.external, frontend);
    if (internal === 'full' || external === 'full') {
      return mapFull(
        maps.slots,
        wanted.name,
        slotsNeeded(frontend),
        freeElements(image.pairs) * 2,
        image.pairs.limit * 2,
      );
    }
    const blocks = [internal, external].filter((block) => block !== 'none');
    const ranges = rangesFor(image, frontend);
    if (ranges === 'full') return rangesFull(image, wanted.name, frontend.sourceRanges?.length ?? 0);
    const views = {
      internal: internal === 'none' ? undefined : internal,
      external: external === 'none' ? undefined : external,
    };
    const record = serviceRecord(frontend, reservation.port, views, ranges?.id ?? 0);
    const current = image.frontends.get(text);
    const isNew = current === undefined;
    if (isNew && keysLeft(image) < 1) return mapFull(maps.frontends, wanted.name, 1, 0, image.frontendsMax);
    if (current?.record !== undefined && sameService(current.record, record)) continue;
    const row = takeRow(image, current);
    if (row === undefined) return mapFull(maps.services, wanted.name, 1, 0, rowsMax(image));
    if (ranges !== undefined) ranges.references += 1;
    // Counted before anything is freed: a block may pass from one frontend of the port to another.
    for (const block of blocks) block.references += 1;
    reservation.rows.push({ frontend, text, row, record, isNew, blocks, ranges });
    if (isNew) image.frontendsReserved += 1;
  }
  return undefined;
}
