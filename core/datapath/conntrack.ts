// SPDX-License-Identifier: Apache-2.0
/**
 * From a parsed packet and the flow table to a verdict; twin of bpf/conntrack.h. Packets of flows that are known, errors
 * about them and fragments; what opens a flow is open.ts's.
 */
import {
  BACKEND_GENERATION_SHIFT,
  BACKEND_REUSED,
  BACKEND_STATE,
  DIRECTION_FORWARD,
  DIRECTION_REPLY,
  FLOW_ANSWERED,
  FLOW_DATAGRAM,
  FLOW_EXCESS,
  FLOW_LIFE,
  FLOW_PENDING,
  FLOW_RESET,
  MARK_BACKEND_REUSED,
  MARK_CERTAINLY_NOT,
  MARK_ESTABLISH,
  MARK_FORWARD_HEAL,
  MARK_FORWARD_KNOWN,
  MARK_FORWARD_RESELECT,
  MARK_FORWARD_TAKEN,
  MARK_FRAGMENT_MISSING,
  MARK_HAIRPIN_REPLY,
  MARK_ONE_WAY,
  MARK_OTHER_KEPT,
  MARK_RELATED,
  MARK_REPLY_KNOWN,
  MARK_REPLY_SYN_ACK,
  MARK_STEADY,
  MARK_UNRELATED,
  REASON_BACKEND_REUSED,
  REASON_FIRST_MISSING,
  REASON_FLOWS_FULL,
  REASON_FRAGMENTED,
  REASON_KNOWN_FLOW,
  REASON_RELATED,
  REASON_TUPLE_TAKEN,
  VERDICT_DROP,
  VERDICT_FORWARD,
  VERDICT_REFUSE,
  VERDICT_REPLY,
} from '../layout.gen.ts';
import type { Outside } from '../twin.ts';
import { maybeBackend, maybeService } from './classify.ts';
import {
  flowChange,
  flowClosing,
  flowInsert,
  flowLookup,
  flowNote,
  flowNoted,
  FLOW_IF_ABSENT,
  FLOW_PROMOTE,
  FLOW_REFUSED,
  FLOW_REPLACE,
  type FlowRecord,
} from './flows.ts';
import { findFragment, keepFragment } from './fragment.ts';
import { mark, type Log } from './log.ts';
import { lookupFrontend } from './lookup.ts';
import type { Maps } from './maps.ts';
import { natAnswers, natTurn, sameAddress } from './nat.ts';
import { decided, knownReason, notOurs, packetOpening, replyReason, type Decision } from './decision.ts';
import { directReply, forwardNew, isDirect, stillServed } from './open.ts';
import {
  isMapped,
  KEY_DESTINATION,
  KEY_PROTOCOL,
  PACKET_ERROR,
  PACKET_FIRST,
  PACKET_LATER,
  TCP_ACK,
  TCP_RST,
  TCP_SYN,
  type Packet,
} from './packet.ts';
import { BACKEND_WORDS, LIVE } from './select.ts';
import { flowShare } from './share.ts';
import { noteFlags, steady, TCP_OPENS } from './tcp.ts';
import { keepsOther, lastsOneWay, noteAnswer } from './udp.ts';

const ESTABLISH_WINDOW = 65536; // the first ACK may also cover data that came with the SYN-ACK (RFC 7413)

/** Whether the client's packet completes a pending flow; the record is that of the answer's entry. */
export function completes(packet: Packet, record: FlowRecord): boolean {
  if ((record.state & FLOW_DATAGRAM) !== 0) return (record.state & FLOW_ANSWERED) !== 0;
  return (
    (packet.flags & (TCP_SYN | TCP_RST | TCP_ACK)) === TCP_ACK &&
    flowNoted(record) &&
    (packet.acknowledgement - (record.note + 1)) >>> 0 < ESTABLISH_WINDOW
  );
}

/** Completes both entries; `set`: FLOW_EXCESS or nothing. */
export function establish(log: Log, maps: Maps, key: Uint32Array, reply: Uint32Array, set: number, now: number): void {
  mark(log, MARK_ESTABLISH);
  flowChange(log, maps, reply, FLOW_PROMOTE | set, 0, now);
  flowChange(log, maps, key, FLOW_PROMOTE | set, 0, now);
}

/**
 * A flow that is pending, or whose answers may be rare: the answer's entry is made again where it is gone, and
 * refreshed; a TCP flow is completed by the client's ACK of the backend's initial sequence number, so a flood of SYNs
 * completes none. REASON_KNOWN_FLOW, or why the packet can't go on: its answer could not come back.
 */
export function advance(log: Log, maps: Maps, packet: Packet, decision: Decision, now: number): number {
  const { record, other: reply } = decision;
  const { servicePort, state } = record;
  const pending = (state & FLOW_LIFE) === FLOW_PENDING;
  const lasts = pending && (state & FLOW_DATAGRAM) !== 0 && lastsOneWay(log, maps, record, now);
  record.keepBucket = record.bucket;
  record.keepSlot = record.slot;
  if (!flowLookup(log, maps, reply, record, 0, now)) {
    mark(log, MARK_FORWARD_HEAL);
    natTurn(record.translation, packet.key, DIRECTION_REPLY);
    record.state = state & (FLOW_LIFE | FLOW_DATAGRAM | FLOW_EXCESS);
    if (flowInsert(log, maps, reply, record, now, FLOW_IF_ABSENT) === FLOW_REFUSED) return REASON_FLOWS_FULL;
    return REASON_KNOWN_FLOW;
  }
  if (!natAnswers(record.translation, packet.key)) {
    mark(log, MARK_FORWARD_TAKEN);
    return REASON_TUPLE_TAKEN;
  }
  if (!pending) {
    mark(log, MARK_OTHER_KEPT);
    flowChange(log, maps, reply, 0, 0, now);
  } else if (completes(packet, record)) {
    establish(log, maps, packet.key, reply, flowShare(log, maps, packet.key, servicePort, now), now);
  } else if (lasts) {
    mark(log, MARK_ONE_WAY);
    establish(log, maps, packet.key, reply, FLOW_EXCESS, now);
  }
  return REASON_KNOWN_FLOW;
}

/**
 * Whether the address of the flow's backend is another pod's now. Its row is seldom in the cache: asked once a tick, and
 * again once it was so.
 */
export function isReused(maps: Maps, record: FlowRecord, now: number): boolean {
  if (record.seen === now && (record.state & FLOW_RESET) === 0) return false;
  const live = maps.backends[record.backend * BACKEND_WORDS + LIVE];
  return (
    live !== undefined &&
    (live & BACKEND_STATE) === BACKEND_REUSED &&
    live >>> BACKEND_GENERATION_SHIFT === record.generation
  );
}

export function forwardKnown(log: Log, maps: Maps, packet: Packet, decision: Decision, now: number): number {
  const { record, other: reply } = decision;
  const state = record.state;
  const keepsReply = keepsOther(record, now);
  mark(log, MARK_FORWARD_KNOWN);
  if (isReused(maps, record, now)) {
    mark(log, MARK_BACKEND_REUSED);
    natTurn(reply, record.translation, DIRECTION_REPLY);
    noteFlags(log, maps, packet.key, reply, state, TCP_RST, now);
    return decided(decision, VERDICT_REFUSE, REASON_BACKEND_REUSED);
  }
  if (steady(state, packet.flags) && !keepsReply) {
    mark(log, MARK_STEADY);
    return decided(decision, VERDICT_FORWARD, knownReason(record));
  }
  natTurn(reply, record.translation, DIRECTION_REPLY);
  if ((state & FLOW_LIFE) === FLOW_PENDING || keepsReply) {
    const { servicePort, backend } = record;
    const reason = advance(log, maps, packet, decision, now);
    natTurn(record.translation, reply, DIRECTION_FORWARD);
    record.servicePort = servicePort;
    record.backend = backend;
    if (reason !== REASON_KNOWN_FLOW) return decided(decision, VERDICT_DROP, reason);
  }
  if ((state & FLOW_DATAGRAM) === 0) noteFlags(log, maps, packet.key, reply, state, packet.flags, now);
  return decided(decision, VERDICT_FORWARD, knownReason(record));
}

/** An answer in a flow's reply direction. */
export function replyKnown(log: Log, maps: Maps, packet: Packet, decision: Decision, now: number): number {
  const { record, other: forward } = decision;
  const state = record.state;
  const keepsForward = keepsOther(record, now);
  mark(log, MARK_REPLY_KNOWN);
  if (isDirect(packet.key, record)) return directReply(log, maps, packet, decision, now);
  if ((packet.flags & (TCP_SYN | TCP_ACK)) === (TCP_SYN | TCP_ACK) && (state & FLOW_LIFE) === FLOW_PENDING) {
    mark(log, MARK_REPLY_SYN_ACK);
    flowNote(log, maps, record, packet.sequence, 0);
  }
  if (steady(state, packet.flags) && !keepsForward) {
    mark(log, MARK_STEADY);
    return decided(decision, VERDICT_REPLY, replyReason(record));
  }
  natTurn(forward, record.translation, DIRECTION_FORWARD);
  if ((state & FLOW_DATAGRAM) === 0) {
    noteFlags(log, maps, packet.key, forward, state, packet.flags, now);
  } else {
    noteAnswer(log, maps, packet.key, state, now);
    if (keepsForward) flowChange(log, maps, forward, 0, 0, now);
  }
  return decided(decision, VERDICT_REPLY, replyReason(record));
}

function turnedTo(packet: Packet, direction: number): void {
  packet.key[KEY_PROTOCOL] = (packet.key[KEY_PROTOCOL]! & 0xff) | (direction << 8);
}

/** An ICMP error: translated with the flow that it quotes, which it does not refresh. */
export function related(
  log: Log,
  maps: Maps,
  packet: Packet,
  decision: Decision,
  direction: number,
  now: number,
): number {
  turnedTo(packet, direction);
  if (!flowLookup(log, maps, packet.key, decision.record, 0, now) || isDirect(packet.key, decision.record)) {
    mark(log, MARK_UNRELATED);
    return notOurs(decision);
  }
  mark(log, MARK_RELATED);
  return decided(decision, direction === DIRECTION_FORWARD ? VERDICT_FORWARD : VERDICT_REPLY, REASON_RELATED);
}

/** A fragment without ports. */
export function laterFragment(
  log: Log,
  maps: Maps,
  packet: Packet,
  decision: Decision,
  direction: number,
  now: number,
): number {
  const { record, other, wanted } = decision;
  if (findFragment(log, maps, packet, other, record, direction, now))
    return decided(decision, direction === DIRECTION_FORWARD ? VERDICT_FORWARD : VERDICT_REPLY, REASON_FRAGMENTED);
  for (let i = 0; i < 4; i++) wanted[i] = packet.key[KEY_DESTINATION + i]!;
  wanted[4] = 0;
  if (direction === DIRECTION_REPLY || lookupFrontend(log, maps, wanted) < 0) return notOurs(decision);
  mark(log, MARK_FRAGMENT_MISSING);
  return decided(decision, VERDICT_DROP, REASON_FIRST_MISSING);
}

/** Whether the packet goes to the address from which pods hear themselves. */
export function toHairpin(maps: Maps, packet: Packet): boolean {
  return sameAddress(packet.key, KEY_DESTINATION, maps.hairpinSource, isMapped(packet.key, KEY_DESTINATION) ? 0 : 4);
}

/** A packet of a backend to its client. */
export function fromBackend(log: Log, maps: Maps, packet: Packet, decision: Decision, now: number): number {
  if (packet.kind === PACKET_ERROR) return related(log, maps, packet, decision, DIRECTION_REPLY, now);
  if (packet.kind === PACKET_LATER) return laterFragment(log, maps, packet, decision, DIRECTION_REPLY, now);
  turnedTo(packet, DIRECTION_REPLY);
  if (!flowLookup(log, maps, packet.key, decision.record, packet.length, now)) return notOurs(decision);
  return replyKnown(log, maps, packet, decision, now);
}

export function fromPod(log: Log, maps: Maps, packet: Packet, decision: Decision, outside: Outside): number {
  const { record } = decision;
  const { now } = outside;
  if (packet.kind === PACKET_ERROR) return related(log, maps, packet, decision, DIRECTION_FORWARD, now);
  if (packet.kind === PACKET_LATER) return laterFragment(log, maps, packet, decision, DIRECTION_FORWARD, now);
  let how = FLOW_IF_ABSENT;
  if (flowLookup(log, maps, packet.key, record, packet.length, now)) {
    const opens = packetOpening(packet) === TCP_OPENS;
    if (!opens || (!flowClosing(record.state) && stillServed(log, maps, packet, decision))) {
      const verdict = forwardKnown(log, maps, packet, decision, now);
      if (!opens || decision.reason !== REASON_TUPLE_TAKEN) return verdict;
    }
    mark(log, MARK_FORWARD_RESELECT);
    how = FLOW_REPLACE;
  }
  return forwardNew(log, maps, packet, decision, outside, how);
}

/**
 * A packet that comes from a pod. `decision.record.translation` is what it becomes where the verdict is forward, or
 * reply (to itself).
 */
export function decideFromPod(log: Log, maps: Maps, packet: Packet, outside: Outside, decision: Decision): number {
  const { now } = outside;
  const hairpin = toHairpin(maps, packet);
  if (!hairpin && !maybeService(maps, packet)) {
    mark(log, MARK_CERTAINLY_NOT);
    return notOurs(decision);
  }
  const verdict = hairpin
    ? fromBackend(log, maps, packet, decision, now)
    : fromPod(log, maps, packet, decision, outside);
  if (hairpin && verdict === VERDICT_REPLY) mark(log, MARK_HAIRPIN_REPLY);
  if (packet.kind === PACKET_FIRST && (verdict === VERDICT_FORWARD || verdict === VERDICT_REPLY)) {
    const direction = hairpin ? DIRECTION_REPLY : DIRECTION_FORWARD;
    keepFragment(log, maps, packet, decision.other, decision.record, direction, now);
  }
  return verdict;
}

/** A packet that goes to a pod. `decision.record.translation` is what it becomes where the verdict is reply. */
export function decideToPod(log: Log, maps: Maps, packet: Packet, outside: Outside, decision: Decision): number {
  const { now } = outside;
  if (packet.kind !== PACKET_LATER && !maybeBackend(maps, packet)) {
    mark(log, MARK_CERTAINLY_NOT);
    return notOurs(decision);
  }
  const verdict = fromBackend(log, maps, packet, decision, now);
  if (packet.kind === PACKET_FIRST && verdict === VERDICT_REPLY)
    keepFragment(log, maps, packet, decision.other, decision.record, DIRECTION_REPLY, now);
  return verdict;
}
