// SPDX-License-Identifier: Apache-2.0
import { existsSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { runProgram } from '../../tools/process.ts';
import { budgetMs, suiteNames } from '../../tools/suites.ts';
import { countTests } from '../../tools/vitest.ts';

const shell = (script: string, timeoutMs = 10_000): ReturnType<typeof runProgram> =>
  runProgram({ program: 'sh', args: ['-c', script], directory: '/', timeoutMs });

describe('running a program', () => {
  test('its exit code and everything it printed come back', async () => {
    const { exit, output } = await shell('echo out; echo err >&2; exit 3');
    expect(exit).toEqual({ kind: 'code', code: 3 });
    expect(output.trim().split('\n').toSorted()).toEqual(['err', 'out']);
  });

  test('a program that is not there is told apart from one that fails', async () => {
    const result = await runProgram({ program: '/nowhere/at/all', args: [], directory: '/', timeoutMs: 1000 });
    expect(result.exit).toEqual({ kind: 'missing' });
  });

  test('a program that ignores the first signal is ended all the same', async () => {
    const result = await shell(
      '(trap "" TERM; exec sleep 60 >/dev/null 2>&1) & echo $!; exec >/dev/null 2>&1; wait',
      300,
    );
    expect(await staysRunning(result.output.trim())).toBe(false);
  });

  test('at its deadline a program is ended with all it started', async () => {
    const result = await shell('sleep 60 & echo $!; wait', 300);
    expect(result.exit).toEqual({ kind: 'timeout' });
    expect(result.durationMs).toBeLessThan(4000);
    expect(await staysRunning(result.output.trim())).toBe(false);
  });
});

describe('counting tests', () => {
  const report = (...files: readonly object[]): string => JSON.stringify({ testResults: files });
  const file = (status: string, ...statuses: readonly string[]): object => ({
    status,
    assertionResults: statuses.map((one) => ({ status: one })),
  });

  test.each([
    ['nothing', report(), { passed: 0, failed: 0, skipped: 0 }],
    ['each state', report(file('failed', 'passed', 'failed', 'skipped', 'todo')), { passed: 1, failed: 1, skipped: 2 }],
    [
      'a file that does not load',
      report(file('failed'), file('passed', 'passed')),
      { passed: 1, failed: 1, skipped: 0 },
    ],
  ])('%s', (_title, text, counts) => {
    expect(countTests(text)).toEqual(counts);
  });

  test('all suites together fit twenty-two minutes', () => {
    const totalMs = suiteNames.reduce((sum, name) => sum + budgetMs(name, { full: false }), 0);
    expect(totalMs).toBe(22 * 60_000);
  });
});

/** Whether a process is still there after the moment that its end takes; a zombie has ended. */
async function staysRunning(pid: string): Promise<boolean> {
  expect(pid).toMatch(/^\d+$/);
  for (let waitedMs = 0; waitedMs < 2000; waitedMs += 20) {
    if (!existsSync(`/proc/${pid}`) || /\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))) return false;
    await sleep(20);
  }
  return true;
}
