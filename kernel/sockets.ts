// SPDX-License-Identifier: Apache-2.0
/**
 * Real connect() and getpeername() through the cgroup programs: a nameless network namespace where nothing answers, a
 * cgroup of our own, and posed answers from outside.
 */
import { spawnSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { address, addressFromIPv4, type Address } from '../core/address.ts';
import {
  maps,
  outsideCodec,
  TEST_CONTROL_OUTSIDE_AT,
  TEST_CONTROL_VERDICT_AT,
  testControlCodec,
  verdictNames,
  type TestControlRecord,
} from '../core/layout.gen.ts';
import { assert, fail, ok, type Result } from '../core/result.ts';
import type { Outside } from '../core/twin.ts';
import { attachCgroup, cgroupRoot, type Attachment, type CgroupHook } from './attach.ts';
import {
  AF_INET,
  AF_INET6,
  CLONE_NEWNET,
  connectSocket,
  openSocket,
  setNamespace,
  SOCK_DGRAM,
  SOCK_NONBLOCK,
  SOCK_STREAM,
  socketOption,
  unshare,
} from './libc.ts';
import { insideNamespace } from './netns.ts';
import type { LoadedObject } from './object.ts';
import { KernelStore } from './store.ts';

const SOL_SOCKET = 1;
/** The peer of a socket that isn't connected yet can be asked for by this option only; the hook runs all the same. */
const SO_PEERNAME = 28;
/** Without ARP, connect() has nothing to wait for. */
const SILENT_DEVICE = [
  'link set lo up',
  'link add silent type veth peer name void',
  'link set silent arp off',
  'link set silent up',
  'link set void up',
  'addr add 192.0.2.1/32 dev silent',
  'route add default dev silent',
  '-6 addr add 2001:db8::1/128 dev silent nodad',
  '-6 route add default dev silent',
] as const;
const PREFIX = 'tandem-verify-';

/** In an AF_INET6 socket IPv4 addresses are the v4-mapped ones. */
export type Endpoint = { readonly address: Address; readonly port: number };
export type SocketFamily = 'inet' | 'inet6';

/** What a program reported of the last call; undefined where it did not run. */
export type Reported = TestControlRecord | undefined;

/** What became of one connect(): errno or 0, and where the socket really goes. */
export type Connected = { readonly errno: number; readonly peer: Endpoint | undefined; readonly reported: Reported };

/** What getpeername() says; undefined: the socket has no peer. */
export type PeerAnswer = { readonly peer: Endpoint | undefined; readonly reported: Reported };

export type SocketKind = { readonly protocol: 'tcp' | 'udp'; readonly family: SocketFamily };

export interface Sockets extends Disposable {
  /** connect() of a new non-blocking socket; it stays open as the last one of `open`. */
  connect(kind: SocketKind, to: Endpoint, outside: Outside): Result<Connected>;
  /** getpeername() of the socket that was opened as number `index`, from 0, while its hook is attached. */
  peerName(index: number, outside: Outside): Result<PeerAnswer>;
  /** Attaches the program of getpeername(), or takes it away so that the real peer shows. */
  hookPeerName(isAttached: boolean): Result<void>;
  /** Closes all sockets. */
  closeAll(): void;
}

/** Moves this process into the cgroup until the rig is disposed of. Needs root, cgroup v2 and iproute2. */
export function openSockets(object: LoadedObject): Result<Sockets> {
  const store = new KernelStore(object);
  const control = store.map(maps.testControl);
  if (!control.ok) return control;
  assert(control.value.mapped !== undefined, 'test_control is mapped');
  const cgroup = enterCgroup();
  if (!cgroup.ok) return cgroup;
  const namespace = silentNamespace();
  if (!namespace.ok) {
    leaveCgroup(cgroup.value);
    return namespace;
  }
  const rig = new SocketRig(object, control.value.mapped.memory, cgroup.value, namespace.value);
  const attached = rig.attach();
  if (attached.ok) return ok(rig);
  rig[Symbol.dispose]();
  return attached;
}

type Cgroup = { readonly path: string; readonly home: string };

function enterCgroup(): Result<Cgroup> {
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

function leaveCgroup({ path, home }: Cgroup): void {
  writeFileSync(`${home}/cgroup.procs`, String(process.pid));
  rmdirSync(path);
}

/** A namespace without a name, gone with its descriptor, whose packets all vanish in a device that nobody reads from. */
function silentNamespace(): Result<number> {
  const home = openSync('/proc/thread-self/ns/net', 'r');
  try {
    const made = unshare(CLONE_NEWNET);
    if (!made.ok) return fail('environment', 'network namespace', made.error.message, 'run as root');
    const failed = SILENT_DEVICE.map(ip).find((result) => !result.ok);
    const descriptor = openSync('/proc/thread-self/ns/net', 'r');
    const left = setNamespace(home, CLONE_NEWNET);
    assert(left.ok, 'the thread comes back to its network namespace');
    if (failed === undefined || failed.ok) return ok(descriptor);
    closeSync(descriptor);
    return failed;
  } finally {
    closeSync(home);
  }
}

function ip(command: string): Result<void> {
  const done = spawnSync('ip', command.split(' '), { encoding: 'utf8' });
  if (done.status === 0) return ok(undefined);
  const why = done.error?.message ?? done.stderr.trim();
  return fail('environment', `ip ${command}`, why, 'install iproute2');
}

/** Bytes of `struct sockaddr_in` and `struct sockaddr_in6`, and where the address begins. */
const ADDRESS_SIZE: { readonly [family in SocketFamily]: number } = { inet: 16, inet6: 28 };
const IPV4_AT = 4;
const IPV6_AT = 8;

function socketAddress(family: SocketFamily, { address: { a, b, c, d }, port }: Endpoint): Buffer {
  const bytes = Buffer.alloc(ADDRESS_SIZE[family]);
  bytes.writeUInt16LE(family === 'inet' ? AF_INET : AF_INET6, 0);
  bytes.writeUInt16BE(port, 2);
  if (family === 'inet') bytes.writeUInt32BE(d, IPV4_AT);
  else for (const [index, word] of [a, b, c, d].entries()) bytes.writeUInt32BE(word, IPV6_AT + index * 4);
  return bytes;
}

function endpointOf(family: SocketFamily, bytes: Buffer): Endpoint {
  const word = (index: number): number => bytes.readUInt32BE(IPV6_AT + index * 4);
  const isFour = family === 'inet';
  const peer = isFour ? addressFromIPv4(bytes.readUInt32BE(IPV4_AT)) : address(word(0), word(1), word(2), word(3));
  return { address: peer, port: bytes.readUInt16BE(2) };
}

type Open = { readonly descriptor: number; readonly family: SocketFamily };

class SocketRig implements Sockets {
  private readonly object: LoadedObject;
  private readonly control: DataView;
  private readonly cgroup: Cgroup;
  private readonly namespace: number;
  private readonly attachments: Attachment[] = [];
  private readonly peerHooks: Attachment[] = [];
  private open: Open[] = [];

  constructor(object: LoadedObject, control: ArrayBuffer, cgroup: Cgroup, namespace: number) {
    this.object = object;
    this.control = new DataView(control);
    this.cgroup = cgroup;
    this.namespace = namespace;
  }

  attach(): Result<void> {
    return this.attachTo(this.attachments, ['connect4', 'connect6']);
  }

  private attachTo(attachments: Attachment[], hooks: readonly CgroupHook[]): Result<void> {
    for (const hook of hooks) {
      const attached = attachCgroup(this.object.programFd(`sock_${hook}`), this.cgroup.path, hook);
      if (!attached.ok) return attached;
      attachments.push(attached.value);
    }
    return ok(undefined);
  }

  hookPeerName(isAttached: boolean): Result<void> {
    for (const hook of this.peerHooks.splice(0)) hook[Symbol.dispose]();
    return isAttached ? this.attachTo(this.peerHooks, ['getpeername4', 'getpeername6']) : ok(undefined);
  }

  connect({ protocol, family }: SocketKind, to: Endpoint, outside: Outside): Result<Connected> {
    const type = (protocol === 'tcp' ? SOCK_STREAM : SOCK_DGRAM) | SOCK_NONBLOCK;
    const domain = family === 'inet' ? AF_INET : AF_INET6;
    const visit = insideNamespace(`/proc/self/fd/${this.namespace}`, () => openSocket(domain, type, 0));
    const socket = visit.ok ? visit.value : visit;
    if (!socket.ok) return socket;
    const opened = { descriptor: socket.value, family };
    this.open.push(opened);
    this.pose(outside);
    const errno = connectSocket(opened.descriptor, socketAddress(family, to));
    const reported = this.reported();
    return ok({ errno, peer: this.ask(opened), reported });
  }

  peerName(index: number, outside: Outside): Result<PeerAnswer> {
    const socket = this.open[index];
    assert(socket !== undefined, 'a socket that was opened');
    this.pose(outside);
    const peer = this.ask(socket);
    return ok({ peer, reported: this.reported() });
  }

  private ask({ descriptor, family }: Open): Endpoint | undefined {
    const name = Buffer.alloc(ADDRESS_SIZE[family]);
    if (!socketOption(descriptor, SOL_SOCKET, SO_PEERNAME, name).ok) return undefined;
    return endpointOf(family, name);
  }

  /** The verdict is set to none, so that a program that doesn't run can't pass for the last one. */
  private pose(outside: Outside): void {
    outsideCodec.encode(this.control, TEST_CONTROL_OUTSIDE_AT, outside);
    this.control.setUint32(TEST_CONTROL_VERDICT_AT, verdictNames.length, true);
  }

  private reported(): Reported {
    const record = testControlCodec.decode(this.control, 0);
    return record.verdict < verdictNames.length ? record : undefined;
  }

  closeAll(): void {
    for (const { descriptor } of this.open) closeSync(descriptor);
    this.open = [];
  }

  [Symbol.dispose](): void {
    this.closeAll();
    for (const attachment of [...this.peerHooks, ...this.attachments]) attachment[Symbol.dispose]();
    leaveCgroup(this.cgroup);
    closeSync(this.namespace);
  }
}
