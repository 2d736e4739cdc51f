// SPDX-License-Identifier: Apache-2.0
/** Who imports whom: directions between rooms, and what a command pulls in before it runs. */
import { dirname, normalize } from 'node:path/posix';
import { withoutComments, type Finding, type Source } from './sources.ts';

/** One import; a dynamic one runs only when its code does. */
export type Import = {
  readonly target: string;
  readonly line: number;
  readonly dynamic: boolean;
  readonly types: boolean;
};

/** What each room may import besides itself; cli, test and bench may import all. */
const allowed: Readonly<Record<string, readonly string[]>> = {
  core: [],
  formats: ['core'],
  kernel: ['core'],
  lab: ['core', 'kernel', 'formats'],
  replay: ['core', 'formats'],
  watch: ['core', 'formats'],
  agent: ['core', 'kernel', 'formats', 'watch'],
  sim: ['core', 'agent'],
  proof: ['core', 'sim'],
  tools: ['core', 'kernel'],
};
/** Narrower than their room. */
const allowedByFile: Readonly<Record<string, readonly string[]>> = {
  'agent/audit.ts': ['core'],
  'agent/loop.ts': ['core'],
  'agent/reconcile.ts': ['core'],
  'agent/takeover.ts': ['core'],
};
/** Narrower than a whole room: these files only. */
const onlyFiles: Readonly<Record<string, readonly string[]>> = {
  'sim agent': ['agent/loop.ts', 'agent/reconcile.ts', 'agent/takeover.ts'],
  'tools kernel': ['kernel/btf.ts', 'kernel/layout.ts'],
};
/** Packages that only some may import: files, or rooms with a slash at their end. */
const onlyIn: Readonly<Record<string, readonly string[]>> = {
  koffi: ['kernel/libbpf.ts', 'kernel/libc.ts'],
  '@kubernetes/client-node': ['watch/connection.ts'],
  rxjs: ['watch/', 'agent/', 'cli/record.ts', 'test/'],
};

/** All imports and re-exports of a TypeScript source. */
export function importsOf(source: Source): readonly Import[] {
  const text = withoutComments(source.text);
  const pattern =
    /(?:^|\n)\s*(?:import|export)\s+(type\s)?[^'";]*?from\s*'([^']+)'|(?:^|\n)\s*import\s*'([^']+)'|\bimport\(\s*['"`]([^'"`]+)['"`]/g;
  return [...text.matchAll(pattern)].map((match) => ({
    target: match[2] ?? match[3] ?? match[4] ?? '',
    line: text.slice(0, match.index + match[0].length).split('\n').length,
    dynamic: match[4] !== undefined,
    types: match[1] !== undefined,
  }));
}

/** The file that a relative import means, or the package as it is written. */
export function resolveImport(from: string, target: string): string {
  return target.startsWith('.') ? normalize(`${dirname(from)}/${target}`) : target;
}

/** Imports against the directions of the house. */
export function checkDirections(sources: readonly Source[]): readonly Finding[] {
  return typescript(sources).flatMap((source) =>
    importsOf(source).flatMap((entry) => {
      const message = judgeImport(source.path, resolveImport(source.path, entry.target));
      return message === undefined ? [] : [{ path: source.path, line: entry.line, message }];
    }),
  );
}

function judgeImport(path: string, target: string): string | undefined {
  const from = path.split('/')[0] ?? '';
  const guarded = Object.entries(onlyIn).find(([name]) => target === name || target.startsWith(`${name}/`));
  if (guarded !== undefined) {
    const [name, places] = guarded;
    const isPlace = places.some((place) => path === place || (place.endsWith('/') && path.startsWith(place)));
    if (!isPlace) return `${name} is imported by ${places.join(', ')} only`;
    if (!(path in allowedByFile)) return undefined;
  }
  const core = from === 'core' || path in allowedByFile;
  if (!target.includes('/') || target.startsWith('node:') || target.startsWith('@')) {
    return core ? `imports ${target}, but is pure: hand it in` : undefined;
  }
  const to = target.split('/')[0] ?? '';
  const rooms = allowedByFile[path] ?? allowed[from];
  if (rooms === undefined || to === from) return judgeNarrowed(path, target, from, to);
  if (!rooms.includes(to))
    return `imports ${target}, but ${from} may import ${rooms.join(', ') || 'nothing'}: hand it in`;
  return judgeNarrowed(path, target, from, to);
}

function judgeNarrowed(path: string, target: string, from: string, to: string): string | undefined {
  if (path in allowedByFile && to === from && !(target in allowedByFile))
    return `imports ${target}, but may import core only`;
  const files = onlyFiles[`${from} ${to}`];
  return files === undefined || files.includes(target)
    ? undefined
    : `imports ${target}; ${from} may import ${files.join(', ')} of it`;
}

/** What a file pulls in before any of its code runs: files and packages, types left out. */
export function closureOf(sources: readonly Source[], entry: string): ReadonlySet<string> {
  const byPath = new Map(sources.map((source) => [source.path, source]));
  const reached = new Set<string>();
  const queue = [entry];
  for (let path = queue.pop(); path !== undefined; path = queue.pop()) {
    if (reached.has(path)) continue;
    reached.add(path);
    const source = byPath.get(path);
    if (source === undefined) continue;
    const runtime = importsOf(source).filter(({ dynamic, types }) => !dynamic && !types);
    queue.push(...runtime.map(({ target }) => resolveImport(path, target)));
  }
  return reached;
}

/** Entries that must run without root and without a kernel pull in neither koffi nor raw-socket nor kernel/. */
export function checkClosures(sources: readonly Source[], entries: readonly string[]): readonly Finding[] {
  const there = new Set(sources.map(({ path }) => path));
  return entries
    .filter((entry) => there.has(entry))
    .flatMap((entry) =>
      [...closureOf(sources, entry)]
        .filter((path) => path === 'koffi' || path === 'raw-socket' || path.startsWith('kernel/'))
        .map((path) => ({ path: entry, message: `pulls in ${path}: import it dynamically, behind a check` })),
    );
}

/** `path -> target` for each dynamic import of kernel/ or koffi outside of kernel/: the doors that are open on purpose. */
export function kernelDoors(sources: readonly Source[]): readonly string[] {
  return typescript(sources)
    .filter(({ path }) => !/^(kernel|test|bench)\//.test(path))
    .flatMap((source) =>
      importsOf(source)
        .filter(({ dynamic }) => dynamic)
        .map(({ target }) => resolveImport(source.path, target))
        .filter((target) => target === 'koffi' || target.startsWith('kernel/'))
        .map((target) => `${source.path} -> ${target}`),
    )
    .toSorted();
}

function typescript(sources: readonly Source[]): readonly Source[] {
  return sources.filter(({ path }) => path.endsWith('.ts'));
}
