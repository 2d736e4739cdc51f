// SPDX-License-Identifier: Apache-2.0
/** Documents against the committed JSON Schemas, and every schema against fields that are too many or too few. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as z from 'zod';

const FOLDER = join(import.meta.dirname, '../../docs/schema');

export function schemaPath(name: string): string {
  return join(FOLDER, `${name}.schema.json`);
}

/** What is wrong with a document by the schema in docs/schema, a line each. */
export function complaints(name: string, document: unknown): readonly string[] {
  const text = readFileSync(schemaPath(name), 'utf8');
  const schema = z.fromJSONSchema(JSON.parse(text) as Parameters<typeof z.fromJSONSchema>[0]);
  const parsed = schema.safeParse(document);
  return parsed.success ? [] : parsed.error.issues.map(({ message, path }) => `${path.join('.')}: ${message}`);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The document without one of its fields, for each; and with one more. */
export function damaged(document: unknown): ReadonlyMap<string, unknown> {
  const made = new Map<string, unknown>();
  if (!isObject(document)) return made;
  for (const field of Object.keys(document)) {
    const { [field]: _, ...rest } = document;
    made.set(`without ${field}`, rest);
  }
  made.set('with one more', { ...document, oneMore: 1 });
  return made;
}
