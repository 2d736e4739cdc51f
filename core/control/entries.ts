// SPDX-License-Identifier: Apache-2.0
/** The difference between what the maps hold and what is wanted, as ordered steps. */
import { addressText, type Address } from '../address.ts';
import type { Failure, Result } from '../result.ts';
import type { Operation } from '../store.ts';
import { classifierOperations } from './classifier.ts';
import type { MapImage } from './image.ts';
import { hashHex, nameHash } from './names.ts';
import {
  emptySegment,
  endBackend,
  planAddress,
  planLess,
  planNothing,
  planPort,
  removeFrontend,
  removeGivenUp,
  withdrawEnded,
  type Segment,
} from './plan.ts';
import { releaseId, settleBlocks, settleIds } from './space.ts';
import type { WantedPort } from './wanted.ts';

export type WantedAddress = { readonly address: Address; readonly isOwned: boolean };

/** `isComplete`: what isn't named is removed; else it stays as it is. */
export type WantedChange = {
  readonly ports: readonly WantedPort[];
  readonly addresses: readonly WantedAddress[];
  readonly isComplete: boolean;
};

export type Difference = {
  readonly operations: readonly Operation[];
  /** What doesn't fit, and why; it stays as it was in the maps. */
  readonly failures: readonly Failure[];
  /** The changes behind `failures`, to be tried again. */
  readonly remaining: WantedChange;
};

/**
 * Steps such that a packet between any two of them meets, for each frontend, the old backends or the new ones:
 *
 * ```
 * classifier bits, backends, slots, service rows      nothing names them yet
 * frontends: key -> new row                           one word each
 * barrier                                             nobody reads the old rows any more
 * backends: live words of those that ended            rows and slots are free again
 * ```
 *
 * What doesn't fit beside what it replaces comes in two turns, so that a map need not hold everything twice: first what
 * of it fits, and the old ones end; after a barrier the rest.
 *
 * The image is changed as if every step had been carried out; if one wasn't, it must be adopted from the maps again.
 */
export function diff(image: MapImage, wanted: WantedChange): Difference {
  const operations: Operation[] = [];
  const carryOut = (difference: Difference): Difference => {
    for (const operation of difference.operations) operations.push(operation);
    return difference;
  };
  if (image.needsBarrier) operations.push({ op: 'barrier' });
  image.needsBarrier = false;
  for (let change = wanted; ;) {
    const full = carryOut(planAll(image, change, planPort));
    const isDone = full.failures.length === 0;
    if (isDone || !(isCooling(image, full) || isCooling(image, carryOut(planAll(image, full.remaining, planLess)))))
      return { ...full, operations };
    // What was freed a moment ago may be enough.
    operations.push({ op: 'barrier' });
    settle(image);
    change = full.remaining;
  }
}

function isCooling({ backendIds, rows, pairs, portIds }: MapImage, { operations }: Difference): boolean {
  const left = backendIds.cooling.length + rows.cooling.length + pairs.cooling.length + portIds.cooling.length;
  return left > 0 || operations.some(({ op }) => op === 'barrier');
}

/** Carried out where a barrier was: what was freed before it may be used again. */
function settle({ backendIds, rows, pairs, portIds }: MapImage): void {
  settleIds(backendIds);
  settleIds(rows);
  settleIds(portIds);
  settleBlocks(pairs);
}

function planAll(image: MapImage, change: WantedChange, plan: typeof planPort): Difference {
  const segment = emptySegment();
  const failures: Failure[] = [];
  const isShort = (planned: Result<void>): boolean => {
    if (!planned.ok) failures.push(planned.error);
    return !planned.ok;
  };
  for (const orphan of image.orphans) endBackend(segment, orphan);
  image.orphans = [];
  const ports = change.ports.filter((wanted) => isShort(plan(image, segment, wanted)));
  // What is removed leaves after what is added has come: it makes no room for it yet.
  const ordered = change.addresses.toSorted((left, right) => Number(right.isOwned) - Number(left.isOwned));
  const addresses = ordered.filter(({ address, isOwned }) => isShort(planAddress(image, segment, address, isOwned)));
  if (change.isComplete) planTheRest(image, segment, change);
  return { operations: finish(image, segment), failures, remaining: { ports, addresses, isComplete: false } };
}

/** Takes out what the change doesn't name, and what can't be trusted and wasn't written again. */
function planTheRest(image: MapImage, segment: Segment, change: WantedChange): void {
  const hashes = new Set(change.ports.map(({ name }) => hashHex(nameHash(name))));
  for (const [hash, port] of image.ports) if (!hashes.has(hash)) planNothing(segment, port);
  const addresses = new Set(change.addresses.map(({ address }) => addressText(address)));
  for (const [text, entry] of image.frontends) {
    if (entry.port !== undefined) continue;
    const isOwned = entry.record !== undefined && addresses.has(addressText(entry.key.address));
    if (!isOwned) removeFrontend(image, segment, text, entry);
  }
}

function finish(image: MapImage, segment: Segment): readonly Operation[] {
  removeGivenUp(image, segment);
  withdrawEnded(image, segment);
  const lists: Operation[][] = [
    classifierOperations(image.classifier),
    segment.prepare,
    segment.publish,
    segment.publishWhole,
    segment.removeWhole,
    segment.remove,
  ];
  // Also where nothing was freed: a batch that stopped behind the flip of its rows leaves bits to take away.
  if (segment.freed || segment.withdraw.length > 0) {
    lists.push([{ op: 'barrier' }], segment.withdraw);
    settle(image);
  }
  // Ended only after the barrier: free after the next one.
  for (const { id } of segment.ended) releaseId(image.backendIds, id);
  return lists.flat();
}
