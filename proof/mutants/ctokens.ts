// SPDX-License-Identifier: Apache-2.0
/** Our C as tokens, functions and statements: as much of the language as a mutant needs to know where it may strike. */

/** A piece of code; comments and preprocessor lines are none. `at`: offset in the text, `line` from 1. */
export type Token = {
  readonly kind: 'word' | 'number' | 'string' | 'sign';
  readonly text: string;
  readonly at: number;
  readonly line: number;
};

/** The body of a function: its tokens from `{` to `}`, both included. */
export type Body = { readonly name: string; readonly tokens: readonly Token[] };

/** One simple statement, its `;` included. `nested`: it belongs to a branch or a loop. */
export type Statement = { readonly first: number; readonly last: number; readonly nested: boolean };

const TOKEN =
  /(?<blank>\/\*[\s\S]*?\*\/|\/\/[^\n]*|\\\n|\s+)|(?<word>[A-Za-z_]\w*)|(?<number>\d\w*)|(?<string>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')|(?<sign><<=|>>=|\.\.\.|->|\+\+|--|<<|>>|[<>=!+\-*/%&|^]=|&&|\|\||[^\s\w])/gy;

/** A directive with the lines that it is continued on; blanked, so that offsets stay. */
const DIRECTIVE = /^[ \t]*#(?:[^\n\\]|\\[\s\S])*/gm;

function blankDirectives(text: string): string {
  // A comment may stand before a `#` or hold one at the start of a line: only code counts.
  const comments = /\/\*[\s\S]*?\*\//g;
  const spans = [...text.matchAll(comments)].map(({ index, 0: comment }) => [index, index + comment.length] as const);
  return text.replace(DIRECTIVE, (directive, at: number) =>
    spans.some(([from, to]) => at > from && at < to) ? directive : directive.replace(/[^\n]/g, ' '),
  );
}

/** All tokens of a header, in order. */
export function tokensOf(text: string): readonly Token[] {
  const code = blankDirectives(text);
  const tokens: Token[] = [];
  let line = 1;
  for (const match of code.matchAll(TOKEN)) {
    const [whole] = match;
    const { word, number, string, sign } = match.groups ?? {};
    const kind =
      word !== undefined ? 'word' : number !== undefined ? 'number' : string !== undefined ? 'string' : 'sign';
    if (word !== undefined || number !== undefined || string !== undefined || sign !== undefined)
      tokens.push({ kind, text: whole, at: match.index, line });
    line += whole.split('\n').length - 1;
  }
  return tokens;
}

const OPENING: Readonly<Record<string, string>> = { '(': ')', '[': ']', '{': '}' };

/** The index of what closes the bracket at `open`. */
export function closingOf(tokens: readonly Token[], open: number): number {
  const [opening, closing] = [tokens[open]?.text ?? '', OPENING[tokens[open]?.text ?? '']];
  let depth = 0;
  for (let at = open; at < tokens.length; at++) {
    const { text } = tokens[at]!;
    if (text === opening) depth++;
    if (text === closing && --depth === 0) return at;
  }
  return tokens.length - 1;
}

function openingOf(tokens: readonly Token[], close: number): number {
  let depth = 0;
  for (let at = close; at >= 0; at--) {
    const { text } = tokens[at]!;
    if (text === ')') depth++;
    if (text === '(' && --depth === 0) return at;
  }
  return 0;
}

/** The functions of a header: at the top level, a block after a list of parameters. Types and data are skipped. */
export function bodiesOf(tokens: readonly Token[]): readonly Body[] {
  const bodies: Body[] = [];
  for (let at = 0; at < tokens.length; at++) {
    if (tokens[at]?.text !== '{') continue;
    const end = closingOf(tokens, at);
    if (tokens[at - 1]?.text === ')') {
      const name = tokens[openingOf(tokens, at - 1) - 1]?.text ?? '';
      bodies.push({ name, tokens: tokens.slice(at, end + 1) });
    }
    at = end;
  }
  return bodies;
}

const HEADS = new Set(['if', 'for', 'while', 'switch']);

/** The simple statements of a body: what ends with `;` and is no head of a branch or a loop. */
export function statementsOf(tokens: readonly Token[]): readonly Statement[] {
  const statements: Statement[] = [];
  let depth = 0;
  let isBranch = false;
  for (let at = 0; at < tokens.length;) {
    const { text } = tokens[at]!;
    if (HEADS.has(text)) {
      at = closingOf(tokens, at + 1) + 1;
      isBranch = true;
    } else if (text === 'else' || text === 'do') {
      at++;
      isBranch = true;
    } else if (text === 'case' || text === 'default' || tokens[at + 1]?.text === ':') {
      while (at < tokens.length && tokens[at]?.text !== ':') at++;
      at++;
    } else if (text === '{' || text === '}') {
      depth += text === '{' ? 1 : -1;
      at++;
      isBranch = false;
    } else {
      const last = endOf(tokens, at);
      statements.push({ first: at, last, nested: isBranch || depth > 1 });
      at = last + 1;
      isBranch = false;
    }
  }
  return statements;
}

function endOf(tokens: readonly Token[], first: number): number {
  let at = first;
  while (at < tokens.length - 1 && tokens[at]?.text !== ';')
    at = (tokens[at]?.text ?? '') in OPENING ? closingOf(tokens, at) + 1 : at + 1;
  return at;
}
