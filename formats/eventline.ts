// SPDX-License-Identifier: Apache-2.0
/** One line of an event stream: from text to a cluster event, or the reason why not. */
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
  /** A kind that we do not read. */
  | { readonly is: 'unknown'; readonly kind: string }
  | { readonly is: 'bad'; readonly message: string };

type Bad = Extract<EventLine, { is: 'bad' }>;
type Fields = Readonly<Record<string, unknown>>;

export function parseEventLine(text: string): EventLine {
  const fields = parseJson(text);
  if (!fields.ok) return bad(fields.message);
  if (!isRecord(fields.value)) return bad('not a JSON object');
  const { type, at } = { type: fields.value['type'], at: fields.value['at'] };
  if (type === 'STREAM') return parseHeader(fields.value);
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
    default:
      return bad(typeof type === 'string' ? `unknown type "${type}"` : '"type" is missing');
  }
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
  if (typeof offsetNs !== 'number' || typeof errorNs !== 'number') return bad('"clock" needs offsetNs and errorNs');
  return { is: 'header', header: { cluster, recorder, clock: { offsetNs, errorNs } } };
}

const TRIGGER_TIME = 'endpoints.kubernetes.io/last-change-trigger-time';

/** When the change behind this object happened, as the EndpointSlice controller noted it. */
export function triggerTime(event: ClusterEvent): Instant | undefined {
  if (!('object' in event)) return undefined;
  const annotations: unknown = event.object.metadata?.annotations;
  const text = isRecord(annotations) ? annotations[TRIGGER_TIME] : undefined;
  const parsed = typeof text === 'string' ? parseInstant(text) : undefined;
  return parsed?.ok === true ? parsed.value : undefined;
}
