// SPDX-License-Identifier: Apache-2.0
/** `tandem setup`: the launcher has brought everything by the time this runs; it says what is there now. */
import { existsSync, readFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { release } from 'node:os';
import type { CommandRun } from './commands.ts';
import { exitCode, printText } from './output.ts';

/** Prints one line per thing the other commands need. */
export const run: CommandRun = async () => {
  const lines = [
    ['Node', process.version],
    ['kernel', release()],
    ['ip', findProgram('ip')],
    ['tcpdump', findProgram('tcpdump')],
    ['clang', findProgram('clang')],
    ['bpftool', findProgram('bpftool')],
    ['cgroup v2', findMount('cgroup2')],
    ['bpf filesystem', findMount('bpf')],
    ['kernel BTF', existsSync('/sys/kernel/btf/vmlinux') ? '/sys/kernel/btf/vmlinux' : 'none'],
    ['user', process.getuid?.() === 0 ? 'root' : 'not root: demo, lab, verify and the kernel suites need it'],
  ];
  printText(lines.map(([what, found]) => `${(what ?? '').padEnd(15)} ${found}`).join('\n'));
  return exitCode.agreed;
};

function findProgram(name: string): string {
  const directories = (process.env['PATH'] ?? '').split(delimiter).filter((directory) => directory !== '');
  return directories.map((directory) => join(directory, name)).find((path) => existsSync(path)) ?? 'not found';
}

function findMount(type: string): string {
  if (!existsSync('/proc/mounts')) return 'not mounted';
  const mounts = readFileSync('/proc/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' '));
  return mounts.find((fields) => fields[2] === type)?.[1] ?? 'not mounted';
}
