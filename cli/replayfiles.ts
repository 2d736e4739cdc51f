// SPDX-License-Identifier: Apache-2.0
/** What a replay works from: captures by node, events, facts, configuration. */
import { fail, ok, type Result } from '../core/result.ts';
import { defaultConfiguration, readConfiguration, type TandemConfiguration } from '../formats/config.ts';
import { readEventStreams, type EventStreams } from '../formats/events.ts';
import type { InputSource } from '../formats/input.ts';
import { readNodeFacts, type NodeFacts } from '../formats/node.ts';
import { factsFromEvents } from '../replay/facts.ts';
import type { PacketLine } from '../replay/lines.ts';
import { assignCaptures, compareClocks, type NodeCaptures } from '../replay/nodes.ts';
import type { OtherNode, ReplayProgress } from '../replay/run.ts';
import type { Watch } from '../replay/watch.ts';
import type { CommandOptions } from './commands.ts';
import type { ReplayInputs } from './replayinputs.ts';

/** What to replay, and how. */
export type ReplayFiles = {
  readonly captures: readonly InputSource[];
  readonly streams: EventStreams;
  readonly facts: NodeFacts;
  /** Captures of other nodes, where its packets may be seen again. */
  readonly others?: readonly OtherNode[];
  readonly config: TandemConfiguration;
  readonly seed: number;
  readonly allowUnattributed: boolean;
  readonly onLine?: (line: PacketLine) => void;
  readonly onProgress?: (progress: ReplayProgress) => void;
  readonly watch?: Watch;
  /** False: the model alone is enough. */
  readonly withKernel?: boolean;
  /** In place of the node that was captured. */
  readonly asNode?: string;
};

/** One for each node, in the order of their facts; the captures of the others show where its packets went. */
export function openNodes(inputs: ReplayInputs, options: CommandOptions): Result<readonly ReplayFiles[]> {
  const {
    config: path,
    seed,
    allowUnattributed,
  } = {
    config: options['config'],
    seed: options['seed'],
    allowUnattributed: options['allowUnattributed'],
  };
  const config = typeof path === 'string' ? readConfiguration(path) : ok(defaultConfiguration());
  if (!config.ok) return config;
  const { captures, events } = inputs;
  if (captures.length === 0) return fail('usage', 'replay', 'no capture among the files', 'add a pcap of the node');
  if (events.length === 0) {
    return fail('usage', 'replay', 'no event stream among the files', 'add *.events.ndjson: what the API server said');
  }
  const read = readEventStreams(events);
  const streams = { ...read, failures: [...inputs.failures, ...read.failures] };
  const facts = readNodes(inputs, options, config.value, streams);
  if (!facts.ok) return facts;
  const nodes = assignCaptures(captures, facts.value);
  if (!nodes.ok) return nodes;
  const common = {
    streams,
    config: config.value,
    seed: typeof seed === 'number' ? seed : 0,
    allowUnattributed: allowUnattributed === true,
  };
  return ok(nodes.value.map((own) => ({ ...common, ...own, others: othersOf(own, nodes.value) })));
}

/** For what works on one node only; `what` names it. */
export function onlyNode(nodes: readonly ReplayFiles[], what: string): Result<ReplayFiles> {
  const [first, second] = nodes;
  if (first !== undefined && second === undefined) return ok(first);
  const names = nodes.map(({ facts }) => facts.name).join(', ');
  return fail('usage', what, `is of one node, not of ${names}`, 'give the --node and the captures of one');
}

function readNodes(
  { nodes }: ReplayInputs,
  options: CommandOptions,
  config: TandemConfiguration,
  streams: EventStreams,
): Result<readonly NodeFacts[]> {
  const given = options['node'];
  const files = Array.isArray(given) ? given.map(String) : nodes;
  const facts: NodeFacts[] = [];
  for (const file of files) {
    const one = readNodeFacts(file);
    if (!one.ok) return one;
    facts.push(one.value);
  }
  if (facts.length > 0) return ok(facts);
  const derived = factsFromEvents(config, streams);
  if (derived.ok) return ok([derived.value]);
  // Where nothing could be read, that is why nothing is known of the node.
  const [unread] = streams.failures;
  return unread === undefined ? derived : { ok: false, error: unread };
}

function othersOf(own: NodeCaptures, nodes: readonly NodeCaptures[]): readonly OtherNode[] {
  return nodes.filter((node) => node !== own).map((node) => ({ ...node, clock: compareClocks(own, node) }));
}
