// SPDX-License-Identifier: Apache-2.0
/** The same comparison for real connect() and getpeername() calls: what the kernel did against what the model says. */
import { endpointText as addressedText, isIPv4, port, TCP, UDP, type Address } from '../core/address.ts';
import type { Datapath, SocketOutcome } from '../core/datapath/datapath.ts';
import {
  markNames,
  maps,
  reasonNames,
  VERDICT_FORWARD,
  VERDICT_REFUSE,
  verdictNames,
  writeOperationNames,
  type TestControlRecord,
} from '../core/layout.gen.ts';
import { ok, type Result } from '../core/result.ts';
import type { MapStore } from '../core/store.ts';
import { quietOutside, type Outside } from '../core/twin.ts';
import { isSocketMark } from './campaign.ts';
import { compareLines, type Difference } from './compare.ts';
import { addressOf, hostOf, neighbour, type HostAddress } from './address.ts';
import { faultKinds } from './faults.ts';
import { Bench, type Finding, type Sides } from './steps.ts';
import { createStream, type Stream } from '../core/random.ts';
import { changeWorld, podAddress, randomWorld, serviceAt, type World } from './world.ts';

/** In an AF_INET6 socket IPv4 addresses are the v4-mapped ones. */
export type Endpoint = { readonly address: Address; readonly port: number };
export type SocketKind = { readonly protocol: 'tcp' | 'udp'; readonly family: 'inet' | 'inet6' };

type Reported = TestControlRecord | undefined;

/** Real sockets, handed in: kernel/sockets.ts. */
export interface SocketCalls {
  connect(
    kind: SocketKind,
    to: Endpoint,
    outside: Outside,
  ): Result<{ readonly errno: number; readonly peer: Endpoint | undefined; readonly reported: Reported }>;
  peerName(
    index: number,
    outside: Outside,
  ): Result<{ readonly peer: Endpoint | undefined; readonly reported: Reported }>;
  hookPeerName(isAttached: boolean): Result<void>;
  closeAll(): void;
}

export type SocketCampaignOptions = {
  readonly seed: number;
  readonly sides: Sides;
  readonly datapath: Datapath;
  readonly sockets: SocketCalls;
  /** Sockets to open at most. */
  readonly callsMax: number;
};

export type SocketReport = {
  readonly seed: number;
  readonly calls: number;
  /** How often each verdict was given to connect(), by name. */
  readonly verdicts: Readonly<Record<string, number>>;
  /** Marks of the socket road that no call reached. */
  readonly unreached: readonly string[];
  readonly finding: Finding | undefined;
};

/** Sockets that are open at once; then getpeername() is asked of each. */
const BATCH = 32;
/** Few cookies, so that a socket is seen connecting again. */
const COOKIES = 300;
const ECONNREFUSED = 111;
const EINPROGRESS = 115;

type Call = {
  readonly kind: SocketKind;
  readonly to: Endpoint;
  readonly outside: Outside;
  peer: Endpoint | undefined;
};

/** Opens sockets to a changing cluster until the budget is used up or the sides differ. */
export function runSockets(options: SocketCampaignOptions): Result<SocketReport> {
  return new SocketCampaign(options).run();
}

class SocketCampaign {
  private readonly options: SocketCampaignOptions;
  private readonly bench: Bench;
  private readonly stream: Stream;
  private readonly verdicts: number[] = verdictNames.map(() => 0);
  private world: World = { services: [] };
  private calls = 0;

  constructor(options: SocketCampaignOptions) {
    this.options = options;
    this.bench = new Bench(options.sides);
    this.stream = createStream(options.seed, 4);
  }

  run(): Result<SocketReport> {
    const { callsMax, sockets } = this.options;
    const clean = this.bench.reset();
    if (!clean.ok) return clean;
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
    const counted = verdictNames.map((name, at) => [name, this.verdicts[at] ?? 0] as const);
    return {
      seed: this.options.seed,
      calls: this.calls,
      verdicts: Object.fromEntries(counted.filter(([, count]) => count > 0)),
      unreached: markNames.filter((_, mark) => isSocketMark(mark) && marks[mark] === 0),
      finding,
    };
  }

  private batch(): Result<Finding | undefined> {
    const { stream, bench, options } = this;
    this.world = this.calls === 0 || stream.chance(0.1) ? randomWorld(stream) : changeWorld(stream, this.world);
    const told = bench.tell(this.world);
    if (!told.ok) return told;
    const fault = { kind: stream.pick(faultKinds), pick: stream.below(1000) };
    const planted = stream.chance(0.1) ? bench.fault(fault) : ok(undefined);
    if (!planted.ok) return planted;
    const calls = Array.from({ length: Math.min(BATCH, options.callsMax - this.calls) }, () => this.draw());
    for (const call of calls) {
      const found = this.connect(call);
      if (!found.ok || found.value !== undefined) return found;
    }
    const hooked = options.sockets.hookPeerName(true);
    if (!hooked.ok) return hooked;
    for (const [index, call] of calls.entries()) {
      const found = this.peerName(index, call);
      if (!found.ok || found.value !== undefined) return found;
    }
    return ok(undefined);
  }

  private draw(): Call {
    const { stream } = this;
    const outside = quietOutside(0);
    outside.socketCookie = (BigInt(stream.below(4)) << 32n) | BigInt(stream.below(COOKIES));
    if (stream.chance(0.03)) outside.peerResult = -12;
    const to = this.target();
    const isSix = !isIPv4(to.address) || stream.chance(0.3);
    const kind = { protocol: stream.chance(0.1) ? 'udp' : 'tcp', family: isSix ? 'inet6' : 'inet' } as const;
    return { kind, to, outside, peer: undefined };
  }

  private target(): Endpoint {
    const { stream, world } = this;
    const service = world.services.length === 0 ? undefined : stream.pick(world.services);
    const host = (address: HostAddress, number: number): Endpoint => ({ address: addressOf(address), port: number });
    if (service === undefined || stream.chance(0.05))
      return host(podAddress(stream, stream.pick(['IPv4', 'IPv6'] as const)), 8080);
    const address = stream.pick(service.addresses);
    const number = stream.pick(service.ports).port;
    if (!stream.chance(0.1)) return host(address, number);
    return host(neighbour(address, stream.below(2)), stream.pick([number + 1, number - 1, 0]));
  }

  private connect(call: Call): Result<Finding | undefined> {
    const { datapath, sockets } = this.options;
    this.calls++;
    const kernel = sockets.connect(call.kind, call.to, call.outside);
    if (!kernel.ok) return kernel;
    const protocol = call.kind.protocol === 'tcp' ? TCP : UDP;
    const model = datapath.connect(call.to.address, port(call.to.port), protocol, call.outside);
    this.verdicts[model.verdict]! += 1;
    call.peer = kernel.value.peer;
    const refused = model.verdict === VERDICT_REFUSE;
    const errno = refused ? ECONNREFUSED : call.kind.protocol === 'tcp' ? EINPROGRESS : 0;
    const wanted = refused ? undefined : endpointOf(model.address, model.port);
    const difference =
      this.compare(model, kernel.value.reported) ??
      differ('errno', String(errno), String(kernel.value.errno)) ??
      differ('address', endpointText(shown(wanted)), endpointText(kernel.value.peer));
    return ok(this.finding(difference, `connect ${this.callText(call)}`, call));
  }

  private peerName(index: number, call: Call): Result<Finding | undefined> {
    const { datapath, sockets } = this.options;
    const { peer } = call;
    if (peer === undefined) return ok(undefined);
    const outside = { ...call.outside };
    if (this.stream.chance(0.1)) outside.socketCookie ^= 1n;
    const kernel = sockets.peerName(index, outside);
    if (!kernel.ok) return kernel;
    const protocol = call.kind.protocol === 'tcp' ? TCP : UDP;
    const model = datapath.peerName(peer.address, port(peer.port), protocol, outside);
    const wanted = model.verdict === VERDICT_FORWARD ? endpointOf(model.address, model.port) : peer;
    const difference =
      this.compare(model, kernel.value.reported) ??
      differ('peer', endpointText(wanted), endpointText(kernel.value.peer));
    return ok(this.finding(difference, `getpeername ${this.callText(call)}, really ${endpointText(peer)}`, call));
  }

  private compare(model: SocketOutcome, reported: Reported): Difference | undefined {
    if (reported === undefined) return differ('program', 'ran', 'did not run');
    const { log } = this.options.datapath;
    const trace = [...log.trace.subarray(0, log.traceLength)].map((mark) => markNames[mark] ?? String(mark));
    const theirs = reported.trace.slice(0, reported.traceLength).map((mark) => markNames[mark] ?? String(mark));
    const writes = reported.writes.slice(0, reported.writesLength).map((it) => writeText(it.operation, it.value));
    const mine = Array.from({ length: log.writesLength }, (_, at) =>
      writeText(log.writes[at * 4] ?? 0, log.writes[at * 4 + 3] ?? 0),
    );
    return (
      differ('verdict', nameOf(verdictNames, model.verdict), nameOf(verdictNames, reported.verdict)) ??
      differ('reason', nameOf(reasonNames, model.reason), nameOf(reasonNames, reported.reason)) ??
      differ('servicePort', String(model.servicePort), String(reported.servicePort)) ??
      differ('backend', String(model.backend), String(reported.backend)) ??
      compareLines('trace', trace, theirs) ??
      compareLines('writes', mine, writes)
    );
  }

  /** What the calls left in the maps. */
  private rest(): Result<Finding | undefined> {
    const { model, kernel } = this.options.sides;
    const [mine, theirs] = [peerLines(model.twin.store), peerLines(kernel.twin.store)];
    if (!mine.ok) return mine;
    if (!theirs.ok) return theirs;
    const peers = compareLines('peers', mine.value, theirs.value);
    const rest = peers === undefined ? this.bench.rest() : ok(peers);
    return rest.ok ? ok(this.finding(rest.value, `connect ${this.calls} sockets`, undefined)) : rest;
  }

  private callText({ kind, to, outside }: Call): string {
    const family = kind.family === 'inet' ? '' : ' AF_INET6';
    return `${endpointText(to)} ${kind.protocol.toUpperCase()}${family} socket ${outside.socketCookie}`;
  }

  private finding(difference: Difference | undefined, packet: string, call: Call | undefined): Finding | undefined {
    if (difference === undefined) return undefined;
    const service = call === undefined ? undefined : serviceAt(this.world, hostOf(call.to.address), call.to.port);
    return { ...difference, service: service ?? 'none', packet, step: this.calls };
  }
}

function differ(field: string, model: string, kernel: string): Difference | undefined {
  return model === kernel ? undefined : { field, model, kernel };
}

function nameOf(names: readonly string[], number: number): string {
  return names[number] ?? `number ${number}`;
}

function writeText(operation: number, value: number): string {
  return `${nameOf(writeOperationNames, operation)} value ${value}`;
}

function endpointOf(address: Address, number: number): Endpoint {
  return { address, port: number };
}

function endpointText(endpoint: Endpoint | undefined): string {
  return endpoint === undefined ? 'none' : addressedText(endpoint.address, endpoint.port);
}

/** Linux doesn't name a peer with port 0. */
function shown(endpoint: Endpoint | undefined): Endpoint | undefined {
  return endpoint === undefined || endpoint.port === 0 ? undefined : endpoint;
}

function peerLines(store: MapStore): Result<readonly string[]> {
  const entries = store.entries(maps.peers);
  if (!entries.ok) return entries;
  return ok(entries.value.map(([cookie, peer]) => `${cookie}: ${maps.peers.value.text(peer)}`).toSorted());
}
