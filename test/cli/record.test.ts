// SPDX-License-Identifier: Apache-2.0
/** `tandem record --events` as a person runs it: what is in the file, however the command ends. */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, expect, test } from 'vitest';
import { readEventStreams } from '../../formats/events.ts';
import { isWatch, kindOfUrl, kubeconfigText, startFakeServer, type FakeServer } from '../watch/fakeserver.ts';
import { line } from '../watch/words.ts';

const root = join(import.meta.dirname, '../..');
let server: FakeServer | undefined;
const folders: string[] = [];

afterEach(async () => {
  await server?.stop();
  server = undefined;
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

type Ended = { readonly code: number | null; readonly output: string; readonly errors: string };
type Running = { readonly ended: Promise<Ended>; readonly kill: (signal: NodeJS.Signals) => void };

/** `limitKb`: no file may grow beyond it, as on a disk that fills up. */
function start(words: readonly string[], { limitKb }: { readonly limitKb?: number } = {}): Running {
  const limit = limitKb === undefined ? '' : `ulimit -f ${limitKb}; `;
  const command = ['-c', `${limit}exec "$@"`, 'bash', process.execPath, 'cli/main.ts', 'record', ...words];
  const child = spawn('bash', command, { cwd: root, env: { PATH: process.env['PATH'], HOME: '/nonexistent' } });
  let [output, errors] = ['', ''];
  child.stdout.on('data', (piece: Buffer) => void (output += piece.toString()));
  child.stderr.on('data', (piece: Buffer) => void (errors += piece.toString()));
  const ended = new Promise<Ended>((resolve) => {
    child.on('close', (code) => resolve({ code, output, errors }));
  });
  return { ended, kill: (signal) => void child.kill(signal) };
}

function service(name: string, version: number): Record<string, unknown> {
  const managedFields = [{ manager: 'kubectl', fieldsV1: { 'f:spec': {} } }];
  const metadata = { name, namespace: 'shop', resourceVersion: String(version), managedFields };
  const ports = [{ name: 'http', port: 80, protocol: 'TCP', targetPort: 8080 }];
  return { apiVersion: 'v1', kind: 'Service', metadata, spec: { clusterIP: '10.96.0.7', ports } };
}

const versionOfList = 100;

/** Three empty lists but for one Service; watches are the caller's. */
function answerWith(watch: (kind: string, response: ServerResponse) => void) {
  return ({ url = '' }: IncomingMessage, response: ServerResponse): void => {
    const kind = kindOfUrl(url);
    response.setHeader('content-type', 'application/json');
    if (isWatch(url)) {
      response.flushHeaders();
      return watch(kind, response);
    }
    const items = kind === 'Service' ? [service('web', 7)] : [];
    const metadata = { resourceVersion: String(versionOfList) };
    response.end(JSON.stringify({ kind: `${kind}List`, metadata, items }));
  };
}

async function linesOf(path: string, atLeast: number): Promise<readonly string[]> {
  for (let tries = 0; tries < 200; tries += 1) {
    try {
      const lines = readFileSync(path, 'utf8').split('\n').slice(0, -1);
      if (lines.length >= atLeast) return lines;
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error;
    }
    await sleep(50);
  }
  throw new Error(`${path} never had ${atLeast} lines`);
}

test('Ctrl-C ends it; the stream has its header, its lists, what was watched, and no managed fields', async () => {
  server = await startFakeServer(
    answerWith((kind, response) => {
      if (kind === 'Service') response.write(line('ADDED', service('api', 101)));
    }),
  );
  const path = join(server.folder, 'out.events.ndjson');
  const { ended, kill } = start(['--events', '-f', path, '--kubeconfig', server.kubeconfig, '-o', 'json']);
  const lines = await linesOf(path, 5);
  kill('SIGINT');
  const { code, output } = await ended;
  expect(code).toBe(0);
  expect(JSON.parse(output)).toMatchObject({ kind: 'Recording', lines: 5, lists: 3, changes: 1, interruptions: 0 });
  expect(JSON.parse(lines[0] ?? '')).toMatchObject({ type: 'STREAM', cluster: 'fake', clock: { offsetNs: 0 } });
  expect(lines.join('\n')).not.toContain('managedFields');
  const streams = readEventStreams([path]);
  expect({ failures: streams.failures, problems: streams.problems, times: streams.times }).toEqual({
    failures: [],
    problems: [],
    times: { exact: 4, trigger: 0, arrival: 0 },
  });
  expect(streams.events.at(-1)?.event).toMatchObject({ type: 'ADDED', object: { metadata: { name: 'api' } } });
});

test('--for ends it by itself; an interruption is in the stream, and so is the list after it', async () => {
  let watches = 0;
  server = await startFakeServer(
    answerWith((kind, response) => {
      if (kind !== 'Service') return;
      watches += 1;
      if (watches === 1) setTimeout(() => response.socket?.destroy(), 50);
    }),
  );
  const path = join(server.folder, 'out.events.ndjson');
  const { ended } = start(['--events', '-f', path, '--kubeconfig', server.kubeconfig, '--for', '2s']);
  const { code, output } = await ended;
  expect(code).toBe(0);
  expect(output).toBe(`${path}: 6 lines: 4 lists, 0 changes, 0 bookmarks, 1 interruptions\n`);
  const ofServices = readEventStreams([path]).events.map(({ event }) => event);
  const told = ofServices.filter((event) => 'kind' in event && event.kind === 'Service');
  expect(told.map(({ type }) => type)).toEqual(['LISTED', 'DISCONNECTED', 'LISTED']);
});

test('kill -9 at any moment leaves whole lines, but perhaps a last one that says itself that it is cut', async () => {
  const flood = line('MODIFIED', { ...service('web', 101), padding: 'x'.repeat(20_000) });
  server = await startFakeServer(
    answerWith((kind, response) => {
      if (kind !== 'Service') return;
      const pour = (): void => {
        while (!response.destroyed && response.write(flood));
      };
      response.on('drain', pour);
      pour();
    }),
  );
  for (const extraMs of [0, 13, 40]) {
    const path = join(server.folder, `killed-${extraMs}.events.ndjson`);
    const { ended, kill } = start(['--events', '-f', path, '--kubeconfig', server.kubeconfig]);
    await linesOf(path, 50);
    await sleep(extraMs);
    kill('SIGKILL');
    await ended;
    const text = readFileSync(path, 'utf8');
    const { events, failures } = readEventStreams([path]);
    const whole = text.split('\n').length - 1;
    expect(events).toHaveLength(whole - 1);
    // Linux itself cuts a write at a page when the process is killed meanwhile.
    expect(failures).toHaveLength(text.endsWith('\n') ? 0 : 1);
  }
});

test('4: a disk that fills up ends it with a whole line', async () => {
  server = await startFakeServer(
    answerWith((kind, response) => {
      if (kind !== 'Service') return;
      for (let version = 101; version < 200; version += 1) response.write(line('MODIFIED', service('web', version)));
    }),
  );
  const path = join(server.folder, 'full.events.ndjson');
  const words = ['--events', '-f', path, '--kubeconfig', server.kubeconfig];
  const { code, errors } = await start(words, { limitKb: 4 }).ended;
  expect(errors).toMatch(/^tandem: .*full\.events\.ndjson: cannot be written: EFBIG; it ends with a whole line\n$/);
  expect(code).toBe(4);
  expect(readEventStreams([path]).failures).toEqual([]);
  expect(readFileSync(path).length).toBeGreaterThan(3000);
});

/** A kubeconfig that outlives its server. */
function startedAgainst(url: string): string {
  const path = join(mkdtempSync(join(tmpdir(), 'tandem-watch-')), 'kubeconfig');
  writeFileSync(path, kubeconfigText(url));
  folders.push(dirname(path));
  return path;
}

test('4: who may not list, and a server that is not there, are told before a file is made', async () => {
  server = await startFakeServer((_request, response) => {
    response.statusCode = 403;
    response.end(JSON.stringify({ kind: 'Status', code: 403, message: 'nodes is forbidden' }));
  });
  const path = join(server.folder, 'none.events.ndjson');
  const words = ['--events', '-f', path, '--kubeconfig', server.kubeconfig];
  const refused = await start(words).ended;
  expect(refused).toEqual({
    code: 4,
    output: '',
    errors: `tandem: ${server.url}: cannot list Nodes: 403: nodes is forbidden\n`,
  });
  await server.stop();
  const refusedToo = startedAgainst(server.url);
  server = undefined;
  const absent = await start(['--events', '-f', path, '--kubeconfig', refusedToo]).ended;
  expect(absent.code).toBe(4);
  expect(absent.errors).toMatch(/cannot list Nodes: connect ECONNREFUSED 127\.0\.0\.1:\d+\n$/);
  expect(() => readFileSync(path)).toThrow(/ENOENT/);
});

test.each([
  [['-f', 'x'], 'record: what to record is not said; write tandem record --events -f NAME.events.ndjson'],
  [['--events'], 'record: where to is not said; write tandem record --events -f NAME.events.ndjson'],
  [['--events', '-f', 'x', '--for', '10'], '--for 10: not a time of at most 24 days; write 90s, 10m or 2h'],
  [['--events', '-f', 'x.json'], 'x.json: no name for an event stream; name it .events.ndjson'],
  [['--events', '-f', 'x', '--for', '99999h'], '--for 99999h: not a time of at most 24 days; write 90s, 10m or 2h'],
])('2: %j', async (words, message) => {
  expect(await start(words).ended).toEqual({ code: 2, output: '', errors: `tandem: ${message}\n` });
});

test('2: a recording is not made twice; 4: without any kubeconfig it says where one would be looked for', async () => {
  server = await startFakeServer(answerWith(() => {}));
  const path = join(server.folder, 'old.events.ndjson');
  writeFileSync(path, 'what was recorded before');
  const again = await start(['--events', '-f', path, '--kubeconfig', server.kubeconfig]).ended;
  expect(again).toMatchObject({ code: 2, errors: `tandem: ${path}: is there already; name another file\n` });
  expect(readFileSync(path, 'utf8')).toBe('what was recorded before');
  const without = await start(['--events', '-f', join(server.folder, 'never.events.ndjson')]).ended;
  expect(without.errors).toBe('tandem: kubeconfig: there is none; name a kubeconfig with --kubeconfig\n');
  expect(without.code).toBe(4);
});
