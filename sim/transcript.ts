// SPDX-License-Identifier: Apache-2.0
/** One line per change of state, in fixed columns: the same seed writes the same bytes. */

/** What happened, in one letter each. */
export const symbols = {
  heard: 'e',
  settled: '=',
  waiting: '~',
  fault: '!',
  change: '+',
  agent: 'a',
  flow: 'f',
  broken: 'X',
} as const;
export type Symbol = keyof typeof symbols;

export type Entry = {
  readonly atUs: number;
  /** -1: the cluster as a whole. */
  readonly node: number;
  readonly symbol: Symbol;
  readonly object: string;
  readonly phase: string;
  /** Map writes since the line before of this node: entries set, deleted, words stored. */
  readonly sets: number;
  readonly deletes: number;
  readonly words: number;
  /** Connections of this node. */
  readonly live: number;
  readonly broken: number;
};

export const transcriptHeader: string =
  '# seconds    node sym object                          phase      set  del word  live broken';

function left(text: string, width: number): string {
  return text.length > width ? text.slice(0, width) : text.padEnd(width);
}

function right(value: number, width: number): string {
  return String(value).padStart(width);
}

export function entryText(entry: Entry): string {
  const seconds = `${Math.floor(entry.atUs / 1e6)}.${String(entry.atUs % 1e6).padStart(6, '0')}`;
  return [
    seconds.padStart(11),
    entry.node < 0 ? '    -' : right(entry.node, 5),
    ` ${symbols[entry.symbol]} `,
    left(entry.object, 31),
    left(entry.phase, 8),
    right(entry.sets, 5),
    right(entry.deletes, 4),
    right(entry.words, 4),
    right(entry.live, 5),
    right(entry.broken, 6),
  ].join(' ');
}
