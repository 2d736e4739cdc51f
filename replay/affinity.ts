// SPDX-License-Identifier: Apache-2.0
/** Which Services keep their clients on one backend: what the oracle permits for those depends on the past. */
import type { ClusterEvent, ClusterObject } from '../core/objects.ts';

/** Brings the names (`namespace/name`) of Services with client affinity up to date. */
export function noteAffinity(sticky: Set<string>, event: ClusterEvent): void {
  if (event.type === 'LISTED' && event.kind === 'Service') sticky.clear();
  const objects: readonly ClusterObject[] =
    event.type === 'LISTED' ? event.items : 'object' in event ? [event.object] : [];
  for (const object of objects) {
    if (object.kind !== 'Service') continue;
    const name = `${object.metadata?.namespace ?? ''}/${object.metadata?.name ?? ''}`;
    if (event.type !== 'DELETED' && object.spec?.sessionAffinity === 'ClientIP') sticky.add(name);
    else sticky.delete(name);
  }
}

/** Whether a Service port, `namespace/name:port`, is one of such a Service. */
export function isSticky(sticky: ReadonlySet<string>, servicePort: string): boolean {
  return sticky.has(servicePort.split(':', 1)[0] ?? '');
}
