// SPDX-License-Identifier: Apache-2.0
/** The shapes of what `tandem replay --inject` prints. */
import * as z from 'zod';

import { replaySummary } from './replayshapes.ts';
import { count } from './shapes.ts';

const backend = z.string().nullable().describe('`10.0.1.5:8080`, where the packet goes to or the answer comes from.');

const injectedPacket = z
  .strictObject({
    file: z.string().describe('Of the recording.'),
    frame: z.int().min(1).describe("Wireshark's number, in the recording."),
    is: z.enum(['request', 'answer']).describe('From a client, or what the backend of the model would have answered.'),
    service: z.string().describe('`namespace/name:port`.'),
    flow: z.string().describe('`client>service/protocol`.'),
    model: z
      .strictObject({ verdict: z.enum(['pass', 'forward', 'reply', 'drop', 'refuse']), reason: z.string(), backend })
      .nullable()
      .describe('What the model says of it in the lab; null: no hook met it.'),
    wire: z
      .strictObject({ verdict: z.enum(['pass', 'forward', 'reply', 'refuse']), backend, lagMs: z.number() })
      .nullable()
      .describe('What came out of the kernel; null: nothing did.'),
    equal: z.boolean().nullable().describe('Verdict, backend and every byte; null: nothing tells.'),
    difference: z.string().nullable().describe('What is not equal, in words.'),
    permitted: z.boolean().nullable().describe('Of packets that open a connection; null: not judged.'),
    verdict: z.string().nullable().describe('The verdict in words, with the event it refers to.'),
  })
  .describe('A packet that was sent.');

const injectionSummary = z
  .strictObject({
    kind: z.literal('InjectionSummary'),
    pace: z.enum(['recorded', 'fast']),
    pods: count,
    requests: count,
    answers: count,
    events: count.describe('That were told to the agent loop in the lab.'),
    tooLarge: count.describe('Larger than the lab takes; not sent.'),
    tookMs: count,
    packetsPerSecond: count,
    packetsPerSecondSending: count.describe('Without the waits for the capture and for a time to come.'),
    framesCaptured: count,
    equal: count,
    different: count,
    notCompared: count.describe('They pass all Services by and may have been for the node itself.'),
    notSeen: count.describe('Sent, and not seen on any device of the lab.'),
    firstDifference: z.string().nullable(),
    replay: replaySummary.describe('Of what was captured in the lab.'),
  })
  .describe('The last line of an injection, and the summary of its JSON document.');

export const injectionDocument: z.ZodType = z.strictObject({
  packets: z.array(injectedPacket),
  summary: injectionSummary,
});

export const injectionLine: z.ZodType = z.union([injectedPacket, injectionSummary]);
