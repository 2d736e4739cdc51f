// SPDX-License-Identifier: Apache-2.0
/** Ethernet frames of one TCP segment over IPv4, made and varied in place. */
import { FIRST_SERVICE, SERVICE_PORT } from './cluster.ts';

export const FIN = 1;
export const SYN = 2;
export const ACK = 16;

const FIRST_CLIENT = 0x0a010001; // 10.1.0.1
const FIRST_PORT = 1024;
/** Ports of one client address; flow number n has address n >> 15 and port n & 0x7fff, as bench/floor.bpf.c walks. */
const PORTS = 15;

/** Addresses as 32-bit words, ports as people write them. */
export type Segment = {
  readonly source: number;
  readonly sourcePort: number;
  readonly destination: number;
  readonly destinationPort: number;
  readonly flags: number;
  readonly acknowledgement?: number;
};

/** A frame of `length` bytes; checksums are left at zero: rewriting them does not depend on their value. */
export function frameOf(segment: Segment, length = 100): Uint8Array {
  const frame = new Uint8Array(length);
  const view = new DataView(frame.buffer);
  view.setUint16(12, 0x0800);
  frame[14] = 0x45;
  view.setUint16(16, length - 14);
  view.setUint16(20, 0x4000);
  frame[22] = 64;
  frame[23] = 6;
  view.setUint32(26, segment.source);
  view.setUint32(30, segment.destination);
  view.setUint16(34, segment.sourcePort);
  view.setUint16(36, segment.destinationPort);
  view.setUint32(42, segment.acknowledgement ?? 0);
  frame[46] = 0x50;
  frame[47] = segment.flags;
  return frame;
}

/** The client's packet of flow 0 to the first Service. */
export function clientFrame(flags: number): Uint8Array {
  const [source, sourcePort] = clientOf(0);
  return frameOf({
    source,
    sourcePort,
    destination: FIRST_SERVICE,
    destinationPort: SERVICE_PORT,
    flags,
    acknowledgement: flags === ACK ? 1 : 0,
  });
}

/** Address word and port of the client of a flow. */
export function clientOf(flow: number): readonly [number, number] {
  return [FIRST_CLIENT + (flow >>> PORTS), FIRST_PORT + (flow & ((1 << PORTS) - 1))];
}

/** Writes the client of a flow, and the Service it talks to, into a client's frame. */
export function vary(view: DataView, flow: number, services: number): void {
  view.setUint32(26, FIRST_CLIENT + (flow >>> PORTS));
  view.setUint16(34, FIRST_PORT + (flow & ((1 << PORTS) - 1)));
  view.setUint32(30, FIRST_SERVICE + (flow % services));
}

/** The answer to a frame as it came out of the datapath: addresses and ports turned around. */
export function answerTo(frame: Uint8Array, length: number, flags: number): Uint8Array {
  const answer = new Uint8Array(length); // not slice: a Buffer's shares its memory
  answer.set(frame.subarray(0, length));
  answer.copyWithin(26, 30, 34);
  answer.set(frame.subarray(26, 30), 30);
  answer.copyWithin(34, 36, 38);
  answer.set(frame.subarray(34, 36), 36);
  answer[47] = flags;
  new DataView(answer.buffer).setUint32(38, 0);
  return answer;
}
