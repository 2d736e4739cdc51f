// SPDX-License-Identifier: Apache-2.0
/** `tandem record --events` and its list and watch against a real kube-apiserver over a real etcd. */
import { spawn, type ChildProcess } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { asyncScheduler, defer, from, lastValueFrom, type Observable } from 'rxjs';
import { mergeMap, take, toArray } from 'rxjs/operators';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { readEventStreams } from '../../formats/events.ts';
import { kubernetesRemedy, lackOfKubernetes } from '../../tools/kubernetes.ts';
import { openConnection } from '../../watch/connection.ts';
import { watch } from '../../watch/exchange.ts';
import type { Get, Part } from '../../watch/request.ts';
import { watchCluster, type ClusterNews } from '../../watch/watch.ts';
import { startApiServer, type ApiServer } from '../cluster/apiserver.ts';
import {
  createMany,
  createNodes,
  meaningOfLists,
  meaningOfRecording,
  saveLists,
  service,
  servicesPath,
  slice,
  slicesPath,
} from './cluster.ts';

const root = join(import.meta.dirname, '../..');

type Recording = { readonly path: string; readonly child: ChildProcess; readonly ended: Promise<number | null> };

function startRecording(server: ApiServer, name: string, more: readonly string[] = []): Recording {
  const path = join(server.folder, `${name}.events.ndjson`);
  const words = ['record', '--events', '-f', path, '--kubeconfig', server.kubeconfig, ...more];
  const child = spawn(process.execPath, ['cli/main.ts', ...words], { cwd: root, stdio: 'inherit' });
  const ended = new Promise<number | null>((resolve) => {
    child.on('exit', (code) => resolve(code));
  });
  return { path, child, ended };
}

/** A copy of the recording without its last line of a type. */
function withoutLast(path: string, type: string): string {
  const lines = readFileSync(path, 'utf8').split('\n');
  const index = lines.findLastIndex((text) => text.includes(`"type":"${type}"`));
  const copy = `${path}-without.events.ndjson`;
  writeFileSync(copy, lines.toSpliced(index, 1).join('\n'));
  return copy;
}

/** Waits until the text of the file satisfies. */
async function until(path: string, holds: (text: string) => boolean): Promise<void> {
  for (let waitedMs = 0; waitedMs < 40_000; waitedMs += 50) {
    try {
      if (holds(readFileSync(path, 'utf8'))) return;
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error;
    }
    await sleep(50);
  }
  throw new Error(`${path}: what was waited for did not come`);
}

const listsIn = (text: string): number => text.split('"type":"LISTED"').length - 1;

/** The last thing that is written; all kinds have their own watch, so each is told that it is over. */
async function endRecording(server: ApiServer, { path, child, ended }: Recording, mark: string): Promise<void> {
  await server.ask('POST', servicesPath, service(mark));
  await server.ask('POST', slicesPath, slice(mark, mark, ['10.244.9.9']));
  const [ofService, ofSlice] = [new RegExp(`"kind":"Service",.*"name":"${mark}"`), `"name":"${mark}","namespace"`];
  await until(path, (text) => ofService.test(text) && text.split(ofSlice).length > 2);
  child.kill('SIGINT');
  expect(await ended).toBe(0);
}

// The one thing that is skipped where it could be had: it takes minutes to build.
const isBuilt = lackOfKubernetes('api') === undefined;

describe.skipIf(!isBuilt)(isBuilt ? 'a real API server' : `no API server: ${kubernetesRemedy}`, () => {
  let server: ApiServer;

  beforeAll(async () => {
    server = await startApiServer();
    await createNodes(server, 'node-1', 'node-2');
  });

  afterAll(async () => {
    await server.stop();
  });

  test('a recording over creations, changes and deletions comes to what lists say at its end, object by object', async () => {
    await createMany(server, servicesPath, [service('before-1'), service('before-2')]);
    const recording = startRecording(server, 'changes');
    await until(recording.path, (text) => listsIn(text) === 3);
    const names = Array.from({ length: 20 }, (_, index) => `web-${index}`);
    await createMany(server, servicesPath, names.map(service));
    await createMany(
      server,
      slicesPath,
      names.map((name, index) => slice(`${name}-a`, name, [`10.244.1.${index + 1}`])),
    );
    for (const name of names.slice(0, 5)) {
      const endpoints = [{ addresses: ['10.244.2.1'], conditions: { ready: false }, nodeName: 'node-2' }];
      await server.ask('PATCH', `${slicesPath}/${name}-a`, { endpoints });
    }
    await server.ask('DELETE', `${servicesPath}/before-1`);
    await server.ask('DELETE', `${servicesPath}/web-7`);
    await server.ask('DELETE', `${slicesPath}/web-8-a`);
    await endRecording(server, recording, 'end-of-changes');
    const recorded = meaningOfRecording(recording.path);
    const listed = meaningOfLists(await saveLists(server));
    expect(recorded.table).toBe(listed.table);
    expect(recorded.objects).toEqual(listed.objects);
    expect(listed.table).toContain('10.244.1.20');
    // One line that was not written would show, whatever it said of Services.
    for (const type of ['ADDED', 'MODIFIED', 'DELETED']) {
      expect(meaningOfRecording(withoutLast(recording.path, type)).objects).not.toEqual(listed.objects);
    }
    const { events, times, headers } = readEventStreams([recording.path]);
    expect(times).toEqual({ exact: events.length, trigger: 0, arrival: 0 });
    expect(headers[0]?.header.cluster).toBe('test');
    expect(readFileSync(recording.path, 'utf8')).not.toContain('managedFields');
  });

  test.each(['SIGKILL', 'SIGTERM'] as const)(
    'the server ends by %s and comes back: the gap is in the stream, and its end is right',
    async (signal) => {
      const recording = startRecording(server, `restart-${signal}`);
      await until(recording.path, (text) => listsIn(text) === 3);
      await server.stopServer(signal);
      await until(recording.path, (text) => text.split('"type":"DISCONNECTED"').length === 4);
      await server.startServer();
      // Before the recorder is back; it must not miss it.
      await server.ask('POST', servicesPath, service(`while-away-${signal.toLowerCase()}`));
      await until(recording.path, (text) => listsIn(text) === 6);
      await endRecording(server, recording, `end-of-${signal.toLowerCase()}`);
      const { events } = readEventStreams([recording.path]);
      for (const kind of ['Node', 'Service', 'EndpointSlice']) {
        const told = events.filter(({ event }) => 'kind' in event && event.kind === kind && event.type !== 'BOOKMARK');
        expect(told.map(({ event }) => event.type)).toEqual(['LISTED', 'DISCONNECTED', 'LISTED']);
      }
      const listed = meaningOfLists(await saveLists(server));
      expect(meaningOfRecording(recording.path)).toEqual(listed);
    },
  );

  test('a version that is no longer there is answered with 410, and a list follows', async () => {
    const get = connect(server);
    const old: Get = rewriteOnce(get, (path) => path.includes('watch=1'), withVersion('1'));
    const news = await hear(old, 'Service', 2);
    expect(news.map(({ event }) => event.type)).toEqual(['LISTED', 'DISCONNECTED', 'LISTED']);
    expect(reasonsOf(news)[0]).toMatch(/too old resource version: 1 /);
  });

  test('pages: a list that is compacted away between two of them is begun again and is whole', async () => {
    const count = 1100;
    const many = Array.from({ length: count }, (_, index) => slice(`many-${index}`, 'many', ['10.244.3.3']));
    await createMany(server, slicesPath, many);
    const paths: string[] = [];
    const whole = await hear(noting(connect(server), paths), 'EndpointSlice', 1);
    expect(paths.filter((path) => path.includes('continue='))).toHaveLength(2);
    const listed = await server.ask('GET', '/apis/discovery.k8s.io/v1/endpointslices');
    expect(namesOf(whole)).toEqual(namesIn(listed));
    expect(namesOf(whole).length).toBeGreaterThanOrEqual(count);

    const forgetful = interrupted(connect(server), 'continue=', async () => {
      const made = await server.ask('POST', servicesPath, service('after-the-first-page'));
      await server.stopServer('SIGKILL');
      await server.compact(versionIn(made));
      await server.startServer();
    });
    const again = await hear(forgetful, 'EndpointSlice', 1);
    expect(again.map(({ event }) => event.type)).toEqual(['DISCONNECTED', 'LISTED']);
    expect(reasonsOf(again)[0]).toMatch(/^410: .*continue/);
    expect(namesOf(again)).toEqual(namesOf(whole));
  });

  test('a silent watch is ended by the server at its time, and that is no loss', async () => {
    const list = await hear(connect(server), 'Node', 1);
    const wish = { version: list[0]?.resourceVersion ?? '', timeoutSeconds: 4 };
    const outside = { get: connect(server), scheduler: asyncScheduler };
    const steps = await lastValueFrom(watch('Node', wish, outside).pipe(toArray()));
    expect(steps.at(-1)).toEqual({ is: 'expired' });
    expect(steps.slice(0, -1).every((step) => step.is === 'event' && step.event.type === 'BOOKMARK')).toBe(true);
  });

  test('4: who has no right to list is told in the words of the server; with the documented rights it records', async () => {
    const nobody = { ...server, kubeconfig: join(server.folder, 'nobody.kubeconfig') };
    expect(await startRecording(nobody, 'nobody').ended).toBe(4);
    const rights = '/apis/rbac.authorization.k8s.io/v1';
    await server.ask('POST', `${rights}/clusterroles`, documentedRole());
    await server.ask('POST', `${rights}/clusterrolebindings`, {
      metadata: { name: 'tandem-record' },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'tandem-record' },
      subjects: [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'User', name: 'nobody' }],
    });
    // The server itself watches rights.
    await sleep(1000);
    const recording = startRecording(nobody, 'somebody', ['--pods']);
    await until(recording.path, (text) => listsIn(text) === 4);
    recording.child.kill('SIGTERM');
    expect(await recording.ended).toBe(0);
  });
});

/** The ClusterRole of docs/recording.md. */
function documentedRole(): unknown {
  const text = readFileSync(join(root, 'docs/recording.md'), 'utf8');
  return parse(/```yaml\n(.*?)```/s.exec(text)?.[1] ?? '');
}

function connect(server: ApiServer): Get {
  const connection = openConnection(server.kubeconfig);
  if (!connection.ok) throw new Error(connection.error.message);
  return connection.value.get;
}

/** News of one kind until so many lists. */
async function hear(
  get: Get,
  kind: 'Node' | 'Service' | 'EndpointSlice',
  lists: number,
): Promise<readonly ClusterNews[]> {
  const options = { kinds: [kind], lists: 'latest' as const, random: Math.random, scheduler: asyncScheduler };
  const news: ClusterNews[] = [];
  let heard = 0;
  await new Promise<void>((resolve, reject) => {
    const subscription = watchCluster({ get, ...options }).subscribe({
      next: (one) => {
        // Bookmarks come as they like.
        if (one.event.type !== 'BOOKMARK') news.push(one);
        if (one.event.type === 'LISTED') heard += 1;
        if (heard === lists) setTimeout(() => (subscription.unsubscribe(), resolve()));
      },
      error: reject,
    });
  });
  return news;
}

function rewriteOnce(get: Get, isIt: (path: string) => boolean, rewrite: (path: string) => string): Get {
  let done = false;
  return (path) => {
    if (done || !isIt(path)) return get(path);
    done = true;
    return get(rewrite(path));
  };
}

function withVersion(version: string): (path: string) => string {
  return (path) => path.replace(/resourceVersion=\d+/, `resourceVersion=${version}`);
}

function noting(get: Get, paths: string[]): Get {
  return (path) => {
    paths.push(path);
    return get(path);
  };
}

/** Does something before the first request whose path holds `part`. */
function interrupted(get: Get, part: string, act: () => Promise<void>): Get {
  let done = false;
  return (path): Observable<Part> => {
    if (done || !path.includes(part)) return get(path);
    done = true;
    return defer(() => from(act())).pipe(
      take(1),
      mergeMap(() => get(path)),
    );
  };
}

function reasonsOf(news: readonly ClusterNews[]): readonly string[] {
  return news.flatMap(({ event }) => (event.type === 'DISCONNECTED' ? [event.reason] : []));
}

function namesOf(news: readonly ClusterNews[]): readonly string[] {
  const event = news.at(-1)?.event;
  if (event?.type !== 'LISTED') throw new Error('the last news is no list');
  return event.items.map(({ metadata }) => metadata?.name ?? '').toSorted();
}

function namesIn(list: unknown): readonly string[] {
  const text = JSON.stringify(list);
  return [...text.matchAll(/"metadata":\{"name":"([^"]+)"/g)].map((match) => match[1] ?? '').toSorted();
}

function versionIn(object: unknown): string {
  return /"resourceVersion":"(\d+)"/.exec(JSON.stringify(object))?.[1] ?? '';
}
