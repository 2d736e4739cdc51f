// SPDX-License-Identifier: Apache-2.0
/** A client and a backend talk over the tap devices in packets of one shape; what is wrong with what leaves. */
import type { FrameState } from '../../kernel/tun.ts';
import type { Family } from '../lab/cluster.ts';
import { at, backend, client, empty, gateway, self, service, type Left, type Side, type TunRig } from './tunrig.ts';
import {
  ACK,
  ETHERNET,
  frameOf,
  headerBytes,
  icmpErrorOf,
  partialOf,
  placeText,
  SYN,
  type Endpoint,
  type FrameSpec,
  type Protocol,
} from './wire.ts';

/** How the packets of a conversation enter the kernel. */
export type Shape = {
  readonly name: string;
  readonly checksum: 'whole' | 'verified' | 'partial' | 'none';
  readonly payloadBytes: number;
  /** Payload of one segment of a GSO packet. */
  readonly segmentBytes?: number;
  /** Only so many bytes of the frame are linear, where it is longer than a page. */
  readonly linearBytes?: number;
  /** Where the frame is cut into fragments of pages. */
  readonly cutsAt?: readonly number[];
};

export const serverPorts: { readonly [protocol in Protocol]: { readonly service: number; readonly pod: number } } = {
  TCP: { service: 80, pod: 8080 },
  UDP: { service: 53, pod: 5353 },
};

function payloadOf(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, index) => (index * 7 + (index >> 8)) & 0xff);
}

type Message = Pick<FrameSpec, 'protocol' | 'from' | 'to' | 'flags' | 'payload' | 'timeToLive'>;

export class Talk {
  private readonly rig: TunRig;
  private readonly family: Family;
  private readonly protocol: Protocol;
  private readonly shape: Shape;
  private readonly own: Endpoint;
  /** What was wrong so far, one line each. */
  readonly faults: string[] = [];

  constructor(rig: TunRig, family: Family, protocol: Protocol, shape: Shape, port: number) {
    this.rig = rig;
    this.family = family;
    this.protocol = protocol;
    this.shape = shape;
    this.own = at(client, family, port);
    rig.drain();
  }

  private stateOf(spec: FrameSpec, shape: Shape): FrameState {
    const { checksum, linearBytes, cutsAt, segmentBytes, payloadBytes } = shape;
    const isCut = segmentBytes !== undefined && payloadBytes > segmentBytes;
    const kind = this.protocol === 'UDP' ? 'udp' : this.family === 'IPv4' ? 'tcp4' : 'tcp6';
    return {
      ...(checksum === 'partial' ? { partial: partialOf(spec) } : {}),
      ...(isCut ? { segments: { kind, sizeBytes: segmentBytes }, headerBytes: headerBytes(spec) } : {}),
      ...(linearBytes === undefined ? {} : { headerBytes: linearBytes }),
      ...(cutsAt === undefined ? {} : { cutsAt: cutsAt.filter((cut) => cut < frameOf(spec).length) }),
      ...(checksum === 'verified' ? { isVerified: true } : {}),
    };
  }

  private send(side: Side, message: Message, shape: Shape): void {
    const checksum = shape.checksum === 'verified' ? 'whole' : shape.checksum;
    const spec: FrameSpec = { ...message, checksum, ...this.rig.ethernet(side) };
    const sent = this.rig.tap(side).send(frameOf(spec), this.stateOf(spec, shape));
    if (!sent.ok) this.faults.push(`${side}: ${sent.error.object}: ${sent.error.message}`);
  }

  private judge(step: string, left: readonly Left[], from: Endpoint, to: Endpoint, payload: Uint8Array): void {
    const places = `${placeText(from)} to ${placeText(to)}`;
    if (left.length === 0) this.faults.push(`${step}: nothing came`);
    for (const one of left) {
      const found = `${one.source} to ${one.destination}`;
      if (found !== places) this.faults.push(`${step}: ${found} instead of ${places}`);
      if (one.wrong.length > 0) this.faults.push(`${step}: wrong checksum of ${one.wrong.join(' and ')}`);
      if (one.isPartial || one.isGso) this.faults.push(`${step}: left to a device that can't`);
    }
    const whole = Buffer.concat(left.map((one) => one.payload));
    if (!whole.equals(payload)) this.faults.push(`${step}: ${whole.length} bytes of ${payload.length}, or others`);
  }

  /** One packet across the node, from one side to the other. */
  private async cross(
    step: string,
    into: Side,
    message: Message,
    expected: readonly [Endpoint, Endpoint],
    shape: Shape,
    out: Side = into === 'pod' ? 'out' : 'pod',
  ): Promise<readonly Left[]> {
    const { segmentBytes = Infinity } = shape;
    const payload = message.payload ?? new Uint8Array();
    this.send(into, message, shape);
    const left = await this.rig.leaving(out, Math.max(1, Math.ceil(payload.length / segmentBytes)));
    this.judge(step, left, expected[0], expected[1], payload);
    return left;
  }

  /** Asks the Service and is answered; in TCP behind a handshake of plain packets. */
  async whole(): Promise<readonly string[]> {
    const { family, protocol, shape, own } = this;
    const [front, pod] = [serverPorts[protocol].service, serverPorts[protocol].pod];
    const [asked, real] = [at(service, family, front), at(backend, family, pod)];
    const plain: Shape = { name: 'plain', checksum: 'whole', payloadBytes: 0 };
    const there = { protocol, from: own, to: asked };
    const back = { protocol, from: real, to: own };
    if (protocol === 'TCP') {
      await this.cross('SYN', 'pod', there, [own, real], plain);
      await this.cross('SYN-ACK', 'out', { ...back, flags: SYN | ACK }, [asked, own], plain);
    }
    const payload = payloadOf(shape.payloadBytes);
    await this.cross('forward', 'pod', { ...there, flags: ACK, payload }, [own, real], shape);
    await this.cross('reply', 'out', { ...back, flags: ACK, payload }, [asked, own], shape);
    return this.faults;
  }

  /** The client is its own backend: what it sends comes back to it, past the node's stack, one hop older. */
  async hairpin(): Promise<readonly string[]> {
    const { family, protocol, shape, own } = this;
    const { service: front, pod } = serverPorts[protocol];
    const [asked, real] = [at(self, family, front), at(client, family, pod)];
    const asNode = at(gateway.pod, family, own.port);
    const there = { protocol, from: own, to: asked };
    const back = { protocol, from: real, to: asNode, flags: ACK };
    if (protocol === 'TCP') {
      const plain: Shape = { name: 'plain', checksum: 'whole', payloadBytes: 0 };
      await this.cross('SYN', 'pod', there, [asNode, real], plain, 'pod');
      await this.cross('SYN-ACK', 'pod', { ...back, flags: SYN | ACK }, [asked, own], plain, 'pod');
    }
    const payload = payloadOf(shape.payloadBytes);
    const left = [
      ...(await this.cross('forward', 'pod', { ...there, flags: ACK, payload }, [asNode, real], shape, 'pod')),
      ...(await this.cross('reply', 'pod', { ...back, payload }, [asked, own], shape, 'pod')),
    ];
    if (left.some(({ timeToLive }) => timeToLive !== 63)) this.faults.push('hairpin: not one hop older');
    return this.faults;
  }

  /** The same with a packet that may go no further; the error must come back. */
  async hairpinExpired(): Promise<readonly string[]> {
    const { family, protocol, shape, own } = this;
    const asked = at(self, family, serverPorts[protocol].service);
    this.send('pod', { protocol, from: own, to: asked, payload: payloadOf(shape.payloadBytes), timeToLive: 1 }, shape);
    const [answer] = await this.rig.leaving('pod');
    const kind = family === 'IPv4' ? 0x0b00 : 0x0300;
    if (answer?.sequence !== kind) this.faults.push(`expired: ${answer?.protocol ?? 'nothing'} came`);
    const wrong = [...(answer?.wrong ?? []), ...(answer?.quote?.wrong ?? [])];
    if (wrong.length > 0) this.faults.push(`expired: wrong checksum of ${wrong.join(' and ')}`);
    return this.faults;
  }

  /** Asks a Service without endpoints; an ICMP error must come back. */
  async refused(): Promise<readonly string[]> {
    const { family, protocol, shape, own } = this;
    const asked = at(empty, family, serverPorts[protocol].service);
    this.send('pod', { protocol, from: own, to: asked, payload: payloadOf(shape.payloadBytes) }, shape);
    const [answer] = await this.rig.leaving('pod');
    if (answer === undefined) return ['refusal: nothing came'];
    const told = `${answer.source} to ${answer.destination}`;
    const [left, right] = [placeText({ ...asked, port: 0 }), placeText({ ...own, port: 0 })].map((text) =>
      text.replace(/:0$/, ''),
    );
    if (told !== `${left} to ${right}`) this.faults.push(`refusal: ${told}`);
    const kind = family === 'IPv4' ? 0x0303 : 0x0104;
    if (answer.protocol !== 'ICMP' || answer.sequence !== kind) this.faults.push('refusal: not port unreachable');
    if (answer.wrong.length > 0) this.faults.push(`refusal: wrong checksum of ${answer.wrong.join(' and ')}`);
    const { quote } = answer;
    const quoted = `${quote?.source} to ${quote?.destination}`;
    if (quoted !== `${placeText(own)} to ${placeText(asked)}`) this.faults.push(`refusal: quotes ${quoted}`);
    if ((quote?.wrong.length ?? 1) > 0) this.faults.push(`refusal: quotes a wrong checksum of ${quote?.wrong.join()}`);
    return this.faults;
  }

  /** The backend answers with "port unreachable", which quotes what it got; the client must see its own packet. */
  async unreachable(): Promise<readonly string[]> {
    const { family, protocol, shape, own } = this;
    const [asked, real] = [
      at(service, family, serverPorts[protocol].service),
      at(backend, family, serverPorts[protocol].pod),
    ];
    const plain: Shape = { name: 'plain', checksum: 'whole', payloadBytes: 20 };
    const message = { protocol, from: own, to: asked, payload: payloadOf(20) };
    const [got] = await this.cross('forward', 'pod', message, [own, real], plain);
    if (got === undefined) return this.faults;
    const error = icmpErrorOf(backend[family], client[family], got.bytes.subarray(ETHERNET), this.rig.ethernet('out'));
    const { cutsAt, linearBytes } = shape;
    const sent = this.rig.tap('out').send(error, {
      ...(cutsAt === undefined ? {} : { cutsAt }),
      ...(linearBytes === undefined ? {} : { headerBytes: linearBytes }),
    });
    if (!sent.ok) this.faults.push(sent.error.message);
    const [answer] = await this.rig.leaving('pod');
    const quote = answer?.quote;
    const quoted = `${quote?.source} to ${quote?.destination}`;
    if (quoted !== `${placeText(own)} to ${placeText(asked)}`) this.faults.push(`error: quotes ${quoted}`);
    const wrong = [...(answer?.wrong ?? ['all']), ...(quote?.wrong ?? [])];
    if (wrong.length > 0) this.faults.push(`error: wrong checksum of ${wrong.join(' and ')}`);
    if (answer?.source !== placeText({ ...asked, port: 0 }).replace(/:0$/, '')) {
      this.faults.push(`error: from ${answer?.source}`);
    }
    return this.faults;
  }

  /** The client refuses what it got with "port unreachable", which quotes it; the backend must see its own packet. */
  async clientUnreachable(): Promise<readonly string[]> {
    const { family, protocol, own } = this;
    const { service: front, pod } = serverPorts[protocol];
    const [asked, real] = [at(service, family, front), at(backend, family, pod)];
    const plain: Shape = { name: 'plain', checksum: 'whole', payloadBytes: 20 };
    const payload = payloadOf(20);
    await this.cross('forward', 'pod', { protocol, from: own, to: asked, payload }, [own, real], plain);
    const back = { protocol, from: real, to: own, flags: SYN | ACK, payload };
    const [got] = await this.cross('reply', 'out', back, [asked, own], plain);
    if (got === undefined) return this.faults;
    const error = icmpErrorOf(client[family], service[family], got.bytes.subarray(ETHERNET), this.rig.ethernet('pod'));
    const sent = this.rig.tap('pod').send(error);
    if (!sent.ok) this.faults.push(sent.error.message);
    const [answer] = await this.rig.leaving('out');
    const quote = answer?.quote;
    const quoted = `${quote?.source} to ${quote?.destination}`;
    if (quoted !== `${placeText(real)} to ${placeText(own)}`) this.faults.push(`error: quotes ${quoted}`);
    const wrong = [...(answer?.wrong ?? ['all']), ...(quote?.wrong ?? [])];
    if (wrong.length > 0) this.faults.push(`error: wrong checksum of ${wrong.join(' and ')}`);
    if (answer?.destination !== placeText({ ...real, port: 0 }).replace(/:0$/, '')) {
      this.faults.push(`error: to ${answer?.destination}`);
    }
    return this.faults;
  }
}
