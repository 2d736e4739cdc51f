// SPDX-License-Identifier: Apache-2.0
/** A packet's way through the rules, hook by hook as netfilter goes; a random number is every number in turn. */
import { addressNumber, holds, type Interval } from './intervals.ts';
import type {
  Among,
  Chain,
  ChainType,
  Hook,
  NftFamily,
  NftTable,
  Operand,
  Ruleset,
  Statement,
  Verdict,
} from './ruleset.ts';

/** The first packet of a connection. */
export type FirstPacket = {
  readonly protocol: 'tcp' | 'udp' | 'sctp';
  readonly source: string;
  readonly destination: string;
  readonly port: number;
  /** Sent by a process of the node; otherwise it arrives on a device. */
  readonly isOfNode: boolean;
};

export type WalkFacts = {
  /** Every address of the node, loopback included. */
  readonly isLocal: (address: string) => boolean;
  /** Sets that remember this client; the others are empty. */
  readonly remembering?: ReadonlySet<string>;
  /** Called with the ranges that the sender's address is held against. */
  readonly onRanges?: (intervals: readonly Interval[]) => void;
};

export type Ending = {
  readonly kind: 'sent' | 'refused' | 'dropped';
  /** Where it ended. */
  readonly hook: Hook;
  /** Where it goes in the end; equal to what was asked unless the rules translated it. */
  readonly address: string;
  readonly port: number;
  readonly isTranslated: boolean;
  readonly isMasqueraded: boolean;
  /** Sets in which this connection is remembered. */
  readonly remembered: readonly string[];
  readonly probability: number;
};

type Walk = {
  readonly table: NftTable;
  readonly packet: FirstPacket;
  readonly facts: WalkFacts;
  readonly source: bigint;
  /** The random numbers of this walk, and of how many each was drawn. */
  readonly numbers: readonly number[];
  readonly counts: number[];
  address: string;
  port: number;
  mark: number;
  isTranslated: boolean;
  isMasqueraded: boolean;
  readonly remembered: string[];
};

/** What has become of the packet behind a statement, a rule or a chain. */
type Passage = 'on' | 'return' | 'accept' | 'drop' | 'reject';

const WALKS_MAX = 4096;

/** Every way the packet can take, each with its probability. */
export function waysOf(ruleset: Ruleset, packet: FirstPacket, facts: WalkFacts): readonly Ending[] {
  const family: NftFamily = packet.destination.includes(':') ? 'ip6' : 'ip';
  const endings: Ending[] = [];
  const open: (readonly number[])[] = [[]];
  for (let numbers = open.pop(); numbers !== undefined; numbers = open.pop()) {
    if (endings.length > WALKS_MAX) throw new Error('more ways through the rules than any Service has');
    const walk = createWalk(ruleset[family], packet, facts, numbers);
    const ending = walkHooks(walk);
    // The numbers of the walk, then those it drew further, of which it took the first.
    for (let depth = numbers.length; depth < walk.counts.length; depth += 1) {
      const taken = [...numbers, ...Array.from({ length: depth - numbers.length }, () => 0)];
      for (let other = 1; other < (walk.counts[depth] ?? 0); other += 1) open.push([...taken, other]);
    }
    endings.push(ending);
  }
  return endings;
}

function createWalk(table: NftTable, packet: FirstPacket, facts: WalkFacts, numbers: readonly number[]): Walk {
  const { destination: address, port } = packet;
  const fresh = { counts: [], mark: 0, isTranslated: false, isMasqueraded: false, remembered: [] };
  return { table, packet, facts, source: addressNumber(packet.source), numbers, address, port, ...fresh };
}

/** Translation of addresses is asked for once a connection: what comes back over the loopback device meets filters only. */
function walkHooks(walk: Walk): Ending {
  const { isOfNode } = walk.packet;
  const first = walkHook(walk, isOfNode ? 'output' : 'prerouting', ['filter', 'nat']);
  if (first !== 'on') return endingOf(walk, first, isOfNode ? 'output' : 'prerouting');
  const isLocal = walk.facts.isLocal(walk.address);
  const all: readonly ChainType[] = ['filter', 'nat'];
  const steps: readonly (readonly [Hook, readonly ChainType[]])[] = isOfNode
    ? [['postrouting', all], ...(isLocal ? [['prerouting', ['filter']] as const, ['input', all] as const] : [])]
    : isLocal
      ? [['input', all]]
      : [
          ['forward', all],
          ['postrouting', all],
        ];
  for (const [hook, types] of steps) {
    const passage = walkHook(walk, hook, types);
    if (passage !== 'on') return endingOf(walk, passage, hook);
  }
  return endingOf(walk, 'on', steps.at(-1)?.[0] ?? 'postrouting');
}

function endingOf(walk: Walk, passage: Passage, hook: Hook): Ending {
  const { address, port, isTranslated, isMasqueraded, remembered, counts } = walk;
  const probability = counts.reduce((product, count) => product / count, 1);
  const kind = passage === 'drop' ? 'dropped' : passage === 'reject' ? 'refused' : 'sent';
  return { kind, hook, address, port, isTranslated, isMasqueraded, remembered, probability };
}

/** Chains by priority; accepting ends a chain, not the hook. */
function walkHook(walk: Walk, hook: Hook, types: readonly ChainType[]): Passage {
  for (const chain of baseChains(walk.table, hook)) {
    if (chain.base === undefined || !types.includes(chain.base.type)) continue;
    const passage = walkChain(walk, chain.name);
    if (passage === 'drop' || passage === 'reject') return passage;
  }
  return 'on';
}

const sortedChains = new WeakMap<NftTable, Map<Hook, readonly Chain[]>>();

function baseChains(table: NftTable, hook: Hook): readonly Chain[] {
  const known = sortedChains.get(table) ?? new Map<Hook, readonly Chain[]>();
  sortedChains.set(table, known);
  const sorted =
    known.get(hook) ??
    [...table.chains.values()]
      .filter(({ base }) => base?.hook === hook)
      .sort((left, right) => (left.base?.priority ?? 0) - (right.base?.priority ?? 0));
  known.set(hook, sorted);
  return sorted;
}

function walkChain(walk: Walk, name: string): Passage {
  const chain = walk.table.chains.get(name);
  if (chain === undefined) throw new Error(`the rules lead to a chain that is not there: ${name}`);
  for (const rule of chain.rules) {
    const passage = walkRule(walk, rule);
    if (passage === 'return') return 'on';
    if (passage !== 'on') return passage;
  }
  return 'on';
}

/** A `goto` ends the chain it stands in, whatever the other one says: `return` is its passage on from there. */
function follow(walk: Walk, verdict: Verdict | undefined): Passage {
  if (verdict === undefined) return 'on';
  switch (verdict.kind) {
    case 'jump':
      return walkChain(walk, verdict.chain);
    case 'goto': {
      const passage = walkChain(walk, verdict.chain);
      return passage === 'on' ? 'return' : passage;
    }
    default:
      return verdict.kind;
  }
}

function walkRule(walk: Walk, rule: readonly Statement[]): Passage {
  for (const statement of rule) {
    const step = walkStatement(walk, statement);
    if (step === 'next-rule') return 'on';
    if (step !== 'on') return step;
  }
  return 'on';
}

function walkStatement(walk: Walk, statement: Statement): Passage | 'next-rule' {
  switch (statement.kind) {
    case 'match':
      return matches(walk, statement.operands, statement.among) === statement.isNegated ? 'next-rule' : 'on';
    case 'match-mark':
      return (walk.mark & statement.bits) === 0 ? 'next-rule' : 'on';
    case 'mark':
      walk.mark = statement.operation === '|' ? walk.mark | statement.bits : walk.mark ^ statement.bits;
      return 'on';
    case 'verdict':
      return follow(walk, statement.verdict);
    case 'lookup':
      return lookUp(walk, statement.operands, statement.map);
    case 'random-verdict': {
      const verdict = statement.verdicts[draw(walk, statement.verdicts.length)];
      return verdict === undefined ? 'next-rule' : follow(walk, verdict);
    }
    case 'random-target':
      return translate(walk, statement.targets[draw(walk, statement.targets.length)]);
    case 'target':
      return translate(walk, statement.target);
    case 'remember':
      walk.remembered.push(statement.set);
      return 'on';
    case 'masquerade':
      walk.isMasqueraded = true;
      return 'accept';
    case 'reject':
      return 'reject';
  }
}

function translate(
  walk: Walk,
  target: { readonly address: string; readonly port: number } | undefined,
): Passage | 'next-rule' {
  if (target === undefined) return 'next-rule';
  walk.address = target.address;
  walk.port = target.port;
  walk.isTranslated = true;
  return 'accept';
}

function draw(walk: Walk, count: number): number {
  const number = walk.numbers[walk.counts.length] ?? 0;
  walk.counts.push(count);
  return number;
}

function valueOf(walk: Walk, operand: Operand): string {
  const { packet, facts } = walk;
  switch (operand) {
    case 'source':
      return packet.source;
    case 'destination':
      return walk.address;
    case 'protocol':
      return packet.protocol;
    case 'port':
      return String(walk.port);
    case 'state':
      return 'new';
    case 'status':
      return walk.isTranslated ? 'dnat' : '';
    case 'source-type':
      return facts.isLocal(packet.source) ? 'local' : 'unicast';
    case 'destination-type':
      return facts.isLocal(walk.address) ? 'local' : 'unicast';
  }
}

function keyOf(walk: Walk, operands: readonly Operand[]): string {
  return operands.map((operand) => valueOf(walk, operand)).join(' . ');
}

function lookUp(walk: Walk, operands: readonly Operand[], name: string): Passage | 'next-rule' {
  const map = walk.table.maps.get(name);
  if (map === undefined) throw new Error(`the rules look into a map that is not there: ${name}`);
  const verdict = map.get(keyOf(walk, operands));
  return verdict === undefined ? 'next-rule' : follow(walk, verdict);
}

function matches(walk: Walk, operands: readonly Operand[], among: Among): boolean {
  if (among.kind === 'named') return isInSet(walk, operands, among.name);
  const [operand] = operands;
  if (operand === 'source' && operands.length === 1) {
    const single = [...among.exact].map((text) => ({ first: addressNumber(text), last: addressNumber(text) }));
    const intervals = [...among.intervals, ...single];
    walk.facts.onRanges?.(intervals);
    return holds(intervals, walk.source);
  }
  if (among.exact.has(keyOf(walk, operands))) return true;
  if (among.intervals.length === 0) return false;
  if (operand !== 'destination' || operands.length > 1) throw new Error(`ranges of ${operands.join(' . ')}`);
  return holds(among.intervals, addressNumber(walk.address));
}

function isInSet(walk: Walk, operands: readonly Operand[], name: string): boolean {
  const set = walk.table.sets.get(name);
  if (set === undefined) throw new Error(`the rules ask a set that is not there: ${name}`);
  if (set.timeoutSeconds !== undefined) return walk.facts.remembering?.has(name) ?? false;
  return set.elements.has(keyOf(walk, operands));
}
