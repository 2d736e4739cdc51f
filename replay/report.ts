// SPDX-License-Identifier: Apache-2.0
/** A replay as text: the grade, the numbers, the connections that matter, and how to see more. */
import { basename } from 'node:path';
import { endpointText } from '../core/address.ts';
import type { TimedEvent } from '../formats/events.ts';
import { instantText } from '../formats/instant.ts';
import { retransmissionsOf, retransmissionsText, type Connection } from './connections.ts';
import type { Datagrams } from './datagrams.ts';
import { choiceText, isPermitted, spanText, STALE_WINDOW_NS, verdictText } from './judge.ts';
import { momentOf } from './lines.ts';
import { isDoubtful, whyNotJudged, type ReplaySetting, type ReplaySummary } from './summary.ts';
import type { Finding, Tally } from './tally.ts';

/** Rows of a list before it says how many more there are. */
const ROWS_MAX = 30;

export type ReportInput = {
  readonly tally: Tally;
  readonly summary: ReplaySummary;
  readonly setting: ReplaySetting;
  readonly events: readonly TimedEvent[];
  /** How exact the times of the events are, a line each. */
  readonly times?: readonly string[];
  /** The command line that repeats this. */
  readonly command: string;
  /** Connections that there are besides those that were asked for; 0: everything was. */
  readonly others?: number;
};

export function reportText(input: ReportInput): string {
  return [
    gradeLine(input),
    ...timesLines(input),
    ...filterLines(input),
    ...verdictLines(input),
    '',
    ...packetLines(input),
    '',
    ...twinLines(input),
    '',
    ...connectionLines(input.summary),
    ...affinityLines(input.summary),
    ...backendLines(input.tally),
    ...unsupportedLines(input.summary),
    ...matterLines(input),
    '',
    `more: ${input.command} -o ndjson`,
    '',
  ].join('\n');
}

function row(name: string, count: number, words = ''): string {
  return `  ${name.padEnd(22)}${String(count).padStart(7)}  ${words}`.trimEnd();
}

function gradeLine({ summary, setting }: ReportInput): string {
  const proxy = setting.proxy === '' ? '' : `; the node was served by ${setting.proxy}`;
  return `grade: ${summary.grade} from packets and events${proxy}`;
}

/** Nothing where each event has the time of its arrival: that is what everything below takes for granted. */
function timesLines({ times = [] }: ReportInput): string[] {
  return times.length < 2 ? [] : times.map((line) => `  ${line}`);
}

function filterLines({ others = 0, tally }: ReportInput): string[] {
  if (others === 0) return [];
  const { length } = tally.connections;
  return [
    `told: ${length} of ${length + others} connections, as asked for; packets and twins are of the whole recording`,
  ];
}

/** What somebody who was woken by this wants to know: where to look. */
function verdictLines({ summary, tally }: ReportInput): string[] {
  const { differences, failures, modelNotPermitted, replies } = summary;
  const doubts = [
    ...(isDoubtful(tally)
      ? ['too many frames could not be attributed (captures of another node want its own --node)']
      : []),
    ...(failures.length > 0 ? ['not everything could be read or programmed'] : []),
  ];
  const own = { differences, 'choices not permitted': modelNotPermitted, 'replies that differ': replies.differing };
  const wrong = Object.entries(own).filter(([, count]) => count > 0);
  return [
    `verdict: ${blameText(summary, tally)}`,
    ...(doubts.length > 0 ? [`  doubtful: ${doubts.join(', ')}`] : []),
    ...(wrong.length > 0 ? [`  tandem itself is wrong here: ${countsText(Object.fromEntries(wrong))}`] : []),
  ];
}

/** The verdict on a recording as a whole, in words. */
export function blameText({ affinity, blame, connections, unsupported }: ReplaySummary, tally: Tally): string {
  const { never, none, notJudged, refused, stale, total } = connections;
  const judged = total - notJudged;
  const seconds = STALE_WINDOW_NS / 1e9;
  switch (blame) {
    case 'datapath-wrong': {
      const own = tally.connections.filter(({ isOwnSource }) => isOwnSource).length;
      if (own > 0 && own === never) {
        return `datapath wrong: ${own} of ${judged} connections, of pods that got their own address as source`;
      }
      const kept = tally.connections.filter(({ applied }) => applied !== undefined).length;
      if (never === 0) {
        return `datapath wrong: ${kept} of ${judged} connections went on as before, although the node had acted on the event`;
      }
      const moved = affinity.notKept === 0 ? '' : ` (${affinity.notKept} of them away from their client's backend)`;
      const late = stale === 0 ? '' : `; ${stale} more are late`;
      return `datapath wrong, or its control plane dead for ${seconds} s: ${never} of ${judged} connections${moved}${late}`;
    }
    case 'control-plane-late': {
      const latest = tally.connections.reduce(
        (most, { verdict }) => (verdict?.kind === 'stale' ? Math.max(most, verdict.staleNs) : most),
        0,
      );
      return `control plane late: ${stale} of ${judged} connections, up to ${spanText(latest)} after the event`;
    }
    case 'neither': {
      const silent = none + refused === 0 ? '' : `; ${none} had no answer, ${refused} were rightly refused`;
      return `neither datapath nor control plane: all ${judged} connections judged, of ${total}, are permitted${silent}; look at the network or the application`;
    }
    case 'not-judged': {
      if (total === 0) return 'none: no pod of this node asked for a Service';
      const counts = Object.entries(unsupported).map(([reason, { connections: count }]) => [reason, count] as const);
      const why = counts.filter(([, count]) => count > 0);
      return `none: no connection can be judged by this build: ${countsText(Object.fromEntries(why))}`;
    }
  }
}

function countsText(counts: Readonly<Record<string, number>>): string {
  return Object.entries(counts)
    .map(([name, count]) => `${name} ${count}`)
    .join(', ');
}

function packetLines({ summary, tally }: ReportInput): string[] {
  const { fromPod, toPod } = summary.inputs;
  const { unattributed = 0, ...explained } = summary.noInput;
  const others = Object.values<number>(explained).reduce((sum, count) => sum + count, 0);
  const { inferred } = tally.places;
  const devices = inferred.map(({ device, role, why }) => `${device} ${role} (${why})`).join('; ');
  return [
    `${summary.node}: ${summary.packets} packets from ${summary.from} to ${summary.to}`,
    row('at a hook', fromPod + toPod, `from-pod ${fromPod}, to-pod ${toPod}`),
    row('seen again elsewhere', summary.otherSightings),
    row('met by no hook', others, countsText(explained)),
    row('unattributed', unattributed, isDoubtful(tally) ? 'more than 1 %: what follows is doubtful' : ''),
    row('devices inferred', inferred.length, devices),
    ...(summary.shortened > 0 ? [row('cut', summary.shortened, 'run without the bytes that are missing')] : []),
    ...(summary.untimed > 0 ? [row('without a time', summary.untimed, 'counted with the frame before them')] : []),
    ...(summary.superPackets > 0 ? [row('super-packets', summary.superPackets)] : []),
    row('checksums', fromPod + toPod, countsText(summary.checksums)),
  ];
}

function twinLines({ summary, setting, tally, command }: ReportInput): string[] {
  const { reproduced, differing, withoutFlow } = summary.replies;
  const kernel = setting.noKernel === null ? '' : `the kernel's twin did not run: ${setting.noKernel}`;
  const lost = withoutFlow === 0 ? '' : `; ${withoutFlow} more of connections that the model had refused`;
  const lines = [
    'twins',
    row('compared with kernel', summary.comparedWithKernel, kernel),
    row('differences', summary.differences),
    row('replies reproduced', reproduced, `byte for byte as the pods got them${lost}`),
    row('replies not so', differing),
    row('model not permitted', summary.modelNotPermitted, 'choices of the model that the oracle does not permit'),
  ];
  const { firstDifference, firstReply, tableDifference } = tally;
  if (firstDifference !== undefined)
    lines.push(...findingLines('first difference', firstDifference, 'kernel', command));
  if (tableDifference !== undefined) lines.push(`  at the end: ${tableDifference}`);
  if (firstReply !== undefined)
    lines.push(...findingLines('first reply that is not so', firstReply, 'recorded', command));
  return lines;
}

function findingLines(title: string, finding: Finding, other: string, command: string): string[] {
  const { file, frame, flow, service, hook, field, model } = finding;
  return [
    `  ${title}: ${service ?? 'no Service'}, ${flow ?? 'no flow'}, ${file} frame ${frame}, hook ${hook}`,
    `    ${field}: model ${model}, ${other} ${finding.other}`,
    `    repeat: ${command} -o ndjson | grep '"frame":${frame},'`,
  ];
}

function connectionLines({ connections, datagrams, notPermitted, retransmissions }: ReplaySummary): string[] {
  const { answered, early, never, none, notJudged, permitted, refused, reset, stale, total, unreachable } = connections;
  const got = { answered, reset, refused, unreachable, 'no answer': none };
  return [
    'connections',
    row('seen', total, `${total - notJudged} judged: ${countsText(got)}`),
    row('permitted', permitted + early, early === 0 ? '' : `${early} of them before the event was heard of here`),
    row('stale', stale, 'sent to where they were permitted before'),
    row('never permitted', never),
    row('not permitted, in all', notPermitted),
    row('not judged', notJudged),
    ...retransmissionLines(retransmissions),
    ...(datagrams.flows === 0
      ? []
      : [row('datagrams', datagrams.sent, `${datagrams.judged} judged: ${datagrams.notPermitted} not permitted`)]),
  ];
}

/** Nothing where nothing was sent again. */
function retransmissionLines({ connections, fromClients, fromServices }: ReplaySummary['retransmissions']): string[] {
  if (connections === 0) return [];
  const words = `of ${connections} connections: ${fromClients} from clients, ${fromServices} from Services`;
  return [row('retransmissions', fromClients + fromServices, words)];
}

/** Nothing where no Service keeps its clients. */
function affinityLines({ affinity }: ReplaySummary): string[] {
  const { free, kept, notKept } = affinity;
  const others = Object.values<number>(free).reduce((sum, count) => sum + count, 0);
  if (kept + notKept + others === 0) return [];
  return [
    '',
    'client affinity',
    row('kept', kept, 'sent to where their client was before'),
    row('not kept', notKept, 'sent elsewhere, which is not permitted'),
    row('free', others, countsText(free)),
  ];
}

/** Who got the connections, as observed. */
function backendLines({ connections }: Tally): string[] {
  const counts = new Map<string, number>();
  for (const connection of connections) {
    if (whyNotJudged(connection) !== undefined) continue;
    const { backend, reply, service } = connection;
    const who = backend === undefined ? reply : endpointText(backend.address, backend.port);
    const key = `${service.padEnd(22)} ${who}`;
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  const rows = [...counts].sort(([left], [right]) => (left < right ? -1 : 1));
  if (rows.length === 0) return [];
  return ['', 'went to', ...limited(rows.map(([key, count]) => `  ${key.padEnd(46)}${String(count).padStart(5)}`))];
}

function unsupportedLines({ unsupported }: ReplaySummary): string[] {
  const rows = Object.entries(unsupported).map(
    ([reason, { connections, packets }]) => `  ${reason.padEnd(22)}${connections} connections, ${packets} packets`,
  );
  return ['', 'not judged by this build', ...(rows.length === 0 ? ['  nothing'] : limited(rows))];
}

function matters(connection: Connection): boolean {
  if (whyNotJudged(connection) !== undefined) return connection.notJudged === undefined;
  const { datagrams, openings, reply } = connection;
  const errors = datagrams === undefined ? 0 : datagrams.refused + datagrams.unreachable;
  const again = openings > 1 || retransmissionsOf(connection) > 0;
  return isPermitted(connection) === false || reply !== 'answered' || again || errors > 0;
}

/** What is not permitted comes first: a list that is cut must not hide it. */
function matterLines({ tally, events }: ReportInput): string[] {
  const { modelNotPermitted, origin } = tally;
  const rank = (one: Connection): number => (isPermitted(one) === false ? 0 : modelNotPermitted.includes(one) ? 1 : 2);
  const found = tally.connections
    .filter((one) => matters(one) || modelNotPermitted.includes(one))
    .sort((left, right) => rank(left) - rank(right));
  const rows = found.map((connection) =>
    connectionText(connection, tally, events, instantText(momentOf(origin, connection.opened.timeNs))),
  );
  return ['', `connections that matter: ${found.length}`, ...limited(rows)];
}

function connectionText(connection: Connection, tally: Tally, events: readonly TimedEvent[], at: string): string {
  const { backend, datagrams, flow, kernel, model, opened, openings, reply, service } = connection;
  const target = backend === undefined ? 'no backend' : endpointText(backend.address, backend.port);
  const lag = backend === undefined || backend.lagNs === 0 ? '' : ` after ${spanText(backend.lagNs)}`;
  const again = openings > 1 ? `, asked ${openings} times` : '';
  const repeated = retransmissionsText(connection);
  const wrong = tally.modelNotPermitted.includes(connection) ? ', NOT PERMITTED' : '';
  const choices = kernel === undefined ? '' : `; kernel: ${choiceText(kernel)}`;
  const got = reply === 'none' ? `no answer${lastSeenText(connection)}` : reply;
  return [
    `  ${at.slice(11, 26)} ${service} ${flow} (${opened.file} frame ${opened.frame})`,
    `    ${target}${lag}, ${got}${again}${repeated === '' ? '' : `, ${repeated}`}; ${verdictText(connection, events)}`,
    ...(datagrams === undefined ? [] : [`    ${datagramsText(datagrams)}`]),
    `    model: ${[model, ...(datagrams?.modelChanges ?? [])].map(choiceText).join(', then ')}${wrong}${choices}`,
  ].join('\n');
}

/** Where the trail ends: of the last packet that asked. */
function lastSeenText({ opening }: Connection): string {
  if (opening === undefined || opening.last === opening.first) return '';
  const { file, frame, place } = opening.last;
  const where = place.direction === 'outgoing' ? `leaving by ${place.device}` : `coming in by ${place.device}`;
  return ` (last seen ${where}, ${basename(file)} frame ${frame})`;
}

function datagramsText({ answers, judged, moves, notPermitted, refused, sent, unreachable }: Datagrams): string {
  const counts = { answers, refused, unreachable, 'moved to another backend': moves, 'not permitted': notPermitted };
  return `${sent} datagrams, ${judged} judged: ${countsText(counts)}`;
}

function limited(rows: readonly string[]): string[] {
  if (rows.length <= ROWS_MAX) return [...rows];
  return [...rows.slice(0, ROWS_MAX), `  and ${rows.length - ROWS_MAX} more`];
}
