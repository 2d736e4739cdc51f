// SPDX-License-Identifier: Apache-2.0
/** What sockets do, drawn by a stream: which are opened, what is called of them, where to, and what outside answers. */
import { addressFromIPv4, isIPv4, TCP, UDP, type Address } from '../../core/address.ts';
import { maps, NETNS_SOCKETS_OFF, NETNS_SOCKETS_ON, SOCKET_ROWS, type NetnsRowRecord } from '../../core/layout.gen.ts';
import type { Stream } from '../../core/random.ts';
import { ok, type Result } from '../../core/result.ts';
import { setOperation, type MapStore } from '../../core/store.ts';
import { quietOutside, type Outside } from '../../core/twin.ts';
import type { SocketMemory } from '../../core/datapath/socket.ts';
import { addressOf, ipv6, neighbour, type HostAddress } from '../traffic/address.ts';
import { OWN_NETNS } from '../settings.ts';
import { podAddress, type World, type WorldService } from '../world.ts';

/** In an AF_INET6 socket IPv4 addresses are the v4-mapped ones. */
export type Endpoint = { readonly address: Address; readonly port: number };
export type SocketKind = { readonly protocol: 'tcp' | 'udp' | 'udplite'; readonly family: 'inet' | 'inet6' };
export type Family = 'IPv4' | 'IPv6';

/** One open socket, and what the model knows of it. */
export type Socket = {
  readonly index: number;
  readonly kind: SocketKind;
  /** Whom it speaks to: both families only where it never connects. */
  readonly families: readonly Family[];
  readonly bound: Address | undefined;
  readonly cookie: bigint;
  readonly netns: bigint;
  readonly memory: SocketMemory;
  /** Where it is really connected to. */
  peer: Endpoint | undefined;
  /** A TCP socket is on its way, and can't connect again. */
  isUnderWay: boolean;
  /** Linux leaves the peer of an AF_INET6 socket that was disconnected in place: it hears nobody else. */
  isDeaf: boolean;
  /** Where its last datagrams really went. */
  sent: Endpoint[];
};

/** What is about to be opened. */
export type Opening = Omit<Socket, 'index'>;

export type Call = 'connect' | 'send' | 'write' | 'receive' | 'disconnect';

/** Few cookies, so that a TCP socket is seen connecting again. */
const COOKIES = 300;
const ENOMEM = -12;
const LOCAL: { readonly [family in Family]: readonly Address[] } = {
  IPv4: [0xc0000201, 0xc0000202, 0xc0000203].map(addressFromIPv4),
  IPv6: [1, 2, 3].map((last) => addressOf(ipv6(0x20010db8, 0, 0, last))),
};
const OWN_COOKIE = BigInt(OWN_NETNS[0]) | (BigInt(OWN_NETNS[1]) << 32n);
/** Those with a row; the first two differ from the node's own, and from each other, in one word. */
const COOKIE_ROWS = [5n, OWN_COOKIE + 1n, 7n, 8n, 9n, 10n];
/** Named by rows that are another's, out of reach, or not there. */
const COOKIE_ODD = [11n, 12n, 13n];

const POD: Omit<NetnsRowRecord, 'cookie'> = {
  flags: 0,
  ipv4: addressFromIPv4(0x0a010063),
  ipv6: addressOf(ipv6(0xfd000001, 0, 0, 99)),
};
const NOWHERE = addressOf(ipv6(0, 0, 0, 0));

/** Rows of network namespaces: with both addresses, one, or none; translated, left, or as the scope says. */
export function plantNetns(store: MapStore): Result<void> {
  const changes: readonly Partial<NetnsRowRecord>[] = [
    {},
    { flags: NETNS_SOCKETS_ON, ipv4: addressFromIPv4(0x0a010064) },
    { flags: NETNS_SOCKETS_OFF },
    { ipv4: NOWHERE },
    { ipv6: NOWHERE, flags: NETNS_SOCKETS_ON },
    { ipv6: NOWHERE, ipv4: NOWHERE, flags: NETNS_SOCKETS_ON },
  ];
  const operations = [
    ...COOKIE_ROWS.flatMap((cookie, row) => [
      setOperation(maps.netnsRows, row, { ...POD, cookie, ...changes[row] }),
      setOperation(maps.netns, cookie, row),
    ]),
    setOperation(maps.netns, COOKIE_ODD[0] ?? 0n, 0),
    setOperation(maps.netns, COOKIE_ODD[1] ?? 0n, 0x7fff_fff0),
  ];
  const { result } = store.batch(operations);
  return result.ok ? ok(undefined) : result;
}

/** A socket, most of them of UDP. */
export function drawSocket(stream: Stream): Opening {
  const protocol = stream.chance(0.03) ? 'udplite' : stream.chance(0.35) ? 'tcp' : 'udp';
  const families: readonly Family[] =
    protocol === 'udp' && stream.chance(0.15) ? ['IPv4', 'IPv6'] : [stream.pick(['IPv4', 'IPv4', 'IPv6'] as const)];
  const [family = 'IPv4'] = families;
  const isSix = families.length > 1 || family === 'IPv6' || stream.chance(0.3);
  return {
    kind: { protocol, family: isSix ? 'inet6' : 'inet' },
    families,
    bound: families.length === 1 && stream.chance(0.3) ? stream.pick(LOCAL[family]) : undefined,
    cookie: (BigInt(stream.below(4)) << 32n) | BigInt(stream.below(COOKIES)),
    netns: stream.chance(0.5) ? OWN_COOKIE : stream.pick([...COOKIE_ROWS, ...COOKIE_ODD]),
    memory: { state: undefined },
    peer: undefined,
    isUnderWay: false,
    isDeaf: false,
    sent: [],
  };
}

/** The first socket of a batch speaks to more Services than it has rows for. */
export const BUSY = 0;

/** What a socket does next; a TCP socket connects once. */
export function drawCall(
  stream: Stream,
  { index, kind, families, peer, sent, isUnderWay, isDeaf }: Socket,
): Call | undefined {
  if (kind.protocol === 'tcp') return isUnderWay ? undefined : 'connect';
  if (kind.protocol === 'udplite') return 'send';
  const mayReceive = peer === undefined ? sent.length > 0 && !isDeaf : peer.port !== 0;
  const isBusy = index === BUSY;
  if (mayReceive && stream.chance(isBusy ? 0.1 : 0.3)) return 'receive';
  if (families.length > 1) return 'send';
  if (peer !== undefined && peer.port !== 0 && stream.chance(isBusy ? 0.05 : 0.2)) return 'write';
  if (peer !== undefined && stream.chance(isBusy ? 0.01 : 0.1)) return 'disconnect';
  return stream.chance(isBusy ? 0.05 : 0.35) ? 'connect' : 'send';
}

/** What outside says to a call of this socket. */
export function drawOutside(stream: Stream, { cookie, netns }: Socket, now: number): Outside {
  const outside = quietOutside(now);
  outside.socketCookie = cookie;
  outside.netnsCookie = netns;
  if (stream.chance(0.03)) outside.peerResult = ENOMEM;
  if (stream.chance(0.03)) outside.affinityResult = ENOMEM;
  if (stream.chance(0.05)) outside.storageResult = ENOMEM;
  return outside;
}

/** Where a datagram comes from: the peer of a connected socket; else one that was sent to, or a stranger. */
export function drawSender(stream: Stream, { peer, sent, families }: Socket): Endpoint {
  if (peer !== undefined) return peer;
  const known = stream.pick(sent);
  if (stream.chance(0.8)) return known;
  if (stream.chance(0.5)) return { ...known, port: known.port ^ 1 };
  return { address: addressOf(podAddress(stream, stream.pick(families))), port: known.port };
}

/** Where a call goes: a Service of the socket's protocol, mostly; its neighbour, a pod, or what was sent to before. */
export function drawTarget(stream: Stream, world: World, socket: Socket, call: Call): Endpoint {
  const { kind, families, sent } = socket;
  const family = stream.pick(families);
  const known = sent.length === 0 ? undefined : stream.pick(sent);
  if (known !== undefined && stream.chance(0.1)) return known;
  const frontends = frontendsOf(world, family, kind.protocol === 'tcp' ? 'TCP' : 'UDP');
  const host = (address: HostAddress, port: number): Endpoint => ({ address: addressOf(address), port });
  if (frontends.length === 0 || stream.chance(0.05)) return host(podAddress(stream, family), 8080);
  const { address, port } = stream.pick(frontends);
  if (!stream.chance(0.07)) return host(address, port);
  const ports = [port + 1, port - 1, call === 'connect' ? 0 : port];
  return host(neighbour(address, stream.below(2)), stream.pick(ports) & 0xffff || (call === 'connect' ? 0 : 1));
}

type Frontend = { readonly address: HostAddress; readonly port: number };

function frontendsOf({ services }: World, family: Family, protocol: 'TCP' | 'UDP'): readonly Frontend[] {
  const isSix = family === 'IPv6';
  const addressed = ({ addresses }: WorldService): readonly HostAddress[] =>
    addresses.filter((address) => (typeof address === 'string') === isSix);
  return services.flatMap((service) =>
    service.ports
      .filter((port) => (port.protocol ?? 'TCP') === protocol)
      .flatMap(({ port }) => addressed(service).map((address) => ({ address, port }))),
  );
}

/** The number that a call of the model takes. */
export function protocolOf({ protocol }: SocketKind): number {
  if (protocol === 'tcp') return TCP;
  return protocol === 'udp' ? UDP : 136;
}

/** How many datagrams' destinations are remembered. */
const SENT_MAX = SOCKET_ROWS + 3;

/** Keeps where a datagram went. */
export function noteSent(socket: Socket, went: Endpoint): void {
  socket.sent = [went, ...socket.sent.filter((other) => other.port !== went.port || !same(other, went))];
  socket.sent.length = Math.min(socket.sent.length, SENT_MAX);
}

function same(left: Endpoint, right: Endpoint): boolean {
  return left.address.d === right.address.d && isIPv4(left.address) === isIPv4(right.address);
}
