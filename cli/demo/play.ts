// SPDX-License-Identifier: Apache-2.0
/** The live part of the demo: two nodes programmed, clients connecting while the schedule plays, everything captured. */
import { UDP } from '../../core/address.ts';
import { fail, ok, type Failure, type Result } from '../../core/result.ts';
import { startCapture, type Capture, type CaptureCounts } from '../../lab/capture.ts';
import { realtimeNs } from '../../lab/clock.ts';
import { readCounters } from '../../lab/counters.ts';
import { writeNodeFacts } from '../../lab/facts.ts';
import type { Lab } from '../../lab/lab.ts';
import type { ConnectionReport } from '../../lab/wire.ts';
import { startAskers, type Asked } from './askers.ts';
import { startNode, type NodeOptions, type RunningNode } from './node.ts';
import {
  applyEvent,
  splitSchedule,
  targetsOf,
  writeStream,
  type Applied,
  type Scheduled,
  type Target,
} from './stream.ts';
import {
  hold,
  startCrowd,
  startVisitors,
  stopVisitors,
  visitTimeoutMs,
  type Crowd,
  type Visit,
  type Visitor,
} from './visitors.ts';

export type PlayOptions = {
  readonly seed: number;
  readonly node: NodeOptions;
  readonly schedule: readonly Scheduled[];
  /** Client pods. */
  readonly clients: readonly string[];
  /** Mean pause of each client between two connections. */
  readonly intervalMs: number;
  /** Service port whose connections are held through the whole schedule, `namespace/name:portName`; it must echo. */
  readonly heldTarget: string;
  /** Told of each phase in a line. */
  readonly say: (phase: string, line: string) => void;
};

/** A connection that is held, and who holds it. */
type Open = { readonly visit: Visit; readonly visitor: Visitor };

/** A connection that was held, and what came of asking it for an echo at the very end. */
export type Held = { readonly visit: Visit; readonly echo: ConnectionReport };

/** Everything there is to judge. Files are below the lab's run directory and go with it. */
export type Played = {
  readonly originNs: bigint;
  readonly endNs: bigint;
  readonly applied: readonly Applied[];
  readonly targets: readonly Target[];
  readonly visits: readonly Visit[];
  readonly held: readonly Held[];
  /** Their visits are among the others, too. */
  readonly asked: readonly Asked[];
  /** Namespace to wrong checksums that it counted, of pods and nodes; empty: none anywhere. */
  readonly checksumErrors: ReadonlyMap<string, number>;
  /** Packets by reason, both nodes together. */
  readonly reasons: ReadonlyMap<string, number>;
  readonly recordings: readonly Recording[];
};

/** What one node's replay needs. */
export type Recording = {
  readonly node: string;
  readonly capture: string;
  readonly events: string;
  readonly facts: string;
  readonly counts: CaptureCounts;
};

/** Before the first and after the last event, so that every state is met by clients. */
const quietMs = 500;
const burstConnections = 2;
const heldPerVisitor = 3;
/** Mean pause of a UDP socket between two datagrams. */
const askIntervalMs = 250;

/** Plays the schedule in a lab. Whatever happens, no program stays attached and no client stays behind. */
export async function play(lab: Lab, options: PlayOptions): Promise<Result<Played>> {
  using nodes = new DisposableStack();
  const running: RunningNode[] = [];
  for (const { name } of lab.spec.nodes) {
    const node = startNode(lab, name, options.node);
    if (!node.ok) return node;
    running.push(nodes.use(node.value));
  }
  const visitors = await startVisitors(lab, options.clients, options.seed);
  if (!visitors.ok) return visitors;
  try {
    return await playWith(lab, options, running, visitors.value);
  } finally {
    await stopVisitors(visitors.value);
  }
}

async function playWith(
  lab: Lab,
  options: PlayOptions,
  nodes: readonly RunningNode[],
  visitors: readonly Visitor[],
): Promise<Result<Played>> {
  const { schedule, say, intervalMs } = options;
  const targets = targetsOf(schedule);
  if (!targets.ok) return targets;
  const captures = await startCaptures(lab);
  if (!captures.ok) return captures;
  const originNs = realtimeNs();
  const { start, rest } = splitSchedule(schedule);
  const applied: Applied[] = [];
  for (const { event } of start) {
    const failure = applyToAll(nodes, event, applied);
    if (failure !== undefined) return { ok: false, error: failure };
  }
  const programmedMs = Number(realtimeNs() - originNs) / 1e6;
  const attachments = nodes.reduce((count, node) => count + node.attachments.length, 0);
  say(
    'programmed',
    `${nodes.length} nodes, ${attachments} programs attached, maps as wanted in ${programmedMs.toFixed(0)} ms`,
  );
  const open = await holdConnections(visitors, targets.value, options.heldTarget);
  const crowd = startCrowd(visitors, targets.value, intervalMs);
  const datagramTargets = targets.value.filter(({ protocol }) => protocol === UDP);
  const askers = startAskers(visitors, datagramTargets, askIntervalMs);
  const failure = await playEvents(nodes, rest, applied, crowd);
  const visits = await crowd.settle();
  const asked = await askers.settle();
  if (failure !== undefined) return { ok: false, error: failure };
  const held = await askEchoes(open);
  const recordings = await writeRecordings(lab, captures.value, applied);
  if (!recordings.ok) return recordings;
  const checksumErrors = readChecksumErrors(lab);
  if (!checksumErrors.ok) return checksumErrors;
  const reasons = addReasons(nodes);
  if (!reasons.ok) return reasons;
  return ok({
    originNs,
    endNs: realtimeNs(),
    applied,
    targets: targets.value,
    visits: [...held.map(({ visit }) => visit), ...visits, ...asked.flatMap((one) => one.visits)],
    held,
    asked,
    checksumErrors: checksumErrors.value,
    reasons: reasons.value,
    recordings: recordings.value,
  });
}

function applyToAll(nodes: readonly RunningNode[], event: Scheduled['event'], applied: Applied[]): Failure | undefined {
  for (const node of nodes) {
    const done = applyEvent(node, event);
    if (!done.ok) return done.error;
    applied.push(done.value);
  }
  return undefined;
}

/** Each event when it is due, with clients sent off right before it, so that some connect while it is applied. */
async function playEvents(
  nodes: readonly RunningNode[],
  rest: readonly Scheduled[],
  applied: Applied[],
  crowd: Crowd,
): Promise<Failure | undefined> {
  const startedMs = performance.now();
  const shiftMs = quietMs - (rest[0]?.dueMs ?? 0);
  for (const { dueMs, event } of rest) {
    await sleep(startedMs + shiftMs + dueMs - performance.now());
    crowd.burst(burstConnections);
    // The requests leave this process before the maps change.
    await new Promise((resolve) => setImmediate(resolve));
    const failure = applyToAll(nodes, event, applied);
    if (failure !== undefined) return failure;
  }
  await sleep(quietMs);
  return undefined;
}

function sleep(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, Math.max(0, milliseconds)));
}

/** Some connections of each visitor to each address of the one Service that keeps them. */
async function holdConnections(
  visitors: readonly Visitor[],
  targets: readonly Target[],
  heldTarget: string,
): Promise<readonly Open[]> {
  const kept = targets.filter(({ name }) => name === heldTarget);
  const opening = visitors.flatMap((visitor) =>
    kept.flatMap((target) =>
      Array.from({ length: heldPerVisitor }, async () => ({ visitor, visit: await hold(visitor, target) })),
    ),
  );
  return Promise.all(opening);
}

function askEchoes(open: readonly Open[]): Promise<readonly Held[]> {
  const asking = open.map(async ({ visit, visitor: { client } }): Promise<Held> => {
    if (visit.report.result !== 'answered') return { visit, echo: visit.report };
    const echo = await client.echo(visit.report.id, `still ${visit.report.id}`, visitTimeoutMs);
    await client.close(visit.report.id, visitTimeoutMs);
    return { visit, echo };
  });
  return Promise.all(asking);
}

/** One tcpdump in each node's namespace, its file beside the node's state. */
async function startCaptures(lab: Lab): Promise<Result<readonly Capture[]>> {
  const starting = lab.spec.nodes.map(({ name }) => {
    const { namespacePath, stateDirectory } = lab.node(name);
    return startCapture({
      namespacePath,
      harness: lab.harness,
      file: `${stateDirectory}/${name}.pcap`,
      snapLength: 512,
    });
  });
  const captures: Capture[] = [];
  for (const capture of await Promise.all(starting)) {
    if (!capture.ok) return capture;
    captures.push(capture.value);
  }
  return ok(captures);
}

/** Ends the captures and puts what a replay needs beside each: when this node heard what, and its facts. */
async function writeRecordings(
  lab: Lab,
  captures: readonly Capture[],
  applied: readonly Applied[],
): Promise<Result<readonly Recording[]>> {
  const recordings: Recording[] = [];
  for (const [index, { name }] of lab.spec.nodes.entries()) {
    const capture = captures[index];
    if (capture === undefined) return fail('environment', name, 'was not captured');
    const base = `${lab.node(name).stateDirectory}/${name}`;
    const counts = await capture.stop();
    if (!counts.ok) return counts;
    const written = writeStream(`${base}.events.ndjson`, applied, name);
    if (!written.ok) return written;
    const facts = await writeNodeFacts(lab, name, 'tandem', `${base}.json`);
    if (!facts.ok) return facts;
    const { file } = capture;
    recordings.push({
      node: name,
      capture: file,
      events: `${base}.events.ndjson`,
      facts: `${base}.json`,
      counts: counts.value,
    });
  }
  return ok(recordings);
}

function readChecksumErrors(lab: Lab): Result<ReadonlyMap<string, number>> {
  const places = [
    ...lab.spec.nodes.map(({ name }) => ({ name, path: lab.node(name).namespacePath })),
    ...lab.spec.pods.map(({ name }) => ({ name, path: lab.pod(name).namespacePath })),
  ];
  const errors = new Map<string, number>();
  for (const { name, path } of places) {
    const counted = readCounters(path);
    if (!counted.ok) return counted;
    const wrong = Object.values(counted.value).reduce((sum, packets) => sum + packets, 0);
    if (wrong > 0) errors.set(name, wrong);
  }
  return ok(errors);
}

function addReasons(nodes: readonly RunningNode[]): Result<ReadonlyMap<string, number>> {
  const sum = new Map<string, number>();
  for (const node of nodes) {
    const counters = node.counters();
    if (!counters.ok) return counters;
    for (const [reason, packets] of counters.value.reasons) sum.set(reason, (sum.get(reason) ?? 0) + packets);
  }
  return ok(sum);
}
