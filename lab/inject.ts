// SPDX-License-Identifier: Apache-2.0
/** Packets of our own making, put on a real path: raw IPv4 with its header included, or whole frames on a device. */
import { closeSync } from 'node:fs';
import { TCP, type Address, type Port } from '../core/address.ts';
import { ok, type Result } from '../core/result.ts';
import { AF_INET, AF_PACKET, deviceIndex, openSocket, sendTo, setSocketOption, SOCK_RAW } from '../kernel/libc.ts';
import { insideNamespace } from '../kernel/netns.ts';

const IPPROTO_RAW = 255;
const IPV4_HEADER_BYTES = 20;
const TCP_HEADER_BYTES = 20;
const TCP_SYN = 0x02;

const SOL_PACKET = 263;
const PACKET_VNET_HDR = 15;
/** struct virtio_net_hdr { flags, gso_type, hdr_len, gso_size, csum_start, csum_offset } */
const VNET_HEADER_BYTES = 10;
const VNET_NEEDS_CHECKSUM = 1;
/** Larger ones make room for themselves. */
const FRAME_BYTES_USUAL = 2048;

/** Opens a socket of the kind in the namespace, lets `send` use it, closes it. */
function withSocket(
  path: string,
  family: number,
  protocol: number,
  send: (socket: number) => Result<number>,
): Result<number> {
  const visit = insideNamespace(path, (): Result<number> => {
    const socket = openSocket(family, SOCK_RAW, protocol);
    if (!socket.ok) return socket;
    try {
      return send(socket.value);
    } finally {
      closeSync(socket.value);
    }
  });
  return visit.ok ? visit.value : visit;
}

/**
 * Sends an IPv4 packet from inside the namespace to the destination in its header. The kernel fills in total length
 * and header checksum; everything behind the header leaves as given, so a wrong TCP checksum stays wrong.
 */
export function sendPacket(path: string, packet: Uint8Array): Result<number> {
  // struct sockaddr_in { family (host order), port, address }
  const to = Buffer.alloc(16);
  to.writeUInt16LE(AF_INET, 0);
  to.set(packet.subarray(16, 20), 4);
  return withSocket(path, AF_INET, IPPROTO_RAW, (socket) => sendTo(socket, packet, to));
}

/** Where a checksum that a later device is to complete begins, and where in that part it stands; in bytes. */
export type PartialChecksum = { readonly start: number; readonly offset: number };

/**
 * Sends a whole Ethernet frame out of a device of the namespace, past its network stack. With `partial` it travels as
 * a local sender's packets do (CHECKSUM_PARTIAL): its checksum field holds the pseudo-header's sum only.
 */
export function sendFrame(path: string, device: string, frame: Uint8Array, partial?: PartialChecksum): Result<number> {
  const opened = openSender(path, device);
  if (!opened.ok) return opened;
  using sender = opened.value;
  return sender.send(frame, partial);
}

/** A device that frames are sent out of, one after the other. */
export type Sender = Disposable & {
  /** The number of bytes taken. */
  readonly send: (frame: Uint8Array, partial?: PartialChecksum) => Result<number>;
};

/** The socket stays in its namespace, so that `send` is one system call from anywhere. */
export function openSender(path: string, device: string): Result<Sender> {
  const visit = insideNamespace(path, (): Result<Sender> => {
    const index = deviceIndex(device);
    if (!index.ok) return index;
    // Protocol 0: it receives nothing.
    const socket = openSocket(AF_PACKET, SOCK_RAW, 0);
    if (!socket.ok) return socket;
    const enabled = setSocketOption(socket.value, SOL_PACKET, PACKET_VNET_HDR, Uint8Array.of(1, 0, 0, 0));
    if (enabled.ok) return ok(senderOf(socket.value, index.value));
    closeSync(socket.value);
    return enabled;
  });
  return visit.ok ? visit.value : visit;
}

function senderOf(socket: number, deviceIndexWanted: number): Sender {
  // struct sockaddr_ll { family, protocol, ifindex, hatype, pkttype, halen, address[8] }
  const to = Buffer.alloc(20);
  to.writeUInt16LE(AF_PACKET, 0);
  to.writeInt32LE(deviceIndexWanted, 4);
  to.writeUInt8(6, 11);
  let room = Buffer.alloc(VNET_HEADER_BYTES + FRAME_BYTES_USUAL);
  return {
    send: (frame, partial) => {
      to.set(frame.subarray(12, 14), 2);
      to.set(frame.subarray(0, 6), 12);
      const length = VNET_HEADER_BYTES + frame.length;
      if (room.length < length) room = Buffer.alloc(length);
      room.fill(0, 0, VNET_HEADER_BYTES);
      if (partial !== undefined) {
        room.writeUInt8(VNET_NEEDS_CHECKSUM, 0);
        room.writeUInt16LE(partial.start, 6);
        room.writeUInt16LE(partial.offset, 8);
      }
      room.set(frame, VNET_HEADER_BYTES);
      return sendTo(socket, room.subarray(0, length), to);
    },
    [Symbol.dispose]: () => closeSync(socket),
  };
}

/** Ones' complement sum of big-endian 16-bit words (RFC 1071), not complemented. */
function sum16(bytes: Uint8Array): number {
  let sum = 0;
  for (let index = 0; index < bytes.length; index += 2) sum += ((bytes[index] ?? 0) << 8) + (bytes[index + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return sum;
}

export type SynPacket = {
  readonly source: Address;
  readonly sourcePort: Port;
  readonly destination: Address;
  readonly destinationPort: Port;
  readonly sequence: number;
  /** `partial`: the pseudo-header's sum, for `sendFrame` with a partial checksum at `tcpChecksum`. */
  readonly checksum: 'complete' | 'partial';
  /** Added to the right checksum; 0 for a packet that receivers accept. */
  readonly checksumError: number;
};

/** The TCP checksum of an IPv4 packet without options behind an Ethernet header. */
export const tcpChecksum: PartialChecksum = { start: 14 + IPV4_HEADER_BYTES, offset: 16 };

/** An IPv4 TCP SYN without options. */
export function synPacket(syn: SynPacket): Uint8Array {
  const packet = Buffer.alloc(IPV4_HEADER_BYTES + TCP_HEADER_BYTES);
  packet.writeUInt8(0x45, 0);
  packet.writeUInt16BE(packet.length, 2);
  packet.writeUInt8(64, 8);
  packet.writeUInt8(TCP, 9);
  packet.writeUInt32BE(syn.source.d, 12);
  packet.writeUInt32BE(syn.destination.d, 16);
  const segment = packet.subarray(IPV4_HEADER_BYTES);
  segment.writeUInt16BE(syn.sourcePort, 0);
  segment.writeUInt16BE(syn.destinationPort, 2);
  segment.writeUInt32BE(syn.sequence >>> 0, 4);
  segment.writeUInt8((TCP_HEADER_BYTES / 4) << 4, 12);
  segment.writeUInt8(TCP_SYN, 13);
  segment.writeUInt16BE(0xffff, 14);
  const pseudoHeader = Buffer.from([...packet.subarray(12, 20), 0, TCP, 0, TCP_HEADER_BYTES]);
  const whole = ~sum16(Buffer.concat([pseudoHeader, segment])) & 0xffff;
  const right = syn.checksum === 'complete' ? whole : sum16(pseudoHeader);
  segment.writeUInt16BE((right + syn.checksumError) & 0xffff, 16);
  packet.writeUInt16BE(~sum16(packet.subarray(0, IPV4_HEADER_BYTES)) & 0xffff, 10);
  return packet;
}
