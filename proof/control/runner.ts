// SPDX-License-Identifier: Apache-2.0
/** Stands for the test framework where a mutant is judged: collects the tests of a file, runs them, ends at the first that fails. */
export { expect } from './matchers.ts';

type Body = () => unknown;
type Collected = { readonly name: string; readonly body: Body };
type Each = (cases: readonly unknown[]) => (name: string, ...rest: readonly unknown[]) => void;

let collected: Collected[] = [];
let names: readonly string[] = [];

/** What the tests of a file say of it, in the order of the file. */
export function takeCollected(): readonly Collected[] {
  const taken = collected;
  collected = [];
  return taken;
}

/** Options, if any, are first; time limits are the business of who asks. */
function bodyOf(rest: readonly unknown[]): (...values: readonly unknown[]) => unknown {
  const body = rest.find((each) => typeof each === 'function');
  if (body === undefined) throw new Error('a test without a body');
  return body as (...values: readonly unknown[]) => unknown;
}

function addTest(name: string, ...rest: readonly unknown[]): void {
  collected.push({ name: [...names, name].join(' › '), body: bodyOf(rest) });
}

function addGroup(name: string, ...rest: readonly unknown[]): void {
  const before = names;
  names = [...names, name];
  try {
    bodyOf(rest)();
  } catch (error) {
    // Here, as a test that fails: nothing else says in which group it was.
    collected.push({
      name: names.join(' › '),
      body: () => {
        throw error;
      },
    });
  } finally {
    names = before;
  }
}

/** `%s` and `%j` take the values in turn, `$name` a member of the first. */
function nameOf(name: string, values: readonly unknown[]): string {
  let next = 0;
  const filled = name.replace(/%[sjid]/g, () => textOf(values[next++]));
  const [first] = values;
  return filled.replace(/\$(\w+)/g, (_, member: string) =>
    textOf((first as Readonly<Record<string, unknown>>)[member]),
  );
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : (JSON.stringify(value) ?? String(value));
}

function eachOf(add: (name: string, ...rest: readonly unknown[]) => void): Each {
  return (cases) =>
    (name, ...rest) => {
      const body = bodyOf(rest);
      for (const one of cases) {
        const values: readonly unknown[] = Array.isArray(one) ? one : [one];
        add(nameOf(name, values), () => body(...values));
      }
    };
}

type Test = typeof addTest & { readonly each: Each; readonly skipIf: (isSkipped: boolean) => typeof addTest };

export const test: Test = Object.assign(addTest, {
  each: eachOf(addTest),
  skipIf: (isSkipped: boolean) => (isSkipped ? () => undefined : addTest),
});
export const describe: typeof addGroup & { readonly each: Each } = Object.assign(addGroup, { each: eachOf(addGroup) });
