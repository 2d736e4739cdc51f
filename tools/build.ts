// SPDX-License-Identifier: Apache-2.0
/** Builds bpf/tandem.bpf.o with the pinned clang, regenerates core/layout.gen.ts, or checks that both are fresh. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { fail, failureText, ok, type Failure, type Result } from '../core/result.ts';
import { generateLayout } from './generate.ts';

/** The compiler of the committed object: Debian 12's, the oldest that is supported. */
export const PINNED_CLANG = 'clang-14';
const PINNED_STRIP = 'llvm-strip-14';
const PINNED_STRIP_PACKAGE = 'llvm-14';

const ROOT = resolve(import.meta.dirname, '..');
const SOURCE = join(ROOT, 'bpf/tandem.bpf.c');
const OBJECT = join(ROOT, 'bpf/tandem.bpf.o');
const LAYOUT = join(ROOT, 'core/layout.gen.ts');
const BUILD_TIMEOUT_MS = 60_000;

/** `defines` as clang's -D takes them (`MUTANT=3`); paths absolute or from the current directory. */
export type BuildOptions = {
  readonly defines: readonly string[];
  readonly output: string;
  /** Default bpf/tandem.bpf.c; its own directory is searched first, then bpf/. */
  readonly source?: string;
  /** Default PINNED_CLANG. */
  readonly clang?: string;
};

/** Where the distribution keeps the headers of one architecture (asm/types.h). */
function multiarchInclude(): string | undefined {
  const found = readdirSync('/usr/include').find((name) => existsSync(join('/usr/include', name, 'asm/types.h')));
  return found === undefined ? undefined : join('/usr/include', found);
}

function run(command: string, parameters: readonly string[], cwd: string, aptPackage: string): Result<void> {
  const done = spawnSync(command, parameters, { cwd, encoding: 'utf8', timeout: BUILD_TIMEOUT_MS });
  if (done.error !== undefined) {
    const why = 'code' in done.error && done.error.code === 'ENOENT' ? 'not found' : done.error.message;
    return fail('environment', command, why, `apt-get install ${aptPackage}`);
  }
  return done.status === 0 ? ok(undefined) : fail('input', command, `\n${done.stderr.trim()}`);
}

/** Takes DWARF out and leaves BTF. A compiler without its own strip gets the pinned one's. */
function strip(object: string, version: string): Result<void> {
  for (const name of [`llvm-strip${version}`, PINNED_STRIP, 'llvm-strip']) {
    const done = run(name, ['-g', object], ROOT, PINNED_STRIP_PACKAGE);
    if (done.ok || done.error.kind !== 'environment') return done;
  }
  return fail('environment', PINNED_STRIP, 'not found', `apt-get install ${PINNED_STRIP_PACKAGE}`);
}

/**
 * Compiles to an object that depends only on sources, defines and compiler: paths are cut out of it, DWARF is
 * stripped, BTF stays. Gives the bytes that were written to `output`.
 */
export function buildObject({
  defines,
  output,
  source = SOURCE,
  clang = PINNED_CLANG,
}: BuildOptions): Result<Uint8Array> {
  const headers = multiarchInclude();
  const folder = resolve(dirname(source));
  const version = /-\d+$/.exec(clang)?.[0] ?? '';
  const parameters = [
    ...['-target', 'bpf', '-mcpu=v3', '-O2', '-g', '-Wall', '-Wextra', '-Werror'],
    // From the source's own directory and by its bare name: where the checkout lies must not show in the object.
    ...[`-fdebug-prefix-map=${folder}=bpf`, '-I', relative(folder, join(ROOT, 'bpf')) || '.'],
    ...(headers === undefined ? [] : ['-I', headers]),
    ...defines.map((define) => `-D${define}`),
    ...['-c', relative(folder, resolve(source)), '-o', resolve(output)],
  ];
  const compiled = run(clang, parameters, folder, `${clang} libbpf-dev`);
  if (!compiled.ok) return compiled;
  const stripped = strip(resolve(output), version);
  return stripped.ok ? ok(readFileSync(output)) : stripped;
}

/** Builds object and layout and says which of the committed files differ from it. */
export function checkBuild(clang: string = PINNED_CLANG): Result<readonly string[]> {
  const folder = mkdtempSync(join(tmpdir(), 'tandem-build-'));
  try {
    const output = join(folder, 'tandem.bpf.o');
    const object = buildObject({ defines: [], output, clang });
    if (!object.ok) return object;
    const layout = generateLayout(object.value, OBJECT);
    if (!layout.ok) return layout;
    const same = (file: string, bytes: Uint8Array): boolean =>
      existsSync(file) && Buffer.compare(readFileSync(file), bytes) === 0;
    const stale = [
      ...(same(OBJECT, object.value) ? [] : [OBJECT]),
      ...(same(LAYOUT, Buffer.from(layout.value)) ? [] : [LAYOUT]),
    ];
    return ok(stale.map((file) => relative(ROOT, file)));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Writes bpf/tandem.bpf.o and core/layout.gen.ts; with another output only that object. */
function build(options: BuildOptions): Result<string> {
  const object = buildObject(options);
  if (!object.ok) return object;
  if (resolve(options.output) !== OBJECT) return ok(`${options.output}: ${object.value.length} bytes`);
  const layout = generateLayout(object.value, OBJECT);
  if (!layout.ok) return layout;
  writeFileSync(LAYOUT, layout.value);
  return ok(`${relative(ROOT, OBJECT)}: ${object.value.length} bytes; ${relative(ROOT, LAYOUT)} written`);
}

const EXIT_CODES: { readonly [kind in Failure['kind']]: number } = { usage: 2, input: 2, environment: 4, limit: 4 };

function report(failure: Failure): number {
  process.stderr.write(`${failureText(failure)}\n`);
  return EXIT_CODES[failure.kind];
}

function main(): number {
  const { values } = parseArgs({
    options: {
      check: { type: 'boolean', default: false },
      clang: { type: 'string', default: PINNED_CLANG },
      define: { type: 'string', short: 'D', multiple: true, default: [] },
      source: { type: 'string', default: SOURCE },
      output: { type: 'string', short: 'o', default: OBJECT },
    },
  });
  if (values.check) {
    const stale = checkBuild(values.clang);
    if (!stale.ok) return report(stale.error);
    for (const file of stale.value)
      process.stderr.write(`${file}: not what the sources give; run node tools/build.ts\n`);
    return stale.value.length === 0 ? 0 : 1;
  }
  const { define: defines, source, output, clang } = values;
  const done = build({ defines, output, source, clang });
  if (!done.ok) return report(done.error);
  process.stdout.write(`${done.value}\n`);
  return 0;
}

if (import.meta.main) process.exitCode = main();
