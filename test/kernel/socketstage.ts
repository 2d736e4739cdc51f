// SPDX-License-Identifier: Apache-2.0
/** Where real sockets meet the production programs: network namespaces with pods' addresses, a cgroup, a small cluster. */
import { execFileSync } from 'node:child_process';
import { closeSync, readFileSync, writeSync } from 'node:fs';
import { resolve } from 'node:path';
import { createLoop, type Loop } from '../../agent/loop.ts';
import { addressText, parseAddress, type Address } from '../../core/address.ts';
import { maps, reasonNames, type ConfigRecord, type NetnsRowRecord } from '../../core/layout.gen.ts';
import { failureText, type Result } from '../../core/result.ts';
import { setOperation } from '../../core/store.ts';
import { attachCgroup, type Attachment, type CgroupHook } from '../../kernel/attach.ts';
import {
  AF_INET,
  AF_INET6,
  bindSocket,
  connectSocket,
  openSocket,
  receiveFrom,
  sendDatagram,
  SOCK_DGRAM,
  SOCK_STREAM,
  socketName,
  socketOption,
} from '../../kernel/libc.ts';
import { insideNamespace, namespaceCookie, namespacePath } from '../../kernel/netns.ts';
import { loadObject, type LoadedObject } from '../../kernel/object.ts';
import { enterCgroup, leaveCgroup, type Cgroup } from '../../kernel/silent.ts';
import { endpointOf, socketAddress, type SocketFamily } from '../../kernel/sockets.ts';
import { KernelStore } from '../../kernel/store.ts';
import { changeEvents, worldEvents, worldNode, type World } from '../../proof/world.ts';

const OBJECT = resolve(import.meta.dirname, '../../bpf/tandem.bpf.o');
const SOL_SOCKET = 1;
const SO_ERROR = 4;
const SO_PEERNAME = 28;
const WAIT_MS = 500;

export const HOOKS: readonly CgroupHook[] = [
  'getpeername4',
  'getpeername6',
  'recvmsg4',
  'recvmsg6',
  'sendmsg4',
  'sendmsg6',
  'connect4',
  'connect6',
];

export function value<T>(result: Result<T>): T {
  if (!result.ok) throw new Error(failureText(result.error));
  return result.value;
}

/** `10.96.0.1:53` or `[fd00::1]:53`. */
function parts(place: string): { readonly address: Address; readonly port: number } {
  const found = /^\[?([^\]]*?)\]?:(\d+)$/.exec(place);
  return { address: value(parseAddress(found?.[1] ?? place)), port: Number(found?.[2]) };
}

function text(family: SocketFamily, bytes: Buffer): string {
  const { address, port } = endpointOf(family, bytes);
  const written = addressText(address);
  return written.includes(':') ? `[${written}]:${port}` : `${written}:${port}`;
}

const SIZE: { readonly [family in SocketFamily]: number } = { inet: 16, inet6: 28 };

/** A real socket; places are text, IPv4 ones too where the socket is an AF_INET6 one. */
export class Socket implements Disposable {
  readonly fd: number;
  readonly family: SocketFamily;
  private isOpen = true;

  constructor(fd: number, family: SocketFamily) {
    this.fd = fd;
    this.family = family;
  }

  bytes(place: string): Buffer {
    return socketAddress(this.family, parts(place));
  }

  /** 0 or the errno. */
  bind(place: string): number {
    return bindSocket(this.fd, this.bytes(place));
  }

  connect(place: string): number {
    return connectSocket(this.fd, this.bytes(place));
  }

  /** connect(AF_UNSPEC). */
  disconnect(): number {
    return connectSocket(this.fd, Buffer.alloc(16));
  }

  send(place: string, data = 'ping', flags = 0): number {
    return sendDatagram(this.fd, Buffer.from(data), this.bytes(place), flags);
  }

  /** send() of a connected socket. */
  write(data = 'ping'): void {
    writeSync(this.fd, data);
  }

  /** The sender and what it sent; `nothing` where nothing comes. */
  receive(): string {
    const from = Buffer.alloc(SIZE[this.family]);
    const data = Buffer.alloc(256);
    const endsAtMs = performance.now() + WAIT_MS;
    for (;;) {
      const length = receiveFrom(this.fd, data, from);
      if (length >= 0) return `${text(this.family, from)} ${data.toString('utf8', 0, length)}`;
      if (performance.now() > endsAtMs) return 'nothing';
    }
  }

  peer(): string {
    const name = Buffer.alloc(SIZE[this.family]);
    return socketOption(this.fd, SOL_SOCKET, SO_PEERNAME, name).ok ? text(this.family, name) : 'none';
  }

  name(): string {
    const name = Buffer.alloc(SIZE[this.family]);
    value(socketName(this.fd, name));
    return text(this.family, name);
  }

  /** SO_ERROR, which is cleared by asking. */
  error(): number {
    const error = Buffer.alloc(4);
    value(socketOption(this.fd, SOL_SOCKET, SO_ERROR, error));
    return error.readInt32LE(0);
  }

  /** Answers one datagram with the address that it came to; its sender. */
  answer(): string {
    const endsAtMs = performance.now() + WAIT_MS;
    let from = this.poll();
    while (from === undefined && performance.now() < endsAtMs) from = this.poll();
    if (from === undefined) return 'nothing';
    this.send(from, this.name());
    return from;
  }

  /** The sender of a datagram that is there, undefined where none is. */
  poll(): string | undefined {
    const from = Buffer.alloc(SIZE[this.family]);
    return receiveFrom(this.fd, Buffer.alloc(256), from) < 0 ? undefined : text(this.family, from);
  }

  [Symbol.dispose](): void {
    if (this.isOpen) closeSync(this.fd);
    this.isOpen = false;
  }
}

export type StageOptions = {
  /** What the namespaces' loopback devices have: `10.1.0.5`. */
  readonly addresses: readonly string[];
  readonly namespaces?: number;
  readonly settings?: Partial<ConfigRecord>;
  readonly hooks?: readonly CgroupHook[];
};

/** Disposing of it takes everything away again. */
export class SocketStage implements Disposable {
  readonly paths: readonly string[];
  readonly object: LoadedObject;
  readonly store: KernelStore;
  private readonly names: readonly string[];
  private readonly cgroup: Cgroup;
  private readonly attachments: readonly Attachment[];
  private readonly loop: Loop;
  private readonly sockets: Socket[] = [];
  private world: World = { services: [] };

  constructor({ addresses, namespaces = 1, settings = {}, hooks = HOOKS }: StageOptions) {
    this.names = Array.from({ length: namespaces }, (_, index) => `tandem-stage-${process.pid}-${index}`);
    this.paths = this.names.map(namespacePath);
    for (const name of this.names) {
      execFileSync('ip', ['netns', 'add', name]);
      execFileSync('ip', ['-n', name, 'link', 'set', 'lo', 'up']);
      // What is left to the packets goes out and comes back to nobody.
      execFileSync('ip', ['-n', name, 'route', 'add', '10.96.0.0/16', 'dev', 'lo']);
      execFileSync('ip', ['-n', name, '-6', 'route', 'add', 'fd00:96::/64', 'dev', 'lo']);
      for (const address of addresses) {
        const length = address.includes(':') ? 128 : 32;
        const rest = address.includes(':') ? ['nodad'] : [];
        execFileSync('ip', ['-n', name, 'addr', 'add', `${address}/${length}`, 'dev', 'lo', ...rest]);
      }
    }
    const small = { flows: 64, services: 64, frontends: 64, backends: 256, slots: 256, netns_rows: 16, netns: 16 };
    const loaded = loadObject({
      object: readFileSync(OBJECT),
      name: OBJECT,
      settings: { selectionKey: [1, 2], ...settings },
      maxEntries: small,
    });
    if (!loaded.ok) throw new Error(failureText(loaded.error));
    this.object = loaded.value;
    this.store = new KernelStore(this.object);
    this.cgroup = value(enterCgroup());
    this.attachments = hooks.map((hook) =>
      value(attachCgroup(this.object.programFd(`sock_${hook}`), this.cgroup.path, hook)),
    );
    const onProblem = (): void => undefined;
    this.loop = createLoop({ store: this.store, node: worldNode, onProblem });
    for (const event of worldEvents(this.world)) this.loop.event(event);
  }

  get cgroupPath(): string {
    return this.cgroup.path;
  }

  /** The cluster is this from now on. */
  become(world: World): void {
    for (const event of changeEvents(this.world, world)) this.loop.event(event);
    const [failure] = this.loop.step().failures;
    if (failure !== undefined) throw new Error(failureText(failure));
    this.world = world;
  }

  /** Tells the programs of a namespace: its row, its pod's addresses. */
  row(index: number, row: Partial<NetnsRowRecord>): void {
    const cookie = this.cookie(index);
    const none = value(parseAddress('::'));
    const record = { flags: 0, ipv4: none, ipv6: none, ...row, cookie };
    const { result } = this.store.batch([
      setOperation(maps.netnsRows, index, record),
      setOperation(maps.netns, cookie, index),
    ]);
    value(result);
  }

  cookie(index: number): bigint {
    return value(namespaceCookie(this.paths[index] ?? ''));
  }

  open(type: number, family: SocketFamily = 'inet', protocol = 0, index = 0): Socket {
    const domain = family === 'inet' ? AF_INET : AF_INET6;
    const socket = value(insideNamespace(this.paths[index] ?? '', () => openSocket(domain, type, protocol)));
    const opened = new Socket(value(socket), family);
    this.sockets.push(opened);
    return opened;
  }

  /** A descriptor that came from elsewhere; closed with the stage. */
  adopt(fd: number, family: SocketFamily = 'inet'): Socket {
    const adopted = new Socket(fd, family);
    this.sockets.push(adopted);
    return adopted;
  }

  udp(family: SocketFamily = 'inet', index = 0): Socket {
    return this.open(SOCK_DGRAM, family, 0, index);
  }

  tcp(family: SocketFamily = 'inet', index = 0): Socket {
    return this.open(SOCK_STREAM, family, 0, index);
  }

  /** A UDP socket of a pod. */
  pod(place: string, index = 0): Socket {
    const socket = this.udp(place.startsWith('[') ? 'inet6' : 'inet', index);
    const errno = socket.bind(place);
    if (errno !== 0) throw new Error(`bind ${place}: errno ${errno}`);
    return socket;
  }

  /** Calls and sockets so far by reason. */
  count(reason: string): number {
    const counter = value(this.store.get(maps.counters, reasonNames.indexOf(reason)));
    return Number(counter?.packets ?? 0n);
  }

  [Symbol.dispose](): void {
    for (const socket of this.sockets) socket[Symbol.dispose]();
    for (const attachment of this.attachments) attachment[Symbol.dispose]();
    leaveCgroup(this.cgroup);
    this.object[Symbol.dispose]();
    for (const name of this.names) execFileSync('ip', ['netns', 'del', name]);
  }
}
