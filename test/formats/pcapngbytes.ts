// SPDX-License-Identifier: Apache-2.0
/** pcapng files put together from the drawings of the draft, by code that shares nothing with reader and writer. */

export type ByteOrder = 'little' | 'big';

/** Numbers of given widths and bytes, one after the other. */
export type Part = readonly [width: 1 | 2 | 4 | 8, value: number | bigint] | Uint8Array;

export type Option = readonly [code: number, value: Uint8Array];

/** All parts in a row. */
export function bytesOf(order: ByteOrder, ...parts: readonly Part[]): Uint8Array {
  return Uint8Array.from(Buffer.concat(parts.map((part) => (part instanceof Uint8Array ? part : word(order, part)))));
}

function word(order: ByteOrder, [width, value]: readonly [number, number | bigint]): Uint8Array {
  const digits = BigInt.asUintN(width * 8, BigInt(value))
    .toString(16)
    .padStart(width * 2, '0');
  const bytes = Buffer.from(digits, 'hex');
  return order === 'big' ? bytes : bytes.reverse();
}

/** With zeros up to four bytes. */
export function pad(bytes: Uint8Array): Uint8Array {
  return Buffer.concat([bytes, Buffer.alloc((4 - (bytes.length % 4)) % 4)]);
}

export function optionsOf(order: ByteOrder, options: readonly Option[], end = true): Uint8Array {
  if (options.length === 0) return new Uint8Array(0);
  const told = options.map(([code, value]) => bytesOf(order, [2, code], [2, value.length], pad(value)));
  return Buffer.concat([...told, ...(end ? [new Uint8Array(4)] : [])]);
}

export function block(order: ByteOrder, type: number, ...parts: readonly Part[]): Uint8Array {
  const body = bytesOf(order, ...parts);
  const length = body.length + 12;
  return bytesOf(order, [4, type], [4, length], body, [4, length]);
}

export function sectionHeader(order: ByteOrder, length: bigint = -1n, options: readonly Option[] = []): Uint8Array {
  return block(order, 0x0a0d0d0a, [4, 0x1a2b3c4d], [2, 1], [2, 0], [8, length], optionsOf(order, options));
}

export function interfaceDescription(
  order: ByteOrder,
  linkType: number,
  snapLength = 0,
  options: readonly Option[] = [],
): Uint8Array {
  return block(order, 1, [2, linkType], [2, 0], [4, snapLength], optionsOf(order, options));
}

export type Packet = {
  readonly id?: number;
  readonly units?: bigint;
  readonly data: Uint8Array;
  readonly original?: number;
  readonly options?: readonly Option[];
};

export function enhancedPacket(order: ByteOrder, packet: Packet): Uint8Array {
  const { id = 0, units = 0n, data, original = data.length, options = [] } = packet;
  const time: readonly Part[] = [
    [4, units >> 32n],
    [4, units & 0xffffffffn],
  ];
  const lengths: readonly Part[] = [
    [4, data.length],
    [4, original],
  ];
  return block(order, 6, [4, id], ...time, ...lengths, pad(data), optionsOf(order, options));
}

export function obsoletePacket(order: ByteOrder, packet: Packet): Uint8Array {
  const { id = 0, units = 0n, data, original = data.length, options = [] } = packet;
  const time: readonly Part[] = [
    [4, units >> 32n],
    [4, units & 0xffffffffn],
  ];
  const lengths: readonly Part[] = [
    [4, data.length],
    [4, original],
  ];
  return block(order, 2, [2, id], [2, 7], ...time, ...lengths, pad(data), optionsOf(order, options));
}

export function simplePacket(order: ByteOrder, original: number, data: Uint8Array): Uint8Array {
  return block(order, 3, [4, original], pad(data));
}
