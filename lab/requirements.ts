// SPDX-License-Identifier: Apache-2.0
/** What a machine must have for a lab: root, cgroup v2, the BPF filesystem, three programs. */
import { accessSync, constants, readFileSync } from 'node:fs';
import { fail, ok, type Result } from '../core/result.ts';

/** The facts that decide, so that each refusal can be tested on any machine. */
export type Machine = {
  readonly userId: number;
  /** /proc/mounts */
  readonly mounts: string;
  /** /proc/filesystems */
  readonly filesystems: string;
  readonly hasProgram: (name: string) => boolean;
};

export type Requirements = {
  /** Where cgroup v2 is mounted. */
  readonly cgroupMount: string;
};

/** Debian's packages, by program. */
const programs: readonly (readonly [program: string, packageName: string])[] = [
  ['ip', 'iproute2'],
  ['nsenter', 'util-linux'],
  ['tcpdump', 'tcpdump'],
];

const searchPath: readonly string[] = [
  ...(process.env['PATH'] ?? '').split(':'),
  '/usr/sbin',
  '/sbin',
  '/usr/bin',
  '/bin',
];

function hasProgram(name: string): boolean {
  return searchPath.some((directory) => {
    try {
      accessSync(`${directory}/${name}`, constants.X_OK);
      return directory !== '';
    } catch (error) {
      // Absent here; the next directory may have it.
      void error;
      return false;
    }
  });
}

/** The machine we run on. */
export function thisMachine(): Machine {
  const text = (path: string): string => (process.platform === 'linux' ? readFileSync(path, 'utf8') : '');
  return {
    userId: process.geteuid?.() ?? -1,
    mounts: text('/proc/mounts'),
    filesystems: text('/proc/filesystems'),
    hasProgram,
  };
}

/** The first mount point of cgroup v2 in the text of /proc/mounts; spaces are written \040 there. */
export function findCgroupMount(mounts: string): string | undefined {
  for (const line of mounts.split('\n')) {
    const [, target, type] = line.split(' ');
    if (type === 'cgroup2' && target !== undefined) return target.replaceAll('\\040', ' ');
  }
  return undefined;
}

/** What the lab needs to know about the machine, or the one thing that is missing with its remedy. */
export function checkMachine(machine: Machine): Result<Requirements> {
  if (machine.userId !== 0) return fail('environment', 'lab', 'needs root (network namespaces)', 'run it with sudo');
  const cgroupMount = findCgroupMount(machine.mounts);
  if (cgroupMount === undefined) {
    const remedy = 'mount -t cgroup2 none /sys/fs/cgroup/unified (make the directory first)';
    return fail('environment', 'lab', 'cgroup v2 is not mounted', remedy);
  }
  if (!/^nodev\s+bpf$/m.test(machine.filesystems)) {
    return fail('environment', 'lab', 'this kernel has no bpffs', 'use a kernel with CONFIG_BPF_SYSCALL');
  }
  for (const [program, packageName] of programs) {
    if (!machine.hasProgram(program)) {
      return fail('environment', 'lab', `${program} is not installed`, `apt-get install ${packageName}`);
    }
  }
  return ok({ cgroupMount });
}
