// SPDX-License-Identifier: Apache-2.0
/** Attached programs see packets and connects of their namespace and cgroup, are swapped, pinned, and gone again. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { MARK_UDP, maps } from '../../core/layout.gen.ts';
import { failureText, type Result } from '../../core/result.ts';
import {
  attachCgroup,
  attachDevice,
  cgroupRoot,
  openPinned,
  removePin,
  type Attachment,
  type DeviceOptions,
} from '../../kernel/attach.ts';
import { mount, unmount } from '../../kernel/libc.ts';
import { insideNamespace, namespacePath } from '../../kernel/netns.ts';
import { loadObject, type LoadedObject } from '../../kernel/object.ts';
import { KernelStore } from '../../kernel/store.ts';

const object = readFileSync(resolve(import.meta.dirname, '../../bpf/tandem.bpf.o'));
const name = `tandem-attach-${process.pid}`;
let loaded: LoadedObject;
let store: KernelStore;
let cgroup = '';
let folder = '';

function unwrap<T>(result: Result<T>): T {
  if (!result.ok) throw new Error(failureText(result.error));
  return result.value;
}

beforeAll(() => {
  execFileSync('ip', ['netns', 'add', name]);
  execFileSync('nsenter', [`--net=${namespacePath(name)}`, 'ip', 'link', 'set', 'lo', 'up']);
  cgroup = join(unwrap(cgroupRoot()), name);
  mkdirSync(cgroup);
  folder = mkdtempSync(join(tmpdir(), 'tandem-attach-'));
  const result = loadObject({ object, name: 'tandem.bpf.o', settings: { testMode: 1 }, maxEntries: { flows: 64 } });
  if (!result.ok) throw new Error(failureText(result.error));
  loaded = result.value;
  store = new KernelStore(loaded);
});

afterAll(() => {
  loaded?.[Symbol.dispose]();
  execFileSync('ip', ['netns', 'del', name]);
  rmdirSync(cgroup);
  rmSync(folder, { recursive: true });
});

/** How often programs passed a branch mark so far. */
function marks(mark: number): number {
  return unwrap(store.get(maps.testControl, 0))?.marks[mark] ?? 0;
}

/** A UDP datagram to nobody, from inside the namespace: each hook of lo that it passes counts "not TCP". */
function sendDatagram(): void {
  const shell = 'echo x > /dev/udp/127.0.0.1/9';
  execFileSync('nsenter', [`--net=${namespacePath(name)}`, 'bash', '-c', shell]);
}

/** A connect() to a closed port from a process of the cgroup, inside the namespace. */
function connect(address = '127.0.0.1'): void {
  const shell = `echo $$ > ${cgroup}/cgroup.procs; (exec 3<>/dev/tcp/${address}/9) 2>/dev/null; true`;
  execFileSync('nsenter', [`--net=${namespacePath(name)}`, 'bash', '-c', shell]);
}

/** Whatever the connect hook decides, it passes a mark. */
function connectsSeen(): number {
  return unwrap(store.get(maps.testControl, 0))?.marks.reduce((sum, count) => sum + count, 0) ?? 0;
}

/** How much `count` grows while `action` runs. */
function growth(count: () => number, action: () => void): number {
  const before = count();
  action();
  return count() - before;
}

const datagrams = (): number => growth(() => marks(MARK_UDP), sendDatagram);

function attach(options: Omit<DeviceOptions, 'device'>): Attachment {
  return unwrap(unwrap(insideNamespace(namespacePath(name), () => attachDevice({ ...options, device: 'lo' }))));
}

describe('a device', () => {
  test.each([
    ['tcx', 'ingress'],
    ['tcx', 'egress'],
    ['clsact', 'ingress'],
    ['clsact', 'egress'],
  ] as const)('runs the program by %s at %s until it is taken off', (method, direction) => {
    expect(datagrams()).toBe(0);
    const attachment = attach({ programFd: loaded.programFd('tc_from_pod'), direction, method });
    expect(attachment.description).toBe(`${method} ${direction} of lo`);
    expect(datagrams()).toBeGreaterThan(0);
    expect(
      unwrap(insideNamespace(namespacePath(name), () => attachment.replace(loaded.programFd('tc_to_pod')))),
    ).toEqual({
      ok: true,
      value: undefined,
    });
    expect(datagrams()).toBeGreaterThan(0);
    unwrap(insideNamespace(namespacePath(name), () => attachment[Symbol.dispose]()));
    expect(datagrams()).toBe(0);
  });

  test('takes tcx where the kernel has it', () => {
    using attachment = attach({ programFd: loaded.programFd('tc_from_pod'), direction: 'ingress' });
    expect(attachment.method).toBe('tcx');
  });

  test('that is not there is named', () => {
    const attached = attachDevice({
      programFd: loaded.programFd('tc_from_pod'),
      device: 'tandem-none',
      direction: 'ingress',
    });
    expect(attached).toMatchObject({ ok: false, error: { object: 'device tandem-none', message: 'ENODEV' } });
  });

  test('refuses a program of another kind with the name of the error', () => {
    const programFd = loaded.programFd('sock_connect4');
    const attached = insideNamespace(namespacePath(name), () =>
      attachDevice({ programFd, device: 'lo', direction: 'ingress', method: 'tcx' }),
    );
    expect(unwrap(attached)).toMatchObject({
      ok: false,
      error: { object: 'tcx ingress of lo', message: 'attach: EINVAL' },
    });
  });
});

describe('a cgroup', () => {
  const families = [
    { hook: 'connect4', own: '127.0.0.1', other: '::1' },
    { hook: 'connect6', own: '::1', other: '127.0.0.1' },
  ] as const;
  test.each(families)('runs $hook for its own processes and family until it is taken off', ({ hook, own, other }) => {
    const seen = (address: string): number => growth(connectsSeen, () => connect(address));
    const attachment = unwrap(attachCgroup(loaded.programFd(`sock_${hook}`), cgroup, hook));
    expect(seen(own)).toBeGreaterThan(0);
    expect(seen(other)).toBe(0);
    expect(attachment.replace(loaded.programFd(`sock_${hook}`)).ok).toBe(true);
    expect(seen(own)).toBeGreaterThan(0);
    attachment[Symbol.dispose]();
    expect(seen(own)).toBe(0);
  });

  test.each(['connect4', 'connect6', 'getpeername4', 'getpeername6'] as const)(
    'takes the program of a hook at that hook only: %s',
    (hook) => {
      const hooks = ['connect4', 'connect6', 'getpeername4', 'getpeername6'] as const;
      const accepted = hooks.filter((place) => {
        const attached = attachCgroup(loaded.programFd(`sock_${hook}`), cgroup, place);
        if (attached.ok) attached.value[Symbol.dispose]();
        return attached.ok;
      });
      expect(accepted).toEqual([hook]);
    },
  );

  test('of another kind is refused with the remedy', () => {
    expect(attachCgroup(loaded.programFd('sock_connect4'), folder, 'connect4')).toMatchObject({
      ok: false,
      error: {
        object: folder,
        message: 'not in a cgroup v2 hierarchy',
        remedy: 'give a directory below a cgroup2 mount',
      },
    });
  });

  test('hierarchy that is not mounted is said to be missing', () => {
    const mounts = join(folder, 'mounts');
    execFileSync('bash', ['-c', `grep -v ' cgroup2 ' /proc/mounts > ${mounts}`]);
    expect(cgroupRoot(mounts)).toMatchObject({ ok: false, error: { object: 'cgroup2', message: 'not mounted' } });
  });
});

describe('a pin', () => {
  test('outlives the process, is taken over, and ends with its file', async () => {
    const root = join(folder, 'bpffs');
    mkdirSync(root);
    unwrap(mount('bpf', root, 'bpf'));
    try {
      const path = join(root, 'links/connect4');
      const first = unwrap(attachCgroup(loaded.programFd('sock_connect4'), cgroup, 'connect4'));
      unwrap(first.pin(path));
      first[Symbol.dispose]();
      expect(growth(connectsSeen, connect)).toBeGreaterThan(0);
      const second = unwrap(openPinned(path, 'cgroup'));
      expect(second.replace(loaded.programFd('sock_connect4')).ok).toBe(true);
      second[Symbol.dispose]();
      expect(growth(connectsSeen, connect)).toBeGreaterThan(0);
      removePin(path);
      expect(existsSync(path)).toBe(false);
      // The kernel frees an unpinned link in its own time.
      for (let round = 0; round < 100 && growth(connectsSeen, connect) > 0; round++) await sleep(20);
      expect(growth(connectsSeen, connect)).toBe(0);
    } finally {
      unwrap(unmount(root));
    }
  });

  test('without a bpffs is refused with the remedy', () => {
    using attachment = unwrap(attachCgroup(loaded.programFd('sock_connect4'), cgroup, 'connect4'));
    expect(attachment.pin(join(folder, 'plain/connect4'))).toMatchObject({
      ok: false,
      error: {
        object: join(folder, 'plain'),
        message: 'no bpffs is mounted there',
        remedy: 'mount -t bpf bpf /sys/fs/bpf',
      },
    });
  });

  test('that is not there is named', () => {
    expect(openPinned(join(folder, 'nothing'), 'tcx')).toMatchObject({
      ok: false,
      error: { object: join(folder, 'nothing') },
    });
  });
});
