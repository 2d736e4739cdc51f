// SPDX-License-Identifier: Apache-2.0
/** Every frontend of either side, every kind of client: kube-proxy's rules against the document, differences explained or told. */
import type { EndpointSliceObject, ServiceObject } from '../../core/objects.ts';
import { answerText, clientClasses, firstDifference, frontendText, type Answer, type FrontendKey } from './answer.ts';
import type { Compile } from './alternatives.ts';
import { deliberate, type Unequal } from './deliberate.ts';
import { clientAt, derivedAnswer, derivedRanges, frontendsOf, sourceOf, unusedPort, type Question } from './derive.ts';
import { expectedAnswer, expectedRanges, type Expectation } from './expected.ts';
import { intervalsText, numberText, type Interval } from './intervals.ts';
import { claimsOf, keyText, type Claims } from './objects.ts';
import { node, unallocatedAddresses } from './places.ts';
import { canonicalText, type Ruleset } from './ruleset.ts';
import type { NodeSettings } from './settings.ts';

export type Comparison = {
  readonly ruleset: Ruleset;
  readonly expectation: Expectation;
  readonly services: readonly ServiceObject[];
  readonly slices: readonly EndpointSliceObject[];
  readonly settings: NodeSettings;
  /** Other objects in place of these, under the same settings. */
  readonly compile: Compile;
};

/** What nobody explains, in three lines. */
export type Difference = { readonly service: string; readonly where: string; readonly field: string };

export type Outcome = {
  readonly frontends: number;
  readonly comparisons: number;
  readonly differences: readonly Difference[];
  /** How often each entry of the closed list explained something. */
  readonly explained: ReadonlyMap<string, number>;
};

type Tally = { comparisons: number; readonly differences: Difference[]; readonly explained: Map<string, number> };

export function compareRules(comparison: Comparison): Outcome {
  const { ruleset, expectation } = comparison;
  const addresses = [...node.addresses, ...node.gateways];
  const claims = claimsOf(comparison.services, comparison.slices, addresses);
  const frontends = new Map<string, FrontendKey>();
  for (const frontend of [...claims.frontends, ...frontendsOf(ruleset)]) frontends.set(keyText(frontend), frontend);
  for (const row of expectation.rows.keys()) {
    const [address = '', protocol = '', port = ''] = row.split(' ');
    const name = protocol === 'udp' || protocol === 'sctp' ? protocol : 'tcp';
    frontends.set(row, { address, protocol: name, port: Number(port) });
  }
  const tally: Tally = { comparisons: 0, differences: [], explained: new Map() };
  for (const frontend of frontends.values()) compareFrontend(comparison, claims, frontend, tally);
  for (const frontend of unknownPorts([...frontends.values()])) compareUnknown(comparison, claims, frontend, tally);
  return { ...tally, frontends: frontends.size };
}

function compareFrontend(comparison: Comparison, claims: Claims, frontend: FrontendKey, tally: Tally): void {
  for (const question of questionsOf(comparison, frontend)) compareAnswers(comparison, claims, question, tally);
  compareRanges(comparison, claims, frontend, tally);
}

/** So many pods that are backends themselves are asked of one frontend. */
const BACKENDS_ASKED_MAX = 6;

/** A client of each class; of the backends those that are pods of this node, in their order. */
export function questionsOf({ expectation }: Comparison, frontend: FrontendKey): readonly Question[] {
  const isSix = frontend.address.includes(':');
  const row = expectation.rows.get(keyText(frontend));
  const backends = [...(row?.internal?.backends ?? []), ...(row?.external?.backends ?? [])];
  const own = new Set(backends.map(({ address }) => address).filter((address) => clientAt(address) === 'pod'));
  const usual = clientClasses.flatMap((client): readonly Question[] => {
    if (client !== 'backend') return [{ client, source: sourceOf(client, isSix), frontend }];
    return [...own].slice(0, BACKENDS_ASKED_MAX).map((source) => ({ client, source, frontend }));
  });
  return [...usual, ...questionsInside(expectedRanges(row) ?? [], frontend)];
}

/** Whom the source ranges let in, when all of the usual clients may stay outside: the first address of each. */
function questionsInside(ranges: readonly Interval[], frontend: FrontendKey): readonly Question[] {
  return ranges.map(({ first }) => {
    const source = canonicalText(numberText(first, frontend.address.includes(':')));
    return { client: clientAt(source), source, frontend };
  });
}

function compareAnswers(comparison: Comparison, claims: Claims, question: Question, tally: Tally): void {
  tally.comparisons += 1;
  const proxy = derivedAnswer(comparison.ruleset, question);
  const tandem = expectedAnswer(comparison.expectation, question);
  const difference = firstDifference(proxy, tandem);
  if (difference === undefined) return;
  const unequal: Unequal = { ...comparison, question, claims, proxy, tandem };
  const reason = deliberate.find(({ explains }) => explains?.(unequal) === true);
  if (reason !== undefined) count(tally, reason.id);
  else tally.differences.push(told(claims, question, fieldText(difference, proxy, tandem)));
}

function fieldText([field, left, right]: readonly [string, string, string], proxy: Answer, tandem: Answer): string {
  const whole = field === 'outcome' ? '' : ` (${answerText(proxy)}; ${answerText(tandem)})`;
  return `${field}: kube-proxy ${left || 'none'}, tandem ${right || 'none'}${whole}`;
}

function compareRanges(comparison: Comparison, claims: Claims, frontend: FrontendKey, tally: Tally): void {
  tally.comparisons += 1;
  const proxyRanges = derivedRanges(comparison.ruleset, frontend);
  const tandemRanges = expectedRanges(comparison.expectation.rows.get(keyText(frontend)));
  const isSix = frontend.address.includes(':');
  const texts = [proxyRanges, tandemRanges].map((ranges) =>
    ranges === null ? 'everybody' : intervalsText(ranges, isSix),
  );
  if (texts[0] === texts[1]) return;
  const question: Question = { client: 'outside', source: sourceOf('outside', isSix), frontend };
  const unequal = { ...comparison, question, claims, proxyRanges, tandemRanges };
  const reason = deliberate.find(({ explainsRanges }) => explainsRanges?.(unequal) === true);
  if (reason !== undefined) count(tally, reason.id);
  else tally.differences.push(told(claims, question, `source ranges: kube-proxy ${texts[0]}, tandem ${texts[1]}`));
}

/** On each address that is a frontend's own, a port that nobody has; of the Service ranges addresses that nobody has (services A5, B4). */
function unknownPorts(frontends: readonly FrontendKey[]): readonly FrontendKey[] {
  const local = new Set<string>([...node.addresses, ...node.gateways]);
  const addresses = new Set(frontends.map(({ address }) => address).filter((address) => !local.has(address)));
  const unallocated = unallocatedAddresses.filter((address) => !addresses.has(address));
  return [...addresses, ...unallocated].map((address) => ({ address, protocol: 'tcp', port: unusedPort }));
}

/** Of the node's own clients: of what others get at ports that are nobody's the document says nothing. */
function compareUnknown(comparison: Comparison, claims: Claims, frontend: FrontendKey, tally: Tally): void {
  const isSix = frontend.address.includes(':');
  for (const client of ['pod', 'process'] as const) {
    compareAnswers(comparison, claims, { client, source: sourceOf(client, isSix), frontend }, tally);
  }
}

function count(tally: Tally, id: string): void {
  tally.explained.set(id, (tally.explained.get(id) ?? 0) + 1);
}

function told(claims: Claims, { client, source, frontend }: Question, field: string): Difference {
  const names = claims.of(frontend).map(({ name, kind, service }) => {
    const { externalTrafficPolicy: external = '-', internalTrafficPolicy: internal = '-' } = service.spec ?? {};
    return `${name} (${kind}, internal ${internal}, external ${external})`;
  });
  return {
    service: names.join(' and ') || 'no Service',
    where: `${client} ${source} -> ${frontendText(frontend)}`,
    field,
  };
}
