// SPDX-License-Identifier: Apache-2.0
/** Small recordings made by hand: packets on devices of one node, events beside them, and their replay. */
import { createLoop } from '../../agent/loop.ts';
import { addressFromIPv4, isIPv4, parseAddress, parsePrefix, type Address, type Prefix } from '../../core/address.ts';
import { configOf, createDatapath } from '../../core/datapath/datapath.ts';
import type { ConfigRecord } from '../../core/layout.gen.ts';
import type { Failure } from '../../core/result.ts';
import { readEventStreams, type EventStreams } from '../../formats/events.ts';
import type { InputSource } from '../../formats/input.ts';
import { instantText } from '../../formats/instant.ts';
import { LINK_LINUX_COOKED_V2 } from '../../formats/link.ts';
import type { Device, NodeFacts } from '../../formats/node.ts';
import { memoryOutput } from '../../formats/output.ts';
import { createPcapWriter } from '../../formats/pcap.ts';
import type { PacketLine } from '../../replay/lines.ts';
import type { Direction } from '../../replay/places.ts';
import { replay } from '../../replay/run.ts';
import type { Tally } from '../../replay/tally.ts';
import type { ReplayTwin } from '../../replay/twins.ts';

/** 2026-01-02T03:04:05Z; times of recordings are milliseconds from here. */
export const BEGIN_SECONDS = 1_767_323_045;

export const CLIENT = '10.244.1.4';
export const LOCAL = '10.244.1.9';
export const REMOTE = '10.244.2.7';
export const SERVICE = '10.96.0.10';

export const CLIENT_V6 = 'fd00:10:244:1::4';
export const LOCAL_V6 = 'fd00:10:244:1::9';
export const REMOTE_V6 = 'fd00:10:244:2::7';
export const SERVICE_V6 = 'fd00:10:96::a';

/** Devices of the node. */
export const UPLINK = 2;
export const CLIENT_DEVICE = 5;
export const LOCAL_DEVICE = 6;

export function addressOf(text: string): Address {
  const parsed = parseAddress(text);
  if (!parsed.ok) throw new Error(text);
  return parsed.value;
}

export function prefixOf(text: string): Prefix {
  const parsed = parsePrefix(text);
  if (!parsed.ok) throw new Error(text);
  return parsed.value;
}

function device(
  ifindex: number,
  name: string,
  role: Device['role'],
  mac: string,
  pods: readonly string[] = [],
): Device {
  const podAddresses = pods.map(addressOf);
  return { ifindex, name, kind: 'veth', role, roleReason: 'by hand', mtu: 1500, mac, podAddresses };
}

export const facts: NodeFacts = {
  name: 'node1',
  addresses: [addressOf('10.88.0.11')],
  podRanges: [prefixOf('10.244.1.0/24'), prefixOf('fd00:10:244:1::/64')],
  clusterRanges: [prefixOf('10.244.0.0/16'), prefixOf('fd00:10:244::/56')],
  proxy: 'by hand',
  devices: [
    device(1, 'lo', 'loopback', ''),
    device(UPLINK, 'eth0', 'uplink', '0a:00:00:00:00:02'),
    device(CLIENT_DEVICE, 'veth5', 'pod', '0a:00:00:00:00:05', [CLIENT, CLIENT_V6]),
    device(LOCAL_DEVICE, 'veth6', 'pod', '0a:00:00:00:00:06', [LOCAL, LOCAL_V6]),
  ],
};

export type Segment = {
  /** `address:port`, `[address]:port` for IPv6. */
  readonly from: string;
  readonly to: string;
  /** As tcpdump writes them: S, S., ., P., F., R. */
  readonly flags: string;
  readonly sequence?: number;
  readonly acknowledgement?: number;
  readonly identification?: number;
  readonly hops?: number;
  readonly payload?: Uint8Array;
  readonly checksum?: 'right' | 'partial' | 'wrong';
};

const FLAGS: Readonly<Record<string, number>> = { F: 1, S: 2, R: 4, P: 8, '.': 16 };

/** The Internet checksum as RFC 1071 writes it down, over big-endian halves: not folded, not complemented. */
function sumOf(bytes: Uint8Array): number {
  let sum = 0;
  for (const [index, byte] of bytes.entries()) sum += index % 2 === 0 ? byte * 256 : byte;
  return sum;
}

function foldOf(sum: number): number {
  let folded = sum;
  while (folded > 0xffff) folded = (folded % 0x10000) + Math.floor(folded / 0x10000);
  return folded;
}

function split(endpoint: string): { readonly address: Address; readonly port: number } {
  const at = endpoint.lastIndexOf(':');
  return { address: addressOf(endpoint.slice(0, at).replace(/^\[|\]$/g, '')), port: Number(endpoint.slice(at + 1)) };
}

/** The bytes of an address as they are on the wire: four, or sixteen. */
function bytesOf(address: Address): Uint8Array {
  const words = isIPv4(address) ? [address.d] : [address.a, address.b, address.c, address.d];
  const bytes = new Uint8Array(words.length * 4);
  for (const [index, word] of words.entries()) new DataView(bytes.buffer).setUint32(index * 4, word);
  return bytes;
}

type Network = { readonly protocol: number; readonly from: Address; readonly to: Address; readonly hops: number };

function ip(network: Network, transport: Uint8Array, id: number): Uint8Array {
  return isIPv4(network.to) ? ipv4(network, transport, id) : ipv6(network, transport);
}

function ipv6({ from, hops, protocol, to }: Network, transport: Uint8Array): Uint8Array {
  const packet = new Uint8Array(40 + transport.length);
  const view = new DataView(packet.buffer);
  view.setUint8(0, 0x60);
  view.setUint16(4, transport.length);
  view.setUint8(6, protocol);
  view.setUint8(7, hops);
  packet.set(bytesOf(from), 8);
  packet.set(bytesOf(to), 24);
  packet.set(transport, 40);
  return packet;
}

function ipv4({ from, hops, protocol, to }: Network, transport: Uint8Array, id: number): Uint8Array {
  const packet = new Uint8Array(20 + transport.length);
  const view = new DataView(packet.buffer);
  view.setUint8(0, 0x45);
  view.setUint16(2, packet.length);
  view.setUint16(4, id);
  view.setUint16(6, 0x4000);
  view.setUint8(8, hops);
  view.setUint8(9, protocol);
  packet.set(bytesOf(from), 12);
  packet.set(bytesOf(to), 16);
  view.setUint16(10, ~foldOf(sumOf(packet.subarray(0, 20))) & 0xffff);
  packet.set(transport, 20);
  return packet;
}

/** A TCP packet, of the family of its addresses. */
export function tcp(segment: Segment): Uint8Array {
  const { acknowledgement = 0, checksum = 'right', flags, hops = 64, identification = 1, sequence = 0 } = segment;
  const payload = segment.payload ?? new Uint8Array(0);
  const from = split(segment.from);
  const to = split(segment.to);
  const bytes = new Uint8Array(20 + payload.length);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, from.port);
  view.setUint16(2, to.port);
  view.setUint32(4, sequence);
  view.setUint32(8, acknowledgement);
  view.setUint8(12, 0x50);
  view.setUint8(
    13,
    flags.split('').reduce((sum, flag) => sum + (FLAGS[flag] ?? 0), 0),
  );
  bytes.set(payload, 20);
  const pseudo = Uint8Array.from([
    ...bytesOf(from.address),
    ...bytesOf(to.address),
    ...[0, 0, bytes.length >> 8, bytes.length & 0xff],
    ...[0, 0, 0, 6],
  ]);
  const right = ~foldOf(sumOf(pseudo) + sumOf(bytes)) & 0xffff;
  view.setUint16(16, checksum === 'partial' ? foldOf(sumOf(pseudo)) : checksum === 'right' ? right : right ^ 0x5555);
  return ip({ protocol: 6, from: from.address, to: to.address, hops }, bytes, identification);
}

/** An IPv6 packet with an extension header of destination options, which is padding (RFC 8200 4.2). */
export function withOptions(packet: Uint8Array): Uint8Array {
  const extended = Uint8Array.from([
    ...packet.subarray(0, 40),
    ...[packet[6] ?? 0, 0, 1, 4, 0, 0, 0, 0],
    ...packet.subarray(40),
  ]);
  extended[6] = 60;
  new DataView(extended.buffer).setUint16(4, extended.length - 40);
  return extended;
}

/** A UDP packet without a checksum. */
export function udp(from: string, to: string, identification = 1): Uint8Array {
  const bytes = new Uint8Array(12);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, split(from).port);
  view.setUint16(2, split(to).port);
  view.setUint16(4, bytes.length);
  return ip({ protocol: 17, from: split(from).address, to: split(to).address, hops: 64 }, bytes, identification);
}

/** An ICMP error about a packet; its own checksum is left out, since nobody reads it. */
export function icmpError(from: string, about: Uint8Array, type: number, code: number): Uint8Array {
  const isIPv6 = (about[0] ?? 0) >>> 4 === 6;
  const quote = about.subarray(0, isIPv6 ? 60 : 40);
  const bytes = new Uint8Array(8 + quote.length);
  bytes.set([type, code]);
  bytes.set(quote, 8);
  const sender = addressOf(from);
  if (!isIPv6) {
    const client = addressFromIPv4(new DataView(about.buffer, about.byteOffset).getUint32(12));
    return ip({ protocol: 1, from: sender, to: client, hops: 64 }, bytes, 77);
  }
  const packet = ip({ protocol: 58, from: sender, to: sender, hops: 64 }, bytes, 77);
  packet.copyWithin(24, 48 + 8, 48 + 24); // to the source of the quoted packet
  return packet;
}

/** One frame of a recording. */
export type Frame = {
  readonly atMs: number;
  readonly ifindex: number;
  readonly direction: Direction;
  readonly packet: Uint8Array;
};

export function on(atMs: number, ifindex: number, direction: Direction, packet: Uint8Array): Frame {
  return { atMs, ifindex, direction, packet };
}

function cooked({ ifindex, direction, packet }: Frame): Uint8Array {
  const bytes = new Uint8Array(20 + packet.length);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, (packet[0] ?? 0) >>> 4 === 6 ? 0x86dd : 0x0800);
  view.setUint32(4, ifindex);
  view.setUint16(8, 1);
  view.setUint8(10, direction === 'incoming' ? 0 : 4);
  bytes.set(packet, 20);
  return bytes;
}

export function momentOfMs(atMs: number): { readonly seconds: number; readonly nanoseconds: number } {
  const ns = Math.round(atMs * 1e6);
  return { seconds: BEGIN_SECONDS + Math.floor(ns / 1e9), nanoseconds: ns % 1e9 };
}

/** A pcap of these frames; `snapLength` cuts each of them. */
export function captureOf(
  frames: readonly Frame[],
  snapLength = 65_536,
): { readonly name: string; readonly bytes: Uint8Array } {
  const output = memoryOutput('node1.pcap');
  const writer = createPcapWriter(output, { linkType: LINK_LINUX_COOKED_V2 });
  for (const frame of frames) {
    const bytes = cooked(frame);
    writer.write({ ...momentOfMs(frame.atMs), bytes: bytes.subarray(0, snapLength), originalLength: bytes.length });
  }
  writer.finish();
  return { name: 'node1.pcap', bytes: output.bytes() };
}

/** A line of an event stream. */
export function eventLine(atMs: number, type: string, object: unknown): string {
  return JSON.stringify({ at: instantText(momentOfMs(atMs)), type, object });
}

export const service: { readonly spec: Readonly<Record<string, unknown>> } & Readonly<Record<string, unknown>> = {
  kind: 'Service',
  metadata: { namespace: 'shop', name: 'web', uid: 'uid-web' },
  spec: {
    type: 'ClusterIP',
    clusterIP: SERVICE,
    clusterIPs: [SERVICE, SERVICE_V6],
    ipFamilies: ['IPv4', 'IPv6'],
    ports: [
      { name: 'http', port: 80, protocol: 'TCP', targetPort: 8080 },
      { name: 'dns', port: 53, protocol: 'UDP', targetPort: 8053 },
    ],
  },
};

export function slice(addresses: readonly string[], name = 'web-1', serviceName = 'web'): unknown {
  return {
    kind: 'EndpointSlice',
    metadata: { namespace: 'shop', name, labels: { 'kubernetes.io/service-name': serviceName } },
    addressType: addresses.some((address) => address.includes(':')) ? 'IPv6' : 'IPv4',
    ports: [
      { name: 'http', port: 8080, protocol: 'TCP' },
      { name: 'dns', port: 8053, protocol: 'UDP' },
    ],
    endpoints: addresses.map((address) => ({ addresses: [address], conditions: { ready: true } })),
  };
}

export function streamsOf(lines: readonly string[]): EventStreams {
  return readEventStreams([
    { name: 'cluster.events.ndjson', bytes: new TextEncoder().encode(lines.map((line) => `${line}\n`).join('')) },
  ]);
}

/** A Service with these backends from the first moment on. */
export function cluster(addresses: readonly string[], ...more: readonly string[]): EventStreams {
  return streamsOf([eventLine(0, 'ADDED', service), eventLine(0, 'ADDED', slice(addresses)), ...more]);
}

const sizes = {
  classifierWords: 1024,
  frontends: 64,
  services: 64,
  slotPairs: 64,
  backends: 64,
  flowBuckets: 64,
  peers: 16,
  affinity: 16,
  netns: 1,
};

/** A model with small maps and a control plane of its own. */
export function modelTwin(given: Partial<ConfigRecord> = {}): ReplayTwin {
  const config = configOf({
    flowBucketMask: sizes.flowBuckets - 1,
    classifierMask: sizes.classifierWords - 1,
    selectionKey: [1, 2],
    ...given,
  });
  const twin = createDatapath(config, sizes);
  const failures: Failure[] = [];
  const node = {
    nodeName: 'node1',
    zone: '',
    serviceProxyName: null,
    topology: true,
    masqueradeAll: false,
    clusterCIDRs: [],
  };
  const loop = createLoop({ store: twin.store, node, onProblem: (failure) => failures.push(failure) });
  return {
    twin,
    program: (event) => {
      loop.event(event);
      loop.step();
      return failures.splice(0);
    },
  };
}

export type Replay = { readonly tally: Tally; readonly lines: readonly PacketLine[] };

/** Replays through the model; `kernel` stands for what another datapath would do. */
export function replayed(captures: readonly InputSource[], streams: EventStreams, kernel?: ReplayTwin): Replay {
  const lines: PacketLine[] = [];
  const tally = replay({
    captures,
    streams,
    facts,
    oracle: { nodeName: 'node1', nodeAddresses: facts.addresses },
    model: modelTwin(),
    kernel,
    onLine: (line) => lines.push(line),
  });
  return { tally, lines };
}

/** A connection as a proxy without surprises carries it, from the client's pod to a backend on this or another node. */
export function connection(atMs: number, clientPort: number, backend: string): readonly Frame[] {
  const isIPv6 = backend.includes(':');
  const client = isIPv6 ? `[${CLIENT_V6}]:${clientPort}` : `${CLIENT}:${clientPort}`;
  const target = isIPv6 ? `[${backend}]:8080` : `${backend}:8080`;
  const front = isIPv6 ? `[${SERVICE_V6}]:80` : `${SERVICE}:80`;
  const device = backend === LOCAL || backend === LOCAL_V6 ? LOCAL_DEVICE : UPLINK;
  const there = (time: number, segment: Omit<Segment, 'from' | 'to'>): Frame[] => [
    on(time, CLIENT_DEVICE, 'incoming', tcp({ ...segment, from: client, to: front })),
    on(time + 0.02, device, 'outgoing', tcp({ ...segment, from: client, to: target, hops: 63 })),
  ];
  const back = (time: number, segment: Omit<Segment, 'from' | 'to'>): Frame[] => [
    on(time, device, 'incoming', tcp({ ...segment, from: target, to: client })),
    on(time + 0.02, CLIENT_DEVICE, 'outgoing', tcp({ ...segment, from: front, to: client, hops: 63 })),
  ];
  const [mine, theirs] = [clientPort * 1000, clientPort * 2000];
  const payload = new TextEncoder().encode('hello');
  return [
    ...there(atMs, { flags: 'S', sequence: mine, identification: 10 }),
    ...back(atMs + 0.1, { flags: 'S.', sequence: theirs, acknowledgement: mine + 1, identification: 0 }),
    ...there(atMs + 0.2, { flags: '.', sequence: mine + 1, acknowledgement: theirs + 1, identification: 11 }),
    ...there(atMs + 0.3, { flags: 'P.', sequence: mine + 1, acknowledgement: theirs + 1, identification: 12, payload }),
    ...back(atMs + 0.4, { flags: 'F.', sequence: theirs + 1, acknowledgement: mine + 6, identification: 20 }),
    ...there(atMs + 0.5, { flags: 'F.', sequence: mine + 6, acknowledgement: theirs + 2, identification: 13 }),
    ...back(atMs + 0.6, { flags: '.', sequence: theirs + 2, acknowledgement: mine + 7, identification: 21 }),
  ];
}
