// SPDX-License-Identifier: Apache-2.0
/** Where incidents happen: a lab whose first node is served and captured, and an API that may tell it something else. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ClusterEvent } from '../../core/objects.ts';
import { fail, failureText, ok, type Result } from '../../core/result.ts';
import { startCapture } from '../../lab/capture.ts';
import { realtimeNs } from '../../lab/clock.ts';
import { startClient, type Client } from '../../lab/driver.ts';
import { writeNodeFacts } from '../../lab/facts.ts';
import type { Lab } from '../../lab/lab.ts';
import { runInside } from '../../lab/process.ts';
import type { ConnectionReport } from '../../lab/wire.ts';
import { startNode, type RunningNode } from '../demo/node.ts';
import { applyEvent, writeStream, type Applied } from '../demo/stream.ts';
import { ports, serviceAddress, type PodName } from './cluster.ts';

/** The node that is captured. */
const nodeName = 'node1';

/** The choices of a recording are the same each time it is made. */
const selectionKey: readonly [number, number] = [0x1c1de475, 0x5eed0002];

const connectTimeoutMs = 1_600;
const datagramTimeoutMs = 300;
const firstSourcePort = 20_000;

/** What an incident may do. Each step that fails throws: a recording with a hole is none. */
export type Stage = {
  readonly lab: Lab;
  /** The API says it, and the node hears it. */
  readonly happen: (...events: readonly ClusterEvent[]) => void;
  /** The API says it; the node hears nothing of it, or later. */
  readonly say: (...events: readonly ClusterEvent[]) => void;
  readonly hear: (...events: readonly ClusterEvent[]) => void;
  /** Connections to the Service, one every `intervalMs`, each from its own port. */
  readonly connect: (count: number, intervalMs: number) => Promise<readonly ConnectionReport[]>;
  /** Datagrams of one socket. */
  readonly ask: (count: number, intervalMs: number) => Promise<void>;
  /** From here on clients are in this pod. */
  readonly moveTo: (pod: string) => Promise<void>;
  /** The pod can't answer any more; its address stays. */
  readonly cutOff: (pod: PodName) => Promise<void>;
  readonly sleep: (milliseconds: number) => Promise<void>;
};

export type Incident = {
  readonly name: string;
  /** What happens, in a sentence or two. */
  readonly what: string;
  /** What a replay must find. */
  readonly blame: 'datapath-wrong' | 'control-plane-late' | 'neither';
  /** Pod that the clients are in. */
  readonly client: string;
  readonly play: (stage: Stage) => Promise<void>;
};

/** Plays an incident and writes its recording into a folder. `object`: a datapath with a fault in it. */
export async function recordIncident(
  lab: Lab,
  incident: Incident,
  folder: string,
  object: Uint8Array | undefined,
): Promise<Result<null>> {
  mkdirSync(folder, { recursive: true });
  const node = startNode(lab, nodeName, { selectionKey, ...(object !== undefined && { object }) });
  if (!node.ok) return node;
  using running = node.value;
  const capture = await startCapture({
    namespacePath: lab.node(nodeName).namespacePath,
    harness: lab.harness,
    file: join(folder, 'node1.pcap'),
    filter: 'ip and (tcp or udp or icmp)',
  });
  if (!capture.ok) return capture;
  const said: Applied[] = [];
  const actors = createActors(lab, running, said);
  try {
    await actors.stage.moveTo(incident.client);
    await incident.play(actors.stage);
  } finally {
    await actors.stop();
  }
  const counts = await capture.value.stop();
  if (!counts.ok) return counts;
  if (counts.value.dropped > 0) return fail('environment', incident.name, 'tcpdump dropped packets');
  const written = writeStream(join(folder, 'cluster.events.ndjson'), said, nodeName);
  if (!written.ok) return written;
  const facts = await writeNodeFacts(lab, nodeName, 'tandem', join(folder, 'node1.json'));
  if (!facts.ok) return facts;
  writeFileSync(join(folder, 'what.txt'), `${incident.what}\n`);
  writeFileSync(join(folder, 'culprit.txt'), `${incident.blame}\n`);
  return ok(null);
}

type Actors = { readonly stage: Stage; readonly stop: () => Promise<void> };

function createActors(lab: Lab, node: RunningNode, said: Applied[]): Actors {
  let client: Client | undefined;
  let sourcePort = firstSourcePort;
  const say = (event: ClusterEvent): void => {
    const now = realtimeNs();
    said.push({ node: nodeName, event, beganNs: now, doneNs: now });
  };
  const hear = (event: ClusterEvent): void => void valueOf(applyEvent(node, event));
  const present = (): Client => client ?? fall('no client');
  const stage: Stage = {
    lab,
    say: (...events) => events.forEach(say),
    hear: (...events) => events.forEach(hear),
    happen: (...events) => {
      for (const event of events) {
        say(event);
        hear(event);
      }
    },
    connect: async (count, intervalMs) => {
      const reports: Promise<ConnectionReport>[] = [];
      for (let made = 0; made < count; made += 1) {
        const request = { address: serviceAddress, port: ports.web, timeoutMs: connectTimeoutMs };
        reports.push(present().connect({ ...request, sourcePort: sourcePort++ }));
        await sleep(intervalMs);
      }
      return Promise.all(reports);
    },
    ask: async (count, intervalMs) => {
      const going = { address: serviceAddress, port: ports.dns, timeoutMs: datagramTimeoutMs };
      let first: ConnectionReport | undefined;
      for (let asked = 0; asked < count; asked += 1) {
        const socket = first === undefined ? { sourcePort: sourcePort++, isConnected: false } : { socket: first.id };
        const report = await present().datagram({ ...going, ...socket });
        first ??= report;
        await sleep(intervalMs);
      }
    },
    moveTo: async (pod) => {
      await client?.stop();
      // Where the node's programs for sockets don't see it, so that its packets carry the Service's address.
      const cgroup = `${lab.cgroup}/unwatched`;
      mkdirSync(cgroup, { recursive: true });
      client = valueOf(await startClient({ ...lab.pod(pod).place, cgroup }));
    },
    cutOff: async (pod) => {
      const way = ['ip', '-n', lab.pod(pod).namespace, 'route', 'replace', 'blackhole', '10.244.1.0/24'];
      valueOf(await runInside(lab.harness, way, ''));
    },
    sleep,
  };
  return { stage, stop: async () => client?.stop() };
}

function valueOf<T>(result: Result<T>): T {
  return result.ok ? result.value : fall(failureText(result.error));
}

function fall(message: string): never {
  throw new Error(message);
}

function sleep(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
