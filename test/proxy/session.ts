// SPDX-License-Identifier: Apache-2.0
/** A run of the differential: one cluster of machines, kube-proxy started anew for each round, all rules against the document. */
import { randomUUID } from 'node:crypto';
import { createStream } from '../../core/random.ts';
import { isRecord } from '../../formats/object.ts';
import { drawChange } from '../../proof/kubeproxy/changes.ts';
import { drawCluster, type RandomCluster } from '../../proof/kubeproxy/clusters.ts';
import { node, ownPods } from '../../proof/kubeproxy/places.ts';
import type { NodeSettings } from '../../proof/kubeproxy/settings.ts';
import { startApiServer, type ApiServer } from '../cluster/apiserver.ts';
import { startKubeProxy, type KubeProxy } from '../cluster/kubeproxy.ts';
import { comparisonOf, type Taken } from '../cluster/comparison.ts';
import { createNetwork, type ClusterNetwork } from '../cluster/network.ts';
import {
  createCluster,
  createNodes,
  inParallel,
  readBack,
  refusalOf,
  setZone,
  slicesPath,
} from '../cluster/objects.ts';

export type Session = {
  readonly network: ClusterNetwork;
  readonly server: ApiServer;
  readonly seed: number;
  readonly refusals: string[];
  proxy: KubeProxy | undefined;
  clusters: number;
};

export async function openSession(seed: number): Promise<Session> {
  const network = createNetwork();
  try {
    const server = await startApiServer(network);
    const session: Session = { network, server, seed, refusals: [], proxy: undefined, clusters: 0 };
    await createNodes(server, node.zone).catch(async (error: unknown) => {
      await server.stop();
      throw error;
    });
    return session;
  } catch (error) {
    network.remove();
    throw error;
  }
}

export async function closeSession({ network, server, proxy }: Session): Promise<void> {
  await proxy?.stop();
  await server.stop();
  network.remove();
}

/** Starts kube-proxy with the settings; what is in the API server it has to take in at once. */
export async function restartProxy(session: Session, settings: NodeSettings): Promise<KubeProxy> {
  await session.proxy?.stop();
  await setZone(session.server, settings.zone);
  session.proxy = startKubeProxy(session.network, session.server, settings);
  return session.proxy;
}

/** More clusters, with kube-proxy looking on. */
export async function addClusters(session: Session, count: number): Promise<readonly RandomCluster[]> {
  const first = session.clusters;
  session.clusters += count;
  const clusters = Array.from({ length: count }, (_, at) =>
    drawCluster(createStream(session.seed, first + at), first + at),
  );
  await inParallel(clusters, async (cluster) => {
    session.refusals.push(...(await createCluster(session.server, cluster)));
  });
  return clusters;
}

/** A change of some of the clusters that are there, with kube-proxy looking on. */
export async function changeClusters(session: Session, clusters: readonly RandomCluster[]): Promise<void> {
  await inParallel(clusters, async (cluster) => {
    const stream = createStream(session.seed, cluster.index, session.clusters);
    if (!stream.chance(0.5)) return;
    for (const { method, path, body } of drawChange(stream, cluster)) {
      session.refusals.push(...(await refusalOf(() => session.server.ask(method, path, body))));
    }
  });
}

/** A Service made after all else is served: so kube-proxy has seen all else too, in both of its watches. */
export async function waitForProxy({ server, proxy }: Session): Promise<void> {
  const name = `mark-${randomUUID().slice(0, 8)}`;
  const ports = [{ port: 80 }];
  const spec = { ipFamilyPolicy: 'RequireDualStack', ports };
  const made = await server.ask('POST', '/api/v1/namespaces/default/services', {
    ...{ apiVersion: 'v1', kind: 'Service', metadata: { name } },
    spec,
  });
  for (const [index, addressType] of ['IPv4', 'IPv6'].entries()) {
    await server.ask('POST', slicesPath('default'), {
      ...{ apiVersion: 'discovery.k8s.io/v1', kind: 'EndpointSlice', addressType },
      metadata: { name: `${name}-${index}`, labels: { 'kubernetes.io/service-name': name } },
      endpoints: [{ addresses: [`${ownPods.prefixes[index] ?? ''}9`], nodeName: node.name }],
      ports: [{ name: '', port: 8080 }],
    });
  }
  const addresses = isRecord(made) && isRecord(made['spec']) ? made['spec']['clusterIPs'] : undefined;
  if (!Array.isArray(addresses)) throw new Error('a Service without addresses');
  await proxy?.hasService(addresses.map(String), 80);
}

/** Rules and objects as they are now, and what the compiler makes of the objects. */
export async function takeComparison(session: Session, settings: NodeSettings): Promise<Taken> {
  const objects = await readBack(session.server);
  return comparisonOf(session.proxy?.readRules() ?? null, objects, settings);
}
