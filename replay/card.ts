// SPDX-License-Identifier: Apache-2.0
/** One connection as somebody on call wants it: a verdict with its evidence, and ten questions with their answers. */
import { endpointText, hostText } from '../core/address.ts';
import type { CompiledFrontend, DocumentConfig } from '../core/control/tell/document.ts';
import type { TimedEvent } from '../formats/events.ts';
import { compareInstants, instantText, nanosecondsBetween, type Instant } from '../formats/instant.ts';
import { frontendAt, gapsAt, heardOf, type Heard } from './clusterat.ts';
import type { Sighting } from './attribute.ts';
import { NO_SERVICE, retransmissionsText, type Connection, type NotJudged } from './connections.ts';
import { isOpening, type Headers } from './headers.ts';
import { choiceText, eventText, isPermitted, spanText, verdictText } from './judge.ts';
import { momentOf } from './lines.ts';
import type { Passage, Path, Said } from './path.ts';
import { verdictOf as blameOf, type TraceVerdict } from './evidence.ts';
import type { ReplaySetting } from './summary.ts';
import type { Finding } from './tally.ts';
import { timelineOf, type Moment } from './moments.ts';

export type CardInput = {
  readonly connection: Connection;
  readonly path: Path;
  readonly events: readonly TimedEvent[];
  readonly origin: Instant;
  readonly config: DocumentConfig;
  readonly setting: ReplaySetting;
  /** Map writes of the model's control plane, by event. */
  readonly writes: ReadonlyMap<TimedEvent, number>;
  /** Of the twins, the first in the recording. */
  readonly difference: Finding | undefined;
};

export type Answer = { readonly question: string; readonly lines: readonly string[] };

/** What `trace` prints. */
export type Trace = {
  readonly kind: 'Trace';
  readonly service: string;
  readonly flow: string;
  /** When it was decided. */
  readonly at: string;
  readonly file: string;
  readonly frame: number;
  readonly verdict: TraceVerdict;
  readonly answers: readonly Answer[];
  readonly timeline: readonly Moment[];
};

/** Excluded endpoints, addresses in a table: more than these make no screen. */
const ROWS_MAX = 6;

/** Frontends for which this build writes no rows: another proxy serves them. */
const UNSERVED: ReadonlySet<string> = new Set<NotJudged>([
  'NodePort',
  'LoadBalancer',
  'ExternalIP',
  'HostPort',
  'SCTP',
]);

/** What all answers are about: the packet that was decided, and the cluster at its moment. */
type Facts = CardInput & {
  readonly decided: Sighting;
  readonly moment: Instant;
  readonly frontend: CompiledFrontend | undefined;
  readonly passage: Passage | undefined;
  readonly said: Said | undefined;
};

export function traceOf(input: CardInput): Trace {
  const facts = factsOf(input);
  const { connection, decided, moment } = facts;
  const ask = (question: string, lines: readonly string[]): Answer => ({ question, lines });
  return {
    kind: 'Trace',
    service: connection.service,
    flow: connection.flow,
    at: instantText(moment),
    file: decided.file,
    frame: decided.frame,
    verdict: blameOf(connection, input.events, input.path, input.difference),
    answers: [
      ask('object', objectLines(facts)),
      ask('maps', mapLines(facts)),
      ask('hook', hookLines(facts)),
      ask('flow', flowLines(facts)),
      ask('choice', choiceLines(facts)),
      ask('rewritten', rewrittenLines(facts)),
      ask('went to', wentLines(facts)),
      ask('reply', replyLines(facts)),
      ask('dropped', droppedLines(facts)),
      ask('who is late', lateLines(facts)),
    ],
    timeline: timelineOf(input, serviceNameOf(connection)),
  };
}

function factsOf(input: CardInput): Facts {
  const { config, connection, events, origin, path } = input;
  const decided = connection.judged ?? connection.decided ?? connection.opening?.first ?? connection.opened;
  const moment = momentOf(origin, decided.timeNs);
  return {
    ...input,
    decided,
    moment,
    frontend: frontendAt(events, moment, config, connection.tuple),
    passage: path.passages.find(({ packet: { first } }) => isSame(first, decided)),
    said: path.said.find(({ frame, hook }) => frame === decided.frame && hook === 'from-pod'),
  };
}

function isSame(left: Sighting, right: Sighting): boolean {
  return left.frame === right.frame && left.file === right.file;
}

function serviceNameOf({ service }: Connection): string {
  return service.split(':')[0] ?? service;
}

function objectLines({ connection, events, moment }: Facts): string[] {
  if (connection.service === NO_SERVICE) return ['the events tell of no Service with this address'];
  const heard = heardOf(events, serviceNameOf(connection), moment);
  if (heard.length === 0) return [`${connection.service}: nothing had been heard of it`];
  const gaps = gapsAt(events, moment).map((gap) => {
    const age = spanText(nanosecondsBetween(gap, moment));
    return `${eventText(gap)} ${age} before and not listed since: what was said meanwhile is missing here`;
  });
  return [...limited(heard.map((one) => heardText(one, moment))), ...gaps];
}

function heardText({ lagNs, object, timed }: Heard, moment: Instant): string {
  const { name = '', namespace = '', resourceVersion } = object.metadata ?? {};
  const version = resourceVersion === undefined ? '' : ` resourceVersion ${resourceVersion}`;
  const age = spanText(nanosecondsBetween(timed, moment));
  const lag = lagNs === undefined ? '' : `, ${spanText(lagNs)} after it was changed (to the second)`;
  return `${object.kind} ${namespace}/${name}${version}: heard ${age} before${lag} (line ${timed.line})`;
}

function mapLines({ connection, frontend }: Facts): string[] {
  const { destination, destinationPort } = connection.tuple;
  const head = endpointText(destination, destinationPort);
  if (frontend === undefined) return [`${head}: no row; ${whyNoRow(connection)}`];
  const { affinitySeconds, internal, kind, portName, service } = frontend;
  const affinity = affinitySeconds === null ? '' : `, clients kept for ${affinitySeconds} s`;
  const backends = internal?.backends ?? [];
  const rows = backends.map(({ address, node, port, state, zone }) => {
    const place = [node, zone].filter((word) => word !== null).join(' ');
    return `  ${hostText(address)}:${port} ${state}${place === '' ? '' : ` on ${place}`}`;
  });
  const empty = backends.length === 0 ? `; nobody: ${internal?.whenEmpty ?? 'reject'}` : '';
  const name = `${service}${portName === '' ? '' : `:${portName}`}`;
  return [`${head} ${kind} ${name}${affinity}, topology ${internal?.topology ?? 'none'}${empty}`, ...limited(rows)];
}

function whyNoRow({ notJudged, service }: Connection): string {
  const isUnserved = UNSERVED.has(notJudged ?? '') && service !== NO_SERVICE;
  return isUnserved ? `this build programs no ${notJudged}` : 'nothing is served there';
}

function hookLines({ connection, decided, setting }: Facts): string[] {
  const { device, direction, role } = decided.place;
  const kernel =
    setting.noKernel === null ? 'model and kernel ran it' : `the model ran it; no kernel: ${setting.noKernel}`;
  const rest = connection.openings > 1 ? `; it was asked for ${connection.openings} times` : '';
  return [`from-pod on ${device} (${role}, ${direction}), frame ${decided.frame}: ${kernel}${rest}`];
}

function flowLines({ connection, decided, said }: Facts): string[] {
  const { datagrams } = connection;
  const opening = isOpening(decided.headers) ? 'new: a SYN' : datagrams === undefined ? 'not a SYN' : 'a datagram';
  const count =
    datagrams === undefined ? '' : `, one of ${datagrams.sent} of its flow, which moved ${datagrams.moves} times`;
  return [
    `${opening}${count}; the model: ${said?.reason ?? connection.model?.reason ?? 'did not see it'}`,
    ...retransmissionLines(connection),
  ];
}

/** Nothing where nothing was sent again. */
function retransmissionLines(connection: Connection): string[] {
  const text = retransmissionsText(connection);
  const { streams } = connection;
  if (text === '' || streams === undefined) return [];
  return [`${text}: ${streams.fromClient.repeated} by the client, ${streams.fromService.repeated} by the Service`];
}

function choiceLines(facts: Facts): string[] {
  const { config, connection, frontend, said, setting } = facts;
  const { affinity, backend, model } = connection;
  const key =
    'selectionKey' in config && config.selectionKey !== null ? 'the configured key' : `the key of seed ${setting.seed}`;
  const input =
    (frontend?.affinitySeconds ?? null) === null
      ? 'client address and port, protocol, name of the Service port'
      : 'client address, protocol, name of the Service port';
  const eligible = frontend?.internal?.backends.length ?? 0;
  const excluded = (frontend?.excluded ?? [])
    .filter(({ view }) => view === 'internal')
    .map(({ address, port, reason }) => `${hostText(address)}${port === null ? '' : `:${port}`} ${reason}`);
  const seen = backend === undefined ? connection.reply : endpointText(backend.address, backend.port);
  const rule = [
    `hash: HalfSipHash-2-4 of ${input}, with ${key}; ${eligible} eligible`,
    `excluded: ${excluded.length === 0 ? 'nobody' : limited(excluded).join(', ')}`,
  ];
  return [
    ...(frontend === undefined ? ['without a row there is nothing to choose from'] : rule),
    `observed ${seen}; model ${said === undefined ? choiceText(model) : saidText(said)}${kernelText(facts)}`,
    ...(affinity === undefined ? [] : [`affinity: ${verdictText(connection, facts.events)}`]),
  ];
}

/** What is kept of the kernel is its first choice. */
function kernelText({ connection: { kernel, opened }, decided }: Facts): string {
  return kernel === undefined || !isSame(decided, opened) ? '' : `; kernel ${choiceText(kernel)}`;
}

function saidText({ after, reason, verdict }: Said): string {
  const to =
    verdict === 'forward' && after !== undefined ? ` ${endpointText(after.destination, after.destinationPort)}` : '';
  return `${verdict}${to} (${reason})`;
}

function endsText({ destination, destinationPort, source, sourcePort }: Headers): string {
  return `${endpointText(source, sourcePort)} > ${endpointText(destination, destinationPort)}`;
}

function rewrittenLines({ decided, passage, said }: Facts): string[] {
  const translated = passage?.packet.translated;
  const lines = [`before    ${endsText(decided.headers)}`];
  if (translated !== undefined) {
    const { headers } = translated;
    const hops = decided.headers.hops === headers.hops ? '' : `, hops ${decided.headers.hops} to ${headers.hops}`;
    lines.push(`observed  ${endsText(headers)}${hops}`);
  } else lines.push('observed  not seen translated');
  lines.push(`model     ${said?.after === undefined ? (said?.verdict ?? 'nothing') : endsText(said.after)}`);
  return lines;
}

function wentLines({ decided, passage }: Facts): string[] {
  const rest = passage?.sightings.filter((sighting) => !isSame(sighting, decided)) ?? [];
  if (rest.length === 0) return ['it was not seen again on this node'];
  return limited(rest.map((sighting) => sightingText(sighting, decided)));
}

function sightingText({ file, frame, place, timeNs }: Sighting, first: Sighting): string {
  const other = file === first.file ? '' : ` of ${file}`;
  return `${place.device} (${place.role}, ${place.direction}), frame ${frame}${other}, ${spanText(timeNs - first.timeNs)} later`;
}

function replyLines({ connection, decided, path }: Facts): string[] {
  const reply = path.passages.find(
    ({ direction, packet }) => direction === 'reply' && packet.first.timeNs >= decided.timeNs,
  );
  if (reply === undefined) return ['none was seen'];
  const { sightings } = reply;
  const [first, last] = [sightings[0], sightings.at(-1)];
  if (first === undefined || last === undefined) return ['none was seen'];
  const untranslated = reply.packet.translated === undefined && connection.backend !== undefined;
  const missing = untranslated ? '; THE WAY BACK WAS NOT TRANSLATED or its half is missing' : '';
  return [
    `${endsText(first.headers)} on ${first.place.device}, frame ${first.frame}, ${spanText(first.timeNs - decided.timeNs)} after the request`,
    `${endsText(last.headers)} on ${last.place.device}, frame ${last.frame}${missing}`,
  ];
}

function droppedLines({ connection, frontend, passage, said }: Facts): string[] {
  const { backend, reply } = connection;
  const refusal = passage?.packet.refusal ?? connection.refusal;
  const model = said === undefined ? '' : `; the model: ${said.verdict} (${said.reason})`;
  if (reply === 'refused' && refusal !== undefined) {
    const why =
      (frontend?.internal?.backends.length ?? 0) === 0 ? 'nobody was eligible' : 'although somebody was eligible';
    return [`refused, frame ${refusal.frame}, ${why}${model}`];
  }
  if (reply === 'reset' || reply === 'unreachable' || passage?.packet.refusal !== undefined) {
    const how = reply === 'reset' ? 'reset' : 'unreachable';
    return [`${how}, said the backend or a router, frame ${refusal?.frame ?? '?'}${model}`];
  }
  if (backend === undefined && reply === 'none') return [`no trace of it after the hook${model}`];
  return [`not here${reply === 'none' ? ', but nothing came back' : ''}${model}`];
}

function lateLines({ connection, events, moment, origin }: Facts): string[] {
  const { applied, verdict } = connection;
  if (verdict?.kind === 'stale' && applied !== undefined) {
    const since = spanText(verdict.endedNs + verdict.staleNs - applied.timeNs);
    return [
      `nobody: the node had acted on the event by frame ${applied.frame}, ${since} before; its datapath kept the old state`,
    ];
  }
  if (verdict?.kind === 'stale') {
    const ended = events[verdict.endedBy];
    const changed = ended && heardOf([ended], serviceNameOf(connection), ended)[0]?.lagNs;
    const api =
      changed === undefined ? '' : `; the API told of it ${spanText(changed)} after the change (to the second)`;
    return [
      `the node's proxy: ${spanText(verdict.staleNs)} after ${ended === undefined ? 'an event' : eventText(ended)} it still chose as before${api}`,
      ...actingLines(connection),
    ];
  }
  if (verdict?.kind === 'early') {
    const at = momentOf(origin, verdict.beganNs);
    return [`the recorder of events: the proxy knew ${spanText(nanosecondsBetween(moment, at))} before it`];
  }
  if (connection.isOwnSource) return ['nobody'];
  if (verdict?.kind === 'never') return ['nobody: no state of the last minute explains the choice'];
  const next = events.find((timed) => compareInstants(timed, moment) > 0);
  return [isPermitted(connection) === true && next !== undefined ? 'nobody' : 'nobody that can be told'];
}

/** Between these two the node has acted on the event. */
function actingLines({ acting }: Connection): string[] {
  if (acting === undefined) return [];
  const { firstNs, lastNs } = acting;
  const last = `the last choice as before the event came ${spanText(lastNs)} after it`;
  if (firstNs === undefined) return [`${last}; none is seen that shows the node acting on it`];
  return [`${last}, the first that only the event permits ${spanText(firstNs)} after it`];
}

function limited(rows: readonly string[]): string[] {
  if (rows.length <= ROWS_MAX) return [...rows];
  return [...rows.slice(0, ROWS_MAX), `  and ${rows.length - ROWS_MAX} more`];
}
