// SPDX-License-Identifier: Apache-2.0
/** Where sockets are timed: a nameless network namespace with a loopback device, a cgroup, and hooks for it. */
import { spawnSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readdirSync, readFileSync, rmdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { assert, fail, ok, type Result } from '../core/result.ts';
import { attachCgroup, cgroupRoot, type Attachment, type CgroupHook } from '../kernel/attach.ts';
import { CLONE_NEWNET, setNamespace, unshare } from '../kernel/libc.ts';
import { insideNamespace } from '../kernel/netns.ts';
import type { LoadedObject } from '../kernel/object.ts';

const PREFIX = 'tandem-bench-';
const REMOVALS_MAX = 100;

/** Backends' addresses are all local; Services' have no route, so that none is reached without being translated. */
const COMMANDS = ['link set lo up', 'route add local 10.200.0.0/15 dev lo'];

/** What is attached for a round: a name, and where its programs come from. */
export type HookSet = 'none' | 'empty' | 'lookup' | 'tandem';

const HOOKS: readonly CgroupHook[] = ['connect4', 'sendmsg4', 'recvmsg4', 'getpeername4'];
const PROGRAM_PREFIX: { readonly [hooks in Exclude<HookSet, 'none'>]: string } = {
  empty: 'empty',
  lookup: 'lookup',
  tandem: 'sock',
};

/** The programs of bpf/hook_sock.h that are attached. */
export const TANDEM_PROGRAMS: readonly string[] = HOOKS.map((hook) => `sock_${hook}`);

/** What would distort the times of TCP; all zero in a good run. */
export type Trouble = {
  readonly retransmissions: number;
  /** Connections that found the listener's queue full. */
  readonly listenDrops: number;
  /** Ports that closed connections keep. */
  readonly timeWaits: number;
};

/** Disposing of it closes the namespace; the cgroup is removed once nobody is in it. */
export class SocketBench implements AsyncDisposable {
  readonly namespacePath: string;
  readonly cgroup: string;
  private readonly namespace: number;

  /** Needs root, iproute2 and cgroup v2. */
  static open(): Result<SocketBench> {
    const root = cgroupRoot();
    if (!root.ok) return root;
    const cgroup = `${root.value}/${PREFIX}${process.pid}`;
    try {
      removeStale(root.value);
      mkdirSync(cgroup, { recursive: true });
    } catch (error) {
      return fail('environment', cgroup, error instanceof Error ? error.message : String(error), 'run as root');
    }
    const namespace = newNamespace();
    if (namespace.ok) return ok(new SocketBench(namespace.value, cgroup));
    rmdirSync(cgroup);
    return namespace;
  }

  constructor(namespace: number, cgroup: string) {
    this.namespace = namespace;
    this.namespacePath = `/proc/${process.pid}/fd/${namespace}`;
    this.cgroup = cgroup;
  }

  /** Attaches one set of hooks; disposing of what is returned takes it off again. */
  attach(hooks: HookSet, object: LoadedObject): Result<Disposable> {
    const attachments = new DisposableStack();
    if (hooks === 'none') return ok(attachments);
    for (const hook of HOOKS) {
      const fd = object.programFd(`${PROGRAM_PREFIX[hooks]}_${hook}`);
      const attached: Result<Attachment> = attachCgroup(fd, this.cgroup, hook);
      if (!attached.ok) {
        attachments.dispose();
        return attached;
      }
      attachments.use(attached.value);
    }
    return ok(attachments);
  }

  /** Counted since the namespace was made. */
  trouble(): Result<Trouble> {
    const read = (file: string): string => readFileSync(`/proc/thread-self/net/${file}`, 'utf8');
    return insideNamespace(this.namespacePath, () => ({
      retransmissions: counterOf(read('snmp'), 'Tcp', 'RetransSegs'),
      listenDrops: counterOf(read('netstat'), 'TcpExt', 'ListenDrops'),
      timeWaits: Number(/^TCP: .*\btw (\d+)/m.exec(read('sockstat'))?.[1]),
    }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    closeSync(this.namespace);
    for (let tries = 1; !isRemoved(this.cgroup); tries++) {
      assert(tries < REMOVALS_MAX, `${this.cgroup} can be removed`);
      await sleep(10);
    }
  }
}

/** A counter of /proc/net/snmp: a line of names, then a line of numbers. */
function counterOf(text: string, group: string, name: string): number {
  const [names = [], values = []] = text
    .split('\n')
    .filter((line) => line.startsWith(`${group}: `))
    .map((line) => line.split(' '));
  return Number(values[names.indexOf(name)]);
}

/** A process that has just ended is still counted for a moment. */
function isRemoved(cgroup: string): boolean {
  try {
    rmdirSync(cgroup);
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EBUSY') return false;
    throw error;
  }
}

/** A run that was killed could not take its cgroup away; it is empty, and its process is gone. */
function removeStale(root: string): void {
  const alive = new Set(readdirSync('/proc'));
  for (const name of readdirSync(root))
    if (name.startsWith(PREFIX) && !alive.has(name.slice(PREFIX.length))) rmdirSync(`${root}/${name}`);
}

/** Descriptor of a new namespace, which is gone with it. */
function newNamespace(): Result<number> {
  const home = openSync('/proc/thread-self/ns/net', 'r');
  try {
    const made = unshare(CLONE_NEWNET);
    if (!made.ok) return fail('environment', 'network namespace', made.error.message, 'run as root');
    const failed = COMMANDS.map(ip).find((result) => !result.ok);
    const descriptor = openSync('/proc/thread-self/ns/net', 'r');
    const left = setNamespace(home, CLONE_NEWNET);
    assert(left.ok, 'the thread comes back to its network namespace');
    if (failed === undefined) return ok(descriptor);
    closeSync(descriptor);
    return failed.ok ? ok(descriptor) : failed;
  } finally {
    closeSync(home);
  }
}

function ip(command: string): Result<undefined> {
  const done = spawnSync('ip', command.split(' '), { encoding: 'utf8' });
  if (done.status === 0) return ok(undefined);
  return fail('environment', `ip ${command}`, done.error?.message ?? done.stderr.trim(), 'install iproute2');
}
