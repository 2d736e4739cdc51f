// SPDX-License-Identifier: Apache-2.0
/** The shapes of what `tandem bench` prints. */
import * as z from 'zod';

import { count } from './shapes.ts';

const spread = z
  .strictObject({ median: z.number(), low: z.number(), high: z.number(), least: z.number() })
  .describe('Over the rounds; `low` and `high` are the quarter and three-quarter points.');
const rate = z.strictObject({ packetsPerSecond: spread, pauseMsMax: z.number() });

export const benchTwins: z.ZodType = z.strictObject({
  kind: z.literal('BenchTwins'),
  goals: z.strictObject({
    modelPacketsPerSecond: z.number(),
    comparedPacketsPerSecond: z.number(),
    commandsPerSecond: z.number(),
    pauseMsMax: z.number(),
  }),
  model: rate,
  compared: rate,
  commandsPerSecond: spread,
  programs: z.array(
    z.strictObject({ program: z.string(), packet: z.string(), flows: count, netNs: spread, harnessNs: spread }),
  ),
});

const variant = z.strictObject({
  ns: spread,
  priceNs: spread,
  ratio: spread.describe('How many calls are made in the time of one without hooks: 0.97 is 3 % slower.'),
  served: count,
});

export const benchSockets: z.ZodType = z.strictObject({
  kind: z.literal('BenchSockets'),
  goals: z.strictObject({ transactionRatio: z.number() }),
  rounds: count,
  services: count,
  calls: z.array(
    z.strictObject({
      call: z.string(),
      calls: count,
      variants: z.strictObject({
        none: variant,
        empty: variant,
        lookup: variant,
        stranger: variant,
        service: variant,
      }),
    }),
  ),
  trouble: z.strictObject({ retransmissions: count, listenDrops: count, timeWaits: count }),
});
