// SPDX-License-Identifier: Apache-2.0
/** A replay: the time line goes through both twins, item by item, and the oracle judges what was observed. */
import { createOracleTimeline, type OracleOptions } from '../core/oracle.ts';
import { assert } from '../core/result.ts';
import { quietOutside } from '../core/twin.ts';
import type { CaptureRecord } from '../formats/capture.ts';
import type { EventStreams } from '../formats/events.ts';
import type { InputSource } from '../formats/input.ts';
import { nanosecondsBetween, type Instant } from '../formats/instant.ts';
import { LINK_ETHERNET, newLinkHeader, parseLink, type LinkHeader } from '../formats/link.ts';
import type { NodeFacts } from '../formats/node.ts';
import { noteAffinity, settingsFor } from './affinity.ts';
import { noteApplied } from './applied.ts';
import { createAttribution, forgetSightings, whyNoInput, type Attribution, type Sighted } from './attribute.ts';
import { createConnections } from './connections.ts';
import { poseFrame, type PosedFrame } from './frame.ts';
import { isAsking, type Headers } from './headers.ts';
import { noteUnsupported, runInput, takeFromPod, takeToPod, type Bench } from './hooks.ts';
import { judgePacket, STALE_WINDOW_NS } from './judge.ts';
import { draftOf, lineOf, type PacketLine } from './lines.ts';
import type { ClockOffset, NodeCaptures } from './nodes.ts';
import { findPlaces, headersOf, hookAt, isIp, placesElsewhere, type Place, type Places } from './places.ts';
import { rememberAnswers } from './remember.ts';
import { sameRoom, type Room } from './room.ts';
import { addTo, newTally, type Tally } from './tally.ts';
import { openTimeline, type TimedSource, type TimelineItem } from './timeline.ts';
import { createTwins, type ReplayTwin } from './twins.ts';
import type { Watch } from './watch.ts';

export type ReplayInput = {
  /** All of one node. */
  readonly captures: readonly InputSource[];
  readonly streams: EventStreams;
  readonly facts: NodeFacts;
  /** Captures of other nodes, where its packets may be seen again. */
  readonly others?: readonly OtherNode[];
  readonly oracle: OracleOptions;
  readonly model: ReplayTwin;
  /** Undefined: the model runs alone. */
  readonly kernel: ReplayTwin | undefined;
  /** Told each packet at a hook, once what was observed of it is known. */
  readonly onLine?: (line: PacketLine) => void;
  /** Told now and then how far it is. */
  readonly onProgress?: (progress: ReplayProgress) => void;
  readonly watch?: Watch;
};

export type OtherNode = NodeCaptures & { readonly clock: ClockOffset };

/** How far a replay is: frames, and bytes of the captures they were in. */
export type ReplayProgress = { readonly frames: number; readonly bytes: number };

type Run = Bench & {
  readonly input: ReplayInput;
  readonly places: Places;
  /** Of the captures of other nodes. */
  readonly elsewhere: ReadonlyMap<string, Places>;
  readonly attribution: Attribution;
  readonly link: LinkHeader;
  /** Where frames are made. */
  readonly posing: Room;
  /** The frame that is being taken. */
  record: CaptureRecord | undefined;
  headers: Headers | undefined;
  /** Read of the captures. */
  bytes: number;
};

type FrameItem = Extract<TimelineItem, { is: 'frame' }>;

const PROGRESS_FRAMES = 4096;
/** What a file holds of a frame besides its bytes: a pcap's header of each record. */
const RECORD_BYTES = 16;

/** Runs everything that could be read; what could not is in the tally's failures. */
export function replay(input: ReplayInput): Tally {
  const places = findPlaces(input.facts, input.captures);
  const timeline = openTimeline(sourcesOf(input), input.streams);
  const run = newRun(input, places, timeline.origin);
  const { oracle, tally, twins } = run;
  for (let item = timeline.next(); item !== undefined; item = timeline.next()) {
    settle(run, item.timeNs);
    tally.lastNs = item.timeNs;
    if (item.is === 'frame') takeFrame(run, item);
    else {
      oracle.apply(item.timeNs, item.timed.event);
      const writes = twins.program(item.timed.event);
      noteAffinity(run.affinity, item.timeNs, item.timed.event, STALE_WINDOW_NS);
      input.watch?.event?.(item.timed, writes);
    }
  }
  settle(run, Infinity);
  noteApplied(tally.connections, oracle);
  timeline.close();
  const table = twins.compareTables();
  tally.comparedWithKernel = twins.compared();
  tally.differences = twins.differences() + (table === undefined ? 0 : 1);
  tally.tableDifference = table && `${table.field}: model ${table.model}, kernel ${table.kernel}`;
  tally.failures = [...input.streams.failures, ...timeline.failures()];
  tally.mapFailures = twins.failures();
  tally.backwards = timeline.backwards();
  tally.untimed = timeline.untimed();
  return tally;
}

function sourcesOf({ captures, others = [] }: ReplayInput): readonly TimedSource[] {
  const elsewhere = others.map(({ captures: its, clock }) => its.map((source) => ({ source, ...clock })));
  return [...captures.map((source) => ({ source, offsetNs: 0 })), ...elsewhere.flat()];
}

/** By the names of the files. */
function placesOfOthers({ others = [] }: ReplayInput): ReadonlyMap<string, Places> {
  const places = others.map(({ captures, facts }) => {
    const own = placesElsewhere(facts, captures);
    return captures.map((source) => [typeof source === 'string' ? source : source.name, own] as const);
  });
  return new Map(places.flat());
}

function newRun(input: ReplayInput, places: Places, origin: Instant): Run {
  const connections = createConnections();
  const { completeUntil } = input.streams;
  const run: Run = {
    input,
    places,
    elsewhere: placesOfOthers(input),
    attribution: createAttribution(),
    link: newLinkHeader(),
    posing: sameRoom(),
    room: sameRoom(),
    outside: quietOutside(0),
    twins: createTwins(input.model, input.kernel),
    oracle: rememberAnswers(createOracleTimeline({ ...input.oracle, judged: ['ClusterIP'] })),
    connections,
    tally: newTally(origin, places, connections.all),
    firstTick: ticksOf(origin),
    completeNs: completeUntil === undefined ? Infinity : nanosecondsBetween(origin, completeUntil),
    affinity: settingsFor(input.streams.events.map(({ event }) => event)),
    observedLedger: new Map(),
    modelLedger: new Map(),
    keepsSeveral: input.facts.proxy.includes('iptables'),
    drafts: input.onLine === undefined ? undefined : new Map(),
    watch: input.watch,
    record: undefined,
    headers: undefined,
    pose: (mtu) => poseRecord(run, mtu),
    bytes: 0,
  };
  return run;
}

/** 2^20 ns since 1970, as 32 bits. */
function ticksOf({ seconds, nanoseconds }: Instant): number {
  const ns = BigInt(seconds) * 1_000_000_000n + BigInt(nanoseconds);
  return Number((ns >> 20n) & 0xffff_ffffn);
}

/** A frame of another node is another sighting of a packet, or none of ours. */
function takeElsewhere({ attribution, link, watch }: Run, places: Places, { file, record, timeNs }: FrameItem): void {
  const problem = parseLink(record.linkType, record.buffer, record.start, record.capturedLength, link);
  const headers = problem !== undefined || !isIp(link) ? undefined : headersOf(record, link);
  const place = headers && places.of(record, link, headers);
  if (headers === undefined || place === undefined) return;
  const sighting = { file, frame: record.frame, timeNs, place, headers };
  watch?.frame?.(sighting, attribution.take(sighting).packet);
}

function takeFrame(run: Run, item: FrameItem): void {
  const { file, record, timeNs } = item;
  const { link, places, tally } = run;
  const elsewhere = run.elsewhere.size === 0 ? undefined : run.elsewhere.get(file);
  if (elsewhere !== undefined) return takeElsewhere(run, elsewhere, item);
  tally.packets += 1;
  run.watch?.record?.(file, record, timeNs);
  run.bytes += record.capturedLength + RECORD_BYTES;
  if (tally.packets % PROGRESS_FRAMES === 0) run.input.onProgress?.({ frames: tally.packets, bytes: run.bytes });
  const problem = parseLink(record.linkType, record.buffer, record.start, record.capturedLength, link);
  if (problem !== undefined || !isIp(link)) {
    return addTo(tally.noInput, problem === 'short-link-header' ? 'unattributed' : 'not-ip');
  }
  const headers = headersOf(record, link);
  const place = places.of(record, link, headers);
  if (place === undefined) return addTo(tally.noInput, 'unattributed');
  run.record = record;
  run.headers = headers;
  if (headers === undefined) return takeUnreadable(run, { file, frame: record.frame, timeNs, place });
  const sighting = { file, frame: record.frame, timeNs, place, headers };
  const attributed = run.attribution.take(sighting);
  if (attributed.packet.first === sighting) noteUnsupported(run, sighting);
  run.watch?.frame?.(sighting, attributed.packet);
  const met = hookAt(place);
  if (met === 'from-pod' && attributed.hook === met) takeFromPod(run, sighting, attributed.packet);
  else if (met === 'to-pod') takeToPod(run, sighting, attributed);
  if (!isAskedFor(run, attributed.packet)) forgetSightings(attributed.packet);
}

/** Whether anybody wants to know what became of the packet, once it has been seen. */
function isAskedFor({ drafts, watch }: Run, { first }: Sighted): boolean {
  return drafts !== undefined || watch !== undefined || isAsking(first.headers);
}

function poseRecord({ headers, link, posing, record }: Run, mtu: number): PosedFrame {
  assert(record !== undefined, 'a frame is being taken');
  const { buffer, capturedLength, linkType, originalLength, start } = record;
  return poseFrame(
    {
      buffer,
      start: start + link.networkOffset,
      end: start + capturedLength,
      headers,
      ethernetAt: linkType === LINK_ETHERNET ? start : undefined,
      ethertype: link.protocol,
      isCut: capturedLength < originalLength,
      mtu,
    },
    posing,
  );
}

/** Garbage in place of an IP header: where a hook meets it, both twins must leave it alone. */
function takeUnreadable(
  run: Run,
  { file, frame, timeNs, place }: { file: string; frame: number; timeNs: number; place: Place },
): void {
  const hook = hookAt(place);
  if (hook === undefined) return addTo(run.tally.noInput, 'unattributed');
  const posed = run.pose(place.mtu);
  const at = { file, frame, timeNs, hook, flow: null, service: null };
  const ran = runInput(run, at, posed.bytes, posed);
  const about = { asks: false, connection: undefined, sighting: undefined };
  run.input.onLine?.(lineOf(draftOf(at, ran, about), undefined, run.tally.origin, []));
}

/** Packets of which nothing more will be seen: their connections can be judged and their lines told. */
function settle(run: Run, timeNs: number): void {
  const { drafts, input, tally } = run;
  const { attribution } = run;
  for (let packet = attribution.expire(timeNs); packet !== undefined; packet = attribution.expire(timeNs)) {
    const others = packet.frames - packet.runs;
    if (packet.frames === 0) {
      run.watch?.settled?.(packet);
      continue;
    }
    if (packet.hook === undefined) addTo(tally.noInput, whyNoInput(packet, input.facts), others);
    else tally.sightings += others;
    const connection = packet.asksFor;
    const verdict = connection && judgePacket(connection, packet, run);
    if (connection?.datagrams !== undefined && verdict === undefined && connection.notJudged === undefined) {
      addTo(tally.unsupportedPackets, 'not-seen-again');
    }
    for (const draft of drafts?.get(packet) ?? []) {
      input.onLine?.(lineOf(draft, { packet, verdict }, tally.origin, input.streams.events));
    }
    drafts?.delete(packet);
    run.watch?.settled?.(packet);
  }
}
