// SPDX-License-Identifier: Apache-2.0
/** The demo from beginning to end: machine, lab, rolling update, replay of what was captured, replay of a recording. */
import { release } from 'node:os';
import { ok, type Result } from '../../core/result.ts';
import { probeKernel, requireFeatures, type Feature } from '../../kernel/probe.ts';
import { startLab, type Lab } from '../../lab/lab.ts';
import { twoNodes } from '../../lab/twonodes.ts';
import { countAsked } from './askers.ts';
import { createJudge } from './judge.ts';
import { play, type Played } from './play.ts';
import { replaySource, type Replayed, type ReplaySource } from './replay.ts';
import { makeReport, type DemoReport } from './report.ts';
import { longestInFlightNs, readSchedule, streamPath } from './stream.ts';

export type DemoOptions = {
  readonly seed: number;
  /** Name of the lab; it must be free. */
  readonly labName: string;
  /** Told of each phase in a line as it ends. */
  readonly say: (phase: string, line: string) => void;
  /** Told of the lab as soon as it is there, so that a signal can end it. */
  readonly onLab?: (lab: Lab) => void;
};

/** Mean pause of each of the four clients between two connections. */
const intervalMs = 20;

/** The same on both nodes and in the replay. */
const selectionKey: readonly [number, number] = [0x7a0de301, 0x5eed0001];

const recordedFolder = new URL('../../fixtures/rolling-update/', import.meta.url).pathname;

/** Runs everything; the lab is gone when this returns, whatever happened. */
export async function runDemo(options: DemoOptions): Promise<Result<DemoReport>> {
  const startedMs = performance.now();
  const { say } = options;
  const features = probeKernel();
  if (!features.ok) return features;
  const required = requireFeatures(features.value);
  if (!required.ok) return required;
  say('machine', machineText(features.value));
  const lab = await startLab(twoNodes(options.labName, { ipv6: true }));
  if (!lab.ok) return lab;
  options.onLab?.(lab.value);
  const { nodes, pods } = lab.value.spec;
  const servers = pods.filter((pod) => (pod.servers ?? []).length > 0).length;
  say('lab', `${nodes.length} nodes, ${pods.length} pods (${servers} servers), up in ${secondsText(startedMs)}`);
  let removed: Result<null> = ok(null);
  let report: Result<DemoReport>;
  try {
    report = await demoIn(lab.value, options, startedMs);
  } finally {
    removed = await lab.value.stop();
  }
  return removed.ok ? report : removed;
}

/** What is missing is named: the demo may then show something else than on another machine. */
function machineText(features: readonly Feature[]): string {
  const missing = features.filter(({ present }) => !present).map(({ name, without }) => `${name} (${without})`);
  const text = `Linux ${release()}, root; ${features.length - missing.length} of ${features.length} kernel features`;
  return missing.length === 0 ? text : `${text}; not here: ${missing.join(', ')}`;
}

function secondsText(sinceMs: number): string {
  return `${((performance.now() - sinceMs) / 1000).toFixed(1)} s`;
}

async function demoIn(lab: Lab, { seed, say }: DemoOptions, startedMs: number): Promise<Result<DemoReport>> {
  const schedule = readSchedule(streamPath);
  if (!schedule.ok) return schedule;
  const node = { selectionKey };
  const clients = ['client1', 'client2'];
  const heldTarget = 'shop/chat:chat';
  const done = await play(lab, { seed, node, schedule: schedule.value, clients, intervalMs, heldTarget, say });
  if (!done.ok) return done;
  const played = done.value;
  const { applied, originNs } = played;
  const judge = createJudge(lab.spec, applied, { originNs, inFlightNs: longestInFlightNs(applied) });
  const judged = played.visits.map((visit) => judge.judge(visit));
  sayPlayed(played, say);
  const replays = await replayAll(sourcesOf(played, judge.windowNs), seed);
  if (!replays.ok) return replays;
  say('replayed', replayLine(replays.value, 'both captures'));
  const recordings = await replayAll(recordedSources(), seed);
  if (!recordings.ok) return recordings;
  say('recording', replayLine(recordings.value, 'a rolling update under kube-proxy'));
  const durationMs = performance.now() - startedMs;
  return ok(
    makeReport({ seed, durationMs, played, judge, judged, replays: replays.value, recordings: recordings.value }),
  );
}

function sayPlayed(
  { applied, visits, held, asked, recordings, checksumErrors }: Played,
  say: DemoOptions['say'],
): void {
  const changes = new Set(applied.map(({ event }) => event)).size;
  const longestMs = Math.ceil(longestInFlightNs(applied) / 1e6);
  const datagrams = visits.filter(({ call }) => call !== 'stream').length;
  const connections = `${visits.length - datagrams} connections and ${datagrams} datagrams meanwhile`;
  say('update', `${changes} events, each in effect on a node within ${longestMs} ms; ${connections}`);
  const alive = held.filter(({ echo }) => echo.result === 'echoed').length;
  say('held', `${alive} of ${held.length} TCP connections that were open through the whole update still echo`);
  const { sockets, ended, reconnected, moved } = countAsked(asked);
  say(
    'stale UDP',
    `${sockets} UDP sockets asked on while backends went: ${moved} times the next datagram reached a live one; ` +
      `${ended} connected sockets were ended, ${reconnected} of them reconnected to a live one`,
  );
  const captured = recordings.reduce((sum, { counts }) => sum + counts.captured, 0);
  const wrong = [...checksumErrors.values()].reduce((sum, packets) => sum + packets, 0);
  say('captured', `${captured} packets on ${recordings.length} nodes; wrong checksums at any pod or node: ${wrong}`);
}

function sourcesOf({ recordings }: Played, inFlightNs: number): readonly ReplaySource[] {
  return recordings.map(({ node, capture, events, facts }) => {
    return { name: `capture of ${node}`, capture, events: [events], facts, selectionKey, inFlightNs };
  });
}

function recordedSources(): readonly ReplaySource[] {
  const events = ['nodes', 'services', 'endpointslices'].map((kind) => `${recordedFolder}${kind}.events.ndjson`);
  return ['node1', 'node2'].map((node) => {
    const [capture, facts] = [`${recordedFolder}${node}.pcap`, `${recordedFolder}${node}.json`];
    return { name: `recording of ${node}`, capture, events, facts, selectionKey: undefined, inFlightNs: 0 };
  });
}

async function replayAll(sources: readonly ReplaySource[], seed: number): Promise<Result<readonly Replayed[]>> {
  const replays: Replayed[] = [];
  for (const source of sources) {
    const replayed = await replaySource(source, seed);
    if (!replayed.ok) return replayed;
    replays.push(replayed.value);
  }
  return ok(replays);
}

function replayLine(replays: readonly Replayed[], what: string): string {
  const sum = (of: (one: Replayed) => number): number => replays.reduce((total, one) => total + of(one), 0);
  const compared = sum((one) => one.comparedWithKernel);
  const differences = sum((one) => one.differences);
  const permitted = sum(({ connections }) => connections.permitted);
  const inFlight = sum(({ connections }) => connections.inFlight);
  const stale = sum(({ connections }) => connections.stale);
  const never = sum(({ connections }) => connections.never);
  const notJudged = sum(({ connections }) => connections.notJudged);
  return (
    `${what}: ${compared} packets through model and kernel, ${differences} differences; connections: ` +
    `${permitted + inFlight} permitted, ${stale} stale, ${never} never permitted` +
    (notJudged === 0 ? '' : `, ${notJudged} of kinds that this build does not judge`)
  );
}
