// SPDX-License-Identifier: Apache-2.0
/** The difference between what the maps hold and what is wanted, as ordered steps. */
import { addressText, type Address } from '../address.ts';
import type { Failure } from '../result.ts';
import { maps } from '../layout.gen.ts';
import { deleteOperation, type Operation } from '../store.ts';
import { classifierOperations } from './classifier.ts';
import type { MapImage } from './image.ts';
import { hashHex, keyText, nameHash } from './names.ts';
import {
  emptySegment,
  endBackend,
  frontendsLeft,
  planAddress,
  planNodeAddresses,
  planNothing,
  prepareLess,
  preparePort,
  publishPort,
  removeFrontend,
  removeGivenUp,
  sameHashFailure,
  withdrawEnded,
  type PlannedPort,
  type Segment,
} from './plan.ts';
import type { WantedNodeAddress } from './nodes.ts';
import { giveBack } from './reserve.ts';
import { releaseId, settleBlocks, settleIds } from './space.ts';
import type { WantedPort } from './wanted.ts';

export type WantedAddress = { readonly address: Address; readonly isOwned: boolean };

/** `isComplete`: what isn't named is removed; else it stays as it is, as node addresses do where none are told. */
export type WantedChange = {
  readonly nodeAddresses?: readonly WantedNodeAddress[];
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
  const carryOut = (planned: Planned): Planned => {
    for (const operation of planned.operations) operations.push(operation);
    return planned;
  };
  if (image.needsBarrier) operations.push({ op: 'barrier' });
  image.needsBarrier = false;
  const node = carryOut(planNode(image, wanted));
  for (let change = wanted; ;) {
    const full = carryOut(planAll(image, change, preparePort));
    if (full.failures.length === 0) return { operations, failures: node.failures, remaining: node.remaining };
    if (!isCooling(image, full) && !isCooling(image, carryOut(planAll(image, full.remaining, prepareLess)))) {
      const { deferred, failures, remaining } = full;
      const last = carryOut(planAll(image, { ...NOTHING, addresses: deferred }, preparePort));
      const addresses = [...remaining.addresses, ...last.remaining.addresses];
      const all = [...node.failures, ...failures, ...last.failures];
      return { operations, failures: all, remaining: { ...node.remaining, ...remaining, addresses } };
    }
    // What was freed a moment ago may be enough.
    operations.push({ op: 'barrier' });
    settle(image);
    const { deferred, remaining } = full;
    change = { ...remaining, addresses: [...remaining.addresses, ...deferred] };
  }
}

const NOTHING: WantedChange = { ports: [], addresses: [], isComplete: false };

function planNode(image: MapImage, { nodeAddresses }: WantedChange): Planned {
  const nothing = { operations: [], failures: [], deferred: [], remaining: NOTHING };
  if (nodeAddresses === undefined) return nothing;
  const segment = emptySegment();
  const planned = planNodeAddresses(image, segment, nodeAddresses);
  if (planned.ok) return { ...nothing, operations: segment.prepare };
  return { ...nothing, failures: [planned.error], remaining: { ...NOTHING, nodeAddresses } };
}

/** `deferred`: addresses that are to be owned once the ports on them are there. */
type Planned = Difference & { readonly deferred: readonly WantedAddress[] };

function isCooling(image: MapImage, { operations }: Difference): boolean {
  const { backendIds, pairs, portIds, rangeIds, rows } = image;
  const pools = [backendIds, rows, pairs, portIds, rangeIds];
  return pools.some(({ cooling }) => cooling.length > 0) || operations.some(({ op }) => op === 'barrier');
}

/** Carried out where a barrier was: what was freed before it may be used again. */
function settle(image: MapImage): void {
  settleIds(image.backendIds);
  settleIds(image.rows);
  settleIds(image.portIds);
  settleIds(image.rangeIds);
  settleBlocks(image.pairs);
  image.rangesHeld -= image.rangesCooling;
  image.rangesCooling = 0;
}

function planAll(image: MapImage, change: WantedChange, prepare: typeof preparePort): Planned {
  const segment = emptySegment();
  for (const orphan of image.orphans) endBackend(segment, orphan);
  image.orphans = [];
  // Behind a barrier, as everything that a process before us may have left.
  for (const key of image.orphanRanges) segment.prepare.push(deleteOperation(maps.sourceRanges, key));
  image.rangesHeld -= image.orphanRanges.length;
  image.orphanRanges = [];
  const { failures, names, ports } = planPorts(image, segment, change.ports, prepare);
  const hosts = new Set(ports.flatMap(({ frontends }) => frontends.map(({ address }) => addressText(address))));
  // What is removed leaves after what is added has come: it makes no room for it yet.
  const ordered = change.addresses.toSorted((left, right) => Number(right.isOwned) - Number(left.isOwned));
  const deferred: WantedAddress[] = [];
  const addresses = ordered.filter((wanted) => {
    // Owned before its ports are there, it would refuse what comes for them.
    if (wanted.isOwned && hosts.has(addressText(wanted.address))) {
      deferred.push(wanted);
      return false;
    }
    const planned = planAddress(image, segment, wanted.address, wanted.isOwned);
    if (!planned.ok) failures.push(planned.error);
    return !planned.ok;
  });
  if (change.isComplete) planTheRest(image, segment, change, names);
  const operations = finish(image, segment);
  return { operations, failures, deferred, remaining: { ports, addresses, isComplete: false } };
}

/**
 * Publishes all Service ports for which there is room. Those that would leave a frontend to one for which there is none
 * wait with it: in between nobody would answer there. `names`: of all by their hash; `ports`: those that wait.
 */
function planPorts(
  image: MapImage,
  segment: Segment,
  wanted: readonly WantedPort[],
  prepare: typeof preparePort,
): {
  readonly failures: Failure[];
  readonly names: ReadonlyMap<string, string>;
  readonly ports: readonly WantedPort[];
} {
  const failures: Failure[] = [];
  const short = new Set<string>();
  const waiting = new Set<WantedPort>();
  const wait = (port: WantedPort): void => {
    waiting.add(port);
    for (const frontend of port.frontends) short.add(keyText(frontend));
  };
  let prepared: PlannedPort[] = [];
  const names = new Map<string, string>();
  for (const port of wanted) {
    const hash = nameHash(port.name);
    const hex = hashHex(hash);
    const other = names.get(hex);
    const planned =
      other === undefined ? prepare(image, port, hash, image.ports.get(hex)) : sameHashFailure(port.name, other);
    names.set(hex, port.name);
    if (planned.ok && planned.value !== undefined) prepared.push(planned.value);
    if (planned.ok) continue;
    failures.push(planned.error);
    wait(port);
  }
  for (let leaving = prepared; leaving.length > 0 && short.size > 0;) {
    leaving = prepared.filter((planned) => frontendsLeft(planned).some((text) => short.has(text)));
    for (const { known, reservation, wanted: port } of leaving) {
      giveBack(image, known, reservation);
      wait(port);
    }
    prepared = prepared.filter(({ wanted: port }) => !waiting.has(port));
  }
  for (const planned of prepared) publishPort(image, segment, planned);
  return { failures, names, ports: wanted.filter((port) => waiting.has(port)) };
}

/** Takes out what the change doesn't name, and what can't be trusted and wasn't written again. */
function planTheRest(
  image: MapImage,
  segment: Segment,
  change: WantedChange,
  names: ReadonlyMap<string, string>,
): void {
  for (const [hash, port] of image.ports) if (!names.has(hash)) planNothing(segment, port);
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
