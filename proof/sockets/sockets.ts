// SPDX-License-Identifier: Apache-2.0
/** The same comparison for real sockets: what the kernel did of each call against what the model says. */
import { isIPv4, port, type Address } from '../../core/address.ts';
import type { Datapath } from '../../core/datapath/datapath.ts';
import type { SocketCall, SocketOutcome } from '../../core/datapath/socket.ts';
import {
  markNames,
  maps,
  reasonNames,
  socketStateCodec,
  VERDICT_FORWARD,
  VERDICT_REFUSE,
  verdictNames,
} from '../../core/layout.gen.ts';
import { createStream, type Stream } from '../../core/random.ts';
import { assert, ok, type Result } from '../../core/result.ts';
import type { MapSpec } from '../../core/store.ts';
import type { Outside } from '../../core/twin.ts';
import { hostOf } from '../traffic/address.ts';
import { isSocketMark } from '../campaign.ts';
import { compareLines, type Difference } from '../compare.ts';
import { faultKinds } from '../faults.ts';
import { compareReported, differ, endpointText, isSame, mapLines, shown, stateLines } from './socketcompare.ts';
import {
  BUSY,
  drawCall,
  drawOutside,
  drawSender,
  drawSocket,
  drawTarget,
  noteSent,
  plantNetns,
  protocolOf,
  type Call,
  type Endpoint,
  type Socket,
} from './socketdraw.ts';
import type { Reported, SocketCalls } from './socketcalls.ts';
import { Bench, type Finding, type Sides } from '../steps.ts';
import { changeWorld, randomWorld, serviceAt, withDatagrams, type World } from '../world.ts';

export type SocketCampaignOptions = {
  readonly seed: number;
  readonly sides: Sides;
  readonly datapath: Datapath;
  readonly sockets: SocketCalls;
  /** Calls to make at most; getpeername() comes on top. */
  readonly callsMax: number;
};

export type SocketReport = {
  readonly seed: number;
  readonly calls: number;
  /** Sockets that the sweep ended. */
  readonly ended: number;
  /** How often each verdict was given, by name, and each reason. */
  readonly verdicts: Readonly<Record<string, number>>;
  readonly reasons: Readonly<Record<string, number>>;
  /** Marks of the socket road that no call reached. */
  readonly unreached: readonly string[];
  readonly finding: Finding | undefined;
};

/** Sockets that are open at once, and calls until they are closed. */
const BATCH = 24;
const BATCH_CALLS = 160;
const CHANGE_CHANCE = 0.06;
const BUSY_CHANCE = 0.35;
const EINPROGRESS = 115;

/** Opens sockets to a changing cluster until the budget is used up or the sides differ. */
export function runSockets(options: SocketCampaignOptions): Result<SocketReport> {
  return new SocketCampaign(options).run();
}

class SocketCampaign {
  private readonly options: SocketCampaignOptions;
  private readonly bench: Bench;
  private readonly stream: Stream;
  private readonly verdicts: number[] = verdictNames.map(() => 0);
  private readonly reasons: number[] = reasonNames.map(() => 0);
  private world: World = { services: [] };
  private calls = 0;
  private ended = 0;
  private now: number;

  constructor(options: SocketCampaignOptions) {
    this.options = options;
    this.bench = new Bench(options.sides);
    this.stream = createStream(options.seed, 4);
    this.now = this.stream.pick([1000, 2 ** 32 - 20_000]);
  }

  run(): Result<SocketReport> {
    const { callsMax, sockets, sides } = this.options;
    const clean = this.bench.reset();
    if (!clean.ok) return clean;
    for (const side of [sides.model, sides.kernel]) {
      const planted = plantNetns(side.twin.store);
      if (!planted.ok) return planted;
    }
    while (this.calls < callsMax) {
      const found = this.batch();
      sockets.closeAll();
      const unhooked = sockets.hookPeerName(false);
      if (!found.ok) return found;
      if (!unhooked.ok) return unhooked;
      if (found.value !== undefined) return ok(this.report(found.value));
    }
    const rest = this.rest();
    return rest.ok ? ok(this.report(rest.value)) : rest;
  }

  private report(finding: Finding | undefined): SocketReport {
    const marks = this.options.sides.model.marks();
    const named = (names: readonly string[], counts: readonly number[]): Record<string, number> =>
      Object.fromEntries(names.map((name, at) => [name, counts[at] ?? 0] as const).filter(([, count]) => count > 0));
    return {
      seed: this.options.seed,
      calls: this.calls,
      ended: this.ended,
      verdicts: named(verdictNames, this.verdicts),
      reasons: named(reasonNames, this.reasons),
      unreached: markNames.filter((_, mark) => isSocketMark(mark) && marks[mark] === 0),
      finding,
    };
  }

  private batch(): Result<Finding | undefined> {
    const { stream, options } = this;
    const open = this.openAll();
    if (!open.ok) return open;
    const sockets = open.value;
    for (let step = 0; step < BATCH_CALLS && this.calls < options.callsMax; step++) {
      const changed = step === 0 || stream.chance(CHANGE_CHANCE) ? this.change() : ok(undefined);
      if (!changed.ok) return changed;
      const socket = sockets[stream.chance(BUSY_CHANCE) ? BUSY : stream.below(BATCH)];
      assert(socket !== undefined, 'a batch is full');
      const call = drawCall(stream, socket);
      if (call === undefined) continue;
      this.now = (this.now + stream.below(200)) >>> 0;
      const found = this.call(socket, call);
      if (!found.ok || found.value !== undefined) return found;
    }
    const hooked = options.sockets.hookPeerName(true);
    if (!hooked.ok) return hooked;
    for (const socket of sockets) {
      const found = this.peerName(socket);
      if (!found.ok || found.value !== undefined) return found;
    }
    return this.sweep(sockets);
  }

  /** What the sweep ends of them, as their Service ports. */
  private sweep(sockets: readonly Socket[]): Result<Finding | undefined> {
    const { datapath } = this.options;
    const kernel = this.options.sockets.sweep();
    if (!kernel.ok) return kernel;
    const ended = new Map<number, number>();
    for (const { kind, memory, peer } of sockets) {
      const servicePort = kind.protocol === 'udp' ? datapath.sweep(memory, peer !== undefined) : undefined;
      if (servicePort !== undefined) ended.set(servicePort, (ended.get(servicePort) ?? 0) + 1);
    }
    const lines = (counts: ReadonlyMap<number, number>): string[] =>
      [...counts].map(([servicePort, count]) => `service port ${servicePort}: ${count}`).toSorted();
    this.ended += [...ended.values()].reduce((sum, count) => sum + count, 0);
    return ok(
      this.finding(compareLines('ended', lines(ended), lines(kernel.value)), `sweep ${sockets.length} sockets`),
    );
  }

  private openAll(): Result<readonly Socket[]> {
    const sockets: Socket[] = [];
    while (sockets.length < BATCH) {
      const opening = drawSocket(this.stream);
      if (sockets.length === BUSY && opening.kind.protocol !== 'udp') continue;
      const index = this.options.sockets.open(opening.kind, opening.bound);
      // UDP-Lite is going out of kernels.
      if (!index.ok && opening.kind.protocol === 'udplite') continue;
      if (!index.ok) return index;
      sockets.push({ ...opening, index: index.value });
    }
    return ok(sockets);
  }

  /** The cluster changes, or its maps disagree until it changes again. */
  private change(): Result<void> {
    const { stream, bench } = this;
    const isNew = this.world.services.length === 0 || stream.chance(0.04);
    this.world = isNew ? withDatagrams(stream, randomWorld(stream)) : changeWorld(stream, this.world);
    const told = bench.tell(this.world);
    if (!told.ok) return told;
    // Slots that lie are the only way to a backend of the other family.
    const fault = {
      kind: stream.pick([...faultKinds, 'slot', 'slot', 'generation', 'generation'] as const),
      pick: stream.below(1000),
    };
    return stream.chance(0.2) ? bench.fault(fault) : ok(undefined);
  }

  private call(socket: Socket, call: Call): Result<Finding | undefined> {
    const { sockets } = this.options;
    this.calls++;
    if (call === 'disconnect') {
      const done = sockets.disconnect(socket.index);
      if (!done.ok) return done;
      // Its port is given back too: nothing can come any more.
      socket.peer = undefined;
      socket.isDeaf = socket.kind.family === 'inet6';
      socket.sent = [];
      return this.compareState(socket, 'connect(AF_UNSPEC)');
    }
    if (call === 'write') return this.write(socket);
    return call === 'receive' ? this.receive(socket) : this.go(socket, call);
  }

  private ask(socket: Socket, how: SocketCall['call'], to: Endpoint, outside: Outside, own?: Address): SocketOutcome {
    const call = { call: how, protocol: protocolOf(socket.kind), address: to.address, port: port(to.port) };
    const source = own === undefined ? {} : { source: own };
    const isPeer = how === 'send' && isSame(socket.peer, to);
    return this.options.datapath.socket({ ...call, ...source, isPeer }, socket.memory, outside);
  }

  /** connect() or sendto(). */
  private go(socket: Socket, call: 'connect' | 'send'): Result<Finding | undefined> {
    const { sockets } = this.options;
    const to = drawTarget(this.stream, this.world, socket, call);
    const outside = drawOutside(this.stream, socket, this.now);
    const own = sockets.ownAddress(socket.index);
    if (!own.ok) return own;
    const kernel = sockets[call](socket.index, to, outside);
    if (!kernel.ok) return kernel;
    const model = this.ask(socket, call, to, outside, own.value);
    this.verdicts[model.verdict]! += 1;
    this.reasons[model.reason]! += 1;
    const isRefused = model.verdict === VERDICT_REFUSE;
    const errno = isRefused ? model.errno : socket.kind.protocol === 'tcp' ? EINPROGRESS : 0;
    const reached = { address: model.address, port: model.port };
    // A refused connect() leaves the socket connected where it was.
    const kept = call === 'connect' ? socket.peer : undefined;
    const wanted = isRefused ? kept : reached;
    const { went, reported } = kernel.value;
    // Linux names no peer with port 0, but the socket has it.
    if (call === 'connect') socket.peer = isRefused ? kept : reached;
    else if (went !== undefined) noteSent(socket, went);
    socket.isUnderWay = kernel.value.errno === EINPROGRESS;
    const isSeen = socket.kind.protocol !== 'udplite';
    const difference =
      compareReported(this.options.datapath.log, model, reported) ??
      differ('errno', String(errno), String(kernel.value.errno)) ??
      (isSeen ? differ('address', endpointText(shown(wanted)), endpointText(went)) : undefined);
    const text = `${call} ${this.callText(socket, to)}`;
    return difference === undefined ? this.compareState(socket, text, to) : ok(this.finding(difference, text, to));
  }

  /** send() without an address: a program runs only where an AF_INET6 socket has an IPv4 peer. */
  private write(socket: Socket): Result<Finding | undefined> {
    const { peer } = socket;
    assert(peer !== undefined, 'only connected sockets write');
    const outside = drawOutside(this.stream, socket, this.now);
    const kernel = this.options.sockets.write(socket.index, outside);
    if (!kernel.ok) return kernel;
    const runs = socket.kind.family === 'inet6' && isIPv4(peer.address);
    const { errno, went, reported } = kernel.value;
    const ran = reported === undefined ? 'did not run' : 'ran';
    const difference =
      (runs
        ? compareReported(this.options.datapath.log, this.ask(socket, 'send', peer, outside), reported)
        : differ('program', 'did not run', ran)) ??
      differ('errno', '0', String(errno)) ??
      differ('address', endpointText(peer), endpointText(went));
    const text = `send ${this.callText(socket, peer)}`;
    return difference === undefined ? this.compareState(socket, text, peer) : ok(this.finding(difference, text, peer));
  }

  private receive(socket: Socket): Result<Finding | undefined> {
    const from = drawSender(this.stream, socket);
    const outside = drawOutside(this.stream, socket, this.now);
    const kernel = this.options.sockets.receive(socket.index, from, outside);
    if (!kernel.ok) return kernel;
    const model = this.ask(socket, 'receive', from, outside);
    return ok(this.judgeShown('receive', socket, from, model, kernel.value));
  }

  private peerName(socket: Socket): Result<Finding | undefined> {
    const { peer } = socket;
    if (peer === undefined || peer.port === 0) return ok(undefined);
    const outside = drawOutside(this.stream, socket, this.now);
    if (this.stream.chance(0.1)) outside.socketCookie ^= 1n;
    const kernel = this.options.sockets.peerName(socket.index, outside);
    if (!kernel.ok) return kernel;
    const model = this.ask(socket, 'peer-name', peer, outside);
    return ok(this.judgeShown('getpeername', socket, peer, model, kernel.value));
  }

  private judgeShown(
    call: string,
    socket: Socket,
    real: Endpoint,
    model: SocketOutcome,
    kernel: { readonly shown: Endpoint | undefined; readonly reported: Reported },
  ): Finding | undefined {
    const wanted = model.verdict === VERDICT_FORWARD ? { address: model.address, port: model.port } : real;
    const difference =
      compareReported(this.options.datapath.log, model, kernel.reported) ??
      differ('peer', endpointText(wanted), endpointText(kernel.shown));
    return this.finding(difference, `${call} ${this.callText(socket, real)}`, real);
  }

  /** What rides on a UDP socket. */
  private compareState(socket: Socket, call: string, to?: Endpoint): Result<Finding | undefined> {
    if (socket.kind.protocol === 'tcp') return ok(undefined);
    const kernel = this.options.sockets.state(socket.index);
    if (!kernel.ok) return kernel;
    const { state } = socket.memory;
    const mine =
      state === undefined ? [] : stateLines(socketStateCodec.decode(new DataView(state.buffer), state.byteOffset));
    const difference = compareLines('state', mine, kernel.value === undefined ? [] : stateLines(kernel.value));
    return ok(this.finding(difference, call, to));
  }

  /** What the calls left in the maps. */
  private rest(): Result<Finding | undefined> {
    const { model, kernel } = this.options.sides;
    for (const map of [maps.peers, maps.affinity] as readonly MapSpec<unknown, unknown>[]) {
      const [mine, theirs] = [mapLines(model.twin.store, map), mapLines(kernel.twin.store, map)];
      if (!mine.ok) return mine;
      if (!theirs.ok) return theirs;
      const found = this.finding(compareLines(map.name, mine.value, theirs.value), `connect ${this.calls} calls`);
      if (found !== undefined) return ok(found);
    }
    const rest = this.bench.rest();
    return rest.ok ? ok(this.finding(rest.value, `connect ${this.calls} calls`)) : rest;
  }

  private callText({ kind, index, cookie, netns }: Socket, to: Endpoint): string {
    const family = kind.family === 'inet' ? '' : ' AF_INET6';
    return `${endpointText(to)} ${kind.protocol.toUpperCase()}${family} socket ${index} cookie ${cookie} netns ${netns}`;
  }

  private finding(difference: Difference | undefined, packet: string, to?: Endpoint): Finding | undefined {
    if (difference === undefined) return undefined;
    const service = to === undefined ? undefined : serviceAt(this.world, hostOf(to.address), to.port);
    return { ...difference, service: service ?? 'none', packet, step: this.calls };
  }
}
