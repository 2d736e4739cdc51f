// SPDX-License-Identifier: Apache-2.0
/** Attaches loaded programs to devices and cgroups, replaces them in place, and pins them so that they outlive us. */
import { closeSync, mkdirSync, openSync, readFileSync, rmSync, statfsSync } from 'node:fs';
import { dirname } from 'node:path';
import type { SocketHook } from '../core/control/hooks.ts';
import { fail, ok, type Result } from '../core/result.ts';
import { libbpf, type Libbpf } from './libbpf.ts';
import { deviceIndex, errnoName } from './libc.ts';

/** A program in its place. Disposing of it detaches, unless it was pinned. */
export interface Attachment extends Disposable {
  /** `tcx ingress of eth0`, for status and messages. */
  readonly description: string;
  readonly method: 'cgroup' | 'tcx' | 'clsact';
  /** Swaps the program without a gap; no packet and no connect sees neither. */
  replace(programFd: number): Result<void>;
  /** Lets it outlive this process by a path in a bpffs; its directory is made. clsact filters outlive it anyway. */
  pin(path: string): Result<void>;
}

export type CgroupHook = SocketHook;
export type Direction = 'ingress' | 'egress';

/** uapi/linux/bpf.h, enum bpf_attach_type. */
const ATTACH_CGROUP: { readonly [hook in CgroupHook]: number } = {
  connect4: 10,
  connect6: 11,
  sendmsg4: 14,
  sendmsg6: 15,
  recvmsg4: 19,
  recvmsg6: 20,
  getpeername4: 29,
  getpeername6: 30,
};
const ATTACH_TCX: { readonly [direction in Direction]: number } = { ingress: 46, egress: 47 };
/** libbpf.h, enum bpf_tc_attach_point. */
const TC_POINT: { readonly [direction in Direction]: number } = { ingress: 1, egress: 2 };
const TC_REPLACE = 1;
/** One priority and handle of our own, so that foreign filters are neither replaced nor removed. */
const TC_PRIORITY = 0x7a0d;
const TC_HANDLE = 1;
const LINK_OPTIONS_SIZE = 64;
const BPF_F_BEFORE = 8;
const BPFFS_MAGIC = 0xcafe4a11;
const CGROUP2_MAGIC = 0x63677270;
const EINVAL = 22;
const EEXIST = 17;
const EPERM = 1;

function refused(object: string, step: string, errno: number): Result<never> {
  return fail('environment', object, `${step}: ${errnoName(errno)}`, errno === EPERM ? 'run as root' : '');
}

/** A bpf_link by its descriptor. */
class Link implements Attachment {
  readonly description: string;
  readonly method: 'cgroup' | 'tcx';
  private readonly bpf: Libbpf;
  private fd: number;

  constructor(bpf: Libbpf, fd: number, method: 'cgroup' | 'tcx', description: string) {
    this.bpf = bpf;
    this.fd = fd;
    this.method = method;
    this.description = description;
  }

  replace(programFd: number): Result<void> {
    const returned = this.bpf.linkUpdate(this.fd, programFd, null);
    return returned === 0 ? ok(undefined) : refused(this.description, 'replace', -returned);
  }

  pin(path: string): Result<void> {
    const ready = preparePin(path);
    if (!ready.ok) return ready;
    const returned = this.bpf.objPin(this.fd, path);
    return returned === 0 ? ok(undefined) : refused(path, `pin ${this.description}`, -returned);
  }

  [Symbol.dispose](): void {
    if (this.fd >= 0) closeSync(this.fd);
    this.fd = -1;
  }
}

/** A classic filter of the clsact qdisc, for kernels before 6.6. The qdisc itself stays: others may use it. */
class Filter implements Attachment {
  readonly description: string;
  readonly method = 'clsact' as const;
  private readonly bpf: Libbpf;
  private readonly hook: Uint8Array;
  private attached = true;

  constructor(bpf: Libbpf, hook: Uint8Array, description: string) {
    this.bpf = bpf;
    this.hook = hook;
    this.description = description;
  }

  replace(programFd: number): Result<void> {
    const returned = this.bpf.tcAttach(this.hook, filterOptions(programFd, TC_REPLACE));
    return returned === 0 ? ok(undefined) : refused(this.description, 'replace', -returned);
  }

  pin(): Result<void> {
    this.attached = false;
    return ok(undefined);
  }

  /** In the network namespace of the device. A device that is gone took its filters along. */
  [Symbol.dispose](): void {
    if (this.attached) this.bpf.tcDetach(this.hook, filterOptions(0, 0));
    this.attached = false;
  }
}

/** struct bpf_tc_opts; handle and priority name the filter. */
function filterOptions(programFd: number, flags: number): Uint8Array {
  const options = Buffer.alloc(32);
  options.writeBigUInt64LE(32n, 0);
  options.writeInt32LE(programFd, 8);
  options.writeUInt32LE(flags, 12);
  options.writeUInt32LE(TC_HANDLE, 20);
  options.writeUInt32LE(TC_PRIORITY, 24);
  return options;
}

/** struct bpf_tc_hook. */
function filterHook(ifindex: number, direction: Direction): Uint8Array {
  const hook = Buffer.alloc(24);
  hook.writeBigUInt64LE(24n, 0);
  hook.writeInt32LE(ifindex, 8);
  hook.writeInt32LE(TC_POINT[direction], 12);
  return hook;
}

/** Where a cgroup v2 hierarchy is mounted, the first of them; hybrid systems have it below the old ones. */
export function cgroupRoot(mountsPath: string = '/proc/mounts'): Result<string> {
  const mounts = readFileSync(mountsPath, 'utf8').split('\n');
  const mount = mounts.map((line) => line.split(' ')).find((fields) => fields[2] === 'cgroup2')?.[1];
  if (mount !== undefined) return ok(mount);
  return fail('environment', 'cgroup2', 'not mounted', 'mount -t cgroup2 none /sys/fs/cgroup');
}

/** Attaches to a directory of a cgroup v2 hierarchy: every socket of a process in it or below passes the program. */
export function attachCgroup(programFd: number, cgroup: string, hook: CgroupHook): Result<Attachment> {
  const library = libbpf();
  if (!library.ok) return library;
  const place = openOn(cgroup, CGROUP2_MAGIC, 'not in a cgroup v2 hierarchy', 'give a directory below a cgroup2 mount');
  if (!place.ok) return place;
  try {
    const fd = library.value.linkCreate(programFd, place.value, ATTACH_CGROUP[hook], null);
    const description = `${hook} of ${cgroup}`;
    return fd < 0 ? refused(description, 'attach', -fd) : ok(new Link(library.value, fd, 'cgroup', description));
  } finally {
    closeSync(place.value);
  }
}

/** `device` is looked up in the caller's network namespace. `method` only to force one; default tcx, then clsact. */
export type DeviceOptions = {
  readonly programFd: number;
  readonly device: string;
  readonly direction: Direction;
  readonly method?: 'tcx' | 'clsact';
};

/** Attaches to a device: at ingress before all other programs, at egress after them. tcx needs Linux 6.6. */
export function attachDevice({ programFd, device, direction, method }: DeviceOptions): Result<Attachment> {
  const library = libbpf();
  if (!library.ok) return library;
  const index = deviceIndex(device);
  if (!index.ok) return index;
  if (method !== 'clsact') {
    const options = Buffer.alloc(LINK_OPTIONS_SIZE);
    options.writeBigUInt64LE(BigInt(LINK_OPTIONS_SIZE), 0);
    options.writeUInt32LE(direction === 'ingress' ? BPF_F_BEFORE : 0, 8);
    const fd = library.value.linkCreate(programFd, index.value, ATTACH_TCX[direction], options);
    const description = `tcx ${direction} of ${device}`;
    if (fd >= 0) return ok(new Link(library.value, fd, 'tcx', description));
    if (fd !== -EINVAL || method === 'tcx') return refused(description, 'attach', -fd);
  }
  return attachFilter(library.value, programFd, filterHook(index.value, direction), `clsact ${direction} of ${device}`);
}

function attachFilter(bpf: Libbpf, programFd: number, hook: Uint8Array, description: string): Result<Attachment> {
  const created = bpf.tcHookCreate(hook);
  if (created < 0 && created !== -EEXIST) return refused(description, 'make the clsact qdisc', -created);
  const returned = bpf.tcAttach(hook, filterOptions(programFd, 0));
  return returned === 0 ? ok(new Filter(bpf, hook, description)) : refused(description, 'attach', -returned);
}

/** Takes over a link that an earlier process pinned; disposing of it closes our handle and leaves the pin. */
export function openPinned(path: string, method: 'cgroup' | 'tcx'): Result<Attachment> {
  const library = libbpf();
  if (!library.ok) return library;
  const fd = library.value.objGet(path);
  return fd < 0 ? refused(path, 'open the pinned link', -fd) : ok(new Link(library.value, fd, method, path));
}

/** Removes a pin; the program is detached once nobody else holds the link. */
export function removePin(path: string): void {
  rmSync(path, { force: true });
}

/** Makes the pin's directory and checks that it lies in a bpffs. */
function preparePin(path: string): Result<void> {
  const folder = dirname(path);
  try {
    mkdirSync(folder, { recursive: true });
  } catch (error) {
    return fail('environment', folder, error instanceof Error ? error.message : String(error), 'run as root');
  }
  return isFileSystem(folder, BPFFS_MAGIC) ? ok(undefined) : bpffsMissing(folder);
}

/** Checks that a directory is the place for pins. */
export function checkBpffs(root: string): Result<void> {
  return isFileSystem(root, BPFFS_MAGIC) ? ok(undefined) : bpffsMissing(root);
}

function bpffsMissing(path: string): Result<never> {
  return fail('environment', path, 'no bpffs is mounted there', 'mount -t bpf bpf /sys/fs/bpf');
}

/** statfs(2)'s magic number; a path that is not there has none. */
function isFileSystem(path: string, magic: number): boolean {
  try {
    return statfsSync(path).type === magic;
  } catch (error) {
    if (error instanceof Error && 'code' in error) return false;
    throw error;
  }
}

function openOn(path: string, magic: number, message: string, remedy: string): Result<number> {
  if (!isFileSystem(path, magic)) return fail('environment', path, message, remedy);
  try {
    return ok(openSync(path, 'r'));
  } catch (error) {
    return fail('environment', path, error instanceof Error ? error.message : String(error), 'run as root');
  }
}
