// SPDX-License-Identifier: Apache-2.0
/** What the demo found: the document of `-o json`, its text, and the exit code it stands for. */
import { protocolText, UDP } from '../../core/address.ts';
import { exitCode } from '../output.ts';
import { countAsked, type AskerCounts, type Asked } from './askers.ts';
import type { Judge, Judged } from './judge.ts';
import type { Held, Played } from './play.ts';
import type { Replayed } from './replay.ts';
import { families, type Family } from './stream.ts';
import { roads, type Call, type Road } from './visitors.ts';

/** Connections, or datagrams, to one Service address by who answered (a pod, or `refused`), on each road. */
export type ServiceRow = {
  readonly service: string;
  readonly family: Family;
  readonly address: string;
  readonly protocol: string;
  /** Pods that may answer right after the start and at the end, over both nodes. */
  readonly backends: { readonly atStart: readonly string[]; readonly atEnd: readonly string[] };
  readonly connections: readonly ({ readonly answer: string } & Readonly<Record<Road, number>>)[];
};

export type DemoReport = {
  readonly apiVersion: 'tandem/v1alpha1';
  readonly kind: 'DemoReport';
  readonly seed: number;
  readonly durationMs: number;
  readonly services: readonly ServiceRow[];
  /** TCP connections and UDP datagrams together; `datagrams` is how many of them were the latter. */
  readonly connections: {
    readonly total: number;
    readonly datagrams: { readonly connected: number; readonly unconnected: number };
    readonly permitted: number;
    readonly inFlight: number;
    readonly windowMs: number;
    /** One line each; empty as it should be. */
    readonly wrong: readonly string[];
  };
  /** Connections kept open through the update; `moved`: their backend is no longer one of the Service's. */
  readonly held: { readonly total: number; readonly alive: number; readonly moved: number };
  /** UDP sockets that lived through the update; `ended` ones lost their backend. */
  readonly asked: AskerCounts;
  /** Namespace to packets that it refused for a wrong checksum. */
  readonly checksumErrors: Readonly<Record<string, number>>;
  /** What the programs counted, by reason. */
  readonly reasons: Readonly<Record<string, number>>;
  readonly captures: readonly { readonly node: string; readonly packets: number; readonly dropped: number }[];
  /** The demo's own captures, then the recording of another cluster. */
  readonly replays: readonly Replayed[];
  readonly recordings: readonly Replayed[];
  readonly comparison: { readonly packets: number; readonly differences: number };
  /** Why the exit code is not 0, in the order of their weight. */
  readonly problems: readonly string[];
  readonly exitCode: number;
};

export type Findings = {
  readonly seed: number;
  readonly durationMs: number;
  readonly played: Played;
  readonly judge: Judge;
  readonly judged: readonly Judged[];
  readonly replays: readonly Replayed[];
  readonly recordings: readonly Replayed[];
};

export function makeReport(findings: Findings): DemoReport {
  const { seed, durationMs, played, judge, judged, replays, recordings } = findings;
  const all = [...replays, ...recordings];
  const sum = (of: (one: Replayed) => number): number => all.reduce((total, one) => total + of(one), 0);
  const comparison = { packets: sum((one) => one.comparedWithKernel), differences: sum((one) => one.differences) };
  const wrong = judged.filter(({ verdict }) => verdict === 'wrong').map(wrongText);
  const problems = [...twinProblems(all), ...liveProblems(findings, wrong)];
  const isDifferent = comparison.differences > 0 || replays.some(({ repliesDiffering }) => repliesDiffering > 0);
  return {
    apiVersion: 'tandem/v1alpha1',
    kind: 'DemoReport',
    seed,
    durationMs: Math.round(durationMs),
    services: serviceRows(findings),
    connections: {
      total: judged.length,
      datagrams: { connected: callCount(judged, 'connected'), unconnected: callCount(judged, 'unconnected') },
      permitted: judged.filter(({ verdict }) => verdict === 'permitted').length,
      inFlight: judged.filter(({ verdict }) => verdict === 'in-flight').length,
      windowMs: Math.ceil(judge.windowNs / 1e6),
      wrong,
    },
    held: heldCounts(findings),
    asked: countAsked(played.asked),
    checksumErrors: Object.fromEntries(played.checksumErrors),
    reasons: Object.fromEntries([...played.reasons].filter(([, packets]) => packets > 0)),
    captures: played.recordings.map(({ node, counts }) => {
      return { node, packets: counts.captured, dropped: counts.dropped };
    }),
    replays,
    recordings,
    comparison,
    problems,
    exitCode: codeOf(problems, isDifferent, comparison.packets),
  };
}

function callCount(judged: readonly Judged[], call: Call): number {
  return judged.filter(({ visit }) => visit.call === call).length;
}

function codeOf(problems: readonly string[], isDifferent: boolean, compared: number): number {
  if (isDifferent) return exitCode.twinsDiffer;
  // Nothing differs where nothing was compared.
  if (compared === 0) return exitCode.environment;
  return problems.length === 0 ? exitCode.agreed : exitCode.notPermitted;
}

function wrongText({ visit: { from, target, call }, why }: Judged): string {
  const how = call === 'stream' ? '' : ` by ${call === 'connected' ? 'send()' : 'sendto()'}`;
  return `${from.pod} to ${target.name} ${target.text}${how} on the ${from.road} road: ${why}`;
}

function isAlive({ echo }: Held): boolean {
  return echo.result === 'echoed';
}

function heldCounts({ played, judge }: Findings): DemoReport['held'] {
  const { held, endNs, originNs } = played;
  const hasMoved = ({ visit: { target, report } }: Held): boolean =>
    !judge.podsAt(Number(endNs - originNs), target).includes(report.by ?? '');
  return { total: held.length, alive: held.filter(isAlive).length, moved: held.filter(hasMoved).length };
}

function twinProblems(all: readonly Replayed[]): readonly string[] {
  return all.flatMap(({ name, comparedWithKernel, differences, firstDifference }) => [
    ...(comparedWithKernel === 0 ? [`${name}: no packet was compared with the kernel`] : []),
    ...(differences > 0 ? [`${name}: ${differences} differences, first: ${firstDifference}`] : []),
  ]);
}

/** Everything that must hold for what tandem itself did; of the recording, another proxy's choices are only shown. */
function liveProblems({ played, judged, replays }: Findings, wrong: readonly string[]): readonly string[] {
  const linesMax = 5;
  const dead = played.held.filter((held) => !isAlive(held));
  // All datagrams of a socket are one connection to those who look at packets.
  const packetRoad = judged.filter(({ visit }) => visit.from.road === 'packet' && visit.before === null).length;
  const found = replays.reduce((sum, { connections: { permitted, inFlight, stale, never, notJudged } }) => {
    return sum + permitted + inFlight + stale + never + notJudged;
  }, 0);
  return [
    ...wrong.slice(0, linesMax),
    ...(wrong.length > linesMax ? [`and ${wrong.length - linesMax} more connections that should not be so`] : []),
    ...dead.map(
      ({ visit, echo }) =>
        `held connection of ${visit.from.pod} to ${visit.report.by ?? visit.target.text}: ${echo.result}`,
    ),
    ...played.asked.flatMap(silentProblem),
    ...[...played.checksumErrors].map(([name, packets]) => `${name} refused ${packets} packets for a wrong checksum`),
    ...played.recordings
      .filter(({ counts }) => counts.dropped > 0)
      .map(({ node, counts }) => `the capture of ${node} is not whole: ${counts.dropped} packets were dropped`),
    ...(found === packetRoad ? [] : [`the captures show ${found} of ${packetRoad} connections of the packet road`]),
    ...replays.flatMap(replayProblems),
  ];
}

/** A socket that is not answered once everything is quiet; each datagram before has been judged by itself. */
function silentProblem({ visits }: Asked): readonly string[] {
  const last = visits.at(-1);
  if (last === undefined || last.report.result === 'answered') return [];
  const { from, target, call, report } = last;
  return [
    `${call} UDP socket of ${from.pod} to ${target.text} on the ${from.road} road is left with: ${report.result}`,
  ];
}

function replayProblems(replayed: Replayed): readonly string[] {
  const { name, connections, notPermitted, repliesDiffering, unattributed } = replayed;
  const { notJudged } = connections;
  return [
    ...notPermitted.map((line) => `${name}: ${line}`),
    ...(notJudged > 0 ? [`${name}: ${notJudged} connections could not be judged`] : []),
    ...(repliesDiffering > 0 ? [`${name}: ${repliesDiffering} replies are not what the pod received`] : []),
    ...(unattributed > 0 ? [`${name}: ${unattributed} packets can't be explained`] : []),
  ];
}

function serviceRows({ played, judge, judged }: Findings): readonly ServiceRow[] {
  const startNs = Number(
    (played.applied.findLast(({ event }) => event.type === 'LISTED')?.doneNs ?? 0n) - played.originNs,
  );
  const endNs = Number(played.endNs - played.originNs);
  return played.targets.map((target) => {
    const counts = new Map<string, Record<Road, number>>();
    for (const { visit } of judged.filter((one) => one.visit.target === target)) {
      const answer = visit.isEnded ? 'ended' : (visit.report.by ?? visit.report.result);
      const row = counts.get(answer) ?? { socket: 0, packet: 0 };
      row[visit.from.road] += 1;
      counts.set(answer, row);
    }
    return {
      service: target.name,
      family: target.family,
      address: target.text,
      protocol: protocolText(target.protocol),
      backends: { atStart: judge.podsAt(startNs, target), atEnd: judge.podsAt(endNs, target) },
      connections: [...counts]
        .toSorted(([left], [right]) => (left < right ? -1 : 1))
        .map(([answer, row]) => {
          return { answer, ...row };
        }),
    };
  });
}

/** The table of Services and the verdict; the phases have been told before. */
export function reportText(report: DemoReport): string {
  const { connections, comparison, problems, seed, durationMs } = report;
  const { total, datagrams, permitted, inFlight, windowMs } = connections;
  const asked = datagrams.connected + datagrams.unconnected;
  const verdict =
    problems.length === 0
      ? [
          `judged       ${total - asked} connections, ${asked} datagrams (${datagrams.connected} by send(), ` +
            `${datagrams.unconnected} by sendto()): ${permitted} as permitted at their moment, ${inFlight} while a change was in flight (at most ${windowMs} ms), 0 wrong`,
          `comparison   ${comparison.packets} packets through model and kernel, ${comparison.differences} differences`,
        ]
      : problems.map((problem) => `WRONG  ${problem}`);
  return [
    '',
    ...tableLines(report.services),
    'SOCKET: translated as the client connects or sends; PACKET: packet by packet at the device of its pod',
    '',
    ...verdict,
    `${(durationMs / 1000).toFixed(1)} s; again with the same clients: ./tandem demo --seed ${seed}`,
  ].join('\n');
}

function changeText({ backends }: ServiceRow): string {
  const names = (pods: readonly string[]): string => (pods.length === 0 ? 'none' : pods.join(' '));
  const { atStart, atEnd } = { atStart: names(backends.atStart), atEnd: names(backends.atEnd) };
  return atStart === atEnd ? atStart : `${atStart} -> ${atEnd}`;
}

/** The addresses of one Service side by side; what they have in common is written once. */
function serviceLines(service: string, addresses: readonly ServiceRow[]): readonly (readonly string[])[] {
  const answers = [...new Set(addresses.flatMap(({ connections }) => connections.map(({ answer }) => answer)))].sort();
  if (answers.length === 0) return [];
  const count = (road: Road, family: Family, answer: string | undefined): string => {
    const row = addresses.find((one) => one.family === family);
    if (answer === undefined) return '';
    return row === undefined ? '-' : String(row.connections.find((one) => one.answer === answer)?.[road] ?? 0);
  };
  return Array.from({ length: Math.max(answers.length, addresses.length) }, (_, index) => {
    const own = addresses[index];
    const change = own === undefined ? '' : changeText(own);
    const before = addresses[index - 1];
    const isSame = before !== undefined && changeText(before) === change;
    const counts = roads.flatMap((road) => families.map((family) => count(road, family, answers[index])));
    const head = [index === 0 ? service : '', own?.address ?? '', isSame ? '' : change];
    return [...head, answers[index] ?? '', ...counts];
  });
}

function tableLines(services: readonly ServiceRow[]): readonly string[] {
  const nameOf = ({ service, protocol }: ServiceRow): string =>
    protocol === protocolText(UDP) ? `${service} (UDP)` : service;
  const rows = [...Map.groupBy(services, nameOf)].flatMap(([name, rows]) => serviceLines(name, rows));
  const numbers = roads.flatMap((road) => [`${road.toUpperCase()} v4`, 'v6']);
  const table = [['SERVICE', 'ADDRESS', 'BACKENDS', 'ANSWER', ...numbers], ...rows];
  const widths = table[0]?.map((_, column) => Math.max(...table.map((row) => row[column]?.length ?? 0))) ?? [];
  const isNumber = (column: number): boolean => column >= 4;
  return table.map((row) =>
    row
      .map((cell, column) => {
        const width = widths[column] ?? 0;
        return isNumber(column) ? cell.padStart(width) : cell.padEnd(width);
      })
      .join('  ')
      .trimEnd(),
  );
}
