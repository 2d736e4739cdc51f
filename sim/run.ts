// SPDX-License-Identifier: Apache-2.0
/** One simulation from a seed: a cluster under faults, then quiet; ends at the first promise that is broken. */
import type { MapSizes } from '../core/datapath/maps.ts';
import { createApi, type Api } from './api.ts';
import { isLiveness, type Broken, type Violation } from './checkers.ts';
import { createClock, type Clock } from './clock.ts';
import { createCluster, type Cluster } from './cluster.ts';
import type { DatagramTally } from './datagrams.ts';
import { Digest } from './digest.ts';
import { change, heal, strike, type FaultOptions } from './faults.ts';
import { installModel, type Install } from './install.ts';
import { SimNode } from './node.ts';
import type { Plant } from './plant.ts';
import { checkConverged, checkTraffic, freshMeaning } from './quiet.ts';
import { exponential, streamOf, type Seed } from './seed.ts';
import { drawSwarm, swarmOf, type Mode, type Swarm } from './swarm.ts';
import { Traffic, type Tally } from './traffic.ts';
import { entryText, type Symbol } from './transcript.ts';

export type SimOptions = {
  readonly seed: Seed;
  readonly nodes: number;
  readonly services: number;
  readonly seconds: number;
  /** Default: `swarm`. */
  readonly mode?: Mode;
  /** In place of what the seed draws. */
  readonly swarm?: Partial<Swarm>;
  /** Maps that may be too small: a node must then say so. */
  readonly sizes?: Partial<MapSizes>;
  readonly plant?: Plant;
  /** In place of the model. */
  readonly install?: Install;
  /** One line per change of state. */
  readonly onLine?: (line: string) => void;
  /** When a part of the run begins. */
  readonly onPhase?: (phase: Phase) => void;
};

export type Phase = 'start' | 'faults' | 'quiet' | 'checks';

export type SimReport = {
  readonly violation: Violation | undefined;
  readonly isLiveness: boolean;
  readonly simulatedUs: number;
  readonly deeds: number;
  readonly lines: number;
  readonly changes: number;
  readonly faults: number;
  readonly writes: number;
  readonly tally: Tally;
  readonly datagrams: DatagramTally;
  /** Of everything that packets met, flow tables included. */
  readonly digest: string;
};

/** Long enough for rollouts, stalls and retries that have begun; without new ones hardly anything happens in it. */
const QUIET_US = 400e6;
/** The first lists are heard and compiled before anything goes wrong. */
const START_US = 5e6;
const STREAM = { swarm: 1, cluster: 2, traffic: 3, faults: 4, nodes: 5 } as const;

/** Room for the Services and for as many again while rows are replaced, and for ids that wait. */
export function sizesFor(services: number): MapSizes {
  const least = (entries: number): number => 2 ** Math.ceil(Math.log2(entries));
  return {
    classifierWords: 4096,
    frontends: least(services * 6 + 64),
    services: least(services * 8 + 64),
    sourceRanges: 256,
    nodeAddresses: 16,
    slotPairs: least(services * 32 + 256),
    backends: least(services * 24 + 8192),
    flowBuckets: 256,
    peers: 2,
    affinity: 2,
    netns: 1,
  };
}

/** The parts of one run, and the first broken promise. */
class Run {
  readonly options: SimOptions;
  readonly clock: Clock = createClock();
  readonly api: Api = createApi();
  readonly digest: Digest = new Digest();
  readonly swarm: Swarm;
  readonly sizes: MapSizes;
  readonly cluster: Cluster;
  readonly nodes: readonly SimNode[];
  readonly traffic: Traffic;
  readonly faults: FaultOptions;
  violation: Violation | undefined;
  lines: number = 0;
  counts: { changes: number; faults: number; writes: number } = { changes: 0, faults: 0, writes: 0 };

  constructor(options: SimOptions) {
    this.options = options;
    const { seed, nodes, services } = options;
    const { clock, api } = this;
    const drawn = drawSwarm(streamOf(seed, STREAM.swarm));
    this.swarm = { ...swarmOf(options.mode ?? 'swarm', drawn), ...options.swarm };
    this.sizes = { ...sizesFor(services), ...options.sizes };
    const { swarm } = this;
    this.cluster = createCluster({ clock, stream: streamOf(seed, STREAM.cluster), swarm, api, nodes, services });
    const onBroken = (node: SimNode, broken: Broken): void => this.break(node.index, broken);
    const onLine = (node: SimNode | undefined, symbol: Symbol, object: string): void => this.line(node, symbol, object);
    this.nodes = Array.from({ length: nodes }, (_, index) => this.#createNode(index, onBroken, onLine));
    const shared = { clock, swarm, cluster: this.cluster, nodes: this.nodes, onLine };
    this.traffic = new Traffic({ ...shared, stream: streamOf(seed, STREAM.traffic), onBroken });
    this.faults = { ...shared, api, stream: streamOf(seed, STREAM.faults) };
  }

  #createNode(
    index: number,
    onBroken: (node: SimNode, broken: Broken) => void,
    onLine: (node: SimNode, symbol: Symbol, object: string) => void,
  ): SimNode {
    const { clock, swarm, api, sizes, digest } = this;
    const { seed, plant = {}, install = installModel } = this.options;
    const stream = streamOf(seed, STREAM.nodes, index);
    const selectionKey: readonly [number, number] = [(seed.words[0] ?? 0) >>> 0, 0x7a11];
    const onWrite = (node: SimNode): void => {
      this.counts.writes += 1;
      if (node.isReady && stream.chance(swarm.probeShare)) this.traffic.open(node, stream.pick(this.cluster.apps));
    };
    const shared = { clock, stream, swarm, api, sizes, selectionKey, plant, install, digest };
    return new SimNode({ ...shared, index, onBroken, onLine, onWrite });
  }

  break(node: number, { invariant, what }: Broken): void {
    this.violation ??= { invariant, what, node, atUs: this.clock.nowUs() };
  }

  line(node: SimNode | undefined, symbol: Symbol, object: string): void {
    const { onLine } = this.options;
    if (onLine === undefined) return;
    this.lines += 1;
    const { sets, deletes, words } = node?.store.counts ?? { sets: 0, deletes: 0, words: 0 };
    const phase = node?.phase ?? '';
    const { live, lost: broken } = node ?? { live: 0, lost: 0 };
    const index = node?.index ?? -1;
    const atUs = this.clock.nowUs();
    onLine(entryText({ atUs, node: index, symbol, object, phase, sets, deletes, words, live, broken }));
    if (node !== undefined) Object.assign(node.store.counts, { sets: 0, deletes: 0, words: 0 });
  }

  /** Does something again and again until a time, at exponential intervals. */
  repeat(meanUs: number, untilUs: number, action: () => void): void {
    const { clock } = this;
    const { stream } = this.faults;
    const next = (): void =>
      clock.after(exponential(stream, meanUs), () => {
        if (clock.nowUs() >= untilUs) return;
        action();
        next();
      });
    next();
  }
}

/** Runs a seed to its end, or to the first promise that is broken. */
export function simulate(options: SimOptions): SimReport {
  options.onPhase?.('start');
  const run = new Run(options);
  const { clock, swarm, traffic, counts } = run;
  const isDone = (): boolean => run.violation !== undefined;
  const endUs = START_US + options.seconds * 1e6;
  run.cluster.bootstrap();
  for (const node of run.nodes) node.start();
  clock.runUntil(START_US, isDone);
  options.onPhase?.('faults');
  run.repeat(swarm.meanBetweenConnectionsUs, endUs, () => traffic.openSomewhere());
  run.repeat(swarm.meanBetweenChangesUs, endUs, () => {
    if (change(run.faults)) counts.changes += 1;
  });
  run.repeat(swarm.meanBetweenFaultsUs, endUs, () => {
    if (strike(run.faults)) counts.faults += 1;
  });
  clock.runUntil(endUs, isDone);
  options.onPhase?.('quiet');
  heal(run.nodes);
  clock.runUntil(endUs + QUIET_US, isDone);
  options.onPhase?.('checks');
  if (!isDone()) checkQuiet(run);
  for (const node of run.nodes) node.end();
  return reportOf(run);
}

function checkQuiet(run: Run): void {
  const { api, cluster, nodes, traffic } = run;
  const isTight = run.options.sizes !== undefined;
  for (const node of nodes) {
    const fresh = freshMeaning(api, node.index, sizesFor(cluster.apps.length));
    const broken = checkConverged(node, fresh, isTight);
    if (broken !== undefined) return run.break(node.index, broken);
  }
  if (isTight) return;
  for (const [index, app] of cluster.apps.entries()) {
    const node = nodes[index % nodes.length];
    if (node === undefined || run.violation !== undefined) return;
    const broken = checkTraffic(cluster, traffic, node, app);
    if (broken !== undefined) return run.break(node.index, broken);
  }
}

function reportOf({ violation, clock, lines, counts, traffic, digest }: Run): SimReport {
  return {
    violation,
    isLiveness: violation !== undefined && isLiveness(violation),
    simulatedUs: clock.nowUs(),
    deeds: clock.deeds(),
    lines,
    ...counts,
    tally: traffic.counts(),
    datagrams: traffic.datagrams.tally,
    digest: digest.text,
  };
}
