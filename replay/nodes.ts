// SPDX-License-Identifier: Apache-2.0
/** Captures of several nodes: whose each is, and how their clocks differ by what both saw on the wire between them. */
import { addressEquals, protocolText, type Address } from '../core/address.ts';
import { fail, ok, type Result } from '../core/result.ts';
import type { CaptureRecord } from '../formats/capture.ts';
import type { InputSource } from '../formats/input.ts';
import { nanosecondsBetween, type Instant } from '../formats/instant.ts';
import { newLinkHeader, parseLink } from '../formats/link.ts';
import type { NodeFacts } from '../formats/node.ts';
import { openCapture } from '../formats/open.ts';
import { flowText, type Headers } from './headers.ts';
import { findPlaces, headersOf, isIp, isWithin, type Place } from './places.ts';

/** Frames that are looked at to tell whose a capture is. */
const LOOKED_AT = 5_000;
/** Packets on the wire that are remembered to compare clocks: some tens of megabytes. */
const COMPARED_MAX = 200_000;

export type NodeCaptures = { readonly facts: NodeFacts; readonly captures: readonly InputSource[] };

/** How the clock of another node's captures differs from that of the node that is replayed. */
export type ClockOffset = {
  readonly node: string;
  /** Positive: its clock is ahead; taken off its times. */
  readonly offsetNs: number;
  /** How wrong that may be; Infinity: packets were seen one way only, or none at all. */
  readonly errorNs: number;
  /** Packets that both saw: sent by the node that is replayed, and sent to it. */
  readonly there: number;
  readonly back: number;
};

/** A capture is of the node whose pods and addresses its frames show. With one node everything is taken for its own. */
export function assignCaptures(
  captures: readonly InputSource[],
  nodes: readonly NodeFacts[],
): Result<readonly NodeCaptures[]> {
  const [only, second] = nodes;
  if (only !== undefined && second === undefined) return ok([{ facts: only, captures }]);
  const own = new Map<NodeFacts, InputSource[]>(nodes.map((facts) => [facts, []]));
  for (const source of captures) {
    const scores = nodes.map((facts) => ({ facts, score: framesOf(source, facts) }));
    const best = scores.toSorted((left, right) => right.score - left.score)[0];
    if (best === undefined || best.score === 0) {
      const name = typeof source === 'string' ? source : source.name;
      const given = nodes.map((facts) => facts.name).join(', ');
      const message = `none of its first ${LOOKED_AT} frames is of a node that was given (${given})`;
      return fail('usage', name, message, 'add --node FILE with the facts of the node where it was taken');
    }
    own.get(best.facts)?.push(source);
  }
  for (const [facts, its] of own) {
    if (its.length > 0) continue;
    return fail('usage', `node ${facts.name}`, 'no capture is of it', 'leave out its --node, or add its capture');
  }
  return ok([...own].map(([facts, its]) => ({ facts, captures: its })));
}

/** How many frames show a pod of this node behind its device, or the node itself on the wire. */
function framesOf(source: InputSource, facts: NodeFacts): number {
  const isNode = (address: Address): boolean => facts.addresses.some((one) => addressEquals(one, address));
  let count = 0;
  eachPacket([source], facts, LOOKED_AT, (_record, headers, { direction, role }) => {
    const near = direction === 'incoming' ? headers.source : headers.destination;
    const far = direction === 'incoming' ? headers.destination : headers.source;
    if (role === 'pod' ? isWithin(facts.podRanges, near) : role === 'uplink' && isNode(far)) count += 1;
  });
  return count;
}

/** Frames with readable IP headers whose place is known, at most so many of each file. */
function eachPacket(
  sources: readonly InputSource[],
  facts: NodeFacts,
  framesMax: number,
  tell: (record: CaptureRecord, headers: Headers, place: Place) => void,
): void {
  const places = findPlaces(facts, []);
  const link = newLinkHeader();
  for (const source of sources) {
    const opened = openCapture(source);
    if (!opened.ok) continue;
    const capture = opened.value;
    let left = framesMax;
    for (let record = capture.next(); record !== undefined && left > 0; record = capture.next()) {
      left -= 1;
      const isBad = parseLink(record.linkType, record.buffer, record.start, record.capturedLength, link) !== undefined;
      const headers = isBad || !isIp(link) ? undefined : headersOf(record, link);
      const place = headers && places.of(record, link, headers);
      if (headers !== undefined && place !== undefined) tell(record, headers, place);
    }
    capture.close();
  }
}

type Passed = { readonly out: Map<string, number>; readonly into: Map<string, number> };

/** When each packet passed the wire first, in nanoseconds from a moment. */
function passedWire({ captures, facts }: NodeCaptures, from: Instant): Passed {
  const passed: Passed = { out: new Map(), into: new Map() };
  eachPacket(captures, facts, Infinity, (record, headers, { direction, role }) => {
    if (role !== 'uplink' && role !== 'tunnel') return;
    const times = direction === 'outgoing' ? passed.out : passed.into;
    if (times.size >= COMPARED_MAX) return;
    const key = keyOf(headers);
    if (!times.has(key)) times.set(key, nanosecondsBetween(from, record));
  });
  return passed;
}

/** What is the same of a packet at both ends of the wire. */
function keyOf(headers: Headers): string {
  const { acknowledgement, digest, flags, fragmentOffset, identification, payloadLength, protocol, sequence } = headers;
  const numbers = [identification, sequence, acknowledgement, flags, payloadLength, digest, fragmentOffset];
  return `${flowText(headers)} ${protocolText(protocol)} ${numbers.join(' ')}`;
}

/** The least time there and the least time back tell the offset, if both ways are equally long (RFC 5905 section 8). */
export function compareClocks(own: NodeCaptures, other: NodeCaptures): ClockOffset {
  const from = firstMoment(own);
  const [mine, theirs] = [passedWire(own, from), passedWire(other, from)];
  const there = leastBetween(mine.out, theirs.into);
  const back = leastBetween(theirs.out, mine.into);
  const found = { node: other.facts.name, there: there.count, back: back.count };
  if (there.count > 0 && back.count > 0) {
    const offsetNs = Math.round((there.leastNs - back.leastNs) / 2);
    return { ...found, offsetNs, errorNs: Math.abs(there.leastNs + back.leastNs) / 2 };
  }
  const offsetNs = there.count > 0 ? there.leastNs : back.count > 0 ? -back.leastNs : 0;
  return { ...found, offsetNs, errorNs: Infinity };
}

function leastBetween(
  sent: ReadonlyMap<string, number>,
  heard: ReadonlyMap<string, number>,
): { readonly leastNs: number; readonly count: number } {
  let leastNs = Infinity;
  let count = 0;
  for (const [key, sentNs] of sent) {
    const heardNs = heard.get(key);
    if (heardNs === undefined) continue;
    count += 1;
    leastNs = Math.min(leastNs, heardNs - sentNs);
  }
  return { leastNs, count };
}

function firstMoment({ captures, facts }: NodeCaptures): Instant {
  let first: Instant | undefined;
  eachPacket(captures.slice(0, 1), facts, LOOKED_AT, ({ nanoseconds, seconds }) => {
    first ??= { seconds, nanoseconds };
  });
  return first ?? { seconds: 0, nanoseconds: 0 };
}

/** `node2: its clock is 0.412 ms ahead, give or take 0.051 ms (1204 packets there, 1100 back); taken off`. */
export function clockText({ back, errorNs, node, offsetNs, there }: ClockOffset): string {
  if (there + back === 0) return `${node}: no packet was seen on both nodes; its clock is taken as it is`;
  const side = offsetNs >= 0 ? 'ahead' : 'behind';
  const off = `its clock is ${(Math.abs(offsetNs) / 1e6).toFixed(3)} ms ${side}`;
  const counts = `(${there} packets there, ${back} back)`;
  // The way itself takes time: what is heard late says how far the clock is ahead at most, and how far behind at least.
  const bound = there > 0 === offsetNs >= 0 ? 'at most' : 'at least';
  if (errorNs === Infinity) return `${node}: ${off} ${bound} ${counts}, seen one way only; taken off`;
  return `${node}: ${off}, give or take ${(errorNs / 1e6).toFixed(3)} ms ${counts}; taken off`;
}
