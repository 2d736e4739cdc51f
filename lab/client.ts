// SPDX-License-Identifier: Apache-2.0
/** A client process: opens real connections as its standard input asks, and reports each as one line. */
import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { realtimeNs } from './clock.ts';
import { runDatagram } from './datagram.ts';
import { endpoint, outcomes, readIdentity } from './outcome.ts';
import type {
  ClientRequestLine,
  CloseRequest,
  ConnectionReport,
  ConnectRequest,
  EchoRequest,
  Identity,
  Outcome,
  Ready,
} from './wire.ts';

/** A line longer than this does not come from a server of a lab. */
const lineBytesMax = 64 * 1024;

type Step = { readonly result: Outcome; readonly errno: string | null; readonly line: string | null };

/** One TCP connection; `next` is what the step under way waits for. */
type Connection = {
  readonly socket: Socket;
  readonly startedNs: bigint;
  connectedNs: bigint | null;
  identity: Identity | null;
  peerName: string | null;
  localPort: number | null;
  received: string;
  ended: Step | null;
  next: ((step: Step) => void) | null;
};

const connections = new Map<number, Connection>();

/** The first whole line of what was received, taken out of it. */
function takeLine(connection: Connection): string | null {
  const end = connection.received.indexOf('\n');
  if (end < 0) return null;
  const line = connection.received.slice(0, end);
  connection.received = connection.received.slice(end + 1);
  return line;
}

/** Tells the waiting step what there is: a line, or the end of the connection. */
function settle(connection: Connection): void {
  const waiting = connection.next;
  if (waiting === null) return;
  const line = takeLine(connection);
  const step: Step | null = line === null ? connection.ended : { result: 'answered', errno: null, line };
  if (step === null) return;
  connection.next = null;
  waiting(step);
}

function nextStep(connection: Connection, timeoutMs: number): Promise<Step> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => {
      connection.next = null;
      resolve({ result: 'timeout', errno: null, line: null });
    }, timeoutMs);
    connection.next = (step) => {
      clearTimeout(timer);
      resolve(step);
    };
    settle(connection);
  });
}

function begin(request: ConnectRequest): Connection {
  const startedNs = realtimeNs();
  const { address: host, port, sourcePort } = request;
  const socket = connect({ host, port, ...(sourcePort === undefined ? {} : { localPort: sourcePort }) });
  const connection: Connection = {
    socket,
    startedNs,
    connectedNs: null,
    identity: null,
    peerName: null,
    localPort: sourcePort ?? null,
    received: '',
    ended: null,
    next: null,
  };
  const end = (result: Outcome, errno: string | null): void => {
    connection.ended ??= { result, errno, line: null };
    settle(connection);
  };
  socket.setNoDelay(true).setEncoding('utf8');
  socket.on('connect', () => {
    connection.connectedNs = realtimeNs();
    connection.peerName = endpoint(socket.remoteAddress, socket.remotePort);
    connection.localPort = socket.localPort ?? null;
  });
  socket.on('data', (chunk: string) => {
    connection.received += chunk;
    if (connection.received.length > lineBytesMax) socket.destroy();
    settle(connection);
  });
  socket.on('error', (error: NodeJS.ErrnoException) =>
    end(outcomes[error.code ?? ''] ?? 'error', error.code ?? error.message),
  );
  socket.on('close', () => end('closed', null));
  return connection;
}

async function open(request: ConnectRequest): Promise<{ connection: Connection; step: Step }> {
  const connection = begin(request);
  const step = await nextStep(connection, request.timeoutMs);
  if (step.line === null) return { connection, step };
  const identity = readIdentity(step.line);
  if (identity === undefined) return { connection, step: { ...step, result: 'garbled' } };
  connection.identity = identity;
  return { connection, step };
}

async function echo(connection: Connection, text: string, timeoutMs: number): Promise<Step> {
  if (connection.ended === null) connection.socket.write(`${text}\n`);
  const step = await nextStep(connection, timeoutMs);
  if (step.line === null) return step;
  return { ...step, result: step.line === text ? 'echoed' : 'garbled' };
}

/** Closes in order and waits for the other side, so that a capture holds the whole end. */
async function close(connection: Connection, timeoutMs: number): Promise<Step> {
  connection.socket.end();
  const step = await nextStep(connection, timeoutMs);
  connection.socket.destroy();
  return step;
}

function report(id: number, connection: Connection, step: Step): void {
  const { identity, connectedNs } = connection;
  const line: ConnectionReport = {
    id,
    result: step.result,
    errno: step.errno,
    by: identity?.pod ?? null,
    answeredAs: identity === null ? null : endpoint(identity.address, identity.port),
    peerSeen: identity?.peer ?? null,
    peerName: connection.peerName,
    localPort: connection.localPort,
    startedNs: String(connection.startedNs),
    connectedNs: connectedNs === null ? null : String(connectedNs),
    endedNs: String(realtimeNs()),
  };
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

function wait(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/** One whole connection: what counts is the answer, or the echo after the hold when there was one. */
async function runConnect(id: number, request: ConnectRequest): Promise<void> {
  const { connection, step } = await open(request);
  if (step.result !== 'answered') {
    connection.socket.destroy();
    report(id, connection, step);
    return;
  }
  const { holdMs = 0, timeoutMs } = request;
  let result = step;
  if (holdMs > 0) {
    await wait(holdMs);
    const echoed = await echo(connection, `still ${id}`, timeoutMs);
    if (echoed.result !== 'echoed') result = echoed;
  }
  const closed = await close(connection, timeoutMs);
  report(id, connection, closed.result === 'closed' ? result : closed);
}

async function runOpen(id: number, request: ConnectRequest): Promise<void> {
  const { connection, step } = await open(request);
  if (step.result === 'answered') connections.set(id, connection);
  else connection.socket.destroy();
  report(id, connection, step);
}

async function runOnOpen(id: number, request: EchoRequest | CloseRequest): Promise<void> {
  const connection = connections.get(request.connection);
  if (connection === undefined) throw new Error(`no open connection ${request.connection}`);
  if (request.op === 'echo') {
    report(id, connection, await echo(connection, request.text, request.timeoutMs));
    return;
  }
  connections.delete(request.connection);
  report(id, connection, await close(connection, request.timeoutMs));
}

function run(request: ClientRequestLine): Promise<void> {
  switch (request.op) {
    case 'connect':
      return runConnect(request.id, request);
    case 'open':
      return runOpen(request.id, request);
    case 'echo':
    case 'close':
      return runOnOpen(request.id, request);
    case 'datagram':
      return runDatagram(request.id, request);
  }
}

createInterface({ input: process.stdin })
  .on('line', (line) => void run(JSON.parse(line) as ClientRequestLine))
  .on('close', () => process.exit(0));
const ready: Ready = { ready: true };
process.stdout.write(`${JSON.stringify(ready)}\n`);
