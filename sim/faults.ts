// SPDX-License-Identifier: Apache-2.0
/** What befalls the cluster and its nodes, drawn by the weights of the run until it is to be quiet. */
import type { Stream } from '../core/random.ts';
import type { Api } from './api.ts';
import type { Clock } from './clock.ts';
import type { App, Cluster } from './cluster.ts';
import type { SimNode } from './node.ts';
import { exponential } from './seed.ts';
import { changeKinds, faultKinds, pickByWeight, type ChangeKind, type FaultKind, type Swarm } from './swarm.ts';
import type { Symbol } from './transcript.ts';

export type FaultOptions = {
  readonly clock: Clock;
  readonly stream: Stream;
  readonly swarm: Swarm;
  readonly api: Api;
  readonly cluster: Cluster;
  readonly nodes: readonly SimNode[];
  readonly onLine: (node: SimNode | undefined, symbol: Symbol, object: string) => void;
};

const AWAY_US = 10e6;
/** A clock on the wall is set forwards or back by up to ten days, in steps of a quarter of an hour. */
const JUMP_US = 900e6;
const JUMP_STEPS = 960;
const CHANGES_BEHIND = 60;
const CLOG_US = 5e6;
const WRITES = 30;
const REPLICAS = 7;

/** One fault, on some node; whether there was one. */
export function strike(options: FaultOptions): boolean {
  const { stream, swarm, nodes, onLine } = options;
  const kind = pickByWeight(stream, faultKinds, swarm.faults);
  const node = stream.pick(nodes);
  if (kind === undefined || !node.isUp) return false;
  onLine(node, 'fault', kind);
  befall(options, kind, node);
  return true;
}

function befall({ clock, stream, swarm, cluster, api, nodes }: FaultOptions, kind: FaultKind, node: SimNode): void {
  switch (kind) {
    case 'watch-stall':
      return stream.pick(node.watches).stall(exponential(stream, swarm.stallUs));
    case 'watch-end':
      return stream.pick(node.watches).end();
    case 'watch-gone':
      api.compact();
      return stream.pick(node.watches).end();
    case 'watch-silent':
      return stream.pick(node.watches).goSilent();
    case 'old-list':
      return stream.pick(node.watches).listBehind(1 + stream.below(CHANGES_BEHIND));
    case 'clock-jump':
      node.wallOffsetUs += (stream.below(2 * JUMP_STEPS) - JUMP_STEPS) * JUMP_US;
      return;
    case 'swizzle':
      return swizzle({ clock, stream, nodes });
    case 'foreign-row':
      return node.leaveForeignRow();
    case 'second-writer':
      return node.startSecondWriter();
    case 'old-layout':
      return node.findOldLayout();
    case 'write-fails':
      node.store.failAfter = stream.below(WRITES);
      node.store.failWith = stream.pick(['full', 'no-memory']);
      return;
    case 'crash-in-write':
      node.store.crashAfter = stream.below(WRITES);
      return;
    case 'agent-restart':
      return node.restart('restart');
    case 'resync':
      return node.resync();
    case 'node-reboot':
      node.lose();
      return clock.after(stream.below(AWAY_US), () => node.regain());
    case 'node-loss':
      node.lose();
      cluster.loseNode(node.index);
      return clock.after(stream.below(AWAY_US), () => {
        cluster.regainNode(node.index);
        node.regain();
      });
  }
}

/** Stops some watches one by one, and lets them go on one by one in another order. */
function swizzle({ clock, stream, nodes }: Pick<FaultOptions, 'clock' | 'stream' | 'nodes'>): void {
  const chosen = nodes.flatMap(({ watches }) => watches).filter(() => stream.chance(0.3));
  let atUs = 0;
  for (const watch of chosen) clock.after((atUs += stream.below(CLOG_US)), () => watch.stall(Number.POSITIVE_INFINITY));
  const order = chosen.map((watch) => [stream.word(), watch] as const).toSorted(([left], [right]) => left - right);
  for (const [, watch] of order) clock.after((atUs += stream.below(CLOG_US)), () => watch.heal());
}

/** One change of what is wanted, or of the pods; whether there was one. */
export function change(options: FaultOptions): boolean {
  const { stream, swarm, cluster, onLine } = options;
  const kind = pickByWeight(stream, changeKinds, swarm.changes);
  if (kind === undefined) return false;
  const app = stream.pick(cluster.apps);
  if (app.exists === (kind === 'service-create')) return false;
  onLine(undefined, 'change', `${kind} ${app.name}`);
  alter(options, kind, app);
  return true;
}

function alter({ stream, cluster }: FaultOptions, kind: ChangeKind, app: App): void {
  switch (kind) {
    case 'scale':
      return cluster.scale(app, stream.below(REPLICAS));
    case 'rollout':
      return cluster.rollout(app);
    case 'pod-crash':
      return cluster.crashPod(app);
    case 'flap':
      return cluster.flap(app);
    case 'service-delete':
      return cluster.remove(app);
    case 'service-create':
      return cluster.create(app);
  }
}

/** Faults are over: watches go on, writes succeed. What has begun comes to its end. */
export function heal(nodes: readonly SimNode[]): void {
  for (const node of nodes) {
    for (const watch of node.watches) watch.heal();
    node.store.failAfter = Number.POSITIVE_INFINITY;
    node.store.crashAfter = Number.POSITIVE_INFINITY;
  }
}
