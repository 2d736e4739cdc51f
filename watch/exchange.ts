// SPDX-License-Identifier: Apache-2.0
/** The two conversations with an API server, a list in pages and a watch, each to its outcome. */
import { concat, defer, from, merge, of, timer, type Observable, type SchedulerLike } from 'rxjs';
import { map, mergeMap, reduce, takeWhile, timeout } from 'rxjs/operators';

import type { ClusterObject, ObjectKind } from '../core/objects.ts';

import { decodePage, decodeWatchLine, refusalOf, type WatchLine } from './decode.ts';
import { splitLines } from './linesplit.ts';
import type { Get, Part } from './request.ts';

/** How a conversation ended when it did not go as wished. */
export type Ending =
  /** The server ended the watch at its time: nothing is missing, it goes on at the last version. */
  | { readonly is: 'expired' }
  /** 410: the version, or the rest of the list, is no longer there. */
  | { readonly is: 'gone'; readonly reason: string }
  /** No connection, a refusal, a cut: what was heard before holds. */
  | { readonly is: 'lost'; readonly reason: string; readonly retryAfterMs: number }
  /** It said what cannot be: what was heard before may be incomplete. */
  | { readonly is: 'garbled'; readonly reason: string };

export type Listed = {
  readonly is: 'listed';
  readonly items: readonly ClusterObject[];
  readonly version: string;
  readonly pages: number;
};

export type Heard = Extract<WatchLine, { is: 'event' }>;

/** The world outside: the network and the time. */
export type Outside = { readonly get: Get; readonly scheduler: SchedulerLike };

/** `version` empty: as it is now, asked of the store; else the server's cache serves, if it is at least that new. */
export type ListWish = { readonly version: string; readonly inPages: boolean };

const PAGE_OBJECTS = 500;
/** A list in one piece, at 2 KB an object, is 100,000 of them. */
const BODY_BYTES_MAX = 256 * 1024 * 1024;
/** A server that accepts and then says nothing. */
const HEAD_MS_MAX = 30_000;
const LIST_MS_MAX = 120_000;
/** The server ends a watch itself when its time is over; one that it forgot is ended this much later. */
const EXPIRY_GRACE_MS = 30_000;

const PATHS: Readonly<Record<ObjectKind, string>> = {
  Node: '/api/v1/nodes',
  Service: '/api/v1/services',
  EndpointSlice: '/apis/discovery.k8s.io/v1/endpointslices',
  Pod: '/api/v1/pods',
};

/** All objects of a kind at one version, or why not; one value. */
export function list(kind: ObjectKind, wish: ListWish, outside: Outside): Observable<Listed | Ending> {
  const rest = (before: Listed, next: string): Observable<Listed | Ending> =>
    page(kind, wish, next, outside).pipe(
      mergeMap((answer) => {
        if (answer.is !== 'page') return of(answer);
        const items = before.pages === 0 ? answer.items : [...before.items, ...answer.items];
        const listed: Listed = { is: 'listed', items, version: answer.version, pages: before.pages + 1 };
        return answer.next === '' ? of(listed) : rest(listed, answer.next);
      }),
    );
  return rest({ is: 'listed', items: [], version: '', pages: 0 }, '');
}

type PageAnswer = Extract<ReturnType<typeof decodePage>, { is: 'page' }> | Ending;

function page(kind: ObjectKind, wish: ListWish, next: string, outside: Outside): Observable<PageAnswer> {
  const query = new URLSearchParams();
  if (wish.inPages) query.set('limit', String(PAGE_OBJECTS));
  if (next !== '') query.set('continue', next);
  else if (wish.version !== '') {
    query.set('resourceVersion', wish.version);
    query.set('resourceVersionMatch', 'NotOlderThan');
  }
  return gathered(outside, `${PATHS[kind]}?${query.toString()}`).pipe(
    map((answer) => {
      const trouble = troubleOf(answer);
      if (trouble !== undefined) return trouble;
      const decoded = decodePage(kind, textOf(answer));
      return decoded.is === 'page' ? decoded : { is: 'garbled', reason: decoded.reason };
    }),
  );
}

/** Whether the server is there and lets us read this kind, and what it thinks the time is (RFC 9110 date). */
export function probe(kind: ObjectKind, outside: Outside): Observable<{ readonly date: string } | Ending> {
  return gathered(outside, `${PATHS[kind]}?limit=1`).pipe(map((answer) => troubleOf(answer) ?? { date: answer.date }));
}

type Answer = {
  status: number;
  retryAfterMs: number;
  date: string;
  readonly pieces: Uint8Array[];
  bytes: number;
  /** Why it is not whole. */
  lost: string | undefined;
};

function newAnswer(): Answer {
  return { status: 0, retryAfterMs: 0, date: '', pieces: [], bytes: 0, lost: 'no answer' };
}

/** A whole answer, one value. */
function gathered(outside: Outside, path: string): Observable<Answer> {
  return defer(() => limited(outside, path, LIST_MS_MAX).pipe(reduce(gatherPart, newAnswer())));
}

/** The answer belongs to one reduction: it is changed in place. */
function gatherPart(answer: Answer, part: Part): Answer {
  switch (part.is) {
    case 'head':
      answer.status = part.status;
      answer.retryAfterMs = part.retryAfterMs;
      answer.date = part.date;
      break;
    case 'bytes':
      answer.bytes += part.bytes.length;
      if (answer.bytes <= BODY_BYTES_MAX) answer.pieces.push(part.bytes);
      break;
    case 'end':
      answer.lost = answer.bytes > BODY_BYTES_MAX ? `an answer of ${answer.bytes} bytes` : undefined;
      break;
    case 'lost':
      answer.lost = part.reason;
  }
  return answer;
}

function textOf(answer: Answer): string {
  return Buffer.concat(answer.pieces).toString('utf8');
}

function troubleOf(answer: Answer): Ending | undefined {
  const { retryAfterMs } = answer;
  if (answer.lost !== undefined) return { is: 'lost', reason: answer.lost, retryAfterMs };
  if (answer.status === 200) return undefined;
  const { code, reason } = refusalOf(answer.status, textOf(answer));
  return code === 410 ? { is: 'gone', reason } : { is: 'lost', reason, retryAfterMs };
}

/** What a watch tells from a version on, then how it ended. */
export function watch(
  kind: ObjectKind,
  wish: { readonly version: string; readonly timeoutSeconds: number },
  outside: Outside,
): Observable<Heard | Ending> {
  const query = new URLSearchParams({
    watch: '1',
    resourceVersion: wish.version,
    allowWatchBookmarks: 'true',
    timeoutSeconds: String(wish.timeoutSeconds),
  });
  const limitMs = wish.timeoutSeconds * 1000 + EXPIRY_GRACE_MS;
  return defer(() => {
    const reading: Reading = { answer: newAnswer(), lines: splitLines() };
    return limited(outside, `${PATHS[kind]}?${query.toString()}`, limitMs).pipe(
      mergeMap((part) => from(readPart(kind, reading, part))),
      takeWhile((step) => step.is === 'event', true),
    );
  });
}

type Reading = { answer: Answer; readonly lines: ReturnType<typeof splitLines> };

function readPart(kind: ObjectKind, reading: Reading, part: Part): readonly (Heard | Ending)[] {
  const { answer, lines } = reading;
  if (part.is !== 'bytes' || answer.status !== 200) {
    gatherPart(answer, part);
    if (part.is !== 'end' && part.is !== 'lost') return [];
    const cut = `cut in the middle of a line, after ${lines.restBytes()} bytes of it`;
    const trouble = troubleOf(answer);
    if (trouble !== undefined) return [trouble];
    return [lines.restBytes() === 0 ? { is: 'expired' } : { is: 'lost', reason: cut, retryAfterMs: 0 }];
  }
  const whole = lines.take(part.bytes);
  if (whole === undefined) return [{ is: 'garbled', reason: 'a line without end' }];
  return whole.filter((text) => text.trim() !== '').map((text) => stepOf(decodeWatchLine(kind, text)));
}

function stepOf(line: WatchLine): Heard | Ending {
  if (line.is === 'event') return line;
  if (line.is === 'bad') return { is: 'garbled', reason: line.reason };
  return line.code === 410
    ? { is: 'gone', reason: line.reason }
    : { is: 'lost', reason: `the watch was ended: ${line.reason}`, retryAfterMs: 0 };
}

/** A request that always ends: with no head in time, or not over in time, it is lost. */
function limited({ get, scheduler }: Outside, path: string, limitMs: number): Observable<Part> {
  const lost = (reason: string): Part => ({ is: 'lost', reason });
  const withHead = get(path).pipe(
    timeout({
      first: HEAD_MS_MAX,
      scheduler,
      with: () => of(lost(`no answer for ${HEAD_MS_MAX / 1000} s`)),
    }),
  );
  const tooLong = timer(limitMs, scheduler).pipe(map(() => lost(`not over after ${limitMs / 1000} s`)));
  return merge(concat(withHead, of(lost('ended without a word'))), tooLong).pipe(
    takeWhile((part) => part.is !== 'end' && part.is !== 'lost', true),
  );
}
