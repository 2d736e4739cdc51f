// SPDX-License-Identifier: Apache-2.0
/** The datagrams of one UDP flow: each is decided anew, and judged by where the one before it went. */
import { port, type Address } from '../core/address.ts';
import {
  judgeOutcome,
  type Backend,
  type Judgement,
  type Observed,
  type Question,
  type Verdict,
} from '../core/oracle/answer.ts';
import type { Sighted, Sighting } from './attribute.ts';
import type { Choice } from './connections.ts';
import type { Headers } from './headers.ts';

/** Linux forgets a flow without an answer after this silence, so that what follows it may begin a new one. */
export const FORGETTABLE_NS = 30_000_000_000;

/** And one with answers after this: what a recording begins with may be as old. */
export const FORGOTTEN_NS = 120_000_000_000;

/** Changes of the model's mind that are remembered of one flow. */
const CHANGES_MAX = 16;

/** Whom the last datagram went to, and when it was sent. */
export type Kept = { readonly backend: Backend; readonly atNs: number };

export type Datagrams = {
  sent: number;
  answers: number;
  refused: number;
  /** Errors that are no refusal, and those from a backend itself. */
  unreachable: number;
  judged: number;
  notPermitted: number;
  /** How often it went to another backend than before. */
  moves: number;
  kept: Kept | undefined;
  modelKept: Kept | undefined;
  /** What the model chose after its first choice, where it differs from the one before. */
  readonly modelChanges: Choice[];
  /** Those of which more may be seen, oldest first. */
  readonly pending: Sighted[];
};

export function newDatagrams(): Datagrams {
  return {
    sent: 0,
    answers: 0,
    refused: 0,
    unreachable: 0,
    judged: 0,
    notPermitted: 0,
    moves: 0,
    kept: undefined,
    modelKept: undefined,
    modelChanges: [],
    pending: [],
  };
}

/** The datagram that an error to its sender is about: IPv6 numbers none, so there it is the last one. */
export function datagramAbout({ pending }: Datagrams, { error }: Headers): Sighted | undefined {
  const open = pending.filter(({ refusal }) => refusal === undefined);
  const number = error?.identification ?? 0;
  return number === 0 ? open.at(-1) : open.findLast(({ first }) => first.headers.identification === number);
}

/** Notes what the model chose for a datagram, `before` being its choice for the last one. */
export function noteModelChoice(datagrams: Datagrams, before: Choice | undefined, choice: Choice): void {
  const last = datagrams.modelChanges.at(-1) ?? before;
  if (last === undefined || datagrams.modelChanges.length >= CHANGES_MAX) return;
  if (last.verdict !== choice.verdict || last.backend !== choice.backend) datagrams.modelChanges.push(choice);
}

/** The questions that a datagram may be taken for: after a silence its flow may be kept, or begun anew. */
export function questionsOf(question: Question, kept: Kept | undefined, nowNs: number): readonly Question[] {
  if (kept === undefined) return [question];
  const going = { ...question, kept: kept.backend };
  return nowNs - kept.atNs > FORGETTABLE_NS ? [going, question] : [going];
}

/** What became of a datagram; undefined: nothing was seen of it. */
export function observedOf(packet: Sighted, isRefusal: (headers: Headers) => boolean): Observed | undefined {
  const { elsewhere, refusal, translated } = packet;
  if (translated !== undefined) return { kind: 'backend', ...backendOf(translated) };
  if (refusal !== undefined) return isRefusal(refusal.headers) ? { kind: 'refused' } : undefined;
  return elsewhere === undefined ? undefined : { kind: 'untouched' };
}

function backendOf({ headers }: Sighting): Backend {
  return backendAt(headers.destination, headers.destinationPort);
}

export function backendAt(address: Address, number: number): Backend {
  return { address, port: port(number) };
}

/** How a datagram is to be judged. */
export type DatagramQuestion = {
  readonly question: Question;
  readonly observed: Observed | undefined;
  readonly timeNs: number;
  readonly judge: (question: Question) => Judgement;
};

/** Whether a datagram may belong to a flow that was there before the recording began. */
export function isFirstOfYoung({ judged, kept }: Datagrams, timeNs: number): boolean {
  return judged === 0 && kept === undefined && timeNs < FORGOTTEN_NS;
}

/**
 * The verdict, and from now on the flow is kept where it was seen. What the first one of a young recording did may be
 * what its flow has kept from before.
 */
export function judgeDatagram(datagrams: Datagrams, asked: DatagramQuestion): Verdict | undefined {
  const { judge, question, timeNs } = asked;
  const isOld = isFirstOfYoung(datagrams, timeNs);
  const seen = asked.observed?.kind === 'backend' ? { backend: asked.observed, atNs: timeNs } : undefined;
  const kept = isOld ? seen : datagrams.kept;
  const judgements = questionsOf(question, kept, timeNs).map(judge);
  const isDropped = judgements.some(({ answer: { kind } }) => kind === 'drop' || kind === 'drop-unallocated');
  const observed = asked.observed ?? (isDropped ? ({ kind: 'dropped' } as const) : undefined);
  if (observed === undefined) return undefined;
  const [best] = judgements.map((judgement) => judgeOutcome(judgement, observed)).sort(byWeight);
  if (best === undefined) return undefined;
  datagrams.judged += 1;
  if (best.kind === 'stale' || best.kind === 'never') datagrams.notPermitted += 1;
  if (seen !== undefined && kept !== undefined && !isSameBackend(kept.backend, seen.backend)) datagrams.moves += 1;
  datagrams.kept = seen;
  return best;
}

function isSameBackend(left: Backend, right: Backend): boolean {
  return JSON.stringify([left.address, left.port]) === JSON.stringify([right.address, right.port]);
}

/** The worse of two verdicts, which is the flow's. */
export function worse(left: Verdict | undefined, right: Verdict): Verdict {
  return left !== undefined && byWeight(left, right) >= 0 ? left : right;
}

const WEIGHTS: readonly Verdict['kind'][] = ['permitted', 'early', 'stale', 'never', 'unsupported'];

function byWeight(left: Verdict, right: Verdict): number {
  if (left.kind === 'stale' && right.kind === 'stale') return left.staleNs - right.staleNs;
  return WEIGHTS.indexOf(left.kind) - WEIGHTS.indexOf(right.kind);
}
