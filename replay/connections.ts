// SPDX-License-Identifier: Apache-2.0
/** Connections to Services as a recording shows them: opened by whom, answered by whom, refused or left alone. */
import { port, protocolText, TCP, UDP, type Address } from '../core/address.ts';
import type { OracleTimeline } from '../core/oracle.ts';
import type { Answer, Question, Verdict } from '../core/oracle/answer.ts';
import type { Binding } from './affinity.ts';
import { datagramAbout, newDatagrams, type Datagrams } from './datagrams.ts';
import { createFlowIndex } from './flowindex.ts';
import type { AnswerEnds } from './frame.ts';
import { flowText, FLAG_RST, ICMP, isFollowed, isMapped, isOpening, type Headers, type Tuple } from './headers.ts';
import type { Sighted, Sighting } from './attribute.ts';
import { newStream, noteSegment, type Stream } from './stream.ts';

/** More than a recording of hours holds; each takes about 1 KB. */
export const CONNECTIONS_MAX = 1_000_000;

/** Why a connection, or a packet of it, is not judged by this build. */
export type NotJudged =
  | 'SCTP'
  | 'NodePort'
  | 'LoadBalancer'
  | 'ExternalIP'
  | 'HostPort'
  | 'protocol'
  | 'fragment'
  | 'extensions'
  | 'duplicate-endpoints'
  | 'external-address-in-service-range'
  | 'unallocated-address'
  | 'hairpin'
  | 'opened-before'
  | 'events-incomplete'
  | 'not-seen-again';

/** Fragmented datagrams whose later parts are still expected. */
const FRAGMENTED_MAX = 65_536;

/** What the client got back. `unreachable`: an ICMP error that is no refusal, such as one from a router on the way. */
export type Reply = 'none' | 'answered' | 'reset' | 'refused' | 'unreachable';

/** What a twin decided about the packet that opened the connection. */
export type Choice = { readonly verdict: string; readonly reason: string; readonly backend: string | undefined };

export type Connection = {
  /** From the client to the Service. */
  readonly tuple: Tuple;
  readonly flow: string;
  /** `namespace/name:port`, or what else the address belongs to. */
  readonly service: string;
  readonly opened: Sighting;
  /** Set from the beginning for what this build can't judge. */
  notJudged: NotJudged | undefined;
  /** Packets of TCP that asked for it: more than one means it was sent again. */
  openings: number;
  /** Of UDP, where every datagram asks; undefined: it is another protocol's. */
  readonly datagrams: Datagrams | undefined;
  packets: number;
  /** What was sent of TCP in both directions, as its client's device shows it; undefined: it is another protocol's. */
  readonly streams: { readonly fromClient: Stream; readonly fromService: Stream } | undefined;
  /** Who got it; undefined: not seen. */
  backend: { readonly address: Address; readonly port: number; readonly lagNs: number } | undefined;
  reply: Reply;
  /** The packet that ended the attempt without a connection. */
  refusal: Sighting | undefined;
  /** The packet that asked for it and was sent to the backend, or refused: the moment of the proxy's decision. */
  decided: Sighting | undefined;
  /** The packet that the verdict is about; of UDP the worst of all datagrams. */
  judged: Sighting | undefined;
  /** It is stale, although this packet shows that the node had acted on the event. */
  applied: Sighting | undefined;
  /** After the event that it was late for: the last choice as before it, and the first that only it permits, if seen. */
  acting: { readonly lastNs: number; readonly firstNs: number | undefined } | undefined;
  /** A pod that is its own backend got its own address as source, which it drops. */
  isOwnSource: boolean;
  /** The last packet that asked for it. */
  opening: Sighted | undefined;
  model: Choice | undefined;
  kernel: Choice | undefined;
  /** Where the model sends its packets now, as its answers would come from. */
  modelBackend: (AnswerEnds & { readonly id: number }) | undefined;
  /** Of UDP the worst of all datagrams. */
  verdict: Verdict | undefined;
  /** What its client's past meant to the choice; undefined: its Service keeps nobody, or no choice was seen. */
  affinity: Binding | undefined;
};

export type Connections = {
  /** The connection that a packet from a pod belongs to; a new one where it opens or first shows one. */
  readonly fromPod: (sighting: Sighting, oracle: Pick<OracleTimeline, 'answerAt'>) => Connection | undefined;
  /** The connection whose client gets this packet. */
  readonly toPod: (headers: Headers) => Connection | undefined;
  /** The connection that an ICMP error to its client is about. */
  readonly about: (headers: Headers) => Connection | undefined;
  readonly all: readonly Connection[];
};

export function createConnections(): Connections {
  const flows = createFlowIndex();
  const byDatagram = new Map<string, Connection>();
  const all: Connection[] = [];

  /** Only the first part of a datagram shows its ports. */
  function noteFirst(headers: Headers, connection: Connection | undefined): Connection | undefined {
    if (headers.part !== 'first' || connection === undefined) return connection;
    const key = datagramText(headers);
    byDatagram.delete(key);
    byDatagram.set(key, connection);
    const [oldest] = byDatagram.size > FRAGMENTED_MAX ? byDatagram.keys() : [];
    if (oldest !== undefined) byDatagram.delete(oldest);
    return connection;
  }

  /** Of a later fragment, which shows no ports. */
  function byPart(headers: Headers): Connection | undefined {
    return headers.part === 'later' ? byDatagram.get(datagramText(headers)) : undefined;
  }

  function fromPod(sighting: Sighting, oracle: Pick<OracleTimeline, 'answerAt'>): Connection | undefined {
    const { headers } = sighting;
    if (isMapped(headers)) return undefined;
    // An error from a client is about an answer, which came from the Service.
    const about = headers.error?.about;
    const known = byPart(headers) ?? (about === undefined ? flows.get(headers) : flows.getTurned(about));
    if (known !== undefined && !isAnother(known, headers)) {
      known.packets += 1;
      if (known.streams !== undefined) noteSegment(known.streams.fromClient, headers);
      return noteFirst(headers, known);
    }
    const connection = newConnection(sighting, oracle);
    if (connection === undefined || all.length >= CONNECTIONS_MAX) return undefined;
    if (connection.streams !== undefined) noteSegment(connection.streams.fromClient, headers);
    flows.set(connection);
    all.push(connection);
    return noteFirst(headers, connection);
  }

  return {
    fromPod,
    toPod: (headers) =>
      isMapped(headers) ? undefined : noteFirst(headers, byPart(headers) ?? flows.getTurned(headers)),
    about: ({ error }) => (error?.about === undefined ? undefined : flows.get(error.about)),
    all,
  };
}

/** What the fragments of one datagram have in common. RFC 791, RFC 8200 section 4.5 */
function datagramText(headers: Headers): string {
  return `${flowText({ ...headers, sourcePort: 0, destinationPort: 0 })}/${headers.identification}`;
}

/** A client that uses its port again begins with another sequence number. */
function isAnother(known: Connection, headers: Headers): boolean {
  return isOpening(headers) && headers.sequence !== known.opened.headers.sequence;
}

function newConnection(sighting: Sighting, oracle: Pick<OracleTimeline, 'answerAt'>): Connection | undefined {
  const { headers } = sighting;
  const { protocol, destination, destinationPort, source, sourcePort } = headers;
  const question: Question = {
    client: 'pod',
    address: destination,
    protocol,
    port: port(destinationPort),
  };
  const answer = oracle.answerAt(sighting.timeNs, question);
  if (answer.kind === 'not-a-service') return undefined;
  const tuple = { protocol, source, sourcePort, destination, destinationPort };
  return {
    tuple,
    flow: flowText(tuple),
    service: serviceOf(answer),
    opened: sighting,
    notJudged: whyNotJudged(answer, headers),
    openings: 0,
    datagrams: protocol === UDP ? newDatagrams() : undefined,
    opening: undefined,
    refusal: undefined,
    decided: undefined,
    judged: undefined,
    applied: undefined,
    acting: undefined,
    isOwnSource: false,
    packets: 1,
    streams: protocol === TCP ? { fromClient: newStream(), fromService: newStream() } : undefined,
    backend: undefined,
    reply: 'none',
    model: undefined,
    kernel: undefined,
    modelBackend: undefined,
    verdict: undefined,
    affinity: undefined,
  };
}

/** In place of the name, where an address is nobody's. */
export const NO_SERVICE = 'no Service';

export function serviceOf(answer: Answer): string {
  switch (answer.kind) {
    case 'contested':
      return answer.services.join(' or ');
    case 'unsupported':
      return answer.object;
    case 'not-a-service':
    case 'drop-unallocated':
      return NO_SERVICE;
    case 'permitted':
    case 'refuse':
    case 'drop':
    case 'refuse-unknown-port':
      return answer.service;
  }
}

/** What this build programs is TCP and UDP to a ClusterIP. */
function whyNotJudged(answer: Answer, headers: Headers): NotJudged | undefined {
  if (headers.part === 'later') return 'fragment';
  if (headers.isRouted || !isFollowed(headers)) return 'extensions';
  if (answer.kind === 'unsupported') return answer.reason;
  if (headers.protocol === UDP) return undefined;
  if (headers.protocol !== TCP) return protocolText(headers.protocol) === 'SCTP' ? 'SCTP' : 'protocol';
  return isOpening(headers) ? undefined : 'opened-before';
}

/** The packet that asks for the connection went somewhere else: that is where the recorded proxy sent it. */
export function noteForwarded(connection: Connection, opening: Sighted | undefined = connection.opening): void {
  const { backend } = connection;
  if (backend !== undefined || opening?.translated === undefined) return;
  const { first, translated } = opening;
  const { destination, destinationPort } = translated.headers;
  connection.backend = { address: destination, port: destinationPort, lagNs: translated.timeNs - first.timeNs };
  connection.decided = first;
}

/** An answer to the client; its first sighting names the backend, unless the proxy itself has answered. */
export function noteReply(connection: Connection, sighting: Sighting, packet: Sighted): void {
  const { headers } = sighting;
  connection.packets += 1;
  if (connection.streams !== undefined) noteSegment(connection.streams.fromService, headers);
  noteForwarded(connection);
  const { source, sourcePort } = packet.first.headers;
  if (connection.backend === undefined && packet.translated !== undefined) {
    connection.backend = { address: source, port: sourcePort, lagNs: 0 };
    connection.decided = connection.opening?.first;
  }
  if (connection.datagrams !== undefined && headers.part !== 'later') connection.datagrams.answers += 1;
  if (connection.reply === 'answered') return;
  if ((headers.flags & FLAG_RST) === 0) connection.reply = 'answered';
  else if (connection.reply === 'none')
    noteEnd(connection, sighting, connection.backend === undefined ? 'refused' : 'reset');
}

/** Packets of TCP that repeat bytes which had been sent before; the SYN of the client is counted by `openings`. */
export function retransmissionsOf({ streams }: Pick<Connection, 'streams'>): number {
  return streams === undefined ? 0 : streams.fromClient.repeated + streams.fromService.repeated;
}

/** `3 retransmissions`; empty: there were none. */
export function retransmissionsText(connection: Pick<Connection, 'streams'>): string {
  const count = retransmissionsOf(connection);
  return count === 0 ? '' : `${count} ${count === 1 ? 'retransmission' : 'retransmissions'}`;
}

/** ICMP codes of type 3 with which a proxy refuses: port unreachable, and the three kinds of "prohibited". RFC 1812 */
const REFUSALS: ReadonlySet<number> = new Set([3, 9, 10, 13]);

/** The same of ICMPv6, type 1; codes 5 and 6 are kinds of "prohibited". RFC 4443 section 3.1 */
const REFUSALS_V6: ReadonlySet<number> = new Set([1, 4, 5, 6]);

export function isRefusal({ error, protocol }: Headers): boolean {
  if (error === undefined) return false;
  if (protocol === ICMP) return error.type === 3 && REFUSALS.has(error.code);
  return error.type === 1 && REFUSALS_V6.has(error.code);
}

/** Whether it is about a packet that had gone on to a backend, and so not the proxy's own. */
export function noteIcmpError(connection: Connection, sighting: Sighting): boolean {
  const { error } = sighting.headers;
  if (error === undefined) return false;
  if (connection.datagrams !== undefined) return noteDatagramError(connection, connection.datagrams, sighting);
  if (connection.reply === 'answered') return true;
  const isRefused = isRefusal(sighting.headers) && connection.backend === undefined;
  noteEnd(connection, sighting, isRefused ? 'refused' : 'unreachable');
  return connection.backend !== undefined;
}

function noteDatagramError(connection: Connection, datagrams: Datagrams, sighting: Sighting): boolean {
  const packet = datagramAbout(datagrams, sighting.headers);
  if (packet === undefined) return false;
  packet.refusal = sighting;
  const isRefused = isRefusal(sighting.headers) && packet.translated === undefined;
  if (isRefused) datagrams.refused += 1;
  else datagrams.unreachable += 1;
  if (connection.reply === 'none') noteEnd(connection, sighting, isRefused ? 'refused' : 'unreachable');
  return packet.translated !== undefined;
}

function noteEnd(connection: Connection, refusal: Sighting, reply: Reply): void {
  connection.reply = reply;
  connection.refusal = refusal;
  if (reply === 'refused') connection.decided = connection.opening?.first;
}
