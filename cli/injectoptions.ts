// SPDX-License-Identifier: Apache-2.0
/** Whether a replay is to be an injection, and the way to it: what it needs is not everywhere. */
import { fail, ok, type Result } from '../core/result.ts';
import type { Filter } from '../replay/filter.ts';
import type { CommandOptions } from './commands.ts';
import type { ReplayTools } from './inject.ts';
import { reportFailure } from './output.ts';
import type { ReplayFiles } from './replayfiles.ts';

/** What is said of a recording as it was, and of the same as it would have been, does not fit one that is sent anew. */
const OTHERS = {
  withoutEvent: '--without-event',
  delay: '--delay',
  asNode: '--as-node',
  algorithm: '--algorithm',
  emitCase: '--emit-case',
} as const;

export function injectionOf(options: CommandOptions): Result<boolean> {
  if (options['inject'] !== true) {
    if (options['pace'] === undefined) return ok(false);
    return fail('usage', '--pace', 'is the pace of an injection', 'add --inject');
  }
  for (const [name, flag] of Object.entries(OTHERS)) {
    if (options[name] !== undefined) return fail('usage', flag, 'does not go with --inject', 'leave one of them out');
  }
  return ok(true);
}

/** Runs it and tells the exit code. */
export async function startInjection(
  files: ReplayFiles,
  filter: Filter,
  options: CommandOptions,
  tools: ReplayTools,
): Promise<number> {
  const run = await importInjection();
  return run.ok ? run.value(files, filter, options, tools) : reportFailure(run.error);
}

/** Not a part of what a replay always loads: kernel/ and koffi may have been left out. */
async function importInjection(): Promise<Result<typeof import('./inject.ts').runInject>> {
  try {
    return ok((await import('./inject.ts')).runInject);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ERR_MODULE_NOT_FOUND')) throw error;
    return fail('environment', 'replay --inject', 'kernel/ or its library koffi is not here', './tandem setup --yes');
  }
}
