// SPDX-License-Identifier: Apache-2.0
/** Packets of our own making, put on a real path: raw IPv4 with its header included, or whole frames on a device. */
import { closeSync } from 'node:fs';
import { TCP, type Address, type Port } from '../core/address.ts';
import { ok, type Result } from '../core/result.ts';
import { AF_INET, AF_PACKET, deviceIndex, openSocket, sendTo, SOCK_RAW } from '../kernel/libc.ts';
import { insideNamespace } from '../kernel/netns.ts';

const IPPROTO_RAW = 255;
const IPV4_HEADER_BYTES = 20;
const TCP_HEADER_BYTES = 20;
const TCP_SYN = 0x02;

function flat<T>(visit: Result<Result<T>>): Result<T> {
  return visit.ok ? visit.value : visit;
}

/** Opens a socket in the namespace, sends once, closes. */
function sendOnce(
  path: string,
  family: number,
  protocol: number,
  data: Uint8Array,
  to: () => Result<Uint8Array>,
): Result<number> {
  return flat(
    insideNamespace(path, (): Result<number> => {
      const target = to();
      if (!target.ok) return target;
      const socket = openSocket(family, SOCK_RAW, protocol);
      if (!socket.ok) return socket;
      try {
        return sendTo(socket.value, data, target.value);
      } finally {
        closeSync(socket.value);
      }
    }),
  );
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
  return sendOnce(path, AF_INET, IPPROTO_RAW, packet, () => ok(to));
}

/** Sends a whole Ethernet frame out of a device of the namespace, past its network stack. */
export function sendFrame(path: string, device: string, frame: Uint8Array): Result<number> {
  return sendOnce(path, AF_PACKET, 0, frame, () => {
    const index = deviceIndex(device);
    if (!index.ok) return index;
    // struct sockaddr_ll { family, protocol, ifindex, hatype, pkttype, halen, address[8] }
    const to = Buffer.alloc(20);
    to.writeUInt16LE(AF_PACKET, 0);
    to.set(frame.subarray(12, 14), 2);
    to.writeInt32LE(index.value, 4);
    to.writeUInt8(6, 11);
    to.set(frame.subarray(0, 6), 12);
    return ok(to);
  });
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
  /** Added to the right checksum; 0 for a packet that receivers accept. */
  readonly checksumError: number;
};

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
  const right = ~sum16(Buffer.concat([pseudoHeader, segment])) & 0xffff;
  segment.writeUInt16BE((right + syn.checksumError) & 0xffff, 16);
  return packet;
}
