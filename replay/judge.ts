// SPDX-License-Identifier: Apache-2.0
/** What the oracle says about each connection of a recording, and about the model's own choice for it. */
import { port, type Address } from '../core/address.ts';
import type { ClusterEvent } from '../core/objects.ts';
import type { OracleTimeline } from '../core/oracle.ts';
import {
  judgeOutcome,
  permits,
  type Answer,
  type Observed,
  type Question,
  type Verdict,
} from '../core/oracle/answer.ts';
import type { TimedEvent } from '../formats/events.ts';
import type { Sighted, Sighting } from './attribute.ts';
import { isRefusal, noteForwarded, type Choice, type Connection } from './connections.ts';
import { judgeDatagram, observedOf as observedOfDatagram, questionsOf, worse, type Kept } from './datagrams.ts';

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

/** The verdict on a packet that asked, once no more will be seen of it; undefined: it has none. */
export function judgePacket(connection: Connection, packet: Sighted, oracle: OracleTimeline): Verdict | undefined {
  if (connection.datagrams !== undefined) {
    noteForwarded(connection, packet);
    return judgeAsDatagram(connection, packet, oracle);
  }
  noteForwarded(connection);
  judgeConnection(connection, packet.first, oracle);
  return connection.decided === packet.first ? connection.verdict : undefined;
}

function judgeAsDatagram(connection: Connection, packet: Sighted, oracle: OracleTimeline): Verdict | undefined {
  const { datagrams, notJudged } = connection;
  if (datagrams === undefined) return undefined;
  datagrams.pending.splice(0, datagrams.pending.indexOf(packet) + 1);
  if (notJudged !== undefined) return undefined;
  const { timeNs } = packet.first;
  const verdict = judgeDatagram(datagrams, {
    question: questionOf(connection),
    observed: observedOfDatagram(packet, isRefusal),
    timeNs,
    judge: (question) => oracle.judge(timeNs, STALE_WINDOW_NS, question, EARLY_WINDOW_NS),
  });
  if (verdict === undefined) return undefined;
  if (verdict.kind === 'unsupported') connection.notJudged = verdict.reason;
  else connection.verdict = worse(connection.verdict, verdict);
  return verdict;
}

/** Sets the verdict, if it was this packet that was sent on or refused, or if nothing is what it had to get. */
function judgeConnection(connection: Connection, opening: Sighting, oracle: OracleTimeline): void {
  if (connection.verdict !== undefined || connection.notJudged !== undefined) return;
  if (connection.decided !== undefined && connection.decided !== opening) return;
  const judgement = oracle.judge(opening.timeNs, STALE_WINDOW_NS, questionOf(connection), EARLY_WINDOW_NS);
  const { answer } = judgement;
  const isDropExpected = answer.kind === 'drop' && connection.reply === 'none';
  const observed = observedOf(connection) ?? (isDropExpected ? { kind: 'dropped' as const } : undefined);
  if (observed === undefined) return;
  connection.decided ??= opening;
  const verdict = judgeOutcome(judgement, observed);
  if (verdict.kind === 'unsupported') connection.notJudged = verdict.reason;
  else connection.verdict = verdict;
}

/**
 * Whether the model's choice is one that the oracle permits at that moment: with every event applied at once, it has no
 * excuse. `kept`: where the datagram before went.
 */
export function isModelPermitted(
  oracle: OracleTimeline,
  connection: Connection,
  timeNs: number,
  choice: { readonly verdict: string; readonly kept: Kept | undefined },
): boolean {
  const { modelBackend } = connection;
  const backend = choice.verdict === 'forward' ? modelBackend : undefined;
  return questionsOf(questionOf(connection), choice.kept, timeNs).some((question) =>
    permitsChoice(oracle.answerAt(timeNs, question), choice.verdict, backend),
  );
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
  { verdict, notJudged }: Pick<Connection, 'notJudged' | 'verdict'>,
  events: readonly TimedEvent[],
): string {
  const name = (index: number): string => {
    const timed = events[index];
    return timed === undefined ? 'an event' : eventText(timed);
  };
  switch (verdict?.kind) {
    case 'permitted':
    case 'never':
      return verdict.kind === 'never' ? `never permitted in the ${STALE_WINDOW_NS / 1e9} s before` : 'permitted';
    case 'stale':
      return `stale: ${spanText(verdict.staleNs)} after ${name(verdict.endedBy)}`;
    case 'early':
      return `early: ${spanText(verdict.earlyNs)} before ${name(verdict.beganBy)} was heard of`;
    case 'unsupported':
      return `not judged: ${verdict.reason}`;
    case undefined:
      return `not judged: ${notJudged ?? 'not-seen-again'}`;
  }
}

/** `forward 10.0.0.1:80 (new-flow)`. */
export function choiceText(choice: Choice | undefined): string {
  if (choice === undefined) return 'none';
  return [choice.verdict, choice.backend, `(${choice.reason})`].filter((part) => part !== undefined).join(' ');
}
