// SPDX-License-Identifier: Apache-2.0
/** A recording of a busy node, made in memory: `tcpdump -i any` of pods that talk to the Services of bench/cluster.ts. */
import { addressFromIPv4, addressText, parsePrefix } from '../core/address.ts';
import { assert } from '../core/result.ts';
import type { InputStream } from '../formats/input.ts';
import { LINK_LINUX_COOKED_V2 } from '../formats/link.ts';
import type { Device, NodeFacts } from '../formats/node.ts';
import { memoryOutput } from '../formats/output.ts';
import { createPcapngWriter } from '../formats/pcapngwriter.ts';
import { BACKEND_PORT, FIRST_BACKEND, FIRST_SERVICE, SERVICE_PORT } from './cluster.ts';

const FIRST_CLIENT = 0x0a010001; // 10.1.0.1
const CLIENTS = 64;
const FIRST_PORT = 1024;
const UPLINK = 2;
const FIRST_POD = 10;
/** First moment of the frames, seconds since 1970. */
export const RECORDED_SECONDS = 1_795_358_567;
/** Each packet is seen twice: 20,000 frames a second, as on a busy node. */
const FRAME_GAP_NS = 100_000;
const SEEN_AGAIN_NS = 5_000;
/** Connections that are open at a time. */
const CONCURRENT = 64;
const EXCHANGES = 8;
const FIN = 1;
const SYN = 2;
const ACK = 16;
/** Frames of one connection, each packet seen on the pod's device and on the uplink. */
export const CONNECTION_FRAMES: number = (3 + 2 * EXCHANGES + 3) * 2;

const COOKED_BYTES = 20;
const IP_BYTES = 20;
const TCP_BYTES = 20;
const PACKET_BYTES_MAX = COOKED_BYTES + IP_BYTES + TCP_BYTES + 64;
const OUTGOING = 4;

/** One packet of a connection, from its client or to it. */
type Step = { readonly isToService: boolean; readonly flags: number; readonly payload: number };

const steps: readonly Step[] = [
  { isToService: true, flags: SYN, payload: 0 },
  { isToService: false, flags: SYN | ACK, payload: 0 },
  { isToService: true, flags: ACK, payload: 0 },
  ...Array.from({ length: EXCHANGES }, (): Step[] => [
    { isToService: true, flags: ACK, payload: 40 },
    { isToService: false, flags: ACK, payload: 60 },
  ]).flat(),
  { isToService: true, flags: FIN | ACK, payload: 0 },
  { isToService: false, flags: FIN | ACK, payload: 0 },
  { isToService: true, flags: ACK, payload: 0 },
];

export type RecordingSize = { readonly services: number; readonly backends: number; readonly connections: number };

/** A pcapng of that many connections, CONNECTION_FRAMES frames each. */
export function busyCapture(size: RecordingSize): InputStream {
  const output = memoryOutput('busy.pcapng');
  const writer = createPcapngWriter(output);
  const interfaceId = writer.addInterface({ linkType: LINK_LINUX_COOKED_V2, name: 'any' });
  let ns = 0;
  const write = (frame: Uint8Array, afterNs: number): void => {
    const at = ns + afterNs;
    const time = { seconds: RECORDED_SECONDS + Math.floor(at / 1e9), nanoseconds: at % 1e9 };
    writer.write({ ...time, bytes: frame, originalLength: frame.length, interfaceId });
  };
  for (let first = 0; first < size.connections; first += CONCURRENT) {
    const last = Math.min(size.connections, first + CONCURRENT);
    for (const [index, step] of steps.entries()) {
      for (let connection = first; connection < last; connection += 1) {
        const [before, after] = sightingsOf(size, connection, step, index);
        write(before, 0);
        write(after, SEEN_AGAIN_NS);
        ns += FRAME_GAP_NS;
      }
    }
  }
  const finished = writer.finish();
  assert(finished.ok, 'memory takes everything');
  const bytes = output.bytes();
  return { name: 'busy.pcapng', open: () => ({ read: reader(bytes) }) };
}

function reader(bytes: Uint8Array): (target: Uint8Array) => number {
  let at = 0;
  return (target) => {
    const count = Math.min(target.length, bytes.length - at);
    target.set(bytes.subarray(at, at + count));
    at += count;
    return count;
  };
}

/** The packet as it came in, and as it went out on the other device. */
function sightingsOf(size: RecordingSize, connection: number, step: Step, index: number): [Uint8Array, Uint8Array] {
  const pod = connection % CLIENTS;
  const client = [FIRST_CLIENT + pod, FIRST_PORT + (Math.floor(connection / CLIENTS) % 60_000)] as const;
  const service = connection % size.services;
  const front = [FIRST_SERVICE + service, SERVICE_PORT] as const;
  const back = [FIRST_BACKEND + service * size.backends + (connection % size.backends), BACKEND_PORT] as const;
  const sequence = (connection * 7919 + index * 64) >>> 0;
  const told = { ...step, sequence, identification: (connection + index) & 0xffff };
  const onPod = FIRST_POD + pod;
  if (step.isToService) {
    return [
      packetOf({ ...told, device: onPod, isOut: false, source: client, destination: front, hops: 64 }),
      packetOf({ ...told, device: UPLINK, isOut: true, source: client, destination: back, hops: 63 }),
    ];
  }
  return [
    packetOf({ ...told, device: UPLINK, isOut: false, source: back, destination: client, hops: 63 }),
    packetOf({ ...told, device: onPod, isOut: true, source: front, destination: client, hops: 62 }),
  ];
}

/** An address as a word, and a port. */
type End = readonly [number, number];

type Described = Step & {
  readonly device: number;
  readonly isOut: boolean;
  readonly source: End;
  readonly destination: End;
  readonly hops: number;
  readonly sequence: number;
  readonly identification: number;
};

function packetOf(told: Described): Uint8Array {
  const { destination, device, flags, hops, identification, isOut, payload, sequence, source } = told;
  const bytes = new Uint8Array(PACKET_BYTES_MAX - 64 + payload);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, 0x0800);
  view.setUint32(4, device);
  view.setUint16(8, 1);
  bytes[10] = isOut ? OUTGOING : 0;
  const ip = COOKED_BYTES;
  bytes[ip] = 0x45;
  view.setUint16(ip + 2, IP_BYTES + TCP_BYTES + payload);
  view.setUint16(ip + 4, identification);
  view.setUint16(ip + 6, 0x4000);
  bytes[ip + 8] = hops;
  bytes[ip + 9] = 6;
  view.setUint32(ip + 12, source[0]);
  view.setUint32(ip + 16, destination[0]);
  view.setUint16(ip + 10, checksum(view, ip, ip + IP_BYTES, 0));
  const tcp = ip + IP_BYTES;
  view.setUint16(tcp, source[1]);
  view.setUint16(tcp + 2, destination[1]);
  view.setUint32(tcp + 4, sequence);
  view.setUint32(tcp + 8, (flags & ACK) === 0 ? 0 : sequence ^ 0x5555);
  bytes[tcp + 12] = 0x50;
  bytes[tcp + 13] = flags;
  view.setUint16(tcp + 14, 0xffff);
  bytes.fill(0x61, tcp + TCP_BYTES);
  const length = TCP_BYTES + payload;
  view.setUint16(tcp + 16, checksum(view, tcp, tcp + length, pseudoSum(view, ip) + 6 + length));
  return bytes;
}

function pseudoSum(view: DataView, ip: number): number {
  return view.getUint16(ip + 12) + view.getUint16(ip + 14) + view.getUint16(ip + 16) + view.getUint16(ip + 18);
}

/** RFC 1071, of an even number of bytes. */
function checksum(view: DataView, from: number, to: number, begin: number): number {
  let sum = begin;
  for (let at = from; at < to; at += 2) sum += view.getUint16(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

/** Of the node that was captured. */
export function busyFacts(): NodeFacts {
  const device = (ifindex: number, name: string, role: Device['role']): Device => {
    return { ifindex, name, kind: 'veth', role, roleReason: 'made so', mtu: 1500, mac: '', podAddresses: [] };
  };
  const range = (text: string): NodeFacts['podRanges'] => {
    const parsed = parsePrefix(text);
    return parsed.ok ? [parsed.value] : [];
  };
  return {
    name: 'node-a',
    addresses: [addressFromIPv4(0xc0a80001)],
    podRanges: range(`${addressText(addressFromIPv4(FIRST_CLIENT - 1))}/24`),
    clusterRanges: range('10.0.0.0/8'),
    devices: [
      device(UPLINK, 'eth0', 'uplink'),
      ...Array.from({ length: CLIENTS }, (_, pod) => device(FIRST_POD + pod, `pod${pod}`, 'pod')),
    ],
    proxy: '',
  };
}
