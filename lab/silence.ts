// SPDX-License-Identifier: Apache-2.0
/**
 * Pods that take every packet and say nothing: for packets that no socket has sent, whose answers a pod's own network
 * stack would refuse. The node finds their devices by fixed neighbours.
 */
import { closeSync, writeFileSync } from 'node:fs';
import { parseAddress, parsePrefix, prefixContains } from '../core/address.ts';
import { fail, ok, type Result } from '../core/result.ts';
import { AF_INET, ioctl, openSocket, SOCK_DGRAM } from '../kernel/libc.ts';
import { insideNamespace, namespacePath } from '../kernel/netns.ts';
import type { Lab, LabPod } from './lab.ts';
import { namespaceName } from './plan.ts';
import { runInside } from './process.ts';
import { fabricRange, firstAddress } from './spec.ts';

const SIOCGIFHWADDR = 0x8927;

/** Hardware addresses, as `ip` writes them. */
export type Wiring = {
  /** Of the node's ends, by name of the pod. */
  readonly nodeEnds: ReadonlyMap<string, string>;
  readonly podEnds: ReadonlyMap<string, string>;
  readonly uplink: string;
  readonly gateway: string;
};

/** The network behind a node's uplink. */
export function fabricPath(lab: Lab): string {
  return namespacePath(namespaceName(lab.spec.name, 'fabric'));
}

/** Where a frame is put in for it to arrive at the uplink of the lab's first node. */
export const fabricPort = 'up0';

/** `elsewhere`: addresses behind the uplink to which packets are sent. */
export async function silencePods(lab: Lab, nodeName: string, elsewhere: readonly string[]): Promise<Result<Wiring>> {
  const node = lab.node(nodeName);
  const pods = lab.spec.pods.filter((pod) => pod.node === nodeName).map(({ name }) => lab.pod(name));
  const wiring = readWiring(lab, nodeName, pods);
  if (!wiring.ok) return wiring;
  for (const path of [fabricPath(lab), ...pods.map((pod) => pod.namespacePath)]) {
    const quiet = stopForwarding(path);
    if (!quiet.ok) return quiet;
  }
  const batch = [
    ...pods.flatMap(({ device, spec }) =>
      addressesOf(spec).map((text) => neighbourLine(text, wiring.value.podEnds.get(spec.name), device)),
    ),
    ...[...gatewaysOf(lab, nodeName), ...elsewhere.filter((text) => isOnLink(text, lab, nodeName))].map((text) =>
      neighbourLine(text, wiring.value.gateway, node.uplink),
    ),
  ];
  const done = await runInside(lab.harness, ['ip', '-n', node.namespace, '-batch', '-'], `${batch.join('\n')}\n`);
  if (!done.ok) return done;
  for (const { namespace } of pods) {
    const flushed = await runInside(lab.harness, ['ip', '-n', namespace, 'addr', 'flush', 'dev', 'eth0'], '');
    if (!flushed.ok) return flushed;
  }
  return wiring;
}

function neighbourLine(text: string, hardware: string | undefined, device: string): string {
  return `neigh replace ${text} lladdr ${hardware ?? ''} dev ${device} nud permanent`;
}

function addressesOf({ address, addressIPv6 }: LabPod['spec']): readonly string[] {
  return addressIPv6 === undefined ? [address] : [address, addressIPv6];
}

function gatewaysOf(lab: Lab, nodeName: string): readonly string[] {
  const { address, addressIPv6 } = lab.node(nodeName).spec;
  return [address, addressIPv6].flatMap((text) => (text === undefined ? [] : [firstAddress(fabricRange(text))]));
}

/** Such as another node's own address: it is asked for by name, and nobody is there to answer. */
function isOnLink(text: string, lab: Lab, nodeName: string): boolean {
  const { address, addressIPv6 } = lab.node(nodeName).spec;
  const value = parseAddress(text);
  return [address, addressIPv6].some((own) => {
    if (own === undefined || own === text || !value.ok) return false;
    const range = parsePrefix(fabricRange(own));
    return range.ok && prefixContains(range.value, value.value);
  });
}

function readWiring(lab: Lab, nodeName: string, pods: readonly LabPod[]): Result<Wiring> {
  const { namespacePath: onNode, uplink: uplinkDevice } = lab.node(nodeName);
  const podEnds = new Map<string, string>();
  const nodeEnds = new Map<string, string>();
  for (const { device, namespacePath: inPod, spec } of pods) {
    const [own, other] = [hardwareAddress(inPod, 'eth0'), hardwareAddress(onNode, device)];
    if (!own.ok) return own;
    if (!other.ok) return other;
    podEnds.set(spec.name, own.value);
    nodeEnds.set(spec.name, other.value);
  }
  const [uplink, gateway] = [hardwareAddress(onNode, uplinkDevice), hardwareAddress(fabricPath(lab), 'br0')];
  if (!uplink.ok) return uplink;
  if (!gateway.ok) return gateway;
  return ok({ nodeEnds, podEnds, uplink: uplink.value, gateway: gateway.value });
}

/** Unlike what Node lists, also of a device whose carrier has not come up yet. */
function hardwareAddress(path: string, device: string): Result<string> {
  const visit = insideNamespace(path, (): Result<string> => {
    const socket = openSocket(AF_INET, SOCK_DGRAM, 0);
    if (!socket.ok) return socket;
    // struct ifreq { name[16], struct sockaddr { family, address } }
    const request = Buffer.alloc(40);
    request.write(device, 0, 'latin1');
    const asked = ioctl(socket.value, SIOCGIFHWADDR, request, `hardware address of ${device}`);
    closeSync(socket.value);
    if (!asked.ok) return asked;
    return ok([...request.subarray(18, 24)].map((octet) => octet.toString(16).padStart(2, '0')).join(':'));
  });
  return visit.ok ? visit.value : visit;
}

/** What is for nobody here then goes no further, and nobody is told. */
function stopForwarding(path: string): Result<null> {
  const visit = insideNamespace(path, (): Result<null> => {
    try {
      writeFileSync('/proc/sys/net/ipv4/ip_forward', '0');
      return ok(null);
    } catch (error) {
      return fail('environment', path, error instanceof Error ? error.message : String(error));
    }
  });
  return visit.ok ? visit.value : visit;
}
