// SPDX-License-Identifier: Apache-2.0
/** io_uring by its raw system calls: one request at a time, submitted by us or by the kernel's own thread. */
import { addressOf, mapMemory, systemCall } from '../../kernel/libc.ts';

const SETUP = 425;
const ENTER = 426;
const SETUP_SQPOLL = 2;
const ENTER_GETEVENTS = 1;
const ENTER_SQ_WAKEUP = 2;
const OFFSET_CQ_RING = 0x8000000;
const OFFSET_SQES = 0x10000000;
const ENTRIES = 4;
const WAIT_MS = 1_000;

export const OP_SENDMSG = 9;
export const OP_CONNECT = 16;

export type Request = {
  readonly op: number;
  readonly fd: number;
  readonly address: Uint8Array;
  /** Of OP_CONNECT: bytes of the address. */
  readonly offset?: number;
};

/** A ring, until the process ends. */
export type Ring = {
  /** What the request came to: 0 or more, or minus the errno. */
  run(request: Request): number;
};

/** undefined: this kernel, or its settings, have none. */
export function openRing(usesKernelThread: boolean): Ring | undefined {
  const parameters = Buffer.alloc(120);
  if (usesKernelThread) {
    parameters.writeUInt32LE(SETUP_SQPOLL, 8);
    parameters.writeUInt32LE(50, 16);
  }
  const fd = systemCall(SETUP, ENTRIES, addressOf(parameters));
  if (fd < 0) return undefined;
  const map = (length: number, offset: number): Uint32Array => {
    const memory = mapMemory(fd, length, offset);
    if (!memory.ok) throw new Error(memory.error.message);
    return new Uint32Array(memory.value);
  };
  // struct io_sqring_offsets at 40, io_cqring_offsets at 80
  const at = (offset: number): number => parameters.readUInt32LE(offset) / 4;
  const [sqTail, sqMask, sqArray] = [at(44), at(48), at(64)];
  const [cqHead, cqTail, cqMask, cqes] = [at(80), at(84), at(88), at(100)];
  const sq = map(4096, 0);
  const cq = map(4096, OFFSET_CQ_RING);
  const requests = map(ENTRIES * 64, OFFSET_SQES);
  const wait = usesKernelThread ? ENTER_SQ_WAKEUP | ENTER_GETEVENTS : ENTER_GETEVENTS;
  const run = ({ op, fd: socket, address, offset = 0 }: Request): number => {
    const tail = Atomics.load(sq, sqTail);
    const slot = tail & (sq[sqMask] ?? 0);
    const request = new DataView(requests.buffer, requests.byteOffset + slot * 64, 64);
    for (let word = 0; word < 64; word += 8) request.setBigUint64(word, 0n, true);
    request.setUint8(0, op);
    request.setInt32(4, socket, true);
    request.setBigUint64(8, BigInt(offset), true);
    request.setBigUint64(16, addressOf(address), true);
    request.setUint32(24, op === OP_SENDMSG ? 1 : 0, true);
    // OP_CONNECT has the size where others have an offset.
    sq[sqArray + slot] = slot;
    Atomics.store(sq, sqTail, tail + 1);
    const endsAtMs = performance.now() + WAIT_MS;
    while (Atomics.load(cq, cqHead) === Atomics.load(cq, cqTail)) {
      if (performance.now() > endsAtMs) return Number.NaN;
      systemCall(ENTER, fd, usesKernelThread ? 0 : 1, 1, wait);
    }
    const head = Atomics.load(cq, cqHead);
    const answer = new DataView(cq.buffer, cq.byteOffset + cqes * 4 + (head & (cq[cqMask] ?? 0)) * 16, 16);
    const result = answer.getInt32(8, true);
    Atomics.store(cq, cqHead, head + 1);
    return result;
  };
  return { run };
}

/** `struct msghdr` of a datagram to a `struct sockaddr`; `kept` must live until the request is done. */
export function messageTo(to: Uint8Array, data: Uint8Array): { readonly header: Uint8Array; readonly kept: unknown } {
  const vector = Buffer.alloc(64);
  vector.writeBigUInt64LE(addressOf(data), 0);
  vector.writeBigUInt64LE(BigInt(data.length), 8);
  const header = Buffer.alloc(64);
  header.writeBigUInt64LE(addressOf(to), 0);
  header.writeUInt32LE(to.length, 8);
  header.writeBigUInt64LE(addressOf(vector), 16);
  header.writeBigUInt64LE(1n, 24);
  return { header, kept: [to, data, vector] };
}
