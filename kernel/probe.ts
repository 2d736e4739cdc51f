// SPDX-License-Identifier: Apache-2.0
/** What the running kernel can do, found by trying; each missing feature is named with the first kernel that has it. */
import { closeSync, existsSync, readFileSync } from 'node:fs';
import { version } from 'node:os';
import { fail, ok, type Result } from '../core/result.ts';
import { cgroupRoot, checkBpffs } from './attach.ts';
import { libbpf, type Libbpf } from './libbpf.ts';
import { barrier } from './libc.ts';

/** One feature. `without`: what tandem does where it is missing; `mandatory` ones have no such way. */
export type Feature = {
  readonly name: string;
  /** First Linux release that has it, or which ones have it. */
  readonly since: string;
  readonly present: boolean;
  readonly mandatory: boolean;
  readonly without: string;
};

/** uapi/linux/bpf.h: enums bpf_prog_type, bpf_attach_type, bpf_map_type, bpf_func_id. */
const PROGRAM_SCHED_CLS = 3;
const PROGRAM_CGROUP_SOCK_ADDR = 18;
const ATTACH_CONNECT4 = 10;
const ATTACH_GETPEERNAME4 = 29;
const ATTACH_TCX_INGRESS = 46;
const MAP_ARRAY = 2;
const MAP_MMAPABLE = 1024;
const HELPER_REDIRECT = 23;
const HELPER_KTIME_GET_COARSE_NS = 160;
const HELPER_SET_RETVAL = 187;
const LOOPBACK_INDEX = 1;
const KERNEL_BTF = '/sys/kernel/btf/vmlinux';

/** `r0 = 1; exit`: allowed as the result of every program type that is tried here. */
const RETURN_ONE = Uint8Array.of(0xb7, 0, 0, 0, 1, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0);
/** `r1 = 0; *(u64 *)(r10 - 8) = r1; atomic_or fetch; r0 = 1; exit`. */
const ATOMIC_FETCH = Uint8Array.of(
  ...[0xb7, 1, 0, 0, 0, 0, 0, 0],
  ...[0x7b, 0x1a, 0xf8, 0xff, 0, 0, 0, 0],
  ...[0xdb, 0x1a, 0xf8, 0xff, 0x41, 0, 0, 0],
  ...RETURN_ONE,
);

type Probe = Omit<Feature, 'present'> & { readonly try: (bpf: Libbpf) => boolean };

const PROBES: readonly Probe[] = [
  mandatory('mmapable arrays', '5.5', (bpf) => opens(createMmapable(bpf))),
  mandatory('getpeername hook', '5.8', (bpf) => loads(bpf, PROGRAM_CGROUP_SOCK_ADDR, ATTACH_GETPEERNAME4, RETURN_ONE)),
  mandatory('connect hook', '4.17', (bpf) => loads(bpf, PROGRAM_CGROUP_SOCK_ADDR, ATTACH_CONNECT4, RETURN_ONE)),
  mandatory('coarse clock', '5.11', (bpf) => hasHelper(bpf, PROGRAM_SCHED_CLS, HELPER_KTIME_GET_COARSE_NS)),
  mandatory('redirect', '4.4', (bpf) => hasHelper(bpf, PROGRAM_SCHED_CLS, HELPER_REDIRECT)),
  mandatory('atomics with a result', '5.12', (bpf) => loads(bpf, PROGRAM_SCHED_CLS, 0, ATOMIC_FETCH)),
  mandatory('refusal at connect', '5.18', (bpf) => hasHelper(bpf, PROGRAM_CGROUP_SOCK_ADDR, HELPER_SET_RETVAL)),
  mandatory('kernel BTF', '5.4', () => existsSync(KERNEL_BTF)),
  mandatory('softirqs that are not preempted', 'without PREEMPT_RT', () => endsSoftirqs(version())),
  mandatory('checksum mode', '6.2', () => kernelBtfNames('bpf_cast_to_kern_ctx')),
  optional('tcx', '6.6', 'clsact filters', (bpf) => hasTcx(bpf)),
  optional('membarrier', '4.3', 'a write to an array of maps', () => barrier().ok),
  optional('cgroup2 mount', '4.5', 'sockets are not served', () => cgroupRoot().ok),
  optional('bpffs mount', '4.4', 'nothing outlives the process', () => checkBpffs('/sys/fs/bpf').ok),
];

function mandatory(name: string, since: string, attempt: Probe['try']): Probe {
  return { name, since, mandatory: true, without: 'does not start', try: attempt };
}

function optional(name: string, since: string, without: string, attempt: Probe['try']): Probe {
  return { name, since, mandatory: false, without, try: attempt };
}

let known: readonly Feature[] | undefined;

/** Every feature, tried once per process. Needs root; nothing is attached and nothing stays. */
export function probeKernel(): Result<readonly Feature[]> {
  if (known !== undefined) return ok(known);
  const library = libbpf();
  if (!library.ok) return library;
  // The oldest feature of all: where even this fails, it is the permission that is missing.
  if (!loads(library.value, PROGRAM_SCHED_CLS, 0, RETURN_ONE)) {
    return fail('environment', 'bpf(2)', 'the kernel loads no program', 'run as root');
  }
  known = PROBES.map(({ try: attempt, ...feature }) => ({ ...feature, present: attempt(library.value) }));
  return ok(known);
}

/** Fails with the names of the mandatory features that are missing. */
export function requireFeatures(features: readonly Feature[]): Result<void> {
  const missing = features.filter((feature) => feature.mandatory && !feature.present);
  if (missing.length === 0) return ok(undefined);
  const list = missing.map(({ name, since }) => `${name} (Linux ${since})`).join(', ');
  return fail('environment', 'kernel', `lacks ${list}`, 'use a kernel that has it');
}

/**
 * Whether one packet on a CPU is done before the next one begins: they share memory (docs/adr/0004-stack.md). `text`: what
 * `uname -v` says.
 */
export function endsSoftirqs(text: string): boolean {
  return !text.includes('PREEMPT_RT');
}

function opens(fd: number): boolean {
  if (fd >= 0) closeSync(fd);
  return fd >= 0;
}

function createMmapable(bpf: Libbpf): number {
  const options = Buffer.alloc(64);
  options.writeBigUInt64LE(64n, 0);
  options.writeUInt32LE(MAP_MMAPABLE, 28);
  return bpf.mapCreate(MAP_ARRAY, 'tandem_probe', 4, 8, 1, options);
}

function loads(bpf: Libbpf, kind: number, attachType: number, instructions: Uint8Array): boolean {
  const options = Buffer.alloc(128);
  options.writeBigUInt64LE(128n, 0);
  options.writeInt32LE(attachType, 12);
  const stable = Buffer.alloc(64);
  stable.set(instructions);
  return opens(bpf.programLoad(kind, 'tandem_probe', 'GPL', stable, instructions.length / 8, options));
}

function hasHelper(bpf: Libbpf, kind: number, helper: number): boolean {
  return bpf.probeHelper(kind, helper, null) === 1;
}

/** A query is answered by every kernel that knows the hook, without touching a device. */
function hasTcx(bpf: Libbpf): boolean {
  const count = Buffer.alloc(64);
  return bpf.programQuery(LOOPBACK_INDEX, ATTACH_TCX_INGRESS, 0, null, null, count) === 0;
}

/** Whether the kernel's type information has a function of that name. */
function kernelBtfNames(name: string): boolean {
  return existsSync(KERNEL_BTF) && readFileSync(KERNEL_BTF).includes(`\0${name}\0`);
}
