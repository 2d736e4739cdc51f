// SPDX-License-Identifier: Apache-2.0
/** What kube-proxy answers on the health check ports of Services, beside what the document says of them. */
import { join } from 'node:path';
import type { EndpointSliceObject, ServiceObject } from '../../core/objects.ts';
import { endpointsOnce } from '../../proof/kubeproxy/alternatives.ts';
import { claimsOf } from '../../proof/kubeproxy/objects.ts';
import type { HealthAnswer } from '../cluster/healthasker.ts';
import type { ClusterNetwork } from '../cluster/network.ts';
import { node } from '../../proof/kubeproxy/places.ts';
import type { Taken } from '../cluster/comparison.ts';

/** A line per Service that has a port for it: those of kube-proxy, and those of the document. */
export function healthChecks(network: ClusterNetwork, taken: Taken): readonly [readonly string[], readonly string[]] {
  const claims = claimsOf(taken.services, taken.slices, []);
  const open = new Set(taken.services.filter((one) => isOpen(one, claims.slicesOf(one))).map(nameOf));
  const asked = taken.services.flatMap((service) => {
    const { spec } = service;
    const port = spec?.healthCheckNodePort ?? 0;
    const address = spec?.ipFamilies?.[0] === 'IPv6' ? `[${node.primary[1]}]` : node.primary[0];
    return port === 0 ? [] : [{ service: nameOf(service), url: `http://${address}:${port}/` }];
  });
  const script = join(import.meta.dirname, '..', 'cluster', 'healthasker.ts');
  const input = JSON.stringify(asked.map(({ url }) => url));
  const answers = JSON.parse(network.run('node', process.execPath, [script], input)) as readonly HealthAnswer[];
  const said = answers.flatMap(({ url, status, service, localEndpoints }) => {
    const port = url.slice(url.lastIndexOf(':') + 1, -1);
    return status === null || open.has(service)
      ? []
      : [`${service} ${port}: ${localEndpoints} local, status ${status}`];
  });
  const written = taken.document.healthChecks
    .filter(({ service }) => !open.has(service))
    .map(({ service, port, localEndpoints }) => {
      return `${service} ${port}: ${localEndpoints} local, status ${localEndpoints > 0 ? 200 : 503}`;
    });
  return [said.toSorted(), written.toSorted()];
}

function nameOf({ metadata }: ServiceObject): string {
  return `${metadata?.namespace}/${metadata?.name}`;
}

/**
 * kube-proxy counts local endpoints of slices that have no port of the Service as well, and upstream leaves open what
 * counts of an endpoint that is there twice: of such Services nothing is asked.
 */
function isOpen(service: ServiceObject, slices: readonly EndpointSliceObject[]): boolean {
  const ports = service.spec?.ports ?? [];
  const isForeign = slices.some(({ ports: offered }) =>
    (offered ?? []).some(
      ({ name, protocol }) => !ports.some((port) => (port.name ?? '') === name && port.protocol === protocol),
    ),
  );
  const isDoubled = ports.some(({ name = '', protocol = 'TCP' }) => {
    const port = { name, protocol: protocol.toLowerCase() };
    return endpointsOnce(service, slices, port).length > 0;
  });
  return isForeign || isDoubled;
}
