// SPDX-License-Identifier: Apache-2.0
/** What happens to both twins, step by step: a cluster, a fault or a packet; and the first step at which they differ. */
import { endpointText, parseAddress, type Address } from '../core/address.ts';
import { maps, verdictNames } from '../core/layout.gen.ts';
import { objectsOf, type ClusterEvent } from '../core/objects.ts';
import { fail, ok, type Result } from '../core/result.ts';
import type { Operation } from '../core/store.ts';
import { emptyOutcome, type Outcome, type PacketHook } from '../core/twin.ts';
import { compareLines, compareOutcomes, compareTables, sameOutcome, type Difference } from './compare.ts';
import { hostOf, readHost } from './traffic/address.ts';
import { packetText } from './describe.ts';
import { plantFault, type Fault } from './faults.ts';
import type { PacketStep } from './traffic/packets.ts';
import { dumpLines, type Side } from './side.ts';
import { changeEvents, serviceAt, worldEvents, type World } from './world.ts';

export type WorldStep = { readonly world: World };
/** Planted in the maps of both sides, and taken out before the next world. */
export type FaultStep = { readonly fault: Fault };
/** What a recorded cluster told, in place of a world. */
export type EventsStep = { readonly events: readonly ClusterEvent[] };
export type Step = WorldStep | FaultStep | EventsStep | PacketStep;

/** The model is right until somebody says otherwise; the kernel is what is tried. */
export type Sides = { readonly model: Side; readonly kernel: Side };

/** A difference with everything that a reader needs to know of it. */
export type Finding = Difference & {
  /** `shop/web:http`; `none` where the packet concerns no Service. */
  readonly service: string;
  /** The packet that showed it, in one line. */
  readonly packet: string;
  /** Index of its step. */
  readonly step: number;
};

/** Which packets are judged; all of them are run, since replies need flows. */
export type Scope = { readonly hook?: PacketHook | undefined };

/** How often the flow tables are compared. */
const TABLES_EVERY = 256;
const NO_WORLD: World = { services: [] };

/** Runs steps on both sides and remembers what the last one did. */
export class Bench {
  readonly sides: Sides;
  readonly outcomes: { readonly model: Outcome; readonly kernel: Outcome } = {
    model: emptyOutcome(),
    kernel: emptyOutcome(),
  };
  world: World = NO_WORLD;
  private readonly scope: Scope;
  /** Services that events told of, by `address:port`. */
  private readonly named = new Map<string, string>();
  private undo: { readonly side: Side; readonly operations: readonly Operation[] }[] = [];

  constructor(sides: Sides, scope: Scope = {}) {
    this.sides = sides;
    this.scope = scope;
  }

  /** No flows and an empty cluster. */
  reset(): Result<void> {
    for (const side of this.both()) side.twin.clearFlows();
    const mended = this.mend();
    if (!mended.ok) return mended;
    this.world = NO_WORLD;
    this.named.clear();
    return this.tellBoth(worldEvents(NO_WORLD));
  }

  /** Brings both sides' maps to a world. */
  tell(world: World): Result<void> {
    const mended = this.mend();
    if (!mended.ok) return mended;
    const events = changeEvents(this.world, world);
    this.world = world;
    return this.tellBoth(events);
  }

  /** Brings both sides' maps to what events tell. */
  hear(events: readonly ClusterEvent[]): Result<void> {
    for (const [end, service] of servicesOf(events)) this.named.set(end, service);
    return this.tellBoth(events);
  }

  private both(): readonly Side[] {
    return [this.sides.model, this.sides.kernel];
  }

  private tellBoth(events: readonly ClusterEvent[]): Result<void> {
    for (const side of this.both()) {
      const told = side.tell(events);
      if (!told.ok) return told;
    }
    return ok(undefined);
  }

  /** Plants the same fault in the maps of both sides. */
  fault(fault: Fault): Result<void> {
    for (const side of this.both()) {
      const planted = plantFault(side.twin.store, fault);
      if (!planted.ok) return planted;
      this.undo.unshift({ side, operations: planted.value });
    }
    return ok(undefined);
  }

  /** Takes all faults out: the control planes don't know of them. */
  mend(): Result<void> {
    for (const { side, operations } of this.undo) {
      const { result } = side.twin.store.batch(operations);
      if (!result.ok) return result;
    }
    this.undo = [];
    return ok(undefined);
  }

  /** Runs a packet on both sides; the difference, if it is in scope. */
  packet({ hook, frame, outside }: PacketStep): Result<Difference | undefined> {
    const { model, kernel } = this.outcomes;
    const mine = this.sides.model.twin.packet(hook, frame, outside, model);
    if (!mine.ok) return mine;
    const theirs = this.sides.kernel.twin.packet(hook, frame, outside, kernel);
    if (!theirs.ok) return contradiction(theirs, hook, model);
    if (sameOutcome(model, kernel) || (this.scope.hook !== undefined && this.scope.hook !== hook)) return ok(undefined);
    return ok(compareOutcomes(model, kernel));
  }

  tables(): Difference | undefined {
    return compareTables(this.sides.model.twin.flowMemory(), this.sides.kernel.twin.flowMemory());
  }

  /** Entries that the control plane wrote and counters that the programs wrote. */
  rest(): Result<Difference | undefined> {
    const { model, kernel } = this.sides;
    const [mine, theirs] = [dumpLines(model.twin.store), dumpLines(kernel.twin.store)];
    if (!mine.ok) return mine;
    if (!theirs.ok) return theirs;
    const entries = compareLines('maps', mine.value, theirs.value);
    if (entries !== undefined) return ok(entries);
    const [counted, found] = [model.counters(), kernel.counters()];
    if (!counted.ok) return counted;
    if (!found.ok) return found;
    return ok(compareLines('counters', counted.value, found.value) ?? this.marks());
  }

  private marks(): Difference | undefined {
    const text = (counts: readonly number[]): string[] => counts.map((count, mark) => `mark ${mark}: ${count}`);
    return compareLines('marks', text(this.sides.model.marks()), text(this.sides.kernel.marks()));
  }

  /** The difference with the Service and the packet it was seen at. */
  finding(difference: Difference, { hook, frame }: PacketStep, step: number): Finding {
    return { ...difference, service: this.service(frame), packet: `${hook} ${packetText(frame)}`, step };
  }

  private service(frame: Uint8Array): string {
    const { model, kernel } = this.outcomes;
    const id = model.servicePort === 0 ? kernel.servicePort : model.servicePort;
    const rows = id === 0 ? undefined : this.sides.model.twin.store.entries(maps.services);
    const row = rows?.ok === true ? rows.value.find(([, record]) => record.servicePort === id) : undefined;
    const named = row === undefined ? undefined : this.serviceAt(row[1].key);
    return named ?? this.serviceOfFrame(frame) ?? (id === 0 ? 'none' : `service port ${id}`);
  }

  private serviceAt({ address, port }: { readonly address: Address; readonly port: number }): string | undefined {
    return serviceAt(this.world, hostOf(address), port) ?? this.named.get(endpointText(address, port));
  }

  private serviceOfFrame(frame: Uint8Array): string | undefined {
    const isSix = frame[12] === 0x86 && frame[13] === 0xdd;
    if (frame.length < (isSix ? 54 : 34)) return undefined;
    const [source, destination, transport] = isSix
      ? [readHost(frame, 22, 6), readHost(frame, 38, 6), 54]
      : [readHost(frame, 26, 4), readHost(frame, 30, 4), 14 + ((frame[14] ?? 0) & 15) * 4];
    const port = (frame[transport + 2] ?? 0) * 256 + (frame[transport + 3] ?? 0);
    return serviceAt(this.world, destination, port) ?? serviceAt(this.world, source, 0);
  }
}

export function isWorldStep(step: Step): step is WorldStep {
  return 'world' in step;
}

export function isPacketStep(step: Step): step is PacketStep {
  return 'frame' in step;
}

/** What a run of steps came to. */
export type StepsReport = { readonly packets: number; readonly finding: Finding | undefined };

/**
 * Runs steps from a clean start and stops at the first difference. `everyStep`: tables are compared after each packet
 * and not only now and then, which finds the packet that made them differ.
 */
export function runSteps(bench: Bench, steps: readonly Step[], everyStep: boolean): Result<StepsReport> {
  const clean = bench.reset();
  if (!clean.ok) return clean;
  let packets = 0;
  for (const [index, step] of steps.entries()) {
    if (!isPacketStep(step)) {
      const done = tellStep(bench, step);
      if (!done.ok) return done;
      continue;
    }
    packets++;
    const checks = everyStep || packets % TABLES_EVERY === 0;
    const judged = judgePacket(bench, step, index, checks);
    if (!judged.ok) return judged;
    if (judged.value !== undefined) return ok({ packets, finding: judged.value });
  }
  return ok({ packets, finding: undefined });
}

function tellStep(bench: Bench, step: Exclude<Step, PacketStep>): Result<void> {
  if ('events' in step) return bench.hear(step.events);
  return isWorldStep(step) ? bench.tell(step.world) : bench.fault(step.fault);
}

/** `10.96.0.10:80` and `shop/web:http`, for each address and port of each Service. */
function servicesOf(events: readonly ClusterEvent[]): readonly (readonly [string, string])[] {
  const objects = events.flatMap(objectsOf);
  return objects.flatMap((object) => {
    if (object.kind !== 'Service') return [];
    const { metadata, spec } = object;
    const name = `${metadata?.namespace ?? ''}/${metadata?.name ?? ''}`;
    return (spec?.clusterIPs ?? []).flatMap((text) => {
      const address = parseAddress(text);
      if (!address.ok) return [];
      return (spec?.ports ?? []).map(({ name: portName = '', port = 0 }) => {
        return [endpointText(address.value, port), portName === '' ? name : `${name}:${portName}`] as const;
      });
    });
  });
}

/** Runs one packet; `checksTables`: the flow tables must be equal afterwards. */
export function judgePacket(
  bench: Bench,
  step: PacketStep,
  index: number,
  checksTables: boolean,
): Result<Finding | undefined> {
  const difference = bench.packet(step);
  if (!difference.ok) return describeRefused(difference, step, index);
  const found = difference.value ?? (checksTables ? bench.tables() : undefined);
  return ok(found === undefined ? undefined : bench.finding(found, step, index));
}

/** A program whose return code contradicts the verdict it reported differs from the model, which has no such code. */
function contradiction(
  refused: Extract<Result<never>, { ok: false }>,
  hook: PacketHook,
  model: Outcome,
): Result<Difference> {
  const { object, message } = refused.error;
  if (object !== `hook ${hook}`) return refused;
  return ok({ field: 'returned', model: verdictNames[model.verdict] ?? String(model.verdict), kernel: message });
}

/** A twin that could not answer at all is as bad as one that answers otherwise, but it isn't a difference. */
function describeRefused(
  refused: Extract<Result<never>, { ok: false }>,
  step: PacketStep,
  index: number,
): Result<never> {
  const { kind, object, message, remedy } = refused.error;
  return fail(kind, object, `${message} (step ${index}, ${step.hook} ${packetText(step.frame)})`, remedy);
}
