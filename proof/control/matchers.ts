// SPDX-License-Identifier: Apache-2.0
/** What tests of the control plane expect, without the test framework: a mutant is judged hundreds of times as fast. */
import { isDeepStrictEqual } from 'node:util';

/** An expectation that was not met. */
export class Unmet extends Error {}

type Matcher = (found: unknown, ...wanted: readonly unknown[]) => boolean;

const matchers: Readonly<Record<string, Matcher>> = {
  toBe: (found, wanted) => Object.is(found, wanted),
  toEqual: (found, wanted) => isEqual(found, wanted),
  toMatchObject: (found, wanted) => has(found, wanted),
  toContainEqual: (found, wanted) => [...(found as Iterable<unknown>)].some((each) => isEqual(each, wanted)),
  toContain: (found, wanted) =>
    typeof found === 'string' ? found.includes(String(wanted)) : [...(found as Iterable<unknown>)].includes(wanted),
  toHaveLength: (found, wanted) => {
    const { length, size } = found as { readonly length?: number; readonly size?: number };
    return (length ?? size) === wanted;
  },
  toBeGreaterThan: (found, wanted) => Number(found) > Number(wanted),
  toBeGreaterThanOrEqual: (found, wanted) => Number(found) >= Number(wanted),
  toBeLessThan: (found, wanted) => Number(found) < Number(wanted),
  toBeLessThanOrEqual: (found, wanted) => Number(found) <= Number(wanted),
  toBeNull: (found) => found === null,
  toBeUndefined: (found) => found === undefined,
  toBeDefined: (found) => found !== undefined,
  toMatch: (found, wanted) =>
    wanted instanceof RegExp ? wanted.test(textOf(found)) : textOf(found).includes(textOf(wanted)),
  toThrow: (found, wanted) => throwsWhat(found, wanted),
  // Layouts for people, not rules.
  toMatchInlineSnapshot: () => true,
  toMatchFileSnapshot: () => true,
};

/** Stands for everything that has this in it. */
class Containing {
  readonly isIn: (found: unknown) => boolean;

  constructor(isIn: (found: unknown) => boolean) {
    this.isIn = isIn;
  }
}

type Asked = typeof expectation & {
  readonly stringContaining: (text: string) => unknown;
  readonly objectContaining: (members: object) => unknown;
};

/** As `expect` of the tests; the same matchers behind `not`. */
export const expect: Asked = Object.assign(expectation, {
  stringContaining: (text: string) => new Containing((found) => typeof found === 'string' && found.includes(text)),
  objectContaining: (members: object) => new Containing((found) => has(found, members)),
});

function expectation(found: unknown, why = ''): Readonly<Record<string, unknown>> {
  const asked = (isNot: boolean): Record<string, unknown> =>
    Object.fromEntries(
      Object.entries(matchers).map(([name, matcher]) => [
        name,
        (...wanted: readonly unknown[]): void => {
          if (matcher(found, ...wanted) !== isNot) return;
          throw new Unmet(
            `${why === '' ? '' : `${why}: `}${shown(found)} ${isNot ? 'not ' : ''}${name} ${shown(wanted[0])}`,
          );
        },
      ]),
    );
  return { ...asked(false), not: asked(true) };
}

const SHOWN = 300;

function shown(value: unknown): string {
  const text = JSON.stringify(value, (_, each: unknown) => (typeof each === 'bigint' ? `${each}n` : each));
  return (text ?? String(value)).slice(0, SHOWN);
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : shown(value);
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null;
}

/** A member that is undefined is as one that is not there. */
function isEqual(left: unknown, right: unknown): boolean {
  if (right instanceof Containing) return right.isIn(left);
  if (isDeepStrictEqual(left, right)) return true;
  if (!isRecord(left) || !isRecord(right) || Array.isArray(left) !== Array.isArray(right)) return false;
  if (left instanceof Set || right instanceof Set) return false;
  if (left instanceof Map || right instanceof Map)
    return left instanceof Map && right instanceof Map && isEqual([...left], [...right]);
  if (Array.isArray(left) && left.length !== right['length']) return false;
  return [...new Set([...Object.keys(left), ...Object.keys(right)])].every((name) => isEqual(left[name], right[name]));
}

/** Members that are wanted are there; of lists as many. */
function has(found: unknown, wanted: unknown): boolean {
  if (!isRecord(wanted) || !isRecord(found) || [Map, Set, Containing].some((type) => wanted instanceof type))
    return isEqual(found, wanted);
  if (Array.isArray(wanted) && (!Array.isArray(found) || found.length !== wanted.length)) return false;
  return Object.keys(wanted).every((name) => name in found && has(found[name], wanted[name]));
}

function throwsWhat(run: unknown, wanted: unknown): boolean {
  try {
    (run as () => void)();
    return false;
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    return wanted === undefined || (wanted instanceof RegExp ? wanted.test(text) : text.includes(textOf(wanted)));
  }
}
