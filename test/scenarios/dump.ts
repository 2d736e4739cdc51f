// SPDX-License-Identifier: Apache-2.0
/** The canonical dump of maps with names in place of hashes, a line for each part that a person looks for. */
import type { ClusterState } from '../../core/control/cluster.ts';
import { hashHex, nameHash, podIdentity, servicePortText } from '../../core/control/names.ts';

const NOBODY = '0000000000000000';

/** Hashes of names that the cluster doesn't know stay as they are. */
export function readableDump(text: string, cluster: ClusterState): string {
  if (text === '') return '';
  const names = knownNames(cluster);
  const named = text.replaceAll(/\b[0-9a-f]{16}\b/g, (hash) => names.get(hash) ?? hash);
  const lines = named.split('\n').map((line) => line.replaceAll(/ (internal|external)=/g, '\n  $1='));
  return `${lines.join('\n')}\n`;
}

function knownNames({ services, slices, pods }: ClusterState): Map<string, string> {
  const names = new Map([[NOBODY, '-']]);
  for (const { namespace, name, ports } of services.values()) {
    for (const { name: portName, protocol } of ports) {
      const full = servicePortText({ namespace, name, portName, protocol });
      names.set(hashHex(nameHash(full)), full);
    }
  }
  for (const { namespace, name, hostPorts, uid } of pods.values()) {
    names.set(hashHex(podIdentity(uid)), uid);
    for (const { port, protocol } of hostPorts) {
      const full = servicePortText({ namespace, name, portName: `hostPort:${port}`, protocol });
      names.set(hashHex(nameHash(full)), full);
    }
  }
  for (const { endpoints } of slices.values())
    for (const { pod } of endpoints) if (pod !== '') names.set(hashHex(podIdentity(pod)), pod);
  return names;
}
