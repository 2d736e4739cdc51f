// SPDX-License-Identifier: Apache-2.0
/**
 * The one way a lab ends: `guardian.sh`, a detached process that holds the other end of a pipe of ours. When we close
 * the pipe, or die in whatever way, it takes the lab away.
 */
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { fail, ok, type Result } from '../core/result.ts';
import { ended, firstLine, type LabProcess } from './process.ts';
import { checkLabName } from './spec.ts';

export type Guardian = {
  /** Takes the lab away and returns when it is gone. */
  readonly end: () => Promise<Result<null>>;
  /** Lets the lab stay when this process ends. */
  readonly keep: () => Promise<Result<null>>;
};

/** The two directories that a lab owns. */
export type LabDirectories = { readonly cgroup: string; readonly run: string };

export function labDirectories(name: string, cgroupMount: string): LabDirectories {
  return { cgroup: `${cgroupMount}/tandem-${name}`, run: `/run/tandem-${name}` };
}

const script = new URL('./guardian.sh', import.meta.url).pathname;
const startTimeoutMs = 5_000;

function runScript(words: readonly string[]): LabProcess {
  return spawn('/bin/sh', [script, ...words], {
    stdio: ['pipe', 'pipe', 'pipe'],
    cwd: '/',
    // Its own session: neither the terminal's Ctrl-C nor the end of our process group reaches it.
    detached: true,
    env: { PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin:/usr/bin:/bin` },
  });
}

/** What it said on standard error decides nothing; its exit code does. */
async function judged(child: LabProcess, name: string): Promise<Result<null>> {
  let complaints = '';
  child.stderr.on('data', (chunk: Buffer) => {
    complaints += chunk.toString();
  });
  const code = await ended(child);
  if (code === 0) return ok(null);
  const said = complaints.trim().replaceAll('\n', ' ');
  return fail(
    'environment',
    `lab ${name}`,
    `not removed: ${said || `guardian ended with ${code}`}`,
    removalRemedy(name),
  );
}

function removalRemedy(name: string): string {
  return `./tandem lab down ${name}`;
}

/** Reserves the name (its cgroup is made by the guardian itself) and guards whatever is made under it. */
export async function startGuardian(name: string, directories: LabDirectories): Promise<Result<Guardian>> {
  const child = runScript(['guard', directories.cgroup, directories.run, randomUUID()]);
  child.stdin.on('error', () => child.stdin.destroy());
  const said = await firstLine(child, startTimeoutMs);
  if (!said.ok) return said;
  if (said.value !== 'ready') return fail('environment', `lab ${name}`, 'is up already', removalRemedy(name));
  child.unref();
  for (const stream of [child.stdin, child.stdout, child.stderr]) (stream as unknown as { unref(): void }).unref();
  const finish = (word: string): Promise<Result<null>> => {
    child.ref();
    child.stdin.end(word);
    return judged(child, name);
  };
  return ok({ end: () => finish('\n'), keep: () => finish('keep\n') });
}

/** Takes a lab away, whoever made it; no error if there is none. */
export async function removeLab(name: string, cgroupMount: string): Promise<Result<null>> {
  const checked = checkLabName(name);
  if (!checked.ok) return checked;
  const { cgroup, run } = labDirectories(name, cgroupMount);
  const child = runScript(['remove', cgroup, run]);
  child.stdin.end();
  return judged(child, name);
}

function entries(directory: string): readonly string[] {
  try {
    return readdirSync(directory);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return [];
    throw error;
  }
}

/** Names of the labs that left anything on this machine, whole or not. */
export function listLabs(cgroupMount: string): readonly string[] {
  const found = [...entries(cgroupMount), ...entries('/run')].map(
    (entry) => /^tandem-([a-z0-9]{1,16})$/.exec(entry)?.[1],
  );
  const fabrics = entries('/run/netns').map((entry) => /^tandem-([a-z0-9]{1,16})-fabric$/.exec(entry)?.[1]);
  return [...new Set([...found, ...fabrics].filter((name) => name !== undefined))].sort();
}
