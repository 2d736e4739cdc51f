// SPDX-License-Identifier: Apache-2.0
/** The numbers of a replay as one record, and what they mean for whoever waits for an exit code. */
import { failureText } from '../core/result.ts';
import { instantText } from '../formats/instant.ts';
import { NO_SERVICE, retransmissionsOf, type Connection } from './connections.ts';
import { isPermitted } from './judge.ts';
import { momentOf } from './lines.ts';
import type { ClockOffset } from './nodes.ts';
import { addTo, totalOf, type Finding, type Tally } from './tally.ts';

/** More of the frames than this without an explanation makes the rest doubtful. */
const UNATTRIBUTED_PERCENT_MAX = 1;

/** How a replay was run: what is not in the recording itself. */
export type ReplaySetting = {
  readonly node: string;
  /** As the node's facts name it; empty: not told. */
  readonly proxy: string;
  readonly seed: number;
  /** Of the BPF object; null: no kernel ran. */
  readonly objectSha256: string | null;
  /** Why the kernel's twin did not run; null: it did. */
  readonly noKernel: string | null;
  readonly allowUnattributed: boolean;
  /** Of the captures of other nodes. */
  readonly clocks?: readonly ClockOffset[];
};

export type ConnectionCounts = {
  readonly total: number;
  readonly permitted: number;
  readonly early: number;
  readonly stale: number;
  readonly never: number;
  readonly notJudged: number;
  /** What the clients of judged connections got. */
  readonly answered: number;
  readonly refused: number;
  readonly reset: number;
  readonly unreachable: number;
  readonly none: number;
};

/** Datagrams of UDP flows, each of which is judged. */
export type DatagramCounts = {
  readonly flows: number;
  readonly sent: number;
  readonly judged: number;
  readonly notPermitted: number;
};

/** Packets of TCP that repeat bytes which had been sent before, first SYNs aside. */
export type RetransmissionCounts = {
  readonly fromClients: number;
  readonly fromServices: number;
  /** Of how many connections. */
  readonly connections: number;
};

/** Connections to Services that keep their clients, whose choice was seen and judged. */
export type AffinityCounts = {
  readonly kept: number;
  readonly notKept: number;
  /** Those that might be sent anywhere, by the reason. */
  readonly free: Readonly<Record<string, number>>;
};

/**
 * Where to look, by what was recorded. `datapath-wrong`: something was never permitted; `control-plane-late`: what was
 * done was right before; `neither`: all is as it may be; `not-judged`: nothing can be said.
 */
export type Blame = 'datapath-wrong' | 'control-plane-late' | 'neither' | 'not-judged';

/** The last line of the output. */
export type ReplaySummary = {
  readonly kind: 'ReplaySummary';
  readonly grade: 'reconstructed';
  readonly node: string;
  readonly from: string;
  readonly to: string;
  readonly packets: number;
  readonly inputs: { readonly fromPod: number; readonly toPod: number };
  readonly otherSightings: number;
  readonly noInput: Readonly<Record<string, number>>;
  readonly comparedWithKernel: number;
  readonly kernel: string;
  readonly services: number;
  readonly blame: Blame;
  readonly connections: ConnectionCounts;
  readonly datagrams: DatagramCounts;
  readonly retransmissions: RetransmissionCounts;
  readonly affinity: AffinityCounts;
  readonly differences: number;
  readonly firstDifference: Finding | string | null;
  readonly notPermitted: number;
  /** Connections for which the model itself chose otherwise than the oracle permits. */
  readonly modelNotPermitted: number;
  readonly replies: { readonly reproduced: number; readonly differing: number; readonly withoutFlow: number };
  readonly firstReplyDifference: Finding | null;
  readonly unsupported: Readonly<Record<string, { readonly connections: number; readonly packets: number }>>;
  readonly unattributed: number;
  readonly inferredDevices: number;
  readonly checksums: Readonly<Record<string, number>>;
  readonly superPackets: number;
  readonly shortened: number;
  readonly backwards: number;
  readonly untimed: number;
  /** How the clocks of other nodes' captures differed, which was taken off; errorMs is null where nobody knows. */
  readonly clocks: readonly {
    readonly node: string;
    readonly offsetMs: number;
    readonly errorMs: number | null;
    readonly there: number;
    readonly back: number;
  }[];
  readonly masked: Readonly<Record<string, never>>;
  readonly seed: number;
  readonly object: string | null;
  /** What could not be read or programmed, one line each. */
  readonly failures: readonly string[];
};

export function summarize(tally: Tally, setting: ReplaySetting): ReplaySummary {
  const { connections, firstDifference, tableDifference } = tally;
  const counts = countConnections(connections);
  return {
    kind: 'ReplaySummary',
    grade: 'reconstructed',
    node: setting.node,
    from: instantText(tally.origin),
    to: instantText(momentOf(tally.origin, tally.lastNs)),
    packets: tally.packets,
    inputs: { fromPod: tally.inputs.get('from-pod') ?? 0, toPod: tally.inputs.get('to-pod') ?? 0 },
    otherSightings: tally.sightings,
    noInput: sorted(tally.noInput),
    comparedWithKernel: tally.comparedWithKernel,
    kernel: setting.noKernel ?? 'ran',
    services: new Set(connections.map(({ service }) => service).filter((service) => service !== NO_SERVICE)).size,
    blame: blameOf(counts, connections),
    connections: counts,
    datagrams: countDatagrams(connections),
    retransmissions: countRetransmissions(connections),
    affinity: countAffinity(connections),
    differences: tally.differences,
    firstDifference: firstDifference ?? tableDifference ?? null,
    notPermitted: connections.filter((connection) => isPermitted(connection) === false).length,
    modelNotPermitted: tally.modelNotPermitted.length,
    replies: tally.replies,
    firstReplyDifference: tally.firstReply ?? null,
    unsupported: countUnsupported(tally),
    unattributed: tally.noInput.get('unattributed') ?? 0,
    inferredDevices: tally.places.inferred.length,
    checksums: sorted(tally.checksums),
    superPackets: tally.superPackets,
    shortened: tally.shortened,
    backwards: tally.backwards,
    untimed: tally.untimed,
    clocks: (setting.clocks ?? []).map(({ back, errorNs, node, offsetNs, there }) => {
      return { node, offsetMs: offsetNs / 1e6, errorMs: errorNs === Infinity ? null : errorNs / 1e6, there, back };
    }),
    masked: {},
    seed: setting.seed,
    object: setting.objectSha256,
    failures: [
      ...tally.failures.map(failureText),
      ...[...tally.mapFailures].map(([text, count]) => (count === 1 ? text : `${text} (${count} times)`)),
    ],
  };
}

function sorted(counts: ReadonlyMap<string, number>): Record<string, number> {
  return Object.fromEntries([...counts].sort(([left], [right]) => (left < right ? -1 : 1)));
}

/** Why a connection has no verdict; undefined: it has one. */
export function whyNotJudged({ notJudged, verdict }: Connection): string | undefined {
  return notJudged ?? (verdict === undefined ? 'not-seen-again' : undefined);
}

function countConnections(connections: readonly Connection[]): ConnectionCounts {
  const judged = connections.filter((connection) => whyNotJudged(connection) === undefined);
  const verdicts = { permitted: 0, early: 0, stale: 0, never: 0, unsupported: 0 };
  const replies = { answered: 0, refused: 0, reset: 0, unreachable: 0, none: 0 };
  for (const { reply, verdict } of judged) {
    if (verdict !== undefined) verdicts[verdict.kind] += 1;
    replies[reply] += 1;
  }
  const { early, never, permitted, stale } = verdicts;
  const notJudged = connections.length - judged.length;
  return { total: connections.length, permitted, early, stale, never, notJudged, ...replies };
}

function blameOf({ never, notJudged, stale, total }: ConnectionCounts, all: readonly Connection[]): Blame {
  if (never > 0 || all.some(({ applied }) => applied !== undefined)) return 'datapath-wrong';
  if (stale > 0) return 'control-plane-late';
  return notJudged < total ? 'neither' : 'not-judged';
}

function countDatagrams(connections: readonly Connection[]): DatagramCounts {
  const flows = connections.map(({ datagrams }) => datagrams).filter((datagrams) => datagrams !== undefined);
  const total = (count: (flow: (typeof flows)[number]) => number): number =>
    flows.reduce((sum, flow) => sum + count(flow), 0);
  return {
    flows: flows.length,
    sent: total(({ sent }) => sent),
    judged: total(({ judged }) => judged),
    notPermitted: total(({ notPermitted }) => notPermitted),
  };
}

function countRetransmissions(connections: readonly Connection[]): RetransmissionCounts {
  const total = (count: (streams: NonNullable<Connection['streams']>) => number): number =>
    connections.reduce((sum, { streams }) => sum + (streams === undefined ? 0 : count(streams)), 0);
  return {
    fromClients: total(({ fromClient }) => fromClient.repeated),
    fromServices: total(({ fromService }) => fromService.repeated),
    connections: connections.filter((connection) => retransmissionsOf(connection) > 0).length,
  };
}

function countAffinity(connections: readonly Connection[]): AffinityCounts {
  const judged = connections.filter((connection) => whyNotJudged(connection) === undefined);
  const bound = judged.filter(({ affinity }) => affinity?.is === 'bound');
  const kept = bound.filter((connection) => isPermitted(connection) === true).length;
  const free = new Map<string, number>();
  for (const { affinity } of judged) if (affinity?.why !== undefined) addTo(free, affinity.why);
  return { kept, notKept: bound.length - kept, free: sorted(free) };
}

function countUnsupported({ connections, unsupportedPackets }: Tally): ReplaySummary['unsupported'] {
  const counts = new Map<string, { connections: number; packets: number }>();
  const of = (reason: string): { connections: number; packets: number } => {
    const known = counts.get(reason) ?? { connections: 0, packets: 0 };
    counts.set(reason, known);
    return known;
  };
  for (const [reason, packets] of unsupportedPackets) of(reason).packets += packets;
  for (const connection of connections) {
    const reason = whyNotJudged(connection);
    if (reason !== undefined) of(reason).connections += 1;
  }
  return Object.fromEntries([...counts].sort(([left], [right]) => (left < right ? -1 : 1)));
}

/** What a replay ends with, worst first. `not-permitted` is also what the twins agree on but should not do. */
export type ReplayEnd = 'twins-differ' | 'input-unreadable' | 'maps-full' | 'not-permitted' | 'agreed';

export function endOf(tally: Tally, setting: ReplaySetting): ReplayEnd {
  if (tally.differences > 0) return 'twins-differ';
  if (tally.failures.length > 0) return 'input-unreadable';
  if (totalOf(tally.mapFailures) > 0) return 'maps-full';
  const isWrong = tally.replies.differing > 0 || tally.modelNotPermitted.length > 0;
  const isStained = tally.connections.some((connection) => isPermitted(connection) === false);
  return isWrong || isStained || (isDoubtful(tally) && !setting.allowUnattributed) ? 'not-permitted' : 'agreed';
}

export function isDoubtful({ noInput, packets }: Tally): boolean {
  return (noInput.get('unattributed') ?? 0) * 100 > packets * UNATTRIBUTED_PERCENT_MAX;
}
