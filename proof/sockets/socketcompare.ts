// SPDX-License-Identifier: Apache-2.0
/** Two accounts of one socket call, and the first field in which they differ. */
import { addressEquals, endpointText as addressedText } from '../../core/address.ts';
import type { Log } from '../../core/datapath/log.ts';
import type { SocketOutcome } from '../../core/datapath/socket.ts';
import {
  markNames,
  reasonNames,
  socketStateCodec,
  verdictNames,
  writeOperationNames,
  type SocketStateRecord,
} from '../../core/layout.gen.ts';
import { ok, type Result } from '../../core/result.ts';
import type { MapSpec, MapStore } from '../../core/store.ts';
import { compareLines, type Difference } from '../compare.ts';
import type { Reported } from './socketcalls.ts';
import type { Endpoint } from './socketdraw.ts';

/** What a program reported of a call, against what the model did of it. */
export function compareReported(log: Log, model: SocketOutcome, reported: Reported): Difference | undefined {
  if (reported === undefined) return differ('program', 'ran', 'did not run');
  const trace = [...log.trace.subarray(0, log.traceLength)].map((mark) => markNames[mark] ?? String(mark));
  const theirs = reported.trace.slice(0, reported.traceLength).map((mark) => markNames[mark] ?? String(mark));
  const writes = reported.writes
    .slice(0, reported.writesLength)
    .map(({ operation, bucket, slot, value }) => writeText([operation, bucket, slot, value]));
  const mine = Array.from({ length: log.writesLength }, (_, at) =>
    writeText([...log.writes.subarray(at * 4, at * 4 + 4)]),
  );
  return (
    differ('verdict', nameOf(verdictNames, model.verdict), nameOf(verdictNames, reported.verdict)) ??
    differ('reason', nameOf(reasonNames, model.reason), nameOf(reasonNames, reported.reason)) ??
    differ('servicePort', String(model.servicePort), String(reported.servicePort)) ??
    differ('backend', String(model.backend), String(reported.backend)) ??
    compareLines('trace', trace, theirs) ??
    compareLines('writes', mine, writes)
  );
}

export function differ(field: string, model: string, kernel: string): Difference | undefined {
  return model === kernel ? undefined : { field, model, kernel };
}

function nameOf(names: readonly string[], number: number): string {
  return names[number] ?? `number ${number}`;
}

function writeText([operation = 0, bucket = 0, slot = 0, value = 0]: readonly number[]): string {
  return `${nameOf(writeOperationNames, operation)} ${bucket} ${slot} ${value}`;
}

export function stateLines(state: SocketStateRecord): readonly string[] {
  return socketStateCodec.text(state).split(/,(?=\{)|\] /);
}

export function endpointText(endpoint: Endpoint | undefined): string {
  return endpoint === undefined ? 'none' : addressedText(endpoint.address, endpoint.port);
}

export function isSame(left: Endpoint | undefined, right: Endpoint): boolean {
  return left !== undefined && left.port === right.port && addressEquals(left.address, right.address);
}

/** Linux doesn't name a peer with port 0. */
export function shown(endpoint: Endpoint | undefined): Endpoint | undefined {
  return endpoint === undefined || endpoint.port === 0 ? undefined : endpoint;
}

export function mapLines(store: MapStore, map: MapSpec<unknown, unknown>): Result<readonly string[]> {
  const entries = store.entries(map);
  if (!entries.ok) return entries;
  return ok(entries.value.map(([key, value]) => `${map.key.text(key)}: ${map.value.text(value)}`).toSorted());
}
