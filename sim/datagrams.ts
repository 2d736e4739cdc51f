// SPDX-License-Identifier: Apache-2.0
/** Clients that send datagrams: requests with answers, sent again when none comes, and streams that nobody answers. */
import { VERDICT_REFUSE } from '../core/layout.gen.ts';
import { checkReply, checkSteady } from './checkers.ts';
import type { App, AppPort, Pod } from './cluster.ts';
import type { Segment } from './frame.ts';
import type { SimNode } from './node.ts';
import { exponential } from './seed.ts';
import type { Socket, Wire } from './wire.ts';

/** Conversations by what became of them. */
export type DatagramTally = { begun: number; finished: number; refused: number; unanswered: number; moved: number };

type Conversation = Socket & {
  readonly node: SimNode;
  readonly boot: number;
  readonly target: { readonly address: number; readonly port: number };
  readonly isIPv6: boolean;
  readonly isOneWay: boolean;
  /** Where the last datagram went; 0: nowhere yet. */
  backend: number;
  backendPort: number;
  sentAtUs: number;
  left: number;
  sequence: number;
  tries: number;
  timer: number;
  isOver: boolean;
};

const TIMEOUT_US = 1e6;
const TRIES = 4;
const PAYLOAD = 16;
const LEFT = 12;
/** A stream goes faster than people think. */
const STREAM_SHARE = 0.1;

export class Datagrams {
  readonly tally: DatagramTally = { begun: 0, finished: 0, refused: 0, unanswered: 0, moved: 0 };
  readonly #wire: Wire;

  constructor(wire: Wire) {
    this.#wire = wire;
  }

  open(node: SimNode, app: App, { port }: AppPort): void {
    const { stream } = this.#wire.options;
    this.tally.begun += 1;
    node.live += 1;
    this.#send({
      node,
      boot: node.boot,
      ...this.#wire.socket(node),
      target: { address: app.clusterIP, port },
      isIPv6: stream.pick(app.families) === 'IPv6',
      isOneWay: stream.chance(0.3),
      backend: 0,
      backendPort: 0,
      sentAtUs: 0,
      left: 1 + stream.below(LEFT),
      sequence: stream.word(),
      tries: 0,
      timer: 0,
      isOver: false,
    });
  }

  #send(it: Conversation): void {
    const { node } = it;
    const { clock, onBroken } = this.#wire.options;
    if (it.boot !== node.boot) return this.#end(it, 'unanswered');
    const kept = it.backend === 0 ? undefined : { address: it.backend, port: it.backendPort };
    const now = this.#wire.out(node, datagramOf(it), true, kept);
    if (node.outcome.verdict === VERDICT_REFUSE) return this.#end(it, 'refused');
    if (now !== undefined) {
      if (it.backend !== 0 && it.backend !== now.destination) {
        this.tally.moved += 1;
        const moved = checkSteady(datagramOf(it), it.backend, now, clock.nowUs() - it.sentAtUs, node);
        if (moved !== undefined) onBroken(node, moved);
      }
      it.backend = now.destination;
      it.backendPort = now.destinationPort;
      it.sentAtUs = clock.nowUs();
      this.#wire.toPod(now, (pod) => this.#arrived(it, now, pod));
    }
    if (it.isOneWay) this.#next(it, STREAM_SHARE);
    else this.#expect(it);
  }

  #arrived(it: Conversation, heard: Segment, { address }: Pod): void {
    if (it.isOneWay) return;
    const answer: Segment = {
      ...heard,
      source: address,
      sourcePort: heard.destinationPort,
      destination: heard.source,
      destinationPort: heard.sourcePort,
    };
    const isWaiting = (): boolean => !it.isOver && it.boot === it.node.boot;
    this.#wire.toClient(it.node, answer, isWaiting, (got) => this.#answered(it, got, address));
  }

  /** An answer of a backend that was left meanwhile may come under its own address: the client doesn't take it. */
  #answered(it: Conversation, got: Segment, backend: number): void {
    if (backend !== it.backend) return;
    const elsewhere = checkReply(it.target, got);
    if (elsewhere !== undefined) return this.#wire.options.onBroken(it.node, elsewhere);
    if (got.sequence === it.sequence) this.#next(it, 1);
  }

  #next(it: Conversation, share: number): void {
    const { clock, stream, swarm } = this.#wire.options;
    it.timer += 1;
    it.tries = 0;
    it.sequence = (it.sequence + 1) >>> 0;
    it.left -= 1;
    if (it.left <= 0) return this.#end(it, 'finished');
    const { timer } = it;
    clock.after(exponential(stream, swarm.thinkUs * share), () => {
      if (it.timer === timer && !it.isOver) this.#send(it);
    });
  }

  #expect(it: Conversation): void {
    it.timer += 1;
    const { timer } = it;
    this.#wire.options.clock.after(TIMEOUT_US * 2 ** it.tries, () => {
      if (it.timer !== timer || it.isOver) return;
      it.tries += 1;
      if (it.tries < TRIES) this.#send(it);
      else this.#end(it, 'unanswered');
    });
  }

  #end(it: Conversation, how: 'finished' | 'refused' | 'unanswered'): void {
    it.isOver = true;
    this.tally[how] += 1;
    it.node.live -= 1;
    if (how !== 'finished') this.#wire.options.onLine(it.node, 'flow', `udp ${how} ${it.sourcePort}`);
  }
}

function datagramOf({ isIPv6, source, sourcePort, target, sequence }: Conversation): Segment {
  return {
    isIPv6,
    isUDP: true,
    source,
    destination: target.address,
    sourcePort,
    destinationPort: target.port,
    flags: 0,
    sequence,
    acknowledgement: 0,
    payloadLength: PAYLOAD,
  };
}
