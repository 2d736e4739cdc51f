// SPDX-License-Identifier: Apache-2.0
/** What lies between clients and pods: the node's datapath both ways, judged packet by packet, and a network that loses. */
import { VERDICT_DROP, VERDICT_FORWARD, VERDICT_REPLY } from '../core/layout.gen.ts';
import type { Stream } from '../core/random.ts';
import { checkAnyPacket, checkOpening, type Kept, translated, type Broken } from './checkers.ts';
import type { Clock } from './clock.ts';
import { answers, type Cluster, type Pod } from './cluster.ts';
import { frameOf, type Segment } from './frame.ts';
import type { SimNode } from './node.ts';
import { exponential } from './seed.ts';
import type { Swarm } from './swarm.ts';
import type { Symbol } from './transcript.ts';

export type WireOptions = {
  readonly clock: Clock;
  readonly stream: Stream;
  readonly swarm: Swarm;
  readonly cluster: Cluster;
  readonly nodes: readonly SimNode[];
  readonly onBroken: (node: SimNode, broken: Broken) => void;
  readonly onLine: (node: SimNode, symbol: Symbol, object: string) => void;
};

/** One end of something that a client opens. */
export type Socket = { readonly source: number; readonly sourcePort: number };

/** Pods of one node that are clients, and their ephemeral ports. */
const CLIENTS = 4;
const FIRST_PORT = 1024;
const PORTS = 64512;

export class Wire {
  readonly options: WireOptions;
  packets: number = 0;
  readonly #ports: number[];

  constructor(options: WireOptions) {
    this.options = options;
    this.#ports = options.nodes.map(() => 0);
  }

  /** A port that was not used for long. */
  socket(node: SimNode): Socket {
    const used = this.#ports[node.index] ?? 0;
    this.#ports[node.index] = used + 1;
    const source = 0x0a400001 + node.index * 256 + (used % CLIENTS);
    return { source, sourcePort: FIRST_PORT + (Math.floor(used / CLIENTS) % PORTS) };
  }

  /** A client's packet through its node: what leaves for a pod, undefined where nothing does. */
  out(node: SimNode, sent: Segment, isJudged: boolean, kept?: Kept): Segment | undefined {
    const { onBroken } = this.options;
    const frame = frameOf(sent);
    const outcome = node.packet('from-pod', frame);
    this.packets += 1;
    const wrong = checkAnyPacket(frame, outcome);
    if (wrong !== undefined) onBroken(node, wrong);
    let now: Segment | undefined;
    if (outcome.verdict === VERDICT_FORWARD) {
      const result = translated(sent, outcome);
      if ('invariant' in result) onBroken(node, result);
      else now = result;
    }
    const judged = isJudged ? checkOpening(sent, outcome, now, (question) => node.judge(question), kept) : undefined;
    if (judged !== undefined) onBroken(node, judged);
    return now;
  }

  /** Over the network to whoever has the address by then and listens. */
  toPod(segment: Segment, arrive: (pod: Pod) => void): void {
    const { clock, stream, swarm, cluster } = this.options;
    if (stream.chance(swarm.lossShare)) return;
    clock.after(exponential(stream, swarm.networkDelayUs), () => {
      const pod = cluster.podAt(segment.destination);
      if (pod !== undefined && answers(pod)) arrive(pod);
    });
  }

  /** A pod's answer through the client's node. `isWaiting`: whether the client is still there when it arrives. */
  toClient(node: SimNode, segment: Segment, isWaiting: () => boolean, arrive: (got: Segment) => void): void {
    const { clock, stream, swarm, onBroken } = this.options;
    if (stream.chance(swarm.lossShare)) return;
    clock.after(exponential(stream, swarm.networkDelayUs), () => {
      if (!isWaiting()) return;
      const frame = frameOf(segment);
      const outcome = node.packet('to-pod', frame);
      this.packets += 1;
      const wrong = checkAnyPacket(frame, outcome);
      if (wrong !== undefined) onBroken(node, wrong);
      if (outcome.verdict === VERDICT_DROP) return;
      const got = outcome.verdict === VERDICT_REPLY ? translated(segment, outcome) : segment;
      if ('invariant' in got) onBroken(node, got);
      else arrive(got);
    });
  }
}
