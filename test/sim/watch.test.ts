// SPDX-License-Identifier: Apache-2.0
import { expect, test } from 'vitest';
import type { ClusterEvent, ServiceObject } from '../../core/objects.ts';
import { createStream } from '../../core/random.ts';
import { createApi, type Api } from '../../sim/api.ts';
import { createClock, type Clock } from '../../sim/clock.ts';
import { drawSwarm } from '../../sim/swarm.ts';
import { createWatch, type Watch } from '../../sim/watch.ts';

type Scene = { readonly clock: Clock; readonly api: Api; readonly watch: Watch; readonly heard: string[] };

const service = (name: string): ServiceObject => ({ kind: 'Service', metadata: { namespace: 'sim', name } });

function textOf(event: ClusterEvent): string {
  if (event.type === 'LISTED') return `LISTED ${event.items.map(({ metadata }) => metadata?.name).join(' ')}`.trim();
  if (event.type === 'DISCONNECTED') return `DISCONNECTED ${event.reason}`;
  return event.type === 'BOOKMARK' ? 'BOOKMARK' : `${event.type} ${event.object.metadata?.name}`;
}

/** A watch that has listed one Service. */
function scene(): Scene {
  const clock = createClock();
  const api = createApi();
  const heard: string[] = [];
  const stream = createStream(1);
  const swarm = { ...drawSwarm(stream), duplicateShare: 0, watchDelayUs: 1e3 };
  const deliver = (event: ClusterEvent): void => void heard.push(textOf(event));
  const watch = createWatch({ clock, stream, swarm, api, kind: 'Service', deliver, mistake: undefined });
  api.write(service('a'));
  watch.start();
  after({ clock, api, watch, heard }, 1);
  return { clock, api, watch, heard };
}

function after({ clock, heard }: Scene, seconds: number): string[] {
  clock.runUntil(clock.nowUs() + seconds * 1e6, () => false);
  return heard.splice(0);
}

test('a watch that ended goes on where it was, with what was under way and what it missed', () => {
  const it = scene();
  it.watch.stall(1e6);
  it.api.write(service('b'));
  it.watch.end();
  it.api.remove('Service', 'a');
  expect(after(it, 20)).toEqual(['ADDED b', 'DELETED a']);
});

test('410 Gone: what was missed is forgotten, so everything is listed', () => {
  const it = scene();
  it.watch.end();
  it.api.write(service('b'));
  it.api.compact();
  expect(after(it, 30)).toEqual(['DISCONNECTED 410 Gone', 'LISTED a b']);
});

test('a bookmark saves the list after a compaction', () => {
  const it = scene();
  it.api.write({ kind: 'EndpointSlice', metadata: { namespace: 'sim', name: 's' } });
  expect(after(it, 60)).toEqual(['BOOKMARK']);
  it.api.compact();
  it.watch.end();
  expect(after(it, 20)).toEqual([]);
  it.api.write(service('b'));
  expect(after(it, 1)).toEqual(['ADDED b']);
});

test('a connection that is dead and silent is given up after a while, and nothing is missed', () => {
  const it = scene();
  it.watch.goSilent();
  it.api.write(service('b'));
  expect(after(it, 80)).toEqual([]);
  expect(after(it, 20)).toEqual(['ADDED b']);
});

test('a list older than the watch goes back in time, and comes forward again', () => {
  const it = scene();
  it.api.write(service('b'));
  it.api.remove('Service', 'a');
  expect(after(it, 1)).toEqual(['ADDED b', 'DELETED a']);
  it.watch.listBehind(2);
  expect(after(it, 20)).toEqual(['DISCONNECTED list again', 'LISTED a', 'ADDED b', 'DELETED a']);
});
