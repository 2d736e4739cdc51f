// SPDX-License-Identifier: Apache-2.0
/** Marks of the branches taken and the log of writes; what bpf/test.h keeps in test mode. */
import { MARK_MAX, TRACE_MAX, WRITES_MAX } from '../layout.gen.ts';

/** Trace and writes are those of one packet, marks those of the whole run. */
export type Log = {
  readonly marks: Uint32Array;
  readonly trace: Uint8Array;
  traceLength: number;
  /** Four words a write: WRITE_*, bucket, slot, value. */
  readonly writes: Uint32Array;
  writesLength: number;
};

export function createLog(): Log {
  return {
    marks: new Uint32Array(MARK_MAX),
    trace: new Uint8Array(TRACE_MAX),
    traceLength: 0,
    writes: new Uint32Array(WRITES_MAX * 4),
    writesLength: 0,
  };
}

export function mark(log: Log, id: number): void {
  log.marks[id]!++;
  if (log.traceLength >= TRACE_MAX) return;
  log.trace[log.traceLength++] = id;
}

export function logWrite(log: Log, operation: number, bucket: number, slot: number, value: number): void {
  if (log.writesLength >= WRITES_MAX) return;
  const at = log.writesLength++ * 4;
  log.writes[at] = operation;
  log.writes[at + 1] = bucket;
  log.writes[at + 2] = slot;
  log.writes[at + 3] = value;
}
