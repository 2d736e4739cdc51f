// SPDX-License-Identifier: Apache-2.0
/**
 * From a parsed packet and the flow table to a verdict; twin of bpf/conntrack.h. A connection has one entry per
 * direction: the answer's is made first, so that nothing is forwarded whose answer can't come back.
 */
import {
  BACKEND_GENERATION_SHIFT,
  DIRECTION_FORWARD,
  DIRECTION_REPLY,
  FLOW_LIFE,
  FLOW_PENDING,
  FRONTEND_WHOLE_ADDRESS,
  MARK_CERTAINLY_NOT,
  MARK_DIRECT_ENDS,
  MARK_DIRECT_TAKEN,
  MARK_EMPTY_DROP,
  MARK_EMPTY_REFUSE,
  MARK_ESTABLISH,
  MARK_FORWARD_ADOPT,
  MARK_FORWARD_FLAGS,
  MARK_FORWARD_HEAL,
  MARK_FORWARD_KNOWN,
  MARK_FORWARD_NEW,
  MARK_FORWARD_REPLACE,
  MARK_FORWARD_RESELECT,
  MARK_FORWARD_STATELESS,
  MARK_FORWARD_TAKEN,
  MARK_HAIRPIN,
  MARK_MARTIAN,
  MARK_REPLY_KNOWN,
  MARK_REPLY_SYN_ACK,
  MARK_STEADY,
  REASON_FLOWS_FULL,
  REASON_HAIRPIN,
  REASON_KNOWN_FLOW,
  REASON_MAPS_DISAGREE,
  REASON_MARTIAN,
  REASON_NEW_FLOW,
  REASON_NO_ENDPOINTS,
  REASON_NO_LOCAL_ENDPOINTS,
  REASON_NOT_SERVICE,
  REASON_REPLY,
  REASON_STATELESS,
  REASON_TCP_FLAGS,
  REASON_TUPLE_TAKEN,
  REASON_UNKNOWN_PORT,
  SERVICE_DROP_WHEN_INTERNAL_EMPTY,
  SERVICE_FLAGS_AT,
  SERVICE_KIND_AT,
  SERVICE_NAME_HASH_AT,
  SERVICE_SERVICE_PORT_AT,
  VERDICT_DROP,
  VERDICT_FORWARD,
  VERDICT_PASS,
  VERDICT_REFUSE,
  VERDICT_REPLY,
  VIEW_COUNT_AT,
  VIEW_INTERNAL,
} from '../layout.gen.ts';
import { maybeBackend, maybeService } from './classify.ts';
import {
  createRecord,
  flowChange,
  flowClosing,
  flowInsert,
  flowLookup,
  flowNoteIsn,
  FLOW_ALL,
  FLOW_EXISTS,
  FLOW_IF_ABSENT,
  FLOW_KEEP_NONE,
  FLOW_PROMOTE,
  FLOW_REFUSED,
  FLOW_REPLACE,
  type FlowRecord,
} from './flows.ts';
import { mark, type Log } from './log.ts';
import { lookupFrontend } from './lookup.ts';
import type { Maps } from './maps.ts';
import { natAnswers, natForward, natForwardKey, natReply, natReplyKey, sameAddress } from './nat.ts';
import {
  isMapped,
  KEY_DESTINATION,
  KEY_PORTS,
  KEY_PROTOCOL,
  KEY_SOURCE,
  KEY_WORDS,
  TCP_ACK,
  TCP_RST,
  TCP_SYN,
  type Packet,
} from './parse.ts';
import { BACKEND_WORDS, backendServes, LIVE, selectBackend, SELECT_PACKET, SELECT_WORDS, viewOf } from './select.ts';
import { noteFlags, steady, tcpKind, TCP_ODD, TCP_OPENS, TCP_RESETS } from './tcp.ts';
import { swap16, swap32 } from './words.ts';

const ESTABLISH_WINDOW = 65536; // the first ACK may also cover data that came with the SYN-ACK (RFC 7413)

/** What is decided about one packet; reused. The rest is scratch of the decision. */
export type Decision = {
  readonly record: FlowRecord;
  reason: number;
  readonly otherKey: Uint32Array;
  readonly wanted: Uint32Array;
  readonly input: Uint32Array;
};

export function createDecision(): Decision {
  return {
    record: createRecord(),
    reason: 0,
    otherKey: new Uint32Array(KEY_WORDS),
    wanted: new Uint32Array(5),
    input: new Uint32Array(SELECT_WORDS),
  };
}

/** Sources that can't be on a wire (RFC 1122 3.2.1.3, RFC 4291 2.5), and a packet from an address to itself. */
export function martian(key: Uint32Array): boolean {
  const first = swap32(key[KEY_SOURCE]!);
  const last = swap32(key[KEY_SOURCE + 3]!);
  if (sameAddress(key, KEY_SOURCE, key, KEY_DESTINATION)) return true;
  if (isMapped(key, KEY_SOURCE)) return last >>> 24 === 0 || last >>> 24 === 127 || last >>> 24 >= 224;
  return first >>> 24 === 0xff || ((key[KEY_SOURCE]! | key[KEY_SOURCE + 1]! | key[KEY_SOURCE + 2]!) === 0 && last <= 1);
}

export function decided(decision: Decision, verdict: number, reason: number): number {
  decision.reason = reason;
  return verdict;
}

/** Whether the backend of a flow may still get new connections. */
export function stillServed(maps: Maps, record: FlowRecord): boolean {
  const live = maps.backends[record.backend * BACKEND_WORDS + LIVE];
  return (
    live !== undefined && live >>> BACKEND_GENERATION_SHIFT === record.generation && backendServes(live, VIEW_INTERNAL)
  );
}

/** The client's side of a record that held the answer's: one record serves both. */
export function turnToForward(record: FlowRecord, packet: Packet, replyKey: Uint32Array): void {
  const { translation } = record;
  for (let i = 0; i < 4; i++) translation[KEY_SOURCE + i] = packet.key[KEY_SOURCE + i]!;
  for (let i = 0; i < 4; i++) translation[KEY_DESTINATION + i] = replyKey[KEY_SOURCE + i]!;
  translation[KEY_PORTS] = (packet.key[KEY_PORTS]! & 0xffff) | (replyKey[KEY_PORTS]! << 16);
  translation[KEY_PROTOCOL] = packet.key[KEY_PROTOCOL]!;
}

/**
 * A pending flow: its answer's entry is made again where it was recycled, and the client's ACK of the backend's
 * initial sequence number completes both. Nothing else does, so a flood of SYNs completes none. REASON_KNOWN_FLOW, or
 * why the packet can't go on: its answer could not come back.
 */
export function advance(
  log: Log,
  maps: Maps,
  packet: Packet,
  record: FlowRecord,
  replyKey: Uint32Array,
  now: number,
): number {
  record.keepBucket = record.bucket;
  record.keepSlot = record.slot;
  if (!flowLookup(log, maps, replyKey, record, 0, now)) {
    mark(log, MARK_FORWARD_HEAL);
    natReply(record.translation, packet.key);
    record.state = FLOW_PENDING;
    if (flowInsert(log, maps, replyKey, record, now, FLOW_IF_ABSENT) === FLOW_REFUSED) return REASON_FLOWS_FULL;
    return REASON_KNOWN_FLOW;
  }
  if (!natAnswers(record.translation, packet.key)) {
    mark(log, MARK_FORWARD_TAKEN);
    return REASON_TUPLE_TAKEN;
  }
  if (
    (packet.flags & (TCP_SYN | TCP_RST | TCP_ACK)) !== TCP_ACK ||
    record.isnVersion !== record.version ||
    (packet.acknowledgement - (record.isn + 1)) >>> 0 >= ESTABLISH_WINDOW
  )
    return REASON_KNOWN_FLOW;
  mark(log, MARK_ESTABLISH);
  flowChange(log, maps, replyKey, FLOW_PROMOTE, 0, now);
  flowChange(log, maps, packet.key, FLOW_PROMOTE, 0, now);
  return REASON_KNOWN_FLOW;
}

export function forwardKnown(log: Log, maps: Maps, packet: Packet, decision: Decision, now: number): number {
  const { record, otherKey: replyKey } = decision;
  const state = record.state;
  mark(log, MARK_FORWARD_KNOWN);
  if (steady(state, packet.flags)) {
    mark(log, MARK_STEADY);
    return decided(decision, VERDICT_FORWARD, REASON_KNOWN_FLOW);
  }
  natReplyKey(replyKey, record.translation);
  if ((state & FLOW_LIFE) === FLOW_PENDING) {
    const { servicePort, backend } = record;
    const reason = advance(log, maps, packet, record, replyKey, now);
    turnToForward(record, packet, replyKey);
    record.servicePort = servicePort;
    record.backend = backend;
    if (reason !== REASON_KNOWN_FLOW) return decided(decision, VERDICT_DROP, reason);
  }
  noteFlags(log, maps, packet.key, replyKey, state, packet.flags, now);
  return decided(decision, VERDICT_FORWARD, REASON_KNOWN_FLOW);
}

/**
 * Both entries of a new connection, the answer's first. Where its key is taken: by this connection itself, it is
 * adopted, or written over where the connection is opened anew; by one that is over, it gives way; by another that
 * lives, that one stays.
 */
export function create(log: Log, maps: Maps, packet: Packet, decision: Decision, now: number, how: number): number {
  const { record, otherKey: replyKey } = decision;
  const { servicePort, backend, generation } = record;
  natReplyKey(replyKey, record.translation);
  natReply(record.translation, packet.key);
  record.keepBucket = FLOW_KEEP_NONE;
  let result = flowInsert(log, maps, replyKey, record, now, FLOW_IF_ABSENT);
  if (result === FLOW_EXISTS) {
    const ours = natAnswers(record.translation, packet.key);
    if (ours && how === FLOW_IF_ABSENT) {
      mark(log, MARK_FORWARD_ADOPT);
      record.state &= FLOW_LIFE;
    } else if (!ours && !flowClosing(record.state)) {
      mark(log, MARK_FORWARD_TAKEN);
      record.servicePort = servicePort;
      return decided(decision, VERDICT_DROP, REASON_TUPLE_TAKEN);
    } else {
      mark(log, MARK_FORWARD_REPLACE);
      natReply(record.translation, packet.key);
      record.servicePort = servicePort;
      record.backend = backend;
      record.generation = generation;
      record.state = FLOW_PENDING;
      result = flowInsert(log, maps, replyKey, record, now, FLOW_REPLACE);
    }
  }
  if (result === FLOW_REFUSED) return decided(decision, VERDICT_DROP, REASON_FLOWS_FULL);
  turnToForward(record, packet, replyKey);
  record.keepBucket = record.bucket;
  record.keepSlot = record.slot;
  if (flowInsert(log, maps, packet.key, record, now, how) === FLOW_REFUSED)
    return decided(decision, VERDICT_DROP, REASON_FLOWS_FULL);
  mark(log, MARK_FORWARD_NEW);
  return decided(decision, VERDICT_FORWARD, REASON_NEW_FLOW);
}

/** The backend of a packet that belongs to no flow, or that opens one anew. */
export function choose(log: Log, maps: Maps, packet: Packet, decision: Decision, service: number): number {
  const { record, input } = decision;
  const key = packet.key;
  for (let i = 0; i < 4; i++) input[i] = key[KEY_SOURCE + i]!;
  input[4] = swap16(key[KEY_PORTS]! & 0xffff) | ((key[KEY_PROTOCOL]! & 0xff) << 16);
  input[5] = maps.services[service + SERVICE_NAME_HASH_AT / 4]!;
  input[6] = maps.services[service + SERVICE_NAME_HASH_AT / 4 + 1]!;
  input[7] = SELECT_PACKET;
  const id = selectBackend(log, maps, service, VIEW_INTERNAL, input);
  if (id < 0) return decided(decision, VERDICT_DROP, REASON_MAPS_DISAGREE);
  const backend = id * BACKEND_WORDS;
  if (sameAddress(maps.backends, backend, key, KEY_SOURCE)) {
    mark(log, MARK_HAIRPIN);
    return decided(decision, VERDICT_DROP, REASON_HAIRPIN);
  }
  natForward(record.translation, key, maps, backend);
  record.backend = id;
  record.generation = maps.backends[backend + LIVE]! >>> BACKEND_GENERATION_SHIFT;
  record.state = FLOW_PENDING;
  return VERDICT_FORWARD;
}

/**
 * A connection that is opened to something known that is no Service, a backend itself. Answers to it would be taken for
 * those of a flow with the same tuple: one that is over is ended, one that lives keeps its tuple.
 */
export function openDirect(log: Log, maps: Maps, packet: Packet, decision: Decision, now: number): number {
  const { record, otherKey: replyKey } = decision;
  natReplyKey(replyKey, packet.key);
  if (!flowLookup(log, maps, replyKey, record, 0, now)) {
    record.servicePort = 0;
    record.backend = 0;
    return decided(decision, VERDICT_PASS, REASON_NOT_SERVICE);
  }
  if (!flowClosing(record.state)) {
    mark(log, MARK_DIRECT_TAKEN);
    return decided(decision, VERDICT_DROP, REASON_TUPLE_TAKEN);
  }
  mark(log, MARK_DIRECT_ENDS);
  flowChange(log, maps, replyKey, 0, FLOW_ALL, now);
  natForwardKey(replyKey, record.translation);
  flowChange(log, maps, replyKey, 0, FLOW_ALL, now);
  record.servicePort = 0;
  record.backend = 0;
  return decided(decision, VERDICT_PASS, REASON_NOT_SERVICE);
}

export function forwardNew(log: Log, maps: Maps, packet: Packet, decision: Decision, now: number, how: number): number {
  const { record, wanted } = decision;
  for (let i = 0; i < 4; i++) wanted[i] = packet.key[KEY_DESTINATION + i]!;
  wanted[4] = (packet.key[KEY_PORTS]! >>> 16) | ((packet.key[KEY_PROTOCOL]! & 0xff) << 16);
  const service = lookupFrontend(log, maps, wanted);
  if (service < 0 && tcpKind(packet.flags) === TCP_OPENS) return openDirect(log, maps, packet, decision, now);
  if (service < 0) return decided(decision, VERDICT_PASS, REASON_NOT_SERVICE);
  record.servicePort = maps.services[service + SERVICE_SERVICE_PORT_AT / 4]!;
  if (martian(packet.key)) {
    mark(log, MARK_MARTIAN);
    return decided(decision, VERDICT_PASS, REASON_MARTIAN);
  }
  const kind = tcpKind(packet.flags);
  if (kind === TCP_ODD) {
    mark(log, MARK_FORWARD_FLAGS);
    return decided(decision, VERDICT_DROP, REASON_TCP_FLAGS);
  }
  if (maps.services[service + SERVICE_KIND_AT / 4] === FRONTEND_WHOLE_ADDRESS)
    return decided(decision, VERDICT_REFUSE, REASON_UNKNOWN_PORT);
  if (maps.services[viewOf(service, VIEW_INTERNAL) + VIEW_COUNT_AT / 4] === 0) {
    if ((maps.services[service + SERVICE_FLAGS_AT / 4]! & SERVICE_DROP_WHEN_INTERNAL_EMPTY) !== 0) {
      mark(log, MARK_EMPTY_DROP);
      return decided(decision, VERDICT_DROP, REASON_NO_LOCAL_ENDPOINTS);
    }
    mark(log, MARK_EMPTY_REFUSE);
    return decided(decision, VERDICT_REFUSE, REASON_NO_ENDPOINTS);
  }
  const verdict = choose(log, maps, packet, decision, service);
  if (verdict !== VERDICT_FORWARD) return verdict;
  if (kind === TCP_RESETS) {
    mark(log, MARK_FORWARD_STATELESS);
    return decided(decision, VERDICT_FORWARD, REASON_STATELESS);
  }
  return create(log, maps, packet, decision, now, how);
}

/** A packet that comes from a pod. `decision.record.translation` is what it becomes where the verdict is forward. */
export function decideFromPod(log: Log, maps: Maps, packet: Packet, now: number, decision: Decision): number {
  const { record } = decision;
  if (!maybeService(maps, packet)) {
    mark(log, MARK_CERTAINLY_NOT);
    return decided(decision, VERDICT_PASS, REASON_NOT_SERVICE);
  }
  packet.key[KEY_PROTOCOL] = (packet.key[KEY_PROTOCOL]! & 0xff) | (DIRECTION_FORWARD << 8);
  let how = FLOW_IF_ABSENT;
  if (flowLookup(log, maps, packet.key, record, packet.length, now)) {
    if (tcpKind(packet.flags) !== TCP_OPENS || (!flowClosing(record.state) && stillServed(maps, record)))
      return forwardKnown(log, maps, packet, decision, now);
    mark(log, MARK_FORWARD_RESELECT);
    how = FLOW_REPLACE;
  }
  return forwardNew(log, maps, packet, decision, now, how);
}

/** A packet that goes to a pod. `decision.record.translation` is what it becomes where the verdict is reply. */
export function decideToPod(log: Log, maps: Maps, packet: Packet, now: number, decision: Decision): number {
  const { record, otherKey: forwardKey } = decision;
  if (!maybeBackend(maps, packet)) {
    mark(log, MARK_CERTAINLY_NOT);
    return decided(decision, VERDICT_PASS, REASON_NOT_SERVICE);
  }
  packet.key[KEY_PROTOCOL] = (packet.key[KEY_PROTOCOL]! & 0xff) | (DIRECTION_REPLY << 8);
  if (!flowLookup(log, maps, packet.key, record, packet.length, now))
    return decided(decision, VERDICT_PASS, REASON_NOT_SERVICE);
  mark(log, MARK_REPLY_KNOWN);
  if ((packet.flags & (TCP_SYN | TCP_ACK)) === (TCP_SYN | TCP_ACK) && (record.state & FLOW_LIFE) === FLOW_PENDING) {
    mark(log, MARK_REPLY_SYN_ACK);
    flowNoteIsn(log, maps, record, packet.sequence);
  }
  if (steady(record.state, packet.flags)) {
    mark(log, MARK_STEADY);
    return decided(decision, VERDICT_REPLY, REASON_REPLY);
  }
  natForwardKey(forwardKey, record.translation);
  noteFlags(log, maps, packet.key, forwardKey, record.state, packet.flags, now);
  return decided(decision, VERDICT_REPLY, REASON_REPLY);
}
