// SPDX-License-Identifier: Apache-2.0
/** tandem on one node of a lab: programs on its cgroup and pod devices, and the loop that keeps its maps. */
import { createLoop, type Loop, type StepReport } from '../../agent/loop.ts';
import { PLAIN_NODE } from '../../core/control/nodes.ts';
import { parseAddress, parsePrefix, type Address } from '../../core/address.ts';
import { socketHooks } from '../../core/control/hooks.ts';
import { nameHash } from '../../core/control/names.ts';
import { nodeSettings } from '../../core/control/settings.ts';
import { configOf } from '../../core/datapath/datapath.ts';
import { maps, reasonNames, type ConfigRecord } from '../../core/layout.gen.ts';
import { objectsOf, type ClusterEvent } from '../../core/objects.ts';
import { assert, ok, type Failure, type Result } from '../../core/result.ts';
import type { NodeConfig } from '../../core/service.ts';
import type { MapStore } from '../../core/store.ts';
import { attachDevice, type Attachment } from '../../kernel/attach.ts';
import { insideNamespace } from '../../kernel/netns.ts';
import { loadObject, readObjectFile, type LoadedObject } from '../../kernel/object.ts';
import { createSocketHooks, type SocketHooks } from '../../kernel/sockethooks.ts';
import { KernelStore } from '../../kernel/store.ts';
import { openSweeper, type Swept } from '../../kernel/sweep.ts';
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
  /** What the programs are told, in place of what the lab says. */
  readonly settings?: ConfigRecord;
  /** What the loop is told of the node, in place of what the lab says. */
  readonly config?: NodeConfig;
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
  /** Everything that is attached now, as `tcx ingress of veth0`; programs for datagrams only while a Service has some. */
  readonly attachments: readonly string[];
  readonly store: MapStore;
  readonly event: (event: ClusterEvent) => void;
  readonly step: () => StepReport;
  /** Ends connected UDP sockets of the node and its pods whose backend is gone; nobody else would tell them. */
  readonly sweep: () => Result<Swept>;
  readonly counters: (servicePorts?: readonly string[]) => Result<NodeCounters>;
};

/** Loads, attaches and starts with empty maps; on failure nothing stays behind. */
export function startNode(lab: Lab, name: string, options: NodeOptions): Result<RunningNode> {
  const bytes = options.object === undefined ? readObjectFile(objectPath) : ok(options.object);
  if (!bytes.ok) return bytes;
  const own = nodeSettings([], nodeAddresses(lab, name));
  if (!own.ok) return own;
  const flowSecret = options.flowSecret ?? [...crypto.getRandomValues(new Uint32Array(12))];
  const { selectionKey } = options;
  const settings = options.settings ?? configOf({ testMode: 0, flowSecret, selectionKey, ...own.value });
  const object = loadObject({ object: bytes.value, name: objectPath, settings });
  if (!object.ok) return object;
  const place = lab.node(name);
  const pods = lab.spec.pods.filter((pod) => pod.node === name).map((pod) => lab.pod(pod.name));
  const parts: Parts = {
    name,
    place,
    pods,
    object: object.value,
    onDevices: [],
    onSockets: createSocketHooks(object.value, place.cgroup),
  };
  const store = new KernelStore(object.value);
  const config = options.config ?? nodeConfig(lab, name);
  const loop = createLoop({ store, node: config, onProblem: options.onProblem ?? (() => undefined) });
  // The sockets come last: a packet that a socket did not translate is still translated on its way.
  const onDevices = attachDevices(parts);
  const done = onDevices.ok ? parts.onSockets.want(loop.socketHooks()) : onDevices;
  if (done.ok) return ok(serve(parts, store, loop));
  detach(parts);
  return done;
}

/** The node's own addresses: as these a pod hears itself where it is its own backend. */
function nodeAddresses(lab: Lab, name: string): readonly Address[] {
  const { address, addressIPv6 } = lab.node(name).spec;
  return [address, addressIPv6 ?? []].flat().map((text) => {
    const parsed = parseAddress(text);
    assert(parsed.ok, 'the addresses of a lab were checked before');
    return parsed.value;
  });
}

/** What is there once the object is loaded, and what must go again. */
type Parts = {
  readonly name: string;
  readonly place: LabNode;
  readonly pods: readonly LabPod[];
  readonly object: LoadedObject;
  readonly onDevices: Attachment[];
  readonly onSockets: SocketHooks;
};

function serve(parts: Parts, store: MapStore, loop: Loop): RunningNode {
  const { name, place, pods, object, onDevices, onSockets } = parts;
  let mayComeWithDatagrams = false;
  const step = (): StepReport => {
    // Answers first: what shows them is there before a UDP frontend that this step may bring.
    const before = mayComeWithDatagrams ? onSockets.want(socketHooks) : ok(undefined);
    const report = loop.step();
    if (report.unlisted.length > 0) return report;
    const after = onSockets.want(loop.socketHooks());
    const failures = [before, after].flatMap((done) => (done.ok ? [] : [done.error]));
    mayComeWithDatagrams &&= !report.isSettled || failures.length > 0;
    if (failures.length === 0) return report;
    return { ...report, failures: [...report.failures, ...failures], isSettled: false };
  };
  return {
    name,
    get attachments() {
      const sockets = onSockets.attached.map((hook) => `${hook} of ${place.cgroup}`);
      return [...onDevices.map(({ description }) => description), ...sockets];
    },
    store,
    event: (event) => {
      mayComeWithDatagrams ||= namesDatagrams(event);
      loop.event(event);
    },
    step,
    sweep: () => sweepNode(object, [place.namespacePath, ...pods.map(({ namespacePath }) => namespacePath)]),
    counters: (servicePorts = []) => readCounters(store, servicePorts),
    [Symbol.dispose]: () => detach(parts),
  };
}

/** Whether a Service of this event has a UDP port, which the next step may then serve. */
function namesDatagrams(event: ClusterEvent): boolean {
  return objectsOf(event).some(
    (object) => object.kind === 'Service' && (object.spec?.ports ?? []).some(({ protocol }) => protocol === 'UDP'),
  );
}

function sweepNode(object: LoadedObject, namespaces: readonly string[]): Result<Swept> {
  const opened = openSweeper(object);
  if (!opened.ok) return opened;
  using sweeper = opened.value;
  const swept = sweeper.sweep(namespaces);
  const [failure] = swept.failures;
  return failure === undefined ? ok(swept) : { ok: false, error: failure };
}

/** What the loop must know of a node of a lab. */
export function nodeConfig(lab: Lab, nodeName: string): NodeConfig {
  const texts = lab.spec.nodes.flatMap(({ podRange, podRangeIPv6 }) => [podRange, podRangeIPv6 ?? []].flat());
  const ranges = texts.map(parsePrefix);
  const clusterCIDRs = ranges.flatMap((range) => (range.ok ? [range.value] : []));
  return { ...PLAIN_NODE, nodeName, clusterCIDRs };
}

/** Replies first: a packet is translated on its way out only once its answer can be translated on its way back. */
function attachDevices({ place, pods, object, onDevices }: Parts): Result<void> {
  const attachAll = (): Result<void> => {
    for (const { device } of pods) {
      for (const [program, direction] of deviceHooks) {
        const attachment = attachDevice({ programFd: object.programFd(program), device, direction });
        if (!attachment.ok) return attachment;
        onDevices.push(attachment.value);
      }
    }
    return ok(undefined);
  };
  const visit = insideNamespace(place.namespacePath, attachAll);
  return visit.ok ? visit.value : visit;
}

/** In the order in which they are attached. */
const deviceHooks = [
  ['tc_to_pod', 'egress'],
  ['tc_from_pod', 'ingress'],
] as const;

/** In reverse. Classic filters are found by the index of their device, so this runs in its namespace. */
function detach({ place, object, onDevices, onSockets }: Parts): void {
  onSockets[Symbol.dispose]();
  const dispose = (): void => {
    for (const attachment of onDevices.splice(0).reverse()) attachment[Symbol.dispose]();
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
