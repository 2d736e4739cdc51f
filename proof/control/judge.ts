// SPDX-License-Identifier: Apache-2.0
/**
 * A process that judges one copy of the checkout: `node judge.ts FOLDER SEED ONLY FILE...` runs the tests of those files
 * in turn that are, or are in, ONLY and ends at the first that fails. Says on standard output, a line of JSON each,
 * what it begins and how it ended.
 */
import { writeSync } from 'node:fs';
import { registerHooks } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import * as fc from 'fast-check';
import { Unmet } from './matchers.ts';
import { takeCollected } from './runner.ts';

/** `unmet`: an expectation, else something was thrown. */
export type JudgeLine =
  | { readonly kind: 'begins'; readonly test: string }
  | { readonly kind: 'fails'; readonly isUnmet: boolean; readonly why: string }
  | { readonly kind: 'passed'; readonly tests: number };

const [folder = '', seed = '1', only = '', ...files] = process.argv.slice(2);
const WHY_LENGTH = 400;

function say(line: JudgeLine): void {
  writeSync(1, `${JSON.stringify(line)}\n`);
}

/** fast-check wraps what a property threw. */
function isUnmet(error: unknown): boolean {
  return error instanceof Unmet || (error instanceof Error && error.cause !== undefined && isUnmet(error.cause));
}

function fails(error: unknown): never {
  const first = error instanceof Error && error.cause !== undefined ? error.cause : error;
  const why = first instanceof Unmet ? first.message : String(first);
  say({ kind: 'fails', isUnmet: isUnmet(error), why: why.slice(0, WHY_LENGTH) });
  process.exit(0);
}

const runner = new URL('./runner.ts', import.meta.url).href;
registerHooks({
  resolve: (specifier, context, next) =>
    specifier === 'vitest' ? { url: runner, shortCircuit: true } : next(specifier, context),
});
// The same cases for every mutant; who is found needs no shortest case.
fc.configureGlobal({ seed: Number(seed), endOnFailure: true });

let tests = 0;
try {
  for (const file of files) {
    say({ kind: 'begins', test: file });
    await import(pathToFileURL(join(folder, file)).href);
    for (const { name, body } of takeCollected()) {
      if (only !== '' && name !== only && !name.startsWith(`${only} › `)) continue;
      say({ kind: 'begins', test: `${file} › ${name}` });
      await body();
      tests += 1;
    }
  }
  say({ kind: 'passed', tests });
} catch (error) {
  fails(error);
}
