// SPDX-License-Identifier: Apache-2.0
/** The shapes of what `tandem verify` and `tandem sim` print and write. */
import * as z from 'zod';

import { apiVersion, count, counts } from './shapes.ts';

const hostAddress = z.union([z.int(), z.string()]).describe('IPv4 as a number, IPv6 as text.');
const port = z.int().min(1).max(65_535);
const faultKinds = ['row', 'slot', 'state', 'reused', 'generation', 'owner', 'id'] as const;

const world = z.strictObject({
  services: z.array(
    z.strictObject({
      name: z.string(),
      addresses: z.array(hostAddress).min(1).max(2),
      isLocal: z.boolean(),
      ports: z.array(
        z.strictObject({ name: z.string(), port, targetPort: port, protocol: z.enum(['TCP', 'UDP']).optional() }),
      ),
      affinitySeconds: z.int().optional(),
      endpoints: z.array(
        z.strictObject({
          address: hostAddress,
          state: z.enum(['ready', 'not-ready', 'terminating']),
          isLocal: z.boolean(),
          pod: z.string(),
        }),
      ),
    }),
  ),
});

const packet = z.strictObject({
  hook: z.enum(['from-pod', 'to-pod']),
  frame: z.string().regex(/^([0-9a-f]{2})*$/),
  outside: z
    .strictObject({
      now: z.int(),
      checksumMode: z.int().optional(),
      gsoSize: z.int().optional(),
      pullResult: z.int().optional(),
      roomResult: z.int().optional(),
      tailResult: z.int().optional(),
      peerResult: z.int().optional(),
      affinityResult: z.int().optional(),
      storageResult: z.int().optional(),
    })
    .describe('Answers from outside; those that are left out are 0.'),
});

const pick = z.int();
const step = z.union([
  z.strictObject({ world }),
  z.strictObject({ fault: z.strictObject({ kind: z.enum(faultKinds), pick }) }),
  packet,
]);

const command = z.union([
  z.strictObject({ world, only: z.enum(['Service', 'EndpointSlice', 'nobody']).optional() }),
  z.strictObject({ agent: z.enum(['restart', 'resync', 'retry', 'relist', 'heal']) }),
  z.strictObject({ fail: z.strictObject({ after: z.int(), how: z.enum(['full', 'no-memory', 'crash']) }) }),
  z.strictObject({ foreign: z.strictObject({ kind: z.enum(['stranger', ...faultKinds]), pick }) }),
  packet,
]);

/** The node of a recording. */
const node = z.strictObject({
  nodeName: z.string(),
  zone: z.string(),
  serviceProxyName: z.string().nullable(),
  topology: z.boolean(),
  masqueradeAll: z.boolean(),
  algorithm: z.enum(['hash', 'maglev']).describe('Of Services that do not ask for one.'),
  clusterCIDRs: z.array(z.string()),
  serviceCIDRs: z.array(z.string()),
  addresses: z.array(z.string()),
  selectionKey: z.tuple([z.int(), z.int()]).nullable(),
});

const heard = z.strictObject({
  events: z.array(
    z.looseObject({ type: z.enum(['ADDED', 'MODIFIED', 'DELETED', 'LISTED', 'DISCONNECTED', 'BOOKMARK']) }),
  ),
});

const head = { apiVersion, kind: z.literal('VerifyCase'), seed: z.int() };

/** What a campaign keeps of a difference, and `tandem verify --case` runs. */
export const verifyCase: z.ZodType = z.union([
  z.strictObject({ ...head, steps: z.array(step) }),
  z.strictObject({ ...head, commands: z.array(command) }),
  z.strictObject({ ...head, node, steps: z.array(z.union([heard, packet])) }).describe('Made of a recording.'),
]);

const finding = z.strictObject({
  field: z.string(),
  model: z.string(),
  kernel: z.string(),
  names: z.tuple([z.string(), z.string()]).optional().describe('Whose the two are, where not the two twins.'),
  service: z.string(),
  packet: z.string(),
  step: count,
});

const verifyFinding = z.strictObject({
  kind: z.literal('VerifyFinding'),
  finding,
  repeat: z.strictObject({ command: z.string(), shortCommand: z.string().optional() }),
  case: verifyCase.optional(),
});

const reached = { verdicts: counts, reasons: counts };
const unreached = z.array(z.string()).describe('Branches that nothing reached.');

const verifySummary = z.union([
  z.strictObject({
    kind: z.literal('VerifySummary'),
    seed: z.int(),
    rounds: count,
    packets: z.strictObject({ seed: z.int(), packets: count, worlds: count, ...reached, unreached }).optional(),
    sockets: z.strictObject({ seed: z.int(), calls: count, ended: count, ...reached, unreached }).optional(),
  }),
  z
    .strictObject({
      kind: z.literal('VerifySummary'),
      seed: z.int(),
      commands: count,
      sequences: count,
      kinds: counts,
      ...reached,
    })
    .describe('Of `verify sequences`.'),
  z.strictObject({ kind: z.literal('VerifySummary'), seed: z.int(), packets: count }).describe('Of a case.'),
  z.strictObject({ kind: z.literal('VerifySummary'), seed: z.int(), commands: count }).describe('Of a case.'),
]);

const verifyMutants = z.strictObject({
  kind: z.literal('VerifyMutants'),
  seed: z.int(),
  mutants: count,
  survivors: z.array(z.string()),
});

export const verifyDocument: z.ZodType = z.union([verifySummary, verifyFinding, verifyMutants]);

export const simReport: z.ZodType = z.strictObject({
  kind: z.literal('SimReport'),
  command: z.string().describe('Repeats the run.'),
  seed: z.string(),
  violation: z
    .strictObject({
      invariant: z.enum([
        'permitted-backend',
        'flow-keeps-backend',
        'frontends-resolve',
        'reply-address',
        'bystander-untouched',
        'drop-has-reason',
        'checksums',
        'rows-within-capacity',
        'layout-untouched',
        'convergence',
        'ready-gets-traffic',
        'removed-gets-none',
      ]),
      atUs: z.number(),
      node: z.int().min(-1).describe('-1: the cluster.'),
      what: z.string(),
    })
    .optional()
    .describe('Absent: every promise was kept.'),
  isLiveness: z.boolean(),
  simulatedUs: z.number(),
  deeds: count,
  lines: count,
  changes: count,
  faults: count,
  writes: count,
  tally: z.strictObject({
    packets: count,
    opened: count,
    completed: count,
    refused: count,
    failed: count,
    broken: count,
  }),
  datagrams: z.strictObject({ begun: count, finished: count, refused: count, unanswered: count, moved: count }),
  digest: z.string(),
});
