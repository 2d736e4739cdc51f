// SPDX-License-Identifier: Apache-2.0
/**
 * Real sockets through the cgroup programs: connect(), sendto(), recvfrom() and getpeername() in a network namespace
 * where nothing answers, with posed answers from outside.
 */
import { closeSync } from 'node:fs';
import { address, addressFromIPv4, isIPv4, type Address } from '../core/address.ts';
import {
  maps,
  outsideCodec,
  TEST_CONTROL_OUTSIDE_AT,
  TEST_CONTROL_VERDICT_AT,
  testControlCodec,
  verdictNames,
  type SocketStateRecord,
  type TestControlRecord,
} from '../core/layout.gen.ts';
import { assert, fail, ok, type Result } from '../core/result.ts';
import type { Outside } from '../core/twin.ts';
import { attachCgroup, type Attachment, type CgroupHook } from './attach.ts';
import {
  AF_INET,
  AF_INET6,
  bindSocket,
  connectSocket,
  openSocket,
  receiveFrom,
  sendDatagram,
  SOCK_DGRAM,
  SOCK_NONBLOCK,
  SOCK_STREAM,
  socketName,
  socketOption,
} from './libc.ts';
import type { KernelMap } from './map.ts';
import { insideNamespace } from './netns.ts';
import type { LoadedObject } from './object.ts';
import {
  drainWire,
  enterCgroup,
  injectDatagram,
  leaveCgroup,
  silentNamespace,
  type Cgroup,
  type Datagram,
  type SilentNamespace,
} from './silent.ts';
import { KernelStore } from './store.ts';
import { openSweeper } from './sweep.ts';

const SOL_SOCKET = 1;
/** The peer of a socket that isn't connected yet can be asked for by this option only; the hook runs all the same. */
const SO_PEERNAME = 28;
const WAIT_MS = 200;

/** In an AF_INET6 socket IPv4 addresses are the v4-mapped ones. */
export type Endpoint = { readonly address: Address; readonly port: number };
export type SocketFamily = 'inet' | 'inet6';

/** What a program reported of the last call; undefined where it did not run. */
export type Reported = TestControlRecord | undefined;

/** What became of one call: errno or 0, and where it really went: the socket's peer, the datagram's destination. */
export type Called = { readonly errno: number; readonly went: Endpoint | undefined; readonly reported: Reported };

/** Whom getpeername() or recvfrom() names; undefined: nobody. */
export type Shown = { readonly shown: Endpoint | undefined; readonly reported: Reported };

export type SocketKind = { readonly protocol: 'tcp' | 'udp' | 'udplite' | 'mptcp'; readonly family: SocketFamily };

export interface Sockets extends Disposable {
  /** Opens a non-blocking socket, bound to one of the namespace's addresses if asked to; its number, from 0. */
  open(kind: SocketKind, bound?: Address): Result<number>;
  /** The socket's own address, undefined where it has none yet. */
  ownAddress(index: number): Result<Address | undefined>;
  connect(index: number, to: Endpoint, outside: Outside): Result<Called>;
  /** sendto() with an explicit address. */
  send(index: number, to: Endpoint, outside: Outside): Result<Called>;
  /** send() of a connected socket. */
  write(index: number, outside: Outside): Result<Called>;
  /** recvfrom() of a datagram that comes from there. */
  receive(index: number, from: Endpoint, outside: Outside): Result<Shown>;
  /** connect(AF_UNSPEC): no program runs. */
  disconnect(index: number): Result<void>;
  /** getpeername(), while its hook is attached. */
  peerName(index: number, outside: Outside): Result<Shown>;
  /** What rides on the socket. */
  state(index: number): Result<SocketStateRecord | undefined>;
  /** Ends connected UDP sockets whose backend is gone; how many, by Service port. */
  sweep(): Result<ReadonlyMap<number, number>>;
  /** Attaches the program of getpeername(), or takes it away so that the real peer shows. */
  hookPeerName(isAttached: boolean): Result<void>;
  /** Closes all sockets; numbers begin anew. */
  closeAll(): void;
}

/** Moves this process into the cgroup until the rig is disposed of. Needs root, cgroup v2 and iproute2. */
export function openSockets(object: LoadedObject): Result<Sockets> {
  const store = new KernelStore(object);
  const control = store.map(maps.testControl);
  if (!control.ok) return control;
  const states = store.map(maps.sockets);
  if (!states.ok) return states;
  assert(control.value.mapped !== undefined, 'test_control is mapped');
  const cgroup = enterCgroup();
  if (!cgroup.ok) return cgroup;
  const silent = silentNamespace();
  if (!silent.ok) {
    leaveCgroup(cgroup.value);
    return silent;
  }
  const rig = new SocketRig(object, control.value.mapped.memory, states.value, cgroup.value, silent.value);
  const attached = rig.attach();
  if (attached.ok) return ok(rig);
  rig[Symbol.dispose]();
  return attached;
}

/** Bytes of `struct sockaddr_in` and `struct sockaddr_in6`, and where the address begins. */
const ADDRESS_SIZE: { readonly [family in SocketFamily]: number } = { inet: 16, inet6: 28 };
const IPV4_AT = 4;
const IPV6_AT = 8;

/** `struct sockaddr` of a family. */
export function socketAddress(family: SocketFamily, { address: { a, b, c, d }, port }: Endpoint): Buffer {
  const bytes = Buffer.alloc(ADDRESS_SIZE[family]);
  bytes.writeUInt16LE(family === 'inet' ? AF_INET : AF_INET6, 0);
  bytes.writeUInt16BE(port, 2);
  if (family === 'inet') bytes.writeUInt32BE(d, IPV4_AT);
  else for (const [index, word] of [a, b, c, d].entries()) bytes.writeUInt32BE(word, IPV6_AT + index * 4);
  return bytes;
}

export function endpointOf(family: SocketFamily, bytes: Buffer): Endpoint {
  const word = (index: number): number => bytes.readUInt32BE(IPV6_AT + index * 4);
  const isFour = family === 'inet';
  const peer = isFour ? addressFromIPv4(bytes.readUInt32BE(IPV4_AT)) : address(word(0), word(1), word(2), word(3));
  return { address: peer, port: bytes.readUInt16BE(2) };
}

/** As it stands in a packet: 4 bytes, or 16. */
function packetBytes({ a, b, c, d }: Address): Uint8Array {
  const bytes = Buffer.alloc(16);
  for (const [index, word] of [a, b, c, d].entries()) bytes.writeUInt32BE(word, index * 4);
  return a === 0 && b === 0 && c === 0xffff ? bytes.subarray(12) : bytes;
}

function addressOfPacket(bytes: Uint8Array): Address {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  if (bytes.length === 4) return addressFromIPv4(view.getUint32(0));
  return address(view.getUint32(0), view.getUint32(4), view.getUint32(8), view.getUint32(12));
}

/** 0.0.0.0 or :: */
function isAny({ address: { a, d } }: Endpoint): boolean {
  return (a | d) === 0;
}

type Open = { readonly descriptor: number; readonly family: SocketFamily; readonly isSeen: boolean };

const TYPES: { readonly [protocol in SocketKind['protocol']]: readonly [number, number] } = {
  tcp: [SOCK_STREAM, 0],
  udp: [SOCK_DGRAM, 0],
  udplite: [SOCK_DGRAM, 136],
  mptcp: [SOCK_STREAM, 262],
};

class SocketRig implements Sockets {
  private readonly object: LoadedObject;
  private readonly control: DataView;
  private readonly states: KernelMap<number, SocketStateRecord>;
  private readonly cgroup: Cgroup;
  private readonly silent: SilentNamespace;
  private readonly attachments: Attachment[] = [];
  private readonly peerHooks: Attachment[] = [];
  private sockets: Open[] = [];

  constructor(
    object: LoadedObject,
    control: ArrayBuffer,
    states: KernelMap<number, SocketStateRecord>,
    cgroup: Cgroup,
    silent: SilentNamespace,
  ) {
    this.object = object;
    this.control = new DataView(control);
    this.states = states;
    this.cgroup = cgroup;
    this.silent = silent;
  }

  attach(): Result<void> {
    const hooks = ['connect4', 'connect6', 'sendmsg4', 'sendmsg6', 'recvmsg4', 'recvmsg6'] as const;
    return this.attachTo(this.attachments, hooks);
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

  open({ protocol, family }: SocketKind, bound?: Address): Result<number> {
    const [type, number] = TYPES[protocol];
    const domain = family === 'inet' ? AF_INET : AF_INET6;
    const path = `/proc/self/fd/${this.silent.namespace}`;
    const visit = insideNamespace(path, () => openSocket(domain, type | SOCK_NONBLOCK, number));
    const socket = visit.ok ? visit.value : visit;
    if (!socket.ok) return socket;
    const index = this.sockets.push({ descriptor: socket.value, family, isSeen: protocol === 'udp' }) - 1;
    if (bound === undefined) return ok(index);
    const errno = bindSocket(socket.value, socketAddress(family, { address: bound, port: 0 }));
    return errno === 0 ? ok(index) : fail('environment', 'socket', `bind: errno ${errno}`);
  }

  private at(index: number): Open {
    const socket = this.sockets[index];
    assert(socket !== undefined, 'a socket that was opened');
    return socket;
  }

  connect(index: number, to: Endpoint, outside: Outside): Result<Called> {
    const opened = this.at(index);
    this.pose(outside);
    const errno = connectSocket(opened.descriptor, socketAddress(opened.family, to));
    const reported = this.reported();
    return ok({ errno, went: this.ask(opened), reported });
  }

  disconnect(index: number): Result<void> {
    const errno = connectSocket(this.at(index).descriptor, Buffer.alloc(16));
    return errno === 0 ? ok(undefined) : fail('environment', 'socket', `connect(AF_UNSPEC): errno ${errno}`);
  }

  send(index: number, to: Endpoint, outside: Outside): Result<Called> {
    return this.transmit(index, socketAddress(this.at(index).family, to), outside);
  }

  write(index: number, outside: Outside): Result<Called> {
    return this.transmit(index, undefined, outside);
  }

  private transmit(index: number, to: Uint8Array | undefined, outside: Outside): Result<Called> {
    const { descriptor, isSeen } = this.at(index);
    drainWire(this.silent);
    this.pose(outside);
    const errno = sendDatagram(descriptor, Buffer.from('ping'), to);
    const reported = this.reported();
    if (errno !== 0 || !isSeen) return ok({ errno, went: undefined, reported });
    const name = this.nameOf(index);
    if (!name.ok) return name;
    const sent = this.awaitWire(({ sourcePort }) => sourcePort === name.value.port);
    return ok({
      errno,
      went: sent && { address: addressOfPacket(sent.destination), port: sent.destinationPort },
      reported,
    });
  }

  ownAddress(index: number): Result<Address | undefined> {
    const name = this.nameOf(index);
    return name.ok ? ok(isAny(name.value) ? undefined : name.value.address) : name;
  }

  private nameOf(index: number): Result<Endpoint> {
    const { descriptor, family } = this.at(index);
    const name = Buffer.alloc(ADDRESS_SIZE[family]);
    const asked = socketName(descriptor, name);
    return asked.ok ? ok(endpointOf(family, name)) : asked;
  }

  /** Datagrams cross the wire before the call that sends them returns, unless the machine is very busy. */
  private awaitWire(isWanted: (datagram: Datagram) => boolean): Datagram | undefined {
    const endsAtMs = performance.now() + WAIT_MS;
    do {
      const found = drainWire(this.silent).find(isWanted);
      if (found !== undefined) return found;
    } while (performance.now() < endsAtMs);
    return undefined;
  }

  receive(index: number, from: Endpoint, outside: Outside): Result<Shown> {
    const { descriptor, family } = this.at(index);
    const name = this.nameOf(index);
    if (!name.ok) return name;
    const here = isIPv4(from.address) ? addressFromIPv4(0xc0000201) : address(0x20010db8, 0, 0, 1);
    const injected = injectDatagram(this.silent, {
      source: packetBytes(from.address),
      sourcePort: from.port,
      destination: packetBytes(isAny(name.value) ? here : name.value.address),
      destinationPort: name.value.port,
    });
    if (!injected.ok) return injected;
    this.pose(outside);
    const sender = Buffer.alloc(ADDRESS_SIZE[family]);
    const endsAtMs = performance.now() + WAIT_MS;
    let length = 0;
    do length = receiveFrom(descriptor, Buffer.alloc(64), sender);
    while (length < 0 && performance.now() < endsAtMs);
    const reported = this.reported();
    return ok({ shown: length < 0 ? undefined : endpointOf(family, sender), reported });
  }

  peerName(index: number, outside: Outside): Result<Shown> {
    const socket = this.at(index);
    this.pose(outside);
    const shown = this.ask(socket);
    return ok({ shown, reported: this.reported() });
  }

  private ask({ descriptor, family }: Open): Endpoint | undefined {
    const name = Buffer.alloc(ADDRESS_SIZE[family]);
    if (!socketOption(descriptor, SOL_SOCKET, SO_PEERNAME, name).ok) return undefined;
    return endpointOf(family, name);
  }

  state(index: number): Result<SocketStateRecord | undefined> {
    return this.states.get(this.at(index).descriptor);
  }

  sweep(): Result<ReadonlyMap<number, number>> {
    const sweeper = openSweeper(this.object);
    if (!sweeper.ok) return sweeper;
    using opened = sweeper.value;
    const { ended, failures } = opened.sweep([`/proc/self/fd/${this.silent.namespace}`]);
    const [failure] = failures;
    return failure === undefined ? ok(ended) : { ok: false, error: failure };
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
    for (const { descriptor } of this.sockets) closeSync(descriptor);
    this.sockets = [];
  }

  [Symbol.dispose](): void {
    this.closeAll();
    for (const attachment of [...this.peerHooks, ...this.attachments]) attachment[Symbol.dispose]();
    leaveCgroup(this.cgroup);
    closeSync(this.silent.wire);
    closeSync(this.silent.namespace);
  }
}
