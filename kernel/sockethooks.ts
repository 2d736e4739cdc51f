// SPDX-License-Identifier: Apache-2.0
/** Keeps exactly those socket programs attached to a cgroup that are wanted now. */
import { ok, type Result } from '../core/result.ts';
import { attachCgroup, type Attachment, type CgroupHook } from './attach.ts';
import type { LoadedObject } from './object.ts';

/** Disposing of it detaches all of them. */
export interface SocketHooks extends Disposable {
  /**
   * Attaches what is missing, in the order given, then detaches what is not wanted any more. After a failure what was
   * attached stays, and the next call goes on.
   */
  want(hooks: readonly CgroupHook[]): Result<void>;
  readonly attached: readonly CgroupHook[];
}

/** `cgroup`: a directory of a cgroup v2 hierarchy; the programs see the sockets of every process below it. */
export function createSocketHooks(object: LoadedObject, cgroup: string): SocketHooks {
  const attachments = new Map<CgroupHook, Attachment>();
  const drop = (hook: CgroupHook): void => {
    attachments.get(hook)?.[Symbol.dispose]();
    attachments.delete(hook);
  };
  const want = (hooks: readonly CgroupHook[]): Result<void> => {
    for (const hook of hooks) {
      if (attachments.has(hook)) continue;
      const attached = attachCgroup(object.programFd(`sock_${hook}`), cgroup, hook);
      if (!attached.ok) return attached;
      attachments.set(hook, attached.value);
    }
    // In reverse: nothing is translated any more once its answer would not be shown.
    for (const hook of [...attachments.keys()].toReversed()) if (!hooks.includes(hook)) drop(hook);
    return ok(undefined);
  };
  return {
    want,
    get attached() {
      return [...attachments.keys()];
    },
    [Symbol.dispose]: () => {
      for (const hook of [...attachments.keys()].toReversed()) drop(hook);
    },
  };
}
