// SPDX-License-Identifier: Apache-2.0
/** Frames and offsets in words that people use: one line per packet, a name for every byte. */
import { hostText, readHost } from './address.ts';

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

function isIPv4(frame: Uint8Array): boolean {
  return half(frame, 12) === 0x0800 && (frame[14] ?? 0) >>> 4 === 4 && frame.length >= ETHERNET + 20;
}

function isIPv6(frame: Uint8Array): boolean {
  return half(frame, 12) === 0x86dd && (frame[14] ?? 0) >>> 4 === 6 && frame.length >= ETHERNET + 40;
}

/** Length of the IPv4 header that a frame claims, in bytes. */
function headerLength(frame: Uint8Array): number {
  return ((frame[14] ?? 0) & 15) * 4;
}

export function flagsText(flags: number): string {
  return FLAGS.filter(([bit]) => (flags & bit) !== 0)
    .map(([, name]) => name)
    .join('+');
}

/** `10.0.0.9:4242 > 10.96.0.1:80 TCP SYN seq 1 ack 0, IP 60 bytes, frame 74`; says so where a frame isn't that. */
export function packetText(frame: Uint8Array): string {
  if (isIPv6(frame)) {
    const hosts = [readHost(frame, 22, 6), readHost(frame, 38, 6)].map(hostText);
    return tcpText(frame, hosts, ETHERNET + 40, frame[20] ?? 0, sizesText(frame, 40 + half(frame, 18)));
  }
  if (!isIPv4(frame)) return `ethertype 0x${half(frame, 12).toString(16).padStart(4, '0')}, frame ${frame.length}`;
  const fragment = half(frame, 20) & 0x3fff;
  const marks = [
    headerLength(frame) === 20 ? '' : `IHL ${headerLength(frame) / 4}`,
    fragment === 0 ? '' : `fragment 0x${fragment.toString(16)}`,
  ].filter((text) => text !== '');
  const tail = [...marks, sizesText(frame, half(frame, 16))].join(', ');
  const hosts = [readHost(frame, 26, 4), readHost(frame, 30, 4)].map(hostText);
  return tcpText(frame, hosts, ETHERNET + headerLength(frame), frame[23] ?? 0, tail);
}

function sizesText(frame: Uint8Array, length: number): string {
  return `IP ${length} bytes, frame ${frame.length}`;
}

function tcpText(
  frame: Uint8Array,
  [source, destination]: readonly string[],
  at: number,
  protocol: number,
  tail: string,
): string {
  if (protocol !== 6 || at + 20 > frame.length) return `${source} > ${destination} protocol ${protocol}, ${tail}`;
  const numbers = `seq ${whole(frame, at + 4)} ack ${whole(frame, at + 8)}`;
  const ports = [half(frame, at), half(frame, at + 2)];
  const flags = flagsText(frame[at + 13] ?? 0) || 'no flags';
  return `${source}:${ports[0]} > ${destination}:${ports[1]} TCP ${flags} ${numbers}, ${tail}`;
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

/** The field that a byte of this frame belongs to; a quoted packet's bytes are `icmp.quote`. */
export function fieldAt(frame: Uint8Array, at: number): Field {
  const single = { name: 'bytes', at, length: 1 };
  const link = fieldIn(ETHERNET_FIELDS, 0, at);
  const isSix = isIPv6(frame);
  if (link !== undefined || (!isSix && !isIPv4(frame))) return link ?? single;
  const network = fieldIn(isSix ? IPV6_FIELDS : IPV4_FIELDS, ETHERNET, at);
  if (network !== undefined) return network;
  const transport = ETHERNET + (isSix ? 40 : Math.max(headerLength(frame), 20));
  if (at < transport) return { ...single, name: 'ip.options' };
  const isIcmp = isSix ? frame[20] === 58 : frame[23] === 1;
  const field = fieldIn(isIcmp ? ICMP_FIELDS : TCP_FIELDS, transport, at);
  return field ?? { ...single, name: isIcmp ? 'icmp.quote' : 'tcp.rest' };
}

/** The value of a field as people write it: addresses as text, everything else in hex. */
export function fieldText(frame: Uint8Array, { name, at, length }: Field): string {
  if (at >= frame.length) return 'absent';
  if (name === 'ip.source' || name === 'ip.destination') return hostText(readHost(frame, at, length === 4 ? 4 : 6));
  if (name.endsWith('Port')) return String(half(frame, at));
  return `0x${[...frame.subarray(at, at + length)].map((byte) => byte.toString(16).padStart(2, '0')).join('')}`;
}
