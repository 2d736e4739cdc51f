// SPDX-License-Identifier: Apache-2.0
/** The shapes of what `tandem compile --watch-stream`, `tandem compile --diff` and `tandem service` print. */
import * as z from 'zod';

import { apiVersion, count, moment } from './shapes.ts';

const port = z.int().min(1).max(65_535);
const protocol = z.enum(['TCP', 'UDP', 'SCTP']);
const family = z.enum(['IPv4', 'IPv6']);
const kind = z.enum(['ClusterIP', 'NodePort', 'LoadBalancer', 'ExternalIP', 'HostPort']);
const policy = z.enum(['Cluster', 'Local']);
const view = z
  .enum(['internal', 'external'])
  .describe('internal: pods and processes of this node; external: what arrives from elsewhere.');
const whenEmpty = z.enum(['reject', 'drop']);
const topology = z.enum(['none', 'zone', 'node']);
const topologyReason = z.enum([
  'followed',
  'switched-off',
  'local-policy',
  'no-ready-endpoints',
  'no-hints',
  'endpoint-without-hints',
  'zone-unknown',
  'no-hint-names-us',
]);
const masquerade = z.enum(['never', 'off-cluster', 'always']);
const exclusionReason = z.enum([
  'not-ready',
  'terminating',
  'not-local',
  'other-zone',
  'other-node',
  'other-family',
  'no-such-port',
  'duplicate',
  'invalid-address',
]);
const node = z.strictObject({ name: z.string(), zone: z.string().nullable() });
const problem = z.strictObject({ object: z.string(), field: z.string(), message: z.string() });
const said = z.string().nullable().describe('null: the slice does not say.');

const frontendName = {
  kind,
  service: z.string().describe('`namespace/name`.'),
  portName: z.string(),
  address: z.string(),
  port,
  protocol,
};

const value = z.union([z.string(), z.number(), z.array(z.string())]).nullable();
const setting = z.strictObject({ name: z.string(), from: value, to: value }).describe('null: there was or is none.');

const standing = z.strictObject({
  state: z.enum(['active', 'terminating', 'left-out', 'absent']),
  reason: exclusionReason.nullable().describe('Why it is left out.'),
});

const viewChange = z.strictObject({
  view,
  backends: z.strictObject({ from: count, to: count }).describe('How many may get a new connection.'),
  whenEmpty: whenEmpty.nullable().describe('As it is now; null: nobody can reach the view any more.'),
  endpoints: z.array(
    z.strictObject({
      address: z.string(),
      port: port.nullable().describe('null: its slice has no such port.'),
      node: said,
      zone: said,
      from: standing,
      to: standing,
      otherPod: z.boolean().describe('The same address and port, but surely another pod.'),
    }),
  ),
  settings: z.array(setting).describe('whenEmpty, topology, masquerade.'),
});

const told = z.strictObject({ topology, reason: topologyReason }).nullable();
const check = z.strictObject({ port, localEndpoints: count }).nullable();

const changes = z.strictObject({
  node: z.array(setting).describe('What of the node decides.'),
  frontends: z.array(
    z.strictObject({
      change: z.enum(['added', 'removed', 'changed']),
      ...frontendName,
      settings: z.array(setting).describe('affinitySeconds, sourceRanges, algorithm.'),
      views: z.array(viewChange),
    }),
  ),
  owners: z
    .array(z.strictObject({ from: z.strictObject(frontendName), to: z.strictObject(frontendName) }))
    .describe('Addresses and ports that went from one owner to another.'),
  topology: z.array(
    z.strictObject({ service: z.string(), portName: z.string(), protocol, family, from: told, to: told }),
  ),
  healthChecks: z.array(z.strictObject({ service: z.string(), from: check, to: check })),
  problems: z.strictObject({ appeared: z.array(problem), gone: z.array(problem) }),
});

export const compiledDifference: z.ZodType = z.strictObject({
  apiVersion,
  kind: z.literal('CompiledDifference'),
  equal: z.boolean().describe('Whether this node would serve the same; all lists of changes are empty then.'),
  from: z.string(),
  to: z.string(),
  changes,
});

const eventChanges = z.strictObject({
  kind: z.literal('EventChanges'),
  at: moment.nullable().describe('null: nothing says when.'),
  file: z.string(),
  line: z.int().min(1),
  event: z.strictObject({
    type: z.enum(['ADDED', 'MODIFIED', 'DELETED', 'LISTED', 'DISCONNECTED', 'BOOKMARK']),
    kind: z.enum(['Service', 'EndpointSlice', 'Node', 'Pod']),
    object: z.string().nullable().describe('`namespace/name`; null: the event is about a whole kind.'),
  }),
  changes,
});

const changesSummary = z
  .strictObject({
    kind: z.literal('ChangesSummary'),
    events: count,
    changed: count,
    unchanged: count,
    services: count,
    frontends: count,
  })
  .describe('The last line; services and frontends are those at the end.');

export const changesLine: z.ZodType = z.union([eventChanges, changesSummary]);

const shownView = z
  .strictObject({
    backends: z.array(
      z.strictObject({ address: z.string(), port, state: z.enum(['active', 'terminating']), node: said, zone: said }),
    ),
    leftOut: z.array(
      z.strictObject({
        address: z.string(),
        port: port.nullable(),
        node: said,
        reason: exclusionReason,
        why: z.string().describe('The reason in words, with what is in the way.'),
      }),
    ),
    whenEmpty,
    topology,
    topologyReason,
    masquerade,
  })
  .nullable()
  .describe('null: nobody can reach it.');

export const compiledService: z.ZodType = z.strictObject({
  apiVersion,
  kind: z.literal('CompiledService'),
  node,
  service: z.string(),
  type: z.string(),
  created: z.string().nullable(),
  notServed: z.string().nullable().describe('Why; null: it is served.'),
  internalPolicy: policy,
  externalPolicy: policy,
  affinitySeconds: z.int().min(1).nullable(),
  algorithm: z.enum(['hash', 'maglev']),
  clusterCIDRs: z.array(z.string()),
  slices: z.array(
    z.strictObject({
      name: z.string(),
      family: family.nullable(),
      ports: z.array(z.string()),
      endpoints: count,
      ready: count,
      headless: z.boolean().describe('Labelled so: it does not count.'),
    }),
  ),
  frontends: z.array(
    z.strictObject({
      ...frontendName,
      owner: z.strictObject(frontendName).nullable().describe('Who has it where it is somebody else.'),
      rivals: z.array(z.strictObject(frontendName)).describe('Who would get it if this Service went.'),
      sourceRanges: z.array(z.string()).nullable().describe('null: everyone.'),
      internal: shownView,
      external: shownView,
    }),
  ),
  topology: z.array(
    z.strictObject({
      portName: z.string(),
      protocol,
      family,
      topology,
      reason: topologyReason,
      ready: count,
      withoutHints: z.array(z.string()).describe('Ready endpoints that have none.'),
      hints: z.array(z.string()).describe('What the others name.'),
    }),
  ),
  healthCheck: z.strictObject({ port, localEndpoints: count, answer: z.literal([200, 503]) }).nullable(),
  problems: z.array(problem),
});

export const compiledServiceList: z.ZodType = z.strictObject({
  apiVersion,
  kind: z.literal('CompiledServiceList'),
  node,
  services: z.array(
    z.strictObject({
      service: z.string(),
      type: z.string(),
      served: z.boolean(),
      addresses: z.array(z.string()),
      ports: z.array(z.strictObject({ name: z.string(), port, protocol, nodePort: port.nullable() })),
      endpoints: z
        .strictObject({ ready: count, total: count })
        .describe('Of the family that has the most; each address once.'),
      unusual: z.array(z.string()),
    }),
  ),
  problems: z.array(problem).describe('Those of no Service.'),
});
