// SPDX-License-Identifier: Apache-2.0
/** A program: listens where it is told on its first line of input, and tells whoever asks its own address and theirs. */
import { createSocket } from 'node:dgram';
import { createServer } from 'node:net';
import { createInterface } from 'node:readline';
import { backendText } from '../../proof/kubeproxy/answer.ts';

/** Where to listen. */
export type Listener = { readonly address: string; readonly port: number; readonly protocol: 'tcp' | 'udp' };

function plain(address: string | undefined): string {
  return (address ?? '').replace(/^::ffff:/, '');
}

/** One line: who answers, and whom it sees. */
function words({ address, port }: Listener, remote: string | undefined): string {
  return `${JSON.stringify({ backend: backendText(address, port), source: plain(remote) })}\n`;
}

function listen(listener: Listener): Promise<void> {
  const { address, port, protocol } = listener;
  return new Promise((resolve, reject) => {
    if (protocol === 'tcp') {
      const server = createServer((socket) => {
        socket.on('error', () => socket.destroy());
        socket.end(words(listener, socket.remoteAddress));
      });
      server.once('error', reject).listen(port, address, resolve);
      return;
    }
    const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
    socket.on('message', (_, { address: remote, port: back }) => socket.send(words(listener, remote), back, remote));
    socket.once('error', reject).bind(port, address, resolve);
  });
}

for await (const line of createInterface({ input: process.stdin })) {
  await Promise.all((JSON.parse(line) as readonly Listener[]).map(listen));
  process.stdout.write('listening\n');
}
