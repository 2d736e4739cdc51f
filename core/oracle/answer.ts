// SPDX-License-Identifier: Apache-2.0
/** Questions about a new connection, the outcomes that are permitted for it, and the comparison with what was seen. */
import { addressEquals, endpointText, type Address, type Port, type Protocol } from '../address.ts';

/**
 * Who opens the connection: a pod or a process (host, hostNetwork) of the judged node, a pod of another node, or
 * somebody outside of the cluster. The last two arrive from elsewhere, which is all that a policy can tell of them.
 */
export type ClientClass = 'pod' | 'process' | 'foreign-pod' | 'outside';

export type FrontendKind = 'ClusterIP' | 'NodePort' | 'LoadBalancer' | 'ExternalIP' | 'HostPort';

export type Backend = { readonly address: Address; readonly port: Port };

/** Whose address the backend sees as its peer's (1.4): the client's own, or the node's. */
export type Source = 'client' | 'node';

/** A new connection, or a datagram, that the judged node meets. */
export type Question = {
  readonly client: ClientClass;
  /** Needed where source ranges (B10) or the client's place in the pod ranges (1.4) decide, and for hairpins (D2). */
  readonly clientAddress?: Address | undefined;
  readonly address: Address;
  readonly protocol: Protocol;
  readonly port: Port;
  /** Of a datagram: the backend of the one before it in its flow; undefined: it begins one. Nothing to TCP. */
  readonly kept?: Backend | undefined;
  /** The last connection of the same client address to the same Service port (E1); undefined: none, or not remembered. */
  readonly last?: { readonly backend: Backend; readonly ageNs: number } | undefined;
};

/** What one Service port permits. `service` is `namespace/name:portName`, without the colon where the port has no name. */
export type Outcome =
  | Permitted
  | { readonly kind: 'refuse'; readonly service: string; readonly reason: 'no-endpoints' }
  | { readonly kind: 'drop'; readonly service: string; readonly reason: 'no-local-endpoints' | 'source-ranges' };

export type Permitted = {
  readonly kind: 'permitted';
  readonly service: string;
  readonly backends: readonly Backend[];
  /** Who the backends see, but for the one that is the client itself: see `sourceSeen`. */
  readonly source: Source;
};

/** Kinds of frontends that this oracle was told not to judge, and inputs for which the rules give no answer. */
export type UnsupportedReason =
  | Exclude<FrontendKind, 'ClusterIP'>
  | 'protocol'
  | 'duplicate-endpoints'
  | 'external-address-in-service-range';

export type Unsupported = { readonly kind: 'unsupported'; readonly reason: UnsupportedReason; readonly object: string };

/**
 * The permitted outcomes. `contested`: the rules leave the winner open (one endpoint listed differently in several
 * slices, H4), or the question does (source ranges, and no address of the client), so each of at least two outcomes is
 * permitted.
 */
export type Answer =
  | Outcome
  | { readonly kind: 'contested'; readonly services: readonly string[]; readonly outcomes: readonly Outcome[] }
  | { readonly kind: 'not-a-service' }
  | { readonly kind: 'refuse-unknown-port'; readonly service: string }
  | { readonly kind: 'drop-unallocated' }
  | Unsupported;

/** The answer at one moment, with those that held shortly before it and, where asked for, shortly after. */
export type Judgement = {
  readonly timeNs: number;
  readonly answer: Answer;
  /** Other answers that held within the window, newest first, each with the event that ended it. */
  readonly earlier: readonly { readonly answer: Answer; readonly endedNs: number; readonly endedBy: number }[];
  /** Answers that came into force within the lead, oldest first, each with the event that brought it. */
  readonly later: readonly { readonly answer: Answer; readonly beganNs: number; readonly beganBy: number }[];
};

/** What was seen to happen to the connection. `untouched`: it left with its destination unchanged. */
export type Observed =
  | { readonly kind: 'backend'; readonly address: Address; readonly port: Port }
  | { readonly kind: 'refused' }
  | { readonly kind: 'dropped' }
  | { readonly kind: 'untouched' };

/**
 * `stale`: permitted within the window, until `endedBy` (index of the event) took it away `staleNs` before.
 * `early`: permitted only from `beganBy` on, `earlyNs` after. `never`: at no time from window to lead.
 */
export type Verdict =
  | { readonly kind: 'permitted' }
  | { readonly kind: 'stale'; readonly staleNs: number; readonly endedNs: number; readonly endedBy: number }
  | { readonly kind: 'early'; readonly earlyNs: number; readonly beganNs: number; readonly beganBy: number }
  | { readonly kind: 'never' }
  | Unsupported;

/** Every backend that some permitted outcome names; empty for refusals, drops and what is not judged. */
export function permittedBackends(answer: Answer): readonly Backend[] {
  if (answer.kind === 'permitted') return answer.backends;
  if (answer.kind !== 'contested') return [];
  const union = new Map<string, Backend>();
  for (const outcome of answer.outcomes) {
    if (outcome.kind !== 'permitted') continue;
    for (const backend of outcome.backends) union.set(endpointText(backend.address, backend.port), backend);
  }
  return [...union.values()];
}

/** D2: a client that is sent to itself must see the node there, whatever the frontend; else as the outcome says. */
export function sourceSeen({ source }: Permitted, backend: Backend, { clientAddress }: Question): Source {
  return clientAddress !== undefined && addressEquals(clientAddress, backend.address) ? 'node' : source;
}

/** Whether the answer permits what was seen. Nothing is permitted by `unsupported`: ask for its kind first. */
export function permits(answer: Answer, observed: Observed): boolean {
  switch (answer.kind) {
    case 'permitted':
      return observed.kind === 'backend' && answer.backends.some((backend) => isBackend(backend, observed));
    case 'refuse':
    case 'refuse-unknown-port':
      return observed.kind === 'refused';
    case 'drop':
    case 'drop-unallocated':
      return observed.kind === 'dropped';
    case 'contested':
      return answer.outcomes.some((outcome) => permits(outcome, observed));
    case 'not-a-service':
      return observed.kind === 'untouched';
    case 'unsupported':
      return false;
  }
}

export function isBackend(backend: Backend, observed: Backend): boolean {
  return backend.port === observed.port && addressEquals(backend.address, observed.address);
}

/** Compares what was seen with a judgement: the present first, then the past (newest first), then the lead. */
export function judgeOutcome(judgement: Judgement, observed: Observed): Verdict {
  const { answer, earlier, later, timeNs } = judgement;
  if (answer.kind === 'unsupported') return answer;
  if (permits(answer, observed)) return { kind: 'permitted' };
  for (const { answer: past, endedNs, endedBy } of earlier) {
    if (permits(past, observed)) return { kind: 'stale', staleNs: timeNs - endedNs, endedNs, endedBy };
  }
  for (const { answer: next, beganNs, beganBy } of later) {
    if (permits(next, observed)) return { kind: 'early', earlyNs: beganNs - timeNs, beganNs, beganBy };
  }
  const unjudged = [...earlier, ...later].find((episode) => episode.answer.kind === 'unsupported');
  return unjudged?.answer.kind === 'unsupported' ? unjudged.answer : { kind: 'never' };
}

/** `judgeOutcome` for a connection that reached a backend. */
export function judgeBackend(judgement: Judgement, address: Address, port: Port): Verdict {
  return judgeOutcome(judgement, { kind: 'backend', address, port });
}

/** One line, for reports and tests: `permitted shop/web:http 10.0.0.1:80 10.0.0.2:80`. */
export function answerText(answer: Answer): string {
  switch (answer.kind) {
    case 'permitted':
      return ['permitted', answer.service, ...answer.backends.map((it) => endpointText(it.address, it.port))].join(' ');
    case 'refuse':
    case 'drop':
      return `${answer.kind} ${answer.service} ${answer.reason}`;
    case 'contested':
      return `contested: ${answer.outcomes.map(answerText).join(' | ')}`;
    case 'refuse-unknown-port':
      return `refuse-unknown-port ${answer.service}`;
    case 'unsupported':
      return `unsupported ${answer.reason} ${answer.object}`;
    case 'not-a-service':
    case 'drop-unallocated':
      return answer.kind;
  }
}
