// SPDX-License-Identifier: Apache-2.0
/** A history of clusters and packets on the model, and the same history told otherwise: where the answers part. */
import { createLoop, type Loop } from '../../../agent/loop.ts';
import { createDatapath } from '../../../core/datapath/datapath.ts';
import { reasonNames, verdictNames } from '../../../core/layout.gen.ts';
import { createStream } from '../../../core/random.ts';
import { failureText } from '../../../core/result.ts';
import { emptyOutcome, type Outcome, type Twin } from '../../../core/twin.ts';
import { packetText } from '../../../proof/describe.ts';
import { Traffic, type PacketStep } from '../../../proof/traffic/packets.ts';
import { settingsOf, type Settings } from '../../../proof/settings.ts';
import { changeEvents, changeWorld, randomWorld, worldEvents, worldNode, type World } from '../../../proof/world.ts';

type Moment = { readonly world: World } | { readonly packet: PacketStep };
export type History = { readonly settings: Settings; readonly moments: readonly Moment[] };

/** What becomes of a packet, as a client sees it: numbers that are ours alone are left out. */
type Fate = { readonly fate: string; readonly bytes: string };

/** How a history is told otherwise; what isn't named stays as it is. */
export type Retelling = {
  readonly world?: (world: World) => World;
  readonly packet?: (packet: PacketStep) => PacketStep;
  /** Whether the agent ends before this moment, and another finds the maps. */
  readonly restarts?: (moment: number) => boolean;
};

/** Parts in which a fault can be planted. */
export type Parts = { readonly twin?: (twin: Twin) => Twin; readonly loop?: (loop: Loop, twin: Twin) => Loop };

const WORLD_CHANGE_CHANCE = 1 / 80;
const NOBODY: World = { services: [] };

/** One model and its agent. */
class Play {
  private readonly twin: Twin;
  private readonly parts: Parts;
  private readonly outcome: Outcome = emptyOutcome();
  private world: World = NOBODY;
  private loop: Loop;

  constructor(settings: Settings, parts: Parts) {
    const twin: Twin = createDatapath(settings.config, settings.sizes);
    this.twin = parts.twin?.(twin) ?? twin;
    this.parts = parts;
    this.loop = this.start();
  }

  restart(): void {
    this.loop = this.start();
  }

  tell(world: World): void {
    for (const event of changeEvents(this.world, world)) this.loop.event(event);
    this.world = world;
    this.step(this.loop);
  }

  ask({ hook, frame, outside }: PacketStep): Outcome {
    const done = this.twin.packet(hook, frame, outside, this.outcome);
    if (!done.ok) throw new Error(failureText(done.error));
    return this.outcome;
  }

  private start(): Loop {
    const loop = createLoop({ store: this.twin.store, node: worldNode, onProblem: () => undefined });
    const started = this.parts.loop?.(loop, this.twin) ?? loop;
    for (const event of worldEvents(this.world)) started.event(event);
    this.step(started);
    return started;
  }

  private step(loop: Loop): void {
    const { failures } = loop.step();
    if (failures[0] !== undefined) throw new Error(failureText(failures[0]));
  }
}

function fateOf({ verdict, reason, bytes, length }: Outcome): Fate {
  const fate = `${verdictNames[verdict]} (${reasonNames[reason]})`;
  return { fate, bytes: Buffer.from(bytes.subarray(0, length)).toString('hex') };
}

/**
 * The history of a seed. Classifiers are large, since a false hit in one may be told from a miss, and Service ports
 * have no shares: numbers of ports that are given out anew count what their last owner holds.
 */
export function historyOf(seed: number, packets: number): History {
  const drawn = settingsOf(seed);
  const settings = {
    ...drawn,
    sizes: { ...drawn.sizes, classifierWords: 16384 },
    config: { ...drawn.config, classifierMask: 16383, shareService: 99 },
    isComplete: false,
  };
  const stream = createStream(seed, 6);
  const play = new Play(settings, {});
  const traffic = new Traffic({ stream, world: randomWorld(stream), now: stream.word(), ...settings });
  const moments: Moment[] = [{ world: traffic.world }];
  play.tell(traffic.world);
  for (let count = 0; count < packets; count++) {
    if (stream.chance(WORLD_CHANGE_CHANCE)) {
      traffic.change(changeWorld(stream, traffic.world));
      play.tell(traffic.world);
      moments.push({ world: traffic.world });
    }
    const packet = traffic.next();
    moments.push({ packet });
    traffic.learn(play.ask(packet));
  }
  return { settings, moments };
}

/** What becomes of each packet; moments that are none have no fate. */
export function fates({ settings, moments }: History, retelling: Retelling = {}, parts: Parts = {}): readonly Fate[] {
  const play = new Play(settings, parts);
  return moments.flatMap((moment, index) => {
    if (retelling.restarts?.(index) === true) play.restart();
    if ('packet' in moment) return [fateOf(play.ask(retelling.packet?.(moment.packet) ?? moment.packet))];
    play.tell(retelling.world?.(moment.world) ?? moment.world);
    return [];
  });
}

/** The first packet whose fate is another in the retelling; empty where there is none. */
export function parting(history: History, retelling: Retelling, parts: Parts = {}): string {
  const [told, retold] = [fates(history, {}, parts), fates(history, retelling, parts)];
  const at = told.findIndex(({ fate, bytes }, index) => fate !== retold[index]?.fate || bytes !== retold[index]?.bytes);
  const before = told[at];
  if (before === undefined) return '';
  const packets = history.moments.flatMap((moment) => ('packet' in moment ? [moment.packet] : []));
  const { hook, frame } = packets[at] ?? { hook: 'from-pod', frame: new Uint8Array() };
  return `packet ${at}: ${hook} ${packetText(frame)}: ${before.fate}, retold ${retold[at]?.fate}`;
}
