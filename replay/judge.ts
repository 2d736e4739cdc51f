// SPDX-License-Identifier: Apache-2.0
/** What the oracle says about each connection of a recording, and about the model's own choice for it. */
import { addressEquals, port, type Address } from '../core/address.ts';
import type { ClusterEvent } from '../core/objects.ts';
import type { OracleTimeline } from '../core/oracle.ts';
import {
  isBackend,
  judgeOutcome,
  permits,
  type Answer,
  type Backend,
  type Judgement,
  type Observed,
  type Question,
  type Verdict,
} from '../core/oracle/answer.ts';
import type { TimedEvent } from '../formats/events.ts';
import {
  bindingOf,
  bindingText,
  hasOlderRecord,
  lastOf,
  remember,
  type AffinitySettings,
  type Asking,
  type Binding,
  type Ledger,
} from './affinity.ts';
import type { Sighted } from './attribute.ts';
import { isRefusal, noteForwarded, type Choice, type Connection } from './connections.ts';
import {
  isFirstOfYoung,
  judgeDatagram,
  observedOf as observedOfDatagram,
  questionsOf,
  backendAt,
  worse,
  type Kept,
} from './datagrams.ts';

/** A choice that was right this long ago is stale, not wrong: no proxy that is alive is later. */
export const STALE_WINDOW_NS = 60_000_000_000;

/** A proxy may hear of a change this much before the recorder does. */
export const EARLY_WINDOW_NS = 1_000_000_000;

/** The question that a connection puts. */
export function questionOf({ tuple }: Connection): Question {
  return { client: 'pod', address: tuple.destination, protocol: tuple.protocol, port: port(tuple.destinationPort) };
}

/** What became of the connection; undefined: nothing was seen of it. */
export function observedOf({ backend, reply }: Connection): Observed | undefined {
  if (backend !== undefined) return { kind: 'backend', address: backend.address, port: port(backend.port) };
  return reply === 'refused' ? { kind: 'refused' } : undefined;
}

/** What a judge knows besides the connection. */
export type Court = {
  readonly oracle: OracleTimeline;
  /** Which Services keep their clients, over time. */
  readonly affinity: AffinitySettings;
  /** Where the recorded proxy sent its clients. */
  readonly observedLedger: Ledger;
  /** Where the model sends them. */
  readonly modelLedger: Ledger;
  /** Whether the recorded proxy remembers a client at each backend on its own (E3, iptables). */
  readonly keepsSeveral: boolean;
};

/** The verdict on a packet that asked, once no more will be seen of it; undefined: it has none. */
export function judgePacket(connection: Connection, packet: Sighted, court: Court): Verdict | undefined {
  if (connection.datagrams !== undefined) {
    noteForwarded(connection, packet);
    return judgeAsDatagram(connection, packet, court);
  }
  noteForwarded(connection);
  judgeConnection(connection, packet, court);
  return connection.decided === packet.first ? connection.verdict : undefined;
}

function askingOf(connection: Connection, timeNs: number, { oracle }: Court): Asking {
  const { service, tuple } = connection;
  return { client: tuple.source, servicePort: service, timeNs, question: questionOf(connection), oracle };
}

function judgeAsDatagram(connection: Connection, packet: Sighted, court: Court): Verdict | undefined {
  const { datagrams, notJudged } = connection;
  if (datagrams === undefined) return undefined;
  datagrams.pending.splice(0, datagrams.pending.indexOf(packet) + 1);
  if (notJudged !== undefined) return undefined;
  const { timeNs } = packet.first;
  const { kept } = datagrams;
  const isUncertain = isFirstOfYoung(datagrams, timeNs);
  const asking = askingOf(connection, timeNs, court);
  const observed = observedOfDatagram(packet, isRefusal);
  if (isLeftAlone(court, asking, observed)) {
    connection.notJudged = 'unallocated-address';
    return undefined;
  }
  const binding =
    isUncertain || observed?.kind !== 'backend' ? undefined : bindingOf(court.affinity, court.observedLedger, asking);
  const verdict = judgeDatagram(datagrams, {
    question: { ...asking.question, ...lastOf(binding) },
    observed,
    timeNs,
    judge: (question) => judgementFor({ ...asking, question }, observed),
  });
  if (verdict === undefined) return undefined;
  const isChosen =
    kept === undefined || (datagrams.kept !== undefined && !isBackend(kept.backend, datagrams.kept.backend));
  if (isChosen && !isUncertain && observed?.kind === 'backend') {
    connection.affinity = binding;
    const { translated } = packet;
    remember(court.affinity, court.observedLedger, asking, {
      backend: observed,
      atNs: timeNs,
      knownNs: translated?.timeNs ?? timeNs,
    });
  }
  if (verdict.kind === 'unsupported') connection.notJudged = verdict.reason;
  else noteVerdict(connection, packet, worse(connection.verdict, verdict));
  return verdict;
}

/** A pod that is its own backend must hear itself from somebody else (services D2): its own address it drops. */
function noteVerdict(connection: Connection, packet: Sighted, verdict: Verdict): void {
  connection.isOwnSource ||= isOwnSource(packet);
  const next: Verdict = connection.isOwnSource ? { kind: 'never' } : verdict;
  if (connection.verdict !== next) connection.judged = packet.first;
  connection.verdict = next;
}

function isOwnSource({ translated }: Sighted): boolean {
  if (translated?.place.role !== 'pod' || translated.place.direction !== 'outgoing') return false;
  return addressEquals(translated.headers.source, translated.headers.destination);
}

/** B4: kube-proxy in iptables mode lets go what has an address of no Service, which tandem drops. Both are right. */
function isLeftAlone({ oracle }: Court, { question, timeNs }: Asking, observed: Observed | undefined): boolean {
  return observed?.kind === 'untouched' && oracle.answerAt(timeNs, question).kind === 'drop-unallocated';
}

/** Sets the verdict, if it was this packet that was sent on or refused, or if nothing is what it had to get. */
function judgeConnection(connection: Connection, packet: Sighted, court: Court): void {
  const opening = packet.first;
  if (connection.verdict !== undefined || connection.notJudged !== undefined) return;
  if (connection.decided !== undefined && connection.decided !== opening) return;
  const asking = askingOf(connection, opening.timeNs, court);
  const isUntouched = packet.elsewhere !== undefined && packet.translated === undefined;
  if (isUntouched && isLeftAlone(court, asking, { kind: 'untouched' })) {
    connection.notJudged = 'unallocated-address';
    return;
  }
  const binding = bindingOf(court.affinity, court.observedLedger, asking);
  const { judgement, observed } = judgementOf(connection, asking, binding);
  if (observed === undefined) return;
  connection.decided ??= opening;
  const verdict = judgeOutcome(judgement, observed);
  if (verdict.kind === 'unsupported') connection.notJudged = verdict.reason;
  else noteVerdict(connection, packet, verdict);
  if (observed.kind !== 'backend' || connection.backend === undefined) return;
  connection.affinity = binding;
  if (binding?.is === 'bound' && isPermitted(connection) === false)
    excuse(connection, asking, { binding, observed, court });
  const atNs = opening.timeNs;
  remember(court.affinity, court.observedLedger, asking, {
    backend: observed,
    atNs,
    knownNs: atNs + connection.backend.lagNs,
  });
}

/** What is permitted now needs no past, which is dear while much changes. */
function judgementFor({ oracle, question, timeNs }: Asking, observed: Observed | undefined): Judgement {
  const answer = oracle.answerAt(timeNs, question);
  if (observed !== undefined && permits(answer, observed)) return { timeNs, answer, earlier: [], later: [] };
  return oracle.judge(timeNs, windowOf(question), question, EARLY_WINDOW_NS);
}

/** Who sent a client to its backend knew by then what had been before. */
function windowOf({ kept, last }: Question): number {
  return last === undefined || kept !== undefined ? STALE_WINDOW_NS : Math.min(last.ageNs, STALE_WINDOW_NS);
}

function judgementOf(
  connection: Connection,
  asking: Asking,
  binding: Binding | undefined,
): { readonly judgement: Judgement; readonly observed: Observed | undefined } {
  const seen = observedOf(connection);
  const judgement = judgementFor({ ...asking, question: { ...asking.question, ...lastOf(binding) } }, seen);
  const { kind } = judgement.answer;
  const isDropExpected = (kind === 'drop' || kind === 'drop-unallocated') && connection.reply === 'none';
  return { judgement, observed: seen ?? (isDropExpected ? { kind: 'dropped' } : undefined) };
}

/** A proxy that remembers a client at several backends takes the first in its list, which nobody else knows (E3). */
function excuse(
  connection: Connection,
  asking: Asking,
  { binding, observed, court }: { readonly binding: Binding; readonly observed: Backend; readonly court: Court },
): void {
  if (!court.keepsSeveral || !hasOlderRecord(court.observedLedger, asking, binding, observed)) return;
  const answer = court.oracle.answerAt(asking.timeNs, asking.question);
  if (!permits(answer, { kind: 'backend', ...observed })) return;
  connection.verdict = { kind: 'permitted' };
  connection.affinity = { ...binding, is: 'free', why: 'several' };
}

/**
 * Whether the model's choice is one that the oracle permits at that moment: with every event applied at once, it has no
 * excuse. `kept`: where the datagram before went.
 */
export function isModelPermitted(
  court: Court,
  connection: Connection,
  timeNs: number,
  choice: { readonly verdict: string; readonly kept: Kept | undefined },
): boolean {
  const { affinity, modelLedger, oracle } = court;
  const { modelBackend } = connection;
  const backend = choice.verdict === 'forward' ? modelBackend : undefined;
  const asking = askingOf(connection, timeNs, court);
  const bound = { ...asking.question, ...lastOf(bindingOf(affinity, modelLedger, asking)) };
  const isRight = questionsOf(bound, choice.kept, timeNs).some((question) =>
    permitsChoice(oracle.answerAt(timeNs, question), choice.verdict, backend),
  );
  const given = backend && backendAt(backend.address, backend.port);
  if (given !== undefined && (choice.kept === undefined || !isBackend(choice.kept.backend, given))) {
    remember(affinity, modelLedger, asking, { backend: given, atNs: timeNs, knownNs: timeNs });
  }
  return isRight;
}

function permitsChoice(
  answer: Answer,
  verdict: string,
  backend: { address: Address; port: number } | undefined,
): boolean {
  if (verdict === 'refuse') return permits(answer, { kind: 'refused' });
  if (verdict === 'drop') return permits(answer, { kind: 'dropped' });
  if (backend === undefined) return permits(answer, { kind: 'untouched' });
  return permits(answer, { kind: 'backend', address: backend.address, port: port(backend.port) });
}

/** Whether what was observed is permitted; undefined: not judged. */
export function isPermitted({ verdict }: Pick<Connection, 'verdict'>): boolean | undefined {
  switch (verdict?.kind) {
    case 'permitted':
    case 'early':
      return true;
    case 'stale':
    case 'never':
      return false;
    case 'unsupported':
    case undefined:
      return undefined;
  }
}

/** `EndpointSlice shop/web-7jbxk MODIFIED (line 31)`. */
export function eventText({ event, line }: TimedEvent): string {
  return `${subjectOf(event)} ${event.type} (line ${line})`;
}

function subjectOf(event: ClusterEvent): string {
  if (!('object' in event)) return event.kind;
  const { kind, metadata } = event.object;
  const namespace = metadata?.namespace === undefined ? '' : `${metadata.namespace}/`;
  return `${kind} ${namespace}${metadata?.name ?? ''}`;
}

/** `412.3 ms`, with the unit that leaves the fewest digits. */
export function spanText(ns: number): string {
  if (ns < 1_000_000) return `${(ns / 1e3).toFixed(0)} µs`;
  return ns < 10_000_000_000 ? `${(ns / 1e6).toFixed(1)} ms` : `${(ns / 1e9).toFixed(1)} s`;
}

/** The verdict in words: `stale: 412.3 ms after EndpointSlice shop/web-7jbxk MODIFIED (line 31)`. */
export function verdictText(
  {
    affinity,
    applied,
    isOwnSource = false,
    notJudged,
    verdict,
  }: Pick<Connection, 'affinity' | 'notJudged' | 'verdict'> & Partial<Pick<Connection, 'applied' | 'isOwnSource'>>,
  events: readonly TimedEvent[],
): string {
  const name = (index: number): string => {
    const timed = events[index];
    return timed === undefined ? 'an event' : eventText(timed);
  };
  switch (verdict?.kind) {
    case 'permitted':
      return affinity === undefined ? 'permitted' : `permitted: ${bindingText(affinity, spanText)}`;
    case 'never':
      if (isOwnSource)
        return 'not permitted: the pod is its own backend and got its own address as source, which it drops';
      return affinity?.is === 'bound'
        ? `not permitted: ${bindingText(affinity, spanText)}`
        : `never permitted in the ${STALE_WINDOW_NS / 1e9} s before`;
    case 'stale':
      return `stale: ${spanText(verdict.staleNs)} after ${name(verdict.endedBy)}${appliedText(applied)}`;
    case 'early':
      return `early: ${spanText(verdict.earlyNs)} before ${name(verdict.beganBy)} was heard of`;
    case 'unsupported':
      return `not judged: ${verdict.reason}`;
    case undefined:
      return `not judged: ${notJudged ?? 'not-seen-again'}`;
  }
}

function appliedText(applied: Connection['applied']): string {
  return applied === undefined ? '' : `, on which the node had acted by frame ${applied.frame}`;
}

/** `forward 10.0.0.1:80 (new-flow)`. */
export function choiceText(choice: Choice | undefined): string {
  if (choice === undefined) return 'none';
  return [choice.verdict, choice.backend, `(${choice.reason})`].filter((part) => part !== undefined).join(' ');
}
