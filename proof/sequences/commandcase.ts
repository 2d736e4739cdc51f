// SPDX-License-Identifier: Apache-2.0
/** A counterexample of commands: made as small as it gets, and as a file that stands alone. */
import { fail, ok, type Result } from '../../core/result.ts';
import { agentOrders, isPacket, type Command, type ControlCommand } from './commands.ts';
import { foreignKinds } from './foreign.ts';
import { runCommands, type Sequence } from './sequence.ts';
import {
  isCasePacket,
  isSameKind,
  isWorld,
  readPacket,
  shrinkList,
  writtenPacket,
  type CasePacket,
} from '../shrink.ts';
import type { Finding } from '../steps.ts';
import type { World, WorldService } from '../world.ts';

/** Runs that make worlds smaller, after those that drop commands. */
const RUNS_MAX = 300;
const API_VERSION = 'tandem/v1alpha1';
const KIND = 'VerifyCase';

/** A counterexample: its commands and what is seen at the last one. */
export type ShrunkCommands = { readonly commands: readonly Command[]; readonly finding: Finding };

/** First fewer commands, then fewer Services, then fewer endpoints, then fewer commands again. */
export function shrinkCommands(
  sequence: Sequence,
  commands: readonly Command[],
  finding: Finding,
): Result<ShrunkCommands> {
  const attempt = (fewer: readonly Command[]): Result<Finding | undefined> => runCommands(sequence, fewer, true);
  const first = shrinkList(commands, finding, attempt);
  if (!first.ok) return first;
  const smaller = shrinkWorlds(first.value.items, first.value.finding, attempt);
  if (!smaller.ok) return smaller;
  const last = shrinkList(smaller.value.commands, smaller.value.finding, attempt);
  return last.ok ? ok({ commands: last.value.items, finding: last.value.finding }) : last;
}

type Attempt = (commands: readonly Command[]) => Result<Finding | undefined>;

function shrinkWorlds(commands: readonly Command[], finding: Finding, attempt: Attempt): Result<ShrunkCommands> {
  let best: ShrunkCommands = { commands, finding };
  let runs = 0;
  for (const change of changesOf(commands)) {
    if (runs >= RUNS_MAX) break;
    const smaller = best.commands.map((command) =>
      'world' in command ? { ...command, world: change(command.world) } : command,
    );
    if (worldsText(smaller) === worldsText(best.commands)) continue;
    runs += 1;
    const attempted = attempt(smaller);
    if (!attempted.ok) return attempted;
    const found = attempted.value;
    if (found === undefined || !isSameKind(found, finding)) continue;
    best = { commands: smaller.slice(0, found.step + 1), finding: found };
  }
  return ok(best);
}

function worldsText(commands: readonly Command[]): string {
  return JSON.stringify(commands.map((command) => ('world' in command ? command.world : undefined)));
}

/** What may be left out of every world: a Service, a port of it, an endpoint of it. */
function changesOf(commands: readonly Command[]): readonly ((world: World) => World)[] {
  const services = commands.flatMap((command) => ('world' in command ? command.world.services : []));
  const names = [...new Set(services.map(({ name }) => name))];
  const parts = names.flatMap((name) => {
    const own = services.filter((service) => service.name === name);
    const ports = new Set(own.flatMap((service) => service.ports.map((port) => port.name)));
    const pods = new Set(own.flatMap((service) => service.endpoints.map(({ address }) => address)));
    const change =
      (smaller: (service: WorldService) => WorldService) =>
      (world: World): World => ({
        services: world.services.map((service) => (service.name === name ? smaller(service) : service)),
      });
    return [
      ...[...ports].map((left) => change((it) => ({ ...it, ports: it.ports.filter((port) => port.name !== left) }))),
      change((it) => ({ ...it, endpoints: it.endpoints.slice(0, 1) })),
      ...[...pods].map((left) =>
        change((it) => ({ ...it, endpoints: it.endpoints.filter(({ address }) => address !== left) })),
      ),
    ];
  });
  return [
    ...names.map((name) => (world: World): World => ({ services: world.services.filter((it) => it.name !== name) })),
    ...parts,
  ];
}

/** `seed` gives the settings. */
export type CommandCase = { readonly seed: number; readonly commands: readonly Command[] };

type CaseFile = {
  readonly apiVersion: string;
  readonly kind: string;
  readonly seed: number;
  readonly commands: readonly (ControlCommand | CasePacket)[];
};

/** The case as JSON, of the same kind as one of packets, with `commands` in place of `steps`. */
export function commandsText({ seed, commands }: CommandCase): string {
  const written = commands.map((command) => (isPacket(command) ? writtenPacket(command) : command));
  const file: CaseFile = { apiVersion: API_VERSION, kind: KIND, seed, commands: written };
  return `${JSON.stringify(file, undefined, 1)}\n`;
}

/** Reads one; undefined: it is a case, or something else, without commands. `name` stands for it in Failures. */
export function parseCommands(text: string, name: string): Result<CommandCase | undefined> {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (error) {
    return fail('input', name, error instanceof Error ? error.message : String(error));
  }
  if (typeof parsed !== 'object' || parsed === null || !('commands' in parsed)) return ok(undefined);
  if (!isCaseFile(parsed)) return fail('input', name, 'not a VerifyCase', 'verify sequences writes one');
  const commands = parsed.commands.map((command): Command => ('frame' in command ? readPacket(command) : command));
  return ok({ seed: parsed.seed, commands });
}

function isCaseFile(value: object): value is CaseFile {
  if (!('kind' in value && value.kind === KIND && 'apiVersion' in value && value.apiVersion === API_VERSION))
    return false;
  if (!('seed' in value && typeof value.seed === 'number')) return false;
  return 'commands' in value && Array.isArray(value.commands) && value.commands.every(isCaseCommand);
}

function isCaseCommand(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  if ('world' in value)
    return isWorld(value.world) && isOneOf(fieldOf(value, 'only'), [undefined, 'Service', 'EndpointSlice', 'nobody']);
  if ('agent' in value) return isOneOf(value.agent, agentOrders);
  if ('fail' in value)
    return (
      isNumber(fieldOf(value.fail, 'after')) && isOneOf(fieldOf(value.fail, 'how'), ['full', 'no-memory', 'crash'])
    );
  if ('foreign' in value)
    return isNumber(fieldOf(value.foreign, 'pick')) && isOneOf(fieldOf(value.foreign, 'kind'), foreignKinds);
  return isCasePacket(value);
}

function fieldOf(value: unknown, name: string): unknown {
  if (typeof value !== 'object' || value === null) return undefined;
  return Object.entries(value).find(([key]) => key === name)?.[1];
}

function isOneOf(value: unknown, known: readonly unknown[]): boolean {
  return known.includes(value);
}

function isNumber(value: unknown): boolean {
  return typeof value === 'number';
}
