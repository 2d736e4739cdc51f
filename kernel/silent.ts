// SPDX-License-Identifier: Apache-2.0
/** A nameless network namespace where nothing answers, a cgroup of our own, and the wire on which datagrams are seen. */
import { spawnSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { assert, fail, ok, type Result } from '../core/result.ts';
import { cgroupRoot } from './attach.ts';
import {
  AF_PACKET,
  bindSocket,
  CLONE_NEWNET,
  deviceIndex,
  openSocket,
  receiveFrom,
  sendDatagram,
  setNamespace,
  SOCK_RAW,
  unshare,
} from './libc.ts';

/** Bytes of an Ethernet address: what the socket's side of the wire has, and the other. */
const NEAR = [2, 0, 0, 0, 0, 1] as const;
const FAR = [2, 0, 0, 0, 0, 2] as const;
const macText = (mac: readonly number[]): string => mac.map((byte) => byte.toString(16).padStart(2, '0')).join(':');

/** Addresses that sockets may be bound to. */
export const LOCAL_IPV4 = ['192.0.2.1', '192.0.2.2', '192.0.2.3'] as const;
export const LOCAL_IPV6 = ['2001:db8::1', '2001:db8::2', '2001:db8::3'] as const;

/** Without ARP, connect() has nothing to wait for. */
const SILENT_DEVICE = [
  'link set lo up',
  `link add silent address ${macText(NEAR)} type veth peer name void address ${macText(FAR)}`,
  'link set silent arp off',
  'link set silent up',
  'link set void up',
  ...LOCAL_IPV4.map((address) => `addr add ${address}/32 dev silent`),
  'route add default dev silent',
  ...LOCAL_IPV6.map((address) => `-6 addr add ${address}/128 dev silent nodad`),
  '-6 route add default dev silent',
];
const PREFIX = 'tandem-verify-';
const ETH_P_ALL = 3;
const ETH_P_IP = 0x0800;
const ETH_P_IPV6 = 0x86dd;
const EAGAIN = 11;

export type Cgroup = { readonly path: string; readonly home: string };

export function enterCgroup(): Result<Cgroup> {
  const root = cgroupRoot();
  if (!root.ok) return root;
  const own = /^0::(.*)$/m.exec(readFileSync('/proc/self/cgroup', 'utf8'))?.[1] ?? '/';
  const path = `${root.value}/${PREFIX}${process.pid}`;
  try {
    removeStale(root.value);
    mkdirSync(path, { recursive: true });
    writeFileSync(`${path}/cgroup.procs`, String(process.pid));
    return ok({ path, home: `${root.value}${own}`.replace(/\/$/, '') });
  } catch (error) {
    return fail('environment', path, error instanceof Error ? error.message : String(error), 'run as root');
  }
}

/** A run that was killed could not take its cgroup away; it is empty, and its process is gone. */
function removeStale(root: string): void {
  for (const name of readdirSync(root)) {
    if (!name.startsWith(PREFIX) || isAlive(Number(name.slice(PREFIX.length)))) continue;
    rmdirSync(`${root}/${name}`);
  }
}

function isAlive(pid: number): boolean {
  return readdirSync('/proc').includes(String(pid));
}

export function leaveCgroup({ path, home }: Cgroup): void {
  writeFileSync(`${home}/cgroup.procs`, String(process.pid));
  rmdirSync(path);
}

/** A namespace without a name, gone with its descriptor, and the far end of its only wire. */
export type SilentNamespace = { readonly namespace: number; readonly wire: number; readonly wireAddress: Uint8Array };

/** All packets of the namespace vanish in a device from which only `wire` reads. */
export function silentNamespace(): Result<SilentNamespace> {
  const home = openSync('/proc/thread-self/ns/net', 'r');
  try {
    const made = unshare(CLONE_NEWNET);
    if (!made.ok) return fail('environment', 'network namespace', made.error.message, 'run as root');
    const failed = SILENT_DEVICE.map(ip).find((result) => !result.ok);
    const descriptor = openSync('/proc/thread-self/ns/net', 'r');
    const wire = failed === undefined ? openWire() : failed;
    const left = setNamespace(home, CLONE_NEWNET);
    assert(left.ok, 'the thread comes back to its network namespace');
    if (wire.ok && wire.value !== undefined) return ok({ namespace: descriptor, ...wire.value });
    closeSync(descriptor);
    return wire.ok ? fail('environment', 'network namespace', 'no wire') : wire;
  } finally {
    closeSync(home);
  }
}

function ip(command: string): Result<undefined> {
  const done = spawnSync('ip', command.split(' '), { encoding: 'utf8' });
  if (done.status === 0) return ok(undefined);
  const why = done.error?.message ?? done.stderr.trim();
  return fail('environment', `ip ${command}`, why, 'install iproute2');
}

function openWire(): Result<{ readonly wire: number; readonly wireAddress: Uint8Array }> {
  const socket = openSocket(AF_PACKET, SOCK_RAW, 0);
  if (!socket.ok) return socket;
  const index = deviceIndex('void');
  if (!index.ok) return index;
  // struct sockaddr_ll
  const wireAddress = Buffer.alloc(20);
  wireAddress.writeUInt16LE(AF_PACKET, 0);
  wireAddress.writeUInt16BE(ETH_P_ALL, 2);
  wireAddress.writeInt32LE(index.value, 4);
  const errno = bindSocket(socket.value, wireAddress);
  return errno === 0 ? ok({ wire: socket.value, wireAddress }) : fail('environment', 'device void', `bind: ${errno}`);
}

/** One datagram's addresses as they stand in the frame: 4 or 16 bytes. */
export type Datagram = {
  readonly source: Uint8Array;
  readonly sourcePort: number;
  readonly destination: Uint8Array;
  readonly destinationPort: number;
};

/** Everything that has arrived at the far end, in order; what is no UDP datagram is left out. */
export function drainWire({ wire }: SilentNamespace): readonly Datagram[] {
  const found: Datagram[] = [];
  const frame = Buffer.alloc(2048);
  for (;;) {
    const length = receiveFrom(wire, frame);
    if (length === -EAGAIN) return found;
    assert(length >= 0, `the wire can be read: ${length}`);
    const datagram = readDatagram(frame.subarray(0, length));
    if (datagram !== undefined) found.push(datagram);
  }
}

function readDatagram(frame: Buffer): Datagram | undefined {
  const isSix = frame.readUInt16BE(12) === ETH_P_IPV6;
  const [protocolAt, addressAt, size, transportAt] = isSix ? [20, 22, 16, 54] : [23, 26, 4, 34];
  if (!isSix && frame.readUInt16BE(12) !== ETH_P_IP) return undefined;
  if (frame.length < transportAt + 8 || frame[protocolAt] !== 17) return undefined;
  return {
    source: Uint8Array.from(frame.subarray(addressAt, addressAt + size)),
    sourcePort: frame.readUInt16BE(transportAt),
    destination: Uint8Array.from(frame.subarray(addressAt + size, addressAt + size * 2)),
    destinationPort: frame.readUInt16BE(transportAt + 2),
  };
}

/** Sends a datagram with four bytes in it from the far end to the near one. */
export function injectDatagram({ wire, wireAddress }: SilentNamespace, datagram: Datagram): Result<void> {
  const errno = sendDatagram(wire, frameOf(datagram), wireAddress);
  return errno === 0 ? ok(undefined) : fail('environment', 'device void', `send: errno ${errno}`);
}

function frameOf({ source, sourcePort, destination, destinationPort }: Datagram): Buffer {
  const isSix = source.length === 16;
  const header = isSix ? 40 : 20;
  const frame = Buffer.alloc(Math.max(14 + header + 12, 64));
  frame.set([...NEAR, ...FAR]);
  frame.writeUInt16BE(isSix ? ETH_P_IPV6 : ETH_P_IP, 12);
  frame.set(isSix ? [0x60, 0, 0, 0, 0, 12, 17, 64] : [0x45, 0, 0, 32, 0, 0, 0x40, 0, 64, 17, 0, 0], 14);
  frame.set([...source, ...destination], 14 + header - source.length * 2);
  const udp = frame.subarray(14 + header, 14 + header + 12);
  udp.writeUInt16BE(sourcePort, 0);
  udp.writeUInt16BE(destinationPort, 2);
  udp.writeUInt16BE(12, 4);
  udp.write('pong', 8);
  if (!isSix) frame.writeUInt16BE(0xffff - sum(frame.subarray(14, 34)), 24);
  const pseudo = [...source, ...destination, 0, 17, 0, 12, ...udp];
  udp.writeUInt16BE(0xffff - sum(Uint8Array.from(pseudo)) || 0xffff, 6);
  return frame;
}

/** The Internet checksum's sum, not yet complemented (RFC 1071); an even number of bytes. */
function sum(bytes: Uint8Array): number {
  let total = 0;
  for (let at = 0; at < bytes.length; at += 2) total += (bytes[at] ?? 0) * 256 + (bytes[at + 1] ?? 0);
  while (total > 0xffff) total = (total & 0xffff) + Math.floor(total / 0x10000);
  return total;
}
