// SPDX-License-Identifier: Apache-2.0
/** The decision table, completely: whom each view of each kind of frontend serves, what it does empty, what a backend sees. */
import { describe, expect, test } from 'vitest';
import { createLoop } from '../../../agent/loop.ts';
import { addressText, parseAddress, parsePrefix } from '../../../core/address.ts';
import type { CompiledFrontend, CompiledServices, CompiledView } from '../../../core/control/tell/document.ts';
import type { EndpointObject, PodObject, ServiceObject } from '../../../core/objects.ts';
import type { FrontendKind, NodeConfig } from '../../../core/service.ts';
import { compile } from './compiled.ts';
import { MemoryStore } from './memory.ts';
import { added, deleted, EMPTY_LISTS, endpoint, NODE, pod, service, slice, tell } from './objects.ts';

const parsed = <T>(result: { ok: true; value: T } | { ok: false; error: { message: string } }): T => {
  if (!result.ok) throw new Error(result.error.message);
  return result.value;
};
const NODE_IP = parsed(parseAddress('192.0.2.10'));
const PODS = parsed(parsePrefix('10.0.0.0/8'));
const PODS_6 = parsed(parsePrefix('fd00:a::/64'));

const SERVICE_KINDS: readonly FrontendKind[] = ['ClusterIP', 'NodePort', 'LoadBalancer', 'ExternalIP'];
const POLICIES = ['Cluster', 'Local'] as const;
type Policy = (typeof POLICIES)[number];

const here = endpoint('10.0.0.1', { node: 'node-a' });
const there = endpoint('10.0.0.2', { node: 'node-b' });
const leaving = { ready: false, serving: true, terminating: true };
const leavingHere = endpoint('10.0.0.3', { node: 'node-a', ...leaving });
const leavingThere = endpoint('10.0.0.4', { node: 'node-b', ...leaving });
const unready = endpoint('10.0.0.5', { node: 'node-a', ready: false });

/** By hand: the cluster list, the local list, and whether anything is usable anywhere. */
const SITUATIONS: readonly {
  readonly name: string;
  readonly endpoints: readonly EndpointObject[];
  readonly cluster: readonly string[];
  readonly local: readonly string[];
  readonly usable: boolean;
}[] = [
  { name: 'nobody', endpoints: [], cluster: [], local: [], usable: false },
  { name: 'here and there', endpoints: [here, there], cluster: ['.1', '.2'], local: ['.1'], usable: true },
  { name: 'there only', endpoints: [there], cluster: ['.2'], local: [], usable: true },
  { name: 'not ready', endpoints: [unready], cluster: [], local: [], usable: false },
  { name: 'leaving there only', endpoints: [leavingThere, unready], cluster: ['.4'], local: [], usable: true },
  { name: 'leaving here, ready there', endpoints: [leavingHere, there], cluster: ['.2'], local: ['.3'], usable: true },
  { name: 'all leaving', endpoints: [leavingHere, leavingThere], cluster: ['.3', '.4'], local: ['.3'], usable: true },
];

type Expected = {
  readonly backends: readonly string[];
  readonly whenEmpty: string;
  readonly masquerade: string;
} | null;

type Situation = (typeof SITUATIONS)[number];
type Case = {
  readonly kind: FrontendKind;
  readonly iTP: Policy;
  readonly eTP: Policy;
  readonly situation: Situation;
  readonly config: Partial<NodeConfig>;
};

function listed(situation: Situation, policy: Policy, masquerade: string): NonNullable<Expected> {
  if (policy === 'Cluster') return { backends: situation.cluster, whenEmpty: 'reject', masquerade };
  return { backends: situation.local, whenEmpty: situation.usable ? 'drop' : 'reject', masquerade };
}

/** The table, row by row. */
function expected({ kind, iTP, eTP, situation, config }: Case): readonly [internal: Expected, external: Expected] {
  const offCluster = (config.clusterCIDRs ?? []).includes(PODS) ? 'off-cluster' : 'never';
  if (kind === 'ClusterIP') {
    const internal = listed(situation, iTP, config.masqueradeAll === true ? 'always' : offCluster);
    return [internal, config.externalClusterIP === true ? internal : null];
  }
  if (eTP === 'Cluster') return [listed(situation, 'Cluster', 'always'), listed(situation, 'Cluster', 'always')];
  return [listed(situation, 'Cluster', offCluster), listed(situation, 'Local', 'never')];
}

function made(iTP: Policy, eTP: Policy): ServiceObject {
  const object = service('web', '10.96.0.1', {
    type: 'LoadBalancer',
    internalTrafficPolicy: iTP,
    externalTrafficPolicy: eTP,
    externalIPs: ['198.51.100.2'],
    ports: [{ name: 'http', port: 80, nodePort: 30_080 }],
  });
  return { ...object, status: { loadBalancer: { ingress: [{ ip: '198.51.100.1' }] } } };
}

const CONFIGS: readonly Partial<NodeConfig>[] = [
  {},
  { clusterCIDRs: [PODS] },
  { clusterCIDRs: [PODS_6] },
  { masqueradeAll: true },
  { masqueradeAll: true, clusterCIDRs: [PODS] },
  { externalClusterIP: true, clusterCIDRs: [PODS] },
];

function brief(view: CompiledView | null): Expected {
  if (view === null) return null;
  const { backends, masquerade, whenEmpty } = view;
  return { backends: backends.map(({ address }) => address.slice('10.0.0'.length)), whenEmpty, masquerade };
}

function rowOf({ frontends }: CompiledServices, kind: FrontendKind): CompiledFrontend {
  const rows = frontends.filter((frontend) => frontend.kind === kind);
  expect(rows, kind).toHaveLength(1);
  return rows[0] as CompiledFrontend;
}

describe.each(SITUATIONS)('endpoints: $name', (situation) => {
  test.each(POLICIES.flatMap((iTP) => POLICIES.map((eTP) => [iTP, eTP] as const)))(
    'internal policy %s, external policy %s: both views of every kind',
    (iTP, eTP) => {
      for (const config of CONFIGS) {
        const events = [added(made(iTP, eTP)), added(slice('web', situation.endpoints))];
        const compiled = compile(events, { nodeIPs: [NODE_IP], ...config });
        for (const kind of SERVICE_KINDS) {
          const { external, internal } = rowOf(compiled, kind);
          const wanted = expected({ kind, iTP, eTP, situation, config });
          expect([brief(internal), brief(external)], `${kind} ${JSON.stringify(config)}`).toEqual(wanted);
        }
      }
    },
  );
});

test('A5, B4: the rest of a cluster address is refused, that of every other address is left alone', () => {
  const store = new MemoryStore();
  const node = { ...NODE, nodeIPs: [NODE_IP] };
  const loop = createLoop({ store, node, whyNot: () => undefined, onProblem: () => undefined });
  tell(loop, [...EMPTY_LISTS, added(made('Cluster', 'Cluster'))]);
  loop.step();
  const rows = store.keys().map(({ address, port }) => `${addressText(address)}:${port}`);
  expect(rows.toSorted()).toEqual([
    '10.96.0.1:0',
    '10.96.0.1:80',
    '192.0.2.10:30080',
    '198.51.100.1:80',
    '198.51.100.2:80',
  ]);
});

describe('who gets an address, port and protocol that several claim', () => {
  const AT = '192.0.2.10';
  const owner = (kind: FrontendKind, name: string, created = ''): ServiceObject | PodObject => {
    const metadata = { namespace: 'shop', name, ...(created === '' ? {} : { creationTimestamp: created }) };
    const last = name.charCodeAt(0);
    const own = service(name, kind === 'ClusterIP' ? AT : `10.96.1.${last}`, {
      ports: [{ name: 'http', port: kind === 'NodePort' ? 81 : 80, ...(kind === 'NodePort' ? { nodePort: 80 } : {}) }],
      ...(kind === 'ExternalIP' ? { externalIPs: [AT] } : {}),
    });
    if (kind === 'HostPort')
      return { ...pod(name, [`10.0.1.${last}`], [{ hostPort: 80, containerPort: 80 }]), metadata };
    const status = kind === 'LoadBalancer' ? { loadBalancer: { ingress: [{ ip: AT }] } } : {};
    return { ...own, metadata, status };
  };
  const holders = (compiled: CompiledServices): string[] =>
    compiled.frontends
      .filter(({ address, port }) => address === AT && port === 80)
      .map(({ kind, service: name }) => `${kind} ${name}`);
  const ORDER: readonly FrontendKind[] = ['ClusterIP', 'LoadBalancer', 'ExternalIP', 'NodePort', 'HostPort'];
  const CONFIG = { hostPort: true, nodeIPs: [NODE_IP] };

  test('the kind decides before age and name, each pair; the loser is told and takes over', () => {
    for (const [index, first] of ORDER.entries()) {
      for (const second of ORDER.slice(index + 1)) {
        const winner = owner(first, 'z', '2026-02-02T00:00:00Z');
        const loser = owner(second, 'a', '2026-01-01T00:00:00Z');
        for (const events of [
          [winner, loser],
          [loser, winner],
        ]) {
          const compiled = compile(events.map(added), CONFIG);
          expect(holders(compiled)).toEqual([`${first} shop/z`]);
          const told = compiled.problems.filter(
            ({ object, message }) => object.endsWith('shop/a') && !message.includes('nodePortRange'),
          );
          expect(told.map(({ message }) => message)).toEqual([
            expect.stringContaining(`${AT}:80/TCP belongs to ${first} of shop/z:`),
          ]);
          expect(holders(compile([...events.map(added), deleted(winner)], CONFIG))).toEqual([`${second} shop/a`]);
        }
      }
    }
  });

  test.each(ORDER)('%s: the older before the smaller name, no date before any, then the smaller name', (kind) => {
    const winnerOf = (...objects: readonly (ServiceObject | PodObject)[]): readonly string[] => {
      const both = [objects, objects.toReversed()].map((each) => holders(compile(each.map(added), CONFIG)));
      expect(both[0]).toEqual(both[1]);
      return both[0] ?? [];
    };
    const [early, late] = ['2026-01-01T00:00:00Z', '2026-01-01T00:00:01Z'];
    expect(winnerOf(owner(kind, 'a', late), owner(kind, 'z', early))).toEqual([`${kind} shop/z`]);
    expect(winnerOf(owner(kind, 'a', early), owner(kind, 'z'))).toEqual([`${kind} shop/z`]);
    expect(winnerOf(owner(kind, 'b', early), owner(kind, 'a', early), owner(kind, 'c', early))).toEqual([
      `${kind} shop/a`,
    ]);
  });
});

describe('health checks', () => {
  const checked = (spec: ServiceObject['spec']): ServiceObject =>
    service('web', '10.96.0.1', {
      type: 'LoadBalancer',
      externalTrafficPolicy: 'Local',
      healthCheckNodePort: 32_000,
      ...spec,
    });
  const checks = (object: ServiceObject, endpoints: readonly EndpointObject[]): unknown =>
    compile([
      added(object),
      added(slice('web', endpoints)),
      added(slice('web', endpoints, { slice: 'web-2' })),
    ]).healthChecks.map(({ port, localEndpoints }) => [port, localEndpoints]);

  test('ready endpoints of this node, each address once; leaving ones do not count', () => {
    expect(checks(checked({}), [here, there, leavingHere, unready])).toEqual([[32_000, 1]]);
    expect(checks(checked({}), [leavingHere])).toEqual([[32_000, 0]]);
    expect(checks(checked({}), [here, endpoint('10.0.0.9', { node: 'node-a' })])).toEqual([[32_000, 2]]);
  });

  test('only for load balancers with a Local policy and a port', () => {
    expect(checks(checked({ type: 'NodePort' }), [here])).toEqual([]);
    expect(checks(checked({ externalTrafficPolicy: 'Cluster' }), [here])).toEqual([]);
    expect(checks(checked({ healthCheckNodePort: 0 }), [here])).toEqual([]);
  });
});
