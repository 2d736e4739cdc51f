// SPDX-License-Identifier: Apache-2.0
/** A program: a small cluster's objects and kube-proxy's rules for them into fixtures/kube-proxy. Arguments: seed, clusters. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { rounds } from '../../proof/kubeproxy/settings.ts';
import { addClusters, closeSession, openSession, restartProxy, takeComparison, waitForProxy } from './session.ts';

const [seed = '1', clusters = '3'] = process.argv.slice(2);
const folder = join(import.meta.dirname, '../../fixtures/kube-proxy');
const [settings] = rounds;
if (settings === undefined) throw new Error('no round');

const session = await openSession(Number(seed));
try {
  await restartProxy(session, settings);
  await addClusters(session, Number(clusters));
  await waitForProxy(session);
  const { printed, objects } = await takeComparison(session, settings);
  mkdirSync(folder, { recursive: true });
  // A line an object: what a change of the recording changes can be seen.
  const lines = (list: readonly unknown[]): string => list.map((one) => JSON.stringify(one)).join(',\n');
  writeFileSync(join(folder, 'objects.json'), `{"apiVersion":"v1","kind":"List","items":[\n${lines(objects)}\n]}\n`);
  const items = typeof printed === 'object' && printed !== null && 'nftables' in printed ? printed['nftables'] : [];
  writeFileSync(join(folder, 'rules.json'), `{"nftables":[\n${lines(Array.isArray(items) ? items : [])}\n]}\n`);
} finally {
  await closeSession(session);
}
