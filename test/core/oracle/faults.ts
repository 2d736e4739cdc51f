// SPDX-License-Identifier: Apache-2.0
/** Wrong answers planted into a compiled document: what the comparison with the oracle must find. */
import type { CompiledFrontend, CompiledServices, CompiledView } from '../../../core/control/tell/document.ts';

/** The document with one wrong answer; undefined where there is no place for it. */
export type Plant = (document: CompiledServices) => CompiledServices | undefined;

type ViewName = 'internal' | 'external';

/** Changes the first row for which there is a change. */
function inRow(change: (row: CompiledFrontend) => CompiledFrontend | undefined): Plant {
  return (document) => {
    for (const [index, row] of document.frontends.entries()) {
      const changed = change(row);
      if (changed !== undefined) return { ...document, frontends: document.frontends.with(index, changed) };
    }
    return undefined;
  };
}

function inView(
  name: ViewName,
  change: (view: CompiledView, row: CompiledFrontend) => Partial<CompiledView> | undefined,
): Plant {
  return inRow((row) => {
    const view = row[name];
    const changed = view === null ? undefined : change(view, row);
    return view === null || changed === undefined ? undefined : { ...row, [name]: { ...view, ...changed } };
  });
}

function always(name: ViewName, change: (view: CompiledView, row: CompiledFrontend) => Partial<CompiledView>): Plant {
  return inView(name, (view, row) => (view.backends.length === 0 ? undefined : change(view, row)));
}

function swapEmpty(name: ViewName): Plant {
  return inView(name, ({ backends, whenEmpty }) =>
    backends.length > 0 ? undefined : { whenEmpty: whenEmpty === 'drop' ? 'reject' : 'drop' },
  );
}

function swapMasquerade(name: ViewName, from: CompiledView['masquerade'], to: CompiledView['masquerade']): Plant {
  return inView(name, ({ backends, masquerade }) =>
    backends.length === 0 || masquerade !== from ? undefined : { masquerade: to },
  );
}

/** An endpoint that was left out for this reason gets traffic beside the others. */
function letIn(reason: CompiledFrontend['excluded'][number]['reason']): Plant {
  return inRow((row) => {
    for (const { address, port, reason: why, view } of row.excluded) {
      const chosen = row[view];
      if (why !== reason || chosen === null || port === null) continue;
      const backend = { address, port, state: 'active' as const, node: null, zone: null };
      return { ...row, [view]: { ...chosen, backends: [...chosen.backends, backend] } };
    }
    return undefined;
  });
}

function inSourceRanges(change: (ranges: readonly string[] | null) => readonly string[] | null | undefined): Plant {
  return inRow((row) => {
    const sourceRanges = row.kind === 'LoadBalancer' ? change(row.sourceRanges) : undefined;
    return sourceRanges === undefined ? undefined : { ...row, sourceRanges };
  });
}

const KINDS: Readonly<Record<string, CompiledFrontend['kind']>> = {
  LoadBalancer: 'ExternalIP',
  ExternalIP: 'LoadBalancer',
};

export const FAULTS: readonly (readonly [string, Plant])[] = [
  ['a backend is lost to clients of the node', always('internal', ({ backends }) => ({ backends: backends.slice(1) }))],
  [
    'a backend is lost to clients from elsewhere',
    always('external', ({ backends }) => ({ backends: backends.slice(1) })),
  ],
  [
    'a backend gets the port of nobody',
    always('internal', ({ backends }) => ({ backends: backends.map((one) => ({ ...one, port: 9 })) })),
  ],
  ['an endpoint that is not ready gets traffic', letIn('not-ready')],
  ['an ending endpoint gets traffic beside ready ones', letIn('terminating')],
  ['an endpoint elsewhere gets traffic in spite of a Local policy', letIn('not-local')],
  ['an endpoint of another zone gets traffic in spite of hints', letIn('other-zone')],
  ['an endpoint of another node gets traffic in spite of hints', letIn('other-node')],
  ['an empty internal view drops for refuses, or refuses for drops', swapEmpty('internal')],
  ['an empty external view drops for refuses, or refuses for drops', swapEmpty('external')],
  ['the client is shown where the node should be', swapMasquerade('internal', 'always', 'never')],
  [
    'the client is shown to those from elsewhere where the node should be',
    swapMasquerade('external', 'always', 'never'),
  ],
  ['the node is shown where the client should be', swapMasquerade('internal', 'never', 'always')],
  ['the client from elsewhere is not kept', swapMasquerade('external', 'never', 'always')],
  ['pod ranges do not count', swapMasquerade('internal', 'off-cluster', 'never')],
  ['pod ranges count for nothing', swapMasquerade('internal', 'off-cluster', 'always')],
  [
    'a source range is lost',
    inSourceRanges((ranges) => (ranges === null || ranges.length === 0 ? undefined : ranges.slice(1))),
  ],
  ['everyone may come in spite of source ranges', inSourceRanges((ranges) => (ranges === null ? undefined : null))],
  ['nobody may come where nothing restricts it', inSourceRanges((ranges) => (ranges === null ? [] : undefined))],
  [
    'source ranges restrict a NodePort',
    inRow((row) => (row.kind === 'NodePort' ? { ...row, sourceRanges: ['203.0.113.0/24'] } : undefined)),
  ],
  [
    'a frontend has the wrong owner',
    inRow((row) => ({ ...row, service: row.service === 'shop/web' ? 'shop/zoo' : 'shop/web' })),
  ],
  ['a frontend has the wrong port of its owner', inRow((row) => ({ ...row, portName: `${row.portName}x` }))],
  [
    'a load balancer is taken for an external address',
    inRow((row) => {
      const kind = KINDS[row.kind];
      return kind === undefined ? undefined : { ...row, kind };
    }),
  ],
  ['a frontend is missing', (document) => without(document, (row) => row.kind === 'ClusterIP')],
  ['a NodePort is missing on an address', (document) => without(document, (row) => row.kind === 'NodePort')],
  ['a host port is missing', (document) => without(document, (row) => row.kind === 'HostPort')],
  [
    'a NodePort is served on an address that should not',
    (document) => {
      const row = document.frontends.find(({ address, kind }) => kind === 'NodePort' && !address.includes(':'));
      return row && { ...document, frontends: [...document.frontends, { ...row, address: '192.0.2.199' }] };
    },
  ],
  ['a frontend has another protocol', inRow((row) => ({ ...row, protocol: row.protocol === 'TCP' ? 'SCTP' : 'TCP' }))],
  [
    'a ClusterIP is closed to the node',
    inRow((row) => (row.kind === 'ClusterIP' && row.internal !== null ? { ...row, internal: null } : undefined)),
  ],
  [
    'a ClusterIP is open to those from elsewhere',
    inRow((row) => (row.external === null ? { ...row, external: row.internal } : undefined)),
  ],
  [
    'an external frontend is closed to those from elsewhere',
    inRow((row) => (row.kind !== 'ClusterIP' ? { ...row, external: null } : undefined)),
  ],
  [
    'a Local policy gives clients from elsewhere the whole list',
    inRow((row) =>
      row.external === null || JSON.stringify(row.external.backends) === JSON.stringify(row.internal?.backends)
        ? undefined
        : { ...row, external: row.internal },
    ),
  ],
  ['a health check is lost', (document) => withHealth(document, () => [])],
  [
    'a health check counts one too many',
    (document) => withHealth(document, (check) => [{ ...check, localEndpoints: check.localEndpoints + 1 }]),
  ],
  ['affinity is lost', inRow((row) => (row.affinitySeconds === null ? undefined : { ...row, affinitySeconds: null }))],
];

function without(
  document: CompiledServices,
  isMeant: (row: CompiledFrontend) => boolean,
): CompiledServices | undefined {
  const index = document.frontends.findIndex(isMeant);
  return index < 0 ? undefined : { ...document, frontends: document.frontends.toSpliced(index, 1) };
}

type Health = CompiledServices['healthChecks'][number];

function withHealth(document: CompiledServices, change: (check: Health) => Health[]): CompiledServices | undefined {
  const [first, ...rest] = document.healthChecks;
  return first && { ...document, healthChecks: [...change(first), ...rest] };
}
