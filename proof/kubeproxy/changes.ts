// SPDX-License-Identifier: Apache-2.0
/** Random changes of clusters that are already served, as requests to the API server. */
import type { Stream } from '../../core/random.ts';
import { drawAffinity, drawRanges, type ClusterService, type ObjectToSend, type RandomCluster } from './clusters.ts';
import { drawSlices } from './slices.ts';

export type Request = {
  readonly method: 'POST' | 'PATCH' | 'DELETE';
  readonly path: string;
  readonly body?: ObjectToSend;
};

const proxyName = 'service.kubernetes.io/service-proxy-name';

/** One change of one Service; what the API server may refuse is among them. */
export function drawChange(stream: Stream, { namespace, services }: RandomCluster): readonly Request[] {
  const drawn = stream.pick(services);
  const path = `/api/v1/namespaces/${namespace}/services/${drawn.name}`;
  const patch = (spec: ObjectToSend): readonly Request[] => [{ method: 'PATCH', path, body: { spec } }];
  switch (stream.below(8)) {
    case 0:
    case 1:
      return drawOtherSlices(stream, namespace, drawn);
    case 2:
      return patch({ internalTrafficPolicy: stream.pick(['Cluster', 'Local']) });
    case 3:
      return patch({ externalTrafficPolicy: stream.pick(['Cluster', 'Local']) });
    case 4:
      return patch(drawAffinity(stream));
    case 5:
      return patch(
        stream.chance(0.5)
          ? { type: stream.pick(['ClusterIP', 'NodePort']) }
          : { loadBalancerSourceRanges: drawRanges(stream) },
      );
    case 6: {
      const labels = { [proxyName]: stream.pick(['other', null]) };
      return [{ method: 'PATCH', path, body: { metadata: { labels } } }];
    }
    default:
      return [{ method: 'DELETE', path }];
  }
}

function drawOtherSlices(stream: Stream, namespace: string, { name, service }: ClusterService): readonly Request[] {
  const path = `/apis/discovery.k8s.io/v1/namespaces/${namespace}/endpointslices`;
  const made = drawSlices(stream, name, portsOf(service)).map((body): Request => ({ method: 'POST', path, body }));
  return [{ method: 'DELETE', path: `${path}?labelSelector=kubernetes.io%2Fservice-name%3D${name}` }, ...made];
}

function portsOf({ spec }: ObjectToSend): Parameters<typeof drawSlices>[2] {
  if (typeof spec !== 'object' || spec === null || !('ports' in spec) || !Array.isArray(spec.ports)) return [];
  return spec.ports as Parameters<typeof drawSlices>[2];
}
