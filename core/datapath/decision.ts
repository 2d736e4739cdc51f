// SPDX-License-Identifier: Apache-2.0
/** What is decided about a packet, and what is asked of every packet on the way there; twin of bpf/decision.h. */
import {
  FLOW_DATAGRAM,
  FLOW_PENDING,
  REASON_DIRECT,
  REASON_KNOWN_FLOW,
  REASON_NOT_SERVICE,
  REASON_REPLY,
  VERDICT_PASS,
} from '../layout.gen.ts';
import { createRecord, type FlowRecord } from './flows.ts';
import { sameAddress } from './nat.ts';
import { isMapped, KEY_DESTINATION, KEY_PROTOCOL, KEY_SOURCE, KEY_WORDS, PROTOCOL_UDP, type Packet } from './packet.ts';
import { SELECT_WORDS } from './select.ts';
import { tcpKind, TCP_OPENS } from './tcp.ts';
import { swap32 } from './words.ts';

/** What is decided about one packet; reused. The rest is scratch of the decision. */
export type Decision = {
  readonly record: FlowRecord;
  reason: number;
  /** Of the flow's other direction. */
  readonly other: Uint32Array;
  readonly quoted: Uint32Array;
  readonly wanted: Uint32Array;
  readonly input: Uint32Array;
};

export function createDecision(): Decision {
  return {
    record: createRecord(),
    reason: 0,
    other: new Uint32Array(KEY_WORDS),
    quoted: new Uint32Array(KEY_WORDS),
    wanted: new Uint32Array(5),
    input: new Uint32Array(SELECT_WORDS),
  };
}

export function decided(decision: Decision, verdict: number, reason: number): number {
  decision.reason = reason;
  return verdict;
}

/** No Service's packet: nothing of a flow that was looked at is reported. */
export function notOurs(decision: Decision): number {
  decision.record.servicePort = 0;
  decision.record.backend = 0;
  return decided(decision, VERDICT_PASS, REASON_NOT_SERVICE);
}

export function protocolOf(packet: Packet): number {
  return packet.key[KEY_PROTOCOL]! & 0xff;
}

/** What a packet would open: each datagram may open a flow. */
export function packetOpening(packet: Packet): number {
  return protocolOf(packet) === PROTOCOL_UDP ? TCP_OPENS : tcpKind(packet.flags);
}

/** Sources that can't be on a wire (RFC 1122 3.2.1.3, RFC 4291 2.5), and a packet from an address to itself. */
export function martian(key: Uint32Array): boolean {
  const first = swap32(key[KEY_SOURCE]!);
  const last = swap32(key[KEY_SOURCE + 3]!);
  if (sameAddress(key, KEY_SOURCE, key, KEY_DESTINATION)) return true;
  if (isMapped(key, KEY_SOURCE)) return last >>> 24 === 0 || last >>> 24 === 127 || last >>> 24 >= 224;
  return first >>> 24 === 0xff || ((key[KEY_SOURCE]! | key[KEY_SOURCE + 1]! | key[KEY_SOURCE + 2]!) === 0 && last <= 1);
}

/** A flow that is no Service's: to a backend itself. */
export function knownReason(record: FlowRecord): number {
  return record.servicePort !== 0 ? REASON_KNOWN_FLOW : REASON_DIRECT;
}

export function replyReason(record: FlowRecord): number {
  return record.servicePort !== 0 ? REASON_REPLY : REASON_DIRECT;
}

export function firstState(packet: Packet): number {
  return protocolOf(packet) === PROTOCOL_UDP ? FLOW_PENDING | FLOW_DATAGRAM : FLOW_PENDING;
}
