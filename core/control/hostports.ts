// SPDX-License-Identifier: Apache-2.0
/** Host ports of this node's pods as frontends, each with its pod as the only backend. */
import { addressText, endpointText, type Address } from '../address.ts';
import type { Backend, Frontend, NodeConfig, Problem, View } from '../service.ts';
import type { OwnerDesired } from './desired.ts';
import { familyOf } from './families.ts';
import { podIdentity } from './names.ts';
import { addressesForNodePorts, isLoopback } from './nodes.ts';
import type { HostPortInfo, PodInfo } from './pods.ts';

/** Nothing unless host ports are ours to serve (`hostPort`) and the pod is on this node. */
export function desiredPod(pod: PodInfo | undefined, config: NodeConfig): OwnerDesired {
  const isOurs = pod !== undefined && config.hostPort && config.nodeName !== '' && pod.node === config.nodeName;
  if (!isOurs) return { frontends: [], problems: [], healthCheck: null };
  const frontends: Frontend[] = [];
  const problems: Problem[] = [];
  for (const hostPort of pod.hostPorts) {
    for (const podAddress of pod.addresses) {
      for (const address of placesOf(hostPort, podAddress, config))
        frontends.push(frontendOf(pod, hostPort, address, podAddress, config));
    }
    if (hostPort.address !== null && isLoopback(hostPort.address)) {
      const message = `${addressText(hostPort.address)} is not served: host ports on loopback addresses are not`;
      problems.push({ object: `Pod ${pod.key}`, field: `${hostPort.field}.hostIP`, message });
    }
  }
  return { frontends, problems, healthCheck: null };
}

function isUnspecified({ a, b, c, d }: Address): boolean {
  return a === 0 && b === 0 && (c === 0 || c === 0xffff) && d === 0;
}

/** Addresses of the pod's family: the one that is asked for, or all that serve NodePorts. */
function placesOf({ address }: HostPortInfo, podAddress: Address, config: NodeConfig): readonly Address[] {
  const family = familyOf(podAddress);
  if (address !== null && familyOf(address) !== family) return [];
  if (address === null || isUnspecified(address)) return addressesForNodePorts(config, family);
  return isLoopback(address) ? [] : [address];
}

function frontendOf(
  pod: PodInfo,
  hostPort: HostPortInfo,
  address: Address,
  podAddress: Address,
  config: NodeConfig,
): Frontend {
  const { containerPort, port, protocol } = hostPort;
  const text = endpointText(podAddress, containerPort);
  const backend: Backend = {
    address: podAddress,
    port: containerPort,
    state: 'active',
    node: pod.node,
    zone: config.zone,
    identity: podIdentity(pod.uid),
    text,
  };
  const view: View = {
    backends: [backend],
    whenEmpty: 'reject',
    topology: 'none',
    topologyReason: 'local-policy',
    masquerade: 'never',
  };
  return {
    kind: 'HostPort',
    created: pod.created,
    algorithm: 'hash',
    // No name of a Service's port has a colon: a pod named as a Service shares nothing with it.
    servicePort: { namespace: pod.namespace, name: pod.name, portName: `hostPort:${port}`, protocol },
    address,
    port,
    protocol,
    affinitySeconds: null,
    sourceRanges: null,
    internal: view,
    external: view,
    excluded: [],
    serving: [],
  };
}
