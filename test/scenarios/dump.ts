// SPDX-License-Identifier: Apache-2.0
/** The canonical dump of maps for people: names in place of hashes, and only what differs from the usual. */
import { parseProtocol } from '../../core/address.ts';
import type { ClusterState } from '../../core/control/cluster.ts';
import { hashHex, nameHash, podIdentity, servicePortText } from '../../core/control/names.ts';
import {
  SERVICE_DROP_WHEN_EXTERNAL_EMPTY,
  SERVICE_DROP_WHEN_INTERNAL_EMPTY,
  SERVICE_EXTERNAL,
  SERVICE_EXTERNAL_MASQUERADE,
  SERVICE_EXTERNAL_OFF_CLUSTER,
  SERVICE_INTERNAL_MASQUERADE,
  SERVICE_INTERNAL_OFF_CLUSTER,
} from '../../core/layout.gen.ts';

const NOBODY = '0000000000000000';
const FRONTEND =
  /^(\S+) (\S+) ([0-9a-f]{16}) flags=(\d+) affinity=(\d+) ranges=(.*?) internal=(.*?) external=(\[[^\]]*(?:\].*)?)$/;
/** A list of backends may be a table with many slots for each. */
const VIEW = /^\[(.*)\](?: (\S+))?$/;

/**
 * ```
 * 10.96.0.1:0/0 whole-address
 * 10.96.0.1:80/TCP cluster-ip default/web:http/TCP drop-internal
 * 192.0.2.10:30080/TCP node-port default/web:http/TCP outside masquerade-internal affinity=10800 ranges=[203.0.113.0/24]
 *   internal 10.0.0.1:8080 active ie pod-one, 10.0.0.2:8080 active i pod-two
 *   external 10.0.0.1:8080 active ie pod-one
 * node 192.0.2.10 local node-port primary
 * ```
 * `outside`: clients that are not on this node are answered too. An empty view has no line, and two that are alike have
 * one, `both`. `i`, `e`: the views that the backend is in.
 */
export function readableDump(text: string, cluster: ClusterState): string {
  if (text === '') return '';
  const names = knownNames(cluster);
  const lines = text.split('\n').flatMap((line) => readableLines(line));
  // Hashes of names that the cluster doesn't know stay as they are.
  const named = lines.map((line) => line.replaceAll(/\b[0-9a-f]{16}\b/g, (hash) => names.get(hash) ?? hash));
  return named.map((line) => `${servingText(line)}\n`).join('');
}

/** `serving default/dns:dns/UDP 10.0.0.1:8080/17 active`: the protocol is that of the Service port. */
function servingText(line: string): string {
  const [word, name = '', ...rest] = line.split(' ');
  return word === 'serving' ? `${word} ${name} ${rest.join(' ').replace(`${numberOf(name)} `, ' ')}` : line;
}

function readableLines(line: string): string[] {
  const match = FRONTEND.exec(line);
  if (match === null) return [withoutNobody(line)];
  const [, place = '', kind = '', name = '', flags = '', affinity = '', ranges = '', internal = '', external = ''] =
    match;
  const marks = [
    name === NOBODY ? '' : ` ${name}`,
    flagsText(Number(flags)),
    affinity === '0' ? '' : ` affinity=${affinity}`,
    ranges === '-' ? '' : ` ranges=${ranges}`,
  ];
  const head = `${place} ${kind}${marks.join('')}`;
  const protocol = numberOf(place);
  const [first, second] = [viewText(internal, protocol), viewText(external, protocol)];
  if (first === second) return first === '' ? [head] : [head, `  both ${first}`];
  const views = [first === '' ? '' : `  internal ${first}`, second === '' ? '' : `  external ${second}`];
  return [head, ...views.filter((view) => view !== '')];
}

const FLAGS: readonly (readonly [flag: number, word: string])[] = [
  [SERVICE_EXTERNAL, 'outside'],
  [SERVICE_DROP_WHEN_INTERNAL_EMPTY, 'drop-internal'],
  [SERVICE_DROP_WHEN_EXTERNAL_EMPTY, 'drop-external'],
  [SERVICE_INTERNAL_OFF_CLUSTER, 'masquerade-internal-off-cluster'],
  [SERVICE_INTERNAL_MASQUERADE, 'masquerade-internal'],
  [SERVICE_EXTERNAL_OFF_CLUSTER, 'masquerade-external-off-cluster'],
  [SERVICE_EXTERNAL_MASQUERADE, 'masquerade-external'],
];

function flagsText(flags: number): string {
  const words = FLAGS.filter(([flag]) => (flags & flag) !== 0).map(([, word]) => ` ${word}`);
  const rest = FLAGS.reduce((left, [flag]) => left & ~flag, flags);
  return `${words.join('')}${rest === 0 ? '' : ` flags=${rest}`}`;
}

/** `/6` of `10.96.0.1:80/TCP`, as its backends have it. */
function numberOf(place: string): string {
  const protocol = parseProtocol(place.slice(place.lastIndexOf('/') + 1));
  return protocol.ok ? `/${protocol.value}` : '';
}

/** A table is told by the slots that each backend has; that they are the right ones is the business of other tests. */
function viewText(view: string, protocol: string): string {
  const [, listed = '', algorithm] = VIEW.exec(view) ?? [view, view];
  if (listed === '') return '';
  const slots = new Map<string, number>();
  for (const slot of listed.split(', ')) slots.set(slot, (slots.get(slot) ?? 0) + 1);
  const backends = [...slots].map(([backend, count]) => {
    const text = withoutNobody(backend.replace(`${protocol} `, ' '));
    return count === 1 ? text : `${text} x${count}`;
  });
  return `${algorithm === undefined ? '' : `${algorithm} `}${backends.toSorted().join(', ')}`;
}

function withoutNobody(text: string): string {
  return text.replace(new RegExp(` +${NOBODY}$`), '');
}

function knownNames({ services, slices, pods }: ClusterState): Map<string, string> {
  const names = new Map<string, string>();
  for (const { namespace, name, ports } of services.values()) {
    for (const { name: portName, protocol } of ports) {
      const full = servicePortText({ namespace, name, portName, protocol });
      names.set(hashHex(nameHash(full)), full);
    }
  }
  for (const { namespace, name, hostPorts, uid } of pods.values()) {
    if (uid !== '') names.set(hashHex(podIdentity(uid)), uid);
    for (const { port, protocol } of hostPorts) {
      const full = servicePortText({ namespace, name, portName: `hostPort:${port}`, protocol });
      names.set(hashHex(nameHash(full)), full);
    }
  }
  for (const { endpoints } of slices.values())
    for (const { pod } of endpoints) if (pod !== '') names.set(hashHex(podIdentity(pod)), pod);
  return names;
}
