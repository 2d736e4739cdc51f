// SPDX-License-Identifier: Apache-2.0
/** What an injection found, in numbers and for people. */
import type { ReplaySummary } from '../../replay/summary.ts';
import type { InjectedPacket } from './judge.ts';
import type { Pace, Played } from './play.ts';
import type { Script } from './script.ts';
import type { Stage } from './stage.ts';

/** The last line of the output. */
export type InjectionSummary = {
  readonly kind: 'InjectionSummary';
  readonly pace: Pace;
  readonly pods: number;
  readonly requests: number;
  readonly answers: number;
  readonly events: number;
  /** Larger than the lab's devices take; not sent. */
  readonly tooLarge: number;
  readonly tookMs: number;
  readonly packetsPerSecond: number;
  /** While sending, without the waits for the capture and for a time to come. */
  readonly packetsPerSecondSending: number;
  readonly framesCaptured: number;
  readonly equal: number;
  readonly different: number;
  /** Packets that pass by all Services and may have been for the node itself. */
  readonly notCompared: number;
  readonly notSeen: number;
  readonly firstDifference: string | null;
  /** Of the lab's capture. */
  readonly replay: ReplaySummary;
};

/** Differences that are told one by one. */
const ROWS_MAX = 10;

export function summarizeInjection(
  packets: readonly InjectedPacket[],
  about: { readonly script: Script; readonly stage: Stage; readonly played: Played; readonly pace: Pace },
  replay: ReplaySummary,
): InjectionSummary {
  const { pace, played, script, stage } = about;
  const count = (is: (packet: InjectedPacket) => boolean): number => packets.filter(is).length;
  const first = packets.find(({ equal }) => equal === false);
  const perSecond = (ms: number): number => Math.round((packets.length / Math.max(ms, 0.001)) * 1000);
  return {
    kind: 'InjectionSummary',
    pace,
    pods: stage.spec.pods.length,
    requests: count(({ is }) => is === 'request'),
    answers: count(({ is }) => is === 'answer'),
    events: played.events.length,
    tooLarge: script.tooLarge.count,
    tookMs: Math.round(played.tookMs),
    packetsPerSecond: perSecond(played.tookMs),
    packetsPerSecondSending: perSecond(played.sendingMs),
    framesCaptured: played.counts.captured,
    equal: count(({ equal }) => equal === true),
    different: count(({ equal }) => equal === false),
    notCompared: count(({ equal, model }) => equal === null && model !== null),
    notSeen: count(({ equal, model }) => equal === null && model === null),
    firstDifference: first === undefined ? null : packetText(first),
    replay,
  };
}

/** The text before that of the replay of what was captured. */
export function injectionText(summary: InjectionSummary, packets: readonly InjectedPacket[]): string {
  const { answers, different, equal, events, notCompared, notSeen, pace, pods, requests, tookMs } = summary;
  const rate = `${summary.packetsPerSecond.toLocaleString('en')} packets/s`;
  const sending = `${summary.packetsPerSecondSending.toLocaleString('en')}/s without waiting`;
  const findings = packets.filter((packet) => packet.equal === false);
  return [
    `injection: ${requests} packets of clients and ${answers} answers into the kernel's own path, ` +
      (pace === 'fast' ? 'as fast as the capture follows' : 'at the recorded pace'),
    `  in ${(tookMs / 1000).toFixed(1)} s, ${rate} (${sending}); ${pods} pods, ${events} events, ${summary.framesCaptured} frames captured`,
    `  as the model        ${String(equal).padStart(7)}  verdict, backend and every byte`,
    `  otherwise           ${String(different).padStart(7)}`,
    `  not compared        ${String(notCompared).padStart(7)}  they pass all Services by and may have been for the node itself`,
    `  not seen            ${String(notSeen).padStart(7)}  on any device of the lab`,
    ...findings.slice(0, ROWS_MAX).map((packet) => `    ${packetText(packet)}`),
    ...(findings.length > ROWS_MAX ? [`    and ${findings.length - ROWS_MAX} more: -o ndjson`] : []),
    '',
    'what came out, judged as any capture:',
    '',
  ].join('\n');
}

function packetText({ difference, file, flow, frame, is, service }: InjectedPacket): string {
  return `${service} ${flow} (${is}, ${file} frame ${frame}): ${difference ?? ''}`;
}
