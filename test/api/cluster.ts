// SPDX-License-Identifier: Apache-2.0
/** Objects for a real API server, and what its lists and a recording of its watches come to. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { applyEvent, emptyCluster } from '../../core/control/cluster.ts';
import { compiledTable, compileServices } from '../../core/control/tell/document.ts';
import type { ClusterEvent } from '../../core/objects.ts';
import { defaultConfiguration } from '../../formats/config.ts';
import { readEventStreams } from '../../formats/events.ts';
import { readManifests } from '../../formats/manifests.ts';
import { isRecord } from '../../formats/object.ts';
import type { ApiServer } from '../cluster/apiserver.ts';

export const servicesPath = '/api/v1/namespaces/default/services';
export const slicesPath = '/apis/discovery.k8s.io/v1/namespaces/default/endpointslices';
const nodesPath = '/api/v1/nodes';

export function service(name: string): Record<string, unknown> {
  const ports = [{ name: 'http', port: 80, protocol: 'TCP', targetPort: 8080 }];
  return { apiVersion: 'v1', kind: 'Service', metadata: { name }, spec: { selector: { app: name }, ports } };
}

/** `addresses` of pods on node-1, each ready. */
export function slice(name: string, of: string, addresses: readonly string[]): Record<string, unknown> {
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name, labels: { 'kubernetes.io/service-name': of } },
    addressType: 'IPv4',
    endpoints: addresses.map((address) => ({
      addresses: [address],
      conditions: { ready: true, serving: true, terminating: false },
      nodeName: 'node-1',
    })),
    ports: [{ name: 'http', port: 8080, protocol: 'TCP' }],
  };
}

export async function createNodes(server: ApiServer, ...names: readonly string[]): Promise<void> {
  for (const name of names) {
    const metadata = { name, labels: { 'topology.kubernetes.io/zone': 'zone-1' } };
    await server.ask('POST', nodesPath, { apiVersion: 'v1', kind: 'Node', metadata });
  }
}

/** Twenty at once. */
export async function createMany(server: ApiServer, path: string, objects: readonly unknown[]): Promise<void> {
  for (let from = 0; from < objects.length; from += 20) {
    await Promise.all(objects.slice(from, from + 20).map((object) => server.ask('POST', path, object)));
  }
}

/** What `kubectl get nodes,services,endpointslices -A -o json` would print, as the file's path. */
export async function saveLists(server: ApiServer): Promise<string> {
  const items: unknown[] = [];
  const paths = [nodesPath, '/api/v1/services', '/apis/discovery.k8s.io/v1/endpointslices'];
  for (const path of paths) items.push(...itemsOf(await server.ask('GET', path)));
  const file = join(server.folder, 'lists.json');
  writeFileSync(file, JSON.stringify({ apiVersion: 'v1', kind: 'List', items }));
  return file;
}

function itemsOf(list: unknown): readonly unknown[] {
  if (!isRecord(list) || typeof list['kind'] !== 'string' || !Array.isArray(list['items'])) throw new Error('no list');
  const kind = list['kind'].replace(/List$/, '');
  return list['items'].map((item: unknown) => {
    const { managedFields: _, ...metadata } = isRecord(item) && isRecord(item['metadata']) ? item['metadata'] : {};
    return { apiVersion: list['apiVersion'], kind, ...(isRecord(item) ? item : {}), metadata };
  });
}

/** The table of `tandem compile -o table`, and every object as it was last heard, by kind and name. */
export type Meaning = { readonly table: string; readonly objects: ReadonlyMap<string, unknown> };

export function meaningOfRecording(path: string): Meaning {
  const { events, failures, problems } = readEventStreams([path]);
  if (failures.length + problems.length > 0) throw new Error(JSON.stringify([...failures, ...problems]));
  return meaningOf(events.map(({ event }) => event));
}

export function meaningOfLists(path: string): Meaning {
  const { objects } = readManifests([path]);
  return meaningOf(objects.map(({ object }) => ({ type: 'ADDED', object })));
}

function meaningOf(events: readonly ClusterEvent[]): Meaning {
  let cluster = emptyCluster();
  const objects = new Map<string, unknown>();
  for (const event of events) {
    cluster = applyEvent(cluster, event).state;
    if (event.type === 'LISTED') {
      for (const key of objects.keys()) if (key.startsWith(`${event.kind} `)) objects.delete(key);
      for (const item of event.items) objects.set(`${event.kind} ${item.metadata?.name ?? ''}`, bare(item));
    } else if ('object' in event) {
      const key = `${event.object.kind} ${event.object.metadata?.name ?? ''}`;
      if (event.type === 'DELETED') objects.delete(key);
      else objects.set(key, bare(event.object));
    }
  }
  const sorted = new Map([...objects].toSorted(([left], [right]) => (left < right ? -1 : 1)));
  return { table: compiledTable(compileServices(cluster, defaultConfiguration())), objects: sorted };
}

/** Items of API lists do not repeat their apiVersion. */
function bare(object: object): unknown {
  return { ...object, apiVersion: undefined };
}
