// SPDX-License-Identifier: Apache-2.0
/** Host ports of pods: those that some node may serve, and the frontends that the judged node makes of its own pods'. */
import type { Address, Port, Protocol } from '../address.ts';
import type { ContainerObject, PodObject } from '../objects.ts';
import { claimText, type Claim } from './claims.ts';
import type { PortLists } from './lists.ts';
import { FAMILIES, familyOf, objects, readAddresses, readCreation, readName, readPort, readProtocol } from './read.ts';

/** A host port of a pod; without an address it answers on every address of the pod's node. */
export type HostPort = { readonly address: Address | undefined; readonly port: Port; readonly protocol: Protocol };

export type ServedHostPort = { readonly claim: Claim; readonly lists: PortLists };

type PortObject = NonNullable<ContainerObject['ports']>[number];

/** Fields of a pod that say where it is and whether it still runs. */
type PodFields = PodObject & {
  readonly status?: {
    readonly phase?: string;
    readonly podIP?: string;
    readonly podIPs?: readonly { readonly ip?: string }[];
  };
};

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
export function readServedHostPorts(object: PodFields, nodeName: string): ServedHostPort[] {
  const { spec, status } = object;
  const name = readName(object);
  if (name === undefined || spec?.nodeName !== nodeName || spec.hostNetwork === true) return [];
  if (status?.phase === 'Succeeded' || status?.phase === 'Failed') return [];
  const listed = objects(status?.podIPs).map(({ ip }) => ip);
  const podAddresses = readAddresses(listed.length > 0 ? listed : [status?.podIP]);
  const pod = { name, createdAt: readCreation(object) };
  const ports = lastingContainers(spec).flatMap((container) => objects(container.ports));
  return FAMILIES.flatMap((family) => {
    const podAddress = podAddresses.find((one) => familyOf(one) === family);
    return podAddress === undefined ? [] : ports.flatMap((entry) => serve(pod, podAddress, entry));
  });
}

/** An init container counts where it goes on beside the others. */
function lastingContainers(spec: NonNullable<PodObject['spec']>): readonly ContainerObject[] {
  const first: readonly (ContainerObject & { readonly restartPolicy?: string })[] = objects(spec.initContainers);
  return [...first.filter(({ restartPolicy }) => restartPolicy === 'Always'), ...objects(spec.containers)];
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
  const isServed = families?.includes(family) ?? (hostAddress !== undefined && familyOf(hostAddress) === family);
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

/** The families whose node addresses the port takes; undefined: it names one address, or nothing that can be read. */
function wildcardFamilies({ hostIP }: PortObject): readonly ('IPv4' | 'IPv6')[] | undefined {
  if (hostIP === undefined || hostIP === null || hostIP === '') return FAMILIES;
  if (hostIP === '0.0.0.0') return ['IPv4'];
  return hostIP === '::' ? ['IPv6'] : undefined;
}
