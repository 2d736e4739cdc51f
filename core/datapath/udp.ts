// SPDX-License-Identifier: Apache-2.0
/**
 * What a datagram means to its flow; twin of bpf/udp.h. A flow is established by the client's datagram after an answer;
 * without an answer, once it has lasted, as one that may be recycled.
 */
import {
  FLOW_ANSWERED,
  FLOW_DATAGRAM,
  FLOW_EXCESS,
  FLOW_LIFE,
  FLOW_PENDING,
  MARK_ANSWERED,
  MARK_ONE_WAY_SECOND,
} from '../layout.gen.ts';
import { flowChange, flowNote, flowNoted, type FlowRecord } from './flows.ts';
import { mark, type Log } from './log.ts';
import type { Maps } from './maps.ts';

const ONE_WAY_TICKS = 28610; // 30 s
const ONE_WAY_SECONDS = 3; // of which so many must have had a datagram
const SECOND_SHIFT = 10; // ticks to seconds, nearly
const KEEP_SHIFT = 12; // ticks to spans of 4.3 s

/** An answer: the client's next datagram will complete the flow. */
export function noteAnswer(log: Log, maps: Maps, own: Uint32Array, state: number, now: number): void {
  if ((state & FLOW_LIFE) !== FLOW_PENDING || (state & FLOW_ANSWERED) !== 0) return;
  mark(log, MARK_ANSWERED);
  flowChange(log, maps, own, FLOW_ANSWERED, 0, now);
}

/** Whether a flow without an answer has lasted; the record is that of the client's entry. */
export function lastsOneWay(log: Log, maps: Maps, record: FlowRecord, now: number): boolean {
  if (!flowNoted(record)) {
    flowNote(log, maps, record, now, 1);
    return false;
  }
  const began = record.note;
  let seconds = record.noteWord & 0xff;
  if (now >>> SECOND_SHIFT !== record.seen >>> SECOND_SHIFT && seconds < 255) {
    mark(log, MARK_ONE_WAY_SECOND);
    flowNote(log, maps, record, began, ++seconds);
  }
  return seconds >= ONE_WAY_SECONDS && (now - began) >>> 0 >= ONE_WAY_TICKS;
}

/**
 * Whether the flow's other entry is due a refresh: its own direction may have nothing to send, and one that a newcomer
 * may recycle may be gone.
 */
export function keepsOther({ state, seen }: FlowRecord, now: number): boolean {
  if ((state & FLOW_EXCESS) !== 0) return true;
  return (state & FLOW_DATAGRAM) !== 0 && now >>> KEEP_SHIFT !== seen >>> KEEP_SHIFT;
}
