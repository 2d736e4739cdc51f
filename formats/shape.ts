// SPDX-License-Identifier: Apache-2.0
/** Values of unknown shape checked by a zod schema: what is wrong becomes one failure that names file, path and remedy. */
import * as z from 'zod';

import { parseAddress, parsePrefix, type Address, type Prefix } from '../core/address.ts';
import { fail, failureText, ok, type Failure, type Result } from '../core/result.ts';
import { editDistance } from './distance.ts';

/** An address in text. */
export const addressShape: z.ZodType<Address, string> = z.string().transform((text, context) => {
  const parsed = parseAddress(text);
  if (parsed.ok) return parsed.value;
  context.addIssue({ code: 'custom', message: failureText(parsed.error) });
  return z.NEVER;
});

/** A range of addresses in text, `10.0.0.0/8`; a range without a length is one address. */
export const prefixShape: z.ZodType<Prefix, string> = z.string().transform((text, context) => {
  const parsed = parsePrefix(text);
  if (parsed.ok) return parsed.value;
  context.addIssue({ code: 'custom', message: failureText(parsed.error) });
  return z.NEVER;
});

/** `known` are the keys that a reader may have meant when it finds one that is not known. */
export function checkShape<T>(
  file: string,
  schema: z.ZodType<T>,
  value: unknown,
  lineOf: (path: readonly PropertyKey[]) => number,
  known: readonly string[] = [],
): Result<T> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return ok(parsed.data);
  return { ok: false, error: failureFrom(file, parsed.error, lineOf, known) };
}

/** The first issue: the rest often follows from it. */
function failureFrom(
  file: string,
  error: z.ZodError,
  lineOf: (path: readonly PropertyKey[]) => number,
  known: readonly string[],
): Failure {
  const [issue] = error.issues;
  if (issue === undefined) return fail('input', file, 'not of the shape that is expected').error;
  const [key] = issue.code === 'unrecognized_keys' ? issue.keys : [];
  const path = key === undefined ? issue.path : [...issue.path, key];
  const object = `${file} line ${lineOf(path)}`;
  if (key === undefined) {
    return fail('input', object, path.length === 0 ? issue.message : `${pathText(path)}: ${issue.message}`).error;
  }
  const meant = nearest(key, known);
  return fail('input', object, `unknown key ${pathText(path)}`, meant === undefined ? '' : `did you mean ${meant}?`)
    .error;
}

/** `links[2].ifindex`. */
function pathText(path: readonly PropertyKey[]): string {
  return path
    .map((part) => (typeof part === 'number' ? `[${part}]` : `.${String(part)}`))
    .join('')
    .replace(/^\./, '');
}

/** The word that takes the fewest changed letters, without regard to case; undefined when there is no word at all. */
export function nearest(word: string, words: readonly string[]): string | undefined {
  const distances = words.map((other) => ({ other, distance: editDistance(word.toLowerCase(), other.toLowerCase()) }));
  return distances.sort((left, right) => left.distance - right.distance)[0]?.other;
}
