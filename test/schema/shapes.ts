// SPDX-License-Identifier: Apache-2.0
/** What the shapes of several outputs are made of. */
import * as z from 'zod';

export const apiVersion: z.ZodType<'tandem/v1alpha1'> = z.literal('tandem/v1alpha1');

export const count: z.ZodType<number> = z.int().min(0);

export const counts: z.ZodType<Record<string, number>> = z.record(z.string(), z.int().min(0));

export const moment: z.ZodType<string> = z
  .string()
  .regex(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z$/)
  .describe('UTC, to the nanosecond.');
