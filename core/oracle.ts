// SPDX-License-Identifier: Apache-2.0
/**
 * The second oracle: what is permitted for a new connection, from Services, EndpointSlices, Nodes and Pods alone.
 * It never sees a map entry and shares nothing with the compiler, so that a wrong compiler can't hide behind agreement.
 */
import type { Address, Prefix } from './address.ts';
import type { ClusterEvent, ClusterObject } from './objects.ts';
import type { Answer, FrontendKind, Judgement, Question } from './oracle/answer.ts';
import { applyToFold, createFold, type Fold } from './oracle/fold.ts';
import {
  changesWithin,
  createHistory,
  forgetVersionsBefore,
  latestOf,
  latestValues,
  objectsFor,
  recordVersion,
  valuesAfterEvent,
  valuesAtTime,
  versionCount,
  type History,
  type Moment,
} from './oracle/history.ts';
import { frontendsOf, healthChecksOf, type Frontend, type ServiceHealth } from './oracle/listing.ts';
import { servingAddresses, type NodePortAddresses } from './oracle/nodeports.ts';
import { addressKey, type Family } from './oracle/read.ts';
import { answerFromViews, keysOfQuestion, type Surroundings } from './oracle/resolve.ts';
import { shareViewOnce } from './oracle/shared.ts';
import { keysOfView, type View } from './oracle/view.ts';
import { assert } from './result.ts';

/** The node that is judged, and what of its configuration decides outcomes. */
export type OracleOptions = {
  /** Lowercased as a proxy does (H7); slices must name the node exactly so. */
  readonly nodeName: string;
  /** Until a Node object of that name says otherwise. */
  readonly zone?: string;
  readonly serviceRanges?: readonly Prefix[];
  /** Addresses of nodes beyond those in Node objects: where kinds that are not judged may be served. */
  readonly nodeAddresses?: readonly Address[];
  /** The judged node's own, the first of each family its primary one; none: those of its Node object. */
  readonly nodeIPs?: readonly Address[];
  /** Which of them serve NodePorts and host ports; default: the primary ones (B7). */
  readonly nodePortAddresses?: NodePortAddresses;
  /** Addresses of pods, all nodes; clients outside of them see masqueraded connections (1.4). Default: unknown. */
  readonly clusterCIDRs?: readonly Prefix[];
  /** Whatever goes to a ClusterIP is masqueraded. Default false. */
  readonly masqueradeAll?: boolean;
  /** Whether host ports of the node's pods are served. Default false. */
  readonly hostPort?: boolean;
  /** Whether ClusterIPs serve clients from elsewhere too. Default false. */
  readonly externalClusterIP?: boolean;
  /**
   * Kinds of frontends that are judged besides ClusterIP; default all. Of the others is said that they are
   * unsupported, at every address that may be one.
   */
  readonly judged?: readonly FrontendKind[];
  /** Families the node serves (H2); default both. */
  readonly families?: readonly Family[];
  /** False: hints are ignored. Default true. */
  readonly topology?: boolean;
  /** Services with this value of the service-proxy-name label are ours; undefined: those without the label (A2). */
  readonly serviceProxyName?: string;
};

/** Answers for the state after the last event. Work per event is that of the Services it concerns. */
export type Oracle = {
  readonly apply: (event: ClusterEvent) => void;
  readonly answer: (question: Question) => Answer;
  /** Every frontend of a judged kind that exists now, with its owner, in no order. */
  readonly frontends: () => readonly Frontend[];
  /** Every port at which load balancers ask for local endpoints, in no order. */
  readonly healthChecks: () => readonly ServiceHealth[];
};

/**
 * Answers for any moment of a stream. Times are nanoseconds from an origin of the caller's (exact to 104 days), and
 * never run backwards.
 */
export type OracleTimeline = {
  /** Takes the next event and returns its index, from 0, by which judgements name it. */
  readonly apply: (timeNs: number, event: ClusterEvent) => number;
  /** The answer in force at a time: events of that very time have happened. */
  readonly answerAt: (timeNs: number, question: Question) => Answer;
  /** The answer at a time with those of [time - window, time], and those that begin in (time, time + lead]. */
  readonly judge: (timeNs: number, windowNs: number, question: Question, leadNs?: number) => Judgement;
  /** Gives up what was over before a time; later questions must not reach further back. */
  readonly forgetBefore: (timeNs: number) => void;
  /** Kept versions of all objects: what memory depends on. */
  readonly versionCount: () => number;
};

const ALL_KINDS: readonly FrontendKind[] = ['ClusterIP', 'NodePort', 'LoadBalancer', 'ExternalIP', 'HostPort'];

type Machine = { readonly fold: Fold; readonly history: History<View>; readonly surroundings: Surroundings };

function createMachine(options: OracleOptions, keepsPast: boolean): Machine {
  return {
    fold: createFold({
      nodeName: options.nodeName.trim().toLowerCase(),
      zone: options.zone,
      topology: options.topology ?? true,
      serviceProxyName: options.serviceProxyName,
      nodePortAddresses: options.nodePortAddresses ?? [],
    }),
    history: createHistory({ keysOf: keysOfView, keepsPast }),
    surroundings: surroundingsOf(options),
  };
}

function surroundingsOf(options: OracleOptions): Surroundings {
  const { nodeIPs = [], nodePortAddresses = [] } = options;
  return {
    families: options.families ?? ['IPv4', 'IPv6'],
    judged: new Set(options.judged ?? ALL_KINDS),
    serviceRanges: options.serviceRanges ?? [],
    nodeAddresses: new Set((options.nodeAddresses ?? []).map(addressKey)),
    own: nodeIPs.length > 0 ? { addresses: nodeIPs, serving: servingAddresses(nodeIPs, nodePortAddresses) } : undefined,
    clusterCIDRs: options.clusterCIDRs ?? [],
    masqueradeAll: options.masqueradeAll ?? false,
    servesHostPorts: options.hostPort ?? false,
    externalClusterIP: options.externalClusterIP ?? false,
  };
}

/** Only what really changed becomes a version, so that an event without effect never ends a permission. */
function applyToMachine({ fold, history }: Machine, event: ClusterEvent, moment: Moment): void {
  for (const [object, computed] of applyToFold(fold, event)) {
    const previous = latestOf(history, object);
    const next = shareViewOnce(previous, computed);
    if (next !== previous) recordVersion(history, object, next, moment);
  }
}

export function createOracle(options: OracleOptions): Oracle {
  const machine = createMachine(options, false);
  const { history, surroundings } = machine;
  return {
    apply: (event) => applyToMachine(machine, event, { atNs: 0, event: 0 }),
    answer: (question) => {
      const objects = objectsFor(history, keysOfQuestion(question, surroundings));
      return answerFromViews(valuesAtTime(history, objects, 0), question, surroundings);
    },
    frontends: () => frontendsOf(latestValues(history), surroundings),
    healthChecks: () => healthChecksOf(latestValues(history)),
  };
}

/** The oracle of a cluster that holds these objects. */
export function oracleOf(options: OracleOptions, objects: readonly ClusterObject[]): Oracle {
  const oracle = createOracle(options);
  for (const object of objects) oracle.apply({ type: 'ADDED', object });
  return oracle;
}

export function createOracleTimeline(options: OracleOptions): OracleTimeline {
  const machine = createMachine(options, true);
  const { history, surroundings } = machine;
  let eventCount = 0;
  let latestNs = -Infinity;
  let forgottenNs = -Infinity;
  return {
    apply: (timeNs, event) => {
      assert(timeNs >= latestNs, 'events of a timeline come in order of time');
      latestNs = timeNs;
      applyToMachine(machine, event, { atNs: timeNs, event: eventCount });
      return eventCount++;
    },
    answerAt: (timeNs, question) => {
      assert(timeNs >= forgottenNs, 'the moment asked for is still kept');
      const objects = objectsFor(history, keysOfQuestion(question, surroundings));
      return answerFromViews(valuesAtTime(history, objects, timeNs), question, surroundings);
    },
    judge: (timeNs, windowNs, question, leadNs = 0) => {
      assert(windowNs >= 0 && leadNs >= 0, 'window and lead are spans');
      assert(timeNs - windowNs >= forgottenNs, 'the window asked for is still kept');
      return judgeMoment(machine, question, { timeNs, afterNs: timeNs - windowNs, untilNs: timeNs + leadNs });
    },
    forgetBefore: (timeNs) => {
      forgottenNs = Math.max(forgottenNs, timeNs);
      forgetVersionsBefore(history, timeNs);
    },
    versionCount: () => versionCount(history),
  };
}

/** An answer in force from `fromNs` on, brought by an event; none where it held before the window began. */
type Episode = { readonly answer: Answer; readonly fromNs: number; readonly by: number | undefined };

function judgeMoment(
  machine: Machine,
  question: Question,
  span: { readonly timeNs: number; readonly afterNs: number; readonly untilNs: number },
): Judgement {
  const episodes = episodesWithin(machine, question, span);
  const present = episodes.findLastIndex((episode) => episode.fromNs <= span.timeNs);
  const earlier: Judgement['earlier'][number][] = [];
  const later: Judgement['later'][number][] = [];
  for (const [index, { answer, fromNs, by }] of episodes.entries()) {
    const next = episodes[index + 1];
    // What several events of one time pass through was in force at no time.
    if (next !== undefined && next.fromNs === fromNs) continue;
    if (index < present && next?.by !== undefined) earlier.unshift({ answer, endedNs: next.fromNs, endedBy: next.by });
    if (index > present && by !== undefined) later.push({ answer, beganNs: fromNs, beganBy: by });
  }
  const now = episodes[present];
  assert(now !== undefined, 'some answer is always in force');
  return { timeNs: span.timeNs, answer: now.answer, earlier, later };
}

/** The answers from `afterNs` to `untilNs`, one for each event that changed the answer to this very question. */
function episodesWithin(
  { history, surroundings }: Machine,
  question: Question,
  span: { readonly afterNs: number; readonly untilNs: number },
): Episode[] {
  const objects = objectsFor(history, keysOfQuestion(question, surroundings));
  const before = answerFromViews(valuesAtTime(history, objects, span.afterNs), question, surroundings);
  const episodes: Episode[] = [{ answer: before, fromNs: -Infinity, by: undefined }];
  let last = JSON.stringify(before);
  for (const { atNs, event } of changesWithin(history, objects, span)) {
    const answer = answerFromViews(valuesAfterEvent(history, objects, event), question, surroundings);
    const text = JSON.stringify(answer);
    if (text === last) continue;
    last = text;
    episodes.push({ answer, fromNs: atNs, by: event });
  }
  return episodes;
}
