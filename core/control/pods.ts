// SPDX-License-Identifier: Apache-2.0
/** Pods with host ports: the only pods that the control plane reads. */
import { parseAddress, type Address, type Port, type Protocol } from '../address.ts';
import type { PodObject } from '../objects.ts';
import type { Problem } from '../service.ts';
import { decodedOnce, identity } from './decode.ts';
import { familyOf } from './families.ts';
import {
  fieldsOf,
  listOf,
  portField,
  protocolField,
  report,
  shown,
  textOf,
  type Fields,
  type Findings,
} from './fields.ts';
import { serviceText } from './names.ts';

export type HostPortInfo = {
  /** Place in the pod, for problems. */
  readonly field: string;
  readonly port: Port;
  readonly containerPort: Port;
  readonly protocol: Protocol;
  /** null: every address of the node that serves NodePorts; a wildcard of one family: those of that family. */
  readonly address: Address | null;
};

export type PodInfo = {
  readonly key: string;
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly created: string;
  readonly node: string;
  /** At most one of each family. */
  readonly addresses: readonly Address[];
  readonly hostPorts: readonly HostPortInfo[];
  readonly problems: readonly Problem[];
};

const OWNER_PREFIX = 'Pod ';

/** The name under which a pod's frontends are computed, beside those of Services. */
export function ownerOfPod(key: string): string {
  return `${OWNER_PREFIX}${key}`;
}

/** The pod that an owner's name stands for; undefined: it is a Service. */
export function podOfOwner(owner: string): string | undefined {
  return owner.startsWith(OWNER_PREFIX) ? owner.slice(OWNER_PREFIX.length) : undefined;
}

/** undefined: it has no name, or nothing to serve or to tell: no host port, no address, the node's network, or ended. */
export const decodePod: (object: PodObject) => PodInfo | undefined = decodedOnce(readPod);

function readPod(object: PodObject): PodInfo | undefined {
  const id = identity(object.metadata);
  const spec = fieldsOf(object.spec);
  const status = fieldsOf(object.status);
  const hasEnded = status['phase'] === 'Succeeded' || status['phase'] === 'Failed';
  if (id === undefined || spec['hostNetwork'] === true || hasEnded) return undefined;
  const key = serviceText(id.namespace, id.name);
  const findings: Findings = { object: `Pod ${key}`, problems: [] };
  const hostPorts = [...containers(spec)].flatMap(([at, container]) => hostPortsOf(findings, at, container));
  const addresses = podAddresses(status);
  // One whose only host port can't be used is kept, so that this is told.
  const hasNothing = hostPorts.length === 0 && findings.problems.length === 0;
  if (hasNothing || addresses.length === 0) return undefined;
  const metadata = fieldsOf(object.metadata);
  return {
    key,
    ...id,
    uid: textOf(metadata['uid']),
    created: textOf(metadata['creationTimestamp']),
    node: textOf(spec['nodeName']),
    addresses,
    hostPorts,
    problems: findings.problems,
  };
}

/** Those that run as long as the pod: of the init containers the ones that are restarted. */
function* containers(spec: Fields): Iterable<readonly [at: string, container: Fields]> {
  for (const [index, item] of listOf(spec['initContainers']).entries()) {
    const container = fieldsOf(item);
    if (container['restartPolicy'] === 'Always') yield [`spec.initContainers[${index}]`, container];
  }
  for (const [index, item] of listOf(spec['containers']).entries()) yield [`spec.containers[${index}]`, fieldsOf(item)];
}

function hostPortsOf(findings: Findings, at: string, container: Fields): HostPortInfo[] {
  return listOf(container['ports']).flatMap((item, index) => {
    const fields = fieldsOf(item);
    if (fields['hostPort'] === undefined || fields['hostPort'] === null || fields['hostPort'] === 0) return [];
    const field = `${at}.ports[${index}]`;
    const number = portField(findings, `${field}.hostPort`, fields['hostPort']);
    const containerPort = portField(findings, `${field}.containerPort`, fields['containerPort']);
    const protocol = protocolField(findings, `${field}.protocol`, fields['protocol']);
    const given = textOf(fields['hostIP']);
    const parsed = given === '' ? undefined : parseAddress(given);
    if (parsed?.ok === false) report(findings, `${field}.hostIP`, `not an IP address: ${shown(given)}`);
    if (number === null || containerPort === null || protocol === null || parsed?.ok === false) return [];
    return [{ field, port: number, containerPort, protocol, address: parsed?.value ?? null }];
  });
}

/** The first of each family; podIP alone where podIPs are not told. */
function podAddresses(status: Fields): Address[] {
  const listed = listOf(status['podIPs']).map((item) => textOf(fieldsOf(item)['ip']));
  const found: Address[] = [];
  for (const text of listed.length > 0 ? listed : [textOf(status['podIP'])]) {
    const parsed = parseAddress(text);
    if (parsed.ok && found.every((other) => familyOf(other) !== familyOf(parsed.value))) found.push(parsed.value);
  }
  return found;
}
