// SPDX-License-Identifier: Apache-2.0
/** One line of an event stream, or one object that kubectl prints: from text to a cluster event, or the reason why not. */
import type { ClusterEvent, ClusterObject, ObjectKind } from '../core/objects.ts';
import { failureText } from '../core/result.ts';

import { parseInstant, type Instant } from './instant.ts';
import { isObjectKind, isRecord, readObject } from './object.ts';

/** The optional first line of a stream: who recorded it, and how far its clock may be off. */
export type StreamHeader = {
  readonly cluster: string | undefined;
  readonly recorder: string | undefined;
  /** Nanoseconds to add to get true time, and how uncertain that is. */
  readonly clock: { readonly offsetNs: number; readonly errorNs: number } | undefined;
};

export type EventLine =
  | { readonly is: 'event'; readonly at: Instant | undefined; readonly event: ClusterEvent }
  | { readonly is: 'header'; readonly header: StreamHeader }
  /** An object without a word on what happened to it: it is there, as this. */
  | { readonly is: 'state'; readonly object: ClusterObject }
  /** A List of the API: all there is of each kind, and how many objects are of kinds that we do not read. */
  | { readonly is: 'list'; readonly lists: readonly Listed[]; readonly unknown: ReadonlyMap<string, number> }
  /** The API server ended the watch: what follows may have gaps. */
  | { readonly is: 'lost'; readonly reason: string }
  /** A kind that we do not read. */
  | { readonly is: 'unknown'; readonly kind: string }
  /** `lineOffset`: lines from the first one of the text to the mistake. */
  | { readonly is: 'bad'; readonly message: string; readonly lineOffset?: number };

type Listed = Extract<ClusterEvent, { type: 'LISTED' }>;

type Bad = Extract<EventLine, { is: 'bad' }>;
type Fields = Readonly<Record<string, unknown>>;

export function parseEventLine(text: string): EventLine {
  const fields = parseJson(text);
  if (!fields.ok) return { ...bad(withoutLine(fields.message)), lineOffset: lineOffsetIn(text, fields.message) };
  if (!isRecord(fields.value)) return bad('not a JSON object');
  const { type, at } = { type: fields.value['type'], at: fields.value['at'] };
  if (type === 'STREAM') return parseHeader(fields.value);
  if (type === undefined && at === undefined && fields.value['kind'] !== undefined) return parseBare(fields.value);
  if (at !== undefined && typeof at !== 'string') return bad('"at" is not text');
  const instant = at === undefined ? undefined : parseInstant(at);
  if (instant !== undefined && !instant.ok) return bad(`"at": ${failureText(instant.error)}`);
  return parseEvent(type, instant?.value, fields.value);
}

/** JSON.parse with its error as a value. */
export function parseJson(
  text: string,
): { readonly ok: true; readonly value: unknown } | { readonly ok: false; readonly message: string } {
  try {
    const value: unknown = JSON.parse(text);
    return { ok: true, value };
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    return { ok: false, message: `not JSON: ${error.message}` };
  }
}

/** Lines before the place that JSON.parse complains of; 0 where it names none. */
function lineOffsetIn(text: string, message: string): number {
  const position = Number(/at position (\d+)/.exec(message)?.[1] ?? 0);
  return text.slice(0, position).split('\n').length - 1;
}

/** Its lines count from the beginning of the object, those of the file are told beside it. */
function withoutLine(message: string): string {
  return message.replace(/ at position \d+ \(line \d+ column (\d+)\)/, ' at column $1');
}

function bad(message: string): Bad {
  return { is: 'bad', message };
}

function parseEvent(type: unknown, at: Instant | undefined, fields: Fields): EventLine {
  switch (type) {
    case 'ADDED':
    case 'MODIFIED':
    case 'DELETED': {
      const read = readObject(fields['object']);
      return read.is === 'object' ? { is: 'event', at, event: { type, object: read.object } } : read;
    }
    case 'LISTED':
      return parseListed(at, fields);
    case 'DISCONNECTED':
      return forKind(fields['kind'], (kind) => {
        const reason = fields['reason'] ?? '';
        if (typeof reason !== 'string') return bad('"reason" is not text');
        return { is: 'event', at, event: { type, kind, reason } };
      });
    case 'BOOKMARK': {
      const object = fields['object'];
      const kind = isRecord(object) ? object['kind'] : fields['kind'];
      return forKind(kind, (known) => ({ is: 'event', at, event: { type, kind: known } }));
    }
    case 'ERROR':
      return { is: 'lost', reason: statusText(fields['object']) };
    default:
      return bad(typeof type === 'string' ? `unknown type "${type}"` : '"type" is missing');
  }
}

/** What the API server says of an error, such as `Gone 410: too old resource version`. */
function statusText(status: unknown): string {
  if (!isRecord(status)) return 'the watch ended with an error';
  const texts = ['reason', 'code', 'message'].map((name) => status[name]);
  return texts.filter((text) => typeof text === 'string' || typeof text === 'number').join(' ');
}

/** As `kubectl get -o json` prints: a List, or with --watch one object after the other. */
function parseBare(fields: Fields): EventLine {
  const { kind, items } = { kind: fields['kind'], items: fields['items'] };
  if (typeof kind === 'string' && kind.endsWith('List') && items !== undefined) return parseList(kind, items);
  const read = readObject(fields);
  return read.is === 'object' ? { is: 'state', object: read.object } : read;
}

/** One bad item makes the List bad: what a list leaves out counts as deleted. */
function parseList(listKind: string, values: unknown): EventLine {
  if (!Array.isArray(values)) return bad('"items" is not a list');
  const itemKind = listKind.slice(0, -'List'.length);
  if (itemKind !== '' && !isObjectKind(itemKind)) return { is: 'unknown', kind: itemKind };
  const kindOfAll = itemKind === '' ? undefined : itemKind;
  const lists = new Map<ObjectKind, ClusterObject[]>(kindOfAll === undefined ? [] : [[kindOfAll, []]]);
  const unknown = new Map<string, number>();
  for (const [index, value] of values.entries()) {
    const read = readObject(value, kindOfAll);
    if (read.is === 'bad') return bad(`items[${index}]: ${read.message}`);
    if (read.is === 'unknown') {
      unknown.set(read.kind, (unknown.get(read.kind) ?? 0) + 1);
      continue;
    }
    const list = lists.get(read.object.kind) ?? [];
    list.push(read.object);
    lists.set(read.object.kind, list);
  }
  return { is: 'list', lists: [...lists].map(([kind, items]) => ({ type: 'LISTED', kind, items })), unknown };
}

function forKind(kind: unknown, then: (kind: ObjectKind) => EventLine): EventLine {
  if (typeof kind !== 'string') return bad('"kind" is missing');
  return isObjectKind(kind) ? then(kind) : { is: 'unknown', kind };
}

/** One bad item makes the list bad: what a list leaves out counts as deleted. */
function parseListed(at: Instant | undefined, fields: Fields): EventLine {
  return forKind(fields['kind'], (kind) => {
    const values = fields['items'];
    if (!Array.isArray(values)) return bad('"items" is not a list');
    const items: ClusterObject[] = [];
    for (const [index, value] of values.entries()) {
      const read = readObject(value, kind);
      if (read.is === 'unknown') return bad(`items[${index}]: a ${read.kind} in a list of ${kind}`);
      if (read.is === 'bad') return bad(`items[${index}]: ${read.message}`);
      items.push(read.object);
    }
    return { is: 'event', at, event: { type: 'LISTED', kind, items } };
  });
}

function parseHeader(fields: Fields): EventLine {
  const { cluster, recorder, clock } = {
    cluster: fields['cluster'],
    recorder: fields['recorder'],
    clock: fields['clock'],
  };
  if (cluster !== undefined && typeof cluster !== 'string') return bad('"cluster" is not text');
  if (recorder !== undefined && typeof recorder !== 'string') return bad('"recorder" is not text');
  if (clock === undefined) return { is: 'header', header: { cluster, recorder, clock: undefined } };
  const offsetNs = isRecord(clock) ? clock['offsetNs'] : undefined;
  const errorNs = isRecord(clock) ? clock['errorNs'] : undefined;
  if (!Number.isSafeInteger(offsetNs) || typeof offsetNs !== 'number' || typeof errorNs !== 'number')
    return bad('"clock" needs offsetNs and errorNs in whole nanoseconds');
  return { is: 'header', header: { cluster, recorder, clock: { offsetNs, errorNs } } };
}

/** Set by the EndpointSlice controller. */
export const TRIGGER_TIME: string = 'endpoints.kubernetes.io/last-change-trigger-time';

/** When the change behind this event happened, as the EndpointSlice controller noted it: to the second. */
export function triggerTime(event: ClusterEvent): Instant | undefined {
  return 'object' in event ? triggerTimeOf(event.object) : undefined;
}

/** The same of an object, such as one of a list. */
export function triggerTimeOf(object: ClusterObject): Instant | undefined {
  const annotations: unknown = object.metadata?.annotations;
  const text = isRecord(annotations) ? annotations[TRIGGER_TIME] : undefined;
  const parsed = typeof text === 'string' ? parseInstant(text) : undefined;
  return parsed?.ok === true ? parsed.value : undefined;
}
