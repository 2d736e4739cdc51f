// SPDX-License-Identifier: Apache-2.0
/** Who sends and to whom: clients, Service addresses and what lies beside them, and sources that nobody has. */
import { ipv6, neighbour, type HostAddress } from './address.ts';
import { TCP, UDP } from './frame.ts';
import type { Socket } from './segments.ts';
import type { Stream } from '../../core/random.ts';
import { podAddress, type World } from '../world.ts';

/** IPv6 prefixes before an IPv4 address: of a client's own, NAT64, and some that are v4-mapped but for one word. */
const PREFIXES: readonly (readonly [number, number, number])[] = [
  [0xfd000002, 0, 0],
  [0x0064ff9b, 0, 0],
  [0, 0, 0],
  [0, 0, 0xffff0000],
  [0x00010000, 0, 0xffff],
  [0, 1, 0xffff],
];

/** A client of the same family as the address that it asks. */
export function drawClient(stream: Stream, asked: HostAddress): Socket {
  const port = 40000 + stream.below(stream.chance(0.5) ? 6 : 400);
  const isPod = stream.chance(0.3);
  if (typeof asked === 'string') {
    if (isPod) return { address: podAddress(stream, 'IPv6'), port };
    const [a, b, c] = stream.chance(0.9) ? ([0xfd000002, 0, 0] as const) : stream.pick(PREFIXES);
    return { address: ipv6(a, b, c, 0x0a020001 + stream.below(4)), port };
  }
  return { address: isPod ? 0x0a010000 + 1 + stream.below(24) : 0x0a020000 + 1 + stream.below(4), port };
}

/** What a client asks: an address, a port and the protocol in which it does. */
export type Asked = Socket & { readonly protocol: number };

/** Mostly a port of a Service. */
export function drawFrontend(stream: Stream, { services }: World): Asked {
  if (services.length === 0) return { address: 0x0a600001, port: 80, protocol: TCP };
  const service = stream.pick(services);
  const address = stream.pick(service.addresses);
  const { port, protocol: name } = stream.pick(service.ports);
  const protocol = name === 'UDP' ? UDP : TCP;
  if (stream.chance(0.03)) return { address, port: (port + stream.pick([1, 65535])) & 0xffff, protocol };
  if (stream.chance(0.02)) return { address, port, protocol: protocol === UDP ? TCP : UDP };
  if (stream.chance(0.03)) return { address: neighbour(address, 1 + stream.below(20)), port, protocol };
  if (stream.chance(0.01)) return { address, port: 0, protocol };
  // In the second range of Service addresses, of which no Service has any.
  if (stream.chance(0.01)) return { address: 0x0a610000 + stream.below(65536), port, protocol };
  return { address, port, protocol };
}

/** Loopback, multicast, unspecified, v4-mapped; and some that are beside those, by one word each. */
const MARTIANS = [
  ...['::', '::1', '::2', 'ff02::1', 'fe80::1', 'feff::1', '::ffff:10.2.0.1'],
  ...['1::', '0:1::1', '0:0:1::1', '::1:0:0:1'],
];

/** Loopback, multicast, unspecified, v4-mapped, the Service itself; and some that are beside those and honest. */
export function drawMartian(stream: Stream, { address, port }: Socket): readonly [from: HostAddress, to: Socket] {
  if (typeof address === 'number') {
    const from = stream.pick([0, 0x00010203, 0x7f000001, 0xe0000001, 0xffffffff, 0xdfffffff, address]);
    return [from, { address, port }];
  }
  const from = stream.pick([...MARTIANS, address]);
  return [from, { address: stream.chance(0.1) ? '::ffff:10.96.0.1' : address, port }];
}
