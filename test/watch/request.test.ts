// SPDX-License-Identifier: Apache-2.0
/** The edge to the network over real sockets: what a server does becomes parts, and leaving ends the request. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { firstValueFrom, lastValueFrom } from 'rxjs';
import { takeWhile, toArray } from 'rxjs/operators';
import { afterEach, expect, test } from 'vitest';
import { openConnection, type Connection } from '../../watch/connection.ts';
import type { Part } from '../../watch/request.ts';
import { kubeconfigText, startFakeServer, type Answer, type FakeServer } from './fakeserver.ts';

let server: FakeServer | undefined;

afterEach(async () => {
  await server?.stop();
  server = undefined;
});

async function connect(answer: Answer): Promise<Connection> {
  server = await startFakeServer(answer);
  const connection = openConnection(server.kubeconfig);
  if (!connection.ok) throw new Error(connection.error.message);
  return connection.value;
}

async function partsOf({ get }: Connection): Promise<readonly string[]> {
  return (await lastValueFrom(get('/x').pipe(toArray()))).map(partText);
}

function partText(part: Part): string {
  switch (part.is) {
    case 'head':
      return `head ${part.status} ${part.retryAfterMs}`;
    case 'bytes':
      return Buffer.from(part.bytes).toString('utf8');
    case 'end':
      return 'end';
    case 'lost':
      return `lost ${part.reason}`;
  }
}

test('an answer arrives as it is sent, piece by piece, with the token of the kubeconfig', async () => {
  const connection = await connect(async (request, response) => {
    response.setHeader('retry-after', '3');
    response.write(request.headers.authorization ?? 'none');
    await sleep(30);
    response.end('second');
  });
  expect(connection.cluster).toBe('fake');
  expect(await partsOf(connection)).toEqual(['head 200 3000', 'Bearer a-token', 'second', 'end']);
});

test('a connection that is cut in the middle is lost, not ended', async () => {
  const connection = await connect(async (_request, response) => {
    response.write('half a li');
    await sleep(30);
    response.socket?.destroy();
  });
  expect(await partsOf(connection)).toEqual(['head 200 0', 'half a li', 'lost aborted (ECONNRESET)']);
});

test('nobody there is lost, with the address and the error by name', async () => {
  const connection = await connect(() => {});
  await server?.stop();
  const parts = await partsOf(connection);
  expect(parts).toHaveLength(1);
  expect(parts[0]).toMatch(/^lost connect ECONNREFUSED 127\.0\.0\.1:\d+$/);
});

test('who has heard enough ends the request: the server sees it go', async () => {
  let gone: (() => void) | undefined;
  const left = new Promise<void>((resolve) => {
    gone = resolve;
  });
  const connection = await connect((request, response) => {
    request.on('close', () => gone?.());
    response.write('first\n');
  });
  await firstValueFrom(connection.get('/x').pipe(takeWhile((part) => part.is !== 'bytes', true)));
  await left;
});

test('a token that is refused is asked for again, though the plugin never said that it would end', async () => {
  server = await startFakeServer(({ headers }, response) => {
    response.statusCode = headers.authorization === 'Bearer two' ? 200 : 401;
    response.end(headers.authorization);
  });
  const token = join(server.folder, 'token');
  const credential = '{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","status":{"token":"%s"}}';
  const plugin = { command: 'sh', args: ['-c', `printf '${credential}' "$(cat ${token})"`] };
  const config = kubeconfigText(server.url).replace('"token":"a-token"', `"exec":${JSON.stringify(plugin)}`);
  writeFileSync(server.kubeconfig, config);
  writeFileSync(token, 'one');
  const connection = openConnection(server.kubeconfig);
  if (!connection.ok) throw new Error(connection.error.message);
  expect(await partsOf(connection.value)).toEqual(['head 401 0', 'Bearer one', 'end']);
  writeFileSync(token, 'two');
  expect(await partsOf(connection.value)).toEqual(['head 200 0', 'Bearer two', 'end']);
});

test('a plugin that fails is lost, in its own words', async () => {
  server = await startFakeServer(() => {});
  const plugin = { command: 'sh', args: ['-c', 'echo log in first >&2; exit 1'] };
  const config = kubeconfigText(server.url).replace('"token":"a-token"', `"exec":${JSON.stringify(plugin)}`);
  writeFileSync(server.kubeconfig, config);
  const connection = openConnection(server.kubeconfig);
  if (!connection.ok) throw new Error(connection.error.message);
  expect(await partsOf(connection.value)).toEqual(['lost log in first']);
});

test('a kubeconfig that is not there, is none, or names no cluster is told apart', () => {
  const folder = mkdtempSync(join(tmpdir(), 'tandem-watch-'));
  const write = (name: string, text: string): string => {
    writeFileSync(join(folder, name), text);
    return join(folder, name);
  };
  const texts = [
    join(folder, 'absent'),
    write('broken', 'clusters: [\n'),
    write('empty', 'apiVersion: v1\nkind: Config\nclusters: []\ncontexts: []\nusers: []\n'),
    write('odd', kubeconfigText('nowhere')),
  ].map((path) => {
    const opened = openConnection(path);
    return opened.ok ? 'ok' : opened.error.message.split('\n')[0];
  });
  const other = openConnection(join(folder, 'odd'), 'elsewhere');
  expect(other).toMatchObject({ ok: false, error: { message: 'has no context "elsewhere"', remedy: 'it has fake' } });
  rmSync(folder, { recursive: true });
  expect(texts[0]).toMatch(/^cannot be read: ENOENT/);
  expect(texts[1]).toMatch(/^cannot be read: /);
  expect(texts.slice(2)).toEqual(['its current context names no cluster', 'server "nowhere" is not an address']);
});
