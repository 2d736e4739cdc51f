// SPDX-License-Identifier: Apache-2.0
/** Frames and offsets in words that people use: one line per packet, a name for every byte. */
import { hostText, readHost } from './traffic/address.ts';

const ETHERNET = 14;
const FLAGS: readonly (readonly [number, string])[] = [
  [2, 'SYN'],
  [16, 'ACK'],
  [1, 'FIN'],
  [4, 'RST'],
  [8, 'PSH'],
  [32, 'URG'],
  [64, 'ECE'],
  [128, 'CWR'],
];

function half(bytes: Uint8Array, at: number): number {
  return (bytes[at] ?? 0) * 256 + (bytes[at + 1] ?? 0);
}

function whole(bytes: Uint8Array, at: number): number {
  return half(bytes, at) * 65536 + half(bytes, at + 2);
}

/** Where the headers of an IP packet are, and what they say it carries. */
export type Layers = {
  readonly family: 4 | 6;
  readonly network: number;
  readonly transport: number;
  readonly protocol: number;
  /** A fragment without the transport header. */
  readonly isLater: boolean;
  /** The fragment field of IPv4, or that of a fragment header. */
  readonly fragment: number;
};

const WALKED_MAX = 12;

/** The headers from here on; undefined where there is no such packet. */
function layersAt(bytes: Uint8Array, network: number): Layers | undefined {
  const version = (bytes[network] ?? 0) >>> 4;
  if (version === 4 && bytes.length >= network + 20) {
    const fragment = half(bytes, network + 6) & 0x3fff;
    const transport = network + Math.max(((bytes[network] ?? 0) & 15) * 4, 20);
    const isLater = (fragment & 0x1fff) !== 0;
    return { family: 4, network, transport, protocol: bytes[network + 9] ?? 0, isLater, fragment };
  }
  return version === 6 && bytes.length >= network + 40 ? walkedFrom(bytes, network) : undefined;
}

function walkedFrom(bytes: Uint8Array, network: number): Layers {
  let [at, protocol, fragment] = [network + 40, bytes[network + 6] ?? 0, 0];
  for (let n = 0; n < WALKED_MAX && [0, 43, 44, 51, 60, 135].includes(protocol) && fragment >>> 3 === 0; n++) {
    const units = protocol === 51 ? ((bytes[at + 1] ?? 0) + 2) * 4 : ((bytes[at + 1] ?? 0) + 1) * 8;
    if (protocol === 44) fragment = half(bytes, at + 2);
    const length = protocol === 44 ? 8 : units;
    protocol = bytes[at] ?? 0;
    at += length;
  }
  return { family: 6, network, transport: at, protocol, isLater: fragment >>> 3 !== 0, fragment };
}

/** The headers of a frame's packet; undefined where it holds none. */
export function layersOf(frame: Uint8Array): Layers | undefined {
  const layers = layersAt(frame, ETHERNET);
  const type = half(frame, 12);
  return layers !== undefined && type === (layers.family === 6 ? 0x86dd : 0x0800) ? layers : undefined;
}

export function flagsText(flags: number): string {
  return FLAGS.filter(([bit]) => (flags & bit) !== 0)
    .map(([, name]) => name)
    .join('+');
}

/**
 * `10.0.0.9:4242 > 10.96.0.1:80 TCP SYN seq 1 ack 0, IP 60 bytes, frame 74`; for an ICMP error also the packet that it
 * quotes; says so where a frame is nothing of that kind.
 */
export function packetText(frame: Uint8Array): string {
  const layers = layersOf(frame);
  if (layers === undefined)
    return `ethertype 0x${half(frame, 12).toString(16).padStart(4, '0')}, frame ${frame.length}`;
  const { family, network, transport, fragment } = layers;
  const length = family === 6 ? 40 + half(frame, network + 4) : half(frame, network + 2);
  const header = transport - network;
  const marks = [
    header === (family === 6 ? 40 : 20) ? '' : `headers ${header}`,
    fragment === 0 ? '' : `fragment 0x${fragment.toString(16)}`,
  ].filter((text) => text !== '');
  return [transportText(frame, layers), ...marks, `IP ${length} bytes, frame ${frame.length}`].join(', ');
}

function hostsOf(bytes: Uint8Array, { family, network }: Layers): readonly [string, string] {
  const [source, destination] = family === 6 ? [network + 8, network + 24] : [network + 12, network + 16];
  return [hostText(readHost(bytes, source, family)), hostText(readHost(bytes, destination, family))];
}

function transportText(bytes: Uint8Array, layers: Layers): string {
  const { protocol, transport: at, isLater } = layers;
  const [source, destination] = hostsOf(bytes, layers);
  if (isLater) return `${source} > ${destination} protocol ${protocol}`;
  const ports = `${source}:${half(bytes, at)} > ${destination}:${half(bytes, at + 2)}`;
  if (protocol === 6 && at + 20 <= bytes.length) {
    const numbers = `seq ${whole(bytes, at + 4)} ack ${whole(bytes, at + 8)}`;
    return `${ports} TCP ${flagsText(bytes[at + 13] ?? 0) || 'no flags'} ${numbers}`;
  }
  if (protocol === 17 && at + 8 <= bytes.length) return `${ports} UDP ${half(bytes, at + 4)} bytes`;
  if (!isIcmp(layers) || at + 8 > bytes.length) return `${source} > ${destination} protocol ${protocol}`;
  const quoted = layersAt(bytes, at + 8);
  const about = quoted === undefined ? '' : ` about ${quotedText(bytes, quoted)}`;
  return `${source} > ${destination} ICMP ${bytes[at]}/${bytes[at + 1]}${about}`;
}

function quotedText(bytes: Uint8Array, layers: Layers): string {
  const [source, destination] = hostsOf(bytes, layers);
  const { transport: at, protocol } = layers;
  return `${source}:${half(bytes, at)} > ${destination}:${half(bytes, at + 2)} protocol ${protocol}`;
}

function isIcmp({ family, protocol }: Layers): boolean {
  return protocol === (family === 6 ? 58 : 1);
}

/** Name, first byte and length of each field of a header, by its offset there. */
type Fields = readonly (readonly [name: string, at: number, length: number])[];

const ETHERNET_FIELDS: Fields = [
  ['ethernet.destination', 0, 6],
  ['ethernet.source', 6, 6],
  ['ethernet.type', 12, 2],
];
const IPV4_FIELDS: Fields = [
  ['ip.version+ihl', 0, 1],
  ['ip.service', 1, 1],
  ['ip.length', 2, 2],
  ['ip.id', 4, 2],
  ['ip.fragment', 6, 2],
  ['ip.ttl', 8, 1],
  ['ip.protocol', 9, 1],
  ['ip.checksum', 10, 2],
  ['ip.source', 12, 4],
  ['ip.destination', 16, 4],
];
const IPV6_FIELDS: Fields = [
  ['ip.version+class', 0, 1],
  ['ip.class+label', 1, 3],
  ['ip.payloadLength', 4, 2],
  ['ip.nextHeader', 6, 1],
  ['ip.hopLimit', 7, 1],
  ['ip.source', 8, 16],
  ['ip.destination', 24, 16],
];
const TCP_FIELDS: Fields = [
  ['tcp.sourcePort', 0, 2],
  ['tcp.destinationPort', 2, 2],
  ['tcp.sequence', 4, 4],
  ['tcp.acknowledgement', 8, 4],
  ['tcp.offset', 12, 1],
  ['tcp.flags', 13, 1],
  ['tcp.window', 14, 2],
  ['tcp.checksum', 16, 2],
  ['tcp.urgent', 18, 2],
];
const UDP_FIELDS: Fields = [
  ['udp.sourcePort', 0, 2],
  ['udp.destinationPort', 2, 2],
  ['udp.length', 4, 2],
  ['udp.checksum', 6, 2],
];
const ICMP_FIELDS: Fields = [
  ['icmp.type', 0, 1],
  ['icmp.code', 1, 1],
  ['icmp.checksum', 2, 2],
  ['icmp.unused', 4, 4],
];

/** A field of a frame: its name, its first byte and how many. */
export type Field = { readonly name: string; readonly at: number; readonly length: number };

function fieldIn(fields: Fields, base: number, at: number): Field | undefined {
  for (const [name, offset, length] of fields) {
    if (at >= base + offset && at < base + offset + length) return { name, at: base + offset, length };
  }
  return undefined;
}

/** The field that a byte of this frame belongs to; those of a packet that it quotes begin with `quote.`. */
export function fieldAt(frame: Uint8Array, at: number): Field {
  const single = { name: 'bytes', at, length: 1 };
  const layers = layersOf(frame);
  const link = fieldIn(ETHERNET_FIELDS, 0, at);
  if (link !== undefined || layers === undefined) return link ?? single;
  const field = fieldOf(layers, at);
  const quoted = isIcmp(layers) && field.name === 'icmp.rest' ? layersAt(frame, layers.transport + 8) : undefined;
  if (quoted === undefined) return field;
  const inner = fieldOf(quoted, at);
  return { ...inner, name: `quote.${inner.name}` };
}

function fieldOf({ family, network, transport, protocol, isLater }: Layers, at: number): Field {
  const single = { name: 'bytes', at, length: 1 };
  const field = fieldIn(family === 6 ? IPV6_FIELDS : IPV4_FIELDS, network, at);
  if (field !== undefined) return field;
  if (at < transport) return { ...single, name: family === 6 ? 'ip.extensions' : 'ip.options' };
  const [name, fields] =
    protocol === 17
      ? (['udp', UDP_FIELDS] as const)
      : protocol === (family === 6 ? 58 : 1)
        ? (['icmp', ICMP_FIELDS] as const)
        : (['tcp', TCP_FIELDS] as const);
  if (isLater) return { ...single, name: 'payload' };
  return fieldIn(fields, transport, at) ?? { ...single, name: `${name}.rest` };
}

/** The value of a field as people write it: addresses as text, everything else in hex. */
export function fieldText(frame: Uint8Array, { name, at, length }: Field): string {
  if (at >= frame.length) return 'absent';
  if (name.endsWith('ip.source') || name.endsWith('ip.destination'))
    return hostText(readHost(frame, at, length === 4 ? 4 : 6));
  if (name.endsWith('Port')) return String(half(frame, at));
  return `0x${[...frame.subarray(at, at + length)].map((byte) => byte.toString(16).padStart(2, '0')).join('')}`;
}
