// SPDX-License-Identifier: Apache-2.0
/** kube-proxy's rules for a small cluster, and the objects that it had, as they were recorded in fixtures/kube-proxy. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { readManifests } from '../../formats/manifests.ts';
import type { Json } from '../../proof/kubeproxy/faults.ts';
import { rounds } from '../../proof/kubeproxy/settings.ts';
import { comparisonOf, type Taken } from '../cluster/comparison.ts';

const folder = join(import.meta.dirname, '../../fixtures/kube-proxy');

/** What `nft` printed; a copy of its own for everybody who changes it. */
export function recordedRules(): Json {
  return JSON.parse(readFileSync(join(folder, 'rules.json'), 'utf8')) as Json;
}

/** Rules, objects and the document compiled now, ready to be compared. */
export function recordedComparison(): Taken {
  const [settings] = rounds;
  if (settings === undefined) throw new Error('no round');
  const { objects, failures } = readManifests([join(folder, 'objects.json')]);
  if (failures.length > 0) throw new Error(JSON.stringify(failures));
  return comparisonOf(
    recordedRules(),
    objects.map(({ object }) => object),
    settings,
  );
}
