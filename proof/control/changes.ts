// SPDX-License-Identifier: Apache-2.0
/** Every small change that the rules make of a file of the control plane: where, what stands there, what comes there. */
import { closingOf, endOf, endsValue, tokensOf, withoutTypes, type Token } from './tokens.ts';

export const operatorNames = [
  'relational',
  'logical',
  'boolean',
  'arithmetic',
  'bit',
  'number',
  'method',
  'condition',
  'branches',
  'dropped',
  'early',
] as const;
export type OperatorName = (typeof operatorNames)[number];

/** `length` characters at `at` become `replacement`. */
export type Change = {
  readonly operator: OperatorName;
  readonly at: number;
  readonly length: number;
  /** As shown. */
  readonly old: string;
  readonly new: string;
  readonly replacement: string;
};

/** What no change touches, and why. */
export const exclusions: readonly { readonly what: string; readonly reason: string }[] = [
  { what: 'comments, strings, templates', reason: 'no code, or words for people; a changed name is written by hand' },
  { what: 'types', reason: 'gone before the code runs; tsc judges them' },
  { what: 'assert(...)', reason: 'says what is always so: without it the same is done' },
  { what: 'imports and exports of names', reason: 'decide nothing' },
  { what: '? 1 : -1 to 2 or -2', reason: 'of what a comparison gives the sign alone counts' },
];

const SIGNS: Readonly<Record<string, readonly [OperatorName, string]>> = {
  '<': ['relational', '<='],
  '<=': ['relational', '<'],
  '>': ['relational', '>='],
  '>=': ['relational', '>'],
  '===': ['relational', '!=='],
  '!==': ['relational', '==='],
  '&&': ['logical', '||'],
  '||': ['logical', '&&'],
  '!': ['logical', ''],
  '+': ['arithmetic', '-'],
  '-': ['arithmetic', '+'],
  '+=': ['arithmetic', '-='],
  '-=': ['arithmetic', '+='],
  '&': ['bit', '|'],
  '|': ['bit', '&'],
  '^': ['bit', '|'],
  '<<': ['bit', '>>'],
  '>>': ['bit', '<<'],
  '>>>': ['bit', '<<'],
  '|=': ['bit', '&='],
};
const BINARY = new Set(['+', '-']);
const METHODS: Readonly<Record<string, string>> = { some: 'every', every: 'some', min: 'max', max: 'min' };
const BOOLEANS: Readonly<Record<string, string>> = { true: 'false', false: 'true' };
/** Words that begin something else than an expression. */
const STARTS = new Set([
  ...['const', 'let', 'import', 'export', 'function', 'class', 'type', 'if', 'for', 'while', 'switch', 'case'],
  ...['default', 'else', 'do', 'throw', 'try', 'assert', 'return', 'break', 'continue', 'async'],
]);
const JUMPS = new Set(['return', 'break', 'continue']);
const ASSIGNMENTS = new Set(['=', '+=', '-=', '*=', '&=', '|=', '^=', '<<=', '>>=', '??=', '++', '--']);

/** In the order of the text; none where it is no TypeScript. */
export function changesOf(text: string): readonly Change[] {
  const code = withoutTypes(text);
  if (code === undefined) return [];
  const tokens = tokensOf(code);
  const isExcluded = excluded(tokens);
  return tokens
    .flatMap((token, at) => (isExcluded[at] === true ? [] : changesAt(tokens, at, token, text)))
    .toSorted((left, right) => left.at - right.at);
}

/** The text with the change in it. */
export function plantChange({ at, length, replacement }: Change, text: string): string {
  return text.slice(0, at) + replacement + text.slice(at + length);
}

function excluded(tokens: readonly Token[]): readonly boolean[] {
  const isExcluded = tokens.map(() => false);
  for (const [at, { text }] of tokens.entries()) {
    const isImport = text === 'import' || (text === 'export' && tokens[at + 1]?.text === '{');
    if (isImport) isExcluded.fill(true, at, endOf(tokens, at, [';']) + 1);
    if (text === 'assert' && tokens[at + 1]?.text === '(') isExcluded.fill(true, at, closingOf(tokens, at + 1) + 1);
  }
  return isExcluded;
}

function changesAt(tokens: readonly Token[], at: number, token: Token, text: string): readonly Change[] {
  const own = token.kind === 'sign' ? signs(tokens, at) : words(tokens, at);
  return [
    ...own,
    ...(token.text === 'if' ? negated(tokens, at, text) : []),
    ...(token.text === '?' ? swapped(tokens, at, text) : []),
    ...(startsStatement(tokens, at) ? ended(tokens, at, text) : []),
  ];
}

function replaced({ at, text }: Token, operator: OperatorName, next: string): Change {
  // A sign and what follows it must not become one.
  const isSign = next !== '' && !/\w/.test(next);
  const replacement = isSign ? ` ${next} ` : next;
  return { operator, at, length: text.length, old: text, new: next === '' ? 'nothing' : next, replacement };
}

function signs(tokens: readonly Token[], at: number): readonly Change[] {
  const token = tokens[at]!;
  const rule = SIGNS[token.text];
  if (rule === undefined || (BINARY.has(token.text) && !endsValue(tokens[at - 1]))) return [];
  return [replaced(token, ...rule)];
}

function words(tokens: readonly Token[], at: number): readonly Change[] {
  const token = tokens[at]!;
  const { kind, text } = token;
  if (kind === 'number') return numbers(tokens, at);
  if (kind !== 'word') return [];
  const isMethod = tokens[at - 1]?.text === '.' && tokens[at + 1]?.text === '(';
  const method = isMethod ? METHODS[text] : undefined;
  if (method !== undefined) return [replaced(token, 'method', method)];
  const boolean = BOOLEANS[text];
  return boolean === undefined ? [] : [replaced(token, 'boolean', boolean)];
}

function numbers(tokens: readonly Token[], at: number): readonly Change[] {
  const token = tokens[at]!;
  const before = tokens[at - 1]?.text === '-' ? tokens[at - 2] : tokens[at - 1];
  const isSign = token.text === '1' && (before?.text === '?' || before?.text === ':');
  const near = nearNumbers(token.text).filter((next) => !isSign || next === '0');
  return near.map((next) => replaced(token, 'number', next));
}

/** One more, one less; in the notation of the number. */
function nearNumbers(text: string): readonly string[] {
  const [, digits, suffix = ''] = /^(0[xX][0-9a-fA-F_]+|[\d_]+)(n?)$/.exec(text) ?? [];
  if (digits === undefined) return [];
  const value = BigInt(digits.replaceAll('_', ''));
  const written = (near: bigint): string => `${/^0[xX]/.test(digits) ? `0x${near.toString(16)}` : near}${suffix}`;
  return value === 0n ? [written(1n)] : [written(value + 1n), written(value - 1n)];
}

/** A condition that no other operator turns round is negated as a whole. */
function negated(tokens: readonly Token[], at: number, text: string): readonly Change[] {
  const close = closingOf(tokens, at + 1);
  const inside = tokens.slice(at + 2, close);
  const hasOwn = inside.some((token) => token.kind === 'sign' && /^(!|&&|\|\||[<>]=?|[=!]==)$/.test(token.text));
  const [open, end] = [tokens[at + 1], tokens[close]];
  if (open === undefined || end === undefined || hasOwn) return [];
  const old = shortened(text.slice(open.at + 1, end.at));
  const length = end.at + 1 - open.at;
  return [{ operator: 'condition', at: open.at, length, old, new: `!(${old})`, replacement: `(!(${old}))` }];
}

/** `a ? b : c` becomes `a ? c : b`. */
function swapped(tokens: readonly Token[], at: number, text: string): readonly Change[] {
  let colon = at;
  for (let depth = 1; depth > 0; depth += tokens[colon]?.text === '?' ? 1 : -1) {
    colon = endOf(tokens, colon + 1, ['?', ':']);
    const found = tokens[colon]?.text;
    if (found !== '?' && found !== ':') return [];
  }
  const end = endOf(tokens, colon + 1, [',', ';']);
  const [question, middle, last] = [tokens[at], tokens[colon], tokens[end - 1]];
  if (question === undefined || middle === undefined || last === undefined) return [];
  const from = question.at + 1;
  const [yes, no] = [text.slice(from, middle.at).trim(), text.slice(middle.at + 1, last.at + last.text.length).trim()];
  const length = last.at + last.text.length - from;
  const old = shortened(`${yes} : ${no}`);
  return [
    { operator: 'branches', at: from, length, old, new: shortened(`${no} : ${yes}`), replacement: ` ${no} : ${yes}` },
  ];
}

function shortened(code: string): string {
  return code.replace(/\s+/g, ' ');
}

const BEFORE = new Set([';', '{', '}', ')', 'else']);

function startsStatement(tokens: readonly Token[], at: number): boolean {
  const { kind, text } = tokens[at]!;
  if (kind !== 'word' || (STARTS.has(text) && !JUMPS.has(text))) return false;
  const before = tokens[at - 1];
  if (before === undefined || !BEFORE.has(before.text)) return false;
  return before.text !== ')' || isHead(tokens, at - 1);
}

/** Whether a bracket closes the head of a branch or a loop. */
function isHead(tokens: readonly Token[], close: number): boolean {
  let depth = 0;
  for (let at = close; at > 0; at -= 1) {
    if (tokens[at]?.text === ')') depth += 1;
    if (tokens[at]?.text === '(') depth -= 1;
    if (depth === 0) return ['if', 'for', 'while'].includes(tokens[at - 1]?.text ?? '');
  }
  return false;
}

/** A call, an assignment, a jump out of a branch is taken out; before one of the first two its function ends. */
function ended(tokens: readonly Token[], at: number, text: string): readonly Change[] {
  const end = endOf(tokens, at, [';']);
  const [start, last] = [tokens[at]!, tokens[end]];
  if (last?.text !== ';') return [];
  const inside = tokens.slice(at, end);
  const isJump = JUMPS.has(start.text);
  const acts = inside.some((token, index) => ASSIGNMENTS.has(token.text) || (token.text === '(' && index > 0));
  const isInBranch = ['else', ')'].includes(tokens[at - 1]?.text ?? '');
  if (isJump ? !isInBranch && start.text === 'return' : !acts) return [];
  const length = last.at + 1 - start.at;
  const old = shortened(text.slice(start.at, last.at + 1));
  const dropped: Change = { operator: 'dropped', at: start.at, length, old, new: 'nothing', replacement: ';' };
  if (isJump) return [dropped];
  return [dropped, { operator: 'early', at: start.at, length, old, new: 'return;', replacement: 'return;' }];
}
