// SPDX-License-Identifier: Apache-2.0
/** Mechanical mutants: every small change that the rules make of the twinned headers, and the draw of some of them. */
import { createStream } from '../../core/random.ts';
import { changesOf, operatorNames, type Change, type OperatorName } from './operators.ts';

/** A header below bpf/ that has a twin. */
export type Header = { readonly name: string; readonly text: string };

/** One change of one header. */
export type MechanicalMutant = Change & {
  readonly header: string;
  /** Tells it apart as long as its line stays as it is, wherever that moves inside its function. */
  readonly key: string;
};

/** `flows.h flow_claim: if (!bucket) [! -> nothing]`; what occurs again in the same line or function gets a number. */
export function mutantsOf({ name, text }: Header): readonly MechanicalMutant[] {
  const lines = text.split('\n');
  const seen = new Map<string, number>();
  return changesOf(text).map((change) => {
    const line = (lines[change.line - 1] ?? '').trim().replace(/\s+/g, ' ');
    const key = `${name} ${change.function}: ${line} [${change.operator} ${change.old} -> ${change.new}]`;
    const count = (seen.get(key) ?? 0) + 1;
    seen.set(key, count);
    return { ...change, header: name, key: count === 1 ? key : `${key} #${count}` };
  });
}

/** The text of the header with the change in it. */
export function plantMechanical({ at, length, replacement }: MechanicalMutant, text: string): string {
  return text.slice(0, at) + replacement + text.slice(at + length);
}

/** How the draw is spread, for the table. */
export const DRAW_RULE: string =
  'headers get mutants by the square root of how many they have; in a header the operators take turns';

type Stratum = { readonly operator: OperatorName; readonly mutants: MechanicalMutant[]; taken: number };
type Pile = { readonly header: string; readonly size: number; readonly strata: readonly Stratum[]; taken: number };

/** The mutants in the order in which a seed takes them; the same for the same seed and texts. */
export class Draw {
  private readonly piles: readonly Pile[];
  readonly total: number;

  constructor(headers: readonly Header[], seed: number) {
    const stream = createStream(seed, 5);
    const shuffled = <T>(list: readonly T[]): T[] =>
      list
        .map((item) => [stream.word(), item] as const)
        .toSorted(([left], [right]) => left - right)
        .map(([, item]) => item);
    this.piles = shuffled(headers).map((header) => {
      const mutants = shuffled(mutantsOf(header));
      const strata = shuffled(operatorNames).map((operator) => ({
        operator,
        mutants: mutants.filter((mutant) => mutant.operator === operator),
        taken: 0,
      }));
      return { header: header.name, size: mutants.length, strata, taken: 0 };
    });
    this.total = this.piles.reduce((sum, { size }) => sum + size, 0);
  }

  /** The next one, undefined where all are drawn. */
  next(): MechanicalMutant | undefined {
    const piles = this.piles.filter(({ strata }) => strata.some(hasMore));
    const pile = least(piles, ({ taken, size }) => (taken + 1) / Math.sqrt(size));
    return pile === undefined ? undefined : this.take(pile);
  }

  /** What stands in for one that turned out to be none: of the same header and operator as long as there is one. */
  instead(of: MechanicalMutant): MechanicalMutant | undefined {
    const pile = this.piles.find(({ header }) => header === of.header);
    const stratum = pile?.strata.find(({ operator }) => operator === of.operator);
    if (stratum !== undefined && hasMore(stratum)) return stratum.mutants.shift();
    if (pile !== undefined) pile.taken--;
    return this.next();
  }

  private take(pile: Pile): MechanicalMutant | undefined {
    const stratum = least(pile.strata.filter(hasMore), ({ taken }) => taken);
    if (stratum === undefined) return undefined;
    pile.taken++;
    stratum.taken++;
    return stratum.mutants.shift();
  }
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
