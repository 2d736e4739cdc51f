// SPDX-License-Identifier: Apache-2.0
/** Sets of source ranges in the maps: rows of equal ranges share one, and a set never changes while a row names it. */
import { compareAddresses, prefixText, type Prefix } from '../address.ts';
import { maps, SOURCE_RANGE_ALLOW, type SourceRangeKeyRecord } from '../layout.gen.ts';
import { deleteOperation, setOperation, type Operation } from '../store.ts';
import type { MapImage } from './image.ts';
import { releaseId, returnId, takeId } from './space.ts';

/** One set; a client is let in whose address lies in one of its ranges. None: nobody. */
export type RangeSet = {
  readonly id: number;
  readonly keys: readonly SourceRangeKeyRecord[];
  /** Its key in the image. */
  readonly text: string;
  /** Rows that name it, those included that are only planned. */
  references: number;
  isWritten: boolean;
};

/** Bits of a key before the address. */
const SET_BITS = 32;

/** By address, then the wider first. */
export function compareRanges(left: Prefix, right: Prefix): number {
  return compareAddresses(left.address, right.address) || left.length - right.length;
}

/** In that order, each once. */
export function distinctRanges(ranges: readonly Prefix[]): readonly Prefix[] {
  const sorted = ranges.toSorted(compareRanges);
  return sorted.filter((range, index) => {
    const before = sorted[index - 1];
    return before === undefined || compareRanges(before, range) !== 0;
  });
}

/** Equal for equal sets. */
export function rangesText(ranges: readonly Prefix[]): string {
  return ranges.map(prefixText).join(',');
}

export function rangeKey(set: number, { address, length }: Prefix): SourceRangeKeyRecord {
  return { prefixLength: SET_BITS + length, set, address };
}

/** The other way of rangeKey. */
export function rangeOfKey({ address, prefixLength }: SourceRangeKeyRecord): Prefix {
  return { address, length: prefixLength - SET_BITS };
}

/** A set for these ranges that nobody names yet; undefined: ids or entries are short. */
export function createRanges(image: MapImage, ranges: readonly Prefix[]): RangeSet | undefined {
  if (image.rangesHeld + ranges.length > image.rangesMax) return undefined;
  const id = takeId(image.rangeIds);
  if (id === undefined) return undefined;
  const text = rangesText(ranges);
  const keys = ranges.map((range) => rangeKey(id, range));
  const set: RangeSet = { id, keys, text, references: 0, isWritten: false };
  image.rangeSets.set(text, set);
  image.rangesHeld += keys.length;
  return set;
}

/** Steps that fill a set before the first row names it. */
export function fillRanges(set: RangeSet): Operation[] {
  if (set.isWritten) return [];
  set.isWritten = true;
  return set.keys.map((key) => setOperation(maps.sourceRanges, key, SOURCE_RANGE_ALLOW));
}

/** Gives up sets that were made for rows which then found no room. */
export function forgetUnused(image: MapImage): void {
  for (const set of image.rangeSets.values()) {
    if (set.references > 0) continue;
    set.references = 1;
    leaveRanges(image, set);
  }
}

/** One row less; with the last one it ends: the steps are for after the barrier. */
export function leaveRanges(image: MapImage, set: RangeSet): Operation[] {
  set.references -= 1;
  if (set.references > 0) return [];
  image.rangeSets.delete(set.text);
  if (!set.isWritten) {
    image.rangesHeld -= set.keys.length;
    returnId(image.rangeIds, set.id);
    return [];
  }
  image.rangesCooling += set.keys.length;
  releaseId(image.rangeIds, set.id);
  return set.keys.map((key) => deleteOperation(maps.sourceRanges, key));
}
