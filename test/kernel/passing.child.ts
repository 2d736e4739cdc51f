// SPDX-License-Identifier: Apache-2.0
/** A process that was given a socket: descriptor 3 by fork, or a dgram handle in a message (SCM_RIGHTS). */
import type { Socket } from 'node:dgram';
import { addressFromIPv4 } from '../../core/address.ts';
import { connectSocket, sendDatagram } from '../../kernel/libc.ts';
import { socketAddress } from '../../kernel/sockets.ts';

const VIP = { address: addressFromIPv4(0x0a600001), port: 53 };
const INHERITED = 3;

process.on('message', (message: unknown, handle: unknown) => {
  if (message === 'end') process.exit(0);
  const to = socketAddress('inet', VIP);
  if (message === 'send') process.send?.(sendDatagram(INHERITED, Buffer.from('ping'), to));
  else if (message === 'connect') process.send?.(connectSocket(INHERITED, to));
  else if (message === 'take') visit(handle as Socket);
});

/** Sends once by the handle, and tells who answered. */
function visit(socket: Socket): void {
  socket.once('message', (data, { address, port }) => {
    process.send?.(`${address}:${port} ${data.toString()}`);
    socket.close();
  });
  socket.send('ping', VIP.port, '10.96.0.1');
}

process.send?.('ready');
