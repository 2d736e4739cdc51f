// SPDX-License-Identifier: Apache-2.0
/** What happens to a packet that a hook meets: which frame the twins get, and what is learned from their answer. */
import { addressEquals, endpointText, port } from '../core/address.ts';
import { REASON_KNOWN_FLOW, VERDICT_FORWARD, VERDICT_REPLY } from '../core/layout.gen.ts';
import type { Question } from '../core/oracle/answer.ts';
import type { Outcome, Outside, PacketHook } from '../core/twin.ts';
import type { Attributed, Sighted, Sighting } from './attribute.ts';
import { compareBytes, type Difference } from './compare.ts';
import {
  noteForwarded,
  noteIcmpError,
  noteReply,
  type Choice,
  type Connection,
  type Connections,
  type NotJudged,
} from './connections.ts';
import { backendAt, noteModelChoice } from './datagrams.ts';
import { withQuotedBackend } from './error.ts';
import { endsOf, isTranslatable, withPodAsSource, withSource, type AnswerEnds, type PosedFrame } from './frame.ts';
import { flowText, isAsking } from './headers.ts';
import { isModelPermitted, type Court } from './judge.ts';
import { draftOf, type Draft } from './lines.ts';
import type { Room } from './room.ts';
import { addTo, type Finding, type PacketPlace, type Tally } from './tally.ts';
import { backendOf, reasonOf, verdictOf, type Ran, type Twins } from './twins.ts';
import type { Watch } from './watch.ts';

/** A flow's age is counted in 2^20 ns. */
const TICK_NS = 1_048_576;

/** Everything that a packet may meet or leave a mark on. */
export type Bench = Court & {
  readonly twins: Twins;
  readonly connections: Connections;
  readonly tally: Tally;
  /** Of the first moment. */
  readonly firstTick: number;
  /** After this time events may be missing. */
  readonly completeNs: number;
  /** The frame that is being taken, on a device of that MTU; valid until the next one. */
  readonly pose: (mtu: number) => PosedFrame;
  /** The same for each frame. */
  readonly outside: Outside;
  /** Where a frame is changed before it goes in. */
  readonly room: Room;
  /** Lines that wait; undefined: nobody wants any. */
  readonly drafts: Map<Sighted, Draft[]> | undefined;
  readonly watch: Watch | undefined;
};

/** Of a sighting at a hook; the flow's name is made when it is asked for, which is hardly ever. */
class PlaceAtHook implements PacketPlace {
  readonly hook: PacketPlace['hook'];
  readonly #sighting: Sighting;
  readonly #connection: Connection | undefined;

  constructor(hook: PacketPlace['hook'], sighting: Sighting, connection: Connection | undefined) {
    this.hook = hook;
    this.#sighting = sighting;
    this.#connection = connection;
  }

  get file(): string {
    return this.#sighting.file;
  }
  get frame(): number {
    return this.#sighting.frame;
  }
  get timeNs(): number {
    return this.#sighting.timeNs;
  }
  get flow(): string {
    return this.#connection?.flow ?? flowText(this.#sighting.headers);
  }
  get service(): string | null {
    return this.#connection?.service ?? null;
  }
}

export function placeOf(
  hook: PacketPlace['hook'],
  sighting: Sighting,
  connection: Connection | undefined,
): PacketPlace {
  return new PlaceAtHook(hook, sighting, connection);
}

function findingOf(place: PacketPlace, difference: Difference): Finding {
  const { file, flow, frame, hook, service, timeNs } = place;
  const { field, kernel: other, model } = difference;
  return { file, frame, timeNs, hook, flow, service, field, model, other };
}

/** Runs one frame and counts it. */
export function runInput(
  { tally, twins, firstTick, outside, watch }: Bench,
  place: PacketPlace,
  bytes: Uint8Array,
  posed: PosedFrame,
): Ran {
  addTo(tally.inputs, place.hook);
  addTo(tally.checksums, posed.checksum);
  if (posed.gsoSize > 0) tally.superPackets += 1;
  if (posed.isShortened) tally.shortened += 1;
  outside.now = (firstTick + Math.floor(place.timeNs / TICK_NS)) >>> 0;
  outside.checksumMode = posed.checksumMode;
  outside.gsoSize = posed.gsoSize;
  const ran = twins.run(place.hook, bytes, outside);
  watch?.asked?.({ place, bytes, outside, ran });
  if (ran.difference !== undefined) tally.firstDifference ??= findingOf(place, ran.difference);
  return ran;
}

function runSighted(bench: Bench, packet: Sighted, place: PacketPlace, bytes: Uint8Array, posed: PosedFrame): Ran {
  packet.runs += 1;
  return runInput(bench, place, bytes, posed);
}

/** `backend`: whom a reply comes from in the twins. */
function keepDraft(
  { drafts }: Bench,
  place: PacketPlace,
  ran: Ran,
  about: { readonly sighting: Sighting; readonly packet: Sighted; readonly asks: boolean },
  connection: Connection | undefined,
  backend?: AnswerEnds,
): void {
  if (drafts === undefined) return;
  const { asks, packet, sighting } = about;
  const repliedBackend = backend && endpointText(backend.address, port(backend.port));
  const draft = draftOf(place, ran, { asks, connection, sighting, repliedBackend });
  const known = drafts.get(packet);
  if (known === undefined) drafts.set(packet, [draft]);
  else known.push(draft);
}

export function takeFromPod(bench: Bench, sighting: Sighting, packet: Sighted): void {
  const { connections, oracle, tally } = bench;
  const posed = bench.pose(sighting.place.mtu);
  const { headers } = sighting;
  const connection = connections.fromPod(sighting, oracle);
  const place = placeOf('from-pod', sighting, connection);
  const ran = runSighted(bench, packet, place, posed.bytes, posed);
  const asks = connection !== undefined && isAsking(headers);
  keepDraft(bench, place, ran, { sighting, packet, asks }, connection);
  if (connection === undefined) return;
  noteModelBackend(connection, ran.model, asks);
  const reason = asks ? takeAsking(bench, connection, packet, ran) : connection.notJudged;
  if (reason !== undefined) addTo(tally.unsupportedPackets, reason);
  else if (headers.error === undefined && !isTranslatable(headers)) addTo(tally.unsupportedPackets, 'extensions');
}

/** A flow that goes on has the ends that it had. */
function noteModelBackend(connection: Connection, model: Outcome, asks: boolean): void {
  const goesOn = model.reason === REASON_KNOWN_FLOW && model.verdict === VERDICT_FORWARD;
  if (goesOn && !asks && connection.modelBackend?.id === model.backend) return;
  const ends = model.verdict === VERDICT_FORWARD ? endsOf(model.bytes.subarray(0, model.length)) : undefined;
  if (ends !== undefined) {
    connection.modelBackend = {
      id: model.backend,
      address: ends.destination,
      port: ends.destinationPort,
      client: ends.source,
      clientPort: ends.sourcePort,
    };
  } else if (asks) connection.modelBackend = undefined;
}

/** Returns why the packet can't be judged, if it can't. */
function takeAsking(bench: Bench, connection: Connection, packet: Sighted, ran: Ran): NotJudged | undefined {
  const { datagrams } = connection;
  const choice = choiceOf(ran.model);
  if (datagrams === undefined) connection.openings += 1;
  else {
    datagrams.sent += 1;
    datagrams.pending.push(packet);
    noteModelChoice(datagrams, connection.model, choice);
  }
  connection.opening = packet;
  packet.asksFor = connection;
  if (connection.notJudged !== undefined) return connection.notJudged;
  const isFirst = connection.model === undefined;
  connection.model ??= choice;
  connection.kernel ??= ran.kernel && choiceOf(ran.kernel);
  if (!isFirst && datagrams === undefined) return undefined;
  const reason = whyNotJudged(bench, packet.first.timeNs, choice);
  if (reason === undefined) noteModelJudgement(bench, connection, packet.first.timeNs, choice);
  else if (isFirst) connection.notJudged = reason;
  else {
    // Nobody will judge it, nor wait for errors about it.
    packet.asksFor = undefined;
    datagrams?.pending.pop();
  }
  return reason;
}

function choiceOf(outcome: Outcome): Choice {
  return { verdict: verdictOf(outcome), reason: reasonOf(outcome), backend: backendOf(outcome) };
}

function whyNotJudged(bench: Bench, timeNs: number, choice: Choice): NotJudged | undefined {
  if (timeNs > bench.completeNs) return 'events-incomplete';
  // Without an address of the node of this family no pod can hear itself from another.
  return choice.reason === 'hairpin' && choice.verdict === 'drop' ? 'hairpin' : undefined;
}

function noteModelJudgement(bench: Bench, connection: Connection, timeNs: number, choice: Choice): void {
  const { datagrams, modelBackend } = connection;
  const { modelNotPermitted } = bench.tally;
  const isRight = isModelPermitted(bench, connection, timeNs, { verdict: choice.verdict, kept: datagrams?.modelKept });
  if (!isRight && !modelNotPermitted.includes(connection)) modelNotPermitted.push(connection);
  if (datagrams === undefined) return;
  datagrams.modelKept = modelBackend && { backend: backendAt(modelBackend.address, modelBackend.port), atNs: timeNs };
}

/** A frame that leaves for a pod: the answer of a Service, an error about one, or a packet no proxy has touched. */
export function takeToPod(bench: Bench, sighting: Sighting, attributed: Attributed): void {
  const { connections, tally } = bench;
  const { packet, hook } = attributed;
  const { headers } = sighting;
  const connection = connections.toPod(headers);
  if (connection !== undefined) {
    noteReply(connection, sighting, packet);
    const backend = connection.modelBackend;
    const isReadable = isTranslatable(headers);
    if (connection.notJudged !== undefined) addTo(tally.unsupportedPackets, connection.notJudged);
    else if (!isReadable) addTo(tally.unsupportedPackets, 'extensions');
    else if (backend === undefined) tally.replies.withoutFlow += 1;
    if (backend !== undefined && isReadable) {
      const posed = bench.pose(sighting.place.mtu);
      const isOwn = isHairpin(connection, backend);
      const change = isOwn ? withPodAsSource : withSource;
      const bytes = change(posed, headers, backend, bench.room);
      return takeReply(bench, sighting, packet, {
        connection,
        backend,
        posed,
        bytes,
        hook: isOwn ? 'from-pod' : 'to-pod',
      });
    }
  }
  const subject = connection ?? connections.about(headers);
  const isRelated = connection === undefined && subject !== undefined && noteError(bench, subject, sighting);
  if (isRelated && subject.modelBackend !== undefined && !isHairpin(subject, subject.modelBackend)) {
    const posed = bench.pose(sighting.place.mtu);
    const backend = subject.modelBackend;
    const bytes = withQuotedBackend(posed, headers, backend);
    const answer = { connection: subject, backend, posed, hook: 'to-pod' as const };
    if (bytes !== undefined) return takeReply(bench, sighting, packet, { ...answer, bytes });
  }
  if (hook === undefined) return;
  const posed = bench.pose(sighting.place.mtu);
  const place = placeOf('to-pod', sighting, subject);
  const ran = runSighted(bench, packet, place, posed.bytes, posed);
  keepDraft(bench, place, ran, { sighting, packet, asks: false }, subject);
}

/** Whether the model sends a pod's packets back to it: its answers to itself are translated where they leave it. */
function isHairpin({ tuple }: Connection, { client }: AnswerEnds): boolean {
  return !addressEquals(tuple.source, client);
}

/** Whether the error is an answer that a proxy translates, to a packet that went on. */
function noteError({ tally }: Bench, connection: Connection, sighting: Sighting): boolean {
  noteForwarded(connection);
  const isRelated = noteIcmpError(connection, sighting);
  if (connection.notJudged === undefined) return isRelated;
  addTo(tally.unsupportedPackets, connection.notJudged);
  return false;
}

/** What a pod got, and what goes in for it: what the model's own backend would have sent. */
type Answer = {
  readonly connection: Connection;
  readonly backend: NonNullable<Connection['modelBackend']>;
  readonly posed: PosedFrame;
  readonly bytes: Uint8Array;
  /** Where the twins translate it. */
  readonly hook: PacketHook;
};

/** What the pod got is what must come out. */
function takeReply(bench: Bench, sighting: Sighting, packet: Sighted, answer: Answer): void {
  const { backend, bytes, connection, hook, posed } = answer;
  const { replies } = bench.tally;
  const place = placeOf(hook, sighting, connection);
  const ran = runSighted(bench, packet, place, bytes, posed);
  keepDraft(bench, place, ran, { sighting, packet, asks: false }, connection, backend);
  const difference = differenceFromRecorded(ran, posed.bytes);
  if (difference === undefined) {
    replies.reproduced += 1;
    return;
  }
  replies.differing += 1;
  bench.tally.firstReply ??= findingOf(place, difference);
}

function differenceFromRecorded({ model }: Ran, recorded: Uint8Array): Difference | undefined {
  if (model.verdict !== VERDICT_REPLY) return { field: 'verdict', model: verdictOf(model), kernel: 'reply' };
  if (model.length === recorded.length) return compareBytes(model.bytes, recorded, model.length);
  return { field: 'length', model: String(model.length), kernel: String(recorded.length) };
}

/** Packets for frontends whose hooks this build does not have come in by an uplink and would pass unnoticed. */
export function noteUnsupported({ oracle, tally }: Bench, { headers, place, timeNs }: Sighting): void {
  if (place.role !== 'uplink' || place.direction !== 'incoming') return;
  const { destination, destinationPort, protocol } = headers;
  const question: Question = { client: 'pod', address: destination, protocol, port: port(destinationPort) };
  const answer = oracle.answerAt(timeNs, question);
  if (answer.kind === 'unsupported') addTo(tally.unsupportedPackets, answer.reason);
}
