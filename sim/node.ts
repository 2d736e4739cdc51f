// SPDX-License-Identifier: Apache-2.0
/** One node: its datapath and maps, the agent's own loop over watches, and an oracle that hears what the agent hears. */
import { createLoop, type Loop, type StepReport } from '../agent/loop.ts';
import { checkPinned, takeOver, type Epoch } from '../agent/takeover.ts';
import { PLAIN_NODE } from '../core/control/nodes.ts';
import { configOf } from '../core/datapath/datapath.ts';
import type { MapSizes } from '../core/datapath/maps.ts';
import { maps, type FrontendKeyRecord } from '../core/layout.gen.ts';
import { wholeAddressRecord } from '../core/control/wanted.ts';
import { address, addressFromIPv4 } from '../core/address.ts';
import type { ClusterEvent } from '../core/objects.ts';
import { createOracleTimeline, type OracleTimeline } from '../core/oracle.ts';
import type { Judgement, Question } from '../core/oracle/answer.ts';
import type { Stream } from '../core/random.ts';
import type { NodeConfig } from '../core/service.ts';
import { setOperation, type MapStore } from '../core/store.ts';
import { emptyOutcome, quietOutside, type Outcome, type Outside, type PacketHook, type Twin } from '../core/twin.ts';
import { watchedKinds, type Api } from './api.ts';
import type { Broken } from './checkers.ts';
import type { Clock } from './clock.ts';
import { nodeName } from './cluster.ts';
import type { Digest } from './digest.ts';
import type { Install, Installation } from './install.ts';
import { createWriteOrder, type WriteOrder } from './order.ts';
import type { Plant } from './plant.ts';
import { AgentCrash, createSimStore, type SimStore } from './store.ts';
import type { Swarm } from './swarm.ts';
import type { Symbol } from './transcript.ts';
import { createWatch, type Watch } from './watch.ts';

export type NodeOptions = {
  readonly index: number;
  readonly clock: Clock;
  readonly stream: Stream;
  readonly swarm: Swarm;
  readonly api: Api;
  readonly sizes: MapSizes;
  readonly selectionKey: readonly [number, number];
  readonly plant: Plant;
  readonly install: Install;
  readonly digest: Digest;
  readonly onBroken: (node: SimNode, broken: Broken) => void;
  readonly onLine: (node: SimNode, symbol: Symbol, object: string) => void;
  /** Between two writes of a batch. */
  readonly onWrite: (node: SimNode) => void;
};

const RETRY_US = 200e3;
const RESTART_US = 2e6;
const CLEANUP_US = 10e6;
const SLOW_US = 5e6;
/** Within so much an agent compares the maps with what it wants. */
const COMPARISON_US = 30e6;
const OLD_LAYOUT = '0f'.repeat(8);
/** 10.96.255.254, which no Service of the simulation has. */
const FOREIGN_ADDRESS = 0x0a60fffe;
/** 192.0.2.10 and on. */
const NODE_RANGE = 0xc000020a;
const TICK_US = 1048.576;

export function configOfNode(index: number): NodeConfig {
  const nodeIPs = [addressFromIPv4(NODE_RANGE + index), address(0xfd000001, 0, 0, 10 + index)];
  return { ...PLAIN_NODE, nodeName: nodeName(index), nodeIPs };
}

/** Frontends of every kind are in the maps, whatever the programs of this build serve. */
export function everyKind(): undefined {
  return undefined;
}

/** `boot` counts the times that the maps were lost; a packet of an earlier boot belongs to nobody. */
export class SimNode {
  readonly index: number;
  boot: number = 0;
  isUp: boolean = true;
  /** Whether pods may start here: the maps have been as wanted since the last boot. */
  isReady: boolean = false;
  /** Faults are over. */
  isHealed: boolean = false;
  report: StepReport | undefined;
  live: number = 0;
  lost: number = 0;
  /** How far the clock on the wall is off. */
  wallOffsetUs: number = 0;
  store: SimStore;
  readonly watches: readonly Watch[];
  readonly outcome: Outcome = emptyOutcome();
  readonly #options: NodeOptions;
  readonly #oracle: OracleTimeline;
  readonly #outside: Outside = quietOutside(0);
  readonly #epoch: Epoch = createEpoch();
  #installation: Installation;
  #twin: Twin;
  #order: WriteOrder;
  #loop: Loop | undefined;
  #run = 0;
  #isStepPlanned = false;
  #failedSteps = 0;
  #settledNs = 0;
  #writtenNs = 0;

  constructor(options: NodeOptions) {
    this.#options = options;
    this.index = options.index;
    this.#oracle = createOracleTimeline({ nodeName: nodeName(options.index), judged: ['ClusterIP'] });
    const { clock, stream, swarm, api } = options;
    const deliver = (event: ClusterEvent): void => this.#hear(event);
    const mistake = options.plant.watch;
    this.watches = watchedKinds.map((kind) => createWatch({ clock, stream, swarm, api, kind, deliver, mistake }));
    const fresh = this.#freshMaps();
    ({ installation: this.#installation, store: this.store, order: this.#order, twin: this.#twin } = fresh);
  }

  get phase(): string {
    if (!this.isUp) return 'down';
    if (this.#loop === undefined) return 'stopped';
    if (this.report === undefined || this.report.unlisted.length > 0) return 'listing';
    return this.report.isSettled ? 'settled' : 'waiting';
  }

  get order(): WriteOrder {
    return this.#order;
  }

  /** Starts the agent, which adopts the maps as they are, unless they are not laid out as it thinks. */
  start(): void {
    const { plant, onLine } = this.#options;
    this.#run += 1;
    const pinned = checkPinned(this.store.layout);
    if (!pinned.ok && plant.takesAnyLayout !== true) {
      onLine(this, 'agent', 'refused: layout');
      return this.#cleanUpLater();
    }
    this.report = undefined;
    this.#isStepPlanned = false;
    const planted: MapStore = plant.store?.(this.store) ?? this.store;
    const store = plant.sharesMaps === true ? planted : takeOver(planted, this.#epoch);
    const loop = createLoop({ store, node: configOfNode(this.index), whyNot: everyKind, onProblem: () => undefined });
    this.#loop = plant.loop?.(loop) ?? loop;
    for (const watch of this.watches) watch.start();
    onLine(this, 'agent', 'start');
  }

  /** Ends the agent now; another one starts a little later. The datapath goes on. */
  restart(why: string): void {
    if (this.#loop === undefined) return;
    this.#loop = undefined;
    for (const watch of this.watches) watch.stop();
    this.#options.onLine(this, 'agent', why);
    const run = this.#run;
    this.#options.clock.after(this.#options.stream.below(RESTART_US), () => {
      if (this.#run === run && this.isUp && this.#loop === undefined) this.start();
    });
  }

  /** The machine goes: pods, agent and maps with it. */
  lose(): void {
    this.isUp = false;
    this.isReady = false;
    this.#loop = undefined;
    this.boot += 1;
    for (const watch of this.watches) watch.stop();
  }

  regain(): void {
    if (this.isUp) return;
    this.isUp = true;
    this.#replaceMaps();
    this.start();
  }

  /** Another agent takes over; the one before, which was merely slow, goes on where it was. */
  startSecondWriter(): void {
    const { clock, stream } = this.#options;
    const slow = this.#loop;
    if (slow === undefined) return;
    const { boot } = this;
    for (const watch of this.watches) watch.stop();
    this.start();
    clock.after(stream.below(SLOW_US), () => {
      if (this.boot !== boot) return;
      try {
        slow.resync();
      } catch (error) {
        if (!(error instanceof AgentCrash)) throw error;
      }
    });
  }

  /** After an upgrade the pinned maps are those of the version before. */
  findOldLayout(): void {
    if (this.#loop === undefined) return;
    this.store.layout = OLD_LAYOUT;
    this.restart('upgrade');
  }

  /** Somebody writes an address of his own into the maps; the comparison with what is wanted finds it later. */
  leaveForeignRow(): void {
    const row = this.store.capacity(maps.services) - 1;
    const record = wholeAddressRecord(addressFromIPv4(FOREIGN_ADDRESS));
    this.store.intrude(setOperation(maps.services, row, record));
    this.store.intrude(setOperation<FrontendKeyRecord, number>(maps.frontends, record.key, row));
    const { clock, stream } = this.#options;
    clock.after(stream.below(COMPARISON_US), () => this.resync());
  }

  /** Counts the flow table in, and gives back what the node's maps took. */
  end(): void {
    const { twin, remove } = this.#installation;
    this.#options.digest.memory(twin.flowMemory());
    remove();
  }

  /** Somebody reads why the agent refused, and removes the maps; flows are lost with them. */
  #cleanUpLater(): void {
    const run = this.#run;
    this.#loop = undefined;
    this.#options.clock.after(this.#options.stream.below(CLEANUP_US), () => {
      if (this.#run !== run || !this.isUp) return;
      this.boot += 1;
      this.isReady = false;
      this.#replaceMaps();
      this.start();
    });
  }

  #replaceMaps(): void {
    this.#installation.remove();
    const fresh = this.#freshMaps();
    ({ installation: this.#installation, store: this.store, order: this.#order, twin: this.#twin } = fresh);
  }

  resync(): void {
    this.#step(true);
  }

  /** One packet through this node; the outcome is reused by the next. */
  packet(hook: PacketHook, frame: Uint8Array): Outcome {
    const { clock, swarm, plant, digest } = this.#options;
    const nowUs = clock.nowUs() + (plant.readsWallClock === true ? this.wallOffsetUs : 0);
    this.#outside.now = (swarm.firstTick + Math.floor(nowUs / TICK_US)) >>> 0;
    const done = this.#twin.packet(hook, frame, this.#outside, this.outcome);
    if (!done.ok) throw new Error(done.error.message);
    digest.outcome(this.outcome);
    return this.outcome;
  }

  /** What was permitted since the maps were last as wanted, by what the agent has heard. */
  judge(question: Question): Judgement {
    const nowNs = this.#nowNs();
    return this.#oracle.judge(nowNs, nowNs - this.#settledNs, question);
  }

  /** Whether nothing was written within a span, and nothing heard that changes the answer. */
  isUnchangedFor(spanUs: number, question: Question): boolean {
    const nowNs = this.#nowNs();
    if (nowNs - Math.max(this.#settledNs, this.#writtenNs) <= spanUs * 1000) return false;
    return this.#oracle.judge(nowNs, spanUs * 1000, question).earlier.length === 0;
  }

  #nowNs(): number {
    return this.#options.clock.nowUs() * 1000;
  }

  #freshMaps(): { installation: Installation; store: SimStore; order: WriteOrder; twin: Twin } {
    const { sizes, selectionKey, plant, install, onBroken, onWrite } = this.#options;
    const config = configOf({
      flowBucketMask: sizes.flowBuckets - 1,
      classifierMask: sizes.classifierWords - 1,
      selectionKey,
      flowSecret: Array.from({ length: 12 }, () => this.#options.stream.word()),
    });
    const installation = install(config, sizes);
    const { twin, rows } = installation;
    if (this.#options.swarm.foreignRows) leaveForeignRows(twin.store, this.index);
    const store = createSimStore({
      inner: twin.store,
      order: () => this.#order,
      onBroken: (invariant, what) => onBroken(this, { invariant, what }),
      onWrite: () => {
        this.#writtenNs = this.#nowNs();
        onWrite(this);
      },
    });
    const order = createWriteOrder(rows, twin.store);
    return { installation, store, order, twin: plant.twin?.(twin) ?? twin };
  }

  #hear(event: ClusterEvent): void {
    if (this.#loop === undefined) return;
    this.#oracle.apply(this.#nowNs(), event);
    this.#loop.event(event);
    // Says only how far the watch is: nothing to do, nothing to tell.
    if (event.type === 'BOOKMARK') return;
    this.#options.onLine(this, 'heard', eventText(event));
    this.#stepLater(this.#options.swarm.batchDelayUs);
  }

  #stepLater(delayUs: number): void {
    if (this.#isStepPlanned) return;
    this.#isStepPlanned = true;
    const run = this.#run;
    this.#options.clock.after(delayUs, () => {
      if (this.#run !== run) return;
      this.#isStepPlanned = false;
      this.#step(false);
    });
  }

  #step(isResync: boolean): void {
    const loop = this.#loop;
    if (loop === undefined) return;
    try {
      this.report = isResync ? loop.resync() : loop.step();
    } catch (error) {
      if (!(error instanceof AgentCrash)) throw error;
      return this.restart('crash between writes');
    }
    const { isSettled, unlisted, failures } = this.report;
    if (isSettled) {
      this.#failedSteps = 0;
      this.isReady = true;
      this.#settledNs = this.#nowNs();
      this.#oracle.forgetBefore(this.#settledNs);
      this.#options.onLine(this, 'settled', `services ${this.report.owners}`);
    } else if (unlisted.length === 0) {
      this.#failedSteps += 1;
      this.#options.onLine(this, 'waiting', failures[0]?.object ?? '');
      this.#stepLater(RETRY_US * 2 ** Math.min(6, this.#failedSteps));
    }
  }
}

function eventText(event: ClusterEvent): string {
  if (event.type === 'LISTED') return `LISTED ${event.kind} ${event.items.length}`;
  if (event.type === 'DISCONNECTED' || event.type === 'BOOKMARK') return `${event.type} ${event.kind}`;
  return `${event.type} ${event.object.kind === 'Service' ? 'svc' : 'slice'} ${event.object.metadata?.name ?? ''}`;
}

function createEpoch(): Epoch {
  let epoch = 0;
  return {
    current: () => epoch,
    take: () => {
      epoch += 1;
      return epoch;
    },
  };
}

/** Maps that an agent of another cluster left behind. */
function leaveForeignRows(store: MapStore, index: number): void {
  const loop = createLoop({ store, node: configOfNode(index), whyNot: everyKind, onProblem: () => undefined });
  const metadata = { namespace: 'foreign', name: 'left' };
  const ports = [{ name: 'http', port: 80, protocol: 'TCP' }];
  const spec = { type: 'ClusterIP', clusterIP: '10.96.0.1', ports };
  const labels = { 'kubernetes.io/service-name': 'left' };
  const endpoints = [{ addresses: ['10.9.9.9'], conditions: { ready: true } }];
  loop.event({ type: 'LISTED', kind: 'Service', items: [{ kind: 'Service', metadata, spec }] });
  loop.event({
    type: 'LISTED',
    kind: 'EndpointSlice',
    items: [{ kind: 'EndpointSlice', metadata: { ...metadata, labels }, addressType: 'IPv4', ports, endpoints }],
  });
  loop.step();
}
