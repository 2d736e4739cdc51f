// SPDX-License-Identifier: Apache-2.0
/** The C library's calls that Node does not offer: namespaces, mounts, ioctl, raw sockets, the barrier. */
import koffi from 'koffi';
import { getSystemErrorName } from 'node:util';
import { fail, ok, type Result } from '../core/result.ts';

// The running process itself has the symbols, whatever the C library's file is called.
const library = koffi.load(null);

const c = {
  setns: library.func('int setns(int fd, int kind)') as (fd: number, kind: number) => number,
  unshare: library.func('int unshare(int flags)') as (flags: number) => number,
  mount: library.func('int mount(str source, str target, str type, unsigned long flags, str data)') as (
    source: string,
    target: string,
    type: string,
    flags: number,
    data: string | null,
  ) => number,
  umount2: library.func('int umount2(str target, int flags)') as (target: string, flags: number) => number,
  ioctl: library.func('int ioctl(int fd, unsigned long request, void *argument)') as (
    fd: number,
    request: number,
    argument: Uint8Array,
  ) => number,
  recvmsg: library.func('int64_t recvmsg(int fd, void *message, int flags)') as (
    fd: number,
    message: Uint8Array,
    flags: number,
  ) => number,
  ifNameToIndex: library.func('unsigned int if_nametoindex(str name)') as (name: string) => number,
  socket: library.func('int socket(int family, int type, int protocol)') as (
    family: number,
    type: number,
    protocol: number,
  ) => number,
  sendto: library.func('int64_t sendto(int fd, void *data, size_t size, int flags, void *to, uint32_t toSize)') as (
    fd: number,
    data: Uint8Array,
    size: number,
    flags: number,
    to: Uint8Array | null,
    toSize: number,
  ) => number,
  getsockopt: library.func('int getsockopt(int fd, int level, int option, void *value, void *size)') as (
    fd: number,
    level: number,
    option: number,
    value: Uint8Array,
    size: Uint8Array,
  ) => number,
  mmap: library.func('void *mmap(void *address, size_t length, int access, int flags, int fd, int64_t offset)') as (
    address: null,
    length: number,
    access: number,
    flags: number,
    fd: number,
    offset: number,
  ) => bigint | null,
  connect: library.func('int connect(int fd, void *to, uint32_t toSize)') as (
    fd: number,
    to: Uint8Array,
    toSize: number,
  ) => number,
  bind: library.func('int bind(int fd, void *address, uint32_t size)') as (
    fd: number,
    address: Uint8Array,
    size: number,
  ) => number,
  getsockname: library.func('int getsockname(int fd, void *address, void *size)') as (
    fd: number,
    address: Uint8Array,
    size: Uint8Array,
  ) => number,
  recvfrom: library.func(
    'int64_t recvfrom(int fd, void *data, size_t size, int flags, void *from, void *fromSize)',
  ) as (
    fd: number,
    data: Uint8Array,
    size: number,
    flags: number,
    from: Uint8Array | null,
    fromSize: Uint8Array | null,
  ) => number,
  setsockopt: library.func('int setsockopt(int fd, int level, int option, void *value, uint32_t size)') as (
    fd: number,
    level: number,
    option: number,
    value: Uint8Array,
    size: number,
  ) => number,
  listen: library.func('int listen(int fd, int backlog)') as (fd: number, backlog: number) => number,
  accept: library.func('int accept(int fd, void *address, void *size)') as (
    fd: number,
    address: null,
    size: null,
  ) => number,
  dup: library.func('int dup(int fd)') as (fd: number) => number,
  syscall: library.func(
    'int64_t syscall(int64_t number, int64_t a, int64_t b, int64_t c, int64_t d, int64_t e, int64_t f)',
  ) as (number: number, ...words: readonly (number | bigint)[]) => number,
};

export const CLONE_NEWNET = 0x40000000;
export const MNT_DETACH = 2;
export const AF_INET = 2;
export const AF_INET6 = 10;
export const AF_PACKET = 17;
export const SOCK_STREAM = 1;
export const SOCK_DGRAM = 2;
export const SOCK_RAW = 3;
export const SOCK_NONBLOCK = 0o4000;
/** Without it a socket would leak into every process that we start. */
export const SOCK_CLOEXEC = 0o2000000;
export const AF_UNSPEC = 0;
const MSG_DONTWAIT = 0x40;
const PROT_READ = 1;
const PROT_WRITE = 2;
const MAP_SHARED = 1;
const MAP_FAILED = 2n ** 64n - 1n;

/** Linux' number of membarrier(2) by Node's name of the architecture. */
const membarrierNumber: Readonly<Record<string, number>> = {
  x64: 324,
  arm64: 283,
  s390x: 356,
  ppc64: 365,
  riscv64: 283,
};
const MEMBARRIER_CMD_GLOBAL = 1;

/** `EPERM` for 1; the number itself where the system has no name for it. */
export function errnoName(errno: number): string {
  return errno > 0 ? getSystemErrorName(-errno) : `errno ${errno}`;
}

/** errno is read only after a failed call: koffi keeps a stale one after success. */
function judged(returned: number, step: string): Result<number> {
  return returned < 0 ? fail('environment', step, errnoName(koffi.errno())) : ok(returned);
}

/** Moves the calling thread, and what it starts from now on, into the namespace that `fd` stands for. */
export function setNamespace(fd: number, kind: number): Result<number> {
  return judged(c.setns(fd, kind), 'setns');
}

export function unshare(flags: number): Result<number> {
  return judged(c.unshare(flags), 'unshare');
}

export function mount(source: string, target: string, type: string): Result<number> {
  return judged(c.mount(source, target, type, 0, null), `mount ${type} on ${target}`);
}

/** Pins below a bpffs go with its last mount. */
export function unmount(target: string, flags = 0): Result<number> {
  return judged(c.umount2(target, flags), `unmount ${target}`);
}

/** `argument` is written and read in place. A pointer inside it must point into memory that the caller keeps. */
export function ioctl(fd: number, request: number, argument: Uint8Array, step: string): Result<number> {
  return judged(c.ioctl(fd, request, argument), step);
}

/** Address of the bytes for a pointer inside a struct; it does not keep the bytes alive. */
export function addressOf(bytes: Uint8Array): bigint {
  return koffi.address(bytes);
}

const MSG_ERRQUEUE = 0x2000;

/** One error of a socket's queue: the packet that met it, whom that was for, and what is said of it (ancillary data). */
export type QueuedError = { readonly data: Uint8Array; readonly to: Uint8Array; readonly control: Uint8Array };

/** Takes the oldest error out of a socket's queue (IP_RECVERR), without waiting; undefined where there is none. */
export function receiveError(fd: number): QueuedError | undefined {
  const [data, to, control] = [Buffer.alloc(2048), Buffer.alloc(28), Buffer.alloc(512)];
  const vector = Buffer.alloc(16);
  vector.writeBigUInt64LE(addressOf(data), 0);
  vector.writeBigUInt64LE(BigInt(data.length), 8);
  // struct msghdr { name, its length, vector, its length, control, its length, flags }
  const message = Buffer.alloc(56);
  message.writeBigUInt64LE(addressOf(to), 0);
  message.writeUInt32LE(to.length, 8);
  message.writeBigUInt64LE(addressOf(vector), 16);
  message.writeBigUInt64LE(1n, 24);
  message.writeBigUInt64LE(addressOf(control), 32);
  message.writeBigUInt64LE(BigInt(control.length), 40);
  const length = c.recvmsg(fd, message, MSG_ERRQUEUE | MSG_DONTWAIT);
  if (length < 0) return undefined;
  const controlLength = Number(message.readBigUInt64LE(40));
  return { data: data.subarray(0, length), to, control: control.subarray(0, controlLength) };
}

/** Index of a device in the caller's network namespace. */
export function deviceIndex(name: string): Result<number> {
  const index = c.ifNameToIndex(name);
  return index === 0 ? fail('environment', `device ${name}`, errnoName(koffi.errno())) : ok(index);
}

/** A file descriptor of a new socket, closed on exec; close it with `closeSync`. */
export function openSocket(family: number, type: number, protocol: number): Result<number> {
  return judged(c.socket(family, type | SOCK_CLOEXEC, protocol), 'socket');
}

/** Connects to a `struct sockaddr`: 0, or the errno, which is the answer that callers are after. */
export function connectSocket(fd: number, to: Uint8Array): number {
  return c.connect(fd, to, to.length) === 0 ? 0 : koffi.errno();
}

/** Sends the bytes to a `struct sockaddr`; the number of bytes taken. */
export function sendTo(fd: number, data: Uint8Array, to: Uint8Array): Result<number> {
  return judged(c.sendto(fd, data, data.length, 0, to, to.length), 'sendto');
}

/** Sends to a `struct sockaddr`, or to whom the socket is connected to: 0, or the errno, which callers are after. */
export function sendDatagram(fd: number, data: Uint8Array, to?: Uint8Array, flags = 0): number {
  return c.sendto(fd, data, data.length, flags, to ?? null, to?.length ?? 0) >= 0 ? 0 : koffi.errno();
}

/** Binds to a `struct sockaddr`: 0 or the errno. */
export function bindSocket(fd: number, address: Uint8Array): number {
  return c.bind(fd, address, address.length) === 0 ? 0 : koffi.errno();
}

/** Fills `address`, a `struct sockaddr`, with the socket's own. */
export function socketName(fd: number, address: Uint8Array): Result<number> {
  const size = new Uint8Array(Uint32Array.of(address.length).buffer);
  return judged(c.getsockname(fd, address, size), 'getsockname');
}

/**
 * Takes what has arrived, without waiting: the number of bytes, or minus the errno (EAGAIN: nothing is there). `from`
 * is filled with the sender's `struct sockaddr`.
 */
export function receiveFrom(fd: number, data: Uint8Array, from?: Uint8Array): number {
  const size = from === undefined ? null : new Uint8Array(Uint32Array.of(from.length).buffer);
  const got = c.recvfrom(fd, data, data.length, MSG_DONTWAIT, from ?? null, size);
  return got < 0 ? -koffi.errno() : got;
}

/** Fills `value` with a socket option. */
export function socketOption(fd: number, level: number, option: number, value: Uint8Array): Result<number> {
  const size = new Uint8Array(Uint32Array.of(value.length).buffer);
  return judged(c.getsockopt(fd, level, option, value, size), `getsockopt ${option}`);
}

export function setSocketOption(fd: number, level: number, option: number, value: Uint8Array): Result<number> {
  return judged(c.setsockopt(fd, level, option, value, value.length), `setsockopt ${option}`);
}

export function listenOn(fd: number, backlog: number): Result<number> {
  return judged(c.listen(fd, backlog), 'listen');
}

/** The descriptor of the next connection; waits for it where the socket does. */
export function acceptFrom(fd: number): Result<number> {
  return judged(c.accept(fd, null, null), 'accept');
}

/** A second descriptor of the same thing. */
export function duplicate(fd: number): Result<number> {
  return judged(c.dup(fd), 'dup');
}

/** A system call by its number; below 0: failed. Pointers by `addressOf`, whose memory the caller keeps. */
export function systemCall(number: number, ...given: readonly (number | bigint)[]): number {
  return c.syscall(number, ...Array.from({ length: 6 }, (_, at) => given[at] ?? 0));
}

/**
 * Returns when every BPF program that was running has ended (synchronize_rcu, about 8 ms): what was taken out of the
 * maps before is then out of sight for all of them. Linux 4.3.
 */
export function barrier(): Result<number> {
  const number = membarrierNumber[process.arch];
  if (number === undefined) return fail('environment', 'membarrier', `unknown on ${process.arch}`);
  return judged(systemCall(number, MEMBARRIER_CMD_GLOBAL), 'membarrier');
}

/**
 * Memory of a mmapable BPF map, readable and writable, shared with the kernel. Never unmapped: a view of unmapped
 * memory would crash the process, and it goes with the process anyway. Linux 5.5.
 */
export function mapMemory(fd: number, lengthBytes: number, offset = 0): Result<ArrayBuffer> {
  const address = c.mmap(null, lengthBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, offset);
  // MAP_FAILED; a view of it would crash Node.
  if (address === null || address === MAP_FAILED) return fail('environment', 'mmap', errnoName(koffi.errno()));
  return ok(koffi.view(address, lengthBytes));
}
