// SPDX-License-Identifier: Apache-2.0
/** The outcomes of two twins for one packet, field by field. */
import { markNames, reasonNames, verdictNames, writeOperationNames } from '../core/layout.gen.ts';
import type { Outcome, Twin } from '../core/twin.ts';

/** The first field that differs, with both values as text. */
export type Difference = { readonly field: string; readonly model: string; readonly kernel: string };

/** Fields in the order of their use to a reader: what was decided, then why, then how. */
export function compareOutcomes(model: Outcome, kernel: Outcome): Difference | undefined {
  return (
    compareTexts('verdict', nameOf(verdictNames, model.verdict), nameOf(verdictNames, kernel.verdict)) ??
    compareTexts('reason', nameOf(reasonNames, model.reason), nameOf(reasonNames, kernel.reason)) ??
    compareTexts('service port', String(model.servicePort), String(kernel.servicePort)) ??
    compareTexts('backend', String(model.backend), String(kernel.backend)) ??
    compareTexts('length', String(model.length), String(kernel.length)) ??
    compareBytes(model.bytes.subarray(0, model.length), kernel.bytes.subarray(0, kernel.length)) ??
    compareTexts('trace', traceText(model), traceText(kernel)) ??
    compareTexts('writes', writesText(model), writesText(kernel))
  );
}

/** Equal memory is an equal table; the first byte that differs otherwise. */
export function compareTables(model: Twin, kernel: Twin): Difference | undefined {
  const left = model.flowMemory();
  const right = kernel.flowMemory();
  if (Buffer.compare(left, right) === 0) return undefined;
  if (left.length !== right.length)
    return compareTexts('size of the flow table', String(left.length), String(right.length));
  const difference = compareBytes(left, right);
  return difference && { ...difference, field: `flow table, ${difference.field}` };
}

function compareTexts(field: string, model: string, kernel: string): Difference | undefined {
  return model === kernel ? undefined : { field, model, kernel };
}

/** Eight bytes around the first that differs are enough to see what it is. */
export function compareBytes(left: Uint8Array, right: Uint8Array): Difference | undefined {
  let at = 0;
  while (at < left.length && left[at] === right[at]) at += 1;
  if (at === left.length) return undefined;
  const around = (bytes: Uint8Array): string => hexText(bytes.subarray(Math.max(0, at - 3), at + 5));
  return { field: `byte ${at}`, model: around(left), kernel: around(right) };
}

export function hexText(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex');
}

function traceText({ trace, traceLength }: Outcome): string {
  return [...trace.subarray(0, traceLength)].map((mark) => nameOf(markNames, mark)).join(' ');
}

function writesText({ writes, writesLength }: Outcome): string {
  return Array.from({ length: writesLength }, (_, index) => {
    const [operation = 0, bucket = 0, slot = 0, value = 0] = writes.subarray(index * 4, index * 4 + 4);
    return `${nameOf(writeOperationNames, operation)}(${bucket}.${slot}=${value})`;
  }).join(' ');
}

function nameOf(names: readonly string[], value: number): string {
  return names[value] ?? String(value);
}
