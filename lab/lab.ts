// SPDX-License-Identifier: Apache-2.0
/** A cluster of network namespaces: nodes, pods, their servers and clients; up in seconds, gone without a trace. */
import { mkdirSync } from 'node:fs';
import { assert, ok, type Result } from '../core/result.ts';
import { mount } from '../kernel/libc.ts';
import { namespacePath } from '../kernel/netns.ts';
import { startClient, type Client } from './driver.ts';
import { labDirectories, startGuardian, type Guardian, type LabDirectories } from './guardian.ts';
import { makeNetwork } from './network.ts';
import { namespaceName, planLab, podDevice } from './plan.ts';
import { ended, firstLine, startInside, type LabProcess, type Place } from './process.ts';
import { checkMachine, thisMachine } from './requirements.ts';
import type { ServerArguments } from './server.ts';
import { checkSpec, type LabSpec, type NodeSpec, type PodSpec, type ServerSpec } from './spec.ts';

export type LabNode = {
  readonly spec: NodeSpec;
  readonly namespace: string;
  readonly namespacePath: string;
  /** Attach cgroup programs here: every pod of the node, and the node's own processes, are below. */
  readonly cgroup: string;
  /** The node's own processes (host network). */
  readonly host: Place;
  /** A bpffs and a directory of its own for an agent; both go with the lab. */
  readonly bpffs: string;
  readonly stateDirectory: string;
  readonly uplink: 'eth0';
};

export type LabPod = {
  readonly spec: PodSpec;
  readonly namespace: string;
  readonly namespacePath: string;
  readonly place: Place & { readonly namespacePath: string };
  /** The node's end of the pod's veth. */
  readonly device: string;
};

export type ServerProcess = {
  readonly pid: number;
  /** Ends it as a kubelet would: SIGTERM. Open connections are closed by the kernel. */
  readonly stop: () => Promise<void>;
};

export type Lab = {
  readonly spec: LabSpec;
  readonly cgroup: string;
  /** Where the harness's own helpers run (captures): below no node, so no node's programs see them. */
  readonly harness: Place;
  /** Throws on a name that the specification does not have. */
  readonly node: (name: string) => LabNode;
  readonly pod: (name: string) => LabPod;
  /** The server process with which a pod came up; undefined for a pod without servers. */
  readonly server: (pod: string) => ServerProcess | undefined;
  readonly startServer: (pod: string, servers: readonly ServerSpec[]) => Promise<Result<ServerProcess>>;
  /** A client in a pod, or in a node's own namespace. */
  readonly startClient: (podOrNode: string) => Promise<Result<Client>>;
  /** Takes everything away: processes, devices, namespaces, cgroups, pins. */
  readonly stop: () => Promise<Result<null>>;
  /** Leaves the lab and its servers up when this process ends; `removeLab` takes it away. */
  readonly keep: () => Promise<Result<null>>;
};

export type LabOptions = {
  /** Servers must be able to outlive this process: needed for `keep`. */
  readonly lasting?: boolean;
};

const serverTimeoutMs = 10_000;

function nodeOf(lab: LabSpec, spec: NodeSpec, directories: LabDirectories): LabNode {
  const namespace = namespaceName(lab.name, spec.name);
  const path = namespacePath(namespace);
  const cgroup = `${directories.cgroup}/${spec.name}`;
  const run = `${directories.run}/${spec.name}`;
  return {
    spec,
    namespace,
    namespacePath: path,
    cgroup,
    host: { cgroup: `${cgroup}/host`, namespacePath: path },
    bpffs: `${run}/bpf`,
    stateDirectory: `${run}/state`,
    uplink: 'eth0',
  };
}

function podOf(lab: LabSpec, spec: PodSpec, directories: LabDirectories): LabPod {
  const namespace = namespaceName(lab.name, spec.name);
  const path = namespacePath(namespace);
  const place = { cgroup: `${directories.cgroup}/${spec.node}/${spec.name}`, namespacePath: path };
  return { spec, namespace, namespacePath: path, place, device: podDevice(spec) };
}

/** Directories and a private bpffs for each node. */
function makeDirectories(nodes: readonly LabNode[], pods: readonly LabPod[], harness: Place): Result<null> {
  mkdirSync(harness.cgroup);
  for (const node of nodes) {
    for (const path of [node.host.cgroup, node.bpffs, node.stateDirectory]) mkdirSync(path, { recursive: true });
    const mounted = mount('bpf', node.bpffs, 'bpf');
    if (!mounted.ok) return mounted;
  }
  for (const pod of pods) mkdirSync(pod.place.cgroup, { recursive: true });
  return ok(null);
}

/** Starts one server process for all ports of a pod and waits until it listens. */
async function startServer(
  pod: LabPod,
  servers: readonly ServerSpec[],
  lasting: boolean,
): Promise<Result<ServerProcess>> {
  const script = new URL('./server.ts', import.meta.url).pathname;
  const options: ServerArguments = { pod: pod.spec.name, servers, ipv6: pod.spec.addressIPv6 !== undefined };
  const child = startInside(pod.place, [process.execPath, script, JSON.stringify(options)], lasting);
  child.stdin.end();
  const ready = await firstLine(child, serverTimeoutMs);
  if (!ready.ok) return ready;
  if (lasting) release(child);
  return ok({
    pid: child.pid ?? 0,
    stop: async () => {
      child.kill('SIGTERM');
      await ended(child);
    },
  });
}

/** Nothing of the child keeps this process from ending. */
function release(child: LabProcess): void {
  child.unref();
  child.stdout.destroy();
  child.stderr.destroy();
}

function named<T>(values: ReadonlyMap<string, T>, name: string): T {
  const value = values.get(name);
  assert(value !== undefined, `the lab has no "${name}"`);
  return value;
}

/** Makes the lab that was asked for, or leaves nothing behind. Name taken: a Failure that says how to remove it. */
export async function startLab(spec: LabSpec, options: LabOptions = {}): Promise<Result<Lab>> {
  const checked = checkSpec(spec);
  if (!checked.ok) return checked;
  const requirements = checkMachine(thisMachine());
  if (!requirements.ok) return requirements;
  const directories = labDirectories(spec.name, requirements.value.cgroupMount);
  const guardian = await startGuardian(spec.name, directories);
  if (!guardian.ok) return guardian;
  const lab = await build(spec, directories, guardian.value, options.lasting ?? false);
  if (!lab.ok) await guardian.value.end();
  return lab;
}

async function build(
  spec: LabSpec,
  directories: LabDirectories,
  guardian: Guardian,
  lasting: boolean,
): Promise<Result<Lab>> {
  const nodes = new Map(spec.nodes.map((node) => [node.name, nodeOf(spec, node, directories)]));
  const pods = new Map(spec.pods.map((pod) => [pod.name, podOf(spec, pod, directories)]));
  const harness: Place = { cgroup: `${directories.cgroup}/harness` };
  const made = makeDirectories([...nodes.values()], [...pods.values()], harness);
  if (!made.ok) return made;
  const network = await makeNetwork(planLab(spec), harness);
  if (!network.ok) return network;
  const servers = new Map<string, ServerProcess>();
  const starting = [...pods.values()].map(async (pod): Promise<Result<null>> => {
    if (pod.spec.servers === undefined || pod.spec.servers.length === 0) return ok(null);
    const server = await startServer(pod, pod.spec.servers, lasting);
    if (!server.ok) return server;
    servers.set(pod.spec.name, server.value);
    return ok(null);
  });
  const failed = (await Promise.all(starting)).find((result) => !result.ok);
  if (failed !== undefined && !failed.ok) return failed;
  return ok({
    spec,
    cgroup: directories.cgroup,
    harness,
    node: (name) => named(nodes, name),
    pod: (name) => named(pods, name),
    server: (pod) => servers.get(named(pods, pod).spec.name),
    startServer: (pod, wanted) => startServer(named(pods, pod), wanted, lasting),
    startClient: (name) => startClient(pods.get(name)?.place ?? named(nodes, name).host),
    stop: () => guardian.end(),
    keep: () => guardian.keep(),
  });
}
