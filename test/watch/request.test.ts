// SPDX-License-Identifier: Apache-2.0
/** The edge to the network over real sockets: what a server does becomes parts, and leaving ends the request. */
import { setTimeout as sleep } from 'node:timers/promises';
import { firstValueFrom, lastValueFrom } from 'rxjs';
import { takeWhile, toArray } from 'rxjs/operators';
import { afterEach, expect, test } from 'vitest';
import { openConnection, type Connection } from '../../watch/connection.ts';
import type { Part } from '../../watch/request.ts';
import { startFakeServer, type Answer, type FakeServer } from './fakeserver.ts';

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

test('a kubeconfig that is not there, is no kubeconfig, or names no cluster says so', () => {
  const failures = ['/nowhere/config', import.meta.filename].map((path) => openConnection(path));
  expect(failures.map((result) => result.ok)).toEqual([false, false]);
});
