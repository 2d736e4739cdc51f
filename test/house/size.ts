// SPDX-License-Identifier: Apache-2.0
/** Files and functions fit a screen; what is longer is on a list with its reason, and may only shrink. */
import type { Finding, Source } from './sources.ts';

const fileLinesMax = 400;
const functionLinesMax = 70;

/** `path` or `path function` -> lines allowed today and why. */
export type Ratchet = Readonly<Record<string, { readonly lines: number; readonly reason: string }>>;

/** A function and how many lines it has, from its first line to its closing brace. */
export type FunctionSize = { readonly name: string; readonly line: number; readonly lines: number };

/** Functions of formatted code: a block opens at an indent and closes at the next `}` of that indent. */
export function functionsOf(source: Source): readonly FunctionSize[] {
  const lines = source.text.split('\n');
  const isC = /\.[ch]$/.test(source.path);
  return lines.flatMap((line, index) => {
    const name = isC ? nameInC(lines, index) : nameInTypescript(line);
    if (name === undefined) return [];
    const indent = /^\s*/.exec(line)?.[0] ?? '';
    const end = lines.findIndex(
      (other, at) => at > index && other.startsWith(`${indent}}`) && !/^\s*\}\)?: |^\s*\}(,| =| from)/.test(other),
    );
    return end === -1 ? [] : [{ name, line: index + 1, lines: end - index + 1 }];
  });
}

/** Files and functions over the limit that the ratchet does not cover, and ratchet entries that are no longer needed. */
export function checkSizes(sources: readonly Source[], ratchet: Ratchet): readonly Finding[] {
  const code = sources.filter(({ path }) => /\.(ts|c|h|sh)$/.test(path) && !path.endsWith('.gen.ts'));
  const long = code.flatMap((source) => [
    {
      key: source.path,
      path: source.path,
      line: 1,
      lines: source.text.trimEnd().split('\n').length,
      limit: fileLinesMax,
    },
    ...functionsOf(source).map(({ name, line, lines }) => ({
      key: `${source.path} ${name}`,
      path: source.path,
      line,
      lines,
      limit: functionLinesMax,
    })),
  ]);
  const over = long
    .filter(({ key, lines, limit }) => lines > Math.max(limit, ratchet[key]?.lines ?? 0))
    .map(({ key, path, line, lines, limit }) => ({
      path,
      line,
      message: `${key} has ${lines} lines of at most ${limit}: split it`,
    }));
  const stale = Object.keys(ratchet)
    .filter((key) => !long.some((entry) => entry.key === key && entry.lines > entry.limit))
    .map((key) => ({ path: key, message: 'is within the limit now: take it off the ratchet' }));
  return [...over, ...stale];
}

function nameInTypescript(line: string): string | undefined {
  // A describe block is a heading, not a function; a test is one.
  if (/^\s*(describe|suite)\b/.test(line)) return undefined;
  const declared = /^\s*(?:export )?(?:default )?(?:async )?function\*? (\w+)/.exec(line)?.[1];
  if (declared !== undefined) return declared;
  const assigned = /^\s*(?:export )?const (\w+)\b.*= (?:async )?\(.*$/.exec(line)?.[1];
  if (assigned !== undefined && /(=> \{|\($)/.test(line)) return assigned;
  if (/^\s*test(\.\w+(\(.*\))?)?\(.*=> \{$/.test(line)) return line.trim().slice(0, 60);
  return /^ {2,4}(?:async )?(\w+)\(.*\)(?:: .*)? \{$/.exec(line)?.[1];
}

function nameInC(lines: readonly string[], index: number): string | undefined {
  const line = lines[index] ?? '';
  if (line !== '{') return undefined;
  for (let at = index - 1; at >= 0 && index - at < 6; at -= 1) {
    const name = /^[a-z_].*?\b(\w+)\(/.exec(lines[at] ?? '')?.[1];
    if (name !== undefined) return name;
  }
  return undefined;
}
