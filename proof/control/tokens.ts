// SPDX-License-Identifier: Apache-2.0
/** Tokens of our TypeScript once its types are blanked, at the offsets of the text with them. */
import { stripTypeScriptTypes } from 'node:module';
import { assert } from '../../core/result.ts';

export type Token = {
  readonly kind: 'word' | 'number' | 'string' | 'sign';
  readonly text: string;
  readonly at: number;
};

const SIGNS = [
  ...['>>>=', '...', '===', '!==', '**=', '<<=', '>>=', '>>>', '&&=', '||=', '??='],
  ...['=>', '==', '!=', '<=', '>=', '&&', '||', '??', '?.', '++', '--', '+=', '-=', '*=', '/=', '%=', '&=', '|=', '^='],
  ...['<<', '>>', '**'],
];
const VALUE_ENDS = new Set([')', ']', '}']);
/** A slash after these begins a pattern. */
const NO_VALUES = new Set(['return', 'case', 'typeof', 'of', 'in', 'yield']);

/** undefined: the text is no TypeScript. */
export function withoutTypes(text: string): string | undefined {
  try {
    const code = stripTypeScriptTypes(text, { mode: 'strip' });
    assert(code.length === text.length, 'blanks stand where types stood');
    return code;
  } catch (error) {
    if (error instanceof Error && 'code' in error && String(error.code).startsWith('ERR_')) return undefined;
    throw error;
  }
}

/** Of code without types; comments are left out, a template is one token. */
export function tokensOf(code: string): readonly Token[] {
  const tokens: Token[] = [];
  let at = 0;
  while (at < code.length) {
    const rest = code.slice(at, at + 2);
    if (/\s/.test(code[at] ?? '')) at += 1;
    else if (rest === '//') at = until(code, '\n', at);
    else if (rest === '/*') at = until(code, '*/', at) + 2;
    else {
      const token = tokenAt(code, at, tokens.at(-1));
      tokens.push(token);
      at += token.text.length;
    }
  }
  return tokens;
}

function until(code: string, end: string, at: number): number {
  const found = code.indexOf(end, at);
  return found < 0 ? code.length : found;
}

const WORD = /[\p{L}_$#][\p{L}\p{N}_$]*/uy;
const NUMBER = /(?:0[xX][0-9a-fA-F_]+|\d[\d_]*(?:\.\d+)?)n?/y;
const PATTERN = /\/(?:[^/\\[\n]|\\.|\[(?:[^\]\\\n]|\\.)*\])+\/[a-z]*/y;

function tokenAt(code: string, at: number, before: Token | undefined): Token {
  const first = code[at] ?? '';
  const read = (pattern: RegExp): string => {
    pattern.lastIndex = at;
    return pattern.exec(code)?.[0] ?? '';
  };
  if (first === "'" || first === '"') return { kind: 'string', text: quoted(code, at), at };
  if (first === '`') return { kind: 'string', text: template(code, at), at };
  const word = read(WORD);
  if (word !== '') return { kind: 'word', text: word, at };
  const number = read(NUMBER);
  if (number !== '') return { kind: 'number', text: number, at };
  const pattern = first === '/' && !endsValue(before) ? read(PATTERN) : '';
  if (pattern !== '') return { kind: 'string', text: pattern, at };
  return { kind: 'sign', text: SIGNS.find((sign) => code.startsWith(sign, at)) ?? first, at };
}

function quoted(code: string, at: number): string {
  let end = at + 1;
  while (end < code.length && code[end] !== code[at]) end += code[end] === '\\' ? 2 : 1;
  return code.slice(at, end + 1);
}

function template(code: string, at: number): string {
  let end = at + 1;
  for (let depth = 0; end < code.length; end += 1) {
    const here = code[end];
    if (here === '\\') end += 1;
    else if (here === '$' && code[end + 1] === '{') depth += 1;
    else if (here === '}' && depth > 0) depth -= 1;
    else if (here === '`' && depth > 0) end += template(code, end).length - 1;
    else if (here === '`') break;
  }
  return code.slice(at, end + 1);
}

/** Whether a value ends with this token, so that a sign after it joins two. */
export function endsValue(token: Token | undefined): boolean {
  if (token === undefined) return false;
  if (token.kind === 'sign') return VALUE_ENDS.has(token.text);
  return token.kind !== 'word' || !NO_VALUES.has(token.text);
}

const OPENING = new Set(['(', '[', '{']);

/** Index of the bracket that closes the one at `open`; the last token where none does. */
export function closingOf(tokens: readonly Token[], open: number): number {
  let depth = 0;
  for (let at = open; at < tokens.length; at += 1) {
    const { kind, text } = tokens[at]!;
    if (kind !== 'sign') continue;
    if (OPENING.has(text)) depth += 1;
    if (VALUE_ENDS.has(text)) depth -= 1;
    if (depth === 0) return at;
  }
  return tokens.length - 1;
}

/** Index of the first of these signs behind `from` in the same brackets, or of what closes those. */
export function endOf(tokens: readonly Token[], from: number, signs: readonly string[]): number {
  for (let at = from; at < tokens.length; at += 1) {
    const { kind, text } = tokens[at]!;
    if (kind !== 'sign') continue;
    if (signs.includes(text) || VALUE_ENDS.has(text)) return at;
    if (OPENING.has(text)) at = closingOf(tokens, at);
  }
  return tokens.length;
}
