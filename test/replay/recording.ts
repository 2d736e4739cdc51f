// SPDX-License-Identifier: Apache-2.0
/** Small recordings made by hand: packets on devices of one node, events beside them, and their replay. */
import { createLoop } from '../../agent/loop.ts';
import { PLAIN_NODE } from '../../core/control/nodes.ts';
import { parsePrefix, type Prefix } from '../../core/address.ts';
import { configOf, createDatapath } from '../../core/datapath/datapath.ts';
import type { ConfigRecord } from '../../core/layout.gen.ts';
import { failureText, type Failure } from '../../core/result.ts';
import { readEventStreams, type EventStreams } from '../../formats/events.ts';
import type { InputSource } from '../../formats/input.ts';
import { instantText } from '../../formats/instant.ts';
import { LINK_LINUX_COOKED_V2, newLinkHeader, parseLink } from '../../formats/link.ts';
import type { Device, NodeFacts } from '../../formats/node.ts';
import { openCapture } from '../../formats/open.ts';
import { memoryOutput } from '../../formats/output.ts';
import { createPcapWriter } from '../../formats/pcap.ts';
import type { PacketLine } from '../../replay/lines.ts';
import { findPlaces, headersOf, type Direction, type Places } from '../../replay/places.ts';
import { replay } from '../../replay/run.ts';
import type { Tally } from '../../replay/tally.ts';
import type { ReplaySetting } from '../../replay/summary.ts';
import type { ReplayTwin } from '../../replay/twins.ts';
import type { Watch } from '../../replay/watch.ts';
import { addressOf, tcp, udp, type Datagram, type Segment } from './packets.ts';

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
  sourceRanges: 256,
  nodeAddresses: 16,
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
  const node = { ...PLAIN_NODE, nodeName: 'node1' };
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

/** What a replay may be told besides packets and events. */
export type Circumstances = {
  /** In place of the model: a datapath that may be wrong. */
  readonly model?: ReplayTwin;
  readonly serviceRanges?: readonly Prefix[];
  /** As the node's facts name what served it. */
  readonly proxy?: string;
  readonly watch?: Watch;
};

/** Replays through the model; `kernel` stands for what another datapath would do. */
export function replayed(
  captures: readonly InputSource[],
  streams: EventStreams,
  kernel?: ReplayTwin,
  { model = modelTwin(), proxy = facts.proxy, serviceRanges = [], watch }: Circumstances = {},
): Replay {
  const lines: PacketLine[] = [];
  const tally = replay({
    captures,
    streams,
    facts: { ...facts, proxy },
    oracle: { nodeName: 'node1', nodeAddresses: facts.addresses, serviceRanges },
    model,
    kernel,
    onLine: (line) => lines.push(line),
    ...(watch !== undefined && { watch }),
  });
  return { tally, lines };
}

/** How a replay by hand was run. */
export const setting: ReplaySetting = {
  node: 'node1',
  proxy: 'by hand',
  seed: 0,
  objectSha256: null,
  noKernel: 'not asked for',
  allowUnattributed: false,
};

/** Replays one capture through the model alone; without events of their own LOCAL serves both families. */
export function replayFrames(
  frames: readonly Frame[],
  streams: EventStreams = cluster([LOCAL], eventLine(0, 'ADDED', slice([LOCAL_V6], 'web-v6'))),
): Replay {
  return replayed([captureOf(frames)], streams);
}

/** A connection as a proxy without surprises carries it, from the client's pod to a backend on this or another node. */
export function connection(atMs: number, clientPort: number, backend: string): readonly Frame[] {
  const pod = backend.includes(':') ? CLIENT_V6 : CLIENT;
  return connectionOf({ atMs, address: pod, device: CLIENT_DEVICE, clientPort, backend });
}

/** The same of any pod of this node. */
export function connectionOf(given: {
  readonly atMs: number;
  readonly address: string;
  readonly device: number;
  readonly clientPort: number;
  readonly backend: string;
}): readonly Frame[] {
  const { address, atMs, backend, clientPort, device: clientDevice } = given;
  const isIPv6 = backend.includes(':');
  const client = isIPv6 ? `[${address}]:${clientPort}` : `${address}:${clientPort}`;
  const target = isIPv6 ? `[${backend}]:8080` : `${backend}:8080`;
  const front = isIPv6 ? `[${SERVICE_V6}]:80` : `${SERVICE}:80`;
  const device = backend === LOCAL || backend === LOCAL_V6 ? LOCAL_DEVICE : UPLINK;
  const there = (time: number, segment: Omit<Segment, 'from' | 'to'>): Frame[] => [
    on(time, clientDevice, 'incoming', tcp({ ...segment, from: client, to: front })),
    on(time + 0.02, device, 'outgoing', tcp({ ...segment, from: client, to: target, hops: 63 })),
  ];
  const back = (time: number, segment: Omit<Segment, 'from' | 'to'>): Frame[] => [
    on(time, device, 'incoming', tcp({ ...segment, from: target, to: client })),
    on(time + 0.02, clientDevice, 'outgoing', tcp({ ...segment, from: front, to: client, hops: 63 })),
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

/** A datagram to the Service and, unless the backend is silent, its answer, as a proxy without surprises carries them. */
export function exchange(
  atMs: number,
  backend: string,
  more: Partial<Datagram> & { readonly isSilent?: boolean; readonly clientPort?: number } = {},
): readonly Frame[] {
  const { clientPort = 5555, isSilent = false, ...given } = more;
  const isIPv6 = backend.includes(':');
  const client = isIPv6 ? `[${CLIENT_V6}]:${clientPort}` : `${CLIENT}:${clientPort}`;
  const target = isIPv6 ? `[${backend}]:8053` : `${backend}:8053`;
  const front = isIPv6 ? `[${SERVICE_V6}]:53` : `${SERVICE}:53`;
  const device = backend === LOCAL || backend === LOCAL_V6 ? LOCAL_DEVICE : UPLINK;
  const identification = 1 + (Math.round(atMs) % 60_000);
  const asked = { identification, ...given };
  const answer = { ...asked, payload: new TextEncoder().encode(`from ${backend}`) };
  const there = [
    on(atMs, CLIENT_DEVICE, 'incoming', udp({ ...asked, from: client, to: front })),
    on(atMs + 0.02, device, 'outgoing', udp({ ...asked, from: client, to: target, hops: 63 })),
  ];
  if (isSilent) return there;
  return [
    ...there,
    on(atMs + 0.3, device, 'incoming', udp({ ...answer, from: target, to: client })),
    on(atMs + 0.32, CLIENT_DEVICE, 'outgoing', udp({ ...answer, from: front, to: client, hops: 63 })),
  ];
}

/** Devices whose role is found out when the frames of a capture are placed. */
export function inferredOf(known: NodeFacts, capture: InputSource): Places['inferred'] {
  const places = findPlaces(known, [capture]);
  const opened = openCapture(capture);
  if (!opened.ok) throw new Error(failureText(opened.error));
  const link = newLinkHeader();
  for (let record = opened.value.next(); record !== undefined; record = opened.value.next()) {
    if (parseLink(record.linkType, record.buffer, record.start, record.capturedLength, link) !== undefined) continue;
    places.of(record, link, headersOf(record, link));
  }
  return places.inferred;
}
