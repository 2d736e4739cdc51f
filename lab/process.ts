// SPDX-License-Identifier: Apache-2.0
/** Processes of a lab: started in their cgroup and network namespace before the first instruction of their program. */
import { spawn, type ChildProcessByStdio } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import { fail, ok, type Result } from '../core/result.ts';

/** Where a process runs. */
export type Place = {
  /** Directory below the cgroup v2 mount. */
  readonly cgroup: string;
  /** Path of a network namespace; absent: the caller's. */
  readonly namespacePath?: string;
};

export type LabProcess = ChildProcessByStdio<Writable, Readable, Readable>;

/** The shell moves itself and becomes the program, so no instruction of it runs outside; a removed cgroup ends it. */
const joinScript = 'cgroup=$1; shift; echo $$ >"$cgroup/cgroup.procs" && exec "$@"';

/** Root's PATH in a container may lack the directories of ip and tcpdump. */
const environment = { ...process.env, PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin:/usr/bin:/bin` };

/** `lasting` processes outlive the caller (a lab that stays). */
export function startInside(place: Place, command: readonly string[], lasting = false): LabProcess {
  const enter = place.namespacePath === undefined ? [] : ['nsenter', `--net=${place.namespacePath}`, '--'];
  return spawn('/bin/sh', ['-c', joinScript, 'tandem-lab', place.cgroup, ...enter, ...command], {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: environment,
    cwd: '/',
    detached: lasting,
  });
}

function collected(stream: Readable): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    stream.setEncoding('utf8');
    stream.on('data', (chunk: string) => {
      text += chunk;
    });
    stream.on('end', () => resolve(text));
    stream.on('error', reject);
  });
}

/** Resolves when the process has ended: its exit code, null after a signal. */
export function ended(child: LabProcess): Promise<number | null> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve(child.exitCode);
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => resolve(code));
  });
}

/** Runs a command to its end with `input` on its standard input; what it printed, or what it complained about. */
export async function runInside(place: Place, command: readonly string[], input: string): Promise<Result<string>> {
  const child = startInside(place, command);
  // A command that ends without reading its input is judged by its exit code.
  child.stdin.on('error', () => child.stdin.destroy());
  child.stdin.end(input);
  const [output, complaints, code] = await Promise.all([
    collected(child.stdout),
    collected(child.stderr),
    ended(child),
  ]);
  if (code === 0) return ok(output);
  return fail('environment', command.join(' '), complaints.trim().replaceAll('\n', ' ') || `ended with ${code}`);
}

/**
 * The first line of standard output within `timeoutMs`; a process that ends before is a failure with what it said on
 * standard error.
 */
export async function firstLine(child: LabProcess, timeoutMs: number): Promise<Result<string>> {
  let complaints = '';
  const onComplaint = (chunk: Buffer): void => {
    complaints += chunk.toString();
  };
  child.stderr.on('data', onComplaint);
  const line = await new Promise<string | undefined>((resolve) => {
    let text = '';
    const timer = setTimeout(() => resolve(undefined), timeoutMs);
    child.stdout.on('data', function onData(chunk: Buffer) {
      text += chunk.toString();
      if (!text.includes('\n')) return;
      clearTimeout(timer);
      child.stdout.off('data', onData);
      resolve(text.slice(0, text.indexOf('\n')));
    });
    child.once('close', () => {
      clearTimeout(timer);
      resolve(undefined);
    });
  });
  child.stderr.off('data', onComplaint);
  if (line !== undefined) return ok(line);
  const said = complaints.trim().split('\n').at(-1) ?? '';
  return fail('environment', child.spawnargs.slice(4).join(' ').slice(0, 200), said || 'not ready in time');
}
