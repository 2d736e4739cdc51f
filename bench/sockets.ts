// SPDX-License-Identifier: Apache-2.0
/**
 * Nanoseconds that hooks add to socket calls, beside no hook and hooks that do next to nothing: in turn, call by call,
 * in one run.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { addressFromIPv4 } from '../core/address.ts';
import { maps, PEERS_MAX } from '../core/layout.gen.ts';
import { assert, ok, type Result } from '../core/result.ts';
import { setOperation } from '../core/store.ts';
import { libbpf } from '../kernel/libbpf.ts';
import { namespaceCookie } from '../kernel/netns.ts';
import { loadObject, readObjectFile, type LoadedObject } from '../kernel/object.ts';
import { KernelStore } from '../kernel/store.ts';
import { buildObject } from '../tools/build.ts';
import { BACKEND_PORT, FIRST_BACKEND, FIRST_SERVICE, programCluster, SERVICE_PORT } from './cluster.ts';
import { BATCH, buildGenerator, Generator, type CallName } from './generator.ts';
import { loadFloors } from './run.ts';
import { SocketBench, TANDEM_PROGRAMS, type HookSet, type Trouble } from './stage.ts';
import { spreadOf, type Spread } from './statistics.ts';

const FLOORS = join(import.meta.dirname, 'hooks.bpf.c');
const BACKENDS = 5;
const IPPROTO_TCP = 6;
const IPPROTO_UDP = 17;

/** Hooks, and whether the calls are for Services or for their backends directly. */
export type Variant = 'none' | 'empty' | 'lookup' | 'stranger' | 'service';

/** `none` comes first: the others are paired with it. */
export const variants: readonly Variant[] = ['none', 'empty', 'lookup', 'stranger', 'service'];

const HOOKS: { readonly [variant in Variant]: HookSet } = {
  none: 'none',
  empty: 'empty',
  lookup: 'lookup',
  stranger: 'tandem',
  service: 'tandem',
};

/** Calls walk through all Services where the socket allows it; `transaction-one` is with one Service again and again. */
export type BenchCall = CallName | 'transaction-one';

/** How often a round makes each call: 3 to 25 ms, short beside most of what disturbs a machine. */
const CALLS: { readonly [call in BenchCall]: number } = {
  transaction: 512,
  'transaction-one': 512,
  'tcp-connect': 512,
  'udp-connect': 1024,
  'udp-reconnect': 4096,
  'udp-send-first': 1024,
  'udp-send': 2048,
  'udp-receive': 2048,
  'tcp-peer': 16_384,
  'udp-peer': 16_384,
};

export const callNames: readonly BenchCall[] = [
  'transaction',
  'transaction-one',
  'tcp-connect',
  'udp-connect',
  'udp-reconnect',
  'udp-send-first',
  'udp-send',
  'udp-receive',
  'tcp-peer',
  'udp-peer',
];

/** `priceNs` and `ratio` are of pairs: this one's call and that without hooks in the same round. */
export type VariantFigure = {
  readonly ns: Spread;
  readonly priceNs: Spread;
  /** How many calls are made in the time of one without hooks: 0.97 is 3 % slower. */
  readonly ratio: Spread;
  /** Requests that backends served, over all rounds. */
  readonly served: number;
};

export type CallFigure = {
  readonly call: BenchCall;
  /** Of a round. */
  readonly calls: number;
  readonly variants: { readonly [variant in Variant]: VariantFigure };
};

export type SocketFigures = {
  readonly rounds: number;
  readonly services: number;
  readonly calls: readonly CallFigure[];
  readonly trouble: Trouble;
};

export type SocketBenchOptions = {
  readonly object: string;
  readonly services: number;
  readonly rounds: number;
  /** Calls of a round, 1 for as many as the figures are made of; never less than 64. */
  readonly share?: number;
  readonly onRound: (round: number) => void;
};

/** The programs on one side, what they are timed with on the other. */
type Rig = {
  readonly stage: SocketBench;
  readonly generator: Generator;
  readonly objects: { readonly [hooks in HookSet]: LoadedObject };
};

/** Times every call with every set of hooks. */
export async function benchSockets(options: SocketBenchOptions): Promise<Result<SocketFigures>> {
  const folder = mkdtempSync(join(tmpdir(), 'tandem-bench-'));
  try {
    const program = join(folder, 'sockets');
    const built = buildGenerator(program);
    if (!built.ok) return built;
    const floors = buildObject({ defines: [], output: join(folder, 'hooks.o'), source: FLOORS });
    if (!floors.ok) return floors;
    using empty = loadFloors(floors.value, FLOORS);
    fillFloors(empty, options.services);
    const opened = SocketBench.open();
    if (!opened.ok) return opened;
    await using stage = opened.value;
    const loaded = loadTandem(options, stage.namespacePath);
    if (!loaded.ok) return loaded;
    using tandem = loaded.value;
    await using generator = new Generator({ program, namespacePath: stage.namespacePath, cgroup: stage.cgroup });
    return await timeAll({ stage, generator, objects: { none: empty, empty, lookup: empty, tandem } }, options);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Loads the production programs, and the Services into their maps by the control plane itself. */
export function loadTandem(
  { object, services }: Pick<SocketBenchOptions, 'object' | 'services'>,
  namespacePath: string,
): Result<LoadedObject> {
  const bytes = readObjectFile(object);
  if (!bytes.ok) return bytes;
  const cookie = namespaceCookie(namespacePath);
  if (!cookie.ok) return cookie;
  const loaded = loadObject({
    object: bytes.value,
    name: object,
    settings: { testMode: 0, netnsKnown: 1, selectionKey: [1, 2] },
    maxEntries: { flows: 64 },
    programs: TANDEM_PROGRAMS,
  });
  if (!loaded.ok) return loaded;
  const store = new KernelStore(loaded.value);
  programCluster(store, services, BACKENDS, ['TCP', 'UDP']);
  const none = addressFromIPv4(0);
  const row = { cookie: cookie.value, flags: 0, ipv4: none, ipv6: none };
  const { result } = store.batch([setOperation(maps.netnsRows, 0, row), setOperation(maps.netns, cookie.value, 0)]);
  return result.ok ? loaded : result;
}

/** As many rows in the floor's hash as there are Services. */
function fillFloors(floors: LoadedObject, services: number): void {
  const map = floors.map('places');
  const library = libbpf();
  assert(map !== undefined && library.ok, 'the floors have their map');
  const key = Buffer.alloc(8);
  for (const protocol of [IPPROTO_TCP, IPPROTO_UDP])
    for (let index = 0; index < services; index++) {
      key.writeUInt32BE(FIRST_SERVICE + index, 0);
      key.writeUInt16BE(SERVICE_PORT, 4);
      key.writeUInt16LE(protocol, 6);
      assert(library.value.mapUpdate(map.fd, key, Buffer.alloc(4), 0) === 0, 'the floors can be filled');
    }
}

type Samples = { readonly ns: number[]; served: number };

async function timeAll(
  rig: Rig,
  { services, rounds, share = 1, onRound }: SocketBenchOptions,
): Promise<Result<SocketFigures>> {
  const samples = callNames.map((call) => ({
    call,
    calls: Math.max(BATCH, Math.round((CALLS[call] * share) / BATCH) * BATCH),
    variants: variants.map((): Samples => ({ ns: [], served: 0 })),
  }));
  const filled = await fillPeers(rig, services, Math.round(PEERS_MAX * share));
  if (!filled.ok) return filled;
  // The first round is not counted: it finds cold caches.
  for (let round = -1; round < rounds; round++) {
    onRound(round);
    for (const { call, calls, variants: kept } of samples)
      for (let turn = 0; turn < variants.length; turn++) {
        const at = turnOf(turn, round);
        const timed = await timeOne(rig, call, variants[at] ?? 'none', { services, round, calls });
        if (!timed.ok) return timed;
        if (round < 0) continue;
        const sample = kept[at];
        assert(sample !== undefined, 'samples of each variant are kept');
        sample.ns.push(timed.value.nsPerCall);
        sample.served += timed.value.served;
      }
  }
  const figures = samples.map(({ call, calls, variants: kept }) => ({ call, calls, variants: figuresOf(kept) }));
  const trouble = rig.stage.trouble();
  return trouble.ok ? ok({ rounds, services, calls: figures, trouble: trouble.value }) : trouble;
}

/** Who is when: each begins a round as often as the others, and comes as often before as after its neighbour. */
function turnOf(turn: number, round: number): number {
  const count = variants.length;
  const at = (turn + round + 1) % count;
  return round % 2 === 0 ? at : count - 1 - at;
}

/** A node that has been up for a while has no free row for the next peer name: one has to go. */
async function fillPeers(rig: Rig, services: number, calls: number): ReturnType<Generator['time']> {
  return await timeOne(rig, 'tcp-connect', 'service', { services, round: 0, calls });
}

type Amount = { readonly services: number; readonly round: number; readonly calls: number };

async function timeOne(rig: Rig, call: BenchCall, variant: Variant, amount: Amount): ReturnType<Generator['time']> {
  const hooks = HOOKS[variant];
  const attached = rig.stage.attach(hooks, rig.objects[hooks]);
  if (!attached.ok) return attached;
  using _hooks = attached.value;
  const targets = targetsOf(variant, amount);
  return call === 'transaction-one'
    ? await rig.generator.time({ call: 'transaction', ...targets, addresses: 1, start: 0 })
    : await rig.generator.time({ call, ...targets });
}

/** Services, or one backend of each. */
export function targetsOf(
  variant: Variant,
  { services, round, calls }: Amount,
): Omit<Parameters<Generator['time']>[0], 'call'> {
  const common = { addresses: services, start: Math.max(0, round * 31) % services, calls };
  return variant === 'service'
    ? { first: FIRST_SERVICE, port: SERVICE_PORT, apart: 1, ...common }
    : { first: FIRST_BACKEND, port: BACKEND_PORT, apart: BACKENDS, ...common };
}

function figuresOf(samples: readonly Samples[]): CallFigure['variants'] {
  const none = samples[0]?.ns ?? [];
  const figure = (variant: Variant): VariantFigure => {
    const { ns, served } = samples[variants.indexOf(variant)] ?? { ns: [], served: 0 };
    return {
      ns: spreadOf(ns),
      priceNs: spreadOf(ns.map((value, round) => value - (none[round] ?? Number.NaN))),
      ratio: spreadOf(ns.map((value, round) => (none[round] ?? Number.NaN) / value)),
      served,
    };
  };
  return {
    none: figure('none'),
    empty: figure('empty'),
    lookup: figure('lookup'),
    stranger: figure('stranger'),
    service: figure('service'),
  };
}
