// SPDX-License-Identifier: Apache-2.0
/** Three verbs over a MapStore: update, delete, prune; staged together and carried out in one ordered batch. */
import { addressText, type Address } from '../core/address.ts';
import { adopt } from '../core/control/adopt.ts';
import { diff, type WantedAddress } from '../core/control/entries.ts';
import type { MapImage } from '../core/control/image.ts';
import type { WantedNodeAddress } from '../core/control/nodes.ts';
import type { WantedPort } from '../core/control/wanted.ts';
import type { Failure } from '../core/result.ts';
import type { MapStore } from '../core/store.ts';

/** What one commit did. */
export type ReconcileReport = {
  /** Steps carried out, and how many were planned. */
  readonly done: number;
  readonly planned: number;
  /** Why something is not as wanted; all of it is tried again by the next commit. */
  readonly failures: readonly Failure[];
  /** Names of what is still to be tried again. */
  readonly waiting: readonly string[];
  /** Whether the maps were read, because nothing was known of them. */
  readonly isAdopted: boolean;
};

/** Everything wanted, for the first commit and for the one after a failed batch. */
export type Everything = {
  readonly ports: readonly WantedPort[];
  readonly addresses: readonly WantedAddress[];
  readonly nodeAddresses: readonly WantedNodeAddress[];
};

/**
 * Contract: staging never fails and later words replace earlier ones; a failed commit keeps what was staged and what
 * was done; the maps are valid after every single step. When a batch stops halfway, what the maps hold is read again
 * before the next one, so `everything` must always be able to say what is wanted.
 */
export interface Reconciler {
  /** This Service port should be so. */
  update(port: WantedPort): void;
  /** This Service port should be gone. */
  delete(name: string): void;
  /** This address should, or should not, be answered for as a whole. */
  own(address: Address, isOwned: boolean): void;
  /** These, and no others, are the addresses of this node. */
  node(addresses: readonly WantedNodeAddress[]): void;
  /** What isn't wanted should be gone, and the maps themselves are asked what they hold. */
  prune(): void;
  commit(): ReconcileReport;
}

export function createReconciler(store: MapStore, everything: () => Everything): Reconciler {
  const ports = new Map<string, WantedPort>();
  const addresses = new Map<string, WantedAddress>();
  let nodeAddresses: readonly WantedNodeAddress[] | undefined;
  let image: MapImage | undefined;

  const waiting = (): string[] => [
    ...ports.keys(),
    ...addresses.keys(),
    ...(nodeAddresses === undefined ? [] : ['node addresses']),
  ];

  function commit(): ReconcileReport {
    const isAdopted = image === undefined;
    if (image === undefined) {
      const adopted = adopt(store);
      if (!adopted.ok) return { done: 0, planned: 0, failures: [adopted.error], waiting: waiting(), isAdopted };
      image = adopted.value;
    }
    const node = nodeAddresses === undefined ? {} : { nodeAddresses };
    const staged = { ports: [...ports.values()], addresses: [...addresses.values()], ...node };
    const change = isAdopted ? everything() : staged;
    const difference = diff(image, { ...change, isComplete: isAdopted });
    const batch = store.batch(difference.operations);
    const report = { done: batch.done, planned: difference.operations.length, isAdopted };
    if (!batch.result.ok) {
      image = undefined;
      return { ...report, failures: [...difference.failures, batch.result.error], waiting: waiting() };
    }
    ports.clear();
    addresses.clear();
    nodeAddresses = difference.remaining.nodeAddresses;
    for (const port of difference.remaining.ports) ports.set(port.name, port);
    for (const { address, isOwned } of difference.remaining.addresses) own(address, isOwned);
    return { ...report, failures: difference.failures, waiting: waiting() };
  }

  function own(address: Address, isOwned: boolean): void {
    addresses.set(addressText(address), { address, isOwned });
  }

  return {
    update: (port) => void ports.set(port.name, port),
    delete: (name) => void ports.set(name, { name, frontends: [] }),
    own,
    node: (wanted) => {
      nodeAddresses = wanted;
    },
    prune: () => {
      image = undefined;
    },
    commit,
  };
}
