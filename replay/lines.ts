// SPDX-License-Identifier: Apache-2.0
/** One line for each packet at a hook: what the twins did with it, what was observed, and whether that is permitted. */
import { endpointText } from '../core/address.ts';
import type { Verdict } from '../core/oracle/answer.ts';
import type { Instant } from '../formats/instant.ts';
import { instantText } from '../formats/instant.ts';
import type { TimedEvent } from '../formats/events.ts';
import type { Sighted, Sighting } from './attribute.ts';
import { isRefusal, type Connection } from './connections.ts';
import { isPermitted, verdictText } from './judge.ts';
import type { PacketPlace } from './tally.ts';
import { recordOf, type OutcomeRecord, type Ran } from './twins.ts';

/** What became of the packet in the recording. */
export type ObservedRecord = {
  readonly frame: number;
  readonly verdict: 'pass' | 'forward' | 'reply' | 'refuse';
  readonly backend: string | null;
  readonly lagMs: number;
};

export type PacketLine = {
  readonly file: string;
  readonly frame: number;
  readonly at: string;
  readonly hook: string;
  readonly service: string | null;
  readonly flow: string | null;
  readonly model: OutcomeRecord;
  /** null: the kernel did not run. */
  readonly kernel: OutcomeRecord | null;
  /** null: the packet was not seen again. */
  readonly observed: ObservedRecord | null;
  /** Of packets that open a connection and were sent on or refused; null: not judged. */
  readonly permitted: boolean | null;
  /** null: not compared. */
  readonly equal: boolean | null;
  /** Why the connection of this packet is not judged. */
  readonly unsupported?: string;
  /** The verdict in words, of the same packets. */
  readonly verdict?: string;
};

/** A line that waits until all of its packet has been seen. */
export type Draft = {
  readonly place: PacketPlace;
  readonly connection: Connection | undefined;
  /** Whether a verdict on the packet is its. */
  readonly asks: boolean;
  /** Whether it is an answer to the client, or a translated error. */
  readonly isReply: boolean;
  /** The frame at this hook, where the packet can be read. */
  readonly sighting: Sighting | undefined;
  readonly model: OutcomeRecord;
  readonly kernel: OutcomeRecord | null;
  readonly equal: boolean | null;
};

/** `repliedBackend`: whom a reply comes from in the twins. */
export function draftOf(
  place: PacketPlace,
  ran: Ran,
  about: Pick<Draft, 'asks' | 'connection' | 'sighting'> & { readonly repliedBackend?: string | undefined },
): Draft {
  const { repliedBackend, ...rest } = about;
  const { connection, sighting } = about;
  const isAnswer = connection !== undefined && sighting?.headers.error === undefined;
  return {
    ...rest,
    isReply: isAnswer || repliedBackend !== undefined,
    place,
    model: recordOf(ran.model, repliedBackend),
    kernel: ran.kernel === undefined ? null : recordOf(ran.kernel, repliedBackend),
    equal: ran.kernel === undefined ? null : ran.difference === undefined,
  };
}

/** What is known of a packet once no more will be seen of it. */
export type Settled = { readonly packet: Sighted; readonly verdict: Verdict | undefined };

/** The line of a draft; without `settled` nothing more was to be seen of it. */
export function lineOf(
  draft: Draft,
  settled: Settled | undefined,
  origin: Instant,
  events: readonly TimedEvent[],
): PacketLine {
  const { asks, connection, equal, kernel, model, place } = draft;
  const packet = settled?.packet;
  const verdict = asks ? settled?.verdict : undefined;
  const { file, hook, service, flow } = place;
  const observed = packet === undefined ? null : observedOf(draft, packet);
  const isReply = observed?.verdict === 'reply';
  return {
    file,
    frame: isReply && packet !== undefined ? packet.first.frame : place.frame,
    at: instantText(momentOf(origin, isReply && packet !== undefined ? packet.first.timeNs : place.timeNs)),
    hook,
    service,
    flow,
    model,
    kernel,
    observed,
    permitted: isPermitted({ verdict }) ?? null,
    equal,
    ...(connection?.notJudged !== undefined && { unsupported: connection.notJudged }),
    ...(verdict !== undefined && { verdict: verdictText({ verdict, ...aboutOf(connection, verdict) }, events) }),
  };
}

/** What the client's past means is told of the packet that was decided by it: a flow's datagrams follow their flow. */
function aboutOf(connection: Connection | undefined, verdict: Verdict): Pick<Connection, 'affinity' | 'notJudged'> {
  const follows = connection?.datagrams !== undefined && verdict.kind !== 'never';
  return { affinity: follows ? undefined : connection?.affinity, notJudged: connection?.notJudged };
}

function observedOf({ asks, connection, isReply, sighting }: Draft, packet: Sighted): ObservedRecord | null {
  if (sighting === undefined) return null;
  const { translated, elsewhere, first } = packet;
  const lagMs = (later: Sighting): number => (later.timeNs - first.timeNs) / 1e6;
  if (sighting.place.direction === 'outgoing') {
    const backend = connection && answererOf(connection, packet);
    const common = { frame: sighting.frame, lagMs: lagMs(sighting) };
    return isReply
      ? { ...common, verdict: 'reply', backend: backend ?? null }
      : { ...common, verdict: 'pass', backend: null };
  }
  if (translated !== undefined && connection !== undefined) {
    const { destination, destinationPort, part } = translated.headers;
    const backend = part === 'later' ? null : endpointText(destination, destinationPort);
    return { frame: translated.frame, verdict: 'forward', backend, lagMs: lagMs(translated) };
  }
  const refusal = asks && connection !== undefined ? refusalOf(connection, packet) : undefined;
  if (refusal !== undefined) {
    return { frame: refusal.frame, verdict: 'refuse', backend: null, lagMs: lagMs(refusal) };
  }
  return elsewhere === undefined
    ? null
    : { frame: elsewhere.frame, verdict: 'pass', backend: null, lagMs: lagMs(elsewhere) };
}

/** Who sent an answer: a flow may have moved since it began. */
function answererOf({ backend }: Connection, { first, translated }: Sighted): string | undefined {
  const { error, part, source, sourcePort } = first.headers;
  const isShown = translated !== undefined && error === undefined && part !== 'later';
  if (isShown) return endpointText(source, sourcePort);
  return backend && endpointText(backend.address, backend.port);
}

function refusalOf({ datagrams, decided, refusal, reply }: Connection, packet: Sighted): Sighting | undefined {
  if (datagrams === undefined) return reply === 'refused' && decided === packet.first ? refusal : undefined;
  return packet.refusal !== undefined && isRefusal(packet.refusal.headers) ? packet.refusal : undefined;
}

/** The moment so many nanoseconds after another. */
export function momentOf(origin: Instant, ns: number): Instant {
  const total = origin.nanoseconds + (ns % 1e9);
  const seconds = origin.seconds + Math.floor(ns / 1e9) + Math.floor(total / 1e9);
  return { seconds, nanoseconds: total % 1e9 };
}
