// SPDX-License-Identifier: Apache-2.0
/** What a seed makes of one run: how often everything happens; some of it never. */
import type { Stream } from '../core/random.ts';

/** Faults by name; a weight of 0 means that this run has none of the kind. */
export const faultKinds = [
  'watch-stall',
  'watch-end',
  'watch-gone',
  'watch-silent',
  'old-list',
  'write-fails',
  'crash-in-write',
  'foreign-row',
  'clock-jump',
  'swizzle',
  'agent-restart',
  'second-writer',
  'old-layout',
  'node-reboot',
  'node-loss',
  'resync',
] as const;
export type FaultKind = (typeof faultKinds)[number];

/** All of a node's work is done again, or all nodes have work: as everywhere, these are rarer than the rest. */
const heavyKinds: ReadonlySet<FaultKind> = new Set<FaultKind>([
  'write-fails',
  'crash-in-write',
  'foreign-row',
  'agent-restart',
  'second-writer',
  'old-layout',
  'node-reboot',
  'resync',
]);

/** Weights are up to this number. Where a node is lost, a tenth of all pods of a cluster start anew elsewhere. */
function mostOf(kind: FaultKind): number {
  if (kind === 'node-loss') return 2;
  return heavyKinds.has(kind) ? 20 : 100;
}

/** What happens to the cluster, by name. */
export const changeKinds = ['scale', 'rollout', 'pod-crash', 'service-delete', 'service-create', 'flap'] as const;
export type ChangeKind = (typeof changeKinds)[number];

/** Times in microseconds, shares from 0 to 1. */
export type Swarm = {
  readonly faults: Readonly<Record<FaultKind, number>>;
  readonly changes: Readonly<Record<ChangeKind, number>>;
  readonly meanBetweenFaultsUs: number;
  readonly meanBetweenChangesUs: number;
  readonly meanBetweenConnectionsUs: number;
  readonly watchDelayUs: number;
  readonly batchDelayUs: number;
  readonly sliceDelayUs: number;
  readonly stallUs: number;
  readonly networkDelayUs: number;
  readonly thinkUs: number;
  readonly duplicateShare: number;
  readonly lossShare: number;
  readonly localShare: number;
  /** New connections while a batch is carried out, per write. */
  readonly probeShare: number;
  /** Of connections, those straight to a pod, which no datapath may touch. */
  readonly directShare: number;
  readonly foreignRows: boolean;
  /** Ticks at which the datapath's clock begins: near its wrap in some runs. */
  readonly firstTick: number;
};

function weights<K extends string>(stream: Stream, kinds: readonly K[], most: (kind: K) => number): Record<K, number> {
  const drawn = kinds.map((kind) => [kind, stream.chance(0.25) ? 0 : 1 + stream.below(most(kind))] as const);
  return Object.fromEntries(drawn) as Record<K, number>;
}

/** The weights of one run. */
export function drawSwarm(stream: Stream): Swarm {
  return {
    faults: weights(stream, faultKinds, mostOf),
    changes: weights(stream, changeKinds, () => 10),
    meanBetweenFaultsUs: stream.pick([10e6, 20e6, 60e6]),
    meanBetweenChangesUs: stream.pick([3e6, 6e6, 12e6]),
    meanBetweenConnectionsUs: stream.pick([400e3, 800e3, 1600e3]),
    watchDelayUs: stream.pick([2e3, 20e3, 200e3]),
    batchDelayUs: stream.pick([10e3, 100e3, 1e6]),
    sliceDelayUs: stream.pick([20e3, 200e3, 1e6]),
    stallUs: stream.pick([500e3, 5e6, 30e6]),
    networkDelayUs: stream.pick([100, 1e3, 30e3]),
    thinkUs: stream.pick([50e3, 1e6, 10e6]),
    duplicateShare: stream.pick([0, 0.02, 0.3]),
    lossShare: stream.pick([0, 0.01, 0.1]),
    localShare: stream.pick([0, 0, 0.1]),
    probeShare: stream.pick([0, 0.003, 0.03]),
    directShare: stream.pick([0, 0.1]),
    foreignRows: stream.chance(0.5),
    firstTick: stream.pick([0, 2 ** 32 - 20_000, 2 ** 31 - 20_000]),
  };
}

/** `swarm`: everything, by the seed. `lite`: of faults only crashes. `performance`: no faults, always the same load. */
export const modes = ['swarm', 'lite', 'performance'] as const;
export type Mode = (typeof modes)[number];

const crashKinds: ReadonlySet<FaultKind> = new Set<FaultKind>(['agent-restart', 'crash-in-write', 'node-reboot']);

/** What a mode makes of what the seed drew. */
export function swarmOf(mode: Mode, drawn: Swarm): Swarm {
  switch (mode) {
    case 'swarm':
      return drawn;
    case 'lite':
      return { ...drawn, faults: faultsFrom((kind) => (crashKinds.has(kind) ? 1 : 0)) };
    case 'performance':
      return { ...drawn, ...performanceLoad };
  }
}

/** These faults alone, one about every four seconds. */
export function onlyFaults(kinds: readonly FaultKind[]): Pick<Swarm, 'faults' | 'meanBetweenFaultsUs'> {
  return { faults: faultsFrom((kind) => (kinds.includes(kind) ? 1 : 0)), meanBetweenFaultsUs: 4e6 };
}

function faultsFrom(weight: (kind: FaultKind) => number): Swarm['faults'] {
  return Object.fromEntries(faultKinds.map((kind) => [kind, weight(kind)])) as Swarm['faults'];
}

const performanceLoad: Partial<Swarm> = {
  faults: faultsFrom(() => 0),
  changes: { scale: 1, rollout: 1, 'pod-crash': 1, flap: 1, 'service-delete': 1, 'service-create': 1 },
  meanBetweenChangesUs: 6e6,
  meanBetweenConnectionsUs: 400e3,
  watchDelayUs: 2e3,
  batchDelayUs: 100e3,
  sliceDelayUs: 200e3,
  networkDelayUs: 1e3,
  thinkUs: 1e6,
  duplicateShare: 0,
  lossShare: 0,
  localShare: 0,
  probeShare: 0.003,
  directShare: 0.1,
  foreignRows: false,
};

/** One of the kinds, by weight; undefined where all weights are 0. */
export function pickByWeight<K extends string>(
  stream: Stream,
  kinds: readonly K[],
  weights: Readonly<Record<K, number>>,
): K | undefined {
  const total = kinds.reduce((sum, kind) => sum + weights[kind], 0);
  if (total === 0) return undefined;
  let left = stream.below(total);
  return kinds.find((kind) => {
    left -= weights[kind];
    return left < 0;
  });
}
