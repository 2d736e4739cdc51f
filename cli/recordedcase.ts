// SPDX-License-Identifier: Apache-2.0
/** A recording as a case that stands alone: a node, events and packets, for `tandem verify --case`. */
import * as z from 'zod';
import { PLAIN_NODE } from '../core/control/nodes.ts';
import { addressText, prefixText, type Address, type Prefix } from '../core/address.ts';
import { defaultSizes } from '../core/datapath/maps.ts';
import type { ClusterEvent } from '../core/objects.ts';
import { fail, ok, type Result } from '../core/result.ts';
import type { NodeConfig } from '../core/service.ts';
import { parseEventLine } from '../formats/eventline.ts';
import { addressShape, checkShape, prefixShape } from '../formats/shape.ts';
import type { Settings } from '../proof/settings.ts';
import { isCasePacket, readPacket, writtenPacket, type CasePacket } from '../proof/shrink.ts';
import { isPacketStep, type EventsStep } from '../proof/steps.ts';
import type { PacketStep } from '../proof/traffic/packets.ts';
import { replaySettings, type RecordedNode } from './replaysettings.ts';

const API_VERSION = 'tandem/v1alpha1';
const KIND = 'VerifyCase';

export type RecordedStep = EventsStep | PacketStep;

/** `seed` gives the keys of the hashes. */
export type RecordedCase = {
  readonly seed: number;
  readonly node: NodeConfig & RecordedNode;
  readonly steps: readonly RecordedStep[];
};

/** Not a union of both: its one message would be that neither fits. */
const stepShape = z.unknown().transform((value, context): EventsStep | CasePacket => {
  if (typeof value === 'object' && value !== null) {
    if (isCasePacket(value)) return value;
    if ('events' in value && Array.isArray(value.events)) return { events: eventsOf(value.events, context) };
  }
  context.addIssue({ code: 'custom', message: 'neither events nor a packet' });
  return z.NEVER;
});

function eventsOf(values: readonly unknown[], context: z.RefinementCtx): readonly ClusterEvent[] {
  return values.flatMap((value, index): ClusterEvent[] => {
    const parsed = parseEventLine(JSON.stringify(value));
    if (parsed.is === 'event') return [parsed.event];
    const message = parsed.is === 'bad' ? parsed.message : 'not an event';
    context.addIssue({ code: 'custom', message, path: ['events', index] });
    return [];
  });
}

const schema = z.strictObject({
  apiVersion: z.literal(API_VERSION),
  kind: z.literal(KIND),
  seed: z.int(),
  node: z.strictObject({
    nodeName: z.string(),
    zone: z.string(),
    serviceProxyName: z.string().nullable(),
    topology: z.boolean(),
    masqueradeAll: z.boolean(),
    algorithm: z.enum(['hash', 'maglev']).default('hash'),
    clusterCIDRs: z.array(prefixShape),
    serviceCIDRs: z.array(prefixShape),
    addresses: z.array(addressShape),
    selectionKey: z.tuple([z.int(), z.int()]).nullable(),
  }),
  steps: z.array(stepShape),
});

/** The case as JSON, of the same kind as one of random worlds, with `node` for what a seed gives there. */
export function recordedText({ node, seed, steps }: RecordedCase): string {
  const {
    addresses,
    algorithm,
    clusterCIDRs,
    masqueradeAll,
    nodeName,
    selectionKey,
    serviceCIDRs,
    serviceProxyName,
    topology,
    zone,
  } = node;
  const texts = (prefixes: readonly Prefix[]): string[] => prefixes.map(prefixText);
  const file = {
    apiVersion: API_VERSION,
    kind: KIND,
    seed,
    node: {
      nodeName,
      zone,
      serviceProxyName,
      topology,
      masqueradeAll,
      algorithm,
      clusterCIDRs: texts(clusterCIDRs),
      serviceCIDRs: texts(serviceCIDRs),
      addresses: addresses.map((one: Address) => addressText(one)),
      selectionKey,
    },
    steps: steps.map((step) => (isPacketStep(step) ? writtenPacket(step) : step)),
  };
  return `${JSON.stringify(file, undefined, 1)}\n`;
}

/** Reads one; undefined: it is something else, without a node. `name` stands for it in Failures. */
export function parseRecorded(text: string, name: string): Result<RecordedCase | undefined> {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (error) {
    return fail('input', name, error instanceof Error ? error.message : String(error));
  }
  if (typeof parsed !== 'object' || parsed === null || !('node' in parsed)) return ok(undefined);
  const checked = checkShape(name, schema, parsed, () => 1);
  if (!checked.ok) return checked;
  const { node, seed, steps } = checked.value;
  return ok({
    seed,
    node: { ...PLAIN_NODE, ...node },
    steps: steps.map((step) => ('events' in step ? step : readPacket(step))),
  });
}

/** Both twins as the replay has them: maps of their full size, keys of the seed. */
export function recordedSettings({ node, seed }: RecordedCase): Result<Settings> {
  const config = replaySettings(node, seed);
  if (!config.ok) return config;
  return ok({ config: { ...config.value, testMode: 1 }, sizes: defaultSizes, lifetimes: [], isComplete: false });
}
