// SPDX-License-Identifier: Apache-2.0
/** Where mechanical mutants strike in a function, what they put there, and what they leave alone, with the reason. */
import { bodiesOf, closingOf, statementsOf, tokensOf, type Statement, type Token } from './ctokens.ts';

export const operatorNames = ['relational', 'logical', 'arithmetic', 'bit', 'constant', 'dropped'] as const;
export type OperatorName = (typeof operatorNames)[number];

/** A change of a header: `length` characters at `at` become `replacement`. */
export type Change = {
  readonly operator: OperatorName;
  readonly function: string;
  readonly line: number;
  readonly at: number;
  readonly length: number;
  /** As shown: the old code, and the new. */
  readonly old: string;
  readonly new: string;
  readonly replacement: string;
};

/** What no mutant touches, and why. */
export const exclusions: readonly { readonly what: string; readonly reason: string }[] = [
  { what: 'comments and strings', reason: 'no code' },
  {
    what: 'preprocessor lines',
    reason: 'a constant is mutated where it is used, each use alone; unroll hints and guards decide nothing',
  },
  {
    what: 'types: structs, enums, declarations up to their `=`',
    reason: 'the layout is generated for the model from the same text, a change of it reaches both twins',
  },
  {
    what: 'MARK(...), log_write(...), report(...)',
    reason: 'what test mode says of a decision is no decision; without it every mutant would be found by its name only',
  },
  { what: 'HIDE(...), barrier()', reason: 'tell the compiler and the verifier something and compute nothing' },
  { what: 'branches under TEST_MODE', reason: 'production programs do not have them' },
];

/** Statements that are left alone. */
const LEFT_ALONE = new Set(['MARK', 'log_write', 'report', 'HIDE', 'barrier']);

const SIGNS: Readonly<Record<string, readonly [OperatorName, readonly string[]]>> = {
  '<': ['relational', ['<=', '>=']],
  '<=': ['relational', ['<', '>']],
  '>': ['relational', ['>=', '<=']],
  '>=': ['relational', ['>', '<']],
  '==': ['relational', ['!=']],
  '!=': ['relational', ['==']],
  '&&': ['logical', ['||']],
  '||': ['logical', ['&&']],
  '!': ['logical', ['']],
  '+': ['arithmetic', ['-']],
  '-': ['arithmetic', ['+']],
  '+=': ['arithmetic', ['-=']],
  '-=': ['arithmetic', ['+=']],
  '++': ['arithmetic', ['--']],
  '--': ['arithmetic', ['++']],
  '&': ['bit', ['|']],
  '|': ['bit', ['&']],
  '^': ['bit', ['|']],
  '<<': ['bit', ['>>']],
  '>>': ['bit', ['<<']],
  '&=': ['bit', ['|=']],
  '|=': ['bit', ['&=']],
  '^=': ['bit', ['|=']],
  '<<=': ['bit', ['>>=']],
  '>>=': ['bit', ['<<=']],
  '~': ['bit', ['']],
};
/** Of these, signs that are another operator where nothing stands before them: an address, a sign of a number. */
const BINARY = new Set(['&', '+', '-']);
const ASSIGNMENTS = new Set(['=', '+=', '-=', '*=', '/=', '%=', '&=', '|=', '^=', '<<=', '>>=', '++', '--']);
const JUMPS = new Set(['return', 'break', 'continue', 'goto']);

/** Every change that the rules make of a header, in the order of its text. */
export function changesOf(text: string): readonly Change[] {
  return bodiesOf(tokensOf(text)).flatMap(({ name, tokens }) => {
    const statements = statementsOf(tokens);
    const isExcluded = excludedOf(tokens, statements);
    const raw = [
      ...tokens.flatMap((token, at) => (isExcluded[at] === true ? [] : changesAt(tokens, at, token))),
      ...statements.flatMap((statement) =>
        isExcluded[statement.first] === true ? [] : dropOf(tokens, statement, text),
      ),
    ];
    return raw.map((change) => ({ ...change, function: name })).toSorted((left, right) => left.at - right.at);
  });
}

type Raw = Omit<Change, 'function'>;

/** For each token of a body whether it is left alone. */
function excludedOf(tokens: readonly Token[], statements: readonly Statement[]): readonly boolean[] {
  const isExcluded = tokens.map(() => false);
  for (const { first, last } of statements) {
    const isLeft = LEFT_ALONE.has(tokens[first]?.text ?? '');
    const until = isLeft ? last : isDeclaration(tokens, first) ? typeEnd(tokens, first, last) : first - 1;
    isExcluded.fill(true, first, until + 1);
  }
  for (const [at, { text }] of tokens.entries()) {
    if (text !== 'if') continue;
    const close = closingOf(tokens, at + 1);
    if (!tokens.slice(at, close).some((token) => token.text === 'TEST_MODE')) continue;
    const statement = statements.find(({ first }) => first > close);
    const end = tokens[close + 1]?.text === '{' ? closingOf(tokens, close + 1) : (statement?.last ?? close);
    isExcluded.fill(true, at, end + 1);
  }
  return isExcluded;
}

/** `struct x y`, `__u32 a`, `void *data`: two words, or a word and stars and a word. */
function isDeclaration(tokens: readonly Token[], first: number): boolean {
  if (tokens[first]?.kind !== 'word' || JUMPS.has(tokens[first].text)) return false;
  let at = first + 1;
  while (tokens[at]?.text === '*') at++;
  return tokens[at]?.kind === 'word';
}

/** The last token before the value of a declaration. */
function typeEnd(tokens: readonly Token[], first: number, last: number): number {
  const equals = tokens.findIndex(({ text }, at) => at > first && at <= last && text === '=');
  return equals === -1 ? last : equals;
}

function changesAt(tokens: readonly Token[], at: number, token: Token): readonly Raw[] {
  const { kind, text } = token;
  if (kind === 'number') return replaced(token, 'constant', nearNumbers(text));
  if (kind === 'word') return text === 'if' ? negated(tokens, at) : replaced(token, 'constant', nearNames(tokens, at));
  const rule = kind === 'sign' ? SIGNS[text] : undefined;
  if (rule === undefined || (BINARY.has(text) && !endsValue(tokens, at - 1))) return [];
  return replaced(token, rule[0], rule[1]);
}

function replaced({ at, line, text }: Token, operator: OperatorName, choices: readonly string[]): readonly Raw[] {
  // A sign and what follows it must not become one: `x - -y`.
  const spaced = (choice: string): string => (choice === '' || /\w/.test(choice) ? choice : ` ${choice} `);
  return choices.map((choice) => {
    const replacement = operator === 'constant' ? choice : spaced(choice);
    return { operator, line, at, length: text.length, old: text, new: choice === '' ? 'nothing' : choice, replacement };
  });
}

/** Whether a value ends here, so that a sign after it joins two; the `)` of a cast ends none. */
function endsValue(tokens: readonly Token[], at: number): boolean {
  const token = tokens[at];
  if (token === undefined) return false;
  if (token.kind === 'number' || token.text === ']') return true;
  if (token.kind === 'word') return token.text !== 'return';
  if (token.text !== ')') return false;
  let open = at;
  for (let depth = 0; open >= 0; open--) {
    if (tokens[open]?.text === ')') depth++;
    if (tokens[open]?.text === '(' && --depth === 0) break;
  }
  const inside = tokens.slice(open + 1, at);
  const isCast =
    inside.length > 0 && inside.every(({ text }) => /^(\*|const|volatile|struct|void|int|long|__[a-z]\w*)$/.test(text));
  return !isCast || tokens[open - 1]?.kind === 'word';
}

const NUMBER = /^(0[xX][0-9a-fA-F]+|\d+)([uUlL]*)$/;

/** One more, one less, none; in the notation of the number. */
function nearNumbers(text: string): readonly string[] {
  const [, digits, suffix = ''] = NUMBER.exec(text) ?? [];
  if (digits === undefined) return [];
  const value = BigInt(digits);
  const written = (near: bigint): string => `${/^0[xX]/.test(digits) ? `0x${near.toString(16)}` : near}${suffix}`;
  if (value === 0n) return [written(1n)];
  return [...new Set([value + 1n, value - 1n, 0n])].map(written);
}

/** The same for constants that have a name; `true` and `false` are each other's neighbours. */
function nearNames(tokens: readonly Token[], at: number): readonly string[] {
  const { text } = tokens[at]!;
  if (text === 'true') return ['false'];
  if (text === 'false') return ['true'];
  const before = tokens[at - 1]?.text;
  if (!/^[A-Z][A-Z0-9_]+$/.test(text) || text === 'NULL' || tokens[at + 1]?.text === '(') return [];
  return before === '.' || before === '->' ? [] : [`(${text} + 1)`, `(${text} - 1)`, '0'];
}

/** A condition that no other operator turns round is negated as a whole. */
function negated(tokens: readonly Token[], at: number): readonly Raw[] {
  const close = closingOf(tokens, at + 1);
  const [open, end] = [tokens[at + 1], tokens[close]];
  const inside = tokens.slice(at + 2, close);
  const hasOwn = inside[0]?.text === '!' || inside.some(({ text }) => /^(&&|\|\||[<>=!]=|<|>)$/.test(text));
  if (open === undefined || end === undefined || hasOwn) return [];
  const old = inside.map(({ text }) => text).join(' ');
  const [from, length] = [open.at, end.at + 1 - open.at];
  const negation = { operator: 'logical', line: open.line, at: from, length, old, new: `!(${old})` } as const;
  return [{ ...negation, replacement: `(!(${old}))` }];
}

/** An assignment, a call, a jump out of a branch: taken out. What declares something stays. */
function dropOf(tokens: readonly Token[], { first, last, nested }: Statement, text: string): readonly Raw[] {
  const [start, end] = [tokens[first], tokens[last]];
  if (start === undefined || end?.text !== ';' || isDeclaration(tokens, first)) return [];
  const inside = tokens.slice(first, last);
  const isAssignment = inside.some((token) => ASSIGNMENTS.has(token.text));
  const isCall = start.kind === 'word' && inside[1]?.text === '(';
  if (!(JUMPS.has(start.text) ? nested : isAssignment || isCall)) return [];
  const length = end.at + 1 - start.at;
  const old = text.slice(start.at, start.at + length).replace(/\s+/g, ' ');
  return [{ operator: 'dropped', line: start.line, at: start.at, length, old, new: 'nothing', replacement: ';' }];
}
