// SPDX-License-Identifier: Apache-2.0
/** Which frontend a planted fault is planted at: the first, in the order of the document, that shows such a fault. */
import type { CompiledFrontend } from '../../core/control/tell/document.ts';
import type { FrontendKey } from '../../proof/kubeproxy/answer.ts';
import { isOwnAddress } from '../../proof/kubeproxy/derive.ts';
import { keyOf } from '../../proof/kubeproxy/expected.ts';
import type { Fault, FaultNeeds, Json } from '../../proof/kubeproxy/faults.ts';
import { claimsOf } from '../../proof/kubeproxy/objects.ts';
import type { Taken } from './comparison.ts';

const shows: Readonly<Record<FaultNeeds, (row: CompiledFrontend) => boolean>> = {
  cluster: ({ kind, internal }) => kind === 'ClusterIP' && (internal?.backends.length ?? 0) > 1,
  external: ({ kind, external }) =>
    (kind === 'LoadBalancer' || kind === 'ExternalIP') &&
    external?.masquerade === 'always' &&
    external.backends.some(({ address }) => !isOwnAddress(address)),
  refusing: ({ kind, internal }) =>
    kind === 'ClusterIP' && internal?.backends.length === 0 && internal.whenEmpty === 'reject',
  // Of a ClusterIP it would not be missed: what is known of no port is refused as well.
  'refusing-external': ({ kind, external, sourceRanges }) =>
    (kind === 'LoadBalancer' || kind === 'ExternalIP') &&
    sourceRanges === null &&
    external?.backends.length === 0 &&
    external.whenEmpty === 'reject',
  ranges: ({ sourceRanges }) => (sourceRanges?.length ?? 0) > 1,
  affinity: ({ kind, affinitySeconds, internal }) =>
    kind === 'ClusterIP' && affinitySeconds !== null && (internal?.backends.length ?? 0) > 0,
};

/** Rows that show such a fault and of which nobody else claims the frontend. */
function rowsFor({ services, slices, document }: Taken, needs: FaultNeeds): readonly CompiledFrontend[] {
  const claims = claimsOf(services, slices, []);
  return document.frontends.filter((row) => claims.of(keyOf(row)).length === 1 && shows[needs](row));
}

/** Plants it; undefined: nowhere to be planted. */
export function frontendFor(taken: Taken, fault: Fault, printed: Json): FrontendKey | undefined {
  return rowsFor(taken, fault.needs)
    .map(keyOf)
    .find((frontend) => fault.plant(printed, frontend));
}

export function rowFor(taken: Taken, needs: FaultNeeds): CompiledFrontend {
  const [row] = rowsFor(taken, needs);
  if (row === undefined) throw new Error(`no frontend of the kind ${needs}`);
  return row;
}

/** Edits in nft's own language, as somebody might make them by hand. */
export const nftFaults: readonly {
  readonly needs: FaultNeeds;
  readonly commandsOf: (frontend: FrontendKey) => string;
}[] = [
  {
    needs: 'cluster',
    commandsOf: (frontend) =>
      `delete element ${familyOf(frontend)} kube-proxy service-ips { ${elementOf(frontend)} }\n`,
  },
  {
    needs: 'refusing',
    commandsOf: (frontend) => {
      const map = `${familyOf(frontend)} kube-proxy no-endpoint-services`;
      const element = elementOf(frontend);
      return `delete element ${map} { ${element} }\nadd element ${map} { ${element} : drop }\n`;
    },
  },
];

function familyOf({ address }: FrontendKey): string {
  return address.includes(':') ? 'ip6' : 'ip';
}

function elementOf({ address, protocol, port }: FrontendKey): string {
  return `${address} . ${protocol} . ${port}`;
}
