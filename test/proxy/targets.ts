// SPDX-License-Identifier: Apache-2.0
/** Which frontend a planted fault is planted at: the first, in the order of the document, that shows such a fault. */
import type { CompiledFrontend } from '../../core/control/document.ts';
import type { FrontendKey } from '../../proof/kubeproxy/answer.ts';
import { isOwnAddress } from '../../proof/kubeproxy/derive.ts';
import { keyOf } from '../../proof/kubeproxy/expected.ts';
import type { Fault, FaultNeeds, Json } from '../../proof/kubeproxy/faults.ts';
import { claimsOf } from '../../proof/kubeproxy/objects.ts';
import type { Taken } from './session.ts';

const shows: Readonly<Record<FaultNeeds, (row: CompiledFrontend) => boolean>> = {
  cluster: ({ kind, internal }) => kind === 'ClusterIP' && (internal?.backends.length ?? 0) > 1,
  external: ({ kind, external }) =>
    (kind === 'LoadBalancer' || kind === 'ExternalIP') &&
    external?.masquerade === 'always' &&
    external.backends.some(({ address }) => !isOwnAddress(address)),
  refusing: ({ kind, internal }) =>
    kind === 'ClusterIP' && internal?.backends.length === 0 && internal.whenEmpty === 'reject',
  ranges: ({ sourceRanges }) => (sourceRanges?.length ?? 0) > 1,
  affinity: ({ kind, affinitySeconds, internal }) =>
    kind === 'ClusterIP' && affinitySeconds !== null && (internal?.backends.length ?? 0) > 0,
};

/** Plants it; undefined: nowhere to be planted. */
export function frontendFor(taken: Taken, fault: Fault, printed: Json): FrontendKey | undefined {
  const claims = claimsOf(taken.services, taken.slices, []);
  for (const row of taken.document.frontends) {
    const frontend = keyOf(row);
    const isContested = claims.of(frontend).length !== 1;
    if (!isContested && shows[fault.needs](row) && fault.plant(printed, frontend)) return frontend;
  }
  return undefined;
}
