// SPDX-License-Identifier: Apache-2.0
/** What a recording holds is what was heard: news written down and read back, and folded without the way over a file. */
import * as fc from 'fast-check';
import { from, NEVER, Subject, lastValueFrom } from 'rxjs';
import { reduce } from 'rxjs/operators';
import { expect, test } from 'vitest';
import { applyEvent, emptyCluster } from '../../core/control/cluster.ts';
import { compileServices } from '../../core/control/tell/document.ts';
import type { ClusterEvent, ClusterObject, ObjectKind } from '../../core/objects.ts';
import { fail, ok } from '../../core/result.ts';
import { defaultConfiguration } from '../../formats/config.ts';
import { readEventStreams } from '../../formats/events.ts';
import { compareInstants } from '../../formats/instant.ts';
import { anchorClock } from '../../watch/clock.ts';
import type { LineFile } from '../../watch/linefile.ts';
import { record, type Recorded } from '../../watch/record.ts';
import { eventsOf, type ClusterNews } from '../../watch/watch.ts';

const kinds: readonly ObjectKind[] = ['Node', 'Service', 'EndpointSlice', 'Pod'];

function object(kind: ObjectKind, name: string): ClusterObject {
  const metadata = {
    name,
    namespace: 'shop',
    resourceVersion: '7',
    labels: { 'kubernetes.io/service-name': 'ünicode' },
  };
  return { kind, metadata, spec: { clusterIP: '10.96.0.7', ports: [{ port: 80 }] } } as ClusterObject;
}

const objects = fc.tuple(fc.constantFrom(...kinds), fc.constantFrom('a', 'b', 'ünicode'));
const news = fc
  .oneof(
    objects.chain(([kind, name]) =>
      fc.constantFrom('ADDED', 'MODIFIED', 'DELETED').map((type) => ({ type, object: object(kind, name) })),
    ),
    objects.map(([kind, name]) => ({ type: 'LISTED', kind, items: [object(kind, name), object(kind, 'other')] })),
    objects.map(([kind, reason]) => ({ type: 'DISCONNECTED', kind, reason })),
    objects.map(([kind]) => ({ type: 'BOOKMARK', kind })),
  )
  .map((event): ClusterNews => ({ event: event as ClusterEvent, resourceVersion: '7' }));

/** Every kind begins with its list, as a watch does. */
const stories = fc
  .array(news, { maxLength: 30 })
  .map((story) => [
    ...kinds.map((kind): ClusterNews => ({ event: { type: 'LISTED', kind, items: [] }, resourceVersion: '1' })),
    ...story,
  ]);

function memoryFile(linesMax = Number.POSITIVE_INFINITY): { readonly file: LineFile; readonly lines: string[] } {
  const lines: string[] = [];
  const append = (text: string): ReturnType<LineFile['append']> => {
    if (lines.length >= linesMax) return fail('environment', 'memory', 'is full');
    lines.push(text);
    return ok(undefined);
  };
  return { lines, file: { append, close: () => {} } };
}

function write(story: readonly ClusterNews[], file: LineFile): Promise<Recorded> {
  const header = { cluster: 'c', recorder: 'r', clock: { offsetNs: 0, errorNs: 1 } };
  return record(from(story), file, { clock: anchorClock(), header, more: {}, until: NEVER, onLine: () => {} });
}

test('any news come back from the file as they were heard, with times that never go back', async () => {
  await fc.assert(
    fc.asyncProperty(stories, async (story) => {
      const { file, lines } = memoryFile();
      const recorded = await write(story, file);
      const streams = readEventStreams([{ name: 'memory', bytes: Buffer.from(lines.join('')) }]);
      expect(streams.failures).toEqual([]);
      expect(streams.problems).toEqual([]);
      expect(streams.events.map(({ event }) => event)).toEqual(story.map(({ event }) => event));
      const isOrdered = streams.events.every(
        (one, index) => index === 0 || compareInstants(streams.events[index - 1] ?? one, one) <= 0,
      );
      expect(isOrdered).toBe(true);
      expect(recorded.lines).toBe(story.length + 1);
    }),
    { numRuns: 50 },
  );
});

test('the model folds the news as they come', async () => {
  const story: readonly ClusterNews[] = [
    { event: { type: 'LISTED', kind: 'Service', items: [object('Service', 'web')] }, resourceVersion: '1' },
  ];
  const folded = eventsOf(from(story)).pipe(reduce((state, event) => applyEvent(state, event).state, emptyCluster()));
  const { frontends } = compileServices(await lastValueFrom(folded), defaultConfiguration());
  expect(frontends.map(({ service, address }) => `${service} ${address}`)).toEqual(['shop/web 10.96.0.7']);
});

test('a file that takes no more ends the recording with the reason, and the watch with it', async () => {
  const { file, lines } = memoryFile(2);
  const heard = new Subject<ClusterNews>();
  const header = { cluster: 'c', recorder: 'r', clock: undefined };
  const ended = record(heard, file, { clock: anchorClock(), header, more: {}, until: NEVER, onLine: () => {} });
  for (const kind of kinds) heard.next({ event: { type: 'LISTED', kind, items: [] }, resourceVersion: '1' });
  expect(await ended).toMatchObject({ lines: 2, lists: 1, whole: ['Node'], failure: { message: 'is full' } });
  expect(heard.observed).toBe(false);
  const atOnce = kinds.map((kind): ClusterNews => ({ event: { type: 'BOOKMARK', kind }, resourceVersion: '1' }));
  expect(await write(atOnce, memoryFile(3).file)).toMatchObject({ lines: 3, failure: { message: 'is full' } });
  expect(await write(atOnce, memoryFile(0).file)).toMatchObject({ lines: 0, failure: { message: 'is full' } });
  expect(lines).toHaveLength(2);
});
