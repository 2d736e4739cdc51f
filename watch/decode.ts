// SPDX-License-Identifier: Apache-2.0
/** What an API server says, decoded: pages of a list, lines of a watch, and its own words when it refuses. */
import type { ClusterEvent, ClusterObject, ObjectKind } from '../core/objects.ts';
import { parseJson } from '../formats/eventline.ts';
import { isRecord, readObject } from '../formats/object.ts';

/** A page of a list; `next` is empty on the last one. */
export type Page =
  | { readonly is: 'page'; readonly items: readonly ClusterObject[]; readonly version: string; readonly next: string }
  | { readonly is: 'bad'; readonly reason: string };

/** One line of a watch. */
export type WatchLine =
  | { readonly is: 'event'; readonly event: ClusterEvent; readonly version: string }
  /** An ERROR line: the server's own words; code 410 means that our version is too old. */
  | { readonly is: 'status'; readonly code: number; readonly reason: string }
  | { readonly is: 'bad'; readonly reason: string };

type Fields = Readonly<Record<string, unknown>>;

/** The body of a list. One bad item makes it bad: what a list leaves out counts as deleted. */
export function decodePage(kind: ObjectKind, text: string): Page {
  const body = parseJson(text);
  if (!body.ok) return { is: 'bad', reason: body.message };
  if (!isRecord(body.value) || body.value['kind'] !== `${kind}List`) return { is: 'bad', reason: `not a ${kind}List` };
  const { metadata, items: values } = { metadata: body.value['metadata'], items: body.value['items'] ?? [] };
  const version = textIn(metadata, 'resourceVersion');
  if (version === '') return { is: 'bad', reason: 'a list without a resourceVersion' };
  if (!Array.isArray(values)) return { is: 'bad', reason: '"items" is not a list' };
  const items: ClusterObject[] = [];
  for (const [index, value] of values.entries()) {
    const read = readObject(withoutManagedFields(value), kind);
    if (read.is !== 'object') return { is: 'bad', reason: `items[${index}]: ${messageOf(read)}` };
    items.push(read.object);
  }
  return { is: 'page', items, version, next: textIn(metadata, 'continue') };
}

/** One line of the body of a watch. */
export function decodeWatchLine(kind: ObjectKind, text: string): WatchLine {
  const line = parseJson(text);
  if (!line.ok) return { is: 'bad', reason: line.message };
  const type = isRecord(line.value) ? line.value['type'] : undefined;
  const object = isRecord(line.value) ? line.value['object'] : undefined;
  switch (type) {
    case 'ADDED':
    case 'MODIFIED':
    case 'DELETED':
    case 'BOOKMARK':
      return decodeEvent(kind, type, object);
    case 'ERROR':
      return { is: 'status', ...statusOf(object) };
    default:
      return { is: 'bad', reason: `a line of type ${JSON.stringify(type) ?? 'undefined'}` };
  }
}

function decodeEvent(kind: ObjectKind, type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK', value: unknown): WatchLine {
  const version = isRecord(value) ? textIn(value['metadata'], 'resourceVersion') : '';
  if (version === '') return { is: 'bad', reason: `${type} without a resourceVersion` };
  if (type === 'BOOKMARK') {
    const of = isRecord(value) ? value['kind'] : undefined;
    return of === kind ? { is: 'event', event: { type, kind }, version } : wrongKind(type, kind);
  }
  const read = readObject(withoutManagedFields(value));
  if (read.is === 'object' && read.object.kind !== kind) return wrongKind(type, kind);
  if (read.is !== 'object') return { is: 'bad', reason: `${type}: ${messageOf(read)}` };
  return { is: 'event', event: { type, object: read.object }, version };
}

function wrongKind(type: string, kind: ObjectKind): WatchLine {
  return { is: 'bad', reason: `${type} of another kind in a watch of ${kind}` };
}

function messageOf(read: Exclude<ReturnType<typeof readObject>, { is: 'object' }>): string {
  return read.is === 'bad' ? read.message : `an object of kind ${read.kind}`;
}

/** The server's own words in a refusal: the message of its Status, or the beginning of whatever it sent instead. */
export function refusalOf(httpStatus: number, body: string): { readonly code: number; readonly reason: string } {
  const parsed = parseJson(body);
  if (parsed.ok && isRecord(parsed.value) && parsed.value['kind'] === 'Status') {
    const { code, reason } = statusOf(parsed.value);
    return { code: code === 0 ? httpStatus : code, reason: `${httpStatus}: ${reason}` };
  }
  const beginning = body.slice(0, REASON_CHARACTERS_MAX).replace(/\s+/g, ' ').trim();
  return { code: httpStatus, reason: beginning === '' ? String(httpStatus) : `${httpStatus}: ${beginning}` };
}

/** A whole page of HTML from a proxy is no reason. */
const REASON_CHARACTERS_MAX = 200;

function statusOf(value: unknown): { readonly code: number; readonly reason: string } {
  const status: Fields = isRecord(value) ? value : {};
  const code = typeof status['code'] === 'number' ? status['code'] : 0;
  const message = textIn(status, 'message') || textIn(status, 'reason') || 'an error without words';
  return { code, reason: message };
}

/** Who wrote which field and when: half of an object's size, and nothing of its meaning. */
function withoutManagedFields(value: unknown): unknown {
  if (!isRecord(value) || !isRecord(value['metadata']) || !('managedFields' in value['metadata'])) return value;
  const { managedFields: _, ...metadata } = value['metadata'];
  return { ...value, metadata };
}

function textIn(value: unknown, key: string): string {
  const found = isRecord(value) ? value[key] : undefined;
  return typeof found === 'string' ? found : '';
}
