// SPDX-License-Identifier: Apache-2.0
/** Host ports of pods: those that some node may serve, and the frontends that the judged node makes of its own pods'. */
import type { Address, Port, Protocol } from '../address.ts';
import type { ContainerObject, PodObject } from '../objects.ts';
import { claimText, type Claim } from './claims.ts';
import type { PortLists } from './lists.ts';
import { isLoopback } from './nodeports.ts';
import {
  FAMILIES,
  familyOf,
  objects,
  readAddresses,
  readCreation,
  readName,
  readPort,
  readProtocol,
  type Family,
} from './read.ts';

/** A host port of a pod; without an address it answers on every address of the pod's node. */
export type HostPort = { readonly address: Address | undefined; readonly port: Port; readonly protocol: Protocol };

export type ServedHostPort = { readonly claim: Claim; readonly lists: PortLists };

type PortObject = NonNullable<ContainerObject['ports']>[number];

/** Host ports that need translation, on whatever node: in the host's own network the pod listens there itself. */
export function readHostPorts(object: PodObject): HostPort[] {
  if (object.spec?.hostNetwork === true) return [];
  const containers = [...objects(object.spec?.initContainers), ...objects(object.spec?.containers)];
  return containers
    .flatMap((container) => objects(container.ports))
    .flatMap((entry) => {
      const number = readPort(entry.hostPort);
      const protocol = readProtocol(entry.protocol);
      if (number === undefined || protocol === undefined) return [];
      const [address] = readAddresses([entry.hostIP]);
      return [{ address: wildcardFamilies(entry) === undefined ? address : undefined, port: number, protocol }];
    });
}

/** Frontends of a pod that runs on the node, in each family that it has an address of. */
export function readServedHostPorts(object: PodObject, nodeName: string): ServedHostPort[] {
  const { spec, status } = object;
  const name = readName(object);
  if (!object.metadata?.name || !object.metadata.namespace || name === undefined) return [];
  if (spec?.nodeName !== nodeName || spec.hostNetwork === true) return [];
  if (status?.phase === 'Succeeded' || status?.phase === 'Failed') return [];
  const isListed = (status?.podIPs?.length ?? 0) > 0;
  const podAddresses = readAddresses(isListed ? objects(status?.podIPs).map(({ ip }) => ip) : [status?.podIP]);
  const pod = { name, createdAt: readCreation(object) };
  const ports = lastingContainers(spec).flatMap((container) => objects(container.ports));
  return FAMILIES.flatMap((family) => {
    const podAddress = podAddresses.find((one) => familyOf(one) === family);
    return podAddress === undefined ? [] : ports.flatMap((entry) => serve(pod, podAddress, entry));
  });
}

/** An init container counts where it goes on beside the others. */
function lastingContainers(spec: NonNullable<PodObject['spec']>): readonly ContainerObject[] {
  const sidecars = objects(spec.initContainers).filter(({ restartPolicy }) => restartPolicy === 'Always');
  return [...sidecars, ...objects(spec.containers)];
}

function serve(
  pod: { readonly name: string; readonly createdAt: string },
  podAddress: Address,
  entry: PortObject,
): ServedHostPort[] {
  const number = readPort(entry.hostPort);
  const target = readPort(entry.containerPort);
  const protocol = readProtocol(entry.protocol);
  if (number === undefined || target === undefined || protocol === undefined) return [];
  const family = familyOf(podAddress);
  const families = wildcardFamilies(entry);
  const [hostAddress] = families === undefined ? readAddresses([entry.hostIP]) : [];
  const isServed = families?.includes(family) ?? (hostAddress !== undefined && isOfFamily(hostAddress, family));
  if (!isServed) return [];
  const claim: Claim = {
    kind: 'HostPort',
    owner: pod.name,
    portName: `hostPort:${number}`,
    createdAt: pod.createdAt,
    address: hostAddress,
    family,
    protocol,
    port: number,
    lists: family,
    internal: 'cluster',
    external: 'cluster',
    isExternalLocal: false,
    affinitySeconds: 0,
    sourceRanges: undefined,
    vips: [],
  };
  const backends = [{ address: podAddress, port: target }];
  const cluster = [{ kind: 'permitted' as const, service: claimText(claim), backends }];
  return [{ claim, lists: { cluster, local: [], serving: [] } }];
}

/** Loopback addresses serve no host port, as they serve no NodePort (B8). */
function isOfFamily(address: Address, family: Family): boolean {
  return familyOf(address) === family && !isLoopback(address);
}

/** The families whose node addresses the port takes; undefined: it names one address, or nothing that can be read. */
function wildcardFamilies({ hostIP }: PortObject): readonly Family[] | undefined {
  if (hostIP === undefined || hostIP === null || hostIP === '') return FAMILIES;
  const [address] = readAddresses([hostIP]);
  return address !== undefined && isUnspecified(address) ? [familyOf(address)] : undefined;
}

/** 0.0.0.0 and ::, however written (A8). */
function isUnspecified({ a, b, c, d }: Address): boolean {
  return a === 0 && b === 0 && (c === 0xffff || c === 0) && d === 0;
}
