// SPDX-License-Identifier: Apache-2.0
/** The rules of nftables as `nft -j list ruleset` prints them, as far as kube-proxy writes such; anything else is an error. */
import { addressText, parseAddress } from '../../core/address.ts';
import { intervalOf, addressNumber, type Interval } from './intervals.ts';

export type NftFamily = 'ip' | 'ip6';

/** What a rule reads of a packet. */
export type Operand =
  | 'source'
  | 'destination'
  | 'protocol'
  | 'port'
  | 'state'
  | 'status'
  | 'source-type'
  | 'destination-type';

/** `name` is a set of the table; otherwise the texts and intervals themselves. */
export type Among =
  | { readonly kind: 'named'; readonly name: string }
  | { readonly kind: 'listed'; readonly exact: ReadonlySet<string>; readonly intervals: readonly Interval[] };

export type Verdict =
  | { readonly kind: 'goto' | 'jump'; readonly chain: string }
  | { readonly kind: 'drop' | 'accept' | 'return' };

export type Target = { readonly address: string; readonly port: number };

export type Statement =
  | {
      readonly kind: 'match';
      readonly operands: readonly Operand[];
      readonly isNegated: boolean;
      readonly among: Among;
    }
  | { readonly kind: 'match-mark'; readonly bits: number }
  | { readonly kind: 'mark'; readonly operation: '|' | '^'; readonly bits: number }
  | { readonly kind: 'verdict'; readonly verdict: Verdict }
  | { readonly kind: 'lookup'; readonly operands: readonly Operand[]; readonly map: string }
  | { readonly kind: 'random-verdict'; readonly verdicts: readonly (Verdict | undefined)[] }
  | { readonly kind: 'random-target'; readonly targets: readonly (Target | undefined)[] }
  | { readonly kind: 'target'; readonly target: Target }
  | { readonly kind: 'remember'; readonly set: string }
  | { readonly kind: 'masquerade' | 'reject' };

export type Hook = 'prerouting' | 'input' | 'forward' | 'output' | 'postrouting';

export type ChainType = 'filter' | 'nat';

export type Chain = {
  readonly name: string;
  /** undefined: reached from other chains only. */
  readonly base: { readonly hook: Hook; readonly type: ChainType; readonly priority: number } | undefined;
  readonly rules: (readonly Statement[])[];
};

/** Elements of several fields are written as ` . ` between them. */
export type NftSet = { readonly timeoutSeconds: number | undefined; readonly elements: ReadonlySet<string> };

export type NftTable = {
  readonly chains: Map<string, Chain>;
  readonly sets: Map<string, NftSet>;
  readonly maps: Map<string, ReadonlyMap<string, Verdict>>;
};

export type Ruleset = Readonly<Record<NftFamily, NftTable>>;

type Members = Readonly<Record<string, unknown>>;

/** The rules hold something that no kube-proxy of this version writes: what follows from them is not known. */
function unknown(what: string, value: unknown): never {
  throw new Error(`cannot read this ${what} of the rules: ${JSON.stringify(value)}`);
}

function membersOf(value: unknown, what: string): Members {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return unknown(what, value);
  return value as Members;
}

/** The only member of an object: what kind of thing it is, and the thing. */
function only(value: unknown, what: string): readonly [string, unknown] {
  const [entry, ...rest] = Object.entries(membersOf(value, what));
  return entry === undefined || rest.length > 0 ? unknown(what, value) : entry;
}

function textOf(value: unknown, what: string): string {
  return typeof value === 'string' ? value : unknown(what, value);
}

function numberOf(value: unknown, what: string): number {
  return typeof value === 'number' ? value : unknown(what, value);
}

function listOf(value: unknown, what: string): readonly unknown[] {
  return Array.isArray(value) ? (value as readonly unknown[]) : unknown(what, value);
}

/** Throws with the text of what it does not know. */
export function readRuleset(printed: unknown): Ruleset {
  const empty = (): NftTable => ({ chains: new Map(), sets: new Map(), maps: new Map() });
  const ruleset: Ruleset = { ip: empty(), ip6: empty() };
  for (const item of listOf(membersOf(printed, 'document')['nftables'], 'document')) {
    const [kind, body] = only(item, 'object');
    if (kind === 'metainfo') continue;
    const members = membersOf(body, kind);
    const family = members['family'];
    if (family !== 'ip' && family !== 'ip6') unknown('family', item);
    else readObject(ruleset[family], kind, members, family);
  }
  return ruleset;
}

function readObject(table: NftTable, kind: string, members: Members, family: NftFamily): void {
  if (kind === 'table') return;
  if (members['table'] !== 'kube-proxy') unknown('table', members);
  if (kind === 'rule') {
    const chain = table.chains.get(textOf(members['chain'], 'chain'));
    if (chain === undefined) return unknown('rule', members);
    chain.rules.push(listOf(members['expr'], 'rule').map((one) => readStatement(one, family)));
    return;
  }
  const name = textOf(members['name'], 'name');
  if (kind === 'chain') table.chains.set(name, { name, base: readBase(members), rules: [] });
  else if (kind === 'set') table.sets.set(name, readSet(members));
  else if (kind === 'map') table.maps.set(name, readMap(members));
  else unknown('object', members);
}

const hooks: readonly Hook[] = ['prerouting', 'input', 'forward', 'output', 'postrouting'];

function readBase(members: Members): Chain['base'] {
  const { hook: named, type, prio, policy } = members;
  if (named === undefined) return undefined;
  const hook = hooks.find((one) => one === named);
  if (hook === undefined || (type !== 'filter' && type !== 'nat') || policy !== 'accept') unknown('chain', members);
  else return { hook, type, priority: numberOf(prio, 'priority') };
}

function readSet(members: Members): NftSet {
  const elements = listOf(members['elem'] ?? [], 'set').map((element) => elementText(element));
  const timeout = members['timeout'];
  const timeoutSeconds = timeout === undefined ? undefined : numberOf(timeout, 'timeout');
  // What is remembered of clients comes and goes with traffic: asked for by name, not read.
  return { timeoutSeconds, elements: new Set(timeoutSeconds === undefined ? elements : []) };
}

function readMap(members: Members): ReadonlyMap<string, Verdict> {
  if (members['map'] !== 'verdict') unknown('map', members);
  const pairs = listOf(members['elem'] ?? [], 'map').map((pair) => {
    const [key, verdict] = listOf(pair, 'map element');
    return [elementText(key), readVerdict(verdict)] as const;
  });
  return new Map(pairs);
}

/** An element of a set or the key of a map; comments and times beside it are left out. */
function elementText(element: unknown): string {
  if (typeof element === 'string' || typeof element === 'number') return canonicalText(element);
  const [kind, body] = only(element, 'element');
  if (kind === 'elem') return elementText(membersOf(body, 'element')['val']);
  if (kind !== 'concat') return unknown('element', element);
  return listOf(body, 'element')
    .map((part) =>
      typeof part === 'string' || typeof part === 'number' ? canonicalText(part) : unknown('element', element),
    )
    .join(' . ');
}

/** Addresses as everywhere else in the house. */
export function canonicalText(value: string | number): string {
  const text = String(value);
  if (!text.includes(':')) return text;
  const parsed = parseAddress(text);
  return parsed.ok ? addressText(parsed.value) : unknown('address', value);
}

function readVerdict(value: unknown): Verdict {
  const [kind, body] = only(value, 'verdict');
  switch (kind) {
    case 'goto':
    case 'jump':
      return { kind, chain: textOf(membersOf(body, kind)['target'], kind) };
    case 'drop':
    case 'accept':
    case 'return':
      return { kind };
    default:
      return unknown('verdict', value);
  }
}

function readStatement(value: unknown, family: NftFamily): Statement {
  const [kind, body] = only(value, 'statement');
  switch (kind) {
    case 'match':
      return readMatch(membersOf(body, kind), family);
    case 'vmap':
      return readLookup(membersOf(body, kind), family);
    case 'mangle':
      return readMark(membersOf(body, kind));
    case 'dnat':
      return readTarget(membersOf(body, kind), family);
    case 'set':
      return readRemember(membersOf(body, kind), family);
    case 'masquerade':
      return membersOf(body, kind)['flags'] === 'fully-random' ? { kind } : unknown('statement', value);
    case 'reject': {
      const { type, expr } = membersOf(body, kind);
      const isPortUnreachable = type === (family === 'ip' ? 'icmp' : 'icmpv6') && expr === 'port-unreachable';
      return isPortUnreachable ? { kind } : unknown('statement', value);
    }
    default:
      return { kind: 'verdict', verdict: readVerdict(value) };
  }
}

const operands: Readonly<Record<string, Operand>> = {
  '{"payload":{"protocol":"FAMILY","field":"saddr"}}': 'source',
  '{"payload":{"protocol":"FAMILY","field":"daddr"}}': 'destination',
  '{"payload":{"protocol":"th","field":"dport"}}': 'port',
  '{"meta":{"key":"l4proto"}}': 'protocol',
  '{"ct":{"key":"state"}}': 'state',
  '{"ct":{"key":"status"}}': 'status',
  '{"fib":{"result":"type","flags":["saddr"]}}': 'source-type',
  '{"fib":{"result":"type","flags":["daddr"]}}': 'destination-type',
};

function readOperands(value: unknown, family: NftFamily): readonly Operand[] {
  const parts = typeof value === 'object' && value !== null && 'concat' in value ? value.concat : [value];
  return listOf(parts, 'operand').map(
    (part) => operands[JSON.stringify(part).replace(`"${family}"`, '"FAMILY"')] ?? unknown('operand', part),
  );
}

function readMatch(members: Members, family: NftFamily): Statement {
  const { op, left, right } = members;
  const masked = typeof left === 'object' && left !== null && '&' in left ? left['&'] : undefined;
  if (masked !== undefined) {
    const [key, bits] = listOf(masked, 'match');
    const isMark = JSON.stringify(key) === '{"meta":{"key":"mark"}}' && op === '!=' && right === 0;
    return isMark ? { kind: 'match-mark', bits: numberOf(bits, 'mark') } : unknown('match', members);
  }
  const read = readOperands(left, family);
  // `in` asks for a flag, which is the state or status itself.
  const isFlag = op === 'in' && read.every((operand) => operand === 'state' || operand === 'status');
  if (op !== '==' && op !== '!=' && !isFlag) unknown('match', members);
  return { kind: 'match', operands: read, isNegated: op === '!=', among: readAmong(right) };
}

function readAmong(right: unknown): Among {
  if (typeof right === 'string' && right.startsWith('@')) return { kind: 'named', name: right.slice(1) };
  const isList = typeof right === 'object' && right !== null && 'set' in right;
  const exact = new Set<string>();
  const intervals: Interval[] = [];
  for (const element of isList ? listOf(right.set, 'set') : [right]) {
    const interval = intervalIn(element);
    if (interval === undefined) exact.add(elementText(element));
    else intervals.push(interval);
  }
  return { kind: 'listed', exact, intervals };
}

function intervalIn(element: unknown): Interval | undefined {
  if (typeof element !== 'object' || element === null) return undefined;
  if ('prefix' in element) {
    const { addr, len } = membersOf(element.prefix, 'prefix');
    return intervalOf(`${textOf(addr, 'prefix')}/${numberOf(len, 'prefix')}`);
  }
  if (!('range' in element)) return undefined;
  const [first, last] = listOf(element.range, 'range');
  return { first: addressNumber(textOf(first, 'range')), last: addressNumber(textOf(last, 'range')) };
}

/** By the fields of the packet, or by a random number of which all values are listed. */
function readLookup(members: Members, family: NftFamily): Statement {
  const { key, data } = members;
  const count = randomCount(key);
  if (count === undefined) {
    const name = textOf(data, 'lookup');
    return name.startsWith('@')
      ? { kind: 'lookup', operands: readOperands(key, family), map: name.slice(1) }
      : unknown('lookup', members);
  }
  return { kind: 'random-verdict', verdicts: readChoices(data, count, readVerdict) };
}

function randomCount(key: unknown): number | undefined {
  if (typeof key !== 'object' || key === null || !('numgen' in key)) return undefined;
  const { mode, mod, offset } = membersOf(key.numgen, 'random number');
  return mode === 'random' && offset === 0 ? numberOf(mod, 'random number') : unknown('random number', key);
}

/** By number; a number that is not listed leads on to the next rule. */
function readChoices<T>(data: unknown, count: number, read: (value: unknown) => T): readonly (T | undefined)[] {
  const choices: (T | undefined)[] = Array.from({ length: count }, () => undefined);
  for (const pair of listOf(membersOf(data, 'choices')['set'], 'choices')) {
    const [number, choice] = listOf(pair, 'choice');
    choices[numberOf(number, 'choice')] = read(choice);
  }
  return choices;
}

function readMark({ key, value }: Members): Statement {
  const [operation, body] = only(value, 'mark');
  const [mark, bits] = listOf(body, 'mark');
  const isMark = [key, mark].every((one) => JSON.stringify(one) === '{"meta":{"key":"mark"}}');
  if (!isMark || (operation !== '|' && operation !== '^')) return unknown('mark', value);
  return { kind: 'mark', operation, bits: numberOf(bits, 'mark') };
}

function readTarget(members: Members, family: NftFamily): Statement {
  const { addr, port } = members;
  if (port !== undefined) {
    return {
      kind: 'target',
      target: { address: canonicalText(textOf(addr, 'target')), port: numberOf(port, 'target') },
    };
  }
  const { key, data } = membersOf(membersOf(addr, 'target')['map'], 'target');
  const count = randomCount(key);
  if (count === undefined || members['family'] !== family) return unknown('target', members);
  return { kind: 'random-target', targets: readChoices(data, count, readPair) };
}

function readPair(value: unknown): Target {
  const [address, port] = listOf(membersOf(value, 'target')['concat'], 'target');
  return { address: canonicalText(textOf(address, 'target')), port: numberOf(port, 'target') };
}

function readRemember(members: Members, family: NftFamily): Statement {
  const { op, elem, set } = members;
  const [operand, ...rest] = readOperands(elem, family);
  const name = textOf(set, 'set');
  if (op !== 'update' || operand !== 'source' || rest.length > 0 || !name.startsWith('@'))
    unknown('statement', members);
  return { kind: 'remember', set: name.slice(1) };
}
