// SPDX-License-Identifier: Apache-2.0
/** Frames for real devices, built and judged from scratch: every checksum is summed over the bytes that are there. */
import { sumOf } from '../../proof/traffic/frame.ts';
import { readHost } from '../../proof/traffic/address.ts';
import { addressText, parseAddress } from '../../core/address.ts';

export const ETHERNET = 14;
export const SYN = 2;
export const ACK = 16;

export type Endpoint = { readonly address: string; readonly port: number };
export type Protocol = 'TCP' | 'UDP';

export type FrameSpec = {
  readonly protocol: Protocol;
  readonly from: Endpoint;
  readonly to: Endpoint;
  readonly payload?: Uint8Array;
  /** TCP flags, default SYN. */
  readonly flags?: number;
  readonly timeToLive?: number;
  readonly sequence?: number;
  readonly acknowledgement?: number;
  /** `partial`: the sum of the pseudo-header, as a sender leaves it to its device. */
  readonly checksum?: 'whole' | 'partial' | 'none';
  readonly destinationMac: readonly number[];
  readonly sourceMac: readonly number[];
};

function addressBytes(text: string): Uint8Array {
  const parsed = parseAddress(text);
  if (!parsed.ok) throw new Error(parsed.error.message);
  const { a, b, c, d } = parsed.value;
  const bytes = Buffer.alloc(16);
  for (const [index, word] of [a, b, c, d].entries()) bytes.writeUInt32BE(word >>> 0, index * 4);
  return text.includes(':') ? bytes : bytes.subarray(12);
}

function pseudoHeader(source: Uint8Array, destination: Uint8Array, protocol: number, length: number): number {
  const tail = Buffer.alloc(8);
  tail.writeUInt32BE(length, 0);
  tail.writeUInt8(protocol, 7);
  return sumOf(Buffer.concat([source, destination, tail]));
}

const numbers = { TCP: 6, UDP: 17 } as const;

function transportOf(spec: FrameSpec, source: Uint8Array, destination: Uint8Array): Buffer {
  const { protocol, from, to, payload = new Uint8Array(), checksum = 'whole' } = spec;
  const header = Buffer.alloc(protocol === 'TCP' ? 20 : 8);
  header.writeUInt16BE(from.port, 0);
  header.writeUInt16BE(to.port, 2);
  if (protocol === 'TCP') {
    header.writeUInt32BE(spec.sequence ?? 1, 4);
    header.writeUInt32BE(spec.acknowledgement ?? 0, 8);
    header.set([0x50, spec.flags ?? SYN, 0xfa, 0xf0], 12);
  } else {
    header.writeUInt16BE(8 + payload.length, 4);
  }
  const bytes = Buffer.concat([header, payload]);
  const pseudo = pseudoHeader(source, destination, numbers[protocol], bytes.length);
  const whole = 0xffff - sumOf(bytes, pseudo);
  const right = checksum === 'partial' ? pseudo : protocol === 'UDP' && whole === 0 ? 0xffff : whole;
  bytes.writeUInt16BE(checksum === 'none' ? 0 : right, protocol === 'TCP' ? 16 : 6);
  return bytes;
}

/** Where a frame's transport checksum is, for a frame whose checksum is partial. */
export function partialOf({ protocol, from }: FrameSpec): { readonly start: number; readonly offset: number } {
  return { start: ETHERNET + (from.address.includes(':') ? 40 : 20), offset: protocol === 'TCP' ? 16 : 6 };
}

export function headerBytes(spec: FrameSpec): number {
  return partialOf(spec).start + (spec.protocol === 'TCP' ? 20 : 8);
}

export function ipHeader(
  source: Uint8Array,
  destination: Uint8Array,
  next: number,
  length: number,
  timeToLive = 64,
): Buffer {
  const isSix = source.length === 16;
  const header = Buffer.alloc(isSix ? 40 : 20);
  header.writeUInt8(isSix ? 0x60 : 0x45, 0);
  if (isSix) {
    header.writeUInt16BE(length, 4);
    header.set([next, timeToLive], 6);
    header.set(source, 8);
    header.set(destination, 24);
    return header;
  }
  header.writeUInt16BE(20 + length, 2);
  header.writeUInt16BE(0x4000, 6);
  header.set([timeToLive, next], 8);
  header.set(source, 12);
  header.set(destination, 16);
  header.writeUInt16BE(0xffff - sumOf(header), 10);
  return header;
}

export function frameOf(spec: FrameSpec): Buffer {
  const [source, destination] = [addressBytes(spec.from.address), addressBytes(spec.to.address)];
  const transport = transportOf(spec, source, destination);
  const ethertype = source.length === 16 ? [0x86, 0xdd] : [0x08, 0x00];
  return Buffer.concat([
    Buffer.from([...spec.destinationMac, ...spec.sourceMac, ...ethertype]),
    ipHeader(source, destination, numbers[spec.protocol], transport.length, spec.timeToLive),
    transport,
  ]);
}

/** The frame's packet in fragments of so many bytes, a multiple of eight. */
export function fragmentsOf(frame: Uint8Array, size: number, id: number): readonly Buffer[] {
  const whole = Buffer.from(frame);
  const isSix = (whole[ETHERNET] ?? 0) >> 4 === 6;
  const start = ETHERNET + (isSix ? 40 : 20);
  const count = Math.ceil((whole.length - start) / size);
  return Array.from({ length: count }, (_, index) => {
    const piece = whole.subarray(start + index * size, start + (index + 1) * size);
    const [offset, more] = [(index * size) / 8, index < count - 1];
    const head = Buffer.from(whole.subarray(0, start));
    if (isSix) {
      const extension = Buffer.from([head[ETHERNET + 6] ?? 0, 0, 0, 0, 0, 0, 0, 0]);
      extension.writeUInt16BE(offset * 8 + (more ? 1 : 0), 2);
      extension.writeUInt32BE(id, 4);
      head.writeUInt8(44, ETHERNET + 6);
      head.writeUInt16BE(8 + piece.length, ETHERNET + 4);
      return Buffer.concat([head, extension, piece]);
    }
    head.writeUInt16BE(20 + piece.length, ETHERNET + 2);
    head.writeUInt16BE(id, ETHERNET + 4);
    head.writeUInt16BE(offset + (more ? 0x2000 : 0), ETHERNET + 6);
    head.writeUInt16BE(0, ETHERNET + 10);
    head.writeUInt16BE(0xffff - sumOf(head.subarray(ETHERNET)), ETHERNET + 10);
    return Buffer.concat([head, piece]);
  });
}

/** Port unreachable, from one host to another, quoting a whole packet. */
export function icmpErrorOf(
  from: string,
  to: string,
  quote: Uint8Array,
  ethernet: Pick<FrameSpec, 'destinationMac' | 'sourceMac'>,
): Buffer {
  const [source, destination] = [addressBytes(from), addressBytes(to)];
  const isSix = source.length === 16;
  const number = isSix ? 58 : 1;
  const message = Buffer.concat([Buffer.from(isSix ? [1, 4, 0, 0, 0, 0, 0, 0] : [3, 3, 0, 0, 0, 0, 0, 0]), quote]);
  const pseudo = isSix ? pseudoHeader(source, destination, number, message.length) : 0;
  message.writeUInt16BE(0xffff - sumOf(message, pseudo), 2);
  const ethertype = isSix ? [0x86, 0xdd] : [0x08, 0x00];
  return Buffer.concat([
    Buffer.from([...ethernet.destinationMac, ...ethernet.sourceMac, ...ethertype]),
    ipHeader(source, destination, number, message.length),
    message,
  ]);
}

/** What a frame says, and which of its checksums are wrong. */
export type Seen = {
  readonly protocol: Protocol | 'ICMP' | 'other';
  readonly source: string;
  readonly destination: string;
  readonly timeToLive: number;
  readonly sequence: number;
  readonly flags: number;
  readonly payload: Uint8Array;
  readonly wrong: readonly string[];
  /** What an ICMP error quotes; its transport checksum is judged only where the whole packet is quoted. */
  readonly quote?: Seen;
};

function textOf(bytes: Uint8Array): string {
  const host = readHost(bytes, 0, bytes.length === 16 ? 6 : 4);
  return typeof host === 'string' ? `[${host}]` : [...bytes].join('.');
}

/** Reads the IP packet; a quote may be cut short, and then has no transport checksum to be judged. */
export function readPacket(packet: Uint8Array, isQuote = false): Seen {
  const bytes = Buffer.from(packet);
  const isSix = (bytes[0] ?? 0) >> 4 === 6;
  const start = isSix ? 40 : ((bytes[0] ?? 0) & 15) * 4;
  const end = isSix ? 40 + bytes.readUInt16BE(4) : bytes.readUInt16BE(2);
  const [source, destination] = isSix
    ? [bytes.subarray(8, 24), bytes.subarray(24, 40)]
    : [bytes.subarray(12, 16), bytes.subarray(16, 20)];
  const number = bytes[isSix ? 6 : 9] ?? 0;
  const timeToLive = bytes[isSix ? 7 : 8] ?? 0;
  const transport = bytes.subarray(start, end);
  // Fields that are cut off read as zero.
  const fields = Buffer.concat([transport, Buffer.alloc(20)]);
  const wrong: string[] = [];
  if (!isSix && sumOf(bytes.subarray(0, start)) !== 0xffff) wrong.push('IP');
  const protocol = number === 6 ? 'TCP' : number === 17 ? 'UDP' : number === 1 || number === 58 ? 'ICMP' : 'other';
  const isWhole = end <= bytes.length;
  const pseudo = number === 1 ? 0 : pseudoHeader(source, destination, number, transport.length);
  const isUnchecked = protocol === 'UDP' && fields.readUInt16BE(6) === 0;
  if (isWhole && !isUnchecked && protocol !== 'other' && sumOf(transport, pseudo) !== 0xffff) wrong.push(protocol);
  if (protocol === 'ICMP' && !isQuote) {
    const quote = readPacket(transport.subarray(8), true);
    const kind = { timeToLive, sequence: fields.readUInt16BE(0), flags: 0, payload: transport.subarray(8) };
    return { protocol, source: textOf(source), destination: textOf(destination), ...kind, wrong, quote };
  }
  const isTcp = protocol === 'TCP';
  return {
    protocol,
    source: `${textOf(source)}:${fields.readUInt16BE(0)}`,
    destination: `${textOf(destination)}:${fields.readUInt16BE(2)}`,
    timeToLive,
    sequence: isTcp ? fields.readUInt32BE(4) : 0,
    flags: isTcp ? (fields[13] ?? 0) : 0,
    payload: transport.subarray(isTcp ? ((fields[12] ?? 0) >> 4) * 4 : 8),
    wrong,
  };
}

/** `10.1.0.2:80`, `[fd00::1]:80`. */
export function placeText({ address, port }: Endpoint): string {
  const parsed = parseAddress(address);
  const text = parsed.ok ? addressText(parsed.value) : address;
  return text.includes(':') ? `[${text}]:${port}` : `${text}:${port}`;
}
