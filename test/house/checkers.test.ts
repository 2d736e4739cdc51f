// SPDX-License-Identifier: Apache-2.0
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const other = 'export const other: number = 1;\n';

/** Planted faults: a file, what it says, and what the compiler or the linter must answer. */
type Fault = readonly [title: string, path: string, text: string, answer: string];

const compilerFaults: readonly Fault[] = [
  [
    'core reads a file',
    'core/file.ts',
    "import { readFileSync } from 'node:fs';\nreadFileSync('x');",
    "Cannot find name 'node:fs'",
  ],
  [
    'core reads the environment',
    'core/env.ts',
    "export const a: unknown = process.env['A'];",
    "Cannot find name 'process'",
  ],
  ['core prints', 'core/print.ts', 'console.log(1);', "Cannot find name 'console'"],
  ['core waits', 'core/wait.ts', 'setTimeout(() => 1, 2);', "Cannot find name 'setTimeout'"],
  [
    'core imports the kernel',
    'core/room.ts',
    "import { other } from '../kernel/other.ts';\nexport const a: number = other;",
    'TS6307',
  ],
  ['formats imports the kernel', 'formats/room.ts', "export { other } from '../kernel/other.ts';", 'TS6307'],
  ['an enum', 'core/enum.ts', 'export enum E {\n  a,\n}', 'TS1294'],
  ['a parameter property', 'core/property.ts', 'export class A {\n  constructor(readonly a: number) {}\n}', 'TS1294'],
  ['an index that may be absent', 'core/index-access.ts', 'export const f = (a: number[]): number => a[0];', 'TS2322'],
  ['an export without a type', 'core/untyped.ts', 'export const f = (a: number) => a * 2;', 'TS9013'],
  [
    'a value import of a type',
    'core/type-import.ts',
    "import { T } from './owner.ts';\nexport const a: T = 1;",
    'TS1484',
  ],
];

const lintFaults: readonly Fault[] = [
  ['core reads the clock', 'core/clock.ts', 'export const now: number = Date.now();', 'no-restricted-globals'],
  ['core draws a number', 'core/random.ts', 'export const a: number = Math.random();', 'no-restricted-properties'],
  [
    'core takes random apart',
    'core/random-2.ts',
    'const { random } = Math;\nexport const a: number = random();',
    'no-restricted-properties',
  ],
  [
    'core imports another room',
    'core/import.ts',
    "import { other } from '../kernel/other.ts';\nexport const a: number = other;",
    'no-restricted-imports',
  ],
  [
    'a deep file of core imports another room',
    'core/datapath/import.ts',
    "import { other } from '../../kernel/other.ts';\nexport const a: number = other;",
    'no-restricted-imports',
  ],
  [
    'replay imports the kernel',
    'replay/import.ts',
    "import { other } from '../kernel/other.ts';\nexport const a: number = other;",
    'no-restricted-imports',
  ],
  [
    'the loop imports the kernel',
    'agent/loop.ts',
    "import { other } from '../kernel/other.ts';\nexport const a: number = other;",
    'no-restricted-imports',
  ],
  [
    'the lab imports koffi',
    'lab/import.ts',
    "import koffi from 'koffi';\nexport const a: unknown = koffi;",
    'no-restricted-imports',
  ],
  [
    'a promise nobody waits for',
    'core/promise.ts',
    'async function f(): Promise<void> {}\nexport function g(): void {\n  f();\n}',
    'no-floating-promises',
  ],
  [
    'a switch with a hole',
    'core/switch.ts',
    "export function f(v: 'a' | 'b'): number {\n  switch (v) {\n    case 'a':\n      return 1;\n  }\n  return 2;\n}",
    'switch-exhaustiveness-check',
  ],
  ['any', 'core/any.ts', 'export const a: any = 1;', 'no-explicit-any'],
  [
    'the compiler switched off',
    'core/comment.ts',
    `// ${['@ts', 'expect-error'].join('-')}\nexport const a: number = 'a';`,
    'ban-ts-comment',
  ],
  [
    'an error swallowed',
    'core/swallow.ts',
    'export function f(): void {\n  try {\n    f();\n  } catch {}\n}',
    'no-empty',
  ],
];

let folder = '';
let compiler = '';
let linter = '';

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'tandem-house-'));
  for (const name of ['tsconfig.base.json', '.oxlintrc.json', 'package.json'])
    cpSync(join(root, name), join(folder, name));
  for (const room of ['core', 'formats', 'kernel', 'replay', 'agent', 'lab', 'cli']) {
    mkdirSync(join(folder, room));
    cpSync(join(root, room, 'tsconfig.json'), join(folder, room, 'tsconfig.json'));
  }
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'));
  plant('kernel/other.ts', other);
  plant('core/owner.ts', 'export type T = number;\n');
  for (const [, path, text] of lintFaults) plant(path, `${text}\n`);
  linter = answerOf('oxlint/bin/oxlint', ['--type-aware', '-f', 'unix', '.']);
  // The compiler names an unlisted file only where it is first imported.
  for (const [, path] of lintFaults) rmSync(join(folder, path));
  for (const [, path, text] of compilerFaults) plant(path, `${text}\n`);
  compiler =
    answerOf('typescript/bin/tsc', ['-b', 'core', 'formats']) +
    answerOf('typescript/bin/tsc', ['-p', 'formats', '--noEmit']);
}, 60_000);

afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

describe('the compiler', () => {
  test.each(compilerFaults)('%s is an error', (_title, path, _text, answer) => {
    expect(linesAbout(compiler, path)).toContain(answer);
  });
});

describe('the linter', () => {
  test.each(lintFaults)('%s is an error', (_title, path, _text, answer) => {
    expect(linesAbout(linter, path)).toContain(answer);
  });
});

function plant(path: string, text: string): void {
  mkdirSync(dirname(join(folder, path)), { recursive: true });
  writeFileSync(join(folder, path), text);
}

/** What a checker says about the planted folder; that it fails is the point. */
function answerOf(script: string, args: readonly string[]): string {
  try {
    return execFileSync(process.execPath, [join(root, 'node_modules', script), ...args], {
      cwd: folder,
      encoding: 'utf8',
      stdio: 'pipe',
    });
  } catch (error) {
    if (error instanceof Error && 'stdout' in error && typeof error.stdout === 'string') return error.stdout;
    throw error;
  }
}

function linesAbout(answer: string, path: string): string {
  return answer
    .split('\n')
    .filter((line) => line.startsWith(`${path}(`) || line.startsWith(`${path}:`))
    .join('\n');
}
