// SPDX-License-Identifier: Apache-2.0
/** Every visit against the oracle of its node: was what happened permitted at that moment, and did both ends see it right. */
import { addressText, endpointText, parseAddress, port, type Address } from '../../core/address.ts';
import { createOracleTimeline, type OracleTimeline } from '../../core/oracle.ts';
import {
  answerText,
  isBackend,
  judgeOutcome,
  permittedBackends,
  type Backend,
  type Judgement,
  type Observed,
  type Question,
} from '../../core/oracle/answer.ts';
import type { LabSpec } from '../../lab/spec.ts';
import type { ConnectionReport } from '../../lab/wire.ts';
import type { Applied, Target } from './stream.ts';
import type { Visit } from './visitors.ts';

/**
 * `permitted`: by the state of the cluster when the connection was made. `in-flight`: by the state right before or
 * after a change that was being applied just then. `wrong`: neither, or an end saw something that is not so.
 */
export type Judged = {
  readonly visit: Visit;
  readonly verdict: 'permitted' | 'in-flight' | 'wrong';
  readonly why: string;
};

/** Clocks of two processes of one machine differ by less. */
const clockErrorNs = 3_000_000;

export type Judge = {
  readonly judge: (visit: Visit) => Judged;
  /** Names of the pods that may answer at a moment (ns from the origin), over all nodes; sorted. */
  readonly podsAt: (timeNs: number, target: Target) => readonly string[];
  /** How long before a connection a change may have begun and still be in flight, in ns. */
  readonly windowNs: number;
};

/** `inFlightNs`: how long any change took to be applied; `originNs`: CLOCK_REALTIME of time 0. */
export function createJudge(
  { nodes, pods }: LabSpec,
  applied: readonly Applied[],
  { originNs, inFlightNs }: { readonly originNs: bigint; readonly inFlightNs: number },
): Judge {
  const oracles = new Map(
    nodes.map(({ name }) => [name, createOracleTimeline({ nodeName: name, judged: ['ClusterIP'] })]),
  );
  for (const { node, event, beganNs } of applied) oracles.get(node)?.apply(Number(beganNs - originNs), event);
  const podOf = new Map(
    pods.flatMap(({ name, address, addressIPv6 }) => [address, addressIPv6 ?? []].flat().map((own) => [own, name])),
  );
  const windowNs = inFlightNs + clockErrorNs;
  return {
    windowNs,
    judge: (visit) => {
      const oracle = oracles.get(visit.from.node);
      const judged = judgeVisit(visit, oracle, { originNs, windowNs });
      const odd = judged.verdict === 'wrong' ? undefined : oddity(visit, podOf);
      return odd === undefined ? judged : { visit, verdict: 'wrong', why: odd };
    },
    podsAt: (timeNs, target) => {
      const answers = [...oracles.values()].map((oracle) => oracle.answerAt(timeNs, questionOf(target)));
      const texts = answers.flatMap(permittedBackends).map(({ address }) => addressOrPod(address, podOf));
      return [...new Set(texts)].sort();
    },
  };
}

function addressOrPod(address: Address, podOf: ReadonlyMap<string, string>): string {
  const text = addressText(address);
  return podOf.get(text) ?? text;
}

/** `kept`: who answered the datagram before on the same socket. */
function questionOf({ address, protocol, port: number }: Target, kept?: Backend): Question {
  return { client: 'pod', address, protocol, port: number, kept };
}

/** `10.244.1.4:8080` or `[fd00::4]:8080`. */
function splitEndpoint(text: string): { readonly host: string; readonly number: number } {
  const colon = text.lastIndexOf(':');
  return { host: text.slice(0, colon).replace(/^\[(.*)\]$/, '$1'), number: Number(text.slice(colon + 1)) };
}

function backendOf(text: string): Backend | undefined {
  const { host, number } = splitEndpoint(text);
  const address = parseAddress(host);
  return address.ok ? { address: address.value, port: port(number) } : undefined;
}

/** What the client can tell. A connection that was answered stays so, whatever became of it later. */
function observedOf(report: ConnectionReport): Observed | undefined {
  if (report.answeredAs !== null) {
    const backend = backendOf(report.answeredAs);
    return backend === undefined ? undefined : { kind: 'backend', ...backend };
  }
  if (report.result === 'refused') return { kind: 'refused' };
  return report.result === 'timeout' ? { kind: 'dropped' } : undefined;
}

function judgeVisit(
  visit: Visit,
  oracle: OracleTimeline | undefined,
  { originNs, windowNs }: { readonly originNs: bigint; readonly windowNs: number },
): Judged {
  const { report, target, before } = visit;
  const keptText = before?.answeredAs ?? null;
  const kept = keptText === null ? undefined : backendOf(keptText);
  // Decided at some moment between these two; where it was refused, the report itself is the later one.
  const startedNs = Number(BigInt(report.startedNs) - originNs);
  const decidedNs = Number(BigInt(report.connectedNs ?? report.endedNs) - originNs);
  const question = questionOf(target, kept);
  if (visit.isEnded && oracle !== undefined) {
    return judgeEnd(visit, oracle.judge(decidedNs, decidedNs - startedNs + windowNs, question), kept);
  }
  const observed = observedOf(report);
  if (oracle === undefined || observed === undefined) {
    return { visit, verdict: 'wrong', why: `ended as ${report.result} ${report.errno ?? ''}`.trim() };
  }
  const judgement = oracle.judge(decidedNs, decidedNs - startedNs + windowNs, question, clockErrorNs);
  const { kind } = judgeOutcome(judgement, observed);
  const what = observed.kind === 'backend' ? `answered by ${report.by} ${report.answeredAs}` : observed.kind;
  switch (kind) {
    case 'permitted':
      return { visit, verdict: 'permitted', why: what };
    case 'stale':
    case 'early':
      return { visit, verdict: 'in-flight', why: `${what}, ${kind}` };
    case 'never':
    case 'unsupported':
      return { visit, verdict: 'wrong', why: `${what}; the oracle says: ${answerText(judgement.answer)}` };
  }
}

/** A socket is ended once the backend that it keeps is none of the Service's any more, and never before. */
function judgeEnd(visit: Visit, { answer, earlier }: Judgement, kept: Backend | undefined): Judged {
  const now = permittedBackends(answer);
  const isGone = (backend: Backend): boolean => !now.some((one) => isBackend(one, backend));
  if (kept === undefined) {
    // Connected, and ended before it had an answer: its backend must have gone in that moment.
    const isInFlight = earlier.some((one) => permittedBackends(one.answer).some(isGone));
    const why = 'the socket was ended before it had an answer';
    return { visit, verdict: isInFlight ? 'in-flight' : 'wrong', why };
  }
  const what = `socket with ${endpointText(kept.address, kept.port)} was ended`;
  if (!isGone(kept)) return { visit, verdict: 'wrong', why: `${what}, but that still serves` };
  return { visit, verdict: 'permitted', why: what };
}

/** What both ends say about an answered connection, and how it ended. */
function oddity({ report, target, from, call, isHeld }: Visit, podOf: ReadonlyMap<string, string>): string | undefined {
  if (report.answeredAs === null) return undefined;
  const address = parseAddress(from.address);
  const own = address.ok ? endpointText(address.value, report.localPort ?? 0) : from.address;
  if (report.peerName !== target.text) {
    return `${call === 'stream' ? 'getpeername' : 'recvfrom'} says ${report.peerName}, not ${target.text}`;
  }
  if (report.peerSeen !== own) return `the server saw ${report.peerSeen}, not ${own}`;
  if (podOf.get(splitEndpoint(report.answeredAs).host) !== report.by)
    return `${report.by} has not ${report.answeredAs}`;
  if (report.result !== 'answered') return `${isHeld ? 'held connection' : 'connection'} ended as ${report.result}`;
  return undefined;
}
