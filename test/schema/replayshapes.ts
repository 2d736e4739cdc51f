// SPDX-License-Identifier: Apache-2.0
/** The shapes of what `tandem replay` prints. */
import * as z from 'zod';

import { apiVersion, count, counts, moment } from './shapes.ts';

const verdicts = ['pass', 'forward', 'reply', 'drop', 'refuse'] as const;
const hook = z.enum(['from-pod', 'to-pod']);

const outcome = z
  .strictObject({
    verdict: z.enum(verdicts),
    reason: z.string().describe('Why, by the names of bpf/layout.h.'),
    backend: z.string().nullable().describe('`10.0.1.5:8080`, where the packet goes to or the reply comes from.'),
    bytes: z
      .string()
      .regex(/^([0-9a-f]{2})*$/)
      .describe('The frame afterwards, in hex.'),
  })
  .describe('What a twin did with the packet.');

export const packetLine: z.ZodType = z
  .strictObject({
    file: z.string(),
    frame: z.int().min(1).describe("Wireshark's number."),
    at: moment,
    hook,
    service: z.string().nullable().describe('`namespace/name:port`.'),
    flow: z.string().nullable().describe('`client>service/protocol`.'),
    model: outcome,
    kernel: outcome.nullable().describe('null: the kernel did not run.'),
    observed: z
      .strictObject({
        frame: z.int().min(1),
        verdict: z.enum(['pass', 'forward', 'reply', 'refuse']),
        backend: z.string().nullable(),
        lagMs: z.number(),
      })
      .nullable()
      .describe('What became of the packet in the recording; null: it was not seen again.'),
    permitted: z.boolean().nullable().describe('Of packets that open a connection; null: not judged.'),
    equal: z.boolean().nullable().describe('Whether the twins agree; null: not compared.'),
    unsupported: z.string().optional().describe('Why the connection of this packet is not judged.'),
    verdict: z.string().optional().describe('The verdict in words, of packets that open a connection.'),
  })
  .describe('A packet at a hook.');

const finding = z.strictObject({
  file: z.string(),
  frame: z.int().min(1),
  timeNs: z.number().describe('From the first packet or event.'),
  hook,
  flow: z.string().nullable(),
  service: z.string().nullable(),
  field: z.string(),
  model: z.string(),
  other: z.string(),
});

const connections = z.strictObject({
  total: count,
  permitted: count,
  early: count,
  stale: count,
  never: count,
  notJudged: count,
  answered: count,
  refused: count,
  reset: count,
  unreachable: count,
  none: count,
});

export const replaySummary: z.ZodType = z
  .strictObject({
    kind: z.literal('ReplaySummary'),
    grade: z.enum(['exact', 'reconstructed', 'state']),
    node: z.string(),
    from: moment,
    to: moment,
    packets: count,
    inputs: z.strictObject({ fromPod: count, toPod: count }),
    otherSightings: count,
    noInput: counts.describe('Frames of packets that no hook met, by reason.'),
    comparedWithKernel: count,
    kernel: z.string().describe('`ran`, or why it did not.'),
    services: count,
    blame: z.enum(['datapath-wrong', 'control-plane-late', 'neither', 'not-judged']),
    connections,
    datagrams: z.strictObject({ flows: count, sent: count, judged: count, notPermitted: count }),
    retransmissions: z
      .strictObject({ fromClients: count, fromServices: count, connections: count })
      .describe(
        'Packets of TCP that repeat bytes which had been sent before, first SYNs aside; of how many connections.',
      ),
    affinity: z.strictObject({ kept: count, notKept: count, free: counts }),
    differences: count,
    firstDifference: z.union([finding, z.string(), z.null()]),
    notPermitted: count,
    modelNotPermitted: count,
    replies: z.strictObject({ reproduced: count, differing: count, withoutFlow: count }),
    firstReplyDifference: finding.nullable(),
    unsupported: z.record(z.string(), z.strictObject({ connections: count, packets: count })),
    unattributed: count,
    inferredDevices: count,
    checksums: counts,
    superPackets: count,
    shortened: count,
    backwards: count,
    untimed: count,
    clocks: z.array(
      z.strictObject({
        node: z.string(),
        offsetMs: z.number(),
        errorMs: z.number().nullable().describe('null: packets were seen one way only, or none at all.'),
        there: count,
        back: count,
      }),
    ),
    masked: z.strictObject({}),
    seed: z.int(),
    object: z.string().nullable().describe('SHA-256 of the BPF object; null: no kernel ran.'),
    failures: z.array(z.string()),
  })
  .describe('The last line of a replay, and the summary of its JSON document.');

export const replayDocument: z.ZodType = z.strictObject({ packets: z.array(packetLine), summary: replaySummary });

const blame = z.enum(['datapath-wrong', 'control-plane-late', 'neither', 'not-judged']);

/** Of `tandem trace`. */
export const trace: z.ZodType = z.strictObject({
  kind: z.literal('Trace'),
  service: z.string(),
  flow: z.string(),
  at: moment.describe('When it was decided.'),
  file: z.string(),
  frame: z.int().min(1),
  verdict: z.strictObject({ blame, text: z.string() }),
  answers: z.array(z.strictObject({ question: z.string(), lines: z.array(z.string()) })),
  timeline: z.array(
    z.strictObject({
      at: z.union([moment, z.literal('')]).describe('Empty: of several, which are left out.'),
      what: z.enum(['event', 'maps', 'packet']),
      text: z.string(),
    }),
  ),
});

const change = z.strictObject({ was: z.string(), wouldBe: z.string() });

/** Of `tandem replay` with --without-event, --delay or --as-node. */
export const whatIf: z.ZodType = z.strictObject({
  kind: z.literal('WhatIf'),
  changes: z.array(z.string()),
  verdict: change,
  connections: count,
  otherwise: z.array(
    z.strictObject({
      service: z.string(),
      flow: z.string(),
      at: moment,
      file: z.string(),
      frame: z.int().min(1),
      choice: change,
      permission: change,
    }),
  ),
});

/** Of `tandem record --events`. */
export const recording: z.ZodType = z.strictObject({
  kind: z.literal('Recording'),
  apiVersion,
  path: z.string(),
  lines: count,
  lists: count,
  changes: count,
  bookmarks: count,
  interruptions: count,
  whole: z
    .array(z.enum(['Node', 'Service', 'EndpointSlice', 'Pod']))
    .describe('Kinds without a gap at the end, of which there is a list.'),
  wallClockSteppedNs: z.number(),
});
