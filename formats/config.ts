// SPDX-License-Identifier: Apache-2.0
/** The configuration file: kind TandemConfiguration, tandem/v1alpha1, in YAML or JSON. */
import * as z from 'zod';

import { port, type Address, type Port, type Prefix } from '../core/address.ts';
import { fail, type Result } from '../core/result.ts';

import { readText, type InputSource } from './input.ts';
import { addressShape, checkShape, prefixShape } from './shape.ts';
import { parseDocuments } from './yaml.ts';

const API_VERSION = 'tandem/v1alpha1';
const KIND = 'TandemConfiguration';
const FILE_BYTES_MAX = 1024 * 1024;

export type PortRange = { readonly first: Port; readonly last: Port };

/** Every key with its value, given or default. */
export type TandemConfiguration = {
  readonly apiVersion: typeof API_VERSION;
  readonly kind: typeof KIND;
  /** Empty: not given. */
  readonly nodeName: string;
  /** Until a Node object of that name says otherwise; empty: unknown. */
  readonly zone: string;
  /** The first of each family is primary; empty: to be found out. */
  readonly nodeIPs: readonly Address[];
  /** Addresses of the node that serve NodePorts: the primary ones, or those inside ranges. */
  readonly nodePortAddresses: 'primary' | readonly Prefix[];
  /** Addresses of pods, all nodes; empty: unknown. */
  readonly clusterCIDRs: readonly Prefix[];
  readonly serviceCIDRs: readonly Prefix[];
  readonly masqueradeAll: boolean;
  /** Whether hints in slices are followed. */
  readonly topology: boolean;
  /** Services with this value of the service-proxy-name label are ours; null: those without the label. */
  readonly serviceProxyName: string | null;
  readonly nodePortRange: PortRange;
  /** Whether host ports of pods are served; a CNI's portmap plugin does it too. */
  readonly hostPort: boolean;
  /** Whether ClusterIPs answer clients that are not on this node. */
  readonly externalClusterIP: boolean;
  readonly algorithm: 'hash' | 'maglev';
  /** Two words, the first eight hexadecimal digits and the last; null: derived from the cluster's identity. */
  readonly selectionKey: readonly [number, number] | null;
  readonly compatibility: 'kube-proxy';
};

const NODE_PORT_RANGE_DEFAULT: PortRange = { first: port(30_000), last: port(32_767) };

const portRangeShape: z.ZodType<PortRange, string> = z.string().transform((text, context) => {
  const match = /^(\d{1,5})-(\d{1,5})$/.exec(text);
  const [first, last] = [Number(match?.[1] ?? 0), Number(match?.[2] ?? 0)];
  if (first >= 1 && first <= last && last <= 0xffff) return { first: port(first), last: port(last) };
  context.addIssue({ code: 'custom', message: `not a range of ports such as 30000-32767: "${text}"` });
  return z.NEVER;
});

const nodePortAddressesShape: z.ZodType<'primary' | readonly Prefix[]> = z
  .union([z.null(), z.tuple([z.literal('primary')]), z.array(prefixShape)], {
    error: 'not null, ["primary"] or a list of address ranges',
  })
  .transform((value) => {
    if (value === null) return 'primary';
    const ranges = value.filter((one) => one !== 'primary');
    return ranges.length === 0 ? 'primary' : ranges;
  });

const selectionKeyShape: z.ZodType<readonly [number, number]> = z
  .string()
  .regex(/^[0-9a-fA-F]{16}$/, 'not 16 hexadecimal digits')
  .transform((text) => [Number.parseInt(text.slice(0, 8), 16), Number.parseInt(text.slice(8), 16)] as const);

const schema = z.strictObject({
  apiVersion: z.literal(API_VERSION),
  kind: z.literal(KIND),
  nodeName: z.string().trim().toLowerCase().default(''),
  zone: z.string().default(''),
  nodeIPs: z.array(addressShape).default([]),
  nodePortAddresses: nodePortAddressesShape.default('primary'),
  clusterCIDRs: z.array(prefixShape).default([]),
  serviceCIDRs: z.array(prefixShape).default([]),
  masqueradeAll: z.boolean().default(false),
  topology: z.boolean().default(true),
  serviceProxyName: z.string().min(1).nullable().default(null),
  nodePortRange: portRangeShape.default(NODE_PORT_RANGE_DEFAULT),
  hostPort: z.boolean().default(false),
  externalClusterIP: z.boolean().default(false),
  algorithm: z.enum(['hash', 'maglev']).default('hash'),
  selectionKey: selectionKeyShape.nullable().default(null),
  compatibility: z.literal('kube-proxy').default('kube-proxy'),
});

/** What a file may hold, for the JSON Schema of the configuration. */
export const configurationShape: z.ZodType<TandemConfiguration> = schema;

/** The names of all keys, for those who set them from flags or the environment. */
export const CONFIGURATION_KEYS: readonly string[] = Object.keys(schema.shape);

/** What holds where no file is given. */
export function defaultConfiguration(): TandemConfiguration {
  return schema.parse({ apiVersion: API_VERSION, kind: KIND });
}

/** A file that is not exactly a configuration is a failure of kind `input` that names line and key. */
export function readConfiguration(source: InputSource): Result<TandemConfiguration> {
  const file = typeof source === 'string' ? source : source.name;
  const text = readText(source, FILE_BYTES_MAX);
  if (!text.ok) return text;
  const { documents, failures } = parseDocuments(file, text.value);
  const [failure] = failures;
  if (failure !== undefined) return { ok: false, error: failure };
  const [document, second] = documents;
  if (document === undefined) return fail('input', file, 'the file is empty', `begin with kind: ${KIND}`);
  if (second !== undefined) return fail('input', `${file} line ${second.lineOf([])}`, 'a second document');
  return checkShape(file, schema, document.value, document.lineOf, CONFIGURATION_KEYS);
}
