// SPDX-License-Identifier: Apache-2.0
/** The checkout as a list of texts, and what every rule of the house returns. */
import { readdirSync, readFileSync } from 'node:fs';
import { extname, join } from 'node:path';

/** A file of the checkout; the path is relative to it, with `/`. */
export type Source = { readonly path: string; readonly text: string };

/** A broken rule: where, what, and what to do about it. */
export type Finding = { readonly path: string; readonly line?: number; readonly message: string };

const folders = new Set(
  'agent bench bpf charts cli core docs formats kernel lab proof replay report sim test tools'.split(' '),
);
const extensions = new Set(['.ts', '.c', '.h', '.sh']);

/** Reads every source file (TypeScript, C, shell); fixtures are data and generated ones are included. */
export function readSources(root: string): readonly Source[] {
  const rooms = readdirSync(root, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && folders.has(entry.name))
    .map((entry) => entry.name);
  const paths = rooms.flatMap((room) =>
    readdirSync(join(root, room), { withFileTypes: true, recursive: true })
      .filter((entry) => entry.isFile() && extensions.has(extname(entry.name)))
      .map((entry) => join(entry.parentPath, entry.name).slice(root.length).replace(/^\//, '')),
  );
  return [...paths, 'tandem', '.ci/run']
    .toSorted()
    .map((path) => ({ path, text: readFileSync(join(root, path), 'utf8') }));
}

/** The text with comments blanked out, line numbers kept; good enough for code that a formatter wrote. */
export function withoutComments(text: string): string {
  const pattern = /\/\*[\s\S]*?\*\/|\/\/[^\n]*|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\.|[^`\\])*`/g;
  return text.replace(pattern, (match) => (match.startsWith('/') ? match.replace(/[^\n]/g, ' ') : match));
}

/** A finding per line for which `judge` returns a message. */
export function findLines(source: Source, judge: (line: string) => string | undefined): readonly Finding[] {
  return source.text.split('\n').flatMap((text, index) => {
    const message = judge(text);
    return message === undefined ? [] : [{ path: source.path, line: index + 1, message }];
  });
}

/** One line per finding, for the message of a failing test. */
export function findingLines(findings: readonly Finding[]): readonly string[] {
  return findings.map(({ path, line, message }) => `${path}${line === undefined ? '' : `:${line}`}: ${message}`);
}
