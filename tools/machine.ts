// SPDX-License-Identifier: Apache-2.0
/** What a test run could leave behind on a machine: taken before and after, the difference is a failure by name. */
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** One set of names per kind of thing. */
export type MachineSnapshot = Readonly<Record<MachineKind, readonly string[]>>;

/** The kinds that are watched. */
export type MachineKind = 'namespace' | 'link' | 'filter' | 'pin' | 'cgroup' | 'program';

/** One thing that was there only before or only after; `ours` when its name or place says that we made it. */
export type MachineDifference = {
  readonly kind: MachineKind;
  readonly name: string;
  readonly change: 'appeared' | 'vanished';
  readonly ours: boolean;
};

const depthMax = 8;
/** Everything we make is named so; programs have the names of design: hook and direction. */
const ownNames = /tandem|name (tc_(from|to)_|xdp_from_|sock_)/;

/** Reads the machine's state; what does not exist here (no bpffs, no bpftool) is an empty list. */
export function takeSnapshot(): MachineSnapshot {
  return {
    namespace: listNames('/run/netns'),
    link: listNames('/sys/class/net'),
    filter: listFilters(),
    pin: listTree(findMount('bpf')),
    cgroup: listFolders(findMount('cgroup2'), 0),
    program: listPrograms(),
  };
}

/**
 * Compares two snapshots. `ours` decides by name, because other work goes on on a machine; a machine that runs only
 * the tests (`exclusive`) blames the tests for everything but the service manager's own groups.
 */
export function compareSnapshots(
  before: MachineSnapshot,
  after: MachineSnapshot,
  { exclusive }: { readonly exclusive: boolean },
): readonly MachineDifference[] {
  const kinds: readonly MachineKind[] = ['namespace', 'link', 'filter', 'pin', 'cgroup', 'program'];
  return kinds.flatMap((kind) => {
    const was = new Set(before[kind]);
    const is = new Set(after[kind]);
    const describe = (name: string, change: 'appeared' | 'vanished'): MachineDifference => {
      const managed = /\.(slice|service|scope|mount|socket)(\/|$)/.test(name);
      return { kind, name, change, ours: ownNames.test(name) || (exclusive && !managed) };
    };
    return [
      ...after[kind].filter((name) => !was.has(name)).map((name) => describe(name, 'appeared')),
      ...before[kind].filter((name) => !is.has(name)).map((name) => describe(name, 'vanished')),
    ];
  });
}

/** Processes that carry `variable=value` in their environment: what a run started and did not end. */
export function findProcesses(variable: string, value: string): readonly string[] {
  const wanted = `${variable}=${value}`;
  return listNames('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .filter((pid) => readIfThere(`/proc/${pid}/environ`).split('\0').includes(wanted))
    .map((pid) => `${pid} ${readIfThere(`/proc/${pid}/cmdline`).replaceAll('\0', ' ').trim()}`)
    .filter((line) => line.includes(' '));
}

function listNames(folder: string): readonly string[] {
  return existsSync(folder) ? readdirSync(folder).toSorted() : [];
}

/** A process or a group may end while we look. */
function readIfThere(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    if (code === 'ENOENT' || code === 'ESRCH' || code === 'EACCES' || code === 'EPERM') return '';
    throw error;
  }
}

function findMount(type: string): string | undefined {
  const lines = readIfThere('/proc/mounts').split('\n');
  return lines.map((line) => line.split(' ')).find((fields) => fields[2] === type)?.[1];
}

function listTree(root: string | undefined): readonly string[] {
  if (root === undefined || !existsSync(root)) return [];
  return readdirSync(root, { recursive: true, encoding: 'utf8' }).toSorted();
}

function listFolders(root: string | undefined, depth: number): readonly string[] {
  if (root === undefined || depth > depthMax || !existsSync(root)) return [];
  const folders = readdirSync(root, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  return folders
    .map((entry) => join(root, entry.name))
    .flatMap((path) => [path, ...listFolders(path, depth + 1)])
    .toSorted();
}

/** clsact and what hangs on it outlive the process that attached it. */
function listFilters(): readonly string[] {
  return toolLines('tc', ['qdisc', 'show']).filter((line) => /clsact|ingress/.test(line));
}

/** Loaded programs; an id is never given twice. The service manager's (sd_) come and go with its units. */
function listPrograms(): readonly string[] {
  const heads = toolLines('bpftool', ['prog', 'show']).filter((line) => /^\d+: .*name /.test(line));
  return heads.map((line) => line.replace(/\s+gpl.*$/, '')).filter((line) => !/name (sd_|hid_)/.test(line));
}

function toolLines(program: string, args: readonly string[]): readonly string[] {
  try {
    const output = execFileSync(program, args, {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
      timeout: 10_000,
    });
    return output.split('\n').map((line) => line.trim());
  } catch (error) {
    if (error instanceof Error && ('code' in error || 'status' in error)) return [];
    throw error;
  }
}
