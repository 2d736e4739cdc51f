// SPDX-License-Identifier: Apache-2.0
/** Mechanical mutants of the control plane: all that the rules make, and the draw of some of them by a seed. */
import { createStream } from '../../core/random.ts';
import { hashText } from '../../core/control/names.ts';
import { changesOf, operatorNames, plantChange, type Change, type OperatorName } from './changes.ts';
import { withoutTypes } from './tokens.ts';

/** A file below core/control/. */
export type ControlFile = { readonly name: string; readonly text: string };

/** One change of one file. */
export type DrawnMutant = Change & {
  readonly file: string;
  readonly line: number;
  /** Tells it apart as long as its line stays as it is, wherever that moves inside its declaration. */
  readonly key: string;
};

/** What decides who gets what; the rest of core/control/ tells it to people. */
export const CONTROL_FILES: readonly string[] = [
  ...['adopt', 'affected', 'backends', 'categorize', 'claims', 'classifier', 'cluster', 'decode', 'desired'],
  ...['endpoints', 'entries', 'hostports', 'maglev', 'nodes', 'plan', 'pods', 'ranges', 'reserve', 'slices', 'space'],
  ...['views', 'wanted'],
].map((name) => `${name}.ts`);

const DECLARATION = /^(?:export )?(?:function\*?|const|class) (\w+)/;

/** `views.ts clusterIPViews: if (...) [condition ... -> ...]`; what occurs again there gets a number. */
export function mutantsOf({ name, text }: ControlFile): readonly DrawnMutant[] {
  const lines = text.split('\n');
  const declared: string[] = [];
  for (const line of lines) declared.push(DECLARATION.exec(line)?.[1] ?? declared.at(-1) ?? '');
  const seen = new Map<string, number>();
  return changesOf(text).map((change) => {
    const line = text.slice(0, change.at).split('\n').length;
    const code = (lines[line - 1] ?? '').trim();
    const key = `${name} ${declared[line - 1]}: ${code} [${change.operator} ${change.old} -> ${change.new}]`;
    const count = (seen.get(key) ?? 0) + 1;
    seen.set(key, count);
    return { ...change, file: name, line, key: count === 1 ? key : `${key} #${count}` };
  });
}

/** undefined: what comes of it is no TypeScript, or the same without types. */
export function plantDrawn(mutant: DrawnMutant, text: string): string | undefined {
  const planted = plantChange(mutant, text);
  const code = withoutTypes(planted);
  return code === undefined || code === withoutTypes(text) ? undefined : planted;
}

/** How the draw is spread, for the table. */
export const DRAW_RULE: string =
  'files get mutants by the square root of how many they have; in a file the operators take turns';

type Stratum = { readonly operator: OperatorName; readonly mutants: DrawnMutant[]; taken: number };
type Pile = { readonly size: number; readonly strata: readonly Stratum[]; taken: number };

/** So many mutants in the order in which a seed takes them; the same for the same seed and texts. */
export function drawMutants(files: readonly ControlFile[], seed: number, count: number): readonly DrawnMutant[] {
  const texts = new Map(files.map(({ name, text }) => [name, text]));
  const piles = pilesOf(files, seed);
  const drawn: DrawnMutant[] = [];
  while (drawn.length < count) {
    const left = piles.filter(({ strata }) => strata.some(hasMore));
    const pile = least(left, ({ taken, size }) => (taken + 1) / Math.sqrt(size));
    const stratum = least(pile?.strata.filter(hasMore) ?? [], ({ taken }) => taken);
    const mutant = stratum?.mutants.shift();
    if (pile === undefined || stratum === undefined || mutant === undefined) break;
    if (plantDrawn(mutant, texts.get(mutant.file) ?? '') === undefined) continue;
    pile.taken += 1;
    stratum.taken += 1;
    drawn.push(mutant);
  }
  return drawn;
}

function pilesOf(files: readonly ControlFile[], seed: number): readonly Pile[] {
  return files.map((file) => {
    // One of its own: a change of another file draws the same ones here.
    const stream = createStream(seed, hashText(file.name)[0]);
    const shuffled = <T>(list: readonly T[]): T[] =>
      list
        .map((item) => [stream.word(), item] as const)
        .toSorted(([left], [right]) => left - right)
        .map(([, item]) => item);
    const mutants = shuffled(mutantsOf(file));
    const strata = shuffled(operatorNames).map((operator) => ({
      operator,
      mutants: mutants.filter((mutant) => mutant.operator === operator),
      taken: 0,
    }));
    return { size: mutants.length, strata, taken: 0 };
  });
}

function hasMore({ mutants }: Stratum): boolean {
  return mutants.length > 0;
}

/** The first of those with the smallest weight. */
function least<T>(list: readonly T[], weight: (item: T) => number): T | undefined {
  return list.reduce<T | undefined>(
    (best, item) => (best === undefined || weight(item) < weight(best) ? item : best),
    undefined,
  );
}
