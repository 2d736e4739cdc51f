// SPDX-License-Identifier: Apache-2.0
/** Runs a program with a deadline in a process group of its own, so that nothing it started outlives it. */
import { spawn } from 'node:child_process';
import { statSync } from 'node:fs';

const graceMs = 5_000;
const outputBytesMax = 4 << 20;

/** What to run; `environment` is added to ours, `asOwner` drops root for the owner of `directory`. */
export type ProgramOptions = {
  readonly program: string;
  readonly args: readonly string[];
  readonly directory: string;
  readonly environment?: Readonly<Record<string, string>>;
  readonly timeoutMs: number;
  readonly asOwner?: boolean;
};

/** How it ended; `output` is standard output and error as they came, the oldest cut off beyond 4 MiB. */
export type ProgramResult = {
  readonly exit: { readonly kind: 'code'; readonly code: number } | { readonly kind: 'timeout' | 'missing' | 'signal' };
  readonly output: string;
  readonly durationMs: number;
};

const running = new Set<number>();

/** Runs a program to its end or to its deadline; never rejects. */
export function runProgram(options: ProgramOptions): Promise<ProgramResult> {
  const startedMs = performance.now();
  const chunks: Buffer[] = [];
  let bytes = 0;
  let timedOut = false;
  const child = spawn(options.program, options.args, {
    cwd: options.directory,
    env: { ...process.env, ...options.environment },
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
    ...(options.asOwner === true ? ownerOf(options.directory) : {}),
  });
  if (child.pid !== undefined) running.add(child.pid);
  const keep = (chunk: Buffer): void => {
    chunks.push(chunk);
    bytes += chunk.length;
    while (bytes > outputBytesMax && chunks.length > 1) bytes -= chunks.shift()?.length ?? 0;
  };
  child.stdout.on('data', keep);
  child.stderr.on('data', keep);
  const timer = setTimeout(() => {
    timedOut = true;
    if (child.pid !== undefined) endGroup(child.pid);
  }, options.timeoutMs);
  return new Promise((resolve) => {
    const finish = (exit: ProgramResult['exit']): void => {
      clearTimeout(timer);
      if (child.pid !== undefined) {
        // Whatever of the group did not listen to the first signal.
        if (timedOut) signalGroup(child.pid, 'SIGKILL');
        running.delete(child.pid);
      }
      const output = Buffer.concat(chunks).toString('utf8');
      resolve({ exit: timedOut ? { kind: 'timeout' } : exit, output, durationMs: performance.now() - startedMs });
    };
    child.on('error', () => finish({ kind: 'missing' }));
    child.on('close', (code) => finish(code === null ? { kind: 'signal' } : { kind: 'code', code }));
  });
}

/** Ends everything this process has running; for the handlers of SIGINT and SIGTERM. */
export function endPrograms(): void {
  for (const pid of running) signalGroup(pid, 'SIGTERM');
}

function endGroup(pid: number): void {
  signalGroup(pid, 'SIGTERM');
  setTimeout(() => signalGroup(pid, 'SIGKILL'), graceMs).unref();
}

function signalGroup(pid: number, signal: NodeJS.Signals): void {
  if (!running.has(pid)) return;
  try {
    process.kill(-pid, signal);
  } catch (error) {
    // The group ended by itself between the look and the signal.
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
  }
}

function ownerOf(directory: string): { uid?: number; gid?: number } {
  if (process.getuid?.() !== 0) return {};
  const { uid, gid } = statSync(directory);
  return uid === 0 ? {} : { uid, gid };
}
