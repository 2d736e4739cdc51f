// SPDX-License-Identifier: Apache-2.0
/** Runs one project of the test configuration and counts its tests from vitest's JSON report. */
import { chmodSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runProgram } from './process.ts';

/** What a step is told: where, for how long at most, and which files only. */
export type StepContext = {
  readonly directory: string;
  readonly timeoutMs: number;
  readonly environment: Readonly<Record<string, string>>;
  /** Only test files whose path contains this; static checks are left out then. */
  readonly file: string | undefined;
};

/** Counts of one step; `output` is printed in full when something failed. */
export type StepResult = {
  readonly name: string;
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
  readonly overBudget: boolean;
  readonly output: string;
  /** What its tests say about the run as a whole, passed or failed: their lines that begin with `summary: `. */
  readonly summaries?: readonly string[];
};

type Report = { readonly passed: number; readonly failed: number; readonly skipped: number };

/** Runs a project; a file that cannot be loaded, or a failing end without a failing test, counts as one failure. */
export async function runProject(project: string, context: StepContext): Promise<StepResult> {
  const folder = mkdtempSync(join(tmpdir(), 'tandem-test-'));
  // The run may belong to the owner of the checkout while root started it.
  chmodSync(folder, 0o777);
  const reportFile = join(folder, 'report.json');
  const filter = context.file === undefined ? [] : [context.file];
  const result = await runProgram({
    program: process.execPath,
    args: [
      ...['node_modules/vitest/vitest.mjs', 'run', '--config', 'test/vitest.config.ts', '--root', '.'],
      ...['--project', project, '--passWithNoTests', '--reporter=default', '--reporter=json'],
      ...[`--outputFile.json=${reportFile}`, ...filter],
    ],
    directory: context.directory,
    environment: { ...context.environment, NO_COLOR: '1' },
    timeoutMs: context.timeoutMs,
    asOwner: project === 'unit' || project === 'command',
  });
  const report = readReport(reportFile);
  rmSync(folder, { recursive: true, force: true });
  const name = `vitest ${project}`;
  const summaries = [...result.output.matchAll(/^summary: (.*)$/gm)].map(([, line = '']) => line);
  if (result.exit.kind === 'timeout') return { name, ...report, overBudget: true, output: result.output, summaries };
  const clean = result.exit.kind === 'code' && result.exit.code === 0;
  const failed = clean ? report.failed : Math.max(report.failed, 1);
  return { name, ...report, failed, overBudget: false, output: failed === 0 ? '' : result.output, summaries };
}

/** The counts in a JSON report; no file means that nothing ran. */
export function countTests(text: string): Report {
  const report: unknown = JSON.parse(text);
  const files = listIn(report, 'testResults');
  const tests = files.flatMap((file) => listIn(file, 'assertionResults'));
  const statuses = tests.map((test) => wordIn(test, 'status'));
  const passed = statuses.filter((status) => status === 'passed').length;
  const failed = statuses.filter((status) => status === 'failed').length;
  // A file that throws while it is loaded has no tests to report.
  const broken = files.filter(
    (file) => wordIn(file, 'status') === 'failed' && listIn(file, 'assertionResults').length === 0,
  );
  return { passed, failed: failed + broken.length, skipped: statuses.length - passed - failed };
}

function readReport(path: string): Report {
  try {
    return countTests(readFileSync(path, 'utf8'));
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT')
      return { passed: 0, failed: 0, skipped: 0 };
    throw error;
  }
}

function listIn(value: unknown, key: string): readonly unknown[] {
  const member = memberOf(value, key);
  return Array.isArray(member) ? member : [];
}

function wordIn(value: unknown, key: string): string {
  const member = memberOf(value, key);
  return typeof member === 'string' ? member : '';
}

function memberOf(value: unknown, key: string): unknown {
  return typeof value === 'object' && value !== null
    ? new Map<string, unknown>(Object.entries(value)).get(key)
    : undefined;
}
