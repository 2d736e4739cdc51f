// SPDX-License-Identifier: Apache-2.0
/** `tandem bench replay`: packets a second that the readers of captures give, and the memory that they take. */
import { benchReaders, type ReaderFigure } from '../bench/readers.ts';
import type { CommandOptions } from './commands.ts';
import { exitCode, printJson, printText, startProgress } from './output.ts';

const ROUNDS = 9;
const ROUND_BYTES = 400_000_000;
const LARGE_BYTES = 10_000_000_000;
const GOALS = { readPacketsPerSecond: 3_000_000, residentBytesMax: 500_000_000 };

/** Measures and prints; needs neither root nor files. */
export function reportReplay(options: CommandOptions): number {
  const { rounds: wanted } = options;
  const rounds = typeof wanted === 'number' ? Math.max(1, wanted) : ROUNDS;
  const progress = startProgress();
  const readers = benchReaders({
    rounds,
    roundBytes: ROUND_BYTES,
    largeBytes: LARGE_BYTES,
    onStep: (line) => progress.update(line),
  });
  progress.done();
  if (options['output'] === 'json') printJson({ kind: 'BenchReplay', goals: GOALS, readers });
  else printText(replayText(readers, rounds));
  return exitCode.agreed;
}

function replayText(readers: readonly ReaderFigure[], rounds: number): string {
  return [
    `Captures of 100-byte packets, generated in memory; medians of ${rounds} rounds.`,
    '',
    '| read, packets a second | median | quarter to three quarters | goal | |',
    '|---|---|---|---|---|',
    ...readers.map(rateLine),
    '',
    '| a capture of 10 GB | packets | seconds | memory of the process, highest, MB | goal | |',
    '|---|---|---|---|---|---|',
    ...readers.map(largeLine),
  ].join('\n');
}

function rateLine({ format, packetsPerSecond: { median, low, high } }: ReaderFigure): string {
  const verdict = median >= GOALS.readPacketsPerSecond ? 'met' : 'MISSED';
  const quarters = `${thousands(low)} to ${thousands(high)}`;
  return `| ${format} | ${thousands(median)} | ${quarters} | ${thousands(GOALS.readPacketsPerSecond)} | ${verdict} |`;
}

function largeLine({ format, large }: ReaderFigure): string {
  const verdict = large.residentBytesMax <= GOALS.residentBytesMax ? 'met' : 'MISSED';
  const memory = `${megabytes(large.residentBytesMax)} | ${megabytes(GOALS.residentBytesMax)}`;
  return `| ${format} | ${thousands(large.packets)} | ${large.seconds.toFixed(1)} | ${memory} | ${verdict} |`;
}

function thousands(value: number): string {
  return Math.round(value).toLocaleString('en-US');
}

function megabytes(bytes: number): string {
  return String(Math.round(bytes / 1_000_000));
}
