// SPDX-License-Identifier: Apache-2.0
/** Offloads of a network device through SIOCETHTOOL, in the caller's network namespace; no ethtool program needed. */
import { closeSync } from 'node:fs';
import { fail, ok, type Result } from '../core/result.ts';
import { addressOf, AF_INET, ioctl, openSocket, SOCK_DGRAM } from './libc.ts';

const SIOCETHTOOL = 0x8946;
const DEVICE_NAME_BYTES = 16;
/** struct ifreq is 40 bytes; the ethtool_value it points to lies behind it in the same buffer. */
const VALUE_AT = 64;

/** linux/ethtool.h: the commands that read and write one offload. */
const commands = {
  /** Checksums are left to the device: a receiver at the other end of a veth then verifies nothing. */
  'transmit-checksum': { get: 0x16, set: 0x17 },
  'tcp-segmentation': { get: 0x1e, set: 0x1f },
  'generic-segmentation': { get: 0x23, set: 0x24 },
  'generic-receive': { get: 0x2b, set: 0x2c },
} as const;

export type Offload = keyof typeof commands;

/** struct ifreq with the device's name and a pointer to struct ethtool_value { cmd, data }. */
function ethtool(device: string, command: number, data: number): Result<number> {
  if (Buffer.byteLength(device) >= DEVICE_NAME_BYTES) return fail('input', `device ${device}`, 'name too long');
  const request = Buffer.alloc(128);
  request.write(device, 0);
  request.writeBigUInt64LE(addressOf(request) + BigInt(VALUE_AT), DEVICE_NAME_BYTES);
  request.writeUInt32LE(command, VALUE_AT);
  request.writeUInt32LE(data, VALUE_AT + 4);
  const socket = openSocket(AF_INET, SOCK_DGRAM, 0);
  if (!socket.ok) return socket;
  try {
    const done = ioctl(socket.value, SIOCETHTOOL, request, `device ${device}`);
    return done.ok ? ok(request.readUInt32LE(VALUE_AT + 4)) : done;
  } finally {
    closeSync(socket.value);
  }
}

export function readOffload(device: string, offload: Offload): Result<boolean> {
  const read = ethtool(device, commands[offload].get, 0);
  return read.ok ? ok(read.value !== 0) : read;
}

/** Switches one offload and reads it back: a driver may accept the request and keep its mind. */
export function writeOffload(device: string, offload: Offload, on: boolean): Result<boolean> {
  const written = ethtool(device, commands[offload].set, on ? 1 : 0);
  if (!written.ok) return written;
  const read = readOffload(device, offload);
  if (read.ok && read.value !== on) {
    return fail('environment', `device ${device}`, `${offload} offload stays ${read.value ? 'on' : 'off'}`);
  }
  return read;
}
