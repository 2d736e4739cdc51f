// SPDX-License-Identifier: Apache-2.0
/** A real kube-apiserver over a real etcd, on the loopback of the machine or of a namespace, with certificates of its own. */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import * as https from 'node:https';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { kubernetesFolder } from '../../tools/kubernetes.ts';
import type { ClusterNetwork } from './network.ts';

export type ApiServer = {
  readonly kubeconfig: string;
  readonly folder: string;
  /** Any request; the decoded body. Throws with the server's words when it refuses. */
  readonly ask: (method: string, path: string, body?: unknown) => Promise<unknown>;
  /** Ends etcd's memory of all but the latest version: older watches meet 410. */
  readonly compact: (version: string) => Promise<void>;
  readonly stopServer: (signal: 'SIGTERM' | 'SIGKILL') => Promise<void>;
  readonly startServer: () => Promise<void>;
  readonly stop: () => Promise<void>;
};

const READY_MS = 60_000;

/** With a network it runs on the loopback of its node. */
export async function startApiServer(network?: ClusterNetwork): Promise<ApiServer> {
  const folder = mkdtempSync(join(tmpdir(), 'tandem-api-'));
  const [etcdPort, peerPort, port] = [await freePort(), await freePort(), await freePort()];
  makeCertificates(folder, port);
  const gate = network === undefined ? undefined : await openGate(folder, network, port);
  const launch = launcher(folder, network);
  const etcd = launch('etcd', [
    ...['--data-dir', join(folder, 'etcd'), '--unsafe-no-fsync', '--name', 'one'],
    ...['--listen-client-urls', `http://127.0.0.1:${etcdPort}`],
    ...['--advertise-client-urls', `http://127.0.0.1:${etcdPort}`],
    ...['--listen-peer-urls', `http://127.0.0.1:${peerPort}`],
    ...['--initial-advertise-peer-urls', `http://127.0.0.1:${peerPort}`],
    ...['--initial-cluster', `one=http://127.0.0.1:${peerPort}`],
  ]);
  const ask = askOver(folder, port, gate === undefined ? undefined : join(folder, 'gate'));
  let server: ChildProcess | undefined;
  const startServer = async (): Promise<void> => {
    server = launch('kube-apiserver', serverFlags(folder, { port, etcdPort }));
    await waitReady(folder, ask);
  };
  const stopServer = async (signal: 'SIGTERM' | 'SIGKILL'): Promise<void> => {
    await ended(server, signal);
    server = undefined;
  };
  const stop = async (): Promise<void> => {
    await ended(server, 'SIGKILL');
    await ended(etcd, 'SIGKILL');
    await ended(gate, 'SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    await startServer();
  } catch (error) {
    await stop();
    throw error;
  }
  const compact = (version: string): Promise<void> => compactEtcd(etcdPort, version);
  return { kubeconfig: join(folder, 'kubeconfig'), folder, ask, compact, stopServer, startServer, stop };
}

function serverFlags(folder: string, ports: { readonly port: number; readonly etcdPort: number }): readonly string[] {
  const file = (name: string): string => join(folder, name);
  return [
    ...['--etcd-servers', `http://127.0.0.1:${ports.etcdPort}`, '--secure-port', String(ports.port)],
    ...['--bind-address', '127.0.0.1', '--advertise-address', '127.0.0.1', '--endpoint-reconciler-type', 'none'],
    ...['--tls-cert-file', file('server.crt'), '--tls-private-key-file', file('server.key')],
    ...['--client-ca-file', file('ca.crt'), '--authorization-mode', 'RBAC'],
    ...['--service-account-issuer', 'https://tandem.invalid', '--service-account-key-file', file('server.key')],
    ...['--service-account-signing-key-file', file('server.key')],
    ...['--service-cluster-ip-range', '10.96.0.0/16,fd00:10:96::/112', '--disable-admission-plugins', 'ServiceAccount'],
    ...['--cert-dir', file('made'), '--shutdown-watch-termination-grace-period', '2s'],
  ];
}

function launcher(
  folder: string,
  network?: ClusterNetwork,
): (program: string, args: readonly string[]) => ChildProcess {
  return (program, args) => {
    const log = openSync(join(folder, `${program}.log`), 'a');
    const path = join(kubernetesFolder(), program);
    const stdio: ['ignore', number, number] = ['ignore', log, log];
    return network === undefined ? spawn(path, args, { stdio }) : network.start('node', path, args, { stdio });
  };
}

const GATE_MS = 10_000;

/** The loopback of a namespace is reached over a socket in the folder. */
async function openGate(folder: string, network: ClusterNetwork, port: number): Promise<ChildProcess> {
  const path = join(folder, 'gate');
  const script = join(import.meta.dirname, 'gate.ts');
  const gate = network.start('node', process.execPath, [script, path, String(port)], { stdio: 'inherit' });
  for (let waitedMs = 0; !existsSync(path); waitedMs += 20) {
    if (waitedMs > GATE_MS) throw new Error('the gate into the namespace does not open');
    await sleep(20);
  }
  return gate;
}

/** Ends a process that we started and waits for its end. */
export async function ended(child: ChildProcess | undefined, signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const end = new Promise((resolve) => child.once('exit', resolve));
  child.kill(signal);
  await end;
}

async function waitReady(folder: string, ask: ApiServer['ask']): Promise<void> {
  for (const endsAtMs = performance.now() + READY_MS; performance.now() < endsAtMs; await sleep(200)) {
    try {
      await ask('GET', '/readyz');
      // Namespaces are made a moment after the server says that it is ready.
      await ask('GET', '/api/v1/namespaces/default');
      return;
    } catch (error) {
      if (!(error instanceof Error)) throw error;
    }
  }
  throw new Error(
    `kube-apiserver is not ready: ${readFileSync(join(folder, 'kube-apiserver.log'), 'utf8').slice(-2000)}`,
  );
}

/** Instead of an answer: the connection was closed before the question came. */
const closed = Symbol('closed');

function askOver(folder: string, port: number, socketPath?: string): ApiServer['ask'] {
  const file = (name: string): Buffer => readFileSync(join(folder, name));
  const identity = { ca: file('ca.crt'), cert: file('admin.crt'), key: file('admin.key') };
  // Thousands of requests of one run keep their connections; a server that is restarted would break them.
  const agent = socketPath === undefined ? false : new https.Agent({ keepAlive: true, maxSockets: 16 });
  const way = socketPath === undefined ? {} : { socketPath };
  const askOnce: ApiServer['ask'] = (method, path, body) =>
    new Promise((resolve, reject) => {
      const type = method === 'PATCH' ? 'application/merge-patch+json' : 'application/json';
      const options = { method, host: '127.0.0.1', port, path, headers: { 'content-type': type }, ...identity };
      const request = https.request({ ...options, ...way, agent }, (response) => {
        const pieces: Buffer[] = [];
        response.on('data', (piece: Buffer) => pieces.push(piece));
        response.on('error', reject);
        response.on('end', () => {
          const text = Buffer.concat(pieces).toString('utf8');
          if ((response.statusCode ?? 0) >= 300) return reject(new Error(`${method} ${path}: ${text}`));
          return resolve(text.startsWith('{') ? (JSON.parse(text) as unknown) : text);
        });
      });
      request.on('error', (error) => {
        // The server closes a connection that nobody used for long; only one that was kept can be closed so.
        const isClosed = request.reusedSocket && 'code' in error && error.code === 'ECONNRESET';
        if (isClosed) resolve(closed);
        else reject(error);
      });
      request.end(body === undefined ? undefined : JSON.stringify(body));
    });
  return async (...question) => {
    const answer = await askOnce(...question);
    return answer === closed ? askOnce(...question) : answer;
  };
}

async function compactEtcd(port: number, version: string): Promise<void> {
  const response = await fetch(`http://127.0.0.1:${port}/v3/kv/compaction`, {
    method: 'POST',
    body: JSON.stringify({ revision: version, physical: true }),
  });
  if (!response.ok) throw new Error(`etcd: ${await response.text()}`);
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0));
    });
  });
}

function makeCertificates(folder: string, port: number): void {
  const openssl = (...args: readonly string[]): void => {
    execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' });
  };
  const key = ['-newkey', 'rsa:2048', '-nodes'];
  openssl('req', '-x509', ...key, '-keyout', 'ca.key', '-out', 'ca.crt', '-subj', '/CN=test-ca', '-days', '2');
  const issue = (name: string, subject: string): void => {
    openssl('req', ...key, '-keyout', `${name}.key`, '-out', `${name}.csr`, '-subj', subject);
    writeFileSync(join(folder, 'ext'), 'subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n');
    const signer = ['-CA', 'ca.crt', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '2', '-extfile', 'ext'];
    openssl('x509', '-req', '-in', `${name}.csr`, '-out', `${name}.crt`, ...signer);
    writeKubeconfig(folder, name, port);
  };
  issue('server', '/CN=kube-apiserver');
  issue('nobody', '/CN=nobody');
  issue('admin', '/O=system:masters/CN=admin');
  writeFileSync(join(folder, 'kubeconfig'), readFileSync(join(folder, 'admin.kubeconfig')));
}

function writeKubeconfig(folder: string, name: string, port: number): void {
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'test',
    clusters: [
      {
        name: 'test',
        cluster: { server: `https://127.0.0.1:${port}`, 'certificate-authority': join(folder, 'ca.crt') },
      },
    ],
    contexts: [{ name: 'test', context: { cluster: 'test', user: name } }],
    users: [
      {
        name,
        user: { 'client-certificate': join(folder, `${name}.crt`), 'client-key': join(folder, `${name}.key`) },
      },
    ],
  };
  writeFileSync(join(folder, `${name}.kubeconfig`), JSON.stringify(config));
}
