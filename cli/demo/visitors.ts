// SPDX-License-Identifier: Apache-2.0
/** Clients of the demo: in each client pod one whose sockets tandem sees, and one of which it sees only the packets. */
import { mkdirSync } from 'node:fs';
import { addressText, UDP } from '../../core/address.ts';
import { ok, type Result } from '../../core/result.ts';
import { startClient, type Client } from '../../lab/driver.ts';
import type { Lab, LabPod } from '../../lab/lab.ts';
import type { ConnectionReport } from '../../lab/wire.ts';
import { createStream, type Stream } from '../../core/random.ts';
import type { Target } from './stream.ts';

/**
 * `socket`: translated when the process connects, because its cgroup is below its node's. `packet`: its cgroup is
 * elsewhere, as with a sandboxed runtime, so its packets are translated on the pod's device.
 */
export type Road = 'socket' | 'packet';

export const roads: readonly Road[] = ['socket', 'packet'];

/** A client process with its pod and its road; `nextPort` is the source port of its next connection. */
export type Visitor = {
  readonly pod: LabPod;
  readonly road: Road;
  readonly client: Client;
  readonly random: Stream;
  nextPort: number;
};

/**
 * Source ports are given out in order, each once, below the kernel's own range: the choice of a backend on the packet
 * road then follows from the seed. The roads of a pod get different ones: what comes back from a backend to a port is
 * taken for an answer to the packet road until its flow there has expired.
 */
const firstPorts: Readonly<Record<Road, number>> = { socket: 10_000, packet: 20_000 };

/** Who connects: a pod of a lab by its address of the target's family, on one of its roads. */
export type Origin = { readonly pod: string; readonly address: string; readonly node: string; readonly road: Road };

/** How an application speaks: over TCP, by send() on a connected UDP socket, or by sendto() on one that is not. */
export type Call = 'stream' | 'connected' | 'unconnected';

/** One connection to a Service address, or one datagram and its answer, and what became of it. */
export type Visit = {
  readonly from: Origin;
  readonly target: Target;
  readonly call: Call;
  readonly report: ConnectionReport;
  /** The connection was opened before the update and kept. */
  readonly isHeld: boolean;
  /** Of a datagram: the report before it of the same socket; null: it is the first of its socket. */
  readonly before: ConnectionReport | null;
  /** The kernel has ended its socket, and told its application. */
  readonly isEnded: boolean;
};

/** Long enough for a SYN that is sent again after a second. */
export const visitTimeoutMs = 2_500;

/** Below no node's directory, so no node's programs see who is in it; it goes with the lab. */
function unwatchedCgroup(lab: Lab): string {
  const path = `${lab.cgroup}/unwatched`;
  mkdirSync(path, { recursive: true });
  return path;
}

/** Both visitors of each of the pods. */
export async function startVisitors(lab: Lab, pods: readonly string[], seed: number): Promise<Result<Visitor[]>> {
  const cgroup = unwatchedCgroup(lab);
  const starting = pods.flatMap((name, index) =>
    roads.map(async (road, lane): Promise<Result<Visitor>> => {
      const pod = lab.pod(name);
      const client = await startClient(road === 'socket' ? pod.place : { ...pod.place, cgroup });
      if (!client.ok) return client;
      return ok({
        pod,
        road,
        client: client.value,
        random: createStream(seed, index, lane),
        nextPort: firstPorts[road],
      });
    }),
  );
  const visitors: Visitor[] = [];
  for (const visitor of await Promise.all(starting)) {
    if (!visitor.ok) return visitor;
    visitors.push(visitor.value);
  }
  return ok(visitors);
}

/** Ends the processes; the lab would do it too, but only at its end. */
export async function stopVisitors(visitors: readonly Visitor[]): Promise<void> {
  await Promise.all(visitors.map(({ client }) => client.stop()));
}

function originOf({ pod: { spec }, road }: Visitor, { family }: Target): Origin {
  const address = family === 'IPv4' ? spec.address : (spec.addressIPv6 ?? '');
  return { pod: spec.name, address, node: spec.node, road };
}

function requestOf(visitor: Visitor, { address, port }: Target): Parameters<Client['connect']>[0] {
  const sourcePort = visitor.nextPort++;
  return { address: addressText(address), port, sourcePort, timeoutMs: visitTimeoutMs };
}

/** One connection, from connect() to its orderly end; to a Service of UDP one datagram and its answer. */
export async function visit(visitor: Visitor, target: Target, datagramCall?: Call): Promise<Visit> {
  if (target.protocol !== UDP) {
    const report = await visitor.client.connect(requestOf(visitor, target));
    return { ...streamVisit(visitor, target), report, isHeld: false };
  }
  const call = datagramCall ?? visitor.random.pick(['connected', 'unconnected'] as const);
  const request = { ...requestOf(visitor, target), isConnected: call === 'connected', isLast: true };
  const report = await visitor.client.datagram(request);
  return datagramVisit(visitor, target, { call, report, before: null });
}

/** The next datagram of the socket of an earlier visit; the first one of a new socket where there is none any more. */
export async function ask(visitor: Visitor, target: Target, call: Call, last: Visit | undefined): Promise<Visit> {
  const before = last === undefined || last.isEnded ? null : last.report;
  const going = { address: addressText(target.address), port: target.port, timeoutMs: visitTimeoutMs };
  const report = await visitor.client.datagram(
    before === null
      ? { ...requestOf(visitor, target), isConnected: call === 'connected' }
      : { ...going, socket: before.id },
  );
  return datagramVisit(visitor, target, { call, report, before });
}

function streamVisit(visitor: Visitor, target: Target): Omit<Visit, 'report' | 'isHeld'> {
  return { from: originOf(visitor, target), target, call: 'stream', before: null, isEnded: false };
}

/** Told by recv() of a socket that was ended, and by send() once nobody had read that. */
const endedErrors: readonly string[] = ['ECONNABORTED', 'EDESTADDRREQ'];

function datagramVisit(visitor: Visitor, target: Target, said: Pick<Visit, 'call' | 'report' | 'before'>): Visit {
  const isEnded = said.call === 'connected' && endedErrors.includes(said.report.errno ?? '');
  return { from: originOf(visitor, target), target, ...said, isHeld: false, isEnded };
}

/** A connection that stays open until the client process ends; `report.id` names it to `client.echo`. */
export async function hold(visitor: Visitor, target: Target): Promise<Visit> {
  const report = await visitor.client.open(requestOf(visitor, target));
  return { ...streamVisit(visitor, target), report, isHeld: true };
}

/** Visits under way; `settle` waits for those that are not over. */
export type Crowd = {
  /** Sends every visitor to `count` targets of its own choice, all at once. */
  readonly burst: (count: number) => void;
  readonly settle: () => Promise<readonly Visit[]>;
};

/** Visitors that keep connecting, each on its own every `intervalMs` on average, until `settle`. */
export function startCrowd(visitors: readonly Visitor[], targets: readonly Target[], intervalMs: number): Crowd {
  const visits: Promise<Visit>[] = [];
  const send = (visitor: Visitor): void => void visits.push(visit(visitor, visitor.random.pick(targets)));
  const timers = new Set<NodeJS.Timeout>();
  const schedule = (visitor: Visitor): void => {
    // Uneven steps: in step with the events, connections would never meet one in flight.
    const timer = setTimeout(
      () => {
        timers.delete(timer);
        send(visitor);
        schedule(visitor);
      },
      intervalMs / 2 + visitor.random.below(intervalMs + 1),
    );
    timers.add(timer);
  };
  for (const visitor of visitors) schedule(visitor);
  return {
    burst: (count) => {
      for (const visitor of visitors) for (let at = 0; at < count; at += 1) send(visitor);
    },
    settle: () => {
      for (const timer of timers) clearTimeout(timer);
      timers.clear();
      return Promise.all(visits);
    },
  };
}
