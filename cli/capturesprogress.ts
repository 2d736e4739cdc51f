// SPDX-License-Identifier: Apache-2.0
/** How far the reading of captures is: a bar with packets, their rate and the time that is left. */
import { statSync } from 'node:fs';
import type { InputSource } from '../formats/input.ts';
import type { ReplayProgress } from '../replay/run.ts';
import { startProgress } from './output.ts';

const BAR_WIDTH = 20;

export type CapturesProgress = { readonly update: (progress: ReplayProgress) => void; readonly done: () => void };

export function startCapturesProgress(captures: readonly InputSource[]): CapturesProgress {
  const line = startProgress();
  const beganMs = performance.now();
  const totalBytes = captures.reduce((sum, source) => sum + bytesOf(source), 0);
  return {
    update: (progress) => line.update(progressText(progress, totalBytes, performance.now() - beganMs)),
    done: () => line.done(),
  };
}

/** 0 for what has no size, such as a pipe: then nothing is said of the time that is left. */
function bytesOf(source: InputSource): number {
  if (typeof source !== 'string') return 'bytes' in source ? source.bytes.length : 0;
  return statSync(source, { throwIfNoEntry: false })?.size ?? 0;
}

/** `[=====>    ]  52 %  1,204,224 packets, 812,000/s, 2 s left` */
export function progressText({ bytes, frames }: ReplayProgress, totalBytes: number, elapsedMs: number): string {
  const perSecond = Math.round((frames / Math.max(elapsedMs, 1)) * 1000);
  const count = `${frames.toLocaleString('en')} packets, ${perSecond.toLocaleString('en')}/s`;
  if (totalBytes === 0) return count;
  // Other formats spend more bytes on a frame than is counted here.
  const part = Math.min(bytes / totalBytes, 0.99);
  const filled = Math.floor(part * BAR_WIDTH);
  const bar = `${'='.repeat(filled)}>`.padEnd(BAR_WIDTH);
  const leftSeconds = Math.ceil((elapsedMs * (1 / Math.max(part, 0.001) - 1)) / 1000);
  return `[${bar}] ${String(Math.floor(part * 100)).padStart(3)} %  ${count}, ${leftText(leftSeconds)} left`;
}

function leftText(seconds: number): string {
  return seconds < 120 ? `${seconds} s` : `${Math.round(seconds / 60)} min`;
}
