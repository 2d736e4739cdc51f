// SPDX-License-Identifier: Apache-2.0
/** A kind of objects followed for ever: listed, watched, and found again after whatever happens in between. */
import { defer, EMPTY, merge, of, timer, type Observable } from 'rxjs';
import { map, mergeMap, repeat } from 'rxjs/operators';

import type { ClusterEvent, ObjectKind } from '../core/objects.ts';

import { backoffMs } from './backoff.ts';
import { list, watch, type Ending, type Heard, type Listed, type Outside } from './exchange.ts';

/** One thing that was heard; `resourceVersion` is empty where the event has none. */
export type ClusterNews = { readonly event: ClusterEvent; readonly resourceVersion: string };

export type WatchOptions = Outside & {
  readonly kinds: readonly ObjectKind[];
  /** Where lists come from: the store as it is now, or a server's cache that is not older than what is known. */
  readonly lists: 'latest' | 'cached';
  /** From 0 up to 1. */
  readonly random: () => number;
};

/** A watch is asked to end after so many seconds, and up to half as many again by chance. */
const WATCH_SECONDS = 240;
/** A watch that ends sooner and said nothing has failed, however politely. */
const LIVED_MS = 1000;

/** All kinds, each on its own; never completes and never fails. */
export function watchCluster(options: WatchOptions): Observable<ClusterNews> {
  return merge(...options.kinds.map((kind) => watchKind(kind, options)));
}

/** What the model folds: the news without versions. */
export function eventsOf(news: Observable<ClusterNews>): Observable<ClusterEvent> {
  return news.pipe(map(({ event }) => event));
}

/** What is known between two conversations; one subscription owns it. */
type Place = {
  /** From where a watch can go on; empty: nothing is known, a list is due. */
  version: string;
  /** The newest version ever heard: no later list may be older. */
  seen: string;
  failures: number;
  waitMs: number;
  /** Whether DISCONNECTED was said since the last time that all was well. */
  isLoss: boolean;
  inPages: boolean;
  /** A cache that cannot answer, or is behind what is known for good (a store put back from a copy), is passed by. */
  fromStore: boolean;
};

function newPlace({ lists }: WatchOptions): Place {
  return {
    ...{ version: '', seen: '', failures: 0, waitMs: 0 },
    ...{ isLoss: false, inPages: true, fromStore: lists === 'latest' },
  };
}

function watchKind(kind: ObjectKind, options: WatchOptions): Observable<ClusterNews> {
  return defer(() => {
    const place: Place = newPlace(options);
    const round = defer(() => (place.version === '' ? listed(kind, place, options) : watched(kind, place, options)));
    return round.pipe(repeat({ delay: () => timer(place.waitMs, options.scheduler) }));
  });
}

function listed(kind: ObjectKind, place: Place, options: WatchOptions): Observable<ClusterNews> {
  const version = place.fromStore ? '' : place.seen === '' ? '0' : place.seen;
  return list(kind, { version, inPages: place.inPages }, options).pipe(
    mergeMap((step) => {
      if (step.is !== 'listed') {
        // The rest of a list is kept for minutes only. In one piece there is no rest.
        if (step.is === 'gone') place.inPages = false;
        place.fromStore = true;
        return conclude(kind, place, step, options);
      }
      return of(takeList(kind, place, step, options));
    }),
  );
}

function takeList(kind: ObjectKind, place: Place, { items, version }: Listed, { lists }: WatchOptions): ClusterNews {
  place.version = version;
  place.seen = version;
  place.waitMs = 0;
  place.isLoss = false;
  place.inPages = true;
  place.fromStore = lists === 'latest';
  return { event: { type: 'LISTED', kind, items }, resourceVersion: version };
}

function watched(kind: ObjectKind, place: Place, options: WatchOptions): Observable<ClusterNews> {
  return defer(() => {
    const sinceMs = options.scheduler.now();
    const timeoutSeconds = Math.round(WATCH_SECONDS * (1 + options.random() / 2));
    return watch(kind, { version: place.version, timeoutSeconds }, options).pipe(
      mergeMap((step) => {
        if (step.is === 'event') return of(takeEvent(place, step));
        if (options.scheduler.now() - sinceMs >= LIVED_MS) place.failures = 0;
        return conclude(kind, place, step, options);
      }),
    );
  });
}

function takeEvent(place: Place, { event, version }: Heard): ClusterNews {
  place.version = version;
  place.seen = version;
  place.failures = 0;
  place.isLoss = false;
  return { event, resourceVersion: version };
}

/** Decides what comes next, and says that something may be missing, once until all is well again. */
function conclude(kind: ObjectKind, place: Place, ending: Ending, options: WatchOptions): Observable<ClusterNews> {
  const retryAfterMs = ending.is === 'lost' ? ending.retryAfterMs : 0;
  // The first time without delay: a watch that expires, or a version too old, is everyday.
  const isEveryday = (ending.is === 'expired' || ending.is === 'gone') && place.failures === 0;
  place.failures += 1;
  place.waitMs = isEveryday ? 0 : backoffMs(place.failures, { random: options.random(), retryAfterMs });
  if (ending.is === 'expired') return EMPTY;
  // A watch could often go on at its last version; only a list makes certain, and says in the stream, that nothing is
  // missing from here on.
  place.version = '';
  if (place.isLoss) return EMPTY;
  place.isLoss = true;
  return of({ event: { type: 'DISCONNECTED', kind, reason: ending.reason }, resourceVersion: place.seen });
}
