// SPDX-License-Identifier: Apache-2.0
/** The UDP side of a client: sockets that send one datagram at a time and wait for its answer. */
import { createSocket, type Socket } from 'node:dgram';
import { isIPv6 } from 'node:net';
import { realtimeNs } from './clock.ts';
import { endpoint, outcomes, readIdentity } from './outcome.ts';
import type { ConnectionReport, DatagramRequest, Outcome } from './wire.ts';

type Answer = { readonly result: Outcome; readonly errno: string | null; readonly line: string; readonly from: string };

/** By the id of the request that opened it; how it began is how it goes on, also after the kernel ended it. */
type Known = { readonly socket: Socket; readonly isConnected: boolean; readonly sourcePort: number | null };
const sockets = new Map<number, Known>();

function failed(error: NodeJS.ErrnoException): Answer {
  const errno = error.code ?? error.message;
  return { result: outcomes[errno] ?? 'error', errno, line: '', from: '' };
}

/** A new socket, bound and connected if asked to. An error that nobody waits for is told to the next one who does. */
async function open(request: DatagramRequest): Promise<{ socket: Socket; error?: Answer }> {
  const { address, port, sourcePort, isConnected = false } = request;
  const socket = createSocket(isIPv6(address) ? 'udp6' : 'udp4');
  if (sourcePort !== undefined) {
    const error = await settled(socket, (done) => socket.bind(sourcePort, done));
    if (error !== undefined) return { socket, error };
  }
  if (!isConnected) return { socket };
  const error = await settled(socket, (done) => socket.connect(port, address, done));
  return error === undefined ? { socket } : { socket, error };
}

/** What came of an action that ends with an event or with the call of what it is given. */
function settled(socket: Socket, action: (done: () => void) => void): Promise<Answer | undefined> {
  return new Promise((resolve) => {
    const onError = (error: Error): void => resolve(failed(error));
    socket.once('error', onError);
    // Node hands an error of connect() to its listener, though its type says that there is none.
    action((...given: readonly unknown[]) => {
      socket.off('error', onError);
      const [error] = given;
      resolve(error instanceof Error ? failed(error) : undefined);
    });
  });
}

/** Sends, and waits for an answer or an error. */
function exchange(
  socket: Socket,
  { address, port, timeoutMs }: DatagramRequest,
  isConnected: boolean,
): Promise<Answer> {
  return new Promise((resolve) => {
    const end = (answer: Answer): void => {
      clearTimeout(timer);
      socket.removeAllListeners().on('error', () => undefined);
      resolve(answer);
    };
    const timer = setTimeout(() => end({ result: 'timeout', errno: null, line: '', from: '' }), timeoutMs);
    socket.removeAllListeners('error').once('error', (error) => end(failed(error)));
    socket.once('message', (data, { address: host, port: number }) =>
      end({ result: 'answered', errno: null, line: data.toString(), from: endpoint(host, number) ?? '' }),
    );
    const sent = (error: Error | null): void => {
      if (error !== null) end(failed(error));
    };
    if (isConnected) socket.send('ping', sent);
    else socket.send('ping', port, address, sent);
  });
}

/** One datagram and its answer, as one line on standard output. */
export async function runDatagram(id: number, request: DatagramRequest): Promise<void> {
  const startedNs = realtimeNs();
  const known = request.socket === undefined ? undefined : sockets.get(request.socket);
  if (request.socket !== undefined && known === undefined) throw new Error(`no socket ${request.socket}`);
  const { isConnected = false, sourcePort = null } = known ?? request;
  const { socket, error } = known === undefined ? await open(request) : { socket: known.socket };
  sockets.set(id, { socket, isConnected, sourcePort });
  const answer = error ?? (await exchange(socket, request, isConnected));
  if (request.isLast === true) {
    sockets.delete(id);
    socket.close();
  }
  const identity = readIdentity(answer.line);
  const isGarbled = answer.result === 'answered' && identity === undefined;
  const report: ConnectionReport = {
    id,
    result: isGarbled ? 'garbled' : answer.result,
    errno: answer.errno,
    by: identity?.pod ?? null,
    answeredAs: identity === undefined ? null : endpoint(identity.address, identity.port),
    peerSeen: identity?.peer ?? null,
    peerName: answer.from === '' ? null : answer.from,
    localPort: sourcePort,
    startedNs: String(startedNs),
    connectedNs: null,
    endedNs: String(realtimeNs()),
  };
  process.stdout.write(`${JSON.stringify(report)}\n`);
}
