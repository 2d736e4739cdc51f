// SPDX-License-Identifier: Apache-2.0
/** Whatever a server does to its watchers, once it is calm they know what it holds: random faults in virtual time. */
import * as fc from 'fast-check';
import { concat, NEVER, Observable, of, timer, type SchedulerLike, type Subscriber } from 'rxjs';
import { TestScheduler } from 'rxjs/testing';
import { expect, test } from 'vitest';
import type { Part } from '../../watch/request.ts';
import { watchCluster, type ClusterNews } from '../../watch/watch.ts';
import { bookmark, line, requestText, service, status } from './words.ts';

/** What happens to the server, and how long before the next thing. */
type Deed = { readonly waitMs: number; readonly does: string; readonly name: number };

const deeds = fc.record({
  waitMs: fc.integer({ min: 0, max: 3000 }),
  name: fc.integer({ min: 0, max: 5 }),
  does: fc.constantFrom(
    ...[
      'put',
      'put',
      'put',
      'delete',
      'bookmark',
      'expire',
      'cut',
      'cut in a line',
      'garbage',
      'forget',
      'end of life',
    ],
    ...['refuse', 'serve', 'serve', 'mute', 'small pages', 'large pages'],
  ),
});

/** One kind of objects with all their history; watchers are written to as things happen. */
class Server {
  readonly objects = new Map<string, number>();
  private readonly scheduler: SchedulerLike;
  private readonly history: { readonly version: number; readonly text: string }[] = [];
  private watchers: { readonly to: Subscriber<Part>; readonly from: number }[] = [];
  private version = 10;
  /** Watches from before here are gone. */
  private oldest = 10;
  private mood: 'serve' | 'refuse' | 'mute' = 'serve';
  private pageSize = 100;

  constructor(scheduler: SchedulerLike) {
    this.scheduler = scheduler;
  }

  readonly get = (path: string): Observable<Part> => {
    const what = requestText(path);
    if (this.mood === 'mute') return NEVER;
    if (this.mood === 'refuse') return of({ is: 'lost', reason: 'refused' });
    return what.startsWith('watch') ? this.watch(Number(what.split(' ')[1]), path) : this.list(path);
  };

  do({ does, name }: Deed): void {
    const key = `service-${name}`;
    switch (does) {
      case 'put': {
        const type = this.objects.has(key) ? 'MODIFIED' : 'ADDED';
        this.objects.set(key, ++this.version);
        return this.tell(line(type, service(key, this.version)));
      }
      case 'delete':
        if (!this.objects.delete(key)) return undefined;
        return this.tell(line('DELETED', service(key, ++this.version)));
      case 'bookmark':
        return this.write(bookmark(this.version));
      case 'expire':
        return this.finish({ is: 'end' });
      case 'cut':
        return this.finish({ is: 'lost', reason: 'aborted' });
      case 'cut in a line':
        this.write(line('ADDED', service('phantom', this.version)).slice(0, 30));
        return this.finish({ is: 'end' });
      case 'garbage':
        return this.write('{"type":"ADDED",\n');
      case 'forget':
        this.oldest = this.version;
        return undefined;
      case 'end of life':
        this.oldest = this.version;
        this.write(line('ERROR', status(410, 'too old')));
        return this.finish({ is: 'end' });
      case 'small pages':
      case 'large pages':
        this.pageSize = does === 'small pages' ? 2 : 100;
        return undefined;
      case 'serve':
      case 'refuse':
      case 'mute':
        this.mood = does;
        return undefined;
      default:
        throw new Error(`nothing does ${does}`);
    }
  }

  private tell(text: string): void {
    this.history.push({ version: this.version, text });
    if (this.mood === 'serve') this.write(text, this.version);
    // A change that a watcher was not told must not be missed silently: its watch has broken.
    else this.finish({ is: 'lost', reason: 'aborted' });
  }

  /** An event goes to those who watch from before it. */
  private write(text: string, version = Number.POSITIVE_INFINITY): void {
    for (const { to, from } of [...this.watchers]) if (version > from) to.next(bytes(text));
  }

  private finish(part: Part): void {
    for (const { to } of this.watchers.splice(0)) {
      to.next(part);
      to.complete();
    }
  }

  /** Ended in time: a list that a forgotten watch leads to would hide what the watch missed. */
  private watch(from: number, path: string): Observable<Part> {
    if (from < this.oldest) return whole(410, JSON.stringify(status(410, 'too old')));
    return new Observable((subscriber) => {
      subscriber.next(head(200));
      for (const { version, text } of this.history) if (version > from) subscriber.next(bytes(text));
      this.watchers.push({ to: subscriber, from });
      const seconds = Number(new URL(path, 'http://server').searchParams.get('timeoutSeconds'));
      const expiry = timer(seconds * 1000, this.scheduler).subscribe(() => {
        subscriber.next({ is: 'end' });
        subscriber.complete();
      });
      return () => {
        expiry.unsubscribe();
        this.watchers = this.watchers.filter(({ to }) => to !== subscriber);
      };
    });
  }

  /** A token is `version:position`; a page of a version that is no longer there is gone. */
  private list(path: string): Observable<Part> {
    const query = new URL(path, 'http://server').searchParams;
    const [of = this.version, from = 0] = query.get('continue')?.split(':').map(Number) ?? [];
    if (of !== this.version) return whole(410, JSON.stringify(status(410, 'the continue token is too old')));
    const size = query.get('limit') === null ? this.objects.size : this.pageSize;
    const entries = [...this.objects].slice(from, from + size);
    const items = entries.map(([name, version]) => ({ metadata: service(name, version)['metadata'] }));
    const next = from + size < this.objects.size ? `${of}:${from + size}` : '';
    const metadata = { resourceVersion: String(this.version), continue: next };
    return whole(200, JSON.stringify({ kind: 'ServiceList', metadata, items }));
  }
}

const head = (code: number): Part => ({ is: 'head', status: code, retryAfterMs: 0, date: '' });
const bytes = (text: string): Part => ({ is: 'bytes', bytes: Buffer.from(text) });
const whole = (code: number, text: string): Observable<Part> =>
  concat(of(head(code), bytes(text), { is: 'end' } as const));

/** Longer than the longest wait and the longest silence that is waited for, with what was already waited. */
const CALM_MS = 400_000;

/** Runs the deeds one after the other, then calm; what was heard. */
function hear(
  happens: readonly Deed[],
  random: () => number,
): { readonly server: Server; readonly news: readonly ClusterNews[] } {
  const scheduler = new TestScheduler(() => {});
  const server = new Server(scheduler);
  const heard: ClusterNews[] = [];
  scheduler.run(() => {
    const options = { kinds: ['Service'] as const, lists: 'latest' as const, random };
    const subscription = watchCluster({ get: server.get, scheduler, ...options }).subscribe((news) => heard.push(news));
    let atMs = 0;
    for (const deed of happens) {
      atMs += deed.waitMs;
      scheduler.schedule(() => server.do(deed), atMs);
    }
    scheduler.schedule(() => server.do({ does: 'serve', waitMs: 0, name: 0 }), atMs);
    scheduler.schedule(() => subscription.unsubscribe(), atMs + CALM_MS);
  });
  return { server, news: heard };
}

/** Names and versions as a reader of the news knows them. */
function known(news: readonly ClusterNews[]): ReadonlyMap<string, number> {
  const objects = new Map<string, number>();
  for (const { event } of news) {
    if (event.type === 'LISTED') objects.clear();
    const changed = event.type === 'LISTED' ? event.items : 'object' in event ? [event.object] : [];
    for (const { metadata } of changed) {
      if (event.type === 'DELETED') objects.delete(metadata?.name ?? '');
      else objects.set(metadata?.name ?? '', Number(metadata?.resourceVersion));
    }
  }
  return objects;
}

const sorted = (objects: ReadonlyMap<string, number>): readonly string[] =>
  [...objects].map(([name, version]) => `${name} @${version}`).toSorted();

test('once a server is calm its watchers know what it holds, and nothing came between a loss and its list', () => {
  fc.assert(
    fc.property(
      fc.array(deeds, { maxLength: 60 }),
      fc.double({ min: 0, max: 0.999, noNaN: true }),
      (happens, chance) => {
        const { server, news } = hear(happens, () => chance);
        expect(sorted(known(news))).toEqual(sorted(server.objects));
        const types = news.map(({ event }) => event.type);
        types.forEach((type, index) => {
          if (type === 'DISCONNECTED') expect([undefined, 'LISTED']).toContain(types[index + 1]);
        });
        expect(types[0] === 'LISTED' || types[0] === 'DISCONNECTED').toBe(true);
      },
    ),
    { numRuns: 300 },
  );
});

test('a watcher that missed one change is found by this comparison', () => {
  const happens = [1, 2, 3].map((name) => ({ waitMs: 10, does: 'put', name }));
  const { server, news } = hear(happens, () => 0);
  const last = news.findLastIndex(({ event }) => event.type === 'ADDED');
  expect(sorted(known(news.toSpliced(last, 1)))).not.toEqual(sorted(server.objects));
});
