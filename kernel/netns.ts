// SPDX-License-Identifier: Apache-2.0
/** Network namespaces: a synchronous visit to one by path, and the cookie by which BPF programs know it. */
import { closeSync, openSync } from 'node:fs';
import { assert, fail, ok, type Result } from '../core/result.ts';
import { AF_INET, CLONE_NEWNET, openSocket, setNamespace, SOCK_DGRAM, socketOption } from './libc.ts';

const SOL_SOCKET = 1;
const SO_NETNS_COOKIE = 71;

/** Where iproute2 keeps a named namespace. */
export function namespacePath(name: string): string {
  return `/run/netns/${name}`;
}

/** A descriptor of a namespace, or why there is none. */
function openNamespace(path: string): Result<number> {
  try {
    return ok(openSync(path, 'r'));
  } catch (error) {
    return fail('environment', path, error instanceof Error ? error.message : String(error), 'is the namespace there?');
  }
}

/**
 * Runs `action` with the calling thread inside the namespace, then comes back. Only synchronous calls belong inside:
 * after an await other code would run in the wrong namespace, so an action that returns a promise is a bug.
 */
export function insideNamespace<T>(path: string, action: () => T): Result<T> {
  const target = openNamespace(path);
  if (!target.ok) return target;
  // thread-self: setns moves one thread, and /proc/self is the process's first one.
  const home = openSync('/proc/thread-self/ns/net', 'r');
  try {
    const entered = setNamespace(target.value, CLONE_NEWNET);
    if (!entered.ok) return fail('environment', path, `cannot enter: ${entered.error.message}`, 'run as root');
    try {
      const value = action();
      assert(!(value instanceof Promise), 'a visit to a namespace is synchronous');
      return ok(value);
    } finally {
      const left = setNamespace(home, CLONE_NEWNET);
      assert(left.ok, `cannot leave the network namespace ${path}`);
    }
  } finally {
    closeSync(home);
    closeSync(target.value);
  }
}

/** The cookie of the namespace at `path`, as `bpf_get_netns_cookie` gives it. Linux 5.14. */
export function namespaceCookie(path: string): Result<bigint> {
  const visit = insideNamespace(path, (): Result<bigint> => {
    const socket = openSocket(AF_INET, SOCK_DGRAM, 0);
    if (!socket.ok) return socket;
    try {
      const value = Buffer.alloc(8);
      const read = socketOption(socket.value, SOL_SOCKET, SO_NETNS_COOKIE, value);
      return read.ok ? ok(value.readBigUInt64LE(0)) : fail('environment', path, `netns cookie: ${read.error.message}`);
    } finally {
      closeSync(socket.value);
    }
  });
  return visit.ok ? visit.value : visit;
}
