// SPDX-License-Identifier: Apache-2.0
/** What a sequence is made of: the cluster and its agent go wrong in every way while packets pass; drawn, and in words. */
import type { Stream } from '../../core/random.ts';
import type { Posed } from './agentside.ts';
import { packetText } from '../describe.ts';
import { foreignKinds, type Foreign } from './foreign.ts';
import type { PacketStep } from '../traffic/packets.ts';
import { changeWorld, randomWorld, type World } from '../world.ts';

/** Whose watch tells of a change; `nobody`: both missed it. */
export type Told = 'Service' | 'EndpointSlice' | 'nobody';

/** The cluster is so from now on; `only`: by the other watches nobody has heard of it yet. */
export type WorldCommand = { readonly world: World; readonly only?: Told };
/**
 * `restart`: a new agent finds the maps. `resync`: it compares them with what it wants. `retry`: it works again.
 * `relist`: its watches list everything anew. `heal`: no write fails any more, and it must come to rest.
 */
export type AgentCommand = { readonly agent: (typeof agentOrders)[number] };
export const agentOrders = ['restart', 'resync', 'retry', 'relist', 'heal'] as const;
export type FailCommand = { readonly fail: Posed };
export type ForeignCommand = { readonly foreign: Foreign };
/** Everything but a packet. */
export type ControlCommand = WorldCommand | AgentCommand | FailCommand | ForeignCommand;
export type Command = ControlCommand | PacketStep;

export function isPacket(command: Command): command is PacketStep {
  return 'frame' in command;
}

const KINDS = [
  'change',
  'service',
  'slice',
  'missed',
  'relist',
  'restart',
  'resync',
  'retry',
  'heal',
  'fail',
  'foreign',
] as const;
type Kind = (typeof KINDS)[number];

/** Few Services with few endpoints meet each other more often; some sequences have many all the same. */
type Limits = { readonly services: number; readonly endpoints: number };

function within({ services, endpoints }: Limits, world: World): World {
  const kept = world.services.slice(-services);
  const cut = kept.map((it) =>
    it.endpoints.length <= endpoints ? it : { ...it, endpoints: it.endpoints.slice(-endpoints) },
  );
  return { services: cut };
}

/** Commands of a sequence that are no packets, 1 to 5 in a hundred, of kinds that each seed weighs anew. */
export class Commands {
  private readonly stream: Stream;
  private readonly weights: readonly (readonly [Kind, number])[];
  private readonly total: number;
  private readonly chance: number;
  private readonly limits: Limits;

  constructor(stream: Stream) {
    this.stream = stream;
    this.weights = KINDS.map((kind) => [kind, stream.chance(0.3) ? 0 : 1 + stream.below(8)] as const);
    this.total = this.weights.reduce((sum, [, weight]) => sum + weight, 0);
    this.chance = (1 + stream.below(5)) / 100;
    this.limits = { services: stream.pick([1, 2, 3, 4, 10]), endpoints: stream.pick([1, 3, 4, 6, 40]) };
  }

  /** With which a sequence begins. */
  first(): WorldCommand {
    return { world: within(this.limits, randomWorld(this.stream)) };
  }

  /** undefined: it is a packet's turn. */
  next(world: World): ControlCommand | undefined {
    const { stream } = this;
    if (this.total === 0 || !stream.chance(this.chance)) return undefined;
    let left = stream.below(this.total);
    const drawn = this.weights.find(([, weight]) => (left -= weight) < 0);
    return this.command(drawn?.[0] ?? 'change', world);
  }

  private change(world: World): World {
    return within(this.limits, changeWorld(this.stream, world));
  }

  private command(kind: Kind, world: World): ControlCommand {
    const { stream } = this;
    switch (kind) {
      case 'change':
        return { world: this.change(world) };
      case 'service':
        return { world: this.change(world), only: 'Service' };
      case 'slice':
        return { world: this.change(world), only: 'EndpointSlice' };
      case 'missed':
        return { world: this.change(world), only: 'nobody' };
      case 'fail':
        return {
          fail: { after: stream.below(stream.pick([2, 8, 40])), how: stream.pick(['full', 'no-memory', 'crash']) },
        };
      case 'foreign':
        return { foreign: { kind: stream.pick(foreignKinds), pick: stream.below(1000) } };
      default:
        return { agent: kind };
    }
  }
}

/** One line. */
export function commandText(command: Command): string {
  if (isPacket(command)) return `${command.hook} ${packetText(command.frame)}`;
  if ('world' in command) {
    const names = command.world.services.map(({ name }) => name.replace('service-', '')).join(', ');
    return `${command.only ?? 'cluster'} told: Services ${names === '' ? 'none' : names}`;
  }
  if ('agent' in command) return `agent ${command.agent}`;
  if ('fail' in command) return `write ${command.fail.after + 1} from now fails: ${command.fail.how}`;
  return `foreign rows: ${command.foreign.kind} ${command.foreign.pick}`;
}
