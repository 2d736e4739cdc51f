// SPDX-License-Identifier: Apache-2.0
/**
 * Fragments of translated packets; twin of bpf/fragment.h. The first one, which has the ports, leaves an entry in the
 * flow table under its datagram's identification, and the later ones follow it. One that overtakes the first is dropped
 * by name: never read as ports, never sent anywhere by chance.
 */
import {
  DIRECTION_FRAGMENT,
  FLOW_DATAGRAM,
  FLOW_PENDING,
  MARK_FRAGMENT_KEPT,
  MARK_FRAGMENT_KNOWN,
} from '../layout.gen.ts';
import { flowInsert, flowLookup, FLOW_REPLACE, type FlowRecord } from './flows.ts';
import { mark, type Log } from './log.ts';
import type { Maps } from './maps.ts';
import { KEY_PORTS, KEY_PROTOCOL, NEXT_FRAGMENT, type Packet } from './packet.ts';

/** The key of a datagram's fragments (RFC 791, RFC 8200 4.5): in IPv6 whatever the protocol. */
export function fragmentKey(key: Uint32Array, packet: Packet, direction: number): void {
  const protocol = packet.family === 6 ? NEXT_FRAGMENT : packet.key[KEY_PROTOCOL]! & 0xff;
  for (let i = 0; i < KEY_PORTS; i++) key[i] = packet.key[i]!;
  key[KEY_PORTS] = packet.identification;
  key[KEY_PROTOCOL] = protocol | ((direction | DIRECTION_FRAGMENT) << 8);
}

/** What the later fragments will become; without room for it they are dropped by name. */
export function keepFragment(
  log: Log,
  maps: Maps,
  packet: Packet,
  key: Uint32Array,
  record: FlowRecord,
  direction: number,
  now: number,
): void {
  mark(log, MARK_FRAGMENT_KEPT);
  fragmentKey(key, packet, direction);
  record.keepBucket = record.bucket;
  record.keepSlot = record.slot;
  record.state = FLOW_PENDING | FLOW_DATAGRAM;
  flowInsert(log, maps, key, record, now, FLOW_REPLACE);
}

/** Whether the first fragment of this one's datagram was translated. */
export function findFragment(
  log: Log,
  maps: Maps,
  packet: Packet,
  key: Uint32Array,
  record: FlowRecord,
  direction: number,
  now: number,
): boolean {
  fragmentKey(key, packet, direction);
  if (!flowLookup(log, maps, key, record, packet.length, now)) return false;
  mark(log, MARK_FRAGMENT_KNOWN);
  return true;
}
