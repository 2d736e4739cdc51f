// SPDX-License-Identifier: Apache-2.0
/** Where compiler and oracle read the contract differently: a closed list, each entry with the rule that decides. */
import { addressText, parseAddress } from '../../../core/address.ts';
import type { ClusterObject, EndpointObject, EndpointSliceObject } from '../../../core/objects.ts';
import type { Difference } from './compare.ts';
import { elsewhere, endpoint, slice, web } from './world.ts';

export type KnownDifference = {
  readonly rule: string;
  readonly sentence: string;
  readonly explains: (difference: Difference, objects: readonly ClusterObject[]) => boolean;
  /** A cluster that shows it: once it no longer does, the entry must go. */
  readonly example: readonly ClusterObject[];
};

const HEALTH = { type: 'LoadBalancer', externalTrafficPolicy: 'Local', healthCheckNodePort: 32_000 };

export const KNOWN_DIFFERENCES: readonly KnownDifference[] = [
  {
    rule: 'H4',
    sentence: 'of an address twice in one slice the later one counts unless it is terminating',
    // Random clusters have none.
    explains: () => false,
    example: [web({ internalTrafficPolicy: 'Local' }), slice('a', [elsewhere('10.0.0.1'), endpoint('10.0.0.1')])],
  },
  {
    rule: 'H4, F1',
    sentence: 'a health check counts what is left of doubled addresses, not all that are listed',
    explains: ({ kind, service }, objects) => kind === 'count' && losesReadyOne(slicesOf(service, objects)),
    example: [
      web(HEALTH),
      slice('a', [endpoint('10.0.0.1', { conditions: { ready: true, serving: true, terminating: true } })]),
      slice('b', [elsewhere('10.0.0.1')]),
    ],
  },
  {
    rule: 'A8',
    sentence: 'what is no port number is no health check port',
    // Random clusters have none.
    explains: () => false,
    example: [web({ ...HEALTH, healthCheckNodePort: -1 })],
  },
  {
    rule: 'H1, F1',
    sentence: 'a health check counts in the family of the first of clusterIPs, whatever clusterIP says',
    explains: ({ kind, service }, objects) => kind === 'count' && hasTwoMinds(service, objects),
    example: [
      web({ ...HEALTH, clusterIP: 'none', clusterIPs: ['fd00:96::1', '10.96.0.1'], ipFamilies: ['IPv6', 'IPv4'] }),
      slice('a', [endpoint('fd00:1::1')]),
    ],
  },
];

/** Of the last state of each slice. */
function slicesOf(service: string, objects: readonly ClusterObject[]): EndpointSliceObject[] {
  const last = new Map<string, EndpointSliceObject>();
  for (const object of objects) {
    if (object.kind === 'EndpointSlice') last.set(`${object.metadata?.namespace}/${object.metadata?.name}`, object);
  }
  return [...last.values()].filter(
    ({ metadata }) => `${metadata?.namespace}/${metadata?.labels?.['kubernetes.io/service-name']}` === service,
  );
}

/** The API server keeps both fields equal. */
function hasTwoMinds(service: string, objects: readonly ClusterObject[]): boolean {
  return objects.some((object) => {
    if (object.kind !== 'Service') return false;
    const { metadata, spec } = object;
    const [first = spec?.clusterIP] = spec?.clusterIPs ?? [];
    return `${metadata?.namespace}/${metadata?.name}` === service && first !== spec?.clusterIP;
  });
}

/** Whether a ready one that is ending has a copy in another slice, which may count in its place. */
function losesReadyOne(slices: readonly EndpointSliceObject[]): boolean {
  const copies = slices.flatMap((one) => endpointsOf(one));
  return copies.some(
    ({ conditions, ...one }) =>
      conditions?.terminating === true &&
      conditions.ready !== false &&
      copies.filter((other) => addressOf(other) === addressOf(one)).length > 1,
  );
}

function endpointsOf({ endpoints }: EndpointSliceObject): readonly EndpointObject[] {
  return Array.isArray(endpoints) ? endpoints.filter((one: unknown) => typeof one === 'object' && one !== null) : [];
}

const NOTHING = { ok: false } as const;

function addressOf({ addresses }: EndpointObject): string | undefined {
  const [first] = addresses ?? [];
  const parsed = typeof first === 'string' ? parseAddress(first) : NOTHING;
  return parsed.ok ? addressText(parsed.value) : undefined;
}
