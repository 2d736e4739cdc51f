// SPDX-License-Identifier: Apache-2.0
/** Twins side by side: the functions and the branch marks of a C header and of its TypeScript file, in order. */
import { withoutComments, type Finding, type Source } from './sources.ts';

/** The steps that must have a twin once the datapath stands. */
const requiredSteps = [
  'parse',
  'classify',
  'lookup',
  'select',
  'affinity',
  'flows',
  'tcp',
  'conntrack',
  'connect',
  'nat',
  'checksum',
  'verdict',
];

/** Functions that only one of the two languages needs: path -> camelCase name -> why. */
export type Singles = Readonly<Record<string, Readonly<Record<string, string>>>>;

/** `select_backend` as the twin spells it: `selectBackend`. */
export function camelCase(name: string): string {
  return name.toLowerCase().replace(/_+([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
}

/** Functions defined at column 0 of a C header, in order. */
export function functionsOfC(text: string): readonly string[] {
  const pattern =
    /^(?:static|__noinline|int|enum|struct|bool|void|__u\w+)\b[^;={}()]*?\b(\w+)\((?!\()[^;{}]*\)\s*\n?\{/gm;
  return [...withoutComments(text).matchAll(pattern)]
    .map((match) => match[1] ?? '')
    .filter((name) => name !== '__attribute__');
}

/** Functions at the top level of a TypeScript file, exported or not, in order. */
export function functionsOfTypescript(text: string): readonly string[] {
  const pattern =
    /^(?:export )?(?:async )?function\*? (\w+)|^(?:export )?const (\w+)(?:: [^=]+)? = (?:async )?\([^)]*\)[^=]*=> /gm;
  return [...withoutComments(text).matchAll(pattern)].map((match) => match[1] ?? match[2] ?? '');
}

/** Branch marks in the order of the text, spelt alike for both languages: `BACKEND_DEAD`. */
export function marksOf(text: string): readonly string[] {
  const code = withoutComments(text)
    .replace(/^\s*import [^;]*;/gm, '')
    .replace(/^#define .*$/gm, '');
  const pattern = /\bMARK\((\w+)\)|\bMARK_(\w+)|\b(?:Mark|mark|marks)\.([A-Za-z]\w*)\b(?!\()|\bmark\('([\w-]+)'\)/g;
  return [...code.matchAll(pattern)]
    .map((match) => match[1] ?? match[2] ?? match[3] ?? match[4] ?? '')
    .map((name) =>
      name
        .replace(/([a-z0-9])([A-Z])/g, '$1_$2')
        .replaceAll('-', '_')
        .toUpperCase(),
    )
    .filter((name) => !['MAX', 'NONE', 'LENGTH'].includes(name));
}

/** Compares two twins; a file's `singles` are left out, and must be there. */
export function compareTwins(header: Source, model: Source, singles: Singles = {}): readonly Finding[] {
  const alone = [header, model].map(({ path }) => new Set(Object.keys(singles[path] ?? {})));
  const inC = functionsOfC(header.text).map(camelCase);
  const inTypescript = functionsOfTypescript(model.text);
  const wanted = inC.filter((name) => alone[0]?.has(name) !== true);
  const found = inTypescript.filter((name) => alone[1]?.has(name) !== true);
  return [
    ...compareLists(header, model, 'function', wanted, found),
    ...compareLists(header, model, 'mark', marksOf(header.text), marksOf(model.text)),
    ...findStale(header, inC, singles),
    ...findStale(model, inTypescript, singles),
  ];
}

/** Every header that calls itself a twin has one; every required step does once `datapath.ts` composes them. */
export function checkTwins(sources: readonly Source[], singles: Singles = {}): readonly Finding[] {
  const byPath = new Map(sources.map((source) => [source.path, source]));
  const composed = byPath.has('core/datapath/datapath.ts');
  const declared = sources
    .filter(({ path }) => /^bpf\/\w+\.h$/.test(path))
    .flatMap((header) => {
      const model = /twin of (core\/datapath\/\w+\.ts)/.exec(header.text)?.[1];
      return model === undefined ? [] : [{ header: header.path, model }];
    });
  const required = composed
    ? requiredSteps.map((step) => ({ header: `bpf/${step}.h`, model: `core/datapath/${step}.ts` }))
    : [];
  const pairs = new Map([...required, ...declared].map((pair) => [pair.header, pair]));
  return [...pairs.values()].flatMap((pair) => {
    const header = byPath.get(pair.header);
    const model = byPath.get(pair.model);
    if (header !== undefined && model !== undefined) return compareTwins(header, model, singles);
    if (!composed) return [];
    return [{ path: pair.header, message: `${pair.header} and ${pair.model} are twins, but one of them is missing` }];
  });
}

function findStale({ path }: Source, functions: readonly string[], singles: Singles): readonly Finding[] {
  return Object.keys(singles[path] ?? {})
    .filter((name) => !functions.includes(name))
    .map((name) => ({ path, message: `has no function ${name} any more: take it off the list of singles` }));
}

function compareLists(
  header: Source,
  model: Source,
  what: string,
  wanted: readonly string[],
  found: readonly string[],
): readonly Finding[] {
  const at = wanted.findIndex((name, index) => name !== found[index]);
  const first = at === -1 && found.length > wanted.length ? wanted.length : at;
  if (first === -1) return [];
  const theirs = wanted[first] ?? 'nothing';
  const message = `${what} ${first + 1} is ${found[first] ?? 'nothing'}, but ${theirs} in ${header.path}: same names, same order`;
  return [{ path: model.path, message }];
}
