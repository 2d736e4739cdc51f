// SPDX-License-Identifier: Apache-2.0
/** Which socket programs a node needs for the frontends it serves: each that is attached costs every call of its kind. */
import { isIPv4, UDP } from '../address.ts';
import type { Frontend } from '../service.ts';

export type SocketHook =
  | 'connect4'
  | 'connect6'
  | 'sendmsg4'
  | 'sendmsg6'
  | 'recvmsg4'
  | 'recvmsg6'
  | 'getpeername4'
  | 'getpeername6';

/** In the order of attaching: what shows an answer's Service is there before anything is translated. */
export const socketHooks: readonly SocketHook[] = [
  'getpeername4',
  'getpeername6',
  'recvmsg4',
  'recvmsg6',
  'connect4',
  'connect6',
  'sendmsg4',
  'sendmsg6',
];

/**
 * Those wanted now, in the order of attaching. sendmsg and recvmsg run for every datagram of the node that is sent with
 * an address or asked for its sender: only while a UDP frontend exists. An AF_INET6 socket that sends to a v4-mapped
 * address passes sendmsg4, and its answer recvmsg6. `whyNot`: what the programs don't serve.
 */
export function wantedSocketHooks(
  frontends: readonly Frontend[],
  whyNot: (frontend: Frontend) => string | undefined,
): readonly SocketHook[] {
  const datagrams = frontends.filter(
    (frontend) => frontend.protocol === UDP && frontend.internal !== null && whyNot(frontend) === undefined,
  );
  const hasFour = datagrams.some(({ address }) => isIPv4(address));
  const hasSix = datagrams.some(({ address }) => !isIPv4(address));
  const wanted: Readonly<Record<SocketHook, boolean>> = {
    connect4: true,
    connect6: true,
    getpeername4: true,
    getpeername6: true,
    sendmsg4: hasFour,
    sendmsg6: hasSix,
    recvmsg4: hasFour,
    recvmsg6: hasFour || hasSix,
  };
  return socketHooks.filter((hook) => wanted[hook]);
}
