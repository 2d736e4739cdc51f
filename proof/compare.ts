// SPDX-License-Identifier: Apache-2.0
/** Two answers to one packet, two flow tables, two sets of marks: where they first differ, in words. */
import {
  FLOW_BUCKET_DUE_AT,
  FLOW_BUCKET_FLOWS_AT,
  FLOW_BUCKET_SIZE,
  FLOW_BUCKET_SPILL_AT,
  FLOW_BACKEND_AT,
  FLOW_BYTES_AT,
  FLOW_GENERATION_AT,
  FLOW_NOTE_AT,
  FLOW_PACKETS_AT,
  FLOW_PAD_AT,
  FLOW_SERVICE_PORT_AT,
  FLOW_SIZE,
  FLOW_TRANSLATION_AT,
  FLOW_WORD_AT,
  markNames,
  reasonNames,
  verdictNames,
  writeOperationNames,
} from '../core/layout.gen.ts';
import type { Outcome } from '../core/twin.ts';
import { fieldAt, fieldText } from './describe.ts';

/** A field and what each twin has there. */
export type Difference = {
  readonly field: string;
  readonly model: string;
  readonly kernel: string;
  /** Whose the two are, where it is not the two twins. */
  readonly names?: readonly [string, string];
};

function differ(field: string, model: string | number, kernel: string | number): Difference {
  return { field, model: String(model), kernel: String(kernel) };
}

function nameOf(names: readonly string[], number: number): string {
  return names[number] ?? `number ${number}`;
}

function compareBytes(model: Outcome, kernel: Outcome): Difference | undefined {
  if (model.length !== kernel.length) return differ('length', model.length, kernel.length);
  const mine = model.bytes.subarray(0, model.length);
  const theirs = kernel.bytes.subarray(0, kernel.length);
  if (Buffer.compare(mine, theirs) === 0) return undefined;
  const at = mine.findIndex((byte, index) => byte !== theirs[index]);
  const field = fieldAt(mine, at);
  const range = field.length === 1 ? `${field.at}` : `${field.at}..${field.at + field.length - 1}`;
  return differ(`bytes[${range}] ${field.name}`, fieldText(mine, field), fieldText(theirs, field));
}

function compareTraces(model: Outcome, kernel: Outcome): Difference | undefined {
  const length = Math.max(model.traceLength, kernel.traceLength);
  for (let at = 0; at < length; at++) {
    const mine = at < model.traceLength ? model.trace[at] : undefined;
    const theirs = at < kernel.traceLength ? kernel.trace[at] : undefined;
    if (mine !== theirs) return differ(`trace[${at}]`, markText(mine), markText(theirs));
  }
  return undefined;
}

function markText(mark: number | undefined): string {
  return mark === undefined ? 'end' : nameOf(markNames, mark);
}

function writeText(outcome: Outcome, at: number): string {
  if (at >= outcome.writesLength) return 'end';
  const [operation = 0, bucket = 0, slot = 0, value = 0] = outcome.writes.subarray(at * 4, at * 4 + 4);
  return `${nameOf(writeOperationNames, operation)} bucket ${bucket} slot ${slot} value ${value}`;
}

function compareWrites(model: Outcome, kernel: Outcome): Difference | undefined {
  const length = Math.max(model.writesLength, kernel.writesLength);
  for (let at = 0; at < length; at++) {
    const [mine, theirs] = [writeText(model, at), writeText(kernel, at)];
    if (mine !== theirs) return differ(`writes[${at}]`, mine, theirs);
  }
  return undefined;
}

/** Cheap and complete: whether two outcomes are the same in everything that is compared. */
export function sameOutcome(model: Outcome, kernel: Outcome): boolean {
  return (
    model.verdict === kernel.verdict &&
    model.reason === kernel.reason &&
    model.servicePort === kernel.servicePort &&
    model.backend === kernel.backend &&
    model.length === kernel.length &&
    model.traceLength === kernel.traceLength &&
    model.writesLength === kernel.writesLength &&
    sameFirst(model.bytes, kernel.bytes, model.length) &&
    sameFirst(model.trace, kernel.trace, model.traceLength) &&
    sameFirst(model.writes, kernel.writes, model.writesLength * 4)
  );
}

function sameFirst(left: Uint8Array | Uint32Array, right: Uint8Array | Uint32Array, length: number): boolean {
  for (let at = 0; at < length; at++) if (left[at] !== right[at]) return false;
  return true;
}

/** The first difference in the order verdict, reason, Service port, backend, bytes, trace, writes. */
export function compareOutcomes(model: Outcome, kernel: Outcome): Difference | undefined {
  if (model.verdict !== kernel.verdict)
    return differ('verdict', nameOf(verdictNames, model.verdict), nameOf(verdictNames, kernel.verdict));
  if (model.reason !== kernel.reason)
    return differ('reason', nameOf(reasonNames, model.reason), nameOf(reasonNames, kernel.reason));
  if (model.servicePort !== kernel.servicePort) return differ('servicePort', model.servicePort, kernel.servicePort);
  if (model.backend !== kernel.backend) return differ('backend', model.backend, kernel.backend);
  return compareBytes(model, kernel) ?? compareTraces(model, kernel) ?? compareWrites(model, kernel);
}

/** Members of a flow by where they begin, in order. */
const FLOW_FIELDS: readonly (readonly [number, string])[] = [
  [0, 'key'],
  [FLOW_WORD_AT, 'word'],
  [FLOW_PACKETS_AT, 'packets'],
  [FLOW_BYTES_AT, 'bytes'],
  [FLOW_TRANSLATION_AT, 'translation'],
  [FLOW_SERVICE_PORT_AT, 'servicePort'],
  [FLOW_BACKEND_AT, 'backend'],
  [FLOW_GENERATION_AT, 'generation'],
  [FLOW_PAD_AT, 'pad'],
  [FLOW_NOTE_AT, 'note'],
];

/** The name of a byte of the flow table: `flows[3].flows[5].translation+16`. */
export function tableField(at: number): string {
  const bucket = `flows[${Math.floor(at / FLOW_BUCKET_SIZE)}]`;
  const inside = at % FLOW_BUCKET_SIZE;
  if (inside < FLOW_BUCKET_SPILL_AT) return `${bucket}.fingerprints[${inside >> 1}]`;
  if (inside < FLOW_BUCKET_SPILL_AT + 4) return `${bucket}.spill`;
  if (inside < FLOW_BUCKET_DUE_AT) return `${bucket}.pad`;
  if (inside < FLOW_BUCKET_FLOWS_AT) return `${bucket}.due[${(inside - FLOW_BUCKET_DUE_AT) >> 2}]`;
  const flow = inside - FLOW_BUCKET_FLOWS_AT;
  const offset = flow % FLOW_SIZE;
  const [start, name] = FLOW_FIELDS.findLast(([from]) => from <= offset) ?? [0, 'key'];
  return `${bucket}.flows[${Math.floor(flow / FLOW_SIZE)}].${name}${offset === start ? '' : `+${offset - start}`}`;
}

/** The first word in which two flow tables differ. */
export function compareTables(model: Uint8Array, kernel: Uint8Array): Difference | undefined {
  if (Buffer.compare(model, kernel) === 0) return undefined;
  if (model.length !== kernel.length) return differ('flows length', model.length, kernel.length);
  const at = model.findIndex((byte, index) => byte !== kernel[index]) & ~3;
  const word = (bytes: Uint8Array): string =>
    `0x${new DataView(bytes.buffer, bytes.byteOffset).getUint32(at, true).toString(16)}`;
  return differ(tableField(at), word(model), word(kernel));
}

/** The first line in which two dumps differ: counters, map entries, marks. */
export function compareLines(
  what: string,
  model: readonly string[],
  kernel: readonly string[],
): Difference | undefined {
  const length = Math.max(model.length, kernel.length);
  for (let at = 0; at < length; at++) {
    const [mine, theirs] = [model[at] ?? 'end', kernel[at] ?? 'end'];
    if (mine !== theirs) return differ(`${what}[${at}]`, mine, theirs);
  }
  return undefined;
}
