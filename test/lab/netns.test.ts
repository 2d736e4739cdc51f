// SPDX-License-Identifier: Apache-2.0
/** A visit to a network namespace ends where it began, whatever happens inside. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, readlinkSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { writeOffload } from '../../kernel/ethtool.ts';
import { barrier, deviceIndex } from '../../kernel/libc.ts';
import { insideNamespace, namespaceCookie } from '../../kernel/netns.ts';

const home = (): string => readlinkSync('/proc/thread-self/ns/net');
const homeBefore = home();
let neighbour: ChildProcess;
let path = '';

beforeAll(async () => {
  // A namespace without a name, held by a process that has nothing but `lo` in it.
  neighbour = spawn('unshare', ['--net', 'sh', '-c', 'echo up; read -r _'], { stdio: ['pipe', 'pipe', 'inherit'] });
  if (neighbour.stdout === null) throw new Error('no standard output');
  await once(neighbour.stdout, 'data');
  path = `/proc/${neighbour.pid}/ns/net`;
});
afterAll(() => neighbour.stdin?.end());

test('inside there are other devices and another cookie, outside nothing has changed', () => {
  const inside = insideNamespace(path, () => ({
    id: home(),
    devices: readFileSync('/proc/thread-self/net/dev', 'utf8').split('\n').slice(2, -1).length,
    loopback: deviceIndex('lo'),
  }));
  expect(inside).toEqual({ ok: true, value: { id: readlinkSync(path), devices: 1, loopback: { ok: true, value: 1 } } });
  expect(home()).toBe(homeBefore);
  expect(namespaceCookie(path)).not.toEqual(namespaceCookie('/proc/thread-self/ns/net'));
});

test.each([
  {
    what: 'throws',
    visit: (): unknown => {
      throw new Error('inside');
    },
    message: 'inside',
  },
  {
    what: 'returns a promise',
    visit: async (): Promise<void> => undefined,
    message: 'a visit to a namespace is synchronous',
  },
])('a visit that $what comes back and is loud', ({ visit, message }) => {
  expect(() => insideNamespace(path, visit)).toThrow(message);
  expect(home()).toBe(homeBefore);
});

test.each([
  {
    what: 'a namespace',
    result: () => insideNamespace('/run/netns/tandem-none', () => 1),
    said: /tandem-none: ENOENT/,
  },
  {
    what: 'a file that is no namespace',
    result: () => insideNamespace('/etc/hostname', () => 1),
    said: /cannot enter: EINVAL/,
  },
  { what: 'a device', result: () => deviceIndex('tandem-none'), said: /ENODEV/ },
  { what: 'a device', result: () => writeOffload('tandem-none', 'transmit-checksum', false), said: /ENODEV/ },
  {
    what: 'a short name',
    result: () => writeOffload('x'.repeat(16), 'transmit-checksum', false),
    said: /name too long/,
  },
])('what is not $what is a failure that says so', ({ result, said }) => {
  const outcome = result();
  expect(outcome.ok ? '' : `${outcome.error.object}: ${outcome.error.message}`).toMatch(said);
});

test('the barrier returns', () => {
  expect(barrier()).toEqual({ ok: true, value: 0 });
});
