// SPDX-License-Identifier: Apache-2.0
/** `tandem test`: runs the suites, compares the machine before and after, and ends with one line of counts. */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { lackOfKubernetes } from '../tools/kubernetes.ts';
import { compareSnapshots, findProcesses, takeSnapshot, type MachineSnapshot } from '../tools/machine.ts';
import { endPrograms } from '../tools/process.ts';
import { runSuite, suiteNames, type SuiteName, type SuiteResult } from '../tools/suites.ts';
import type { CommandRun } from './commands.ts';
import { exitCode, printNote, printText } from './output.ts';

type Counts = { readonly passed: number; readonly failed: number; readonly skipped: number };

/** Links and programs are freed a moment after the last user is gone. */
const settleMs = 3_000;
const settleStepMs = 200;
const runVariable = 'TANDEM_TEST_RUN';
/** Suites that are content with any user. */
const rootless: readonly SuiteName[] = ['unit', 'command', 'api'];

/** Runs the suites that are named, or all; exit 0 only when nothing failed. */
export const run: CommandRun = async (args, options) => {
  const wanted = suiteNames.filter((name) => args.length === 0 || args.includes(name));
  const root = process.getuid?.() === 0;
  const runId = randomUUID();
  // The unit suite touches nothing but its own temporary folders.
  const before = root && wanted.some((name) => name !== 'unit') ? takeSnapshot() : undefined;
  process.once('SIGINT', endRun).once('SIGTERM', endRun);
  const counts: Counts[] = [];
  for (const name of wanted) {
    const lack = lackOf(name, root);
    if (lack !== undefined) {
      printText(`${name.padEnd(8)} skipped: ${lack}`);
      counts.push({ passed: 0, failed: 0, skipped: 1 });
      continue;
    }
    const result = await runSuite(name, {
      directory: fileURLToPath(new URL('..', import.meta.url)),
      environment: { [runVariable]: runId, ...(options['full'] === true ? { TANDEM_TEST_FULL: '1' } : {}) },
      file: typeof options['file'] === 'string' ? options['file'] : undefined,
      full: options['full'] === true,
    });
    counts.push(reportSuite(result));
  }
  if (before !== undefined) counts.push(await reportMachine(before, runId));
  return reportTotal(counts);
};

/** What a suite needs and has not. */
function lackOf(name: SuiteName, root: boolean): string | undefined {
  if (!rootless.includes(name) && !root) return 'needs root (network namespaces and BPF)';
  return name === 'api' || name === 'proxy' ? lackOfKubernetes(name) : undefined;
}

function endRun(): void {
  endPrograms();
  printNote('tandem: test run interrupted');
  process.exit(exitCode.twinsDiffer);
}

/** One line per suite; then, for what failed, everything it printed. */
function reportSuite({ name, steps, durationMs }: SuiteResult): Counts {
  const counts = addCounts(steps);
  const failures = steps.filter((step) => step.failed > 0);
  for (const step of failures) printText(`--- ${name}: ${step.name}\n${step.output}`);
  for (const summary of steps.flatMap(({ summaries = [] }) => summaries)) printText(`${name.padEnd(8)} ${summary}`);
  const verdict = failures.length === 0 ? 'ok' : `failed: ${failures.map((step) => step.name).join(', ')}`;
  const numbers = `${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`;
  printText(`${name.padEnd(8)} ${numbers} in ${(durationMs / 1000).toFixed(1)} s, ${verdict}`);
  return counts;
}

/** Nothing may stay behind; one test for the machine and one for processes. */
async function reportMachine(before: MachineSnapshot, runId: string): Promise<Counts> {
  const exclusive = process.env['CI'] === 'true';
  let differences = compareSnapshots(before, takeSnapshot(), { exclusive });
  let processes = findProcesses(runVariable, runId);
  for (let waitedMs = 0; waitedMs < settleMs; waitedMs += settleStepMs) {
    if (processes.length === 0 && !differences.some(({ ours }) => ours)) break;
    await sleep(settleStepMs);
    differences = compareSnapshots(before, takeSnapshot(), { exclusive });
    processes = findProcesses(runVariable, runId);
  }
  for (const { kind, name, change, ours } of differences) {
    printText(
      `machine  ${ours ? 'failed' : 'note'}: ${kind} ${name} ${change} during the run${ours ? '' : ' (not ours by name)'}`,
    );
  }
  for (const process of processes) printText(`machine  failed: process ${process} is still running`);
  const failures = [differences.some(({ ours }) => ours), processes.length > 0].filter(Boolean).length;
  if (failures === 0) printText('machine  nothing left behind');
  return { passed: 2 - failures, failed: failures, skipped: 0 };
}

/** The last line is exactly the counts: continuous integration reads it. */
function reportTotal(counts: readonly Counts[]): number {
  const total = addCounts(counts);
  printText(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
  return total.failed === 0 ? exitCode.agreed : exitCode.twinsDiffer;
}

function addCounts(counts: readonly Counts[]): Counts {
  const sum = (key: keyof Counts): number => counts.reduce((total, count) => total + count[key], 0);
  return { passed: sum('passed'), failed: sum('failed'), skipped: sum('skipped') };
}
