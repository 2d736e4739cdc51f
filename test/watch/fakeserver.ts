// SPDX-License-Identifier: Apache-2.0
/** An HTTP server on the loopback that answers by script, byte by byte where it matters, in the place of an API server. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export type Answer = (request: IncomingMessage, response: ServerResponse) => void | Promise<void>;

export type FakeServer = {
  readonly url: string;
  readonly kubeconfig: string;
  readonly folder: string;
  /** What was asked, in order. */
  readonly asked: readonly string[];
  readonly stop: () => Promise<void>;
};

/** `answer` decides by the request's address. */
export async function startFakeServer(answer: Answer): Promise<FakeServer> {
  const folder = mkdtempSync(join(tmpdir(), 'tandem-watch-'));
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(request.url ?? '');
    void answer(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const url = `http://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`;
  const kubeconfig = join(folder, 'kubeconfig');
  writeFileSync(kubeconfig, kubeconfigText(url));
  const stop = async (): Promise<void> => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    rmSync(folder, { recursive: true, force: true });
  };
  return { url, kubeconfig, folder, asked, stop };
}

export function kubeconfigText(server: string): string {
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'fake',
    clusters: [{ name: 'fake', cluster: { server, 'insecure-skip-tls-verify': true } }],
    contexts: [{ name: 'fake', context: { cluster: 'fake', user: 'reader' } }],
    users: [{ name: 'reader', user: { token: 'a-token' } }],
  });
}

/** `EndpointSlice` of `/apis/discovery.k8s.io/v1/endpointslices?limit=500`. */
export function kindOfUrl(url: string): string {
  const word = new URL(url, 'http://server').pathname.split('/').at(-1);
  return word === 'nodes' ? 'Node' : word === 'services' ? 'Service' : word === 'pods' ? 'Pod' : 'EndpointSlice';
}

export function isWatch(url: string): boolean {
  return new URL(url, 'http://server').searchParams.get('watch') === '1';
}
