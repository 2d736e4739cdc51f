// SPDX-License-Identifier: Apache-2.0
/** What kube-proxy answers on the health check ports of Services, beside what the document says of them. */
import { join } from 'node:path';
import type { HealthAnswer } from '../cluster/healthasker.ts';
import type { ClusterNetwork } from '../cluster/network.ts';
import { node } from '../../proof/kubeproxy/places.ts';
import type { Taken } from '../cluster/comparison.ts';

/** A line per Service that has a port for it: those of kube-proxy, and those of the document. */
export function healthChecks(network: ClusterNetwork, taken: Taken): readonly [readonly string[], readonly string[]] {
  const asked = taken.services.flatMap(({ metadata, spec }) => {
    const port = spec?.healthCheckNodePort ?? 0;
    const address = spec?.ipFamilies?.[0] === 'IPv6' ? `[${node.primary[1]}]` : node.primary[0];
    return port === 0
      ? []
      : [{ service: `${metadata?.namespace}/${metadata?.name}`, url: `http://${address}:${port}/` }];
  });
  const script = join(import.meta.dirname, '..', 'cluster', 'healthasker.ts');
  const input = JSON.stringify(asked.map(({ url }) => url));
  const answers = JSON.parse(network.run('node', process.execPath, [script], input)) as readonly HealthAnswer[];
  const said = answers.flatMap(({ url, status, service, localEndpoints }) => {
    const port = url.slice(url.lastIndexOf(':') + 1, -1);
    return status === null ? [] : [`${service} ${port}: ${localEndpoints} local, status ${status}`];
  });
  const written = taken.document.healthChecks.map(({ service, port, localEndpoints }) => {
    return `${service} ${port}: ${localEndpoints} local, status ${localEndpoints > 0 ? 200 : 503}`;
  });
  return [said.toSorted(), written.toSorted()];
}
