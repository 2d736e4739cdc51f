// SPDX-License-Identifier: Apache-2.0
/** YAML and JSON text to plain values, document by document, with the lines they stand on. */
import { LineCounter, parseAllDocuments, type Document, type ParsedNode } from 'yaml';

import { fail, type Failure } from '../core/result.ts';

/** One document; JSON is a document as well. */
export type TextDocument = {
  readonly value: unknown;
  /** Line of the value at a path inside the document, or of the nearest one around it. From 1. */
  readonly lineOf: (path: readonly PropertyKey[]) => number;
};

export type TextDocuments = { readonly documents: readonly TextDocument[]; readonly failures: readonly Failure[] };

/** Every alias is expanded into values of ours, so a small file could ask for gigabytes. */
const ALIASES_MAX = 100;

/** A document that cannot be parsed is a failure that names file and line; the others are read. Empty ones are left out. */
export function parseDocuments(name: string, text: string): TextDocuments {
  const lines = new LineCounter();
  const documents: TextDocument[] = [];
  const failures: Failure[] = [];
  // YAML 1.2 as it is, but with the merge keys of 1.1, which kubectl knows.
  for (const parsed of parseAllDocuments(text, { lineCounter: lines, prettyErrors: false, merge: true })) {
    const [error] = parsed.errors;
    if (error !== undefined) {
      failures.push(fail('input', `${name} line ${lines.linePos(error.pos[0]).line}`, firstLine(error.message)).error);
      continue;
    }
    const document: Document = parsed;
    const lineOf = (path: readonly PropertyKey[]): number => lines.linePos(positionOf(document, path)).line;
    const value = valueOf(document);
    if (value.ok && value.value !== null) documents.push({ value: value.value, lineOf });
    if (!value.ok) failures.push(fail('input', `${name} line ${lineOf([])}`, value.message).error);
  }
  return { documents, failures };
}

function firstLine(text: string): string {
  return text.split('\n', 1)[0] ?? '';
}

function valueOf(
  document: Document,
): { readonly ok: true; readonly value: unknown } | { readonly ok: false; readonly message: string } {
  try {
    const value: unknown = document.toJS({ maxAliasCount: ALIASES_MAX });
    return { ok: true, value };
  } catch (error) {
    // What the library throws for an alias without its anchor, and for too many of them.
    if (!(error instanceof ReferenceError)) throw error;
    return { ok: false, message: firstLine(error.message) };
  }
}

function positionOf(document: Document, path: readonly PropertyKey[]): number {
  for (let length = path.length; length > 0; length -= 1) {
    const node = document.getIn(path.slice(0, length), true);
    const range = isNodeWithRange(node) ? node.range : undefined;
    if (range !== undefined) return range[0];
  }
  return document.contents?.range?.[0] ?? 0;
}

function isNodeWithRange(node: unknown): node is { readonly range: NonNullable<ParsedNode['range']> } {
  return typeof node === 'object' && node !== null && 'range' in node && Array.isArray(node.range);
}
