// SPDX-License-Identifier: Apache-2.0
/** What the flags of a segment mean to its flow; twin of bpf/tcp.h. */
import {
  FLOW_ESTABLISHED,
  FLOW_FIN,
  FLOW_LIFE,
  FLOW_PEER_FIN,
  FLOW_RESET,
  MARK_FIN,
  MARK_RESET,
  MARK_RESET_WITHDRAWN,
} from '../layout.gen.ts';
import { flowChange } from './flows.ts';
import { mark, type Log } from './log.ts';
import type { Maps } from './maps.ts';
import { TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN } from './packet.ts';

export const TCP_OPENS = 0;
export const TCP_CONTINUES = 1;
export const TCP_RESETS = 2;
export const TCP_ODD = 3; // opens nothing, belongs to no connection

export function tcpKind(flags: number): number {
  if ((flags & TCP_SYN) !== 0) {
    if ((flags & (TCP_FIN | TCP_RST)) !== 0) return TCP_ODD;
    return (flags & TCP_ACK) !== 0 ? TCP_CONTINUES : TCP_OPENS;
  }
  if ((flags & TCP_RST) !== 0) return TCP_RESETS;
  return (flags & TCP_ACK) !== 0 ? TCP_CONTINUES : TCP_ODD;
}

/** Whether a packet of these flags changes nothing in a flow of this state but its counters. */
export function steady(state: number, flags: number): boolean {
  return (state & FLOW_LIFE) === FLOW_ESTABLISHED && (state & FLOW_RESET) === 0 && (flags & (TCP_FIN | TCP_RST)) === 0;
}

/** FIN, RST, and data after a RST that was not meant, kept in both entries: each must know alone when it ends. */
export function noteFlags(
  log: Log,
  maps: Maps,
  own: Uint32Array,
  other: Uint32Array,
  state: number,
  flags: number,
  now: number,
): void {
  if ((flags & TCP_RST) !== 0) {
    if ((state & FLOW_RESET) !== 0) return;
    mark(log, MARK_RESET);
    flowChange(log, maps, own, FLOW_RESET, 0, now);
    flowChange(log, maps, other, FLOW_RESET, 0, now);
    return;
  }
  if ((state & FLOW_RESET) !== 0) {
    mark(log, MARK_RESET_WITHDRAWN);
    flowChange(log, maps, own, 0, FLOW_RESET, now);
    flowChange(log, maps, other, 0, FLOW_RESET, now);
  }
  if ((flags & TCP_FIN) !== 0 && (state & FLOW_FIN) === 0) {
    mark(log, MARK_FIN);
    flowChange(log, maps, own, FLOW_FIN, 0, now);
    flowChange(log, maps, other, FLOW_PEER_FIN, 0, now);
  }
}
