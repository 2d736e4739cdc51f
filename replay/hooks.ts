// SPDX-License-Identifier: Apache-2.0
/** What happens to a packet that a hook meets: which frame the twins get, and what is learned from their answer. */
import { endpointText, port } from '../core/address.ts';
import { VERDICT_FORWARD, VERDICT_REPLY } from '../core/layout.gen.ts';
import type { OracleTimeline } from '../core/oracle.ts';
import type { Question } from '../core/oracle/answer.ts';
import { isSticky } from './affinity.ts';
import type { Attributed, Sighted, Sighting } from './attribute.ts';
import { compareBytes, type Difference } from './compare.ts';
import { noteForwarded, noteIcmpError, noteReply, type Connection, type Connections } from './connections.ts';
import { destinationOf, isReadableTcp, withSource, type PosedFrame } from './frame.ts';
import { flowText, isOpening } from './headers.ts';
import { permitsChoice, questionOf } from './judge.ts';
import { draftOf, type Draft } from './lines.ts';
import { addTo, type PacketPlace, type Tally } from './tally.ts';
import { backendOf, reasonOf, verdictOf, type Ran, type Twins } from './twins.ts';

/** A flow's age is counted in 2^20 ns. */
const TICK_NS = 1_048_576;

/** Everything that a packet may meet or leave a mark on. */
export type Bench = {
  readonly twins: Twins;
  readonly oracle: OracleTimeline;
  readonly connections: Connections;
  readonly tally: Tally;
  /** Of the first moment. */
  readonly firstTick: number;
  /** After this time events may be missing. */
  readonly completeNs: number;
  /** Services with client affinity, by name. */
  readonly sticky: ReadonlySet<string>;
  /** Connections by the packets that ask for them, while these are in their window. */
  readonly openings: Map<Sighted, Connection>;
  /** Lines that wait; undefined: nobody wants any. */
  readonly drafts: Map<Sighted, Draft[]> | undefined;
};

export function placeOf(
  hook: PacketPlace['hook'],
  sighting: Sighting,
  connection: Connection | undefined,
): PacketPlace {
  const { file, frame, timeNs, headers } = sighting;
  const flow = connection?.flow ?? flowText(headers);
  return { file, frame, timeNs, hook, flow, service: connection?.service ?? null };
}

/** Runs one frame and counts it. */
export function runInput(
  { tally, twins, firstTick }: Bench,
  place: PacketPlace,
  bytes: Uint8Array,
  posed: PosedFrame,
): Ran {
  addTo(tally.inputs, place.hook);
  addTo(tally.checksums, posed.checksum);
  if (posed.gsoSize > 0) tally.superPackets += 1;
  if (posed.isShortened) tally.shortened += 1;
  const ticks = (firstTick + Math.floor(place.timeNs / TICK_NS)) >>> 0;
  const ran = twins.run(place.hook, bytes, posed, ticks);
  if (ran.difference !== undefined) {
    const { field, model, kernel } = ran.difference;
    tally.firstDifference ??= { ...place, field, model, other: kernel };
  }
  return ran;
}

function runSighted(bench: Bench, packet: Sighted, place: PacketPlace, bytes: Uint8Array, posed: PosedFrame): Ran {
  packet.runs += 1;
  return runInput(bench, place, bytes, posed);
}

function keepDraft({ drafts }: Bench, packet: Sighted, make: () => Draft): void {
  if (drafts === undefined) return;
  const known = drafts.get(packet);
  if (known === undefined) drafts.set(packet, [make()]);
  else known.push(make());
}

export function takeFromPod(bench: Bench, sighting: Sighting, packet: Sighted, posed: PosedFrame): void {
  const { connections, oracle, tally } = bench;
  const connection = connections.fromPod(sighting, (question) => oracle.answerAt(sighting.timeNs, question));
  const place = placeOf('from-pod', sighting, connection);
  const ran = runSighted(bench, packet, place, posed.bytes, posed);
  const opensConnection = connection !== undefined && isOpening(sighting.headers);
  keepDraft(bench, packet, () => draftOf(place, ran, { connection, opensConnection, sighting }));
  if (connection === undefined) return;
  if (ran.model.verdict === VERDICT_FORWARD) {
    connection.modelBackend = destinationOf(ran.model.bytes.subarray(0, ran.model.length));
  }
  if (opensConnection) takeOpening(bench, connection, packet, ran);
  if (connection.notJudged !== undefined) addTo(tally.unsupportedPackets, connection.notJudged);
  else if (!isReadableTcp(sighting.headers)) addTo(tally.unsupportedPackets, 'extensions');
}

function takeOpening(bench: Bench, connection: Connection, packet: Sighted, ran: Ran): void {
  const { timeNs } = packet.first;
  connection.openings += 1;
  connection.opening = packet;
  bench.openings.set(packet, connection);
  if (connection.model !== undefined || connection.notJudged !== undefined) return;
  const { model, kernel } = ran;
  connection.model = { verdict: verdictOf(model), reason: reasonOf(model), backend: backendOf(model) };
  if (kernel !== undefined) {
    connection.kernel = { verdict: verdictOf(kernel), reason: reasonOf(kernel), backend: backendOf(kernel) };
  }
  if (timeNs > bench.completeNs) connection.notJudged = 'events-incomplete';
  else if (connection.model.reason === 'hairpin') connection.notJudged = 'hairpin';
  else if (isSticky(bench.sticky, connection.service)) connection.notJudged = 'affinity';
  else if (!isModelPermitted(bench, connection, timeNs)) bench.tally.modelNotPermitted.push(connection);
}

/** With every event applied at once, the model has no excuse. */
function isModelPermitted({ oracle }: Bench, connection: Connection, timeNs: number): boolean {
  const { model, modelBackend } = connection;
  const isForwarded = model?.verdict === 'forward' && modelBackend !== undefined;
  const backend = isForwarded ? modelBackend : undefined;
  return permitsChoice(oracle.answerAt(timeNs, questionOf(connection)), model?.verdict ?? '', backend);
}

/** A frame that leaves for a pod: the answer of a Service, an error about one, or a packet no proxy has touched. */
export function takeToPod(bench: Bench, sighting: Sighting, attributed: Attributed, pose: () => PosedFrame): void {
  const { connections, tally } = bench;
  const { packet, hook } = attributed;
  const connection = connections.toPod(sighting.headers);
  if (connection !== undefined) {
    noteReply(connection, sighting, packet);
    const backend = connection.modelBackend;
    const isReadable = isReadableTcp(sighting.headers);
    if (connection.notJudged !== undefined) addTo(tally.unsupportedPackets, connection.notJudged);
    else if (!isReadable) addTo(tally.unsupportedPackets, 'extensions');
    else if (backend === undefined) tally.replies.withoutFlow += 1;
    if (backend !== undefined && isReadable) return takeReply(bench, sighting, packet, pose(), { connection, backend });
  }
  const subject = connection ?? connections.about(sighting.headers);
  if (connection === undefined && subject !== undefined) noteError(bench, subject, sighting);
  if (hook === undefined) return;
  const posed = pose();
  const place = placeOf('to-pod', sighting, subject);
  const ran = runSighted(bench, packet, place, posed.bytes, posed);
  keepDraft(bench, packet, () => draftOf(place, ran, { connection: subject, opensConnection: false, sighting }));
}

function noteError({ tally }: Bench, connection: Connection, sighting: Sighting): void {
  noteForwarded(connection);
  noteIcmpError(connection, sighting);
  if (connection.notJudged !== undefined) addTo(tally.unsupportedPackets, connection.notJudged);
}

/** What the pod got is what must come out; what goes in is what the model's own backend would have sent. */
function takeReply(
  bench: Bench,
  sighting: Sighting,
  packet: Sighted,
  posed: PosedFrame,
  { connection, backend }: { connection: Connection; backend: NonNullable<Connection['modelBackend']> },
): void {
  const { replies } = bench.tally;
  const bytes = withSource(posed, sighting.headers, backend.address, backend.port);
  const place = placeOf('to-pod', sighting, connection);
  const ran = runSighted(bench, packet, place, bytes, posed);
  const repliedBackend = endpointText(backend.address, backend.port);
  keepDraft(bench, packet, () => draftOf(place, ran, { connection, opensConnection: false, sighting, repliedBackend }));
  const difference = differenceFromRecorded(ran, posed.bytes);
  if (difference === undefined) {
    replies.reproduced += 1;
    return;
  }
  replies.differing += 1;
  bench.tally.firstReply ??= { ...place, field: difference.field, model: difference.model, other: difference.kernel };
}

function differenceFromRecorded({ model }: Ran, recorded: Uint8Array): Difference | undefined {
  if (model.verdict !== VERDICT_REPLY) return { field: 'verdict', model: verdictOf(model), kernel: 'reply' };
  const given = model.bytes.subarray(0, model.length);
  if (given.length === recorded.length) return compareBytes(given, recorded);
  return { field: 'length', model: String(given.length), kernel: String(recorded.length) };
}

/** Packets for frontends whose hooks this build does not have come in by an uplink and would pass unnoticed. */
export function noteUnsupported({ oracle, tally }: Bench, { first }: Sighted): void {
  if (first.place.role !== 'uplink' || first.place.direction !== 'incoming') return;
  const { destination, destinationPort, protocol } = first.headers;
  const question: Question = { client: 'pod', address: destination, protocol, port: port(destinationPort) };
  const answer = oracle.answerAt(first.timeNs, question);
  if (answer.kind === 'unsupported') addTo(tally.unsupportedPackets, answer.reason);
}
