// SPDX-License-Identifier: Apache-2.0
/** Which connections of a replay are told and judged; the twins are fed everything, for their state depends on all of it. */
import { endpointText, parseAddress, parseProtocol } from '../core/address.ts';
import { objectsOf } from '../core/objects.ts';
import { fail, failureText, ok, type Result } from '../core/result.ts';
import type { TimedEvent } from '../formats/events.ts';
import { compareInstants, parseInstant, type Instant } from '../formats/instant.ts';
import { nearest } from '../formats/shape.ts';
import { NO_SERVICE, type Connection, type NotJudged } from './connections.ts';
import { flowText, turned, type Tuple } from './headers.ts';
import { momentOf, type PacketLine } from './lines.ts';
import { addTo, type Tally } from './tally.ts';

/** What is asked for; what is undefined is not asked for. */
export type Filter = {
  /** `namespace/name`, or with `:port`, by its name or its number. */
  readonly service: string | undefined;
  readonly flow: Tuple | undefined;
  readonly from: Instant | undefined;
  readonly to: Instant | undefined;
};

export type FilterWords = { readonly [Key in keyof Filter]: string | undefined };

/** Flows that an error message names. */
const FLOWS_MAX = 3;

export function isEmptyFilter({ flow, from, service, to }: Filter): boolean {
  return flow === undefined && from === undefined && service === undefined && to === undefined;
}

export function parseFilter({ flow, from, service, to }: FilterWords): Result<Filter> {
  const tuple = flow === undefined ? ok(undefined) : parseFlow(flow);
  if (!tuple.ok) return tuple;
  const begin = from === undefined ? ok(undefined) : parseMoment('--from', from);
  if (!begin.ok) return begin;
  const end = to === undefined ? ok(undefined) : parseMoment('--to', to);
  if (!end.ok) return end;
  if (service !== undefined && !isServiceName(service)) {
    return fail('usage', `--service ${service}`, 'not a Service', 'write namespace/name or namespace/name:port');
  }
  return ok({ service, flow: tuple.value, from: begin.value, to: end.value });
}

/** Whether it may name a Service, and not a flow. */
export function isServiceName(word: string): boolean {
  return /^[a-z0-9.-]+\/[a-z0-9.-]+(:[a-z0-9-]+)?$/i.test(word);
}

function parseMoment(option: string, word: string): Result<Instant> {
  const parsed = parseInstant(word);
  if (parsed.ok) return parsed;
  return fail('usage', `${option} ${word}`, failureText(parsed.error), 'write it as 2026-01-02T03:04:05.678Z');
}

const FLOW = /^\s*(\S+?)\s*(?:->|[>,-]|\s)\s*(\S+?)(?:\/([A-Za-z]+))?\s*$/;

/** `10.0.0.9:4242>10.96.0.1:80/TCP`, as every output has it; `->`, `-` and `,` do as well, which no shell eats. */
export function parseFlow(word: string): Result<Tuple> {
  const [, source, destination, name = 'TCP'] = FLOW.exec(word) ?? [];
  const [from, to] = [parseEnd(source), parseEnd(destination)];
  const protocol = parseProtocol(name.toUpperCase());
  if (from === undefined || to === undefined || !protocol.ok) {
    const remedy = 'write 10.0.0.9:4242-10.96.0.1:80/TCP, IPv6 addresses in brackets';
    return fail('usage', `flow ${word}`, 'not two ends and a protocol', remedy);
  }
  return ok({
    protocol: protocol.value,
    source: from.address,
    sourcePort: from.port,
    destination: to.address,
    destinationPort: to.port,
  });
}

function parseEnd(text: string | undefined): { address: Tuple['source']; port: number } | undefined {
  const [, six, four, digits] = /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text ?? '') ?? [];
  const address = parseAddress(six ?? four ?? '');
  const number = Number(digits);
  return address.ok && number <= 65_535 ? { address: address.value, port: number } : undefined;
}

/** Whether the connection is of this Service. */
export function isOfService({ service, tuple }: Pick<Connection, 'service' | 'tuple'>, wanted: string): boolean {
  const [name, port] = wanted.split(':');
  return service.split(' or ').some((one) => {
    const [own, ownPort] = one.split(':');
    return own === name && (port === undefined || port === ownPort || port === String(tuple.destinationPort));
  });
}

/** Whether the connection is this flow, as its client or its backend sees it, in either direction. */
export function isFlow({ backend, flow, tuple }: Connection, wanted: Tuple): boolean {
  const texts = [flowText(wanted), flowText(turned(wanted))];
  if (texts.includes(flow)) return true;
  if (backend === undefined) return false;
  return texts.includes(flowText({ ...tuple, destination: backend.address, destinationPort: backend.port }));
}

function isWithin(moment: Instant, { from, to }: Filter): boolean {
  if (from !== undefined && compareInstants(moment, from) < 0) return false;
  return to === undefined || compareInstants(moment, to) <= 0;
}

/** Times are those at which a connection was opened. */
export function isWanted(connection: Connection, filter: Filter, origin: Instant): boolean {
  const { flow, service } = filter;
  if (service !== undefined && !isOfService(connection, service)) return false;
  if (flow !== undefined && !isFlow(connection, flow)) return false;
  return isWithin(momentOf(origin, connection.opened.timeNs), filter);
}

/** Whether a packet's line is told. */
export function isLineWanted(line: Pick<PacketLine, 'at' | 'flow' | 'service'>, filter: Filter): boolean {
  const { flow, service } = filter;
  if (service !== undefined) {
    const tuple = line.flow === null ? undefined : parseFlow(line.flow);
    if (line.service === null || tuple?.ok !== true) return false;
    if (!isOfService({ service: line.service, tuple: tuple.value }, service)) return false;
  }
  if (flow !== undefined && line.flow !== flowText(flow) && line.flow !== flowText(turned(flow))) return false;
  if (filter.from === undefined && filter.to === undefined) return true;
  const at = parseInstant(line.at);
  return at.ok && isWithin(at.value, filter);
}

/** The tally with these connections only. What concerns the twins and the files is of the whole recording still. */
export function filterTally(tally: Tally, filter: Filter): Tally {
  if (isEmptyFilter(filter)) return tally;
  const connections = tally.connections.filter((one) => isWanted(one, filter, tally.origin));
  const unsupportedPackets = new Map<NotJudged, number>();
  for (const { notJudged, packets } of connections) {
    if (notJudged !== undefined) addTo(unsupportedPackets, notJudged, packets);
  }
  return {
    ...tally,
    connections,
    unsupportedPackets,
    modelNotPermitted: tally.modelNotPermitted.filter((one) => connections.includes(one)),
  };
}

/** Nothing is left: what there is instead. */
export function nothingMatches(filter: Filter, tally: Tally, events: readonly TimedEvent[]): Result<never> {
  const { flow, service } = filter;
  if (service !== undefined) return noSuchService(service, tally, events);
  if (flow !== undefined) return noSuchFlow(flow, tally);
  const { connections } = tally;
  const [first, last] = [connections[0], connections.at(-1)];
  const what =
    first === undefined || last === undefined
      ? 'no pod of this node asked for a Service'
      : `connections were opened from ${timeText(tally, first)} to ${timeText(tally, last)}`;
  return fail('usage', 'filter', 'no connection is that old', what);
}

function timeText({ origin }: Tally, { opened }: Connection): string {
  const { seconds, nanoseconds } = momentOf(origin, opened.timeNs);
  return new Date(seconds * 1000 + Math.floor(nanoseconds / 1e6)).toISOString();
}

function noSuchService(wanted: string, tally: Tally, events: readonly TimedEvent[]): Result<never> {
  const { connections } = tally;
  const used = [...new Set(connections.map(({ service }) => service).filter((name) => name !== NO_SERVICE))].sort();
  const existing = serviceNames(events);
  const [name = wanted] = wanted.split(':');
  const place = `--service ${wanted}`;
  const there = used.length === 0 ? 'no pod of this node asked for a Service' : `there are ${limited(used)}`;
  if (existing.includes(name)) {
    return fail('usage', place, 'no pod of this node asked for it within the time', there);
  }
  const near = nearest(name, existing);
  const question = near === undefined ? '' : ` (did you mean ${near}?)`;
  return fail('usage', place, `the events tell of no such Service${question}`, there);
}

function serviceNames(events: readonly TimedEvent[]): readonly string[] {
  const names = new Set<string>();
  for (const { event } of events) {
    for (const { kind, metadata } of objectsOf(event)) {
      if (kind === 'Service') names.add(`${metadata?.namespace ?? ''}/${metadata?.name ?? ''}`);
    }
  }
  return [...names];
}

function noSuchFlow(wanted: Tuple, { connections }: Tally): Result<never> {
  const ends = [wanted.source, wanted.destination].map((end) => endpointText(end, 0));
  const related = connections.filter(({ tuple }) =>
    [tuple.source, tuple.destination].some((end) => ends.includes(endpointText(end, 0))),
  );
  const flows = [...new Set((related.length > 0 ? related : connections).map(({ flow }) => flow))];
  const there =
    flows.length === 0
      ? 'no pod of this node asked for a Service'
      : `there are ${limited(flows)}${related.length > 0 ? ' between these addresses' : ''}`;
  return fail('usage', `flow ${flowText(wanted)}`, 'no connection to a Service is this flow', there);
}

function limited(names: readonly string[]): string {
  const more = names.length > FLOWS_MAX ? ` and ${names.length - FLOWS_MAX} more` : '';
  return `${names.slice(0, FLOWS_MAX).join(', ')}${more}`;
}
