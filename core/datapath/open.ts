// SPDX-License-Identifier: Apache-2.0
/**
 * Packets that open a flow, or belong to none; twin of bpf/open.h. A flow has one entry per direction: the answer's is
 * made first, so that nothing is forwarded whose answer can't come back, and under a source port of its own where
 * another flow's answers look the same.
 */
import {
  BACKEND_GENERATION_SHIFT,
  DIRECTION_FORWARD,
  DIRECTION_REPLY,
  FLOW_DATAGRAM,
  FLOW_EXCESS,
  FLOW_LIFE,
  FLOW_PENDING,
  FRONTEND_WHOLE_ADDRESS,
  MARK_DIRECT_ASIDE,
  MARK_DIRECT_ENDS,
  MARK_DIRECT_KNOWN,
  MARK_DIRECT_NEW,
  MARK_DIRECT_REPLY,
  MARK_DIRECT_TAKEN,
  MARK_EMPTY_DROP,
  MARK_EMPTY_REFUSE,
  MARK_FORWARD_ADOPT,
  MARK_FORWARD_FLAGS,
  MARK_FORWARD_NEW,
  MARK_FORWARD_REPLACE,
  MARK_FORWARD_STATELESS,
  MARK_HAIRPIN,
  MARK_MARTIAN,
  MARK_PORT_REPLACED,
  MARK_PORTS_TAKEN,
  MARK_UNALLOCATED,
  PORT_TRIES,
  REASON_DIRECT,
  REASON_FLOWS_FULL,
  REASON_HAIRPIN,
  REASON_MAPS_DISAGREE,
  REASON_MARTIAN,
  REASON_NEW_FLOW,
  REASON_NO_ENDPOINTS,
  REASON_NO_LOCAL_ENDPOINTS,
  REASON_STATELESS,
  REASON_TCP_FLAGS,
  REASON_TUPLE_TAKEN,
  REASON_UNALLOCATED,
  REASON_UNKNOWN_PORT,
  SERVICE_AFFINITY_SECONDS_AT,
  SERVICE_DROP_WHEN_INTERNAL_EMPTY,
  SERVICE_FLAGS_AT,
  SERVICE_KIND_AT,
  SERVICE_NAME_HASH_AT,
  SERVICE_SERVICE_PORT_AT,
  VERDICT_DROP,
  VERDICT_FORWARD,
  VERDICT_PASS,
  VERDICT_REFUSE,
  VIEW_COUNT_AT,
  VIEW_INTERNAL,
} from '../layout.gen.ts';
import type { Outside } from '../twin.ts';
import { affinityFind, affinityKeep } from './affinity.ts';
import { inServiceRange } from './classify.ts';
import {
  flowChange,
  flowClosing,
  flowHash,
  flowInsert,
  flowLookup,
  FLOW_ALL,
  FLOW_EXISTS,
  FLOW_IF_ABSENT,
  FLOW_INSERTED,
  FLOW_KEEP_NONE,
  FLOW_PROMOTE,
  FLOW_REFUSED,
  FLOW_REPLACE,
  type FlowRecord,
} from './flows.ts';
import { mark, type Log } from './log.ts';
import { lookupFrontend } from './lookup.ts';
import type { Maps } from './maps.ts';
import { natAnswers, natForward, natPort, natTurn, sameAddress } from './nat.ts';
import {
  KEY_DESTINATION,
  KEY_PORTS,
  KEY_SOURCE,
  PROTOCOL_UDP,
  TCP_ACK,
  TCP_FIN,
  TCP_RST,
  TCP_SYN,
  type Packet,
} from './packet.ts';
import {
  BACKEND_WORDS,
  backendLives,
  backendServes,
  LIVE,
  selectBackend,
  selectInputClient,
  SELECT_PACKET,
  viewOf,
} from './select.ts';
import { TCP_ODD, TCP_OPENS, TCP_RESETS } from './tcp.ts';
import { swap16 } from './words.ts';
import { type Decision, decided, notOurs, protocolOf, packetOpening, martian, firstState } from './decision.ts';

/** Whether an answer's entry only keeps the tuple of a connection that is not translated. */
export function isDirect(key: Uint32Array, record: FlowRecord): boolean {
  return record.servicePort === 0 && key.every((word, at) => word === record.translation[at]);
}

/** An answer to a connection that is not translated: its tuple is kept until one side ends it. */
export function directReply(log: Log, maps: Maps, packet: Packet, decision: Decision, now: number): number {
  const pending = (decision.record.state & FLOW_LIFE) === FLOW_PENDING;
  mark(log, MARK_DIRECT_REPLY);
  if ((packet.flags & (TCP_FIN | TCP_RST)) !== 0) flowChange(log, maps, packet.key, 0, FLOW_ALL, now);
  else if (pending && (packet.flags & (TCP_SYN | TCP_ACK)) === TCP_ACK)
    flowChange(log, maps, packet.key, FLOW_PROMOTE | FLOW_EXCESS, 0, now);
  return notOurs(decision);
}

/** The row of the Service that a packet is for, in words; -1: none. */
export function frontendOf(log: Log, maps: Maps, packet: Packet, decision: Decision): number {
  const { wanted } = decision;
  for (let i = 0; i < 4; i++) wanted[i] = packet.key[KEY_DESTINATION + i]!;
  wanted[4] = (packet.key[KEY_PORTS]! >>> 16) | (protocolOf(packet) << 16);
  return lookupFrontend(log, maps, wanted);
}

/**
 * Whether an opening packet may go on with the flow that is there: its backend still gets new connections of the
 * Service port that the address belongs to; a conversation of datagrams goes on for as long as its backend serves.
 */
export function stillServed(log: Log, maps: Maps, packet: Packet, decision: Decision): boolean {
  const { record } = decision;
  const live = maps.backends[record.backend * BACKEND_WORDS + LIVE];
  if (record.servicePort === 0) return true;
  if (
    live === undefined ||
    live >>> BACKEND_GENERATION_SHIFT !== record.generation ||
    !((record.state & FLOW_DATAGRAM) !== 0 ? backendLives(live) : backendServes(live, VIEW_INTERNAL))
  )
    return false;
  const service = frontendOf(log, maps, packet, decision);
  return service >= 0 && maps.services[service + SERVICE_SERVICE_PORT_AT / 4] === record.servicePort;
}

/**
 * The answer's entry of a new flow, whose key is in `decision.other`; the record says what it holds. Where the key is
 * taken: by this connection itself, it is adopted, or written over where the connection is opened anew; by one that is
 * over, it gives way; by another that lives, FLOW_EXISTS.
 */
export function openReply(log: Log, maps: Maps, packet: Packet, decision: Decision, now: number, how: number): number {
  const { record, other: reply } = decision;
  const { servicePort, backend, generation } = record;
  const result = flowInsert(log, maps, reply, record, now, FLOW_IF_ABSENT);
  if (result !== FLOW_EXISTS) return result;
  const ours = natAnswers(record.translation, packet.key);
  if (ours && how === FLOW_IF_ABSENT) {
    mark(log, MARK_FORWARD_ADOPT);
    record.state &= FLOW_LIFE | FLOW_DATAGRAM | FLOW_EXCESS;
    return FLOW_INSERTED;
  }
  const replace = ours || flowClosing(record.state);
  natTurn(record.translation, packet.key, DIRECTION_REPLY);
  record.servicePort = servicePort;
  record.backend = backend;
  record.generation = generation;
  record.state = firstState(packet);
  if (!replace) return FLOW_EXISTS;
  mark(log, MARK_FORWARD_REPLACE);
  return flowInsert(log, maps, reply, record, now, FLOW_REPLACE);
}

/** Both entries of a new flow; `firstAttempt` 1: its own source port is known to be taken. */
export function create(
  log: Log,
  maps: Maps,
  packet: Packet,
  decision: Decision,
  now: number,
  how: number,
  firstAttempt: number,
): number {
  const { record, other: reply } = decision;
  let result = FLOW_EXISTS;
  natTurn(reply, record.translation, DIRECTION_REPLY);
  natTurn(record.translation, packet.key, DIRECTION_REPLY);
  record.keepBucket = FLOW_KEEP_NONE;
  const spread = flowHash(maps, reply).second;
  for (let attempt = firstAttempt; attempt <= PORT_TRIES; attempt++) {
    if (attempt > 0) {
      mark(log, MARK_PORT_REPLACED);
      reply[KEY_PORTS] = (reply[KEY_PORTS]! & 0xffff) | (natPort(maps, spread, attempt) << 16);
    }
    result = openReply(log, maps, packet, decision, now, how);
    if (result !== FLOW_EXISTS) break;
  }
  if (result === FLOW_EXISTS) {
    mark(log, MARK_PORTS_TAKEN);
    return decided(decision, VERDICT_DROP, REASON_TUPLE_TAKEN);
  }
  if (result === FLOW_REFUSED) return decided(decision, VERDICT_DROP, REASON_FLOWS_FULL);
  natTurn(record.translation, reply, DIRECTION_FORWARD);
  record.keepBucket = record.bucket;
  record.keepSlot = record.slot;
  if (flowInsert(log, maps, packet.key, record, now, how) === FLOW_REFUSED)
    return decided(decision, VERDICT_DROP, REASON_FLOWS_FULL);
  mark(log, MARK_FORWARD_NEW);
  return decided(decision, VERDICT_FORWARD, record.servicePort !== 0 ? REASON_NEW_FLOW : REASON_DIRECT);
}

/** The backend that the client had, or the one of the pure choice; -1: none. */
export function backendOf(
  log: Log,
  maps: Maps,
  packet: Packet,
  decision: Decision,
  service: number,
  now: number,
): number {
  const { input } = decision;
  const { key } = packet;
  if (maps.services[service + SERVICE_AFFINITY_SECONDS_AT / 4] === 0) {
    for (let i = 0; i < 4; i++) input[i] = key[KEY_SOURCE + i]!;
    input[4] = swap16(key[KEY_PORTS]! & 0xffff) | (protocolOf(packet) << 16);
    input[5] = maps.services[service + SERVICE_NAME_HASH_AT / 4]!;
    input[6] = maps.services[service + SERVICE_NAME_HASH_AT / 4 + 1]!;
    input[7] = SELECT_PACKET;
    return selectBackend(log, maps, service, VIEW_INTERNAL, input);
  }
  const id = affinityFind(log, maps, service, VIEW_INTERNAL, key, KEY_SOURCE, now);
  if (id !== 0) return id;
  selectInputClient(maps, input, service, key, KEY_SOURCE, protocolOf(packet));
  return selectBackend(log, maps, service, VIEW_INTERNAL, input);
}

/**
 * The backend of a packet that belongs to no flow, or that opens one anew. A pod that is its own backend hears itself
 * from another address, or its answer would never pass here.
 */
export function choose(
  log: Log,
  maps: Maps,
  packet: Packet,
  decision: Decision,
  service: number,
  outside: Outside,
): number {
  const { record } = decision;
  const { key } = packet;
  const id = backendOf(log, maps, packet, decision, service, outside.now);
  if (id < 0) return decided(decision, VERDICT_DROP, REASON_MAPS_DISAGREE);
  const backend = id * BACKEND_WORDS;
  const live = maps.backends[backend + LIVE]!;
  natForward(record.translation, key, maps, backend);
  record.backend = id;
  record.generation = live >>> BACKEND_GENERATION_SHIFT;
  record.state = firstState(packet);
  if (maps.services[service + SERVICE_AFFINITY_SECONDS_AT / 4] !== 0 && packetOpening(packet) !== TCP_RESETS)
    affinityKeep(log, maps, service, key, KEY_SOURCE, id, live, outside);
  if (!sameAddress(maps.backends, backend, key, KEY_SOURCE)) return VERDICT_FORWARD;
  mark(log, MARK_HAIRPIN);
  const family = packet.family === 6 ? 4 : 0;
  for (let i = 0; i < 4; i++) record.translation[KEY_SOURCE + i] = maps.hairpinSource[family + i]!;
  if (record.translation[KEY_SOURCE + 3] === 0) return decided(decision, VERDICT_DROP, REASON_HAIRPIN);
  return VERDICT_FORWARD;
}

/**
 * A connection to something known that is no Service, a backend itself: its tuple is kept, as long as there is room, so
 * that no Service's flow takes it. One that is over is ended; beside one that lives the newcomer's source port stands
 * aside. A datagram may be an answer, and passes.
 */
export function openDirect(log: Log, maps: Maps, packet: Packet, decision: Decision, now: number): number {
  const { record, other: reply } = decision;
  let how = FLOW_IF_ABSENT;
  natTurn(reply, packet.key, DIRECTION_REPLY);
  record.keepBucket = FLOW_KEEP_NONE;
  if (flowLookup(log, maps, reply, record, 0, now)) {
    if (isDirect(reply, record) && !flowClosing(record.state)) {
      mark(log, MARK_DIRECT_KNOWN);
      return notOurs(decision);
    }
    if (!isDirect(reply, record) && !flowClosing(record.state)) {
      if (protocolOf(packet) === PROTOCOL_UDP) {
        mark(log, MARK_DIRECT_TAKEN);
        return notOurs(decision);
      }
      mark(log, MARK_DIRECT_ASIDE);
      record.translation.set(packet.key);
      record.servicePort = 0;
      record.backend = 0;
      record.state = firstState(packet);
      return create(log, maps, packet, decision, now, FLOW_IF_ABSENT, 1);
    }
    mark(log, MARK_DIRECT_ENDS);
    how = FLOW_REPLACE;
    natTurn(reply, record.translation, DIRECTION_FORWARD);
    flowChange(log, maps, reply, 0, FLOW_ALL, now);
    natTurn(reply, packet.key, DIRECTION_REPLY);
  }
  mark(log, MARK_DIRECT_NEW);
  record.translation.set(reply);
  record.servicePort = 0;
  record.backend = 0;
  record.generation = 0;
  record.state = firstState(packet);
  flowInsert(log, maps, reply, record, now, how);
  return notOurs(decision);
}

/** A packet to nothing that is served. */
export function noFrontend(log: Log, maps: Maps, packet: Packet, decision: Decision, now: number): number {
  if (inServiceRange(maps, packet.key, KEY_DESTINATION)) {
    if (martian(packet.key)) return decided(decision, VERDICT_PASS, REASON_MARTIAN);
    mark(log, MARK_UNALLOCATED);
    return decided(decision, VERDICT_DROP, REASON_UNALLOCATED);
  }
  if (packetOpening(packet) === TCP_OPENS && !martian(packet.key)) return openDirect(log, maps, packet, decision, now);
  return notOurs(decision);
}

export function forwardNew(
  log: Log,
  maps: Maps,
  packet: Packet,
  decision: Decision,
  outside: Outside,
  how: number,
): number {
  const { now } = outside;
  const { record } = decision;
  const service = frontendOf(log, maps, packet, decision);
  record.servicePort = 0;
  record.backend = 0;
  if (service < 0) return noFrontend(log, maps, packet, decision, now);
  record.servicePort = maps.services[service + SERVICE_SERVICE_PORT_AT / 4]!;
  if (martian(packet.key)) {
    mark(log, MARK_MARTIAN);
    return decided(decision, VERDICT_PASS, REASON_MARTIAN);
  }
  const kind = packetOpening(packet);
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
  const verdict = choose(log, maps, packet, decision, service, outside);
  if (verdict !== VERDICT_FORWARD) return verdict;
  if (kind === TCP_RESETS) {
    mark(log, MARK_FORWARD_STATELESS);
    return decided(decision, VERDICT_FORWARD, REASON_STATELESS);
  }
  return create(log, maps, packet, decision, now, how, 0);
}
