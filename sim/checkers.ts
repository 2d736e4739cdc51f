// SPDX-License-Identifier: Apache-2.0
/** What must hold at every step of a simulation, and what must hold once it is quiet. */
import { port, TCP, UDP } from '../core/address.ts';
import {
  REASON_FLOWS_FULL,
  REASON_MAPS_DISAGREE,
  REASON_NO_LOCAL_ENDPOINTS,
  REASON_NOT_SERVICE,
  reasonNames,
  VERDICT_DROP,
  VERDICT_FORWARD,
  VERDICT_PASS,
  VERDICT_REFUSE,
  VERDICT_REPLY,
} from '../core/layout.gen.ts';
import { answerText, judgeOutcome, type Judgement, type Observed, type Question } from '../core/oracle/answer.ts';
import type { Outcome } from '../core/twin.ts';
import { addressOf, segmentOf, wordText, type Segment } from './frame.ts';

/** The promises, by name. */
export type Invariant =
  | 'permitted-backend'
  | 'flow-keeps-backend'
  | 'frontends-resolve'
  | 'reply-address'
  | 'bystander-untouched'
  | 'drop-has-reason'
  | 'checksums'
  | 'rows-within-capacity'
  | 'layout-untouched'
  | 'convergence'
  | 'ready-gets-traffic'
  | 'removed-gets-none';

export type Violation = {
  readonly invariant: Invariant;
  readonly atUs: number;
  /** -1: the cluster. */
  readonly node: number;
  readonly what: string;
};

/** Those that are broken by what never comes to pass. */
export function isLiveness({ invariant }: Violation): boolean {
  return invariant === 'convergence' || invariant === 'ready-gets-traffic';
}

export type Broken = { readonly invariant: Invariant; readonly what: string };

const broken = (invariant: Invariant, what: string): Broken => ({ invariant, what });

/** The client's question to the oracle. */
function questionOf({ destination, destinationPort, isIPv6, isUDP }: Segment): Question {
  const address = addressOf(destination, isIPv6);
  return { client: 'pod', address, protocol: isUDP ? UDP : TCP, port: port(destinationPort) };
}

function reasonText(reason: number): string {
  return reasonNames[reason] ?? String(reason);
}

/** Holds of every packet, whatever it is. */
export function checkAnyPacket(frame: Uint8Array, outcome: Outcome): Broken | undefined {
  const { verdict, reason } = outcome;
  if (verdict === VERDICT_PASS && !isSame(frame, outcome))
    return broken('bystander-untouched', 'a packet that was passed is not the same as before');
  if (verdict === VERDICT_DROP && (reason === REASON_NOT_SERVICE || reasonNames[reason] === undefined))
    return broken('drop-has-reason', 'a packet was dropped without a reason');
  if (reason === REASON_MAPS_DISAGREE) return broken('frontends-resolve', 'the datapath met maps that disagree');
  return undefined;
}

function isSame(frame: Uint8Array, { bytes, length }: Outcome): boolean {
  if (length !== frame.length) return false;
  for (let at = 0; at < length; at += 1) if (bytes[at] !== frame[at]) return false;
  return true;
}

/** What a forwarded or answered packet says now; its checksums must be right, and its own end unchanged. */
export function translated(sent: Segment, outcome: Outcome): Segment | Broken {
  const now = segmentOf(outcome.bytes, outcome.length);
  if (now === undefined) return broken('checksums', 'a translated packet has a wrong checksum or length');
  const isOwnEndKept =
    outcome.verdict === VERDICT_REPLY
      ? now.destination === sent.destination && now.destinationPort === sent.destinationPort
      : now.source === sent.source && now.sourcePort === sent.sourcePort;
  const isRestKept =
    now.sequence === sent.sequence && now.acknowledgement === sent.acknowledgement && now.flags === sent.flags;
  if (!isOwnEndKept || !isRestKept) return broken('bystander-untouched', 'more was changed than the other end');
  return now;
}

/** Where the datagram before went. */
export type Kept = { readonly address: number; readonly port: number };

/**
 * A packet that opens a connection, against what the node has heard since its maps were last as wanted. `kept`: of a
 * datagram, which may follow the one before it or be a choice anew.
 */
export function checkOpening(
  sent: Segment,
  outcome: Outcome,
  now: Segment | undefined,
  judge: Judge,
  kept?: Kept,
): Broken | undefined {
  const observed = observe(outcome, now);
  if (observed === undefined) return undefined;
  const judgement = judge(questionOf(sent));
  if (judgeOutcome(judgement, observed).kind !== 'never') return undefined;
  if (kept !== undefined) {
    const backend = { address: addressOf(kept.address, sent.isIPv6), port: port(kept.port) };
    if (judgeOutcome(judge({ ...questionOf(sent), kept: backend }), observed).kind !== 'never') return undefined;
  }
  const seen =
    observed.kind === 'backend'
      ? `to ${wordText(observed.address.d, sent.isIPv6)} port ${observed.port}`
      : observed.kind;
  const target = `${wordText(sent.destination, sent.isIPv6)} port ${sent.destinationPort}`;
  const how = `${target} went ${seen} (${reasonText(outcome.reason)})`;
  return broken('permitted-backend', `${how}; the node knew: ${answerText(judgement.answer)}`);
}

export type Judge = (question: Question) => Judgement;

/** undefined: a drop for want of room is not a matter of Services. */
function observe({ verdict, reason }: Outcome, now: Segment | undefined): Observed | undefined {
  if (verdict === VERDICT_FORWARD && now !== undefined)
    return { kind: 'backend', address: addressOf(now.destination, now.isIPv6), port: port(now.destinationPort) };
  if (verdict === VERDICT_REFUSE) return { kind: 'refused' };
  if (verdict === VERDICT_PASS) return reason === REASON_NOT_SERVICE ? { kind: 'untouched' } : undefined;
  return reason === REASON_NO_LOCAL_ENDPOINTS ? { kind: 'dropped' } : undefined;
}

/** What the client's stack would make of an answer: it must come from where the client believes to be connected. */
export function checkReply(
  expected: { readonly address: number; readonly port: number },
  got: Segment,
): Broken | undefined {
  if (got.source === expected.address && got.sourcePort === expected.port) return undefined;
  const from = `${wordText(got.source, got.isIPv6)} port ${got.sourcePort}`;
  const wanted = `${wordText(expected.address, got.isIPv6)} port ${expected.port}`;
  return broken('reply-address', `an answer came from ${from}, not ${wanted}`);
}

/** A completed connection stays where it is. */
export function checkKept(backend: number, outcome: Outcome, now: Segment | undefined): Broken | undefined {
  if (outcome.verdict === VERDICT_DROP && outcome.reason === REASON_FLOWS_FULL)
    return broken('flow-keeps-backend', 'an established flow was refused for want of room');
  if (now === undefined) return broken('flow-keeps-backend', `a completed flow met ${reasonText(outcome.reason)}`);
  if (now.destination === backend) return undefined;
  return broken(
    'flow-keeps-backend',
    `a flow moved from ${wordText(backend, now.isIPv6)} to ${wordText(now.destination, now.isIPv6)}`,
  );
}

/** Longer silence may outlast a flow. */
const STEADY_US = 15e6;

/** A client's datagrams stay on their backend while nothing at all changed for its Service. */
export function checkSteady(
  sent: Segment,
  backend: number,
  now: Segment,
  silenceUs: number,
  node: { readonly isUnchangedFor: (spanUs: number, question: Question) => boolean },
): Broken | undefined {
  if (silenceUs > STEADY_US || !node.isUnchangedFor(silenceUs, questionOf(sent))) return undefined;
  const where = `from ${wordText(backend, now.isIPv6)} to ${wordText(now.destination, now.isIPv6)}`;
  return broken('flow-keeps-backend', `datagrams moved ${where} although nothing changed`);
}
