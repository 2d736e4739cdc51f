// SPDX-License-Identifier: Apache-2.0
/**
 * Ends connected UDP sockets whose backend is gone, network namespace by network namespace: nobody else would tell
 * them. The program of bpf/hook_iter.h decides; it sees the sockets of the namespace in which it is started.
 */
import { closeSync, existsSync, readSync } from 'node:fs';
import { fail, ok, type Failure, type Result } from '../core/result.ts';
import { libbpf, type Libbpf } from './libbpf.ts';
import { errnoName } from './libc.ts';
import { insideNamespace } from './netns.ts';
import type { LoadedObject } from './object.ts';

/** What one sweep, or all of a series, came to. */
export type Swept = {
  readonly namespaces: number;
  /** Sockets that were ended, by Service port. */
  readonly ended: ReadonlyMap<number, number>;
  readonly sockets: number;
  readonly sweeps: number;
  /** Namespaces that could not be visited. One that is gone took its sockets along, and is none of them. */
  readonly failures: readonly Failure[];
};

/** A sweeper is attached to nothing: it runs when it is asked to. */
export interface Sweeper extends Disposable {
  /** One sweep over the namespaces at these paths. Each visit is synchronous: about 1 µs a socket. */
  sweep(paths: readonly string[]): Swept;
}

const BPF_TRACE_ITER = 28;
/** Bytes of a Service port's number, which the program writes for each socket. */
const RECORD_BYTES = 4;
const READ_BYTES = 4096;

/** Needs an object with `sock_destroy`. Linux 6.5. */
export function openSweeper(object: LoadedObject): Result<Sweeper> {
  const library = libbpf();
  if (!library.ok) return library;
  const link = library.value.linkCreate(object.programFd('sock_destroy'), 0, BPF_TRACE_ITER, null);
  if (link < 0) return fail('environment', 'sock_destroy', `attach: ${errnoName(-link)}`, 'run as root');
  return ok({
    sweep: (paths) => sweepAll(library.value, link, paths),
    [Symbol.dispose]: () => closeSync(link),
  });
}

function sweepAll(bpf: Libbpf, link: number, paths: readonly string[]): Swept {
  const ended = new Map<number, number>();
  const failures: Failure[] = [];
  let sockets = 0;
  for (const path of paths) {
    const visit = insideNamespace(path, () => sweepHere(bpf, link));
    const found = visit.ok ? visit.value : visit;
    if (!found.ok) {
      if (existsSync(path)) failures.push(found.error);
      continue;
    }
    sockets += found.value.length;
    for (const servicePort of found.value) ended.set(servicePort, (ended.get(servicePort) ?? 0) + 1);
  }
  return { namespaces: paths.length, ended, sockets, sweeps: 1, failures };
}

/** Runs the program over the sockets of the thread's network namespace; the Service port of each that it ended. */
function sweepHere(bpf: Libbpf, link: number): Result<readonly number[]> {
  const iterator = bpf.iterCreate(link);
  if (iterator < 0) return fail('environment', 'sock_destroy', `start: ${errnoName(-iterator)}`, 'run as root');
  const found: number[] = [];
  const buffer = Buffer.alloc(READ_BYTES);
  try {
    for (;;) {
      // The kernel hands over whole records only.
      const length = readSync(iterator, buffer);
      if (length === 0) return ok(found);
      for (let at = 0; at + RECORD_BYTES <= length; at += RECORD_BYTES) found.push(buffer.readUInt32LE(at));
    }
  } catch (error) {
    return fail('environment', 'sock_destroy', error instanceof Error ? error.message : String(error));
  } finally {
    closeSync(iterator);
  }
}

export type SweepOptions = {
  readonly sweeper: Sweeper;
  /** Asked before each sweep: pods come and go. */
  readonly namespaces: () => readonly string[];
  readonly pause: (durationMs: number) => Promise<void>;
  /** Default 1,000 and 10. */
  readonly pauseMs?: number;
  readonly sweepsMax?: number;
};

const QUIET_SWEEPS = 2;

/**
 * Sweeps until two sweeps in a row find nothing: a connect() that chose its backend before it was withdrawn is stored
 * by the kernel after the first sweep has passed. Call it after the barrier that followed the withdrawal.
 */
export async function sweepUntilQuiet(options: SweepOptions): Promise<Swept> {
  const { sweeper, namespaces, pause, pauseMs = 1_000, sweepsMax = 10 } = options;
  const ended = new Map<number, number>();
  let last: Swept = { namespaces: 0, ended, sockets: 0, sweeps: 0, failures: [] };
  let sockets = 0;
  let sweeps = 0;
  for (let quiet = 0; quiet < QUIET_SWEEPS && sweeps < sweepsMax; sweeps++) {
    if (sweeps > 0) await pause(pauseMs);
    last = sweeper.sweep(namespaces());
    quiet = last.sockets === 0 ? quiet + 1 : 0;
    sockets += last.sockets;
    for (const [servicePort, count] of last.ended) ended.set(servicePort, (ended.get(servicePort) ?? 0) + count);
  }
  return { ...last, ended, sockets, sweeps };
}
