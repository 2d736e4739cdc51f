// SPDX-License-Identifier: Apache-2.0
/** The outcomes of two twins for one packet, field by field. */
import { markNames, reasonNames, verdictNames, writeOperationNames } from '../core/layout.gen.ts';
import type { Outcome, Twin } from '../core/twin.ts';

/** The first field that differs, with both values as text. */
export type Difference = { readonly field: string; readonly model: string; readonly kernel: string };

/** Fields in the order of their use to a reader: what was decided, then why, then how. */
export function compareOutcomes(model: Outcome, kernel: Outcome): Difference | undefined {
  return (
    compareNumbers('verdict', model.verdict, kernel.verdict, verdictNames) ??
    compareNumbers('reason', model.reason, kernel.reason, reasonNames) ??
    compareNumbers('service port', model.servicePort, kernel.servicePort) ??
    compareNumbers('backend', model.backend, kernel.backend) ??
    compareNumbers('length', model.length, kernel.length) ??
    compareBytes(model.bytes, kernel.bytes, model.length) ??
    (isSame(model.trace, kernel.trace, model.traceLength, kernel.traceLength)
      ? undefined
      : compareTexts('trace', traceText(model), traceText(kernel))) ??
    (isSame(model.writes, kernel.writes, model.writesLength * 4, kernel.writesLength * 4)
      ? undefined
      : compareTexts('writes', writesText(model), writesText(kernel)))
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

function compareNumbers(
  field: string,
  model: number,
  kernel: number,
  names: readonly string[] = [],
): Difference | undefined {
  return model === kernel ? undefined : { field, model: nameOf(names, model), kernel: nameOf(names, kernel) };
}

function isSame(left: ArrayLike<number>, right: ArrayLike<number>, length: number, other: number): boolean {
  if (length !== other) return false;
  for (let at = 0; at < length; at += 1) if (left[at] !== right[at]) return false;
  return true;
}

function compareTexts(field: string, model: string, kernel: string): Difference | undefined {
  return model === kernel ? undefined : { field, model, kernel };
}

/** Of the first `length` bytes. Eight around the first that differs are enough to see what it is. */
export function compareBytes(
  left: Uint8Array,
  right: Uint8Array,
  length: number = left.length,
): Difference | undefined {
  let at = 0;
  while (at < length && left[at] === right[at]) at += 1;
  if (at === length) return undefined;
  const around = (bytes: Uint8Array): string => hexText(bytes.subarray(Math.max(0, at - 3), Math.min(at + 5, length)));
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
