// SPDX-License-Identifier: Apache-2.0
/** Command sequences on both sides: after each the twins must agree, and the maps with those of a fresh agent. */
import { endpointText } from '../../core/address.ts';
import { canonical } from '../../core/control/canonical.ts';
import {
  BACKEND_ACTIVE,
  BACKEND_GENERATION_SHIFT,
  BACKEND_STATE,
  BACKEND_TERMINATING,
  maps,
} from '../../core/layout.gen.ts';
import type { ClusterEvent } from '../../core/objects.ts';
import { ok, type Result } from '../../core/result.ts';
import type { MapStore } from '../../core/store.ts';
import type { AgentSide, StartAgent, Turn } from './agentside.ts';
import {
  commandText,
  isPacket,
  type AgentCommand,
  type Command,
  type ControlCommand,
  type WorldCommand,
} from './commands.ts';
import { compareLines, type Difference } from '../compare.ts';
import { plantForeign } from './foreign.ts';
import { dumpLines } from '../side.ts';
import { Bench, judgePacket, type Finding } from '../steps.ts';
import { changeEvents, worldEvents, type World } from '../world.ts';

/** Two sides with agents of their own, and what a third needs to compute everything anew. */
export type SequenceSides = {
  readonly model: AgentSide;
  readonly kernel: AgentSide;
  /** Empty maps of the same sizes. */
  readonly emptyStore: () => MapStore;
  readonly start: StartAgent;
};

const NOBODY: World = { services: [] };
const TABLES_EVERY = 64;
/** Orders after which an agent has looked at what the maps hold. */
const LOOKS: ReadonlySet<string> = new Set(['restart', 'resync', 'heal']);

/** Runs commands one by one. */
export class Sequence {
  readonly bench: Bench;
  private readonly sides: SequenceSides;
  private cluster: World = NOBODY;
  /** What the agents have heard of it. */
  private services: World = NOBODY;
  private slices: World = NOBODY;
  /** Rows were planted that the agents don't know of yet. */
  private isForeign = false;
  /** The agents have ended; whatever comes next starts new ones. */
  private isDown = false;
  private packets = 0;
  /** Of the cluster that it was computed for; nothing else goes into it. */
  private fresh: { readonly services: World; readonly slices: World; readonly text: string | undefined } | undefined;

  constructor(sides: SequenceSides) {
    this.sides = sides;
    this.bench = new Bench(sides);
  }

  /** Empty maps, no flows, agents that were told of an empty cluster. */
  reset(): Result<void> {
    const { model, kernel } = this.sides;
    for (const side of [model, kernel]) {
      const wiped = side.wipe();
      if (!wiped.ok) return wiped;
    }
    this.cluster = NOBODY;
    this.listAll();
    this.isForeign = false;
    this.isDown = false;
    for (const side of [model, kernel]) side.restart(this.lists());
    this.bench.world = NOBODY;
    return ok(undefined);
  }

  /** `everyStep`: tables are compared after each packet and all entries after all else, not only now and then. */
  do(command: Command, index: number, everyStep: boolean): Result<Finding | undefined> {
    if (isPacket(command)) {
      this.packets += 1;
      return judgePacket(this.bench, command, index, everyStep || this.packets % TABLES_EVERY === 0);
    }
    const difference = this.control(command, everyStep);
    if (!difference.ok || difference.value === undefined) return difference as Result<undefined>;
    return ok({ ...difference.value, service: 'all', packet: commandText(command), step: index });
  }

  private lists(): readonly ClusterEvent[] {
    const [services] = worldEvents(this.services);
    const [, slices] = worldEvents(this.slices);
    return [services, slices].filter((event) => event !== undefined);
  }

  private control(command: ControlCommand, everyStep: boolean): Result<Difference | undefined> {
    const { model, kernel } = this.sides;
    if ('fail' in command) {
      for (const side of [model, kernel]) side.pose(command.fail);
      return ok(undefined);
    }
    if ('foreign' in command) {
      this.isForeign = true;
      for (const side of [model, kernel]) {
        const planted = plantForeign(side.twin.store, command.foreign);
        if (!planted.ok) return planted;
      }
      return this.compareMaps();
    }
    const turn = 'world' in command ? this.tell(command) : this.order(command.agent);
    const [mine, theirs] = [turn(model), turn(kernel)];
    this.isDown = mine.isCrashed;
    if ('agent' in command && LOOKS.has(command.agent) && mine.isSettled) this.isForeign = false;
    const judged = this.judge(mine, theirs);
    if (everyStep && judged.ok && judged.value === undefined) {
      const entries = this.compareEntries();
      if (!entries.ok || entries.value !== undefined) return entries;
    }
    const mustRest = 'agent' in command && command.agent === 'heal' && !mine.isSettled;
    return mustRest && judged.ok && judged.value === undefined ? this.complain(mine) : judged;
  }

  /** An agent that does not come to rest, where one that begins anew does. */
  private complain({ failures }: Turn): Result<Difference | undefined> {
    const fresh = this.startFresh();
    if (!fresh.ok) return fresh;
    if (fresh.value === undefined) return ok(undefined);
    const why = failures.map(({ object, message }) => `${object}: ${message}`).join('; ') || 'not settled';
    return ok({ field: 'rest', model: why, kernel: 'settled', names: ['agent', 'fresh agent'] });
  }

  /** What an agent makes of empty maps; undefined: they are too small, and hold what came first. */
  private startFresh(): Result<string | undefined> {
    const known = this.fresh;
    if (known?.services === this.services && known.slices === this.slices) return ok(known.text);
    const store = this.sides.emptyStore();
    const agent = this.sides.start(store);
    for (const event of this.lists()) agent.event(event);
    const { isSettled } = agent.step();
    const meant = meaning(store);
    if (!meant.ok) return meant;
    const text = isSettled ? meant.value : undefined;
    this.fresh = { services: this.services, slices: this.slices, text };
    return ok(text);
  }

  private tell({ world, only }: WorldCommand): (side: AgentSide) => Turn {
    const events: ClusterEvent[] = [];
    this.cluster = world;
    this.bench.world = world;
    if (this.isDown) this.listAll();
    if (only === undefined || only === 'Service') {
      events.push(...ofKind(changeEvents(this.services, world), 'Service'));
      this.services = world;
    }
    if (only === undefined || only === 'EndpointSlice') {
      events.push(...ofKind(changeEvents(this.slices, world), 'EndpointSlice'));
      this.slices = world;
    }
    const lists = this.lists();
    return (side) => side.turn(lists, events);
  }

  private order(what: AgentCommand['agent']): (side: AgentSide) => Turn {
    if (this.isDown || what === 'restart' || what === 'relist') this.listAll();
    const lists = this.lists();
    return (side) => {
      switch (what) {
        case 'restart':
          return side.restart(lists);
        case 'relist':
          return side.turn(lists, lists);
        case 'resync':
          return side.resync(lists);
        case 'retry':
          return side.turn(lists, []);
        case 'heal':
          return side.heal(lists);
      }
    };
  }

  /** Whoever lists is told of everything that is. */
  private listAll(): void {
    this.services = this.cluster;
    this.slices = this.cluster;
  }

  /** Both agents fared alike, their maps mean the same, and the same as those of an agent that begins anew. */
  private judge(mine: Turn, theirs: Turn): Result<Difference | undefined> {
    const fared = compareLines('agent', turnLines(mine), turnLines(theirs));
    if (fared !== undefined) return ok(fared);
    const held = this.compareMaps();
    if (!held.ok || held.value !== undefined) return held;
    return mine.isSettled && !this.isForeign ? this.compareFresh() : ok(undefined);
  }

  private compareMaps(): Result<Difference | undefined> {
    const { model, kernel } = this.sides;
    const tables = this.bench.tables();
    if (tables !== undefined) return ok(tables);
    const [mine, theirs] = [canonical(model.twin.store), canonical(kernel.twin.store)];
    if (!mine.ok) return mine;
    if (!theirs.ok) return theirs;
    if (mine.value === theirs.value) return ok(undefined);
    return ok(compareLines('maps', mine.value.split('\n'), theirs.value.split('\n')));
  }

  /** To the byte, ids and what no packet reaches included. */
  private compareEntries(): Result<Difference | undefined> {
    const { model, kernel } = this.sides;
    const [mine, theirs] = [dumpLines(model.twin.store), dumpLines(kernel.twin.store)];
    if (!mine.ok) return mine;
    return theirs.ok ? ok(compareLines('maps', mine.value, theirs.value)) : theirs;
  }

  private compareFresh(): Result<Difference | undefined> {
    const fresh = this.startFresh();
    if (!fresh.ok) return fresh;
    if (fresh.value === undefined) return ok(undefined);
    const found = meaning(this.sides.model.twin.store);
    if (!found.ok) return found;
    if (found.value === fresh.value) return ok(undefined);
    const difference = compareLines('fresh', found.value.split('\n'), fresh.value.split('\n'));
    return ok(difference === undefined ? undefined : { ...difference, names: ['maps', 'fresh agent'] });
  }
}

/** What maps mean, and every backend that lives in them: one that no frontend reaches was left behind. */
function meaning(store: MapStore): Result<string> {
  const text = canonical(store);
  if (!text.ok) return text;
  const backends = store.entries(maps.backends);
  if (!backends.ok) return backends;
  const live = backends.value.filter(([, record]) => {
    const state = record.live & BACKEND_STATE;
    return state === BACKEND_ACTIVE || state === BACKEND_TERMINATING;
  });
  const lines = live.map(([, record]) => {
    const bits = record.live & ((1 << BACKEND_GENERATION_SHIFT) - 1);
    return `live ${endpointText(record.address, record.port)}/${record.protocol} ${bits} ${record.identity.join(' ')}`;
  });
  return ok([text.value, ...lines.toSorted()].join('\n'));
}

function turnLines({ isCrashed, isSettled, failures }: Turn): readonly string[] {
  return [`crashed ${isCrashed}, settled ${isSettled}`, ...failures.map(({ kind }) => `failure ${kind}`)];
}

function ofKind(events: readonly ClusterEvent[], kind: string): readonly ClusterEvent[] {
  return events.filter((event) => 'object' in event && event.object.kind === kind);
}

/** Runs commands from a clean start and stops at the first difference. */
export function runCommands(
  sequence: Sequence,
  commands: readonly Command[],
  everyStep: boolean,
): Result<Finding | undefined> {
  const clean = sequence.reset();
  if (!clean.ok) return clean;
  for (const [index, command] of commands.entries()) {
    const found = sequence.do(command, index, everyStep);
    if (!found.ok || found.value !== undefined) return found;
  }
  return ok(undefined);
}
