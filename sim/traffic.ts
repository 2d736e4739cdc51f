// SPDX-License-Identifier: Apache-2.0
/** Clients that open TCP connections, wait, and send again what got lost; every packet goes through their node. */
import { VERDICT_PASS, VERDICT_REFUSE } from '../core/layout.gen.ts';
import { checkKept, checkReply } from './checkers.ts';
import type { App, AppPort } from './cluster.ts';
import { Datagrams } from './datagrams.ts';
import { ACK, FIN, PSH, RST, SYN, type Segment } from './frame.ts';
import type { SimNode } from './node.ts';
import { exponential } from './seed.ts';
import { Wire, type WireOptions } from './wire.ts';

/** Connections by what became of them. */
export type Tally = {
  packets: number;
  opened: number;
  completed: number;
  refused: number;
  /** Never established. */
  failed: number;
  /** Established, then without an answer. */
  broken: number;
};

type Connection = {
  readonly node: SimNode;
  readonly boot: number;
  readonly source: number;
  readonly sourcePort: number;
  /** What the client connects to: a Service, or a pod itself. */
  readonly target: { readonly address: number; readonly port: number };
  readonly isDirect: boolean;
  readonly isIPv6: boolean;
  phase: 'opening' | 'open' | 'closing' | 'over';
  backend: number;
  pod: number;
  rounds: number;
  sequence: number;
  acknowledgement: number;
  tries: number;
  timer: number;
};

const TIMEOUT_US = 1e6;
const TRIES = 4;
const PAYLOAD = 16;
const ROUNDS = 4;

export class Traffic {
  readonly tally: Tally = { packets: 0, opened: 0, completed: 0, refused: 0, failed: 0, broken: 0 };
  readonly datagrams: Datagrams;
  readonly #options: WireOptions;
  readonly #wire: Wire;

  constructor(options: WireOptions) {
    this.#options = options;
    this.#wire = new Wire(options);
    this.datagrams = new Datagrams(this.#wire);
  }

  /** What became of everything so far. */
  counts(): Tally {
    return { ...this.tally, packets: this.#wire.packets };
  }

  /** A connection from some node to some Service, or to one of its pods. */
  openSomewhere(): void {
    const { stream, nodes, cluster } = this.#options;
    const node = stream.pick(nodes);
    this.open(node, stream.pick(cluster.apps));
  }

  open(node: SimNode, app: App): void {
    if (!node.isReady) return;
    const { stream, swarm } = this.#options;
    const asked = stream.pick(app.ports);
    if (asked.protocol === 'UDP') return this.datagrams.open(node, app, asked);
    const isDirect = stream.chance(swarm.directShare);
    const { port, target } = asked;
    const pod = isDirect && app.pods.length > 0 ? stream.pick(app.pods) : undefined;
    const connection: Connection = {
      node,
      boot: node.boot,
      ...this.#wire.socket(node),
      target: pod === undefined ? { address: app.clusterIP, port } : { address: pod.address, port: target },
      isDirect: pod !== undefined,
      isIPv6: stream.pick(app.families) === 'IPv6',
      phase: 'opening',
      backend: 0,
      pod: 0,
      rounds: 1 + stream.below(ROUNDS),
      sequence: stream.word(),
      acknowledgement: 0,
      tries: 0,
      timer: 0,
    };
    this.tally.opened += 1;
    node.live += 1;
    this.#send(connection, SYN);
  }

  /** One SYN, or one datagram, without a client that waits; the backend it was sent to, 0: none. */
  probe(node: SimNode, address: number, { port, protocol }: AppPort, isIPv6: boolean): number {
    const isUDP = protocol === 'UDP';
    const { source, sourcePort } = this.#wire.socket(node);
    const ends = { isIPv6, isUDP, source, sourcePort, destination: address, destinationPort: port };
    const flags = isUDP ? 0 : SYN;
    const sent: Segment = { ...ends, flags, sequence: 1, acknowledgement: 0, payloadLength: isUDP ? PAYLOAD : 0 };
    return this.#wire.out(node, sent, true)?.destination ?? 0;
  }

  #send(it: Connection, flags: number): void {
    const { node } = it;
    if (it.boot !== node.boot) return this.#end(it, 'failed');
    const sent = segmentFor(it, flags);
    const isOpening = flags === SYN;
    const now = this.#wire.out(node, sent, isOpening);
    const { verdict } = node.outcome;
    if (it.isDirect && verdict === VERDICT_PASS) this.#toPod(it, sent);
    if (!it.isDirect && !isOpening && verdict !== VERDICT_REFUSE) {
      const moved = it.phase === 'opening' ? undefined : checkKept(it.backend, node.outcome, now);
      if (moved !== undefined) this.#options.onBroken(node, moved);
    }
    if (now !== undefined) {
      if (isOpening) it.backend = now.destination;
      this.#toPod(it, now);
    }
    if (verdict === VERDICT_REFUSE) return this.#end(it, 'refused');
    if (flags !== ACK) this.#expect(it, flags);
  }

  #expect(it: Connection, flags: number): void {
    it.timer += 1;
    const { timer } = it;
    this.#options.clock.after(TIMEOUT_US * 2 ** it.tries, () => {
      if (it.timer !== timer || it.phase === 'over') return;
      it.tries += 1;
      if (it.tries < TRIES) this.#send(it, flags);
      else this.#end(it, it.phase === 'opening' ? 'failed' : 'broken');
    });
  }

  #toPod(it: Connection, segment: Segment): void {
    this.#wire.toPod(segment, (pod) => {
      if (it.phase === 'over') return;
      if ((segment.flags & SYN) !== 0) it.pod = pod.id;
      const flags = answerFlags(segment.flags, it.pod === pod.id);
      if (flags !== 0) this.#toClient(it, answerOf(segment, flags));
    });
  }

  #toClient(it: Connection, segment: Segment): void {
    const isWaiting = (): boolean => it.boot === it.node.boot && it.phase !== 'over';
    this.#wire.toClient(it.node, segment, isWaiting, (got) => {
      const elsewhere = checkReply(it.target, got);
      if (elsewhere !== undefined) this.#options.onBroken(it.node, elsewhere);
      this.#answered(it, got);
    });
  }

  #answered(it: Connection, { flags, sequence }: Segment): void {
    const { clock, stream, swarm } = this.#options;
    if ((flags & RST) !== 0) return this.#end(it, it.phase === 'opening' ? 'failed' : 'broken');
    if ((flags & SYN) !== 0 && it.phase === 'opening') {
      it.phase = 'open';
      it.tries = 0;
      it.sequence = (it.sequence + 1) >>> 0;
      it.acknowledgement = (sequence + 1) >>> 0;
      this.#send(it, ACK);
      if (it.phase === 'open') this.#send(it, PSH | ACK);
    } else if ((flags & FIN) !== 0 && it.phase === 'closing') {
      it.sequence = (it.sequence + 1) >>> 0;
      it.acknowledgement = (sequence + 1) >>> 0;
      this.#send(it, ACK);
      this.#end(it, 'completed');
    } else if ((flags & PSH) !== 0 && it.phase === 'open' && sequence === it.acknowledgement) {
      it.timer += 1;
      it.tries = 0;
      it.sequence = (it.sequence + PAYLOAD) >>> 0;
      it.acknowledgement = (sequence + PAYLOAD) >>> 0;
      it.rounds -= 1;
      const { timer } = it;
      clock.after(exponential(stream, swarm.thinkUs), () => {
        if (it.timer !== timer || it.phase !== 'open') return;
        if (it.rounds <= 0) it.phase = 'closing';
        this.#send(it, it.rounds > 0 ? PSH | ACK : FIN | ACK);
      });
    }
  }

  #end(it: Connection, how: 'completed' | 'refused' | 'failed' | 'broken'): void {
    if (it.phase === 'over') return;
    it.phase = 'over';
    this.tally[how] += 1;
    it.node.live -= 1;
    if (how === 'broken') it.node.lost += 1;
    if (how !== 'completed') this.#options.onLine(it.node, 'flow', `${how} ${it.sourcePort}`);
  }
}

function segmentFor(it: Connection, flags: number): Segment {
  return {
    isIPv6: it.isIPv6,
    isUDP: false,
    source: it.source,
    destination: it.target.address,
    sourcePort: it.sourcePort,
    destinationPort: it.target.port,
    flags,
    sequence: it.sequence,
    acknowledgement: it.acknowledgement,
    payloadLength: (flags & PSH) === 0 ? 0 : PAYLOAD,
  };
}

/** What a server says to a segment; 0: nothing. One that knows nothing of the connection resets it. */
function answerFlags(flags: number, isKnown: boolean): number {
  if ((flags & RST) !== 0) return 0;
  if (!isKnown) return RST;
  if ((flags & SYN) !== 0) return SYN | ACK;
  if ((flags & FIN) !== 0) return FIN | ACK;
  return (flags & PSH) === 0 ? 0 : PSH | ACK;
}

/** Servers count from the client's number, so that they need no memory. */
function answerOf(it: Segment, flags: number): Segment {
  const length = it.payloadLength + ((it.flags & (SYN | FIN)) === 0 ? 0 : 1);
  const isFirst = (flags & SYN) !== 0;
  return {
    isIPv6: it.isIPv6,
    isUDP: it.isUDP,
    source: it.destination,
    destination: it.source,
    sourcePort: it.destinationPort,
    destinationPort: it.sourcePort,
    flags,
    sequence: isFirst ? (it.sequence ^ 0x5bd1e995) >>> 0 : it.acknowledgement,
    acknowledgement: (it.sequence + length) >>> 0,
    payloadLength: (flags & PSH) === 0 ? 0 : PAYLOAD,
  };
}
