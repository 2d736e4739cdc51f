// SPDX-License-Identifier: Apache-2.0
/** tandem on one node of a lab: programs on its cgroup and pod devices, and the loop that keeps its maps. */
import { createLoop, type StepReport } from '../../agent/loop.ts';
import { parseAddress, parsePrefix, type Address } from '../../core/address.ts';
import { nameHash } from '../../core/control/names.ts';
import { configOf } from '../../core/datapath/datapath.ts';
import { maps, reasonNames } from '../../core/layout.gen.ts';
import type { ClusterEvent } from '../../core/objects.ts';
import { assert, ok, type Failure, type Result } from '../../core/result.ts';
import type { NodeConfig } from '../../core/service.ts';
import type { MapStore } from '../../core/store.ts';
import { attachCgroup, attachDevice, type Attachment, type CgroupHook } from '../../kernel/attach.ts';
import { insideNamespace } from '../../kernel/netns.ts';
import { loadObject, readObjectFile, type LoadedObject } from '../../kernel/object.ts';
import { KernelStore } from '../../kernel/store.ts';
import type { Lab, LabNode, LabPod } from '../../lab/lab.ts';

/** The committed object. */
export const objectPath: string = new URL('../../bpf/tandem.bpf.o', import.meta.url).pathname;

export type NodeOptions = {
  /** The same on all nodes of a cluster: whose packet goes to which backend is then the same everywhere. */
  readonly selectionKey: readonly [number, number];
  /** Key of the flow table; default random. */
  readonly flowSecret?: readonly number[];
  /** Another object than the committed one. */
  readonly object?: Uint8Array;
  /** Told of each failure of a step. */
  readonly onProblem?: (failure: Failure) => void;
};

/** Packets, and connects of sockets, by why they got what they got; only those that concern a Service are counted. */
export type NodeCounters = {
  readonly reasons: ReadonlyMap<string, number>;
  /** By `namespace/name:port/protocol`, those of the names asked for that were met. */
  readonly services: ReadonlyMap<string, number>;
};

/** A node that serves Services until it is disposed of; then it is as it was before. */
export type RunningNode = Disposable & {
  readonly name: string;
  /** Everything that is attached, as `tcx ingress of veth0`. */
  readonly attachments: readonly string[];
  readonly store: MapStore;
  readonly event: (event: ClusterEvent) => void;
  readonly step: () => StepReport;
  readonly counters: (servicePorts?: readonly string[]) => Result<NodeCounters>;
};

/** Loads, attaches and starts with empty maps; on failure nothing stays behind. */
export function startNode(lab: Lab, name: string, options: NodeOptions): Result<RunningNode> {
  const bytes = options.object === undefined ? readObjectFile(objectPath) : ok(options.object);
  if (!bytes.ok) return bytes;
  const flowSecret = options.flowSecret ?? [...crypto.getRandomValues(new Uint32Array(12))];
  const hairpinSource = hairpinSources(lab, name);
  const settings = configOf({ testMode: 0, flowSecret, selectionKey: options.selectionKey, hairpinSource });
  const object = loadObject({ object: bytes.value, name: objectPath, settings });
  if (!object.ok) return object;
  const attached: Attachment[] = [];
  const place = lab.node(name);
  const pods = lab.spec.pods.filter((pod) => pod.node === name).map((pod) => lab.pod(pod.name));
  const end = (): void => detach(place, attached, object.value);
  const done = attachAll(object.value, place, pods, attached);
  if (done.ok) return ok(serve(lab, name, { object: object.value, attached, end, options }));
  end();
  return done;
}

/** The node's own addresses: as these a pod hears itself where it is its own backend. */
function hairpinSources(lab: Lab, name: string): readonly [Address, Address] {
  const { address: ipv4, addressIPv6 = '::' } = lab.node(name).spec;
  const [four, six] = [parseAddress(ipv4), parseAddress(addressIPv6)];
  assert(four.ok && six.ok, 'the addresses of a lab were checked before');
  return [four.value, six.value];
}

type Loaded = {
  readonly object: LoadedObject;
  readonly attached: readonly Attachment[];
  readonly end: () => void;
  readonly options: NodeOptions;
};

function serve(lab: Lab, name: string, { object, attached, end, options }: Loaded): RunningNode {
  const store = new KernelStore(object);
  const loop = createLoop({ store, node: nodeConfig(lab, name), onProblem: options.onProblem ?? (() => undefined) });
  return {
    name,
    attachments: attached.map(({ description }) => description),
    store,
    event: (event) => loop.event(event),
    step: () => loop.step(),
    counters: (servicePorts = []) => readCounters(store, servicePorts),
    [Symbol.dispose]: end,
  };
}

/** In the order in which they are attached. */
const cgroupHooks: readonly CgroupHook[] = ['getpeername4', 'getpeername6', 'connect4', 'connect6'];

/** What the loop must know of a node of a lab. */
export function nodeConfig(lab: Lab, nodeName: string): NodeConfig {
  const texts = lab.spec.nodes.flatMap(({ podRange, podRangeIPv6 }) => [podRange, podRangeIPv6 ?? []].flat());
  const ranges = texts.map(parsePrefix);
  const clusterCIDRs = ranges.flatMap((range) => (range.ok ? [range.value] : []));
  return { nodeName, zone: '', serviceProxyName: null, topology: true, masqueradeAll: false, clusterCIDRs };
}

/**
 * Replies first: a packet is translated on its way out only once its answer can be translated on its way back. The
 * sockets come last, and getpeername before connect for the same reason.
 */
function attachAll(
  object: LoadedObject,
  place: LabNode,
  pods: readonly LabPod[],
  attached: Attachment[],
): Result<unknown> {
  const keep = (attachment: Result<Attachment>): Result<unknown> => {
    if (attachment.ok) attached.push(attachment.value);
    return attachment;
  };
  const onDevices = insideNamespace(place.namespacePath, (): Result<unknown> => {
    for (const { device } of pods) {
      const reply = attachDevice({ programFd: object.programFd('tc_to_pod'), device, direction: 'egress' });
      if (!keep(reply).ok) return reply;
      const forward = attachDevice({ programFd: object.programFd('tc_from_pod'), device, direction: 'ingress' });
      if (!keep(forward).ok) return forward;
    }
    return ok(null);
  });
  if (!onDevices.ok || !onDevices.value.ok) return onDevices.ok ? onDevices.value : onDevices;
  for (const hook of cgroupHooks) {
    const attachment = keep(attachCgroup(object.programFd(`sock_${hook}`), place.cgroup, hook));
    if (!attachment.ok) return attachment;
  }
  return ok(null);
}

/** In reverse. Classic filters are found by the index of their device, so this runs in its namespace. */
function detach(place: LabNode, attached: Attachment[], object: LoadedObject): void {
  const dispose = (): void => {
    for (const attachment of attached.splice(0).reverse()) attachment[Symbol.dispose]();
  };
  // A lab that is gone took devices and filters along; links are closed from anywhere.
  if (!insideNamespace(place.namespacePath, dispose).ok) dispose();
  object[Symbol.dispose]();
}

function readCounters(store: MapStore, servicePorts: readonly string[]): Result<NodeCounters> {
  const byReason = store.entries(maps.counters);
  if (!byReason.ok) return byReason;
  const reasons = byReason.value.map(([reason, { packets }]) => [reasonNames[reason] ?? '', Number(packets)] as const);
  const ids = store.entries(maps.services);
  if (!ids.ok) return ids;
  const byPort = store.entries(maps.serviceCounters);
  if (!byPort.ok) return byPort;
  const counts = new Map(byPort.value.map(([id, { packets }]) => [id, Number(packets)]));
  const services = new Map<string, number>();
  for (const text of servicePorts) {
    const [low, high] = nameHash(text);
    const row = ids.value.find(([, { nameHash: hash }]) => hash[0] === low && hash[1] === high);
    if (row !== undefined) services.set(text, counts.get(row[1].servicePort) ?? 0);
  }
  return ok({ reasons: new Map(reasons), services });
}
