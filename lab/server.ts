// SPDX-License-Identifier: Apache-2.0
/** A pod's server process: tells everyone who connects which pod answered and whom it saw. */
import { createSocket } from 'node:dgram';
import { createServer, type Server, type Socket } from 'node:net';
import { networkInterfaces } from 'node:os';
import type { ServerSpec } from './spec.ts';
import type { Identity, Ready } from './wire.ts';

/** The one argument of the process, as JSON. */
export type ServerArguments = {
  readonly pod: string;
  readonly servers: readonly ServerSpec[];
  /** Listen on IPv6 as well. */
  readonly ipv6: boolean;
};

const argument = process.argv[2];
if (argument !== undefined) await serve(JSON.parse(argument) as ServerArguments);

function answer(socket: Socket, pod: string, behaviour: ServerSpec['behaviour']): void {
  // A client that resets its connection is a case of the test, not a fault of the server.
  socket.on('error', () => socket.destroy());
  socket.setNoDelay(true);
  const remote = socket.remoteAddress ?? '';
  const identity: Identity = {
    pod,
    address: socket.localAddress ?? '',
    port: socket.localPort ?? 0,
    peer: `${remote.includes(':') ? `[${remote}]` : remote}:${socket.remotePort ?? 0}`,
  };
  const line = `${JSON.stringify(identity)}\n`;
  if (behaviour === 'identity') {
    socket.end(line);
    socket.resume();
  } else {
    socket.write(line);
    socket.pipe(socket);
  }
}

function listening(server: Server, port: number, host: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    // The backlog bounds a burst of clients; the kernel cuts it to net.core.somaxconn.
    server.listen({ port, host, ipv6Only: host === '::', backlog: 4096 }, resolve);
  });
}

/** The pod's own address of a family. A socket that is bound to none is not told to which of its addresses a datagram came. */
function ownAddress(isSix: boolean): string {
  const all = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
  const own = all.find(({ family, internal, address }) => {
    return !internal && family === (isSix ? 'IPv6' : 'IPv4') && !address.startsWith('fe80:');
  });
  return own?.address ?? '';
}

/** Answers every datagram from the address that it came to. */
function answering(pod: string, port: number, host: string): Promise<void> {
  const isSix = host === '::';
  const socket = createSocket({ type: isSix ? 'udp6' : 'udp4', ipv6Only: isSix });
  socket.on('message', (_, { address, port: from }) => {
    const peer = `${isSix ? `[${address}]` : address}:${from}`;
    const identity: Identity = { pod, address: ownAddress(isSix), port, peer };
    // A client that is gone is none of ours.
    socket.send(`${JSON.stringify(identity)}\n`, from, address, () => undefined);
  });
  return new Promise((resolve, reject) => {
    socket.once('error', reject);
    socket.bind({ port, address: host }, () => {
      socket.off('error', reject).on('error', () => undefined);
      resolve();
    });
  });
}

async function serve({ pod, servers, ipv6 }: ServerArguments): Promise<void> {
  const hosts = ipv6 ? ['0.0.0.0', '::'] : ['0.0.0.0'];
  await Promise.all(
    servers.flatMap(({ port, protocol, behaviour }) =>
      hosts.map((host) =>
        protocol === 'UDP'
          ? answering(pod, port, host)
          : listening(
              createServer((socket) => answer(socket, pod, behaviour)),
              port,
              host,
            ),
      ),
    ),
  );
  const ready: Ready = { ready: true };
  process.stdout.write(`${JSON.stringify(ready)}\n`);
}
