// SPDX-License-Identifier: Apache-2.0
/** Copies of the checkout in which mutants of the control plane are judged, a process for each (proof/control/judge.ts). */
import { spawn, type ChildProcess } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { ControlFate } from '../proof/control/fates.ts';
import type { JudgeLine } from '../proof/control/judge.ts';

const CHECKOUT = fileURLToPath(new URL('..', import.meta.url));
const JUDGE = join(CHECKOUT, 'proof/control/judge.ts');
const CONTROL = 'core/control';
/** What the tests below need. */
const COPIED = ['agent', 'core', 'formats', 'package.json', 'fixtures/scenarios', 'docs/reference'];
const COPIED_TESTS = ['test/agent', 'test/core', 'test/full.ts', 'test/scenarios'];

/** The longest test takes a second and a half; seconds of the processor, so that a busy machine ends nobody. */
const TEST_CPU_MS = 15_000;
/** Who waits for nothing at all. */
const TEST_TIMEOUT_MS = 300_000;
const LOOK_MS = 250;
/** A mutant that collects without end. */
const MEMORY_MIB = 512;
const TICKS_PER_SECOND = 100;

/** `only`: a test of them, or a group. */
export type JudgeRound = { readonly seed: number; readonly files: readonly string[]; readonly only?: string };

/** One file as it shall be, below core/control/; undefined: none is changed. */
export type Planted = { readonly file: string; readonly text: string };

/** A copy of what decides and of what judges it; who edits the checkout meanwhile changes no mutant. */
export class Judge {
  private readonly folder: string = mkdtempSync(join(tmpdir(), 'tandem-control-'));
  private readonly testCpuMs: number;
  private child: ChildProcess | undefined;

  constructor(testCpuMs: number = TEST_CPU_MS) {
    this.testCpuMs = testCpuMs;
    for (const path of [...COPIED, ...COPIED_TESTS])
      cpSync(join(CHECKOUT, path), join(this.folder, path), { recursive: true });
    symlinkSync(realpathSync(join(CHECKOUT, 'node_modules')), join(this.folder, 'node_modules'));
  }

  /** The text of a file below core/control/, as this copy has it. */
  textOf(file: string): string {
    return readFileSync(join(this.folder, CONTROL, file), 'utf8');
  }

  /** Round after round until a test fails; the copy is afterwards as it was. */
  async ask(planted: Planted | undefined, rounds: readonly JudgeRound[]): Promise<ControlFate> {
    const startedMs = performance.now();
    const kept = planted === undefined ? '' : this.textOf(planted.file);
    if (planted !== undefined) writeFileSync(join(this.folder, CONTROL, planted.file), planted.text);
    try {
      let tests = 0;
      for (const round of rounds) {
        const fate = await this.round(round);
        const durationMs = performance.now() - startedMs;
        if (fate.kind !== 'survives') return { ...fate, durationMs };
        tests += fate.tests;
      }
      return { kind: 'survives', tests, durationMs: performance.now() - startedMs };
    } finally {
      if (planted !== undefined) writeFileSync(join(this.folder, CONTROL, planted.file), kept);
    }
  }

  private round({ seed, files, only = '' }: JudgeRound): Promise<ControlFate> {
    const flags = [`--max-old-space-size=${MEMORY_MIB}`, '--disable-warning=ExperimentalWarning'];
    const child = spawn(process.execPath, [...flags, JUDGE, this.folder, String(seed), only, ...files], {
      stdio: ['ignore', 'pipe', 'ignore'],
      // Short forms, also for who runs the long ones: a mutant has seconds.
      env: { ...process.env, NODE_COMPILE_CACHE: join(this.folder, 'cache'), TANDEM_TEST_FULL: '' },
    });
    this.child = child;
    let test = '';
    let said: JudgeLine | undefined;
    const clock = new TestClock(child.pid ?? 0, this.testCpuMs);
    createInterface({ input: child.stdout }).on('line', (text) => {
      const line = JSON.parse(text) as JudgeLine;
      if (line.kind === 'begins') test = line.test;
      else said = line;
      clock.begins();
    });
    const timer = setInterval(() => {
      if (clock.isOver()) child.kill('SIGKILL');
    }, LOOK_MS);
    return new Promise((resolve) => {
      child.once('close', (code, signal) => {
        clearInterval(timer);
        this.child = undefined;
        resolve(fateOf(said, test, clock.isOver(), signal ?? String(code)));
      });
    });
  }

  /** Ends the process and takes the copy away. */
  end(): void {
    this.child?.kill('SIGKILL');
    rmSync(this.folder, { recursive: true, force: true });
  }
}

function fateOf(said: JudgeLine | undefined, test: string, isOver: boolean, how: string): ControlFate {
  const durationMs = 0;
  if (said?.kind === 'passed') return { kind: 'survives', tests: said.tests, durationMs };
  if (said?.kind === 'fails') {
    if (said.why.startsWith('SyntaxError')) return { kind: 'failed', test, why: said.why, durationMs };
    return { kind: said.isUnmet ? 'unmet' : 'thrown', test, why: said.why, durationMs };
  }
  if (isOver) return { kind: 'endless', test, why: 'no end', durationMs };
  return { kind: 'crash', test, why: `ended by ${how}`, durationMs };
}

/** How long a test runs, in time of the processor. */
class TestClock {
  private readonly pid: number;
  private readonly limitMs: number;
  private beganMs = performance.now();
  private beganCpuMs = 0;
  private isEnded = false;

  constructor(pid: number, limitMs: number) {
    this.pid = pid;
    this.limitMs = limitMs;
  }

  begins(): void {
    this.beganMs = performance.now();
    this.beganCpuMs = this.cpuMs();
  }

  /** Once it is, it stays. */
  isOver(): boolean {
    const isLate = performance.now() - this.beganMs > TEST_TIMEOUT_MS;
    this.isEnded ||= isLate || this.cpuMs() - this.beganCpuMs > this.limitMs;
    return this.isEnded;
  }

  /** proc(5): utime and stime are the 14th and 15th words, the second may hold blanks. 0 where the process is gone. */
  private cpuMs(): number {
    try {
      const words = readFileSync(`/proc/${this.pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ') ?? [];
      return ((Number(words[11]) + Number(words[12])) * 1_000) / TICKS_PER_SECOND;
    } catch {
      return 0;
    }
  }
}
