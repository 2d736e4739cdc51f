// SPDX-License-Identifier: Apache-2.0
/** What a seed makes of the datapath's settings: small tables, short lives, secrets that are sometimes bad on purpose. */
import { address } from '../core/address.ts';
import { configOf, flowLifetimes, type FlowTimeouts } from '../core/datapath/datapath.ts';
import type { MapSizes } from '../core/datapath/maps.ts';
import { SCOPE_EVERYTHING, SCOPE_HOST, SCOPE_OFF, SERVICE_RANGES, type ConfigRecord } from '../core/layout.gen.ts';
import { createStream, type Stream } from '../core/random.ts';
import { addressOf, ipv6 } from './traffic/address.ts';

const TICK_MS = 1.048576;

/** Settings of one run, the same for both twins. */
export type Settings = {
  readonly config: ConfigRecord;
  readonly sizes: MapSizes;
  /** Ticks after which flows of some state end. */
  readonly lifetimes: readonly number[];
  /** Packets really are CHECKSUM_COMPLETE, and the kernel checks after each that their sum was kept. */
  readonly isComplete: boolean;
};

/** Cookie of the node's own network namespace, low word first. */
export const OWN_NETNS = [5, 1] as const;

const COMPLETE_EVERY = 3;

/** Room for any world; `flowBuckets` and `classifierWords` are drawn. */
const SIZES: MapSizes = {
  classifierWords: 64,
  frontends: 256,
  services: 256,
  sourceRanges: 256,
  nodeAddresses: 16,
  slotPairs: 4096,
  backends: 8192,
  flowBuckets: 4,
  peers: 16384,
  affinity: 16384,
  netns: 16,
};

/** A word that takes the ports of client packets out of the flow hash: their protocol word is 6. */
const BLIND_TO_PORTS = -6 >>> 0;

function secretOf(stream: Stream): readonly number[] {
  const secret = Array.from({ length: 12 }, () => stream.word());
  // All flows of a client to a Service then share buckets and fingerprint: more than FLOW_CANDIDATES of them.
  return stream.chance(0.25) ? secret.with(9, BLIND_TO_PORTS) : secret;
}

/** From where a pod hears itself. */
export const NODE_ADDRESS = 0xc0000205;
export const NODE_ADDRESS_SIX: string = ipv6(0xfd0000aa, 0, 0, 0xc0000205);
const NOWHERE = address(0, 0, 0, 0);
const NO_RANGE = { base: NOWHERE, mask: NOWHERE };
const ONES = 0xffffffff;

/** Ranges around the addresses of a world's Services: some of each are given to none. */
const RANGES = new Map([
  [0, { base: address(0, 0, 0xffff, 0x0a600000), mask: address(ONES, ONES, ONES, 0xfffffff0) }],
  [1, { base: address(0, 0, 0xffff, 0x0a610000), mask: address(ONES, ONES, ONES, 0xffff0000) }],
  [SERVICE_RANGES, { base: address(0xfd000096, 0, 0, 0), mask: address(ONES, ONES, 0, 0) }],
]);

/** Which sockets are ours; drawn apart from the rest. */
function scopeOf(seed: number): Partial<ConfigRecord> {
  const stream = createStream(seed, 6);
  const scopes = [SCOPE_EVERYTHING, SCOPE_EVERYTHING, SCOPE_EVERYTHING, SCOPE_HOST, SCOPE_HOST, SCOPE_OFF];
  // Few socket calls are left where it is off: not in the first seeds, with which most tests are run.
  const socketScope = seed < 3 ? [SCOPE_EVERYTHING, SCOPE_EVERYTHING, SCOPE_HOST][seed] : stream.pick(scopes);
  return {
    socketScope: socketScope ?? SCOPE_EVERYTHING,
    netnsKnown: seed === 1 || stream.chance(0.5) ? 1 : 0,
    netnsCookie: OWN_NETNS,
  };
}

/** The settings that belong to a seed. */
export function settingsOf(seed: number): Settings {
  const stream = createStream(seed, 1);
  const scale = stream.pick([1, 1, 4]);
  const ticks = {
    pending: 60 * scale,
    established: 800 * scale,
    halfClosed: 300 * scale,
    closing: 30 * scale,
    datagramPending: 40_000 * scale,
    datagramEstablished: 50_000 * scale,
  };
  const timeouts: FlowTimeouts = {
    pendingMs: ticks.pending * TICK_MS,
    establishedMs: ticks.established * TICK_MS,
    halfClosedMs: ticks.halfClosed * TICK_MS,
    closingMs: ticks.closing * TICK_MS,
    datagramPendingMs: ticks.datagramPending * TICK_MS,
    datagramEstablishedMs: ticks.datagramEstablished * TICK_MS,
  };
  const sizes = { ...SIZES, flowBuckets: stream.pick([2, 4, 4, 8, 16]), classifierWords: stream.pick([16, 64, 1024]) };
  const config = configOf({
    testMode: 1,
    flowBucketMask: sizes.flowBuckets - 1,
    classifierMask: sizes.classifierWords - 1,
    flowLifetimes: flowLifetimes(timeouts),
    flowSecret: secretOf(stream),
    selectionKey: [stream.word(), stream.word()],
    shareClient: 1 + stream.below(4),
    shareService: 1 + stream.below(8),
    portFirst: 61_000,
    portCount: stream.pick([1, 2, 8, 4_536]),
    hairpinSource: stream.chance(0.8) ? [addressOf(NODE_ADDRESS), addressOf(NODE_ADDRESS_SIX)] : [NOWHERE, NOWHERE],
    serviceRanges: Array.from({ length: 2 * SERVICE_RANGES }, (_, at) => RANGES.get(at) ?? NO_RANGE),
    ...scopeOf(seed),
  });
  return { config, sizes, lifetimes: Object.values(ticks), isComplete: seed % COMPLETE_EVERY === 0 };
}
