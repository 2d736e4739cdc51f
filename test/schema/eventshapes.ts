// SPDX-License-Identifier: Apache-2.0
/** The shape of a line of an event stream as tandem writes it; readers accept more, such as what kubectl prints. */
import * as z from 'zod';

const KINDS = ['Node', 'Service', 'EndpointSlice', 'Pod'] as const;

const at = z.string().describe('RFC 3339, up to nine digits after the point: when it was heard of.');
const kind = z.enum(KINDS);

/** Objects are those of the Kubernetes API; only what makes them be found is told here. */
const object = z
  .looseObject({ kind, metadata: z.looseObject({ name: z.string().min(1), namespace: z.string().optional() }) })
  .describe('An object of the Kubernetes API, v1 or discovery.k8s.io/v1.');

const item = z.looseObject({ metadata: z.looseObject({ name: z.string().min(1) }) });

export const eventLine: z.ZodType = z.union([
  z.looseObject({
    type: z.literal('STREAM'),
    cluster: z.string().optional(),
    recorder: z.string().optional(),
    clock: z
      .strictObject({
        offsetNs: z.int().describe('Added to every time of the file.'),
        errorNs: z.number().describe('How far it may still be off.'),
      })
      .optional(),
  }),
  z.strictObject({ at, type: z.enum(['ADDED', 'MODIFIED', 'DELETED']), object }),
  z.strictObject({
    at,
    type: z.literal('BOOKMARK'),
    object: z.looseObject({ kind, metadata: z.looseObject({ resourceVersion: z.string() }).optional() }),
  }),
  z
    .strictObject({
      at,
      type: z.literal('LISTED'),
      kind,
      resourceVersion: z.string().optional(),
      items: z.array(item),
    })
    .describe('Replaces everything of that kind.'),
  z
    .strictObject({ at, type: z.literal('DISCONNECTED'), kind, reason: z.string() })
    .describe('What follows may have gaps.'),
]);
