// SPDX-License-Identifier: Apache-2.0
/** Random clusters into a real API server, and the objects as it gives them back. */
import type { ClusterObject } from '../../core/objects.ts';
import { nodeObjects, type ClusterService, type RandomCluster } from '../../proof/kubeproxy/clusters.ts';
import { node } from '../../proof/kubeproxy/places.ts';
import { readManifests } from '../../formats/manifests.ts';
import { isRecord } from '../../formats/object.ts';
import type { ApiServer } from './apiserver.ts';

const AT_ONCE = 16;

/** All of them, some at once; the first failure ends it. */
export async function inParallel<T>(items: readonly T[], act: (item: T) => Promise<void>): Promise<void> {
  const open = items.values();
  const worker = async (): Promise<void> => {
    for (const item of open) await act(item);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, () => worker()));
}

export async function createNodes(server: ApiServer, zone: string | null): Promise<void> {
  for (const object of nodeObjects(zone)) await server.ask('POST', '/api/v1/nodes', object);
}

/** Of our own node; null takes the label away. */
export async function setZone(server: ApiServer, zone: string | null): Promise<void> {
  const metadata = { labels: { 'topology.kubernetes.io/zone': zone } };
  await server.ask('PATCH', `/api/v1/nodes/${node.name}`, { metadata });
}

/** What the API server refuses of a cluster, with its words. */
export async function createCluster(server: ApiServer, cluster: RandomCluster): Promise<readonly string[]> {
  const { namespace, services } = cluster;
  await server.ask('POST', '/api/v1/namespaces', {
    apiVersion: 'v1',
    kind: 'Namespace',
    metadata: { name: namespace },
  });
  const refusals: string[] = [];
  for (const each of services) refusals.push(...(await refusalOf(() => createService(server, namespace, each))));
  return refusals;
}

/** The words with which the API server refuses a request; none: it took it. */
export async function refusalOf(act: () => Promise<unknown>): Promise<readonly string[]> {
  try {
    await act();
    return [];
  } catch (error) {
    if (error instanceof Error && /"kind":"Status"/.test(error.message)) return [error.message];
    throw error;
  }
}

async function createService(server: ApiServer, namespace: string, drawn: ClusterService): Promise<void> {
  const { name, service, status, slices } = drawn;
  await server.ask('POST', `/api/v1/namespaces/${namespace}/services`, service);
  if (status !== null) await server.ask('PATCH', `/api/v1/namespaces/${namespace}/services/${name}/status`, { status });
  for (const slice of slices) await server.ask('POST', slicesPath(namespace), slice);
}

export function slicesPath(namespace: string): string {
  return `/apis/discovery.k8s.io/v1/namespaces/${namespace}/endpointslices`;
}

/** Everything that is there now, through the reader of manifests. */
export async function readBack(server: ApiServer): Promise<readonly ClusterObject[]> {
  const items: unknown[] = [];
  for (const path of ['/api/v1/nodes', '/api/v1/services', '/apis/discovery.k8s.io/v1/endpointslices']) {
    items.push(...itemsOf(await server.ask('GET', path)));
  }
  const bytes = Buffer.from(JSON.stringify({ apiVersion: 'v1', kind: 'List', items }));
  const { objects: read, failures } = readManifests([{ name: 'what the API server has.json', bytes }]);
  if (failures.length > 0) throw new Error(JSON.stringify(failures[0]));
  return read.map(({ object }) => object);
}

/** Lists don't repeat kind and apiVersion in their items. */
function itemsOf(list: unknown): readonly unknown[] {
  if (!isRecord(list) || typeof list['kind'] !== 'string' || !Array.isArray(list['items'])) throw new Error('no list');
  const kind = list['kind'].replace(/List$/, '');
  return list['items'].map((item: unknown) => {
    const { managedFields: _, ...metadata } = isRecord(item) && isRecord(item['metadata']) ? item['metadata'] : {};
    return { apiVersion: list['apiVersion'], kind, ...(isRecord(item) ? item : {}), metadata };
  });
}
