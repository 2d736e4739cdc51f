// SPDX-License-Identifier: Apache-2.0
/** Processes that try mechanical mutants (cli/hunter.ts), a job at a time each; one that dies is replaced. */
import { fork, type ChildProcess } from 'node:child_process';
import { rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Fate } from '../proof/mutants/fates.ts';
import type { HuntJob } from './hunter.ts';
import { copySources } from './mutant.ts';

const HUNTER = fileURLToPath(new URL('./hunter.ts', import.meta.url));
/** A mutant that is not done by then hangs. */
const MUTANT_TIMEOUT_MS = 90_000;

/** Each job to the next hunter that is free; the fates in the order of the jobs. */
export async function tryAll(
  hunters: readonly Hunter[],
  jobs: readonly HuntJob[],
  onDone: (done: number) => void,
): Promise<readonly Fate[]> {
  const fates: Fate[] = [];
  let next = 0;
  let done = 0;
  const work = async (hunter: Hunter): Promise<void> => {
    for (let at = next++; at < jobs.length; at = next++) {
      fates[at] = await hunter.ask(jobs[at]!);
      onDone(++done);
    }
  };
  await Promise.all(hunters.map(work));
  return fates;
}

/** A process for mutants; another one takes its place where it dies. */
export class Hunter {
  private readonly folder: string;
  private child: ChildProcess | undefined;

  constructor(sources: string) {
    this.folder = copySources(sources);
  }

  ask(job: HuntJob): Promise<Fate> {
    const child = (this.child ??= fork(HUNTER, [this.folder], {
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
      serialization: 'advanced',
    }));
    return new Promise((resolve) => {
      const end = (fate: Fate, isOver: boolean): void => {
        clearTimeout(timer);
        child.removeAllListeners();
        if (isOver) this.stop();
        resolve(fate);
      };
      const timer = setTimeout(
        () => end({ kind: 'crash', why: `no answer in ${MUTANT_TIMEOUT_MS / 1000} s` }, true),
        MUTANT_TIMEOUT_MS,
      );
      child.once('message', (fate: Fate) => end(fate, false));
      child.once('exit', (code, signal) => end(endOf(code, signal), true));
      child.send(job);
    });
  }

  /** Of the process, while there is one. */
  get pid(): number | undefined {
    return this.child?.pid;
  }

  private stop(): void {
    this.child?.kill('SIGKILL');
    this.child = undefined;
  }

  /** Ends the process and takes its folder away. */
  end(): void {
    this.stop();
    rmSync(this.folder, { recursive: true });
  }
}

/** A signal is what a mutant may cause; a process that ends by itself is broken, and its mutant was not tried. */
function endOf(code: number | null, signal: NodeJS.Signals | null): Fate {
  if (signal !== null) return { kind: 'crash', why: `ended by ${signal}` };
  return { kind: 'failed', why: `the process for mutants ended with ${code}` };
}
