// SPDX-License-Identifier: Apache-2.0
/** The test suites: their steps in order, their wall-clock budgets, and what they need. */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { runProgram, type ProgramOptions } from './process.ts';
import { runProject, type StepContext, type StepResult } from './vitest.ts';

/** The suites in the order in which they run. */
export const suiteNames: readonly ['unit', 'command', 'api', 'proxy', 'kernel', 'lab', 'proof'] = [
  'unit',
  'command',
  'api',
  'proxy',
  'kernel',
  'lab',
  'proof',
];

/** One of the suites. */
export type SuiteName = (typeof suiteNames)[number];

/** The result of a suite, in numbers. */
export type SuiteResult = {
  readonly name: SuiteName;
  readonly steps: readonly StepResult[];
  readonly durationMs: number;
};

type Step = (context: StepContext) => Promise<StepResult>;

const budgetsMs: Readonly<Record<SuiteName, number>> = {
  unit: 120_000,
  command: 180_000,
  api: 180_000,
  proxy: 240_000,
  kernel: 240_000,
  lab: 180_000,
  proof: 180_000,
};
/** `--full` runs long campaigns. */
const fullFactor = 10;

/** Wall-clock limit of a suite, enforced by `runSuite`. */
export function budgetMs(name: SuiteName, { full }: { readonly full: boolean }): number {
  return budgetsMs[name] * (full ? fullFactor : 1);
}

/** Runs the steps of a suite one after the other; what is still running at the end of the budget is ended and fails. */
export async function runSuite(
  name: SuiteName,
  options: Omit<StepContext, 'timeoutMs'> & { readonly full: boolean },
): Promise<SuiteResult> {
  const { full, ...context } = options;
  const startedMs = performance.now();
  const limitMs = budgetMs(name, { full });
  const steps: StepResult[] = [];
  for (const step of stepsOf(name, context.file)) {
    const timeoutMs = Math.max(1, limitMs - (performance.now() - startedMs));
    const result = await step({ ...context, timeoutMs });
    steps.push(result.overBudget ? failOverBudget(result, name, limitMs) : result);
    if (result.overBudget) break;
  }
  return { name, steps, durationMs: performance.now() - startedMs };
}

function stepsOf(name: SuiteName, file: string | undefined): readonly Step[] {
  const project: Step = (context) => runProject(name, context);
  if (file !== undefined) return [project];
  if (name === 'unit') return [checkTypes, checkLint, checkFormat, checkFormatOfC, project];
  if (name === 'kernel') return [checkObject, project];
  return [project];
}

function failOverBudget(result: StepResult, suite: SuiteName, limitMs: number): StepResult {
  const line = `${suite}: over its budget of ${limitMs / 1000} s, ended while in ${result.name}`;
  return { ...result, failed: result.failed + 1, output: `${result.output}\n${line}\n` };
}

const checkTypes: Step = (context) => checkModule('tsc', 'typescript/bin/tsc', ['-b'], context);

const checkLint: Step = (context) =>
  checkModule('oxlint', 'oxlint/bin/oxlint', ['--type-aware', '--deny-warnings', '.'], context);

const checkFormat: Step = (context) => checkModule('oxfmt', 'oxfmt/bin/oxfmt', ['--check', '.'], context);

const checkFormatOfC: Step = (context) => {
  const sources = ['bpf', 'bench'].flatMap((room) =>
    readdirSync(join(context.directory, room))
      .filter((name) => /\.[ch]$/.test(name))
      .map((name) => join(room, name)),
  );
  const args = ['--dry-run', '-Werror', ...sources];
  return check('clang-format', { program: 'clang-format', args, asOwner: true }, context);
};

/** The committed object and the generated layout against the sources. */
const checkObject: Step = (context) => {
  const builder = join('tools', 'build.ts');
  if (!existsSync(join(context.directory, builder))) {
    return Promise.resolve({ name: 'object', passed: 0, failed: 0, skipped: 1, overBudget: false, output: '' });
  }
  return check('object', { program: process.execPath, args: [builder, '--check'] }, context);
};

function checkModule(name: string, path: string, args: readonly string[], context: StepContext): Promise<StepResult> {
  const script = join('node_modules', path);
  return check(name, { program: process.execPath, args: [script, ...args], asOwner: true }, context);
}

/** A check counts as one test: passed when the program ends with 0. */
async function check(
  name: string,
  program: Pick<ProgramOptions, 'program' | 'args' | 'asOwner'>,
  context: StepContext,
): Promise<StepResult> {
  const { directory, environment, timeoutMs } = context;
  const { exit, output } = await runProgram({ ...program, directory, environment, timeoutMs });
  const counts = { name, skipped: 0, overBudget: false };
  if (exit.kind === 'timeout') return { ...counts, passed: 0, failed: 0, overBudget: true, output };
  if (exit.kind === 'code' && exit.code === 0) return { ...counts, passed: 1, failed: 0, output: '' };
  const reason = exit.kind === 'missing' ? `${program.program} is not here; ./tandem setup brings it` : output;
  return { ...counts, passed: 0, failed: 1, output: `${name} failed\n${reason}` };
}
