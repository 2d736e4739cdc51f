// SPDX-License-Identifier: Apache-2.0
/** The UDP side of a client: sockets that send one datagram at a time and wait for its answer. */
import { createSocket, type Socket } from 'node:dgram';
import { isIPv6 } from 'node:net';
import { realtimeNs } from './clock.ts';
import { endpoint, outcomes, readIdentity } from './outcome.ts';
import type { ConnectionReport, DatagramRequest, Outcome } from './wire.ts';

type Answer = { readonly result: Outcome; readonly errno: string | null; readonly line: string; readonly from: string };

/** By the id of the request that opened it; how it began is how it goes on, also after the kernel ended it. */
const sockets = new Map<number, { readonly socket: Socket; readonly isConnected: boolean }>();

function failed(error: NodeJS.ErrnoException): Answer {
  const errno = error.code ?? error.message;
  return { result: outcomes[errno] ?? 'error', errno, line: '', from: '' };
}

/** A new socket, connected if asked to. An error that nobody waits for is told to the next one who does. */
function open({ address, port, isConnected = false }: DatagramRequest): Promise<{ socket: Socket; error?: Answer }> {
  const socket = createSocket(isIPv6(address) ? 'udp6' : 'udp4');
  if (!isConnected) return Promise.resolve({ socket });
  return new Promise((resolve) => {
    socket.once('error', (error) => resolve({ socket, error: failed(error) }));
    // Node hands the error to this listener, though its type says that there is none.
    socket.connect(port, address, (...given: readonly unknown[]) => {
      const [error] = given;
      resolve(error instanceof Error ? { socket, error: failed(error) } : { socket });
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
  const { isConnected } = known ?? { isConnected: request.isConnected ?? false };
  const { socket, error } = known === undefined ? await open(request) : { socket: known.socket };
  sockets.set(id, { socket, isConnected });
  const answer = error ?? (await exchange(socket, request, isConnected));
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
    localPort: null,
    startedNs: String(startedNs),
    connectedNs: null,
    endedNs: String(realtimeNs()),
  };
  process.stdout.write(`${JSON.stringify(report)}\n`);
}
